package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

var performancePage = newPage("performance.html")

// PerformanceHTML writes how a model does as one page: whether it fell, in a sentence; each
// metric over time with its intervals; why it fell; every window.
func PerformanceHTML(w io.Writer, report *driftline.PerformanceReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no performance report to draw")
	}
	return writePage(w, performancePage, ViewPerformance(report))
}

// PerformanceView is a performance report in the words and pictures of a page.
type PerformanceView struct {
	Title, Headline, Detail string
	Source                  driftline.DriftSide
	Reference               *driftline.DriftSide
	Labels                  int64  // known, of all rows
	Span                    string // of the windows; "" without times
	Tally                   []tally
	Metrics                 []MetricView // those that fell first
	Why                     *WhyView     // nil if nothing fell
	Windows                 []WindowView // the newest first
	Names                   []string     // of the metrics that windows have, in their order
	Notes                   []string
	Confidence              string
}

// MetricView is one metric.
type MetricView struct {
	Anchor, Name  string
	Chip          chip
	Better        string // which way is better
	Now, NowRange string // of the newest windows with labels
	Before        string
	First, Recent string // means of the rule; "" if there are too few windows
	Worse         bool   // than before, by the intervals
	Line          *Timeline
}

// WhyView explains a fall.
type WhyView struct {
	Sentence             string
	Loss                 string
	Before, After        string
	Rows, ReferenceRows  int64
	Unit                 string // of the rows: "rows" or "lists"
	Parts                []PartView
	Zero                 string // x of no change, of 100
	Overlap              string
	Causes               []CauseView
	Segments             []SegmentView
	LittleOverlap, Split bool
}

// PartView is one part of the change of the loss.
type PartView struct {
	Name, Class, Value, Range string
	X, Width                  string // of its bar, of 100
	LowX, RangeWidth          string
}

// CauseView is what an input alone would have changed.
type CauseView struct {
	Column, Value, X, Width, Sort string
	Worse                         bool
}

// SegmentView is a set of rows that got worse.
type SegmentView struct {
	Conditions          []string
	Rows, ReferenceRows int64
	Before, After       string
	Excess, Range, Q    string
	Columns             []string // of the examples: those of the conditions first
	Examples            []ExampleView
}

// ExampleView is a row now, and the one of before that is most like it.
type ExampleView struct {
	Now, Before exampleRow
	Paired      bool
}

type exampleRow struct {
	Row   int64
	Loss  string
	Cells []exampleCell
}

type exampleCell struct {
	Text    string
	Differs bool // from the row beside it
}

// WindowView is one window as a row of a table.
type WindowView struct {
	Start, End   string
	Sort         string
	Rows, Labels int64
	Cells        []windowCell
}

type windowCell struct{ Text, Title, Sort, How string }

var (
	chipFell   = chip{"bad", "fell"}
	chipWorse  = chip{"bad", "worse"}
	chipSteady = chip{"good", "steady"}
	chipUnsaid = chip{"unsure", "not enough data"}
)

// metricNames is how people call metrics.
var metricNames = map[string]string{
	"f1": "F1", "roc_auc": "ROC AUC", "log_loss": "log loss", "brier": "Brier score", "mae": "MAE", "rmse": "RMSE",
	"mape": "MAPE", "r2": "R²", "ndcg": "NDCG@10", "map": "MAP@10",
}

func metricName(name string) string {
	if known, ok := metricNames[name]; ok {
		return known
	}
	return name
}

// ViewPerformance puts a report into words and pictures.
func ViewPerformance(report *driftline.PerformanceReport) PerformanceView {
	v := PerformanceView{
		Source: named(report.Source, "predictions"), Notes: capitalizedAll(report.Notes), Confidence: Percent(1 - report.Alpha),
	}
	if report.Reference != nil {
		reference := named(*report.Reference, "reference")
		v.Reference = &reference
	}
	for _, w := range report.Windows {
		v.Labels += w.Labels
	}
	if n := len(report.Windows); n > 0 && !report.Windows[0].Start.IsZero() {
		v.Span = day(report.Windows[0].Start) + " to " + day(report.Windows[n-1].End)
	}
	counts := map[chip]int{}
	for i, m := range report.Metrics {
		metric := newMetricView(i, m, report)
		counts[metric.Chip]++
		v.Metrics = append(v.Metrics, metric)
	}
	rank := map[chip]int{chipFell: 0, chipWorse: 1, chipSteady: 2, chipUnsaid: 3}
	slices.SortStableFunc(v.Metrics, func(a, b MetricView) int { return cmp.Compare(rank[a.Chip], rank[b.Chip]) })
	v.Tally = tallies([]chip{chipFell, chipWorse, chipSteady, chipUnsaid}, counts)
	v.Headline, v.Detail = performanceSummary(report, counts)
	v.Title = v.Headline + " · " + v.Source.Name
	if report.Explanation != nil {
		v.Why = newWhyView(report)
		v.Detail = v.Why.Sentence
	}
	v.addWindows(report)
	return v
}

