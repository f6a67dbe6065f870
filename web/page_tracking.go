package web

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

var nan = math.NaN()

// runsPage is the table of runs: one column per metric, sortable by each.
type runsPage struct {
	Experiment  driftline.ExperimentName
	Experiments []driftline.ExperimentName
	Runs        []driftline.Run
	Metrics     []string
	Sort        string
	Ascending   bool
}

// maxMetricColumns keeps a table readable; a run's own page shows them all.
const maxMetricColumns = 8

func (s *Server) runsPage(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	body := runsPage{Experiment: driftline.ExperimentName(query.Get("experiment")),
		Sort: query.Get("sort"), Ascending: query.Get("order") == "asc"}
	metrics, experiments := map[string]bool{}, map[driftline.ExperimentName]bool{}
	runs, err := s.engine.Registry().Runs("")
	if err != nil {
		return err
	}
	for _, run := range runs {
		experiments[run.Experiment] = true
		if body.Experiment != "" && run.Experiment != body.Experiment {
			continue
		}
		body.Runs = append(body.Runs, run)
		for key := range run.Metrics {
			metrics[key] = true
		}
	}
	body.Experiments = slices.Sorted(maps.Keys(experiments))
	body.Metrics = slices.Sorted(maps.Keys(metrics))
	body.Metrics = body.Metrics[:min(len(body.Metrics), maxMetricColumns)]
	body.sort()
	return s.render(w, "runs", page{Title: "Runs", Section: "runs", Body: body})
}

// sort orders by the chosen metric; runs without it come last either way. The
// newest run comes first otherwise.
func (p *runsPage) sort() {
	slices.SortStableFunc(p.Runs, func(a, b driftline.Run) int {
		if p.Sort == "" {
			return b.Started.Compare(a.Started)
		}
		x, okX := a.Metrics[p.Sort]
		y, okY := b.Metrics[p.Sort]
		switch {
		case okX != okY && okX:
			return -1
		case okX != okY:
			return 1
		case p.Ascending:
			return cmp.Compare(x, y)
		}
		return cmp.Compare(y, x)
	})
}

// SortURL is the address of the table sorted by a metric; asking again turns the order.
func (p runsPage) SortURL(metric string) string {
	values := url.Values{"sort": {metric}}
	if p.Experiment != "" {
		values.Set("experiment", string(p.Experiment))
	}
	if p.Sort == metric && !p.Ascending {
		values.Set("order", "asc")
	}
	return "/runs?" + values.Encode()
}

type runPage struct {
	*driftline.Run
	Ref    driftline.Ref
	Curves []curve
	Models []driftline.ModelVersion
}

func (s *Server) runPage(w http.ResponseWriter, r *http.Request) error {
	run, err := s.run(r)
	if err != nil {
		return err
	}
	body := runPage{Run: run, Ref: run.Ref()}
	for _, key := range slices.Sorted(maps.Keys(run.Metrics)) {
		history, err := s.history(run.ID, key)
		if err != nil {
			return err
		}
		body.Curves = append(body.Curves, drawCurve(key, history))
	}
	body.Models = s.modelsOf(run.ID)
	return s.render(w, "run", page{Title: string(run.ID), Section: "runs", Body: body})
}

// modelsOf finds the model versions that were registered from a run.
func (s *Server) modelsOf(run driftline.RunID) []driftline.ModelVersion {
	var made []driftline.ModelVersion
	for _, m := range s.engine.Registry().Models() {
		versions, err := s.engine.Registry().ModelVersions(m.Name)
		if err != nil {
			continue // deleted since it was listed
		}
		for _, v := range versions {
			if v.Run == run {
				made = append(made, v)
			}
		}
	}
	return made
}

// modelRow is one registered model: its newest version and where its aliases point.
type modelRow struct {
	driftline.RegisteredModel
	Pointers []pointer
}

type pointer struct {
	Alias   driftline.Alias
	Version int
}

func (s *Server) modelsPage(w http.ResponseWriter, r *http.Request) error {
	var rows []modelRow
	for _, m := range s.engine.Registry().Models() {
		rows = append(rows, modelRow{RegisteredModel: m, Pointers: pointersOf(m.Aliases)})
	}
	return s.render(w, "models", page{Title: "Models", Section: "models", Body: rows})
}

func pointersOf(aliases map[driftline.Alias]int) []pointer {
	var found []pointer
	for alias, version := range aliases {
		found = append(found, pointer{Alias: alias, Version: version})
	}
	slices.SortFunc(found, func(a, b pointer) int { return strings.Compare(string(a.Alias), string(b.Alias)) })
	return found
}

type modelPage struct {
	Model    driftline.ModelName
	Versions []modelPageVersion // the newest first
	Pointers []pointer
}

type modelPageVersion struct {
	driftline.ModelVersion
	Ref     driftline.Ref
	Metrics map[string]driftline.Number // of the run
}

func (s *Server) modelPage(w http.ResponseWriter, r *http.Request) error {
	versions, err := s.engine.Registry().ModelVersions(modelOf(r))
	if err != nil {
		return err
	}
	body := modelPage{Model: modelOf(r), Pointers: pointersOf(aliasesOf(versions))}
	for _, v := range slices.Backward(versions) {
		shown := modelPageVersion{ModelVersion: v, Ref: v.Ref()}
		if run, err := s.engine.Registry().Run(v.Run); err == nil {
			shown.Metrics = run.Metrics
		}
		body.Versions = append(body.Versions, shown)
	}
	return s.render(w, "model", page{Title: string(body.Model), Section: "models", Body: body})
}
