package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Plan returns what applying the definitions would change.
func (c *Client) Plan(ctx context.Context, defs driftline.Definitions) ([]driftline.Change, error) {
	return c.changes(ctx, "plan", defs)
}

// Apply registers the definitions, all of them or none, and returns what changed.
func (c *Client) Apply(ctx context.Context, defs driftline.Definitions) ([]driftline.Change, error) {
	return c.changes(ctx, "apply", defs)
}

func (c *Client) changes(ctx context.Context, verb string, defs driftline.Definitions) ([]driftline.Change, error) {
	return field[[]driftline.Change](ctx, c, http.MethodPost, path(verb), defs, "changes")
}

// Entities lists the registered entities.
func (c *Client) Entities(ctx context.Context) ([]driftline.Entity, error) {
	return field[[]driftline.Entity](ctx, c, http.MethodGet, path("entities"), nil, "entities")
}

// FeatureViews lists the registered feature views.
func (c *Client) FeatureViews(ctx context.Context) ([]driftline.FeatureView, error) {
	return field[[]driftline.FeatureView](ctx, c, http.MethodGet, path("feature-views"), nil, "feature_views")
}

// FeatureView returns one registered feature view.
func (c *Client) FeatureView(ctx context.Context, name driftline.ViewName) (*driftline.FeatureView, error) {
	return get[driftline.FeatureView](ctx, c, path("feature-views", string(name)))
}

// SwitchView makes the bare name of a feature view mean one of its versions from now on, in
// services, online reads, training sets, writes and SQL. Going back is the same call.
func (c *Client) SwitchView(ctx context.Context, name driftline.ViewName, version int) (driftline.ViewSwitch, error) {
	var done driftline.ViewSwitch
	body := struct {
		Version int `json:"version"`
	}{version}
	err := c.call(ctx, http.MethodPut, path("feature-views", string(name), "version"), body, &done)
	return done, err
}

// Clock returns the server's time.
func (c *Client) Clock(ctx context.Context) (driftline.ClockReading, error) {
	var reading driftline.ClockReading
	err := c.call(ctx, http.MethodGet, path("clock"), nil, &reading)
	return reading, err
}

// MoveClock lets time pass on a server that goes through the past. On any other one it is a
// FailedPrecondition.
func (c *Client) MoveClock(ctx context.Context, to time.Time) (driftline.ClockReading, error) {
	var reading driftline.ClockReading
	err := c.call(ctx, http.MethodPut, path("clock"), driftline.ClockMove{To: to}, &reading)
	return reading, err
}

// Erase removes everything about one thing: rows of views and of saved datasets, and
// online values. It cannot be taken back.
func (c *Client) Erase(ctx context.Context, req driftline.ErasureRequest) (driftline.Erasure, error) {
	var done driftline.Erasure
	err := c.call(ctx, http.MethodPost, path("erasures"), req, &done)
	return done, err
}

// Check compares what is served online with what training sets have.
func (c *Client) Check(ctx context.Context, req driftline.CheckRequest) (driftline.CheckReport, error) {
	var report driftline.CheckReport
	err := c.call(ctx, http.MethodPost, path("check"), req, &report)
	return report, err
}

// OnDemandFeatureViews lists the registered on-demand feature views.
func (c *Client) OnDemandFeatureViews(ctx context.Context) ([]driftline.OnDemandFeatureView, error) {
	return field[[]driftline.OnDemandFeatureView](ctx, c, http.MethodGet, path("on-demand-feature-views"), nil, "on_demand_feature_views")
}

// OnDemandFeatureView returns one registered on-demand feature view.
func (c *Client) OnDemandFeatureView(ctx context.Context, name driftline.ViewName) (*driftline.OnDemandFeatureView, error) {
	return get[driftline.OnDemandFeatureView](ctx, c, path("on-demand-feature-views", string(name)))
}

// Materialize begins a job that brings rows online which were written offline only.
func (c *Client) Materialize(ctx context.Context, req driftline.MaterializationRequest) (*driftline.Materialization, error) {
	return ask[driftline.Materialization](ctx, c, http.MethodPost, path("materializations"), req)
}