func capitalizedAll(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = capitalized(text)
	}
	return all
}

func day(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format("2006-01-02")
	}
	return t.Format("2006-01-02 15:04")
}

func chipOfChange(m driftline.PerformanceChange) chip {
	switch {
	case m.Fell:
		return chipFell
	case m.Worse:
		return chipWorse
	case math.IsNaN(float64(m.First)) && (m.Before == nil || m.After == nil):
		return chipUnsaid
	}
	return chipSteady
}

func performanceSummary(report *driftline.PerformanceReport, counts map[chip]int) (headline, detail string) {
	bad := counts[chipFell] + counts[chipWorse]
	all := len(report.Metrics)
	switch {
	case bad == 0 && counts[chipSteady] == 0:
		return "Too few labels to tell", "A fall shows from fifteen windows with labels on, or against a reference."
	case bad == 0:
		return "The model does as well as before", ""
	}
	headline = fmt.Sprintf("The model does worse: %d of %s", bad, Plural(all, "metric"))
	for _, m := range report.Metrics {
		if !m.Fell && !m.Worse {
			continue
		}
		before, after := float64(m.First), float64(m.Recent)
		if m.Worse {
			before, after = float64(m.Before.Value), float64(m.After.Value)
		}
		return headline, fmt.Sprintf("%s went from %s to %s.", capitalized(metricName(m.Metric)), people(before), people(after))
	}
	return headline, ""
}

func newMetricView(i int, m driftline.PerformanceChange, report *driftline.PerformanceReport) MetricView {
	v := MetricView{Anchor: fmt.Sprintf("metric-%d", i+1), Name: metricName(m.Metric), Chip: chipOfChange(m), Worse: m.Worse, Better: "lower is better"}
	if m.Higher {
		v.Better = "higher is better"
	}
	if m.After != nil {
		v.Now, v.NowRange = people(float64(m.After.Value)), intervalRange(*m.After)
	}
	if m.Before != nil {
		v.Before = people(float64(m.Before.Value))
	}
	if !math.IsNaN(float64(m.First)) {
		v.First, v.Recent = people(float64(m.First)), people(float64(m.Recent))
	}
	v.Line = newTimeline(m, report.Windows)
	if v.Now == "" {
		v.Now, v.NowRange = lastFigure(m.Metric, report.Windows)
	}
	return v
}

// lastFigure is what is known of a metric in the newest window that says anything of it.
func lastFigure(metric string, windows []driftline.PerformanceWindow) (value, around string) {
	for _, w := range slices.Backward(windows) {
		for _, f := range w.Metrics {
			if best := bestOf(f); f.Metric == metric && best != nil {
				return people(float64(best.Value)), intervalRange(*best)
			}
		}
	}
	return "–", ""
}

// bestOf is the figure that rests on most: all labels, some labels, none.
func bestOf(f driftline.MetricFigures) *driftline.Interval {
	return cmp.Or(f.Combined, f.Measured, f.Estimated)
}

func intervalRange(i driftline.Interval) string {
	return people(float64(i.Low)) + " to " + people(float64(i.High))
}

func newWhyView(report *driftline.PerformanceReport) *WhyView {
	e := report.Explanation
	w := &WhyView{Loss: e.Loss, Before: people(float64(e.Before)), After: people(float64(e.After)),
		Rows: e.Rows, ReferenceRows: e.ReferenceRows, Unit: "rows", Overlap: Percent(float64(e.Overlap)),
		LittleOverlap: float64(e.Overlap) < 0.3, Split: !math.IsNaN(float64(e.Inputs.Value))}
	if report.Task == driftline.TaskRanking {
		w.Unit = "lists"
	}
	w.Sentence = whySentence(e)
	if w.Split {
		w.addParts(e)
	}
	w.addCauses(e)
	for _, s := range e.Segments {
		w.Segments = append(w.Segments, newSegmentView(s, report.Columns))
	}
	return w
}

