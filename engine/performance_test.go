package engine_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

var firstDay = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// scoredDays draws 400 predictions a day: the model is wrong in a tenth of the rows whose
// u is at most 0.5, which are four fifths, and in 0.45 of the others, and its scores know
// it. From the tenth day on, of sixteen, u or JFK change. The last day has no labels yet,
// and the one before only half of them.
func scoredDays(t *testing.T, change string, days int) driftline.Batches {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(days), 7))
	var at []arrow.Timestamp
	var u, noise, score, prediction, label []float64
	var known []bool
	var airport []string
	for day := range days {
		for i := range 400 {
			changed := days == 16 && day >= 10
			share := 0.2
			if changed && change == "u" {
				share = 0.8
			}
			x, wrong := random.Float64()/2, 0.1
			if random.Float64() < share {
				x, wrong = x+0.5, 0.45
			}
			where := []string{"JFK", "EWR", "LGA", "BOS", "SFO"}[random.IntN(5)]
			class := float64(random.IntN(2))
			likely := math.Abs(class - wrong) // of class 1
			if changed && change == "airport" && where == "JFK" {
				wrong = 0.9
			}
			truth := class
			if random.Float64() < wrong {
				truth = 1 - class
			}
			at = append(at, arrow.Timestamp(firstDay.AddDate(0, 0, day).Add(time.Duration(i)*time.Minute).UnixMicro()))
			u, noise, airport = append(u, x), append(noise, random.NormFloat64()), append(airport, where)
			score, prediction, label = append(score, likely), append(prediction, class), append(label, truth)
			known = append(known, days < 16 || day < 14 || day == 14 && i%2 == 0)
		}
	}
	mem := checked(t)
	return table(t, build(array.NewTimestampBuilder(mem, &arrow.TimestampType{Unit: arrow.Microsecond}), "at", at, nil),
		floats(mem, "u", u...), floats(mem, "noise", noise...), texts(mem, "airport", airport...),
		floats(mem, "score", score...), floats(mem, "prediction", prediction...), build(array.NewFloat64Builder(mem), "label", label, known))
}

var daily = driftline.PerformanceOptions{Task: driftline.TaskClassification, Prediction: "prediction", Score: "score", Label: "label", Time: "at"}

func figuresOf(w driftline.PerformanceWindow, metric string) driftline.MetricFigures {
	i := slices.IndexFunc(w.Metrics, func(m driftline.MetricFigures) bool { return m.Metric == metric })
	return w.Metrics[i]
}

func TestPerformanceNamesTheCauseOfAFall(t *testing.T) {
	for _, c := range []struct {
		change                   string
		reference                bool
		byInputs                 bool
		lowest, highest, planted float64 // accuracy of the day without labels, as estimated
	}{
		{"u", true, true, 0.58, 0.67, 0.62},
		{"airport", true, false, 0.79, 0.87, 0.83}, // which no estimate without labels can see to be worse
		{"u", false, true, 0.58, 0.67, 0.62},
	} {
		var reference *driftline.Batches
		if c.reference {
			rows := scoredDays(t, "", 8)
			reference = &rows
		}
		report, err := engine.Performance(t.Context(), scoredDays(t, c.change, 16), reference, daily)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Windows) != 16 || !report.Windows[3].Start.Equal(firstDay.AddDate(0, 0, 3)) || report.Windows[15].Labels != 0 || report.Windows[14].Labels != 200 {
			t.Fatalf("%s: windows %+v", c.change, report.Windows)
		}
		first, half, last := figuresOf(report.Windows[0], "accuracy"), figuresOf(report.Windows[14], "accuracy"), figuresOf(report.Windows[15], "accuracy")
		if first.Measured.Rows != 400 || first.Measured.Low >= first.Measured.Value || first.Combined != nil || half.Combined == nil || last.Measured != nil {
			t.Errorf("%s: figures %+v, %+v, %+v", c.change, first, half, last)
		}
		if v := float64(last.Estimated.Value); v < c.lowest || v > c.highest {
			t.Errorf("%s: without labels accuracy is estimated as %.3f, planted is %v", c.change, v, c.planted)
		}
		if m := report.Metrics[0]; m.Metric != "accuracy" || !m.Fell || !m.Worse || !report.Fell {
			t.Errorf("%s: %+v, want a fall by the rule and by the intervals", c.change, m)
		}
		e := report.Explanation
		inputs, relationship := float64(e.Inputs.Value), float64(e.Relationship.Value)
		if c.byInputs != (inputs > 2*relationship) || c.byInputs == (relationship > 2*inputs) {
			t.Errorf("%s: inputs %.3f, relationship %.3f", c.change, inputs, relationship)
		}
		if c.byInputs && e.Causes[0].Column != "u" {
			t.Errorf("causes %+v, want u first", e.Causes)
		}
		if c.change != "airport" {
			continue
		}
		if len(e.Segments) == 0 || !slices.Equal(e.Segments[0].Conditions, []string{"airport = JFK"}) || e.Segments[0].QValue > 0.01 {
			t.Fatalf("segments %+v, want JFK first", e.Segments)
		}
		for _, example := range e.Segments[0].Examples {
			v := example.Values
			if v["airport"] != "JFK" || v["label"] == v["prediction"] || v["noise"] == "" || example.Row < 10*400 || example.Row >= 15*400 {
				t.Errorf("%+v is no wrong prediction for JFK in the windows that fell", example)
			}
		}
	}
}

