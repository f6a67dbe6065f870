package engine

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
	"github.com/driftline/driftline/predictions"
)

const (
	mostPerformanceGroups = 50
	mostGroupColumns      = 4
	mostCustomMetrics     = 20

	jackknifeParts = 20
	usualAlpha     = 0.05
)

// ModelPerformance measures a model by its prediction log and the labels that are known by now.
// Estimates of what labels do not say yet stand beside what they do, see [Performance].
func (e *Engine) ModelPerformance(ctx context.Context, model driftline.ModelName, req driftline.ModelPerformanceRequest) (*driftline.ModelPerformance, error) {
	m, err := e.measuring(model, req)
	if err != nil {
		return nil, err
	}
	out := &driftline.ModelPerformance{Model: model, By: req.By, Groups: []driftline.PerformanceGroup{}}
	if out.By == nil {
		out.By = []string{}
	}
	if err := m.choose(ctx); err != nil {
		return nil, err
	}
	out.Task = m.req.Task
	groups, err := m.groups(ctx)
	if err != nil {
		return nil, err
	}
	if len(groups) > mostPerformanceGroups {
		groups = groups[:mostPerformanceGroups]
		out.Notes = append(out.Notes, fmt.Sprintf("there are more groups than %d: those with fewer predictions are left out", mostPerformanceGroups))
	}
	for _, g := range groups {
		if err := m.measure(ctx, &g); err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, g.PerformanceGroup)
	}
	return out, nil
}

// MetricWindows are the windows of one metric, of package drift/estimate, of one version of a model,
// as the labels that are known by now say it: those that have ended by to, that begin at from or
// later, and that have labels; the oldest first. They are what a performance trigger looks at:
// hand each to trigger.Performance once, with the reference's value from
// [Engine.ModelPerformance] or from an evaluation of the version. The value of a window changes
// while labels are still to come, so ask for windows that ended at least as long ago as
// labels take; [Engine.Labels] knows.
func (e *Engine) MetricWindows(ctx context.Context, model driftline.ModelName, version int, metric string, window driftline.Duration, from, to time.Time) ([]driftline.MetricWindow, error) {
	at := slices.IndexFunc(estimate.Metrics(), func(m estimate.Metric) bool { return m.Name == metric })
	if at < 0 {
		names := []string{}
		for _, m := range estimate.Metrics() {
			names = append(names, m.Name)
		}
		return nil, invalid(driftline.Unknown("metric", metric, names))
	}
	m, err := e.measuring(model, driftline.ModelPerformanceRequest{Task: estimate.Metrics()[at].Task, Window: window, From: from, To: to})
	if err != nil {
		return nil, err
	}
	m.where = append(m.where, fmt.Sprintf("%s::VARCHAR = '%d'", quoted(m.view.Predictions.Version), version))
	if err := m.choose(ctx); err != nil {
		return nil, err
	}
	g := performanceGroup{}
	if err := m.measure(ctx, &g); err != nil {
		return nil, err
	}
	if g.Report == nil {
		return nil, nil
	}
	var windows []driftline.MetricWindow
	for _, w := range g.Report.Windows {
		if w.Labels == 0 || !to.IsZero() && w.End.After(to) || w.Start.Before(from) {
			continue
		}
		for _, figures := range w.Metrics {
			if figures.Metric != metric || figures.Measured == nil {
				continue
			}
			width := float64(figures.Measured.High - figures.Measured.Low)
			windows = append(windows, driftline.MetricWindow{End: w.End, Value: float64(figures.Measured.Value), Error: width / 2 / 1.959964, Labels: w.Labels})
		}
	}
	return windows, nil
}

// measurement is a ModelPerformance in the making.
type measurement struct {
	engine *Engine
	req    driftline.ModelPerformanceRequest
	view   *driftline.FeatureView
	joined string   // the SELECT of predictions with their labels
	where  []string // conditions on it

	prediction, score, label string // expressions over it, "" if it has none
}

// performanceGroup is a group with the condition that its rows meet.
type performanceGroup struct {
	driftline.PerformanceGroup
	where []string
}

