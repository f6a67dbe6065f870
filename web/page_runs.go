package web

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// The size of the table of runs.
const (
	runsPerPage      = 50
	maxMetricColumns = 8 // chosen where nobody chooses; a run's own page shows them all
	maxParamColumns  = 4
	maxRunColumns    = 40  // that one may choose
	maxKeyChoices    = 300 // offered to be ticked; others are typed
)

// runsPage is the table of runs: what is searched for, and one page of what was found. What
// it shows is in its address, so that it can be kept and sent.
type runsPage struct {
	runsQuery
	Experiments []driftline.Experiment
	Runs        []runRow
	Columns     []runColumn
	Choices     []keyChoice
	Unoffered   int // keys that are not among Choices
	More        bool
	Grouped     *runGroups       // in place of Runs
	Error       *driftline.Error // of the filter; nil if it could be read
}

// runsQuery is what the address asks for.
type runsQuery struct {
	Experiment driftline.ExperimentName
	Filter     string
	Sort       string // a column's name, or "" for the newest first
	Ascending  bool
	Deleted    bool
	Chosen     []string // names of columns; the page chooses if there is none
	Page       int      // from 1
	Group      string   // a column's name, or "parent"
	Opened     []string // names of groups
}

// runColumn is a column of the table: metrics.auc, params.depth, tags.team, or an attribute.
type runColumn struct {
	Name string
	listHead
}

// keyChoice is a column that can be chosen.
type keyChoice struct {
	Name   string
	Chosen bool
}

// runRow is a run in the table: its values in the order of the columns.
type runRow struct {
	driftline.Run
	Cells []string
}

func readRunsQuery(values url.Values) runsQuery {
	q := runsQuery{
		Experiment: driftline.ExperimentName(values.Get("experiment")), Filter: strings.TrimSpace(values.Get("filter")),
		Sort: columnName(values.Get("sort")), Ascending: values.Get("order") == "asc", Deleted: values.Get("deleted") != "",
	}
	for _, name := range values["column"] {
		for one := range strings.SplitSeq(name, ",") {
			if one = columnName(one); one != "" && !slices.Contains(q.Chosen, one) && len(q.Chosen) < maxRunColumns {
				q.Chosen = append(q.Chosen, one)
			}
		}
	}
	if q.Group = strings.TrimSpace(values.Get("group")); q.Group != "" {
		q.Opened = values["open"][:min(len(values["open"]), maxOpenGroups)]
	}
	q.Page, _ = strconv.Atoi(values.Get("page"))
	q.Page = min(max(q.Page, 1), 1_000_000)
	return q
}

// columnName is the whole name of a column; a bare one that is no attribute is a metric's.
func columnName(text string) string {
	text = strings.TrimSpace(text)
	kind, _, dotted := strings.Cut(text, ".")
	if text == "" || slices.Contains(runAttributes, text) || dotted && slices.Contains([]string{"metrics", "params", "tags"}, kind) {
		return text
	}
	return "metrics." + text
}

// runAttributes are what every run has, as the language of searches names it; duration is ours.
var runAttributes = []string{"status", "start_time", "end_time", "user_id", "run_name", "duration"}

// orderBy is the order of a search by a column.
func (q runsQuery) orderBy() []string {
	if q.Sort == "" || q.Sort == "duration" {
		return nil
	}
	clause := q.Sort
	if kind, key, ok := strings.Cut(q.Sort, "."); ok {
		clause = kind + ".`" + strings.ReplaceAll(key, "`", "``") + "`"
	}
	if q.Ascending {
		return []string{clause + " ASC"}
	}
	return []string{clause + " DESC"}
}

// URL is the address of this page with some of what it asks for changed.
func (q runsQuery) URL() string {
	values := url.Values{}
	for name, value := range map[string]string{"experiment": string(q.Experiment), "filter": q.Filter, "sort": q.Sort, "group": q.Group} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if q.Sort != "" && q.Ascending {
		values.Set("order", "asc")
	}
	if q.Deleted {
		values.Set("deleted", "1")
	}
	if len(q.Chosen) > 0 {
		values["column"] = q.Chosen
	}
	if q.Group != "" && len(q.Opened) > 0 {
		values["open"] = q.Opened
	}
	if q.Page > 1 {
		values.Set("page", strconv.Itoa(q.Page))
	}
	if len(values) == 0 {
		return "/runs"
	}
	return "/runs?" + values.Encode()
}

