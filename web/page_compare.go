package web

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/driftline/driftline"
)

// The bounds of a comparison: what can still be told apart by eye.
const (
	maxCompared   = 20
	maxPlots      = 12
	maxAxes       = 10 // of the parallel coordinates
	maxDifferRows = 500
)

// comparePage sets runs side by side.
type comparePage struct {
	compareQuery
	Runs      []comparedRun
	Params    compareTable
	Metrics   compareTable
	Curves    []plot
	Unplotted int // metrics with a history that are not drawn
	Parallel  *parallel
	Scatter   *scatter
	Axes      []string // what can be an axis of the scatter

	Files       []comparedFile
	UnseenFiles int // names of pictures and tables that are not shown
}

// compareQuery is what the address asks for.
type compareQuery struct {
	IDs    []string
	Find   string // part of the names of params and metrics
	All    bool   // what is the same in all runs, too
	ByTime bool
	Log    bool
	Smooth string // as it was typed
	X, Y   string // axes of the scatter
}

type comparedRun struct {
	driftline.Run
	Class  string
	Lasted string
	Drop   string // address of the comparison without this run
}

// Label is what a person calls the run.
func (r *comparedRun) Label() string { return cmp.Or(r.Name, string(r.ID)) }

// compareTable has a row per key and a cell per run.
type compareTable struct {
	Rows   []compareRow
	Same   int // keys that are the same in all runs and not shown
	Unseen int // of those that differ, beyond maxDifferRows
}

type compareRow struct {
	Key     string
	Cells   []string
	Differs bool
}

func readCompareQuery(values url.Values) (compareQuery, error) {
	q := compareQuery{Find: values.Get("find"), All: values.Get("all") != "", ByTime: values.Get("by") == "time", Log: values.Get("scale") == "log",
		Smooth: values.Get("smooth"), X: values.Get("x"), Y: values.Get("y")}
	for _, id := range values["run"] {
		if !slices.Contains(q.IDs, id) {
			q.IDs = append(q.IDs, id)
		}
	}
	switch n := len(q.IDs); {
	case n == 0:
		return q, driftline.Errorf(driftline.Invalid, "no run is given to compare").WithHint("tick two or more on the page of runs")
	case n > maxCompared:
		return q, driftline.Errorf(driftline.Invalid, "%d runs are given to compare, and at most %d are shown side by side", n, maxCompared).
			WithHint("compare fewer, or ask meta.params and meta.metrics by SQL")
	}
	return q, nil
}

// options are how histories are drawn.
func (q compareQuery) options() (seriesOptions, error) {
	o := seriesOptions{ByTime: q.ByTime, Log: q.Log}
	if q.Smooth == "" {
		return o, nil
	}
	weight, err := strconv.ParseFloat(q.Smooth, 64)
	if err != nil || !(weight >= 0 && weight < 1) {
		return o, driftline.Errorf(driftline.Invalid, "smooth is %q", clip(q.Smooth)).WithHint("a number from 0 to below 1: 0.9 smooths strongly")
	}
	o.Smooth = weight
	return o, nil
}

// without is the address of the comparison without one run.
func (q compareQuery) without(id driftline.RunID) string {
	values := url.Values{"run": slices.DeleteFunc(slices.Clone(q.IDs), func(other string) bool { return other == string(id) })}
	for name, value := range map[string]string{"find": q.Find, "smooth": q.Smooth, "x": q.X, "y": q.Y} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for name, value := range map[string]bool{"all=1": q.All, "by=time": q.ByTime, "scale=log": q.Log} {
		if key, chosen, _ := strings.Cut(name, "="); value {
			values.Set(key, chosen)
		}
	}
	return "/runs/compare?" + values.Encode()
}

func (s *Server) comparePage(w http.ResponseWriter, r *http.Request) error {
	query, err := readCompareQuery(r.URL.Query())
	if err != nil {
		return err
	}
	body := comparePage{compareQuery: query}
	for i, id := range query.IDs {
		run, err := s.engine.Registry().Run(driftline.RunID(id))
		if err != nil {
			return err
		}
		body.Runs = append(body.Runs, comparedRun{Run: *run, Class: lineClass(i), Lasted: lastedText(run), Drop: query.without(run.ID)})
	}
	body.Params = body.table("params.")
	body.Metrics = body.table("metrics.")
	if err := s.drawCompared(&body); err != nil {
		return err
	}
	body.drawRelations()
	s.compareFiles(r.Context(), &body)
	return s.render(w, "compare", page{Title: "Comparison of runs", Section: "runs", Body: body})
}

