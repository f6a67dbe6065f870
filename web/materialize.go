package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// materializeRequest is the body of POST /materialize, and without a start that of
// POST /materialize-incremental.
type materializeRequest struct {
	Start string               `json:"start_ts"`
	End   string               `json:"end_ts"`
	Views []driftline.ViewName `json:"feature_views"`

	// DisableEventTimestamp takes all rows up to now, in the place of start and end.
	DisableEventTimestamp bool `json:"disable_event_timestamp"`

	// Accepted because Feast's client sends them. Names of features are those of the view,
	// and a version is part of a view's name.
	FullFeatureNames *bool  `json:"full_feature_names"`
	Version          string `json:"version"`
}

// accepted is Feast's answer to a job that runs in the background, and the job's id.
type accepted struct {
	Status string               `json:"status"`
	Views  []driftline.ViewName `json:"feature_views"`
	ID     string               `json:"id"`
}

// materializing is Feast's refusal of a job whose views are at work already.
type materializing struct {
	Error string               `json:"error"`
	Views []driftline.ViewName `json:"feature_views"`
}

func (s *Server) materialize(w http.ResponseWriter, r *http.Request) error {
	return s.startMaterialization(w, r, false)
}

func (s *Server) materializeIncremental(w http.ResponseWriter, r *http.Request) error {
	return s.startMaterialization(w, r, true)
}

func (s *Server) startMaterialization(w http.ResponseWriter, r *http.Request, incremental bool) error {
	body, err := readJSON[materializeRequest](r)
	if err != nil {
		return err
	}
	req, err := body.request(s.engine.Now(), incremental)
	if err != nil {
		return err
	}
	async, err := switchIn(r, "async")
	if err != nil {
		return err
	}
	if req.Force, err = switchIn(r, "force"); err != nil {
		return err
	}
	job, err := s.engine.Materialize(r.Context(), req)
	if driftline.CodeOf(err) == driftline.Conflict {
		noteError(r, err)
		shown, status := present(err)
		writeJSON(w, status, materializing{shown.Error(), list(s.materializingNow(req.Views))})
		return nil
	}
	if err != nil {
		return err
	}
	if async {
		w.Header().Set("Location", "/api/v1/materializations/"+job.ID)
		writeJSON(w, http.StatusAccepted, accepted{"accepted", list(job.Views), job.ID})
		return nil
	}
	if job, err = s.engine.Materialized(r.Context(), job.ID); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, job)
	return nil
}

func (b *materializeRequest) request(now time.Time, incremental bool) (driftline.MaterializationRequest, error) {
	req := driftline.MaterializationRequest{Views: b.Views, Incremental: incremental}
	switch {
	case b.Version != "":
		return req, unfit("a version is part of a view's name: ask for the feature view %q", "weather@2")
	case incremental && (b.Start != "" || b.DisableEventTimestamp):
		return req, unfit("an incremental materialization has no start: it takes what is not online yet")
	case b.DisableEventTimestamp:
		req.End = now
		return req, nil
	case b.End == "":
		return req, unfit(`end_ts is missing: write it like "2013-01-31T15:00:00Z"`)
	case !incremental && b.Start == "":
		return req, unfit(`start_ts is missing: write it like "2013-01-31T15:00:00Z"`)
	}
	var ok bool
	if req.End, ok = parseTime(b.End); !ok {
		return req, unfit(`end_ts is %q, not a time: write it like "2013-01-31T15:00:00Z"`, clip(b.End))
	}
	if incremental {
		return req, nil
	}
	if req.Start, ok = parseTime(b.Start); !ok {
		return req, unfit(`start_ts is %q, not a time: write it like "2013-01-31T15:00:00Z"`, clip(b.Start))
	}
	return req, nil
}

// switchIn reads a parameter that is true or false.
func switchIn(r *http.Request, name string) (bool, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(given)
	if err != nil {
		return false, unfit("%s is %q, want true or false", name, clip(given))
	}
	return on, nil
}

// materializingNow returns those of the views (none: all) that a job is at work on.
func (s *Server) materializingNow(among []driftline.ViewName) []driftline.ViewName {
	var views []driftline.ViewName
	for _, job := range s.engine.Materializations() {
		if job.State != driftline.MaterializationRunning {
			continue
		}
		for _, view := range job.Views {
			if len(among) == 0 || slices.ContainsFunc(among, func(name driftline.ViewName) bool { return s.engine.Registry().Meant(name) == view }) {
				views = append(views, view)
			}
		}
	}
	slices.Sort(views)
	return slices.Compact(views)
}

// postMaterialization begins a job in our own words; it does not wait for its end.
func (s *Server) postMaterialization(r *http.Request) (driftline.Materialization, error) {
	req, err := readJSON[driftline.MaterializationRequest](r)
	if err != nil {
		return driftline.Materialization{}, err
	}
	return s.engine.Materialize(r.Context(), req)
}

func (s *Server) materializations(*http.Request) (map[string]any, error) {
	return map[string]any{"materializations": s.engine.Materializations()}, nil
}

func (s *Server) materialization(r *http.Request) (driftline.Materialization, error) {
	return s.engine.Materialization(r.PathValue("id"))
}

func (s *Server) cancelMaterialization(r *http.Request) (driftline.Materialization, error) {
	return s.engine.CancelMaterialization(r.Context(), r.PathValue("id"))
}
