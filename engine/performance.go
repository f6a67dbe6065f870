package engine

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
)

const (
	// maxWindows bounds a report, whose window may have been chosen a thousand times too short.
	maxWindows = 10_000

	// fittedRows is how many rows of a side trees are fitted to: more cost time and
	// change little.
	fittedRows = 20_000

	performanceSeed = 1
)

// Performance measures a model window by window, estimates what labels do not say yet,
// and explains a fall. reference may be nil; docs/statistics.md says what is assumed.
// It keeps the columns of both sides in memory until it returns. The sides of the report
// have no name yet.
func Performance(ctx context.Context, rows driftline.Batches, reference *driftline.Batches, opts driftline.PerformanceOptions) (*driftline.PerformanceReport, error) {
	plan, err := planPerformance(rows.Schema, reference, opts)
	if err != nil {
		return nil, err
	}
	p := performance{plan: plan, report: &driftline.PerformanceReport{Task: plan.Task, Alpha: plan.Alpha, Columns: plan.PerformanceOptions,
		Windows: []driftline.PerformanceWindow{}, Metrics: []driftline.PerformanceChange{}}}
	if reference != nil {
		if p.reference, err = plan.read(ctx, *reference); err != nil {
			return nil, err
		}
		p.report.Reference = &driftline.DriftSide{Rows: int64(p.reference.count)}
	}
	if p.current, err = plan.read(ctx, rows); err != nil {
		return nil, err
	}
	p.report.Source.Rows = int64(p.current.count)
	plan.dropIdentifiers(p.reference, p.current)
	if err := p.choose(); err != nil {
		return nil, err
	}
	if err := p.cut(); err != nil {
		return nil, err
	}
	if err := p.fit(ctx); err != nil {
		return nil, err
	}
	for i := range p.report.Windows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.measure(i)
	}
	p.compare()
	if p.report.Fell {
		if err := p.explain(ctx); err != nil {
			return nil, err
		}
	}
	p.report.Notes = plan.notes
	return p.report, nil
}

// Performance measures a model whose predictions, and reference, are tables of the engine.
func (e *Engine) Performance(ctx context.Context, req driftline.PerformanceRequest) (*driftline.PerformanceReport, error) {
	rows, name, err := e.driftSource(ctx, "source", req.Source)
	if err != nil {
		return nil, err
	}
	var reference *driftline.Batches
	referenceName := ""
	if req.Reference != (driftline.DriftSource{}) {
		var batches driftline.Batches
		if batches, referenceName, err = e.driftSource(ctx, "reference", req.Reference); err != nil {
			return nil, err
		}
		reference = &batches
	}
	report, err := Performance(ctx, rows, reference, req.PerformanceOptions)
	if err != nil {
		return nil, err
	}
	report.Source.Name = name
	if report.Reference != nil {
		report.Reference.Name = referenceName
	}
	return report, nil
}

// performance is a report in the making.
type performance struct {
	plan               *performancePlan
	report             *driftline.PerformanceReport
	reference, current *scored // reference is nil if there is none
	metrics            []estimate.Metric
	windows            [][]int // rows of current, by window of the report

	calibration estimate.Calibration        // of scores, from the reference
	losses      map[string]*estimate.Losses // of a regression, from the reference
}

// choose finds the metrics that the columns allow.
func (p *performance) choose() error {
	binary := true
	for _, side := range []*scored{p.reference, p.current} {
		if side == nil || p.plan.Task != driftline.TaskClassification {
			continue
		}
		binary = binary && zeroOrOne(side.Prediction) && zeroOrOne(side.Label)
		for i, v := range side.Score {
			if v < 0 || v > 1 {
				return driftline.Errorf(driftline.Invalid, "column %q is %v in row %d, want a probability", p.plan.Score, v, i).
					WithHint("score is the probability of class 1, from 0 to 1")
			}
		}
	}
	for _, m := range estimate.Metrics() {
		if m.Task != p.plan.Task || slices.ContainsFunc(m.Needs, p.plan.lacks) || !binary && m.Name != "accuracy" {
			continue
		}
		p.metrics = append(p.metrics, m)
	}
	if !binary {
		p.plan.Score = "" // of which class, it does not say
		p.plan.note("there are classes other than 0 and 1: accuracy only")
	}
	if len(p.metrics) == 0 {
		return driftline.Errorf(driftline.Invalid, "no metric of %s can be computed from these columns", p.plan.Task).
			WithHint("classification needs prediction or score, regression prediction, ranking score and group")
	}
	return nil
}

func zeroOrOne(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v == v && v != 0 && v != 1 })
}

