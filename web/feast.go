package web

import (
	"maps"
	"net/http"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// onlineRequest is the body of POST /get-online-features: Feast's, and the time.
type onlineRequest struct {
	Entities         jsonColumns           `json:"entities"`
	Features         []string              `json:"features"`
	FeatureService   driftline.ServiceName `json:"feature_service"`
	FullFeatureNames bool                  `json:"full_feature_names"`

	// VersionMetadata is accepted because Feast's client sends it; views have no versions here.
	VersionMetadata bool `json:"include_feature_view_version_metadata"`

	// At is our own: the time that values are for, now if left out.
	At string `json:"at"`
}

func (s *Server) getOnlineFeatures(w http.ResponseWriter, r *http.Request) error {
	body, err := readOnlineRequest(r)
	if err != nil {
		return err
	}
	req, err := body.request()
	if err != nil {
		return err
	}
	plan, err := s.engine.PlanOnline(req.FeatureSet)
	if err != nil {
		return err
	}
	entities, err := s.entityRows(plan, &body.Entities)
	if err != nil {
		return err
	}
	defer entities.Release()
	answer, err := s.engine.ReadOnline(r.Context(), plan, req.At, entities)
	if err != nil {
		return err
	}
	buffer := buffers.Get().(*[]byte)
	defer recycle(buffer)
	*buffer = appendOnline((*buffer)[:0], answer)
	sendJSON(w, http.StatusOK, *buffer)
	return nil
}

func (b *onlineRequest) request() (driftline.OnlineRequest, error) {
	req := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{
		Service: b.FeatureService, Features: b.Features, FullFeatureNames: b.FullFeatureNames,
	}}
	if b.FeatureService == "" && len(b.Features) == 0 {
		return req, driftline.Errorf(driftline.Invalid, "the request names no features").
			WithHint(`give "features": ["view:feature"] or "feature_service": "name"`)
	}
	if b.FeatureService != "" && len(b.Features) > 0 {
		return req, driftline.Errorf(driftline.Invalid, "the request names features and a feature service").
			WithHint("give one of them")
	}
	var err error
	req.At, err = parseAt(b.At)
	return req, err
}

// entityRows casts the entity columns to the key types of the views that the
// features come from, and what the request brings for features that are computed to the
// types of that. Join keys come first, as in Feast's answer. The caller
// releases the batch.
func (s *Server) entityRows(plan *engine.OnlinePlan, given *jsonColumns) (arrow.RecordBatch, error) {
	types := map[string]driftline.Type{}
	for _, key := range plan.Keys {
		if _, ok := given.values[key.Column]; !ok {
			e := driftline.Errorf(driftline.Invalid, "join key %q of feature view %q is missing from entities", key.Column, key.View)
			if near := driftline.Nearest(key.Column, given.names); near != "" {
				return nil, e.WithHint("is it the column %q? call it %q", near, key.Column)
			}
			return nil, e.WithHint(`add "%s": [value, …] to entities`, key.Column)
		}
		types[key.Column] = key.Type
	}
	isKey := maps.Clone(types)
	for _, column := range plan.Request { // the engine says which is missing
		if types[column.Column] == "" {
			types[column.Column] = column.Type
		}
	}
	if len(given.names) == 0 { // no view needs a key: their one row is asked for
		return array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1), nil
	}
	names := slices.Clone(given.names)
	slices.SortStableFunc(names, func(a, b string) int { return keysFirst(isKey[a]) - keysFirst(isKey[b]) })
	for _, name := range names {
		if types[name] == "" {
			types[name] = guessType(given.values[name])
		}
	}
	return given.batch(s.engine.Allocator(), names, types)
}

func keysFirst(t driftline.Type) int {
	if t == "" {
		return 1
	}
	return 0
}
