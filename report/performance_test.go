package report_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

func around(value, half float64) *driftline.Interval {
	return &driftline.Interval{Value: driftline.Number(value), Low: driftline.Number(value - half), High: driftline.Number(value + half), Rows: 400}
}

// samplePerformance is of sixteen days: accuracy falls on the tenth, MAE cannot be said, and
// the last day has no labels yet.
func samplePerformance() *driftline.PerformanceReport {
	nan := driftline.Number(math.NaN())
	r := &driftline.PerformanceReport{
		Source: driftline.DriftSide{Name: "dataset/scored@1", Rows: 6400}, Reference: &driftline.DriftSide{Name: "dataset/test@1", Rows: 3200},
		Task: driftline.TaskClassification, Alpha: 0.05, Columns: driftline.PerformanceOptions{Prediction: "predicted", Label: "late"}, Fell: true,
		Metrics: []driftline.PerformanceChange{
			{Metric: "log_loss", First: nan, Recent: nan},
			{Metric: "recall", Higher: true, First: 0.8, Recent: 0.79, Before: around(0.8, 0.01), After: around(0.79, 0.01)},
			{Metric: "accuracy", Higher: true, First: 0.83, Recent: 0.62, Fell: true, Worse: true, Before: around(0.83, 0.01), After: around(0.62, 0.02)},
		},
		Notes: []string{"column \"id\" has 4000 categories"},
		Explanation: &driftline.PerformanceExplanation{
			Loss: "wrong class", Before: 0.17, After: 0.38, ReferenceRows: 3200, Rows: 2000, Inputs: *around(0.2, 0.01), Relationship: *around(0.01, 0.02), Overlap: 0.6,
			Causes: []driftline.PerformanceCause{{Column: "busy", Change: 0.21}, {Column: "gate", Change: -0.03}, {Column: "noise", Change: 0}},
			Segments: []driftline.PerformanceSegment{{
				Conditions: []string{"busy = true", "2 < gate ≤ 7"}, ReferenceRows: 300, Rows: 900, Before: 0.2, After: 0.5, Excess: *around(0.3, 0.1), QValue: 1e-9,
				Examples:       []driftline.PerformanceExample{{Row: 41, Loss: 1, Values: map[string]string{"busy": "true", "airport": "JFK", "late": "1", "predicted": "0", "wind": "7.1"}}},
				BeforeExamples: []driftline.PerformanceExample{{Row: 7, Loss: 0, Values: map[string]string{"busy": "true", "airport": "EWR", "late": "0", "predicted": "0", "wind": "7"}}},
			}},
		},
	}
	for day := range 16 {
		w := driftline.PerformanceWindow{Start: time.Date(2026, 3, 1+day, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 3, 2+day, 0, 0, 0, 0, time.UTC), Rows: 400, Labels: 400}
		value := 0.83
		if day >= 9 {
			value = 0.62
		}
		figures := driftline.MetricFigures{Metric: "accuracy", Measured: around(value, 0.04), Estimated: around(value, 0.05)}
		if day == 15 {
			w.Labels, figures.Measured = 0, nil
		}
		w.Metrics = []driftline.MetricFigures{figures}
		r.Windows = append(r.Windows, w)
	}
	return r
}

func TestPerformanceHTML(t *testing.T) {
	page := written(t, report.PerformanceHTML, samplePerformance())
	text := words(page)
	for _, want := range []string{
		"The model does worse: 1 of 3 metrics",
		"The mean loss (wrong class) went from 0.17 to 0.38, because the inputs changed, busy most of all: 0.2 of it.",
		"dataset/scored@1 6,400 predictions, 6,000 with a label, 2026-03-01 to 2026-03-17",
		"accuracy fell 0.62 0.6 to 0.64", "recall steady", "log loss not enough data",
		"inputs changed &#43;0.2 &#43;0.19 to &#43;0.21", "busy &#43;0.21", "gate −0.03",
		"busy = true and 2 &lt; gate ≤ 7", "before 7 0", "now 41 1",
		"Column &#34;id&#34; has 4000 categories.",
	} {
		if !strings.Contains(text, want) && !strings.Contains(page, want) {
			t.Errorf("page lacks %q:\n%s", want, text)
		}
	}
	if at := strings.Index(text, "accuracy fell"); at > strings.Index(text, "recall steady") {
		t.Error("what fell is not first")
	}
	if !strings.Contains(page, `<th>busy</th><th>late</th><th>predicted</th><th>airport</th><th>wind</th>`) {
		t.Error("columns of examples: want those of the conditions, what was said and true, then the others")
	}
	if !strings.Contains(page, `<td class="differs">JFK</td>`) || strings.Contains(page, `<td class="differs">7.1</td>`) {
		t.Error("other words differ, numbers that are a little other do not")
	}
	if strings.Contains(text, "noise") {
		t.Error("a cause that changed nothing is shown")
	}
	for _, outside := range []string{"http://", "https://", " src=", "<link", "@import"} {
		if strings.Contains(page, outside) {
			t.Errorf("page refers to something outside: %q", outside)
		}
	}
}

