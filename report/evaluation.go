package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

var evaluationPage = newPage("evaluation.html")

// EvaluationHTML writes what a candidate showed as one page: whether it passed, each check,
// how much better it is than the champion with intervals, and what its scores mean.
func EvaluationHTML(w io.Writer, e *driftline.Evaluation) error {
	if e == nil {
		return noEvaluation()
	}
	return writePage(w, evaluationPage, ViewEvaluation(e))
}

func noEvaluation() error {
	return driftline.Errorf(driftline.Invalid, "there is no evaluation to write")
}

// EvaluationView is an evaluation in the words and pictures of a page.
type EvaluationView struct {
	Title, Headline string
	Chip            chip
	Candidate       string
	Champion        string // "" if there is none
	Dataset         string
	Rows            int64
	At              string
	Tally           []tally
	Checks          []EvaluationCheckView
	Differences     *DifferencePlot  // nil if nothing was compared
	Reliability     *ReliabilityPlot // nil without probabilities
	Evidence        []Fact
}

// Fact is a name and what it is.
type Fact struct{ Name, Value string }

// EvaluationCheckView is one check.
type EvaluationCheckView struct {
	Name, Subject string
	Chip          chip
	Order         int
	Kind, Message string
}

var (
	chipSkipped   = chip{"none", "skipped"}
	chipIdentical = chip{"none", "identical"}
)

var chipOfEvaluation = map[driftline.EvaluationOutcome]chip{
	driftline.EvaluationPassed: chipPassed, driftline.EvaluationWarned: chipWarned, driftline.EvaluationFailed: chipFailed,
	driftline.EvaluationSkipped: chipSkipped, driftline.EvaluationIdentical: chipIdentical,
}

// ViewEvaluation says and draws an evaluation.
func ViewEvaluation(e *driftline.Evaluation) *EvaluationView {
	v := &EvaluationView{
		Candidate: driftline.ModelRef(e.Model, e.Candidate).String(), Dataset: e.Dataset.String(), Rows: e.Rows, Chip: chipOfEvaluation[e.Outcome],
		Headline: evaluationHeadline(e), Differences: newDifferencePlot(e), Reliability: newReliabilityPlot(e), Evidence: evidenceOf(e),
	}
	v.Title = v.Headline + " · " + v.Candidate
	if e.Champion != 0 {
		v.Champion = driftline.ModelRef(e.Model, e.Champion).String()
	}
	if !e.Time.IsZero() {
		v.At = e.Time.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	order := []chip{chipFailed, chipWarned, chipIdentical, chipPassed, chipSkipped}
	counts := map[chip]int{}
	for _, c := range e.Checks {
		found, ok := chipOfEvaluation[c.Outcome]
		if !ok {
			found = chipFailed // what is not known to have passed has not
		}
		counts[found]++
		v.Checks = append(v.Checks, EvaluationCheckView{Name: string(c.Check), Subject: c.Subject, Chip: found,
			Order: slices.Index(order, found), Kind: string(c.Severity), Message: c.Message})
	}
	slices.SortStableFunc(v.Checks, func(a, b EvaluationCheckView) int { return cmp.Compare(a.Order, b.Order) })
	v.Tally = tallies(order, counts)
	return v
}

func evaluationHeadline(e *driftline.Evaluation) string {
	failed, warned := 0, 0
	for _, c := range e.Checks {
		switch c.Outcome {
		case driftline.EvaluationFailed:
			failed++
		case driftline.EvaluationWarned:
			warned++
		}
	}
	switch {
	case e.Outcome == driftline.EvaluationIdentical:
		return "It is the champion, byte for byte"
	case failed > 0:
		return fmt.Sprintf("The gate is closed: %s failed", Plural(failed, "check"))
	case warned > 0:
		return fmt.Sprintf("The gate is open, with %s", Plural(warned, "warning"))
	}
	return "The gate is open"
}

func evidenceOf(e *driftline.Evaluation) []Fact {
	facts := []Fact{{"dataset", e.Dataset.String()}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, Fact{name, value})
		}
	}
	add("part", e.Gate.Part)
	add("content hash", e.DataHash)
	add("labels", fmt.Sprintf("%s of %s rows", whole(e.Labels), whole(e.Rows)))
	for _, side := range []struct {
		name string
		used *driftline.PredictionsUsed
	}{{"candidate", e.Predictions}, {"champion", e.ChampionPredictions}} {
		if side.used != nil {
			add("predictions of the "+side.name, fmt.Sprintf("%s, found by %s, SHA-256 %.12s", side.used.From, side.used.Match, side.used.Hash))
		}
	}
	add("seed", fmt.Sprintf("%d, %s replications", e.Seed, whole(int64(e.Gate.Replications))))
	if e.Policy != 0 {
		add("policy", driftline.PolicyRef(e.Model, e.Policy).String())
	}
	add("asked by", e.By)
	return facts
}