// Materialization returns a job as it is now.
func (c *Client) Materialization(ctx context.Context, id string) (*driftline.Materialization, error) {
	return get[driftline.Materialization](ctx, c, path("materializations", id))
}

// Materializations lists the jobs, the newest first.
func (c *Client) Materializations(ctx context.Context) ([]driftline.Materialization, error) {
	return field[[]driftline.Materialization](ctx, c, http.MethodGet, path("materializations"), nil, "materializations")
}

// CancelMaterialization ends a job. What it brought online stays so.
func (c *Client) CancelMaterialization(ctx context.Context, id string) (*driftline.Materialization, error) {
	return ask[driftline.Materialization](ctx, c, http.MethodPost, path("materializations", id, "cancel"), struct{}{})
}

// FeatureServices lists the registered feature services.
func (c *Client) FeatureServices(ctx context.Context) ([]driftline.FeatureService, error) {
	return field[[]driftline.FeatureService](ctx, c, http.MethodGet, path("feature-services"), nil, "feature_services")
}

// FeatureService returns one registered feature service.
func (c *Client) FeatureService(ctx context.Context, name driftline.ServiceName) (*driftline.FeatureService, error) {
	return get[driftline.FeatureService](ctx, c, path("feature-services", string(name)))
}

// Datasets lists every version of every saved dataset.
func (c *Client) Datasets(ctx context.Context) ([]driftline.Dataset, error) {
	return field[[]driftline.Dataset](ctx, c, http.MethodGet, path("datasets"), nil, "datasets")
}

// Dataset returns what is known of one version of a dataset; version 0 is the newest.
func (c *Client) Dataset(ctx context.Context, name driftline.DatasetName, version int) (*driftline.Dataset, error) {
	segments := []string{"datasets", string(name)}
	if version != 0 {
		segments = append(segments, strconv.Itoa(version))
	}
	return get[driftline.Dataset](ctx, c, path(segments...))
}

// CreateRun starts a run.
func (c *Client) CreateRun(ctx context.Context, spec driftline.RunSpec) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodPost, path("runs"), spec)
}

// LogRun adds params, metrics, tags and inputs to a run.
func (c *Client) LogRun(ctx context.Context, id driftline.RunID, log driftline.RunLog) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodPost, path("runs", string(id), "log"), log)
}

// FinishRun ends a run with a status.
func (c *Client) FinishRun(ctx context.Context, id driftline.RunID, status driftline.RunStatus) (*driftline.Run, error) {
	body := struct {
		Status driftline.RunStatus `json:"status"`
	}{status}
	return ask[driftline.Run](ctx, c, http.MethodPost, path("runs", string(id), "finish"), body)
}

// ChangeRun changes what a run says of itself. One that ended runs again if the change says RUNNING.
func (c *Client) ChangeRun(ctx context.Context, id driftline.RunID, change driftline.RunChange) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodPatch, path("runs", string(id)), change)
}

// DeleteRun hides a run until it is restored, or removed for good by [Client.CleanUpRuns].
func (c *Client) DeleteRun(ctx context.Context, id driftline.RunID) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodDelete, path("runs", string(id)), nil)
}

// RestoreRun shows a deleted run again.
func (c *Client) RestoreRun(ctx context.Context, id driftline.RunID) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodPost, path("runs", string(id), "restore"), struct{}{})
}

// Heartbeat is a sign of life of a run that promised them.
func (c *Client) Heartbeat(ctx context.Context, id driftline.RunID) (*driftline.Run, error) {
	return ask[driftline.Run](ctx, c, http.MethodPost, path("runs", string(id), "heartbeat"), struct{}{})
}

// CleanUpRuns removes for good what was deleted.
func (c *Client) CleanUpRuns(ctx context.Context, cleanup driftline.RunCleanup) (*driftline.RunsRemoved, error) {
	return ask[driftline.RunsRemoved](ctx, c, http.MethodPost, path("runs", "gc"), cleanup)
}

// RunKeys returns the keys of params, metrics and tags that the runs of experiments have,
// of all if none is named.
func (c *Client) RunKeys(ctx context.Context, experiments ...driftline.ExperimentName) (*driftline.RunKeys, error) {
	query := url.Values{}
	for _, name := range experiments {
		query.Add("experiment", string(name))
	}
	return get[driftline.RunKeys](ctx, c, withQuery(path("run-keys"), query))
}