// A metric can be worse while the loss, which is what is explained, is not.
func TestALossThatFellIsNotGivenAsTheReason(t *testing.T) {
	r := samplePerformance()
	r.Explanation.After = 0.15
	text := words(written(t, report.PerformanceHTML, r))
	if want := "All the same the mean loss (wrong class) fell from 0.17 to 0.15; the inputs that changed would have raised it by 0.2."; !strings.Contains(text, want) {
		t.Errorf("page lacks %q:\n%s", want, text)
	}
	if strings.Contains(text, "because the inputs changed") {
		t.Errorf("a loss that fell is a reason:\n%s", text)
	}
}

func TestTimelines(t *testing.T) {
	view := report.ViewPerformance(samplePerformance())
	line := view.Metrics[0].Line
	if line == nil || line.Line == "" || line.Band == "" || line.EstimatedLine == "" || line.BeforeY == "" || len(line.Marks) != 16 {
		t.Fatalf("%+v", line)
	}
	if want := "2026-03-16: 0.62 (0.57 to 0.67), 400 rows, 0 labels, estimated without labels"; line.Marks[15].Text != want {
		t.Errorf("%q, want %q", line.Marks[15].Text, want)
	}
	if strings.Contains(fmt.Sprintf("%+v", *line), "NaN") {
		t.Errorf("%+v", *line)
	}
	// One window, windows without a time, values that are all the same, and none.
	one := samplePerformance()
	one.Windows = one.Windows[:1]
	if view := report.ViewPerformance(one); view.Metrics[0].Line != nil || view.Metrics[0].Now != "0.62" {
		t.Errorf("a line of one window: %+v", view.Metrics[0])
	}
	same := samplePerformance()
	for i := range same.Windows {
		same.Windows[i].Metrics[0].Measured, same.Windows[i].Metrics[0].Estimated = around(0, 0), nil
	}
	same.Metrics = same.Metrics[2:]
	same.Metrics[0].Before = around(0, 0)
	flat := report.ViewPerformance(same).Metrics[0].Line
	if text := fmt.Sprintf("%+v", *flat); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("a flat line: %s", text)
	}
	if flat.Top != "0.5" || flat.Bottom != "−0.5" {
		t.Errorf("a flat line of zeros is drawn from %s to %s", flat.Bottom, flat.Top)
	}
	none := &driftline.PerformanceReport{Task: "regression", Metrics: []driftline.PerformanceChange{{Metric: "mae", First: driftline.Number(math.NaN())}}}
	if page := written(t, report.PerformanceHTML, none); !strings.Contains(page, "Too few labels to tell") {
		t.Error("nothing is known, and the page does not say so")
	}
}

func TestPerformanceInOtherForms(t *testing.T) {
	text := written(t, report.PerformanceMarkdown, samplePerformance())
	for _, want := range []string{"## The model does worse: 1 of 3 metrics\n", "| accuracy | **fell** | 0.62 \\(0.6 to 0.64\\) | 0.83 |", "| inputs changed | +0.2 | +0.19 to +0.21 |",
		"| busy = true and 2 &lt; gate ≤ 7 | 900 | 0.2 | 0.5 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	parsed := parseJUnit(t, written(t, report.PerformanceJUnit, samplePerformance()))
	if parsed.Tests != 3 || parsed.Failures != 1 || parsed.Skipped != 1 {
		t.Errorf("tests %d, failures %d, skipped %d", parsed.Tests, parsed.Failures, parsed.Skipped)
	}
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	batches, n, err := report.PerformanceRows(mem, samplePerformance()).Collect()
	if err != nil || n != 16 {
		t.Fatalf("%d rows: %v", n, err)
	}
	defer driftline.ReleaseAll(batches)
	if measured := batches[0].Column(6); measured.NullN() != 1 {
		t.Errorf("%d windows without measured accuracy, want 1", measured.NullN())
	}
}

func TestPerformanceEscapesEverything(t *testing.T) {
	hostile := "\"><script>alert(1)</script>|`\n\x00"
	sample := samplePerformance()
	sample.Source.Name, sample.Notes = hostile, []string{hostile}
	e := sample.Explanation
	e.Loss, e.Causes[0].Column, e.Segments[0].Conditions = hostile, hostile, []string{hostile}
	e.Segments[0].Examples[0].Values = map[string]string{hostile: hostile}
	if page := written(t, report.PerformanceHTML, sample); strings.Count(page, "<script>") != 1 {
		t.Error("markup comes through to the page")
	}
	for line := range strings.Lines(written(t, report.PerformanceMarkdown, sample)) {
		if strings.HasPrefix(line, "<script") || strings.Contains(line, "\x00") {
			t.Errorf("markup comes through: %q", line)
		}
	}
	parseJUnit(t, written(t, report.PerformanceJUnit, sample))
	for _, write := range []func() error{
		func() error { return report.PerformanceHTML(nil, nil) }, func() error { return report.PerformanceMarkdown(nil, nil) }, func() error { return report.PerformanceJUnit(nil, nil) },
	} {
		if write() == nil {
			t.Error("no report was written")
		}
	}
}