// ExperimentURL shows the runs of another experiment, or of all.
func (q runsQuery) ExperimentURL(name driftline.ExperimentName) string {
	q.Experiment, q.Page = name, 1
	return q.URL()
}

// PageURL is the address of another page of the same search.
func (q runsQuery) PageURL(by int) string {
	q.Page += by
	return q.URL()
}

// DeletedURL turns between the runs that there are and the deleted ones.
func (q runsQuery) DeletedURL() string {
	q.Deleted, q.Page = !q.Deleted, 1
	return q.URL()
}

// sortedURL is the address of the first page in another order.
func (q runsQuery) sortedURL(by sortedBy) string {
	q.Sort, q.Ascending, q.Page = by.column, by.order() == "asc", 1
	return q.URL()
}

// Heads are the heads of the table's columns.
func (p *runsPage) Heads() []listHead {
	heads := make([]listHead, len(p.Columns))
	for i, c := range p.Columns {
		heads[i] = c.listHead
	}
	return heads
}

// column is a column of the table. Nobody can sort by duration.
func (q runsQuery) column(name string) runColumn {
	head := listHead{Label: strings.TrimPrefix(strings.TrimPrefix(name, "metrics."), "params."), Right: strings.HasPrefix(name, "metrics.") || name == "duration"}
	if name != "duration" {
		head = head.sorting(sortedBy{name, true}, q.Sort == name, !q.Ascending, q.sortedURL)
	}
	return runColumn{name, head}
}

func (s *Server) runsPage(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	body := runsPage{runsQuery: readRunsQuery(values), Experiments: s.engine.Registry().Experiments()}
	if id := values.Get("experiment_id"); id != "" {
		e, err := s.engine.Registry().Experiment(driftline.ExperimentID(id))
		if err != nil {
			return err
		}
		body.Experiment = e.Name
	}
	body.Experiments = slices.DeleteFunc(body.Experiments, func(e driftline.Experiment) bool {
		return e.Name != body.Experiment && (e.Deleted != body.Deleted || e.Runs == 0)
	})
	if err := s.findRuns(&body); driftline.CodeOf(err) == driftline.Invalid {
		body.Error, _ = present(err)
	} else if err != nil {
		return err
	}
	return s.render(w, "runs", page{Title: "Runs", Section: "runs", Body: &body})
}

// findRuns fills the page with what its query finds.
func (s *Server) findRuns(p *runsPage) error {
	var names []driftline.ExperimentName
	if p.Experiment != "" {
		names = append(names, p.Experiment)
	}
	ids, err := s.experimentIDs(names)
	if err != nil {
		return err
	}
	search := registry.Search{Filter: p.Filter, OrderBy: p.orderBy(), Offset: (p.Page - 1) * runsPerPage, Limit: runsPerPage}
	if p.Deleted {
		search.Stage = registry.DeletedStage
	}
	if p.Group != "" {
		return s.findGroups(p, ids, search.Stage)
	}
	runs, total, err := s.engine.Registry().SearchRuns(ids, search)
	if err != nil {
		return err
	}
	p.More = total > search.Offset+len(runs)
	p.choose(runs)
	for i := range runs {
		row := runRow{Run: runs[i]}
		for _, c := range p.Columns {
			row.Cells = append(row.Cells, runCell(&runs[i], c.Name))
		}
		p.Runs = append(p.Runs, row)
	}
	return nil
}

// choose sets the columns, and what can be chosen in their place.
func (p *runsPage) choose(runs []driftline.Run) {
	keys := keysOf(runs)
	names := p.Chosen
	if len(names) == 0 {
		names = standardColumns(runs, keys)
	}
	for _, name := range names {
		p.Columns = append(p.Columns, p.column(name))
	}
	for _, name := range slices.Concat(runAttributes, keys) {
		if slices.Contains(names, name) || len(p.Choices) < maxKeyChoices {
			p.Choices = append(p.Choices, keyChoice{Name: name, Chosen: slices.Contains(names, name)})
		} else {
			p.Unoffered++
		}
	}
}

// keysOf returns the columns that runs have something in: metrics, params, then tags, and of each kind those
// that most runs have before the others.
func keysOf(runs []driftline.Run) []string {
	metrics, params, tags := map[string]int{}, map[string]int{}, map[string]int{}
	for i := range runs {
		for key := range runs[i].Metrics {
			metrics["metrics."+key]++
		}
		for key := range runs[i].Params {
			params["params."+key]++
		}
		for key := range runs[i].Tags {
			tags["tags."+key]++
		}
	}
	return slices.Concat(mostFirst(metrics), mostFirst(params), mostFirst(tags))
}

