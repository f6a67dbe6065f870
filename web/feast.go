package web

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
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
	entities, err := s.entityRows(req.FeatureSet, &body.Entities)
	if err != nil {
		return err
	}
	defer entities.Release()
	answer, err := s.engine.Online(r.Context(), req, entities)
	if err != nil {
		return err
	}
	defer answer.Release()

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
func (s *Server) entityRows(features driftline.FeatureSet, given *jsonColumns) (arrow.RecordBatch, error) {
	resolved, err := s.engine.Registry().Resolve(features)
	if err != nil {
		return nil, err
	}
	types := map[string]driftline.Type{}
	for _, use := range resolved {
		for _, key := range use.View.JoinKeys {
			column := use.KeyColumn(key.Name)
			if _, ok := given.values[column]; !ok {
				e := driftline.Errorf(driftline.Invalid, "join key %q of feature view %q is missing from entities", column, use.View.Name)
				if near := driftline.Nearest(column, given.names); near != "" {
					return nil, e.WithHint("is it the column %q? call it %q", near, column)
				}
				return nil, e.WithHint(`add "%s": [value, …] to entities`, column)
			}
			types[column] = key.Type
		}
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

// buffers keeps answers of the common size from being allocated anew.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

const maxRetainedBuffer = 1 << 20

func recycle(b *[]byte) {
	if cap(*b) <= maxRetainedBuffer {
		buffers.Put(b)
	}
}

// appendOnline appends Feast's answer: one list of values per name.
//
//	{"metadata": {"feature_names": ["airport", "temp"]},
//	 "results": [{"values": ["JFK"], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
//	             {"values": [39.02], "statuses": ["PRESENT"], "event_timestamps": ["2013-01-31T15:00:00Z"]}],
//	 "status": true}
func appendOnline(dst []byte, answer *driftline.OnlineResponse) []byte {
	fields := answer.Batch.Schema().Fields()
	entities := len(fields) - len(answer.Features)

	dst = append(dst, `{"metadata":{"feature_names":[`...)
	for i, field := range fields {
		dst = comma(dst, i)
		dst = appendString(dst, field.Name)
	}
	dst = append(dst, `]},"results":[`...)
	for i := range fields {
		dst = comma(dst, i)
		column := driftline.OnlineColumn{}
		if i >= entities {
			column = answer.Features[i-entities]
		}
		dst = appendResult(dst, answer.Batch.Column(i), column)
	}
	return append(dst, `],"status":true}`...)
}

// appendResult appends one column. An entity column has no statuses of its own:
// it is present, since the beginning of time.
func appendResult(dst []byte, values arrow.Array, column driftline.OnlineColumn) []byte {
	dst = append(dst, `{"values":[`...)
	for i := range values.Len() {
		dst = appendCell(comma(dst, i), values, i)
	}
	dst = append(dst, `],"statuses":[`...)
	for i := range values.Len() {
		status := driftline.Present
		if column.Statuses != nil {
			status = column.Statuses[i]
		}
		dst = append(comma(dst, i), '"')
		dst = append(append(dst, status...), '"')
	}
	dst = append(dst, `],"event_timestamps":[`...)
	for i := range values.Len() {
		var t arrow.Timestamp
		if column.EventTimes != nil {
			t = column.EventTimes[i]
		}
		dst = appendTime(comma(dst, i), t)
	}
	return append(dst, `]}`...)
}

func comma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

// appendTime appends a time as protobuf writes it: 0, 3 or 6 digits of fraction.
func appendTime(dst []byte, t arrow.Timestamp) []byte {
	form := `"2006-01-02T15:04:05.000000Z"`
	switch {
	case t%1_000_000 == 0:
		form = `"2006-01-02T15:04:05Z"`
	case t%1_000 == 0:
		form = `"2006-01-02T15:04:05.000Z"`
	}
	return time.UnixMicro(int64(t)).UTC().AppendFormat(dst, form)
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