func (e *Engine) measuring(model driftline.ModelName, req driftline.ModelPerformanceRequest) (*measurement, error) {
	joined, view, err := e.joinedText(model)
	if err != nil {
		return nil, err
	}
	if req.Window == 0 {
		req.Window = driftline.Duration(day)
	}
	if req.Alpha == 0 {
		req.Alpha = usualAlpha
	}
	switch {
	case req.Window < 0:
		return nil, driftline.Errorf(driftline.Invalid, "window is %s", req.Window)
	case !(req.Alpha > 0 && req.Alpha < 1):
		return nil, driftline.Errorf(driftline.Invalid, "alpha is %v, want a number between 0 and 1", req.Alpha)
	case len(req.By) > mostGroupColumns:
		return nil, driftline.Errorf(driftline.Invalid, "by has %d columns, at most %d make groups", len(req.By), mostGroupColumns)
	case len(req.Metrics) > mostCustomMetrics:
		return nil, driftline.Errorf(driftline.Invalid, "there are %d metrics, at most %d are computed at once", len(req.Metrics), mostCustomMetrics)
	case !req.To.IsZero() && !req.From.Before(req.To):
		return nil, driftline.Errorf(driftline.Invalid, "from is not before to")
	}
	m := &measurement{engine: e, req: req, view: view, joined: joined}
	known := fieldNames(view.Schema())
	for _, name := range append(slices.Clone(req.By), req.Group) {
		if name != "" && !slices.Contains(known, name) {
			return nil, invalid(driftline.Unknown("column", name, known))
		}
	}
	at := quoted(view.EventTimestamp)
	if !req.From.IsZero() {
		m.where = append(m.where, at+" >= "+timeLiteral(req.From))
	}
	if !req.To.IsZero() {
		m.where = append(m.where, at+" < "+timeLiteral(req.To))
	}
	return m, nil
}

func conditions(where ...[]string) string {
	all := slices.Concat(where...)
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}

// choose finds out what the log has: which columns are the prediction, the score and the label.
func (m *measurement) choose(ctx context.Context) error {
	columns := []string{predictions.Number, predictions.Text, predictions.Score}
	counts := []string{}
	for _, name := range columns {
		if _, ok := columnNamed(m.view, name); ok {
			counts = append(counts, "count("+quoted(name)+")")
		} else {
			counts = append(counts, "0::BIGINT")
		}
	}
	var found []int64
	text := "SELECT " + strings.Join(append(counts, "count(label)", "count(label_text)"), ", ") + " FROM (" + m.joined + ")" + conditions(m.where)
	if err := m.engine.eachRow(ctx, text, func(v []int64) { found = slices.Clone(v) }); err != nil {
		return err
	}
	numbers, texts, scores := found[0] > 0, found[1] > 0 || found[4] > 0, found[2] > 0
	m.label = "label"
	if numbers {
		m.prediction = quoted(predictions.Number)
	}
	if scores {
		m.score = quoted(predictions.Score)
	}
	if texts { // classes by name are told apart by numbers, so that any two can be compared
		m.prediction, m.label = codeOf(predictions.Text), codeOf(predictions.LabelText)
		if m.req.Task == driftline.TaskClassification || m.req.Task == "" {
			m.score = "" // of which class, it does not say
		}
	}
	if m.req.Task == "" {
		m.req.Task = driftline.TaskRegression
		if texts || scores {
			m.req.Task = driftline.TaskClassification
		}
	}
	return nil
}

// codeOf is a number that stands for the text of a column, the same one for the same text: 53 bits
// of its hash, which a float holds.
func codeOf(column string) string { return "(hash(" + quoted(column) + ") // 2048)::DOUBLE" }