// cut divides the rows into windows.
func (p *performance) cut() error {
	rows := map[int64][]int{}
	untimed := 0
	length := p.plan.Window.Microseconds()
	for i := range p.current.count {
		window := int64(0)
		if p.plan.Time != "" {
			at := p.current.time[i]
			if at != at {
				untimed++
				continue
			}
			window = int64(math.Floor(at / float64(length)))
		}
		rows[window] = append(rows[window], i)
		if len(rows) > maxWindows {
			return driftline.Errorf(driftline.Invalid, "there are more than %d windows of %s", maxWindows, p.plan.Window.Short()).
				WithHint("choose a longer window")
		}
	}
	if untimed > 0 {
		p.plan.note("%d rows without a time are in no window", untimed)
	}
	for _, window := range slices.Sorted(maps.Keys(rows)) {
		w := driftline.PerformanceWindow{Rows: int64(len(rows[window])), Metrics: []driftline.MetricFigures{}}
		if p.plan.Time != "" {
			w.Start, w.End = time.UnixMicro(window*length).UTC(), time.UnixMicro((window+1)*length).UTC()
		}
		for _, i := range rows[window] {
			if label := p.current.Label[i]; label == label {
				w.Labels++
			}
		}
		p.report.Windows = append(p.report.Windows, w)
		p.windows = append(p.windows, rows[window])
	}
	return nil
}

// fit learns from the reference what scores and inputs say of labels not yet known.
func (p *performance) fit(ctx context.Context) error {
	p.calibration = estimate.Identity()
	if p.reference == nil {
		if p.plan.Task == driftline.TaskClassification && p.plan.Score != "" {
			p.plan.note("there is no reference: estimates without labels take scores for probabilities")
		}
		return nil
	}
	if p.plan.Score != "" {
		var scores, labels []float64
		for i, label := range p.reference.Label {
			if score := p.reference.Score[i]; label == label && score == score {
				scores, labels = append(scores, score), append(labels, label)
			}
		}
		p.calibration = estimate.Calibrate(scores, labels)
	}
	if p.plan.Task == driftline.TaskRegression {
		p.losses = map[string]*estimate.Losses{}
		some := p.reference.some(p.reference.labelled(), fittedRows)
		for _, m := range p.metrics {
			var err error
			if p.losses[m.Name], err = m.FitLosses(ctx, some.Rows, some.inputs); err != nil {
				return err
			}
		}
		if known := len(p.reference.labelled()); known > fittedRows {
			p.plan.note("losses of rows without labels are predicted by what %d of %d rows of the reference taught, drawn at random", fittedRows, known)
		}
	}
	return nil
}

// measure fills in the figures of a window.
func (p *performance) measure(window int) {
	w := &p.report.Windows[window]
	rows := p.current.pick(p.windows[window])
	var probability []float64
	if p.plan.Task == driftline.TaskClassification && p.plan.Score != "" {
		probability = rows.Score
		if p.reference != nil {
			probability = make([]float64, len(rows.Score))
			for i, score := range rows.Score {
				probability[i] = p.calibration.Probability(score)
			}
		}
	}
	for _, m := range p.metrics {
		figures := driftline.MetricFigures{Metric: m.Name, Measured: known(m.Measure(rows.Rows, p.plan.Alpha, performanceSeed))}
		switch {
		case probability != nil:
			figures.Estimated = known(m.CBPE(rows.Rows, p.calibration, p.plan.Alpha))
			if w.Labels > 1 && w.Labels < w.Rows && m.Name != "roc_auc" {
				figures.Combined = known(m.PredictionPowered(rows.Rows, probability, p.plan.Alpha))
			}
		case p.losses[m.Name] != nil:
			figures.Estimated = known(p.losses[m.Name].Estimate(rows.Rows, rows.inputs, p.plan.Alpha))
		}
		w.Metrics = append(w.Metrics, figures)
	}
}

func interval(e estimate.Estimate) driftline.Interval {
	return driftline.Interval{Value: driftline.Number(e.Value), Low: driftline.Number(e.Low), High: driftline.Number(e.High), Rows: int64(e.Rows)}
}

// known is nil for what could not be computed.
func known(e estimate.Estimate) *driftline.Interval {
	if math.IsNaN(e.Value) {
		return nil
	}
	v := interval(e)
	return &v
}