// whySentence says what most of a fall comes from, as far as the intervals allow.
func whySentence(e *driftline.PerformanceExplanation) string {
	text := fmt.Sprintf("The mean loss (%s) went from %s to %s", e.Loss, people(float64(e.Before)), people(float64(e.After)))
	inputs, relationship := e.Inputs, e.Relationship
	up := func(i driftline.Interval) bool { return i.Low > 0 }
	if e.After < e.Before { // another metric is worse
		text = fmt.Sprintf("All the same the mean loss (%s) fell from %s to %s", e.Loss, people(float64(e.Before)), people(float64(e.After)))
		if up(inputs) {
			text += fmt.Sprintf("; the inputs that changed would have raised it by %s", people(float64(inputs.Value)))
		}
		return text + "."
	}
	switch {
	case math.IsNaN(float64(inputs.Value)):
		return text + "; there are too few rows to say why."
	case up(inputs) && up(relationship):
		return fmt.Sprintf("%s: %s of it because the inputs changed, %s because the same inputs now go wrong more often.", text,
			people(float64(inputs.Value)), people(float64(relationship.Value)))
	case up(inputs):
		text += ", because the inputs changed"
		if len(e.Causes) > 0 && e.Causes[0].Change > 0 {
			text += fmt.Sprintf(", %s most of all", e.Causes[0].Column)
		}
		return text + ": " + people(float64(inputs.Value)) + " of it."
	case up(relationship):
		text += ", because the same inputs now go wrong more often"
		if len(e.Segments) > 0 {
			text += ", most of all where " + strings.Join(e.Segments[0].Conditions, " and ")
		}
		return text + "."
	}
	return text + "; what it comes from is not certain."
}

// addParts draws the parts of the change over one axis.
func (w *WhyView) addParts(e *driftline.PerformanceExplanation) {
	change := float64(e.After - e.Before)
	low, high := min(0, change), max(0, change)
	for _, i := range []driftline.Interval{e.Inputs, e.Relationship} {
		low, high = min(low, float64(i.Low)), max(high, float64(i.High))
	}
	x := scaleTo100(low, high)
	w.Zero = coordinate(x(0))
	part := func(name, class string, value, from, to float64) {
		p := PartView{Name: name, Class: class, Value: signed(value), X: coordinate(min(x(0), x(value))), Width: coordinate(math.Abs(x(value) - x(0)))}
		if from < to {
			p.Range = signed(from) + " to " + signed(to)
			p.LowX, p.RangeWidth = coordinate(x(from)), coordinate(x(to)-x(from))
		}
		w.Parts = append(w.Parts, p)
	}
	part("the whole change", "whole", change, change, change)
	part("inputs changed", "inputs", float64(e.Inputs.Value), float64(e.Inputs.Low), float64(e.Inputs.High))
	part("relationship changed", "relationship", float64(e.Relationship.Value), float64(e.Relationship.Low), float64(e.Relationship.High))
}

// scaleTo100 maps a range to 0 … 100.
func scaleTo100(low, high float64) func(float64) float64 {
	if !(low < high) {
		return func(float64) float64 { return 0 }
	}
	return func(v float64) float64 { return 100 * (v - low) / (high - low) }
}

func signed(v float64) string {
	if v > 0 {
		return "+" + people(v)
	}
	return people(v)
}

const shownCauses = 12

func (w *WhyView) addCauses(e *driftline.PerformanceExplanation) {
	causes := slices.DeleteFunc(slices.Clone(e.Causes), func(c driftline.PerformanceCause) bool { return c.Change == 0 || math.IsNaN(float64(c.Change)) })
	causes = causes[:min(shownCauses, len(causes))]
	low, high := 0.0, 0.0
	for _, c := range causes {
		low, high = min(low, float64(c.Change)), max(high, float64(c.Change))
	}
	x := scaleTo100(low, high)
	for _, c := range causes {
		v := float64(c.Change)
		w.Causes = append(w.Causes, CauseView{Column: c.Column, Value: signed(v), Worse: v > 0, Sort: sortable(v),
			X: coordinate(min(x(0), x(v))), Width: coordinate(math.Abs(x(v) - x(0)))})
	}
}

// shownExampleColumns bounds the columns of examples.
const shownExampleColumns = 10

