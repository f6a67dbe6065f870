package web

import (
	"net/http"
	"slices"
	"strings"

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
	body, err := readJSON[onlineRequest](r)
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
// features come from. Join keys come first, as in Feast's answer. The caller
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
	if len(given.names) == 0 { // no view needs a key: their one row is asked for
		return array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1), nil
	}
	names := slices.Clone(given.names)
	slices.SortStableFunc(names, func(a, b string) int { return keysFirst(types[a]) - keysFirst(types[b]) })
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

// pushRequest is the body of POST /push. The push source is the feature view's name.
type pushRequest struct {
	PushSource driftline.ViewName `json:"push_source_name"`
	Rows       jsonColumns        `json:"df"`
	To         string             `json:"to"`

	// Accepted because Feast's client sends them; there is no cache to allow
	// and no transformation to run.
	AllowRegistryCache *bool `json:"allow_registry_cache"`
	TransformOnWrite   *bool `json:"transform_on_write"`
}

// idempotencyHeader names the key under which a retried push is the same push.
const idempotencyHeader = "Idempotency-Key"

func (s *Server) push(r *http.Request) (driftline.IngestResult, error) {
	body, err := readJSON[pushRequest](r)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	if body.To != "" && body.To != "online_and_offline" {
		return driftline.IngestResult{}, driftline.Errorf(driftline.Invalid, "a push to %q alone is not possible", clip(body.To)).
			WithHint(`use "online_and_offline" or leave "to" out: one write is visible in both stores`)
	}
	view, err := s.engine.Registry().View(body.PushSource)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	rows, err := s.pushedRows(view, &body.Rows)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	defer rows.Release()
	return s.engine.Ingest(r.Context(), view.Name, r.Header.Get(idempotencyHeader), driftline.BatchesOf(rows.Schema(), rows))
}

// pushedRows casts the columns to the view's types. Which columns must be there
// is for the engine to say; types cannot be cast without knowing the column.
func (s *Server) pushedRows(view *driftline.FeatureView, given *jsonColumns) (arrow.RecordBatch, error) {
	types := map[string]driftline.Type{view.EventTimestamp: driftline.Timestamp}
	if view.CreatedTimestamp != "" {
		types[view.CreatedTimestamp] = driftline.Timestamp
	}
	for _, field := range slices.Concat(view.JoinKeys, view.Features) {
		types[field.Name] = field.Type
	}
	known := make([]string, 0, len(types))
	for name := range types {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, name := range given.names {
		if _, ok := types[name]; !ok {
			e := driftline.Errorf(driftline.Invalid, "view %q: column %q is not part of the view", view.Name, clip(name)).
				WithRef(driftline.ViewRef(view.Name))
			if near := driftline.Nearest(name, known); near != "" {
				return nil, e.WithHint("did you mean %q?", near)
			}
			return nil, e.WithHint("the view has: %s", strings.Join(known, ", "))
		}
	}
	return given.batch(s.engine.Allocator(), given.names, types)
}