// Runs lists the runs of an experiment, or of all if experiment is empty.
func (c *Client) Runs(ctx context.Context, experiment driftline.ExperimentName) ([]driftline.Run, error) {
	query := url.Values{}
	if experiment != "" {
		query.Set("experiment", string(experiment))
	}
	var runs []driftline.Run
	for {
		page, err := get[driftline.RunPage](ctx, c, withQuery(path("runs"), query))
		if err != nil {
			return nil, err
		}
		if runs = append(runs, page.Runs...); page.Next == "" {
			return runs, nil
		}
		query.Set("after", page.Next)
	}
}

// SearchRuns returns the runs that a search finds, in its order.
func (c *Client) SearchRuns(ctx context.Context, search driftline.RunSearch) (*driftline.FoundRuns, error) {
	return ask[driftline.FoundRuns](ctx, c, http.MethodPost, path("runs", "search"), search)
}

// GroupRuns returns the runs that a search finds in groups, with what their metrics are.
func (c *Client) GroupRuns(ctx context.Context, grouping driftline.RunGrouping) (*driftline.FoundRunGroups, error) {
	return ask[driftline.FoundRunGroups](ctx, c, http.MethodPost, path("runs", "groups"), grouping)
}

// Experiments lists the experiments, deleted ones too.
func (c *Client) Experiments(ctx context.Context) ([]driftline.Experiment, error) {
	return field[[]driftline.Experiment](ctx, c, http.MethodGet, path("experiments"), nil, "experiments")
}

// Run returns one run.
func (c *Client) Run(ctx context.Context, id driftline.RunID) (*driftline.Run, error) {
	return get[driftline.Run](ctx, c, path("runs", string(id)))
}

// Metrics returns the whole history of one metric of a run.
func (c *Client) Metrics(ctx context.Context, id driftline.RunID, key string) ([]driftline.Metric, error) {
	return field[[]driftline.Metric](ctx, c, http.MethodGet, path("runs", string(id), "metrics", key), nil, "metrics")
}

// PutArtifact stores content under a path of the run: "model/model.joblib".
func (c *Client) PutArtifact(ctx context.Context, id driftline.RunID, artifactPath string, content io.Reader) (*driftline.Artifact, error) {
	response, err := c.send(ctx, http.MethodPut, artifactURL(id, artifactPath), "application/octet-stream", content)
	if err != nil {
		return nil, err
	}
	defer closeBody(response.Body)
	artifact := new(driftline.Artifact)
	if err := decodeJSON(response.Body, artifact); err != nil {
		return nil, err
	}
	return artifact, nil
}