// compare says of each metric whether it fell.
func (p *performance) compare() {
	before, after := p.before(), p.recent()
	for k, m := range p.metrics {
		values := make([]float64, len(p.windows))
		for i, w := range p.report.Windows {
			values[i] = math.NaN()
			if measured := w.Metrics[k].Measured; measured != nil {
				values[i] = float64(measured.Value)
			}
		}
		rule := estimate.DefaultRule.Fell(values, m.Higher)
		change := driftline.PerformanceChange{Metric: m.Name, Higher: m.Higher,
			First: driftline.Number(rule.First), Recent: driftline.Number(rule.Recent), Fell: rule.Fell}
		if before != nil {
			change.Before = known(m.Measure(before.Rows, p.plan.Alpha, performanceSeed))
			change.After = known(m.Measure(after.Rows, p.plan.Alpha, performanceSeed))
			if b, a := change.Before, change.After; b != nil && a != nil {
				change.Worse = m.Higher && a.High < b.Low || !m.Higher && a.Low > b.High
			}
		}
		p.report.Fell = p.report.Fell || change.Fell || change.Worse
		p.report.Metrics = append(p.report.Metrics, change)
	}
}

// labelledWindows are the windows with labels.
func (p *performance) labelledWindows() [][]int {
	var windows [][]int
	for i, w := range p.report.Windows {
		if w.Labels > 0 {
			windows = append(windows, p.windows[i])
		}
	}
	return windows
}

// before is the reference, or the first windows if there are enough for the rule; or nil.
func (p *performance) before() *scored {
	windows, rule := p.labelledWindows(), estimate.DefaultRule
	switch {
	case p.reference != nil:
		return p.reference
	case len(windows) >= rule.First+rule.Recent:
		return p.current.pick(slices.Concat(windows[:rule.First]...))
	}
	return nil
}

// recent are the rows of the newest windows with labels.
func (p *performance) recent() *scored {
	windows := p.labelledWindows()
	return p.current.pick(slices.Concat(windows[max(0, len(windows)-estimate.DefaultRule.Recent):]...))
}

// explain says why the recent rows are worse than those before.
func (p *performance) explain(ctx context.Context) error {
	before, after := p.lossy(p.before()), p.lossy(p.recent())
	split, err := estimate.Explain(ctx, before.inputs, after.inputs, before.losses, after.losses, p.plan.Alpha)
	if err != nil {
		return err
	}
	name, _ := p.plan.loss()
	e := &driftline.PerformanceExplanation{Loss: name,
		Before: driftline.Number(split.Before), After: driftline.Number(split.After),
		ReferenceRows: int64(len(before.losses)), Rows: int64(len(after.losses)),
		FittedReferenceRows: int64(split.Fitted[0]), FittedRows: int64(split.Fitted[1]),
		Inputs: interval(split.Inputs), Relationship: interval(split.Relationship), Overlap: driftline.Number(split.Overlap),
		Causes: []driftline.PerformanceCause{}, Segments: []driftline.PerformanceSegment{}}
	if e.FittedReferenceRows < e.ReferenceRows || e.FittedRows < e.Rows {
		p.plan.note("what tells both sides apart was learned from %d of %d rows of before and %d of %d recent ones, drawn at random; means and segments are of all rows",
			e.FittedReferenceRows, e.ReferenceRows, e.FittedRows, e.Rows)
	}
	for _, c := range split.Columns {
		e.Causes = append(e.Causes, driftline.PerformanceCause{Column: c.Column, Change: driftline.Number(c.Change)})
	}
	segments, err := estimate.Segments(ctx, before.inputs, after.inputs, before.losses, after.losses, estimate.SegmentOptions{Seed: performanceSeed})
	if err != nil {
		return err
	}
	for _, s := range segments {
		e.Segments = append(e.Segments, p.segment(s, before, after))
	}
	p.report.Explanation = e
	return nil
}

// lossy is rows that have a loss each: rows, or lists of a ranking.
type lossy struct {
	*scored
	losses []float64
}

func (p *performance) lossy(of *scored) lossy {
	if p.plan.Task == driftline.TaskRanking {
		lists := estimate.ListsOf(of.Rows, of.inputs)
		picked := of.pick(lists.First)
		picked.inputs = lists.Inputs
		return lossy{picked, lists.Losses}
	}
	_, loss := p.plan.loss()
	picked := of.pick(of.withLoss(loss))
	return lossy{picked, picked.losses(loss)}
}