// keys returns the names of the columns of a kind that match what is looked for.
func (p *comparePage) keys(kind string) []string {
	found := map[string]bool{}
	for i := range p.Runs {
		run := &p.Runs[i]
		if kind == "params." {
			for key := range run.Params {
				found[key] = true
			}
			continue
		}
		for key := range run.Metrics {
			found[key] = true
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(key string) bool { return !strings.Contains(key, p.Find) })
}

func (p *comparePage) table(kind string) (t compareTable) {
	for _, key := range p.keys(kind) {
		row := compareRow{Key: key}
		for i := range p.Runs {
			cell := runCell(&p.Runs[i].Run, kind+key)
			row.Cells = append(row.Cells, cell)
			row.Differs = row.Differs || cell != row.Cells[0]
		}
		switch {
		case !row.Differs && !p.All && len(p.Runs) > 1:
			t.Same++
		case len(t.Rows) == maxDifferRows:
			t.Unseen++
		default:
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// drawCompared lays the histories of a metric over each other, for the first metrics that have one.
func (s *Server) drawCompared(p *comparePage) error {
	options, err := p.options()
	if err != nil {
		return err
	}
	for _, key := range p.keys("metrics.") {
		if len(p.Curves) == maxPlots {
			p.Unplotted++
			continue
		}
		var all []series
		long := false
		for i := range p.Runs {
			one := series{Run: p.Runs[i].ID, Low: math.Inf(1), High: math.Inf(-1)}
			if _, has := p.Runs[i].Metrics[key]; has {
				if one, err = s.readSeries(p.Runs[i].ID, key, options); err != nil {
					return err
				}
			}
			long = long || one.Count > 1
			all = append(all, one)
		}
		if long {
			p.Curves = append(p.Curves, drawPlot(key, all, p.Log))
		}
	}
	return nil
}

// axisValue is a run's value on an axis, if it is a finite number.
func axisValue(run *driftline.Run, axis string) (float64, bool) {
	kind, key, _ := strings.Cut(axis, ".")
	if kind == "metrics" {
		value, ok := run.Metrics[key]
		return float64(value), ok && !math.IsNaN(float64(value)) && !math.IsInf(float64(value), 0)
	}
	value, err := strconv.ParseFloat(run.Params[key], 64)
	return value, err == nil && !math.IsNaN(value) && !math.IsInf(value, 0)
}

// parallel is the picture of what goes with what: a vertical axis per param and metric, a line per run.
type parallel struct {
	Axes  []parallelAxis
	Lines []plotLine
}

type parallelAxis struct {
	Name      string
	X         float64
	Low, High string
}

// The geometry of the parallel coordinates.
const (
	axisSpace  = 1000 // for all axes
	axisTop    = 34
	axisBottom = 214
)

// drawRelations draws the parallel coordinates and the scatter of what is a number and differs.
func (p *comparePage) drawRelations() {
	if len(p.Runs) < 2 {
		return
	}
	var chosen []string
	for _, kind := range []string{"params.", "metrics."} {
		taken := 0
		for _, key := range p.keys(kind) {
			low, high, n := p.extent(kind + key)
			if n < 2 || low == high {
				continue
			}
			p.Axes = append(p.Axes, kind+key)
			if taken < maxAxes/2 {
				chosen = append(chosen, kind+key)
				taken++
			}
		}
	}
	if len(chosen) >= 2 {
		p.Parallel = p.drawParallel(chosen)
		p.Scatter = p.drawScatter(chosen)
	}
}

// extent is what the runs' values on an axis cover, and how many have one.
func (p *comparePage) extent(axis string) (low, high float64, n int) {
	low, high = math.Inf(1), math.Inf(-1)
	for i := range p.Runs {
		if value, ok := axisValue(&p.Runs[i].Run, axis); ok {
			low, high, n = min(low, value), max(high, value), n+1
		}
	}
	return low, high, n
}

func (p *comparePage) drawParallel(axes []string) *parallel {
	out := &parallel{}
	step := float64(axisSpace) / float64(len(axes))
	lines := make([]strings.Builder, len(p.Runs))
	for i, axis := range axes {
		low, high, _ := p.extent(axis)
		x := step/2 + float64(i)*step
		out.Axes = append(out.Axes, parallelAxis{Name: axis, X: x, Low: numberText(driftline.Number(low)), High: numberText(driftline.Number(high))})
		for j := range p.Runs {
			if value, ok := axisValue(&p.Runs[j].Run, axis); ok {
				fmt.Fprintf(&lines[j], "%.1f,%.1f ", x, axisBottom-fraction(value, low, high)*(axisBottom-axisTop))
			}
		}
	}
	for j := range p.Runs {
		out.Lines = append(out.Lines, plotLine{Run: p.Runs[j].ID, Class: p.Runs[j].Class, Line: strings.TrimSpace(lines[j].String())})
	}
	return out
}

// scatter is the picture of one axis against another, a dot per run.
type scatter struct {
	X, Y                   string
	XLow, XHigh, YLow, YHi string
	Dots                   []plotLine
}

func (p *comparePage) drawScatter(chosen []string) *scatter {
	out := &scatter{X: cmp.Or(p.X, chosen[0]), Y: cmp.Or(p.Y, chosen[len(chosen)-1])}
	xLow, xHigh, _ := p.extent(out.X)
	yLow, yHigh, _ := p.extent(out.Y)
	out.XLow, out.XHigh = numberText(driftline.Number(xLow)), numberText(driftline.Number(xHigh))
	out.YLow, out.YHi = numberText(driftline.Number(yLow)), numberText(driftline.Number(yHigh))
	for i := range p.Runs {
		x, okX := axisValue(&p.Runs[i].Run, out.X)
		y, okY := axisValue(&p.Runs[i].Run, out.Y)
		if okX && okY {
			out.Dots = append(out.Dots, plotLine{Run: p.Runs[i].ID, Class: p.Runs[i].Class,
				EndX: curveMargin + fraction(x, xLow, xHigh)*(curveWidth-2*curveMargin),
				EndY: curveHeight - curveMargin - fraction(y, yLow, yHigh)*(curveHeight-2*curveMargin)})
		}
	}
	return out
}
