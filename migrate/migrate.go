package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// The tags that mark what was copied: from where, and, once all of it is here, when.
const (
	fromTag = "driftline.imported_from"
	doneTag = "driftline.imported"
)

// Migration copies one server into another.
type Migration struct {
	From, To *Server

	Experiments []string // names of those that are copied; all if there is none
	Origin      string   // what the marks say that it is from; the address if left out
	Progress    func(Report)

	report  Report
	into    map[string]string // experiment there → here
	deleted struct{ runs, experiments []string }
}

// Count is how many of a kind there are at the source and, of these, here.
type Count struct {
	There int64 `json:"there"`
	Here  int64 `json:"here"`
}

// Report says what was copied.
type Report struct {
	Source       string   `json:"source"`
	Experiments  Count    `json:"experiments"`
	Runs         Count    `json:"runs"`
	Params       Count    `json:"params"`
	Points       Count    `json:"metric_points"`
	Files        Count    `json:"files"`
	Bytes        Count    `json:"bytes"`
	LoggedModels Count    `json:"logged_models"`
	Models       Count    `json:"models"`
	Versions     Count    `json:"versions"`
	Aliases      Count    `json:"aliases"`
	Before       int64    `json:"runs_copied_before"` // that an earlier import had finished
	Problems     []string `json:"problems,omitempty"` // what could not be copied, and why
}

// Complete reports whether everything came over.
func (r *Report) Complete() bool {
	for _, c := range []Count{r.Experiments, r.Runs, r.Params, r.Points, r.Files, r.Bytes, r.LoggedModels, r.Models, r.Versions, r.Aliases} {
		if c.There != c.Here {
			return false
		}
	}
	return len(r.Problems) == 0
}

// maxProblems bounds the list; the counts tell of the rest.
const maxProblems = 100

func (m *Migration) problem(what string, err error) {
	if len(m.report.Problems) < maxProblems {
		m.report.Problems = append(m.report.Problems, what+": "+err.Error())
	}
}

func (m *Migration) tell() {
	if m.Progress != nil {
		m.Progress(m.report)
	}
}

// Run copies everything, and returns what came over also where it ends with an error. What
// cannot be copied is a problem of the report and keeps the rest from nothing.
func (m *Migration) Run(ctx context.Context) (*Report, error) {
	m.into = map[string]string{}
	if m.Origin == "" {
		m.Origin = originOf(m.From.URL)
	}
	m.report = Report{Source: m.Origin}
	for _, step := range []func(context.Context) error{m.copyExperiments, m.copyRuns, m.copyLoggedModels, m.copyModels, m.deleteWhatWas} {
		if err := step(ctx); err != nil {
			return &m.report, err
		}
	}
	m.tell()
	return &m.report, nil
}

// originOf is an address without what may be secret in it.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an MLflow server"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// every asks for all pages of a search.
func every[T any](ctx context.Context, s *Server, method, path string, asked map[string]any, list string, visit func(T) error) error {
	token := ""
	for {
		if token != "" {
			asked["page_token"] = token
		}
		var answer map[string]json.RawMessage
		var err error
		if method == http.MethodGet {
			query := url.Values{}
			for key, value := range asked {
				query.Set(key, fmt.Sprint(value))
			}
			err = s.call(ctx, method, path, query, nil, &answer)
		} else {
			err = s.call(ctx, method, path, nil, asked, &answer)
		}
		if err != nil {
			return err
		}
		var items []T
		if raw, ok := answer[list]; ok {
			if err := json.Unmarshal(raw, &items); err != nil {
				return driftline.Errorf(driftline.Invalid, "the answer to %s is not MLflow's: %v", path, err)
			}
		}
		for _, item := range items {
			if err := visit(item); err != nil {
				return err
			}
		}
		token = ""
		if raw, ok := answer["next_page_token"]; ok {
			_ = json.Unmarshal(raw, &token) // null is the end, too
		}
		if token == "" {
			return nil
		}
	}
}