// DifferencePlot draws differences of candidate and champion with their intervals, one a row.
type DifferencePlot struct {
	Metric           string
	Width, Height    float64
	Left, Right      float64
	Zero, Limit      string // x; Limit is "" if it lies outside
	LimitText        string
	Bars             []DifferenceBar
	LowText, TopText string
	Hidden           int // segments that are not drawn
}

// DifferenceBar is the difference in all rows, or in one segment.
type DifferenceBar struct {
	Name                string
	Y, TextY            float64
	X, Low, High, Width string
	Worse, Whole        bool
	Text                string
}

const (
	differenceRow   = 26.0
	mostDifferences = 24
)

func newDifferencePlot(e *driftline.Evaluation) *DifferencePlot {
	type one struct {
		name         string
		of           driftline.Interval
		worse, whole bool
	}
	var all []one
	limit := math.NaN()
	for _, c := range e.Checks {
		if c.Check == driftline.EvaluateMetric && c.Difference != nil {
			all = append(all, one{"all rows", *c.Difference, c.Outcome != driftline.EvaluationPassed, true})
			if c.Limit != nil {
				limit = *c.Limit
			}
		}
	}
	segments := slices.Clone(e.Segments)
	slices.SortStableFunc(segments, func(a, b driftline.EvaluatedSegment) int {
		return cmp.Compare(float64(a.Difference.Value), float64(b.Difference.Value))
	})
	for _, s := range segments {
		all = append(all, one{s.Segment, s.Difference, s.Worse, false})
	}
	all = slices.DeleteFunc(all, func(o one) bool { return !finite(float64(o.of.Low), float64(o.of.High), float64(o.of.Value)) })
	if len(all) == 0 {
		return nil
	}
	p := &DifferencePlot{Metric: e.Gate.Metric, Width: 720, Left: 190, Right: 20}
	if p.Hidden = len(all) - mostDifferences; p.Hidden > 0 {
		all = all[:mostDifferences]
	}
	low, high := 0.0, 0.0
	if finite(limit) {
		low = min(low, limit)
	}
	for _, o := range all {
		low, high = min(low, float64(o.of.Low)), max(high, float64(o.of.High))
	}
	if room := (high - low) * 0.05; room > 0 {
		low, high = low-room, high+room
	} else {
		low, high = -1, 1
	}
	x := func(v float64) float64 { return p.Left + (v-low)/(high-low)*(p.Width-p.Left-p.Right) }
	for i, o := range all {
		y := 12 + differenceRow*float64(i)
		p.Bars = append(p.Bars, DifferenceBar{Name: o.name, Y: y + differenceRow/2, TextY: y + differenceRow/2 + 4, Worse: o.worse, Whole: o.whole,
			X: coordinate(x(float64(o.of.Value))), Low: coordinate(x(float64(o.of.Low))), High: coordinate(x(float64(o.of.High))),
			Width: coordinate(x(float64(o.of.High)) - x(float64(o.of.Low))),
			Text:  fmt.Sprintf("%s: %s (%s to %s), %s rows", o.name, people(float64(o.of.Value)), people(float64(o.of.Low)), people(float64(o.of.High)), whole(o.of.Rows))})
	}
	p.Height = 12 + differenceRow*float64(len(all)) + 22
	p.Zero, p.LowText, p.TopText = coordinate(x(0)), people(low), people(high)
	if finite(limit) {
		p.Limit, p.LimitText = coordinate(x(limit)), people(limit)
	}
	return p
}