// groups finds the groups, one more than are measured at most.
func (m *measurement) groups(ctx context.Context) ([]performanceGroup, error) {
	by := make([]string, len(m.req.By))
	for i, name := range m.req.By {
		by[i] = quoted(name) + "::VARCHAR"
	}
	text := fmt.Sprintf("SELECT count(*), count(*) FILTER (label IS NOT NULL OR label_text IS NOT NULL)%s FROM (%s)%s",
		strings.Join(append([]string{""}, by...), ", "), m.joined, conditions(m.where))
	if len(by) > 0 {
		text += fmt.Sprintf(" GROUP BY ALL ORDER BY 1 DESC, %s LIMIT %d", strings.Join(by, ", "), mostPerformanceGroups+1)
	}
	rows, err := m.engine.SQL(ctx, text, nil)
	if err != nil {
		return nil, err
	}
	var groups []performanceGroup
	for b, err := range rows.All {
		if err != nil {
			return nil, err
		}
		for i := range int(b.NumRows()) {
			g := performanceGroup{PerformanceGroup: driftline.PerformanceGroup{Of: map[string]string{},
				Predictions: b.Column(0).(*array.Int64).Value(i), Labelled: b.Column(1).(*array.Int64).Value(i)}}
			for j, name := range m.req.By {
				value := b.Column(2 + j).(*array.String)
				if value.IsNull(i) {
					g.where = append(g.where, quoted(name)+" IS NULL")
					continue
				}
				g.Of[name] = strings.Clone(value.Value(i)) // the batch is gone soon
				g.where = append(g.where, by[j]+" = "+quoteText(g.Of[name]))
			}
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// measure measures one group. What cannot be measured is its Error.
func (m *measurement) measure(ctx context.Context, g *performanceGroup) error {
	names := slices.Sorted(maps.Keys(m.req.Metrics))
	for _, name := range names {
		custom, err := m.custom(ctx, name, g)
		if err != nil {
			return err
		}
		g.Custom = append(g.Custom, custom)
	}
	opts := driftline.PerformanceOptions{Task: m.req.Task, Label: "label", Time: m.view.EventTimestamp, Window: m.req.Window, Alpha: m.req.Alpha, Group: m.req.Group}
	columns := []string{quoted(m.view.EventTimestamp), m.label + " AS label"}
	if m.prediction != "" {
		opts.Prediction, columns = predictions.Number, append(columns, m.prediction+" AS prediction")
	}
	if m.score != "" {
		opts.Score, columns = predictions.Score, append(columns, m.score+" AS score")
	}
	if m.req.Group != "" && m.req.Group != m.view.EventTimestamp {
		columns = append(columns, quoted(m.req.Group))
	}
	for _, f := range m.view.Features {
		if !predictions.Own(f.Name) && f.Name != m.req.Group && f.Type != driftline.Bytes && !f.Type.Nested() {
			columns = append(columns, quoted(f.Name))
		}
	}
	text := fmt.Sprintf("SELECT %s FROM (%s)%s", strings.Join(columns, ", "), m.joined, conditions(m.where, g.where))
	report, err := m.engine.Performance(ctx, driftline.PerformanceRequest{Source: driftline.DriftSource{SQL: text}, Reference: m.req.Reference, PerformanceOptions: opts})
	if driftline.CodeOf(err) == driftline.Invalid {
		g.Error = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	report.Source.Name = schemaPredictions + "." + string(m.view.Name)
	g.Report = report
	return nil
}

// custom computes a metric of the user's own in each window that has labels, and how much it would
// differ without a twentieth of them.
func (m *measurement) custom(ctx context.Context, name string, g *performanceGroup) (driftline.CustomMetric, error) {
	c := driftline.CustomMetric{Name: name, Windows: []driftline.CustomWindow{}}
	text := fmt.Sprintf(`WITH cut AS (SELECT *, epoch_us(%s) // %d AS in_window, hash(%s) %% %d AS in_part FROM (%s)%s)
		SELECT in_window, part, (%s)::DOUBLE, count(*) FROM cut JOIN (SELECT unnest(range(%[8]d)) AS part) ON part = %[4]d OR part <> in_part
		GROUP BY in_window, part ORDER BY in_window, part`, quoted(m.view.EventTimestamp), m.req.Window.Microseconds(), quoted(m.view.Predictions.ID),
		jackknifeParts, m.joined, conditions(m.where, g.where, []string{"(label IS NOT NULL OR label_text IS NOT NULL)"}), m.req.Metrics[name], jackknifeParts+1)
	rows, err := m.engine.SQL(ctx, text, nil)
	if err != nil {
		return c, aboutMetric(name, err)
	}
	var parts []float64
	for b, err := range rows.All {
		if err != nil {
			return c, aboutMetric(name, err)
		}
		for i := range int(b.NumRows()) {
			value := math.NaN()
			if v := b.Column(2).(*array.Float64); v.IsValid(i) {
				value = v.Value(i)
			}
			if b.Column(1).(*array.Int64).Value(i) < jackknifeParts {
				parts = append(parts, value)
				continue
			}
			start := time.UnixMicro(b.Column(0).(*array.Int64).Value(i) * m.req.Window.Microseconds()).UTC()
			c.Windows = append(c.Windows, driftline.CustomWindow{Start: start, Interval: jackknifed(value, parts, b.Column(3).(*array.Int64).Value(i), m.req.Alpha)})
			parts = parts[:0]
		}
	}
	return c, nil
}

func aboutMetric(name string, err error) error {
	if code := driftline.CodeOf(err); code == driftline.Invalid || code == driftline.NotFound {
		return driftline.Errorf(driftline.Invalid, "metric %.80q: %w", name, err).
			WithHint("a metric is an aggregate over columns of the log, label, label_text and labelled_at, such as avg(abs(prediction - label))")
	}
	return err
}

// jackknifed is a value with the interval that its values without each part in turn say.
func jackknifed(value float64, without []float64, rows int64, alpha float64) driftline.Interval {
	i := driftline.Interval{Value: driftline.Number(value), Low: driftline.Number(math.NaN()), High: driftline.Number(math.NaN()), Rows: rows}
	if len(without) < jackknifeParts {
		return i
	}
	mean, sum := 0.0, 0.0
	for _, x := range without {
		mean += x / float64(len(without))
	}
	for _, x := range without {
		sum += (x - mean) * (x - mean)
	}
	n := float64(len(without))
	half := math.Sqrt2 * math.Erfinv(1-alpha) * math.Sqrt(sum*(n-1)/n)
	i.Low, i.High = driftline.Number(value-half), driftline.Number(value+half)
	return i
}