func (p *performance) segment(s estimate.Segment, before, after lossy) driftline.PerformanceSegment {
	segment := driftline.PerformanceSegment{ReferenceRows: int64(s.ReferenceRows), Rows: int64(s.CurrentRows),
		Before: driftline.Number(s.Before), After: driftline.Number(s.After), Excess: interval(s.Excess), QValue: driftline.Number(s.QValue),
		Examples: []driftline.PerformanceExample{}}
	for _, c := range s.Conditions {
		segment.Conditions = append(segment.Conditions, c.Text(func(code float64) string { return shown(p.plan.text(c.Column, code)) }))
	}
	for _, i := range s.Examples {
		segment.Examples = append(segment.Examples, p.example(after, i))
	}
	for _, i := range s.ReferenceExamples {
		segment.BeforeExamples = append(segment.BeforeExamples, p.example(before, i))
	}
	return segment
}

// list is the name of a list, of which rows without a group are one.
func (p *performance) list(group int) string {
	if group < 0 {
		return p.plan.text(p.plan.Group, math.NaN())
	}
	return shown(p.plan.text(p.plan.Group, float64(group)))
}

func (p *performance) example(of lossy, i int) driftline.PerformanceExample {
	example := driftline.PerformanceExample{Row: int64(of.origin[i]), Loss: driftline.Number(of.losses[i]), Values: map[string]string{}}
	if of.Group != nil {
		example.Values[p.plan.Group] = p.list(of.Group[i])
	}
	for _, v := range []struct {
		name   string
		values []float64
	}{{p.plan.Prediction, of.Prediction}, {p.plan.Score, of.Score}, {p.plan.Label, of.Label}} {
		if v.values != nil && v.name != "" && of.Group == nil { // a list has many
			example.Values[v.name] = p.plan.text(v.name, v.values[i])
		}
	}
	for k, name := range of.inputs.Names {
		example.Values[name] = shown(p.plan.text(name, of.inputs.Columns[k][i]))
	}
	return example
}

// loss is the loss of one row, NaN where it is not known; nil if rows have none of their own.
func (p *performancePlan) loss() (name string, of func(prediction, score, label float64) float64) {
	switch {
	case p.Task == driftline.TaskRegression:
		return "absolute error", func(prediction, _, label float64) float64 { return math.Abs(prediction - label) }
	case p.Task == driftline.TaskRanking: // of a list
		return "1 − NDCG@10 of a list", nil
	case p.Prediction == "":
		return "squared error of the score", func(_, score, label float64) float64 { return (score - label) * (score - label) }
	}
	return "wrong class", func(prediction, _, label float64) float64 {
		switch {
		case prediction != prediction || label != label:
			return math.NaN()
		case prediction != label:
			return 1
		}
		return 0
	}
}

// scored is the rows of one side.
type scored struct {
	estimate.Rows
	count  int
	time   []float64 // microseconds since 1970
	inputs estimate.Features
	origin []int // row numbers in the source
}

func (r *scored) all() []int {
	index := make([]int, r.count)
	for i := range index {
		index[i] = i
	}
	return index
}

func (r *scored) labelled() []int {
	return slices.DeleteFunc(r.all(), func(i int) bool { return math.IsNaN(r.Label[i]) })
}

// pick returns the rows at these indices, without their times.
func (r *scored) pick(index []int) *scored {
	picked := &scored{Rows: r.Select(index), count: len(index), inputs: r.inputs.Select(index), origin: make([]int, len(index))}
	for k, i := range index {
		picked.origin[k] = r.origin[i]
	}
	return picked
}

// some draws at most so many of these rows.
func (r *scored) some(index []int, most int) *scored {
	if len(index) > most {
		random := rand.New(rand.NewPCG(performanceSeed, uint64(len(index))))
		random.Shuffle(len(index), func(i, j int) { index[i], index[j] = index[j], index[i] })
		index = index[:most]
		slices.Sort(index)
	}
	return r.pick(index)
}

func (r *scored) losses(of func(prediction, score, label float64) float64) []float64 {
	at := func(values []float64, i int) float64 {
		if values == nil {
			return math.NaN()
		}
		return values[i]
	}
	losses := make([]float64, r.count)
	for i := range losses {
		losses[i] = of(at(r.Prediction, i), at(r.Score, i), r.Label[i])
	}
	return losses
}

func (r *scored) withLoss(of func(prediction, score, label float64) float64) []int {
	losses := r.losses(of)
	return slices.DeleteFunc(r.all(), func(i int) bool { return math.IsNaN(losses[i]) })
}

// text is how an example shows a value.
func (p *performancePlan) text(column string, value float64) string {
	if math.IsNaN(value) {
		return "null"
	}
	for _, c := range p.columns {
		if c.name == column && c.codes != nil {
			return c.codes.names[int(value)]
		}
	}
	return strconv.FormatFloat(value, 'g', 6, 64)
}

func (p *performancePlan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}