func finite(values ...float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// ReliabilityPlot draws how often class 1 came about by score; on the diagonal scores mean what
// they say.
type ReliabilityPlot struct {
	Size, Inner         float64
	Candidate, Champion string // points of a line; Champion is "" if there is none
	Dots                []ReliabilityDot
}

// ReliabilityDot is a bin of the candidate.
type ReliabilityDot struct{ X, Y, Text string }

func newReliabilityPlot(e *driftline.Evaluation) *ReliabilityPlot {
	if len(e.Reliability) == 0 {
		return nil
	}
	p := &ReliabilityPlot{Size: 320, Inner: 300}
	line := func(bins []driftline.ReliabilityBin, visit func(x, y string, b driftline.ReliabilityBin)) string {
		var points []string
		for _, b := range bins {
			if !finite(float64(b.Score), float64(b.Share)) {
				continue
			}
			x, y := coordinate(10+float64(b.Score)*p.Inner), coordinate(10+(1-float64(b.Share))*p.Inner)
			points = append(points, x+","+y)
			visit(x, y, b)
		}
		return strings.Join(points, " ")
	}
	p.Candidate = line(e.Reliability, func(x, y string, b driftline.ReliabilityBin) {
		p.Dots = append(p.Dots, ReliabilityDot{x, y, fmt.Sprintf("score %s: class 1 in %s of %s rows", people(float64(b.Score)), Percent(float64(b.Share)), whole(b.Rows))})
	})
	p.Champion = line(e.ChampionReliability, func(string, string, driftline.ReliabilityBin) {})
	return p
}

// EvaluationMarkdown writes an evaluation in GitHub's Markdown.
func EvaluationMarkdown(w io.Writer, e *driftline.Evaluation) error {
	if e == nil {
		return noEvaluation()
	}
	v := ViewEvaluation(e)
	var page strings.Builder
	fmt.Fprintf(&page, "## %s\n\n%s", prose(v.Headline), code(v.Candidate))
	if v.Champion != "" {
		fmt.Fprintf(&page, " beside the champion %s", code(v.Champion))
	}
	fmt.Fprintf(&page, " on %s (%s rows)\n\n| check | outcome | found |\n| :-- | :-- | :-- |\n", code(v.Dataset), whole(v.Rows))
	for _, c := range v.Checks {
		outcome := c.Chip.Text
		if c.Chip == chipFailed {
			outcome = "**" + outcome + "**"
		}
		fmt.Fprintf(&page, "| %s | %s | %s |\n", prose(strings.TrimSpace(c.Name+" "+c.Subject)), outcome, prose(c.Message))
	}
	page.WriteString("\n<details>\n<summary>Evidence</summary>\n\n| | |\n| :-- | :-- |\n")
	for _, f := range v.Evidence {
		fmt.Fprintf(&page, "| %s | %s |\n", prose(f.Name), prose(f.Value))
	}
	page.WriteString("\n</details>\n")
	_, err := io.WriteString(w, page.String())
	return err
}

// EvaluationJUnit writes an evaluation as a suite of tests, one for each check: what failed is a
// failure, what warned or was not looked at is skipped. A candidate that is the champion's bytes is
// a failure too.
func EvaluationJUnit(w io.Writer, e *driftline.Evaluation) error {
	if e == nil {
		return noEvaluation()
	}
	v := ViewEvaluation(e)
	suite := junitSuite{Name: v.Candidate}
	for _, f := range v.Evidence {
		suite.Properties = append(suite.Properties, junitProperty(f))
	}
	for _, c := range v.Checks {
		test := junitCase{Class: "gate." + c.Name, Name: strings.TrimSpace(c.Name + " " + c.Subject)}
		switch c.Chip {
		case chipFailed, chipIdentical:
			test.Failure = &junitOutcome{Type: c.Name, Message: c.Message}
		case chipWarned:
			test.Skipped = &junitSkipped{Message: "warning: " + c.Message}
		case chipSkipped:
			test.Skipped = &junitSkipped{Message: c.Message}
		}
		suite.Cases = append(suite.Cases, test)
	}
	return writeJUnit(w, "driftline gate", suite)
}

// EvaluationRows are the checks of an evaluation as rows.
func EvaluationRows(mem memory.Allocator, e *driftline.Evaluation) driftline.Batches {
	return rowsOf(mem, e.Checks, []rowColumn[driftline.EvaluationCheck]{
		textColumn("check", func(c driftline.EvaluationCheck) string { return string(c.Check) }),
		textColumn("subject", func(c driftline.EvaluationCheck) string { return c.Subject }),
		textColumn("outcome", func(c driftline.EvaluationCheck) string { return string(c.Outcome) }),
		textColumn("severity", func(c driftline.EvaluationCheck) string { return string(c.Severity) }),
		textColumn("message", func(c driftline.EvaluationCheck) string { return c.Message }),
	})
}