func (m *Migration) copyExperiments(ctx context.Context) error {
	var there []experiment
	err := every(ctx, m.From, http.MethodPost, api+"experiments/search", map[string]any{"max_results": 1000, "view_type": "ALL"}, "experiments", func(e experiment) error {
		if len(m.Experiments) == 0 || slices.Contains(m.Experiments, e.Name) {
			there = append(there, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range m.Experiments {
		if !slices.ContainsFunc(there, func(e experiment) bool { return e.Name == name }) {
			return driftline.Errorf(driftline.NotFound, "the source has no experiment %q", clip(name))
		}
	}
	slices.SortFunc(there, func(a, b experiment) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) // the oldest first
	})
	for _, e := range there {
		m.report.Experiments.There++
		here, err := m.copyExperiment(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.problem("experiment "+e.Name, err)
			continue
		}
		m.into[e.ID] = here
		m.report.Experiments.Here++
		m.tell()
	}
	return nil
}

// copyExperiment returns the id here of an experiment of that name.
func (m *Migration) copyExperiment(ctx context.Context, e experiment) (string, error) {
	var found struct {
		Experiment experiment `json:"experiment"`
	}
	err := m.To.call(ctx, http.MethodGet, api+"experiments/get-by-name", url.Values{"experiment_name": {e.Name}}, nil, &found)
	here := found.Experiment.ID
	switch {
	case missing(err):
		var made struct {
			ID string `json:"experiment_id"`
		}
		if err := m.To.call(ctx, http.MethodPost, api+"experiments/create", nil, map[string]any{"name": e.Name, "tags": e.Tags}, &made); err != nil {
			return "", err
		}
		here = made.ID
	case err != nil:
		return "", err
	case found.Experiment.Stage == "deleted":
		if err := m.To.call(ctx, http.MethodPost, api+"experiments/restore", nil, map[string]any{"experiment_id": here}, nil); err != nil {
			return "", err
		}
	}
	for _, tag := range e.Tags {
		if err := m.To.call(ctx, http.MethodPost, api+"experiments/set-experiment-tag", nil, map[string]any{"experiment_id": here, "key": tag.Key, "value": tag.Value}, nil); err != nil {
			return "", err
		}
	}
	if e.Stage == "deleted" {
		m.deleted.experiments = append(m.deleted.experiments, here)
	}
	return here, nil
}

func (m *Migration) copyRuns(ctx context.Context) error {
	for there := range m.into {
		asked := map[string]any{"experiment_ids": []string{there}, "run_view_type": "ALL", "max_results": 1000, "order_by": []string{"attributes.start_time ASC"}}
		err := every(ctx, m.From, http.MethodPost, api+"runs/search", asked, "runs", func(r run) error {
			m.report.Runs.There++
			m.report.Params.There += int64(len(r.Data.Params))
			err := m.copyRun(ctx, &r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				m.problem("run "+r.Info.ID, err)
				return nil
			}
			m.report.Runs.Here++
			m.tell()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runHere is a run of ours as the protocol shows it; nil if there is none.
func (m *Migration) runHere(ctx context.Context, id string) (*run, error) {
	var found struct {
		Run run `json:"run"`
	}
	err := m.To.call(ctx, http.MethodGet, api+"runs/get", url.Values{"run_id": {id}}, nil, &found)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &found.Run, nil
}

var errOther = errors.New("there is another one here that was not imported from this source")

func (m *Migration) copyRun(ctx context.Context, r *run) error {
	here, err := m.runHere(ctx, r.Info.ID)
	if err != nil {
		return err
	}
	if here != nil && pairsMap(here.Data.Tags)[fromTag] != m.Origin {
		return errOther
	}
	if r.Info.Stage == "deleted" {
		m.deleted.runs = append(m.deleted.runs, r.Info.ID)
	}
	if here != nil && pairsMap(here.Data.Tags)[doneTag] != "" {
		m.report.Before++
		return m.countRun(ctx, r, here)
	}
	if here == nil {
		if err := m.createRun(ctx, r); err != nil {
			return err
		}
	} else if here.Info.Stage == "deleted" {
		if err := m.To.call(ctx, http.MethodPost, api+"runs/restore", nil, map[string]any{"run_id": r.Info.ID}, nil); err != nil {
			return err
		}
	}
	if err := m.copyRunData(ctx, r); err != nil {
		return err
	}
	if err := m.copyFiles(ctx, runFiles(m.From, &r.Info), runTarget(m.To, r.Info.ID)); err != nil {
		return err
	}
	if here, err = m.runHere(ctx, r.Info.ID); err != nil {
		return err
	}
	m.report.Params.Here += countIn(r.Data.Params, here.Data.Params)
	return m.finishRun(ctx, r)
}

// createRun makes a run under the id that it has there.
func (m *Migration) createRun(ctx context.Context, r *run) error {
	spec := driftline.RunSpec{
		ID: driftline.RunID(r.Info.ID), ExperimentID: driftline.ExperimentID(m.into[r.Info.ExperimentID]), Name: r.Info.Name, User: r.Info.User,
		Started: time.UnixMilli(int64(r.Info.Start)).UTC(), Tags: map[string]string{fromTag: m.Origin},
	}
	return m.To.call(ctx, http.MethodPost, "/api/v1/runs", nil, spec, nil)
}

// Limits of one log-batch.
const (
	batchMetrics = 1000
	batchPairs   = 100
)

func (m *Migration) copyRunData(ctx context.Context, r *run) error {
	for params := range slices.Chunk(r.Data.Params, batchPairs) {
		if err := m.logBatch(ctx, r.Info.ID, "params", params); err != nil {
			return err
		}
	}
	tags := slices.DeleteFunc(slices.Clone(r.Data.Tags), func(p pair) bool { return p.Key == "mlflow.runName" })
	for some := range slices.Chunk(tags, batchPairs) {
		if err := m.logBatch(ctx, r.Info.ID, "tags", some); err != nil {
			return err
		}
	}
	for _, last := range r.Data.Metrics {
		if err := m.copyHistory(ctx, r.Info.ID, last.Key); err != nil {
			return fmt.Errorf("metric %q: %w", clip(last.Key), err)
		}
	}
	var inputs struct {
		Datasets json.RawMessage `json:"dataset_inputs,omitempty"`
		Models   json.RawMessage `json:"model_inputs,omitempty"`
	}
	if len(r.Inputs) > 0 && json.Unmarshal(r.Inputs, &inputs) == nil && len(inputs.Datasets)+len(inputs.Models) > 0 {
		body := map[string]any{"run_id": r.Info.ID, "datasets": inputs.Datasets, "models": inputs.Models}
		if err := m.To.call(ctx, http.MethodPost, api+"runs/log-inputs", nil, body, nil); err != nil {
			return err
		}
	}
	var outputs struct {
		Models json.RawMessage `json:"model_outputs,omitempty"`
	}
	if len(r.Outputs) > 0 && json.Unmarshal(r.Outputs, &outputs) == nil && len(outputs.Models) > 0 {
		return m.To.call(ctx, http.MethodPost, api+"runs/outputs", nil, map[string]any{"run_id": r.Info.ID, "models": outputs.Models}, nil)
	}
	return nil
}

func (m *Migration) logBatch(ctx context.Context, id, what string, items any) error {
	return m.To.call(ctx, http.MethodPost, api+"runs/log-batch", nil, map[string]any{"run_id": id, what: items}, nil)
}

// historyPage is how many points one answer may have.
const historyPage = 25_000

// history yields the points of a metric, as they are written.
func history(ctx context.Context, s *Server, run, key string, visit func(metric) error) error {
	asked := map[string]any{"run_id": run, "run_uuid": run, "metric_key": key, "max_results": historyPage}
	return every(ctx, s, http.MethodGet, api+"metrics/get-history", asked, "metrics", visit)
}

// copyHistory copies the points of a metric and counts what is here then. A point that is
// sent twice is one.
func (m *Migration) copyHistory(ctx context.Context, run, key string) error {
	var batch []metric
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := m.logBatch(ctx, run, "metrics", batch)
		batch = batch[:0]
		return err
	}
	err := history(ctx, m.From, run, key, func(p metric) error {
		m.report.Points.There++
		if batch = append(batch, p); len(batch) == batchMetrics {
			m.tell()
			return send()
		}
		return nil
	})
	if err == nil {
		err = send()
	}
	if err != nil {
		return err
	}
	return m.countHistory(ctx, run, key)
}

func (m *Migration) countHistory(ctx context.Context, run, key string) error {
	return history(ctx, m.To, run, key, func(metric) error { m.report.Points.Here++; return nil })
}

// countRun counts what there is of a run that was copied before.
func (m *Migration) countRun(ctx context.Context, r, here *run) error {
	m.report.Params.Here += countIn(r.Data.Params, here.Data.Params)
	for _, last := range r.Data.Metrics {
		err := history(ctx, m.From, r.Info.ID, last.Key, func(metric) error { m.report.Points.There++; return nil })
		if err == nil {
			err = m.countHistory(ctx, r.Info.ID, last.Key)
		}
		if err != nil {
			return err
		}
	}
	return m.countFiles(ctx, runFiles(m.From, &r.Info), runTarget(m.To, r.Info.ID))
}

// countIn is how many of the pairs there are among those here.
func countIn(there, here []pair) (n int64) {
	values := pairsMap(here)
	for _, p := range there {
		if value, ok := values[p.Key]; ok && value == p.Value {
			n++
		}
	}
	return n
}

// finishRun gives a run its end, if it has one, and then marks it as copied: the mark is the
// last write, so that a copy that was stopped before it is taken up again.
func (m *Migration) finishRun(ctx context.Context, r *run) error {
	if r.Info.Status == "RUNNING" || r.Info.Status == "SCHEDULED" {
		return nil // what it still logs is copied the next time
	}
	end := map[string]any{"run_id": r.Info.ID, "status": r.Info.Status}
	if r.Info.End != 0 {
		end["end_time"] = int64(r.Info.End)
	}
	if err := m.To.call(ctx, http.MethodPost, api+"runs/update", nil, end, nil); err != nil {
		return err
	}
	return m.logBatch(ctx, r.Info.ID, "tags", []pair{m.done()})
}

// deleteWhatWas deletes here what is deleted there, after everything that needs it.
func (m *Migration) deleteWhatWas(ctx context.Context) error {
	for _, id := range m.deleted.runs {
		if err := m.To.call(ctx, http.MethodPost, api+"runs/delete", nil, map[string]any{"run_id": id}, nil); err != nil && !strings.Contains(err.Error(), "deleted") {
			m.problem("run "+id, err)
		}
	}
	for _, id := range m.deleted.experiments {
		if err := m.To.call(ctx, http.MethodPost, api+"experiments/delete", nil, map[string]any{"experiment_id": id}, nil); err != nil {
			m.problem("experiment "+id, err)
		}
	}
	return ctx.Err()
}