// Artifact opens the stored bytes of an artifact. The caller closes them.
func (c *Client) Artifact(ctx context.Context, id driftline.RunID, artifactPath string) (io.ReadCloser, error) {
	response, err := c.send(ctx, http.MethodGet, artifactURL(id, artifactPath), "", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// artifactURL keeps the slashes of an artifact's path, which are part of its name.
func artifactURL(id driftline.RunID, artifactPath string) string {
	return path(append([]string{"runs", string(id), "artifacts"}, strings.Split(artifactPath, "/")...)...)
}

// Lineage returns what ref was made from (up) or what was made from it (down),
// depth steps away at most; 0 means all.
func (c *Client) Lineage(ctx context.Context, ref driftline.Ref, direction driftline.LineageDirection, depth int) (*driftline.Lineage, error) {
	query := url.Values{"ref": {ref.String()}}
	if direction != "" {
		query.Set("direction", string(direction))
	}
	if depth > 0 {
		query.Set("depth", strconv.Itoa(depth))
	}
	return get[driftline.Lineage](ctx, c, withQuery(path("lineage"), query))
}

// Why follows a prediction back to the rows that its model was trained on.
func (c *Client) Why(ctx context.Context, ask driftline.PredictionQuery) (*driftline.PredictionTrace, error) {
	query := url.Values{"prediction": {ask.Prediction}}
	if ask.Log != "" {
		query.Set("log", string(ask.Log))
	}
	if ask.Rows != 0 {
		query.Set("rows", strconv.Itoa(ask.Rows))
	}
	return get[driftline.PredictionTrace](ctx, c, withQuery(path("why"), query))
}

// Drift compares two tables of the server.
func (c *Client) Drift(ctx context.Context, request driftline.DriftRequest) (*driftline.DriftReport, error) {
	return ask[driftline.DriftReport](ctx, c, http.MethodPost, path("drift"), request)
}

// Performance measures a model whose predictions the server has.
func (c *Client) Performance(ctx context.Context, request driftline.PerformanceRequest) (*driftline.PerformanceReport, error) {
	return ask[driftline.PerformanceReport](ctx, c, http.MethodPost, path("performance"), request)
}

// DriftPage returns a report as a self-contained HTML page. The caller closes it.
func (c *Client) DriftPage(ctx context.Context, report *driftline.DriftReport) (io.ReadCloser, error) {
	body, err := encodeJSON(report)
	if err != nil {
		return nil, err
	}
	response, err := c.send(ctx, http.MethodPost, path("drift", "report"), "application/json", body)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// ProfileTable profiles a table of the server, which keeps the profiles.
func (c *Client) ProfileTable(ctx context.Context, request driftline.ProfileRequest) ([]driftline.ProfilePane, error) {
	panes, err := ask[[]driftline.ProfilePane](ctx, c, http.MethodPost, path("profiles"), request)
	if err != nil {
		return nil, err
	}
	return *panes, nil
}

// Profiles lists the panes that are kept of a source that lie in the window, of every
// source if it names none.
func (c *Client) Profiles(ctx context.Context, window driftline.ProfileWindow) ([]driftline.ProfilePane, error) {
	panes, err := get[[]driftline.ProfilePane](ctx, c, withQuery(path("profiles"), windowQuery(window)))
	if err != nil {
		return nil, err
	}
	return *panes, nil
}

// Profile merges what is kept of a window.
func (c *Client) Profile(ctx context.Context, window driftline.ProfileWindow) (*driftline.Profile, error) {
	return get[driftline.Profile](ctx, c, withQuery(path("profiles", "merged"), windowQuery(window)))
}

// MergeProfiles puts windows, and profiles that were read from files, together.
func (c *Client) MergeProfiles(ctx context.Context, windows ...driftline.ProfileWindow) (*driftline.ProfileFile, error) {
	return ask[driftline.ProfileFile](ctx, c, http.MethodPost, path("profiles", "merge"), driftline.ProfileMerge{Windows: windows})
}

// CompareProfiles compares two windows by what is kept of them.
func (c *Client) CompareProfiles(ctx context.Context, request driftline.ProfileComparison) (*driftline.DriftReport, error) {
	return ask[driftline.DriftReport](ctx, c, http.MethodPost, path("profiles", "compare"), request)
}

// DropProfiles has the server forget the panes of a window, and returns how many there were.
func (c *Client) DropProfiles(ctx context.Context, window driftline.ProfileWindow) (int, error) {
	dropped, err := ask[struct {
		Panes int `json:"panes"`
	}](ctx, c, http.MethodDelete, withQuery(path("profiles"), windowQuery(window)), nil)
	if err != nil {
		return 0, err
	}
	return dropped.Panes, nil
}

func windowQuery(w driftline.ProfileWindow) url.Values {
	query := url.Values{}
	if w.Source != "" {
		query.Set("source", w.Source)
	}
	if !w.Start.IsZero() {
		query.Set("start", w.Start.UTC().Format(time.RFC3339Nano))
	}
	if !w.End.IsZero() {
		query.Set("end", w.End.UTC().Format(time.RFC3339Nano))
	}
	return query
}

// Validate checks a table of the server.
func (c *Client) Validate(ctx context.Context, request driftline.ValidationRequest) (*driftline.ValidationReport, error) {
	return ask[driftline.ValidationReport](ctx, c, http.MethodPost, path("validate"), request)
}

// SuggestChecks learns checks from a table of the server, which passes them.
func (c *Client) SuggestChecks(ctx context.Context, table driftline.DriftSource) (*driftline.Validation, error) {
	return ask[driftline.Validation](ctx, c, http.MethodPost, path("validate", "suggest"), table)
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