// mostFirst are the names of counts, the greatest first, by name where they are equal.
func mostFirst(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
}

// standardColumns are those of the first metrics, and of the first params that tell the runs apart.
func standardColumns(runs []driftline.Run, keys []string) []string {
	var metrics, params []string
	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, "metrics.") && len(metrics) < maxMetricColumns:
			metrics = append(metrics, key)
		case strings.HasPrefix(key, "params.") && len(params) < maxParamColumns && tellsApart(runs, key):
			params = append(params, key)
		}
	}
	return slices.Concat([]string{"status"}, metrics, params, []string{"start_time"})
}

// tellsApart reports whether a column is not the same in all runs.
func tellsApart(runs []driftline.Run, column string) bool {
	for i := range runs {
		if runCell(&runs[i], column) != runCell(&runs[0], column) {
			return true
		}
	}
	return false
}

// runCell is what a run has in a column, "" for nothing.
func runCell(run *driftline.Run, column string) string {
	kind, key, _ := strings.Cut(column, ".")
	switch kind {
	case "metrics":
		return metricText(run.Metrics, key)
	case "params":
		return run.Params[key]
	case "tags":
		return run.Tags[key]
	case "status":
		return string(run.Status)
	case "start_time":
		return stampText(run.Started)
	case "end_time":
		return stampText(run.Ended)
	case "user_id":
		return run.User
	case "run_name":
		return run.Name
	case "duration":
		return lastedText(run)
	}
	return ""
}

// lastedText is how long a run took, "" while it goes on.
func lastedText(run *driftline.Run) string {
	if run.Ended.IsZero() {
		return ""
	}
	span := run.Ended.Sub(run.Started)
	return span.Round(max(time.Millisecond, (span / 1000).Truncate(time.Millisecond))).String()
}

// maxCurves is how many metrics a run's page draws at once.
const maxCurves = 24

type runPage struct {
	*driftline.Run
	Ref      driftline.Ref
	Lasted   string
	Find     string // part of the names of the metrics that are shown
	Curves   []plot
	From     int // of the metrics that match, from 1
	Matching int
	Next     string // address of the next metrics
	Files    []runFile
	Models   []driftline.ModelVersion
}

func (s *Server) runPage(w http.ResponseWriter, r *http.Request) error {
	run, err := s.run(r)
	if err != nil {
		return err
	}
	values := r.URL.Query()
	body := runPage{Run: run, Ref: run.Ref(), Lasted: lastedText(run), Find: values.Get("find"), Models: s.modelsOf(run.ID)}
	if err := s.drawMetrics(&body, values); err != nil {
		return err
	}
	tables := 0
	for _, a := range run.Artifacts {
		file := s.seen(r.Context(), run.ID, a, tables < maxTables)
		if file.Table != nil {
			tables++
		}
		body.Files = append(body.Files, file)
	}
	if run.Status == driftline.RunRunning {
		w.Header().Set("Refresh", "10") // the page follows a run that goes on
	}
	return s.render(w, "run", page{Title: string(run.ID), Section: "runs", Body: body})
}

// drawMetrics draws one page of the run's metrics.
func (s *Server) drawMetrics(body *runPage, values url.Values) error {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(body.Metrics)) {
		if strings.Contains(key, body.Find) {
			keys = append(keys, key)
		}
	}
	from, _ := strconv.Atoi(values.Get("from"))
	from = min(max(from, 0), len(keys))
	body.From, body.Matching = from+1, len(keys)
	shown := keys[from:min(from+maxCurves, len(keys))]
	if next := from + len(shown); next < len(keys) {
		body.Next = "/runs/" + url.PathEscape(string(body.ID)) + "?" + url.Values{"find": {body.Find}, "from": {strconv.Itoa(next)}}.Encode()
	}
	for _, key := range shown {
		drawn, err := s.readSeries(body.ID, key, seriesOptions{})
		if err != nil {
			return err
		}
		body.Curves = append(body.Curves, drawPlot(key, []series{drawn}, false))
	}
	return nil
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
	slices.SortStableFunc(made, func(a, b driftline.ModelVersion) int { return cmp.Compare(a.Model, b.Model) })
	return made
}
