package web

import (
	"cmp"
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Server) createRun(r *http.Request) (*driftline.Run, error) {
	spec, err := readJSON[driftline.RunSpec](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().CreateRunOnce(r.Header.Get(idempotencyHeader), spec)
}

func (s *Server) runs(r *http.Request) (driftline.RunPage, error) {
	limit, err := numberIn(r, "limit", standardRuns)
	if err == nil && limit > mostRuns {
		err = unfit("limit is %d, want at most %d", limit, mostRuns)
	}
	if err != nil {
		return driftline.RunPage{}, err
	}
	query := r.URL.Query()
	return s.engine.Registry().Runs(driftline.ExperimentName(query.Get("experiment")), query.Get("after"), limit)
}

type experimentList struct {
	Experiments []driftline.Experiment `json:"experiments"`
}

func (s *Server) experiments(*http.Request) (experimentList, error) {
	return experimentList{Experiments: list(s.engine.Registry().Experiments())}, nil
}

// Limits on how many runs an answer has.
const (
	standardRuns = 1000
	mostRuns     = 50_000
)

func (s *Server) searchRuns(r *http.Request) (driftline.FoundRuns, error) {
	asked, err := readJSON[driftline.RunSearch](r)
	if err != nil {
		return driftline.FoundRuns{}, err
	}
	if asked.Limit < 0 || asked.Limit > mostRuns || asked.Offset < 0 {
		return driftline.FoundRuns{}, unfit("limit is %d and offset %d; a limit is at most %d, and neither is negative", asked.Limit, asked.Offset, mostRuns)
	}
	ids, err := s.experimentIDs(asked.Experiments)
	if err != nil {
		return driftline.FoundRuns{}, err
	}
	search := registry.Search{Filter: asked.Filter, OrderBy: asked.OrderBy, Offset: asked.Offset, Limit: cmp.Or(asked.Limit, standardRuns)}
	if asked.Deleted {
		search.Stage = registry.DeletedStage
	}
	runs, total, err := s.engine.Registry().SearchRuns(ids, search)
	return driftline.FoundRuns{Runs: list(runs), More: total > search.Offset+len(runs), Total: total}, err
}

func (s *Server) runKeys(r *http.Request) (driftline.RunKeys, error) {
	var names []driftline.ExperimentName
	for _, name := range r.URL.Query()["experiment"] {
		names = append(names, driftline.ExperimentName(name))
	}
	ids, err := s.experimentIDs(names)
	if err != nil {
		return driftline.RunKeys{}, err
	}
	return s.engine.Registry().RunKeys(ids, registry.ActiveStage), nil
}

// experimentIDs returns the ids of experiments, of all if none is named.
func (s *Server) experimentIDs(names []driftline.ExperimentName) ([]driftline.ExperimentID, error) {
	var ids []driftline.ExperimentID
	if len(names) == 0 {
		for _, e := range s.engine.Registry().Experiments() {
			ids = append(ids, e.ID)
		}
		return ids, nil
	}
	for _, name := range names {
		e, err := s.engine.Registry().ExperimentNamed(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func runOf(r *http.Request) driftline.RunID { return driftline.RunID(r.PathValue("id")) }

func (s *Server) run(r *http.Request) (*driftline.Run, error) {
	return s.engine.Registry().Run(runOf(r))
}

func (s *Server) logRun(r *http.Request) (*driftline.Run, error) {
	entry, err := readJSON[driftline.RunLog](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().LogRun(runOf(r), entry)
}

func (s *Server) finishRun(r *http.Request) (*driftline.Run, error) {
	end, err := readJSON[struct {
		Status driftline.RunStatus `json:"status"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().FinishRun(runOf(r), end.Status)
}

func (s *Server) changeRun(r *http.Request) (*driftline.Run, error) {
	change, err := readJSON[driftline.RunChange](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().ChangeRun(runOf(r), change)
}

func (s *Server) deleteRun(r *http.Request) (*driftline.Run, error) {
	return s.engine.Registry().DeleteRun(runOf(r))
}

func (s *Server) restoreRun(r *http.Request) (*driftline.Run, error) {
	return s.engine.Registry().RestoreRun(runOf(r))
}

func (s *Server) heartbeat(r *http.Request) (*driftline.Run, error) {
	return s.engine.Registry().Heartbeat(runOf(r))
}

func (s *Server) cleanUpRuns(r *http.Request) (driftline.RunsRemoved, error) {
	request, err := readJSON[driftline.RunCleanup](r)
	if err != nil {
		return driftline.RunsRemoved{}, err
	}
	return s.engine.CleanUp(r.Context(), request)
}

type metricList struct {
	Metrics []driftline.Metric `json:"metrics"`
}

func (s *Server) metricHistory(r *http.Request) (metricList, error) {
	points, err := s.history(runOf(r), r.PathValue("key"))
	return metricList{Metrics: list(points)}, err
}

func (s *Server) history(run driftline.RunID, key string) ([]driftline.Metric, error) {
	var points []driftline.Metric
	for point, err := range s.engine.Registry().Metrics(run, key) {
		if err != nil {
			return nil, err
		}
		points = append(points, point)
	}
	return points, nil
}