func newSegmentView(s driftline.PerformanceSegment, roles driftline.PerformanceOptions) SegmentView {
	v := SegmentView{Conditions: s.Conditions, Rows: s.Rows, ReferenceRows: s.ReferenceRows, Before: people(float64(s.Before)), After: people(float64(s.After)),
		Excess: signed(float64(s.Excess.Value)), Range: signed(float64(s.Excess.Low)) + " to " + signed(float64(s.Excess.High)), Q: Probability(s.QValue)}
	v.Columns = exampleColumns(s, roles)
	for i, example := range s.Examples {
		pair := ExampleView{Now: newExampleRow(example, v.Columns)}
		if i < len(s.BeforeExamples) {
			pair.Before, pair.Paired = newExampleRow(s.BeforeExamples[i], v.Columns), true
			for c := range pair.Now.Cells {
				differs := differ(pair.Before.Cells[c].Text, pair.Now.Cells[c].Text)
				pair.Now.Cells[c].Differs, pair.Before.Cells[c].Differs = differs, differs
			}
		}
		v.Examples = append(v.Examples, pair)
	}
	return v
}

// differ tells whether a reader should look: at other words, and at numbers that are
// another size or sign. Numbers that differ a little are everywhere.
func differ(before, now string) bool {
	a, err := strconv.ParseFloat(before, 64)
	b, other := strconv.ParseFloat(now, 64)
	if err != nil || other != nil {
		return before != now
	}
	return math.Abs(a-b) > max(math.Abs(a), math.Abs(b))/2
}

// exampleColumns are the columns of a segment's conditions, then what the model said and
// what was true, then the others by name.
func exampleColumns(s driftline.PerformanceSegment, roles driftline.PerformanceOptions) []string {
	var columns []string
	for _, example := range s.Examples {
		for name := range example.Values {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
	}
	named := func(column string) int {
		switch {
		case slices.ContainsFunc(s.Conditions, func(text string) bool { return strings.Contains(" "+text, " "+column+" ") }):
			return 0
		case column == roles.Prediction || column == roles.Score || column == roles.Label || column == roles.Group:
			return 1
		}
		return 2
	}
	slices.SortFunc(columns, func(a, b string) int { return cmp.Or(cmp.Compare(named(a), named(b)), cmp.Compare(a, b)) })
	return columns[:min(shownExampleColumns, len(columns))]
}

func newExampleRow(example driftline.PerformanceExample, columns []string) exampleRow {
	row := exampleRow{Row: example.Row, Loss: people(float64(example.Loss))}
	for _, c := range columns {
		row.Cells = append(row.Cells, exampleCell{Text: clipped(example.Values[c], 40)})
	}
	return row
}

func (v *PerformanceView) addWindows(report *driftline.PerformanceReport) {
	for _, m := range report.Metrics {
		v.Names = append(v.Names, metricName(m.Metric))
	}
	for _, w := range slices.Backward(report.Windows) {
		row := WindowView{Start: "all rows", Rows: w.Rows, Labels: w.Labels}
		if !w.Start.IsZero() {
			row.Start, row.End, row.Sort = day(w.Start), day(w.End), w.Start.UTC().Format(time.RFC3339)
		}
		for _, m := range report.Metrics {
			row.Cells = append(row.Cells, newWindowCell(m.Metric, w))
		}
		v.Windows = append(v.Windows, row)
	}
}

func newWindowCell(metric string, w driftline.PerformanceWindow) windowCell {
	for _, f := range w.Metrics {
		best := bestOf(f)
		if f.Metric != metric || best == nil {
			continue
		}
		cell := windowCell{Text: people(float64(best.Value)), Title: intervalRange(*best), Sort: sortable(float64(best.Value))}
		switch best {
		case f.Estimated:
			cell.How = "estimated"
		case f.Combined:
			cell.How = "combined"
		}
		return cell
	}
	return windowCell{Text: "–"}
}

// PerformanceMarkdown writes how a model does in GitHub's Markdown.
func PerformanceMarkdown(w io.Writer, report *driftline.PerformanceReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no performance report to write")
	}
	v := ViewPerformance(report)
	var page strings.Builder
	fmt.Fprintf(&page, "## %s\n\n", prose(v.Headline))
	fmt.Fprintf(&page, "%s (%s rows, %s labels)", code(v.Source.Name), whole(v.Source.Rows), whole(v.Labels))
	if v.Reference != nil {
		fmt.Fprintf(&page, ", reference %s (%s rows)", code(v.Reference.Name), whole(v.Reference.Rows))
	}
	page.WriteString("\n\n")
	if v.Detail != "" {
		fmt.Fprintf(&page, "%s\n\n", prose(v.Detail))
	}
	page.WriteString("| metric | | now | before |\n| :-- | :-- | --: | --: |\n")
	for _, m := range v.Metrics {
		now := m.Now
		if m.NowRange != "" {
			now += " (" + m.NowRange + ")"
		}
		verdict := m.Chip.Text
		if m.Chip.Class == "bad" {
			verdict = "**" + verdict + "**"
		}
		before := cmp.Or(m.Before, "–")
		if m.Chip == chipFell && !m.Worse {
			now, before = m.Recent, m.First
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", prose(m.Name), verdict, prose(now), prose(before))
	}
	page.WriteString("\n")
	if v.Why != nil {
		page.WriteString(whyMarkdown(v.Why))
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&page, "%s.\n\n", prose(note))
	}
	_, err := io.WriteString(w, page.String())
	return err
}