func TestPerformanceWithoutAFall(t *testing.T) {
	reference := scoredDays(t, "", 8)
	opts := daily
	opts.Time = ""
	report, err := engine.Performance(t.Context(), scoredDays(t, "", 9), &reference, opts)
	if err != nil {
		t.Fatal(err)
	}
	if report.Fell || report.Explanation != nil || len(report.Windows) != 1 || report.Windows[0].Rows != 9*400 || !report.Windows[0].Start.IsZero() {
		t.Errorf("%+v", report)
	}
}

// Numbers, and lists, whose metrics are known by hand.
func TestPerformanceOfOtherTasks(t *testing.T) {
	mem := checked(t)
	regression, err := engine.Performance(t.Context(), table(t, floats(mem, "p", 1, 2, 3, 4), floats(mem, "y", 2, 2, 3, 6)), nil,
		driftline.PerformanceOptions{Task: driftline.TaskRegression, Prediction: "p", Label: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if v := figuresOf(regression.Windows[0], "mae").Measured.Value; v != 0.75 {
		t.Errorf("mean absolute error %v, want 0.75", v)
	}
	ranking, err := engine.Performance(t.Context(), table(t, texts(mem, "list", "a", "b", "a", "b"), floats(mem, "s", 2, 1, 1, 2), floats(mem, "y", 1, 1, 0, 0)), nil,
		driftline.PerformanceOptions{Task: driftline.TaskRanking, Score: "s", Label: "y", Group: "list"})
	if err != nil {
		t.Fatal(err)
	}
	if v := figuresOf(ranking.Windows[0], "map").Measured; v.Value != 0.75 || v.Rows != 2 {
		t.Errorf("MAP %+v, want (1 + 1/2)/2 of 2 lists", v)
	}
}

func TestPerformanceRefuses(t *testing.T) {
	with := func(change func(*driftline.PerformanceOptions)) driftline.PerformanceOptions {
		opts := daily
		change(&opts)
		return opts
	}
	for _, c := range []struct {
		opts driftline.PerformanceOptions
		want string
	}{
		{driftline.PerformanceOptions{}, `task is ""`},
		{with(func(o *driftline.PerformanceOptions) { o.Prediction = "predicted" }), `"predicted" is missing in source`},
		{with(func(o *driftline.PerformanceOptions) { o.Label = "airport" }), "want numbers or booleans"},
		{with(func(o *driftline.PerformanceOptions) { o.Time = "u" }), "want a time"},
		{with(func(o *driftline.PerformanceOptions) { o.Score = "noise" }), "want a probability"},
		{with(func(o *driftline.PerformanceOptions) { o.Score = "label" }), "both score and label"},
		{with(func(o *driftline.PerformanceOptions) { o.Inputs = []string{"score"} }), "has a role"},
		{with(func(o *driftline.PerformanceOptions) { o.Prediction, o.Score = "", "" }), "no metric"},
		{with(func(o *driftline.PerformanceOptions) { o.Window = driftline.Duration(time.Microsecond) }), ""},
		{with(func(o *driftline.PerformanceOptions) { o.Alpha = 2 }), "alpha is 2"},
	} {
		report, err := engine.Performance(t.Context(), scoredDays(t, "", 2), nil, c.opts)
		if c.want == "" {
			if err != nil || len(report.Windows) != 800 {
				t.Errorf("800 windows: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%+v: %v, want an invalid request that says %q", c.opts, err, c.want)
		}
	}
}
