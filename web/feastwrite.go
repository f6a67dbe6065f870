package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

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
	target, err := driftline.ParseTarget(body.To)
	if err != nil {
		return driftline.IngestResult{}, unfit("to is %q: use %q, %q or %q, or leave it out for both", clip(body.To),
			driftline.OnlineOnly, driftline.OfflineOnly, driftline.BothStores)
	}
	return s.write(r, body.PushSource, target, &body.Rows)
}

// writeToOnlineStoreRequest is the body of POST /write-to-online-store.
type writeToOnlineStoreRequest struct {
	View driftline.ViewName `json:"feature_view_name"`
	Rows jsonColumns        `json:"df"`

	AllowRegistryCache *bool `json:"allow_registry_cache"` // accepted, as in pushRequest
	TransformOnWrite   *bool `json:"transform_on_write"`
}

func (s *Server) writeToOnlineStore(r *http.Request) (driftline.IngestResult, error) {
	body, err := readJSON[writeToOnlineStoreRequest](r)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	return s.write(r, body.View, driftline.OnlineOnly, &body.Rows)
}

func (s *Server) write(r *http.Request, name driftline.ViewName, target driftline.Target, given *jsonColumns) (driftline.IngestResult, error) {
	view, err := s.viewMeant(name)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	if err := nameTimes(view, given); err != nil {
		return driftline.IngestResult{}, err
	}
	rows, err := s.pushedRows(view, given)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	defer rows.Release()
	return s.engine.IngestTo(r.Context(), view.Name, target, r.Header.Get(idempotencyHeader), driftline.BatchesOf(rows.Schema(), rows))
}

// feastCreated is what Feast's client calls the created timestamp, whatever it is called in
// the view; it calls the event timestamp [driftline.DefaultEventTimestamp].
const feastCreated = "created"

// nameTimes gives the time columns of Feast's client the names that they have in the view.
// It always sends a created timestamp, which is null if it knows of none.
func nameTimes(view *driftline.FeatureView, given *jsonColumns) error {
	given.rename(driftline.DefaultEventTimestamp, view.EventTimestamp)
	if _, feature := view.Feature(feastCreated); feature || slices.Contains(view.KeyNames(), feastCreated) || view.EventTimestamp == feastCreated {
		return nil
	}
	if view.CreatedTimestamp != "" {
		given.rename(feastCreated, view.CreatedTimestamp)
		return nil
	}
	values, there := given.values[feastCreated]
	if !there {
		return nil
	}
	if slices.ContainsFunc(values, func(v any) bool { return v != nil }) {
		return driftline.Errorf(driftline.Invalid, "view %q has no created timestamp, and the rows have one", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("define the view with a created_timestamp, or leave the column out")
	}
	given.remove(feastCreated)
	return nil
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