func whyMarkdown(w *WhyView) string {
	var text strings.Builder
	if w.Split {
		text.WriteString("| part of the change | | |\n| :-- | --: | :-- |\n")
		for _, p := range w.Parts {
			fmt.Fprintf(&text, "| %s | %s | %s |\n", p.Name, prose(p.Value), prose(p.Range))
		}
		text.WriteString("\n")
	}
	if len(w.Segments) > 0 {
		text.WriteString("| worst rows | rows | loss before | loss now |\n| :-- | --: | --: | --: |\n")
		for _, s := range w.Segments {
			fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", prose(strings.Join(s.Conditions, " and ")), whole(s.Rows), prose(s.Before), prose(s.After))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// PerformanceJUnit writes how a model does as a suite of tests, one for each metric: one that
// fell or is worse is a failure, one of which there is too little to tell is skipped.
func PerformanceJUnit(w io.Writer, report *driftline.PerformanceReport) error {
	if report == nil {
		return driftline.Errorf(driftline.Invalid, "there is no performance report to write")
	}
	v := ViewPerformance(report)
	suite := junitSuite{Name: v.Source.Name, Properties: []junitProperty{
		{"rows", fmt.Sprint(v.Source.Rows)}, {"labels", fmt.Sprint(v.Labels)}, {"task", report.Task}, {"alpha", fmt.Sprint(report.Alpha)},
	}}
	for _, m := range v.Metrics {
		test := junitCase{Class: "performance", Name: m.Name}
		switch m.Chip {
		case chipFell, chipWorse:
			message := fmt.Sprintf("%s now, %s before", m.Now, m.Before)
			if !m.Worse {
				message = fmt.Sprintf("%s recently, %s in the first windows", m.Recent, m.First)
			}
			test.Failure = &junitOutcome{Type: m.Chip.Text, Message: message, Text: v.Detail}
		case chipUnsaid:
			test.Skipped = &junitSkipped{Message: m.Chip.Text}
		}
		suite.Cases = append(suite.Cases, test)
	}
	return writeJUnit(w, "driftline performance", suite)
}

// performanceRow is a metric of a window.
type performanceRow struct {
	window  driftline.PerformanceWindow
	figures driftline.MetricFigures
}

// PerformanceRows returns one row for each window and metric. It can be ranged over any
// number of times.
func PerformanceRows(mem memory.Allocator, report *driftline.PerformanceReport) driftline.Batches {
	var rows []performanceRow
	for _, w := range report.Windows {
		for _, f := range w.Metrics {
			rows = append(rows, performanceRow{w, f})
		}
	}
	columns := []rowColumn[performanceRow]{
		textColumn("source", func(performanceRow) string { return report.Source.Name }),
		timeColumn("start", func(r performanceRow) time.Time { return r.window.Start }),
		timeColumn("end", func(r performanceRow) time.Time { return r.window.End }),
		countColumn("rows", func(r performanceRow) int64 { return r.window.Rows }),
		countColumn("labels", func(r performanceRow) int64 { return r.window.Labels }),
		textColumn("metric", func(r performanceRow) string { return r.figures.Metric }),
	}
	for _, how := range []struct {
		name string
		of   func(driftline.MetricFigures) *driftline.Interval
	}{
		{"measured", func(f driftline.MetricFigures) *driftline.Interval { return f.Measured }},
		{"estimated", func(f driftline.MetricFigures) *driftline.Interval { return f.Estimated }},
		{"combined", func(f driftline.MetricFigures) *driftline.Interval { return f.Combined }},
	} {
		part := func(of func(driftline.Interval) driftline.Number) func(performanceRow) driftline.Number {
			return func(r performanceRow) driftline.Number {
				if i := how.of(r.figures); i != nil {
					return of(*i)
				}
				return driftline.Number(math.NaN())
			}
		}
		columns = append(columns,
			numberColumn(how.name, part(func(i driftline.Interval) driftline.Number { return i.Value })),
			numberColumn(how.name+"_low", part(func(i driftline.Interval) driftline.Number { return i.Low })),
			numberColumn(how.name+"_high", part(func(i driftline.Interval) driftline.Number { return i.High })))
	}
	return rowsOf(mem, rows, columns)
}
