package evaluation_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
)

var (
	now  = time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	gate = driftline.EvaluationGate{
		Dataset: driftline.DatasetRef("late", 3), Task: driftline.TaskClassification, Metric: "roc_auc", Label: "late",
		Segments: []driftline.Segment{{Name: "origin", Expression: "origin"}}, Replications: 200,
		Floors: map[string]float64{"roc_auc": 0.6, "brier": 0.25}, Latency: driftline.Duration(50 * time.Millisecond),
	}
)

// models makes an input of n rows: the scores of the candidate have so much noise, those of
// the champion 1. In segment JFK the candidate's noise is jfk.
func models(n int, noise, jfk float64) *evaluation.Input {
	random := rand.New(rand.NewPCG(1, 1))
	in := &evaluation.Input{
		Model: "m", Dataset: driftline.DatasetRef("late", 3), DataHash: "abc",
		Candidate: evaluation.Side{Version: 2, SHA256: "c2", Registered: "c2"},
		Champion:  &evaluation.Side{Version: 1, SHA256: "c1", Registered: "c1"},
		Segments:  []evaluation.Segments{{Title: "origin"}},
		Trained:   []uint64{},
	}
	origins := []string{"EWR", "JFK", "LGA", ""}
	for i := range n {
		origin := origins[i%4]
		x, both, mine := random.NormFloat64(), random.NormFloat64(), random.NormFloat64()
		p := 1 / (1 + math.Exp(-2*x))
		label := 0.0
		if random.Float64() < p {
			label = 1
		}
		score := func(noise float64) float64 { return 1 / (1 + math.Exp(-2*x-0.5*both-noise*mine)) }
		wanted := noise
		if origin == "JFK" {
			wanted = jfk
		}
		in.Labels = append(in.Labels, label)
		in.Candidate.Scores = append(in.Candidate.Scores, score(wanted))
		in.Champion.Scores = append(in.Champion.Scores, score(0.5))
		in.Segments[0].Values = append(in.Segments[0].Values, origin)
		in.Rows = append(in.Rows, evaluation.RowKey([]string{origin}, now.Add(time.Duration(i)*time.Hour)))
	}
	for i := range 100 {
		in.Candidate.Latencies = append(in.Candidate.Latencies, time.Duration(i)*time.Millisecond/4)
		in.Champion.Latencies = append(in.Champion.Latencies, time.Duration(i)*time.Millisecond/5)
	}
	return in
}

func evaluate(t *testing.T, g driftline.EvaluationGate, in *evaluation.Input) *driftline.Evaluation {
	t.Helper()
	e, err := evaluation.Evaluate(g, in, now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// outcomes is each check's outcome, in order.
func outcomes(e *driftline.Evaluation) string {
	var words []string
	for _, c := range e.Checks {
		words = append(words, string(c.Check)+" "+string(c.Outcome))
	}
	return string(e.Outcome) + ": " + strings.Join(words, ", ")
}

const allPassed = "artifact passed, signature skipped, data passed, leakage passed, metric passed, floor passed, floor passed, segment passed, calibration passed, latency passed"

func TestAnEqualCandidatePasses(t *testing.T) {
	e := evaluate(t, gate, models(4000, 0.5, 0.5))
	if got := outcomes(e); got != "passed: "+allPassed {
		t.Errorf("%s\n%s", got, evaluation.Reason(e))
	}
	if e.Rows != 4000 || e.Labels != 4000 || e.Candidate != 2 || e.Champion != 1 || evaluation.Reason(e) != "version 2 passed on dataset/late@3" {
		t.Errorf("%+v: %s", e, evaluation.Reason(e))
	}
	again, _ := json.Marshal(evaluate(t, gate, models(4000, 0.5, 0.5)))
	if once, _ := json.Marshal(e); string(once) != string(again) {
		t.Error("the same evaluation came to something else")
	}
}

func TestABetterCandidatePasses(t *testing.T) {
	if got := outcomes(evaluate(t, gate, models(4000, 0, 0))); got != "passed: "+allPassed {
		t.Error(got)
	}
}

// TestWhatIsRefused: one thing is wrong, and one check says so.
func TestWhatIsRefused(t *testing.T) {
	strict := func(change func(g *driftline.EvaluationGate)) driftline.EvaluationGate {
		g := gate
		change(&g)
		return g
	}
	for _, c := range []struct {
		name   string
		gate   driftline.EvaluationGate
		change func(in *evaluation.Input)
		in     *evaluation.Input
		check  driftline.EvaluationKind
		says   string
	}{
		{name: "worse", in: models(4000, 3, 3), check: driftline.EvaluateMetric, says: "it is worse by more than 0.01"},
		{name: "too few rows to tell", in: models(150, 0.6, 0.6), check: driftline.EvaluateMetric, says: "it may be worse by more than 0.01",
			gate: strict(func(g *driftline.EvaluationGate) { g.SegmentRows = 1000 })},
		{name: "one segment worse", in: models(8000, 0, 6), check: driftline.EvaluateSegment, says: "1 of 3 segments are worse by more than 0.05; the worst is origin=JFK",
			gate: strict(func(g *driftline.EvaluationGate) {
				g.Delta = new(1.0)
				g.SegmentDelta = new(0.05)
				g.Calibration = new(1.0)
			})},
		{name: "below a floor", in: models(4000, 0.5, 0.5), check: driftline.EvaluateFloor, says: "want at least 0.95",
			gate: strict(func(g *driftline.EvaluationGate) { g.Floors = map[string]float64{"roc_auc": 0.95} })},
		{name: "overconfident", in: models(4000, 0.5, 0.5), check: driftline.EvaluateCalibration, says: "the calibration error is",
			change: func(in *evaluation.Input) {
				for i, s := range in.Candidate.Scores {
					in.Candidate.Scores[i] = s * s * s * s
				}
			}, gate: strict(func(g *driftline.EvaluationGate) { g.Floors = nil })},
		{name: "A20: no rows", in: models(0, 1, 1), check: driftline.EvaluateData, says: "dataset/late@3 has no rows"},
		{name: "A20: one class", in: models(100, 1, 1), check: driftline.EvaluateData, says: "all labels of dataset/late@3 are of one kind",
			change: func(in *evaluation.Input) {
				for i := range in.Labels {
					in.Labels[i] = 1
				}
			}},
		{name: "A20: no labels", in: models(100, 1, 1), check: driftline.EvaluateData, says: "dataset/late@3 has no labels",
			change: func(in *evaluation.Input) {
				for i := range in.Labels {
					in.Labels[i] = math.NaN()
				}
			}},
		{name: "A20: not finite", in: models(4000, 0.5, 0.5), check: driftline.EvaluateData, says: "2 of 4000 scores of the candidate are not finite",
			change: func(in *evaluation.Input) {
				in.Candidate.Scores[7], in.Candidate.Scores[9] = math.NaN(), math.Inf(1)
			}},
		{name: "no scores", in: models(4000, 0.5, 0.5), check: driftline.EvaluateData, says: "roc_auc needs scores, and the candidate gave none",
			change: func(in *evaluation.Input) { in.Candidate.Scores = nil }},
		{name: "A21: leakage", in: models(4000, 0.5, 0.5), check: driftline.EvaluateLeakage, says: "leakage: 3 of the 4000 rows of dataset/late@3 were trained on, by key and time",
			change: func(in *evaluation.Input) { in.Trained = append([]uint64{1, 2}, in.Rows[:3]...) }},
		{name: "other bytes", in: models(4000, 0.5, 0.5), check: driftline.EvaluateArtifact, says: "the artifact of version 2 has hash c2, and d2 was registered",
			change: func(in *evaluation.Input) { in.Candidate.Registered = "d2" }},
		{name: "signature", in: models(4000, 0.5, 0.5), check: driftline.EvaluateSignature,
			says: `signature: the dataset has "temp" as string, want float64; the dataset has no "wind"; the champion's input has no "wind"; the candidate's output has no "score"`,
			change: func(in *evaluation.Input) {
				temp, wind, score := driftline.Field{Name: "temp", Type: driftline.Float64}, driftline.Field{Name: "wind", Type: driftline.Float64}, driftline.Field{Name: "score", Type: driftline.Float64}
				in.Columns = []driftline.Field{{Name: "temp", Type: driftline.String}}
				in.Candidate.Signature = &evaluation.Signature{Inputs: []driftline.Field{temp, wind}}
				in.Champion.Signature = &evaluation.Signature{Inputs: []driftline.Field{temp}, Outputs: []driftline.Field{score}}
			}},
		{name: "slow", in: models(4000, 0.5, 0.5), check: driftline.EvaluateLatency, says: "95 % of 100 answers came within 23.5ms, want 20ms",
			gate: strict(func(g *driftline.EvaluationGate) { g.Latency = driftline.Duration(20 * time.Millisecond) })},
		{name: "slower than the champion", in: models(4000, 0.5, 0.5), check: driftline.EvaluateLatency, says: "want 20.68ms",
			gate: strict(func(g *driftline.EvaluationGate) { g.LatencyRatio = 1.1 })},
	} {
		g := c.gate
		if g.Task == "" {
			g = gate
		}
		if c.change != nil {
			c.change(c.in)
		}
		e := evaluate(t, g, c.in)
		var failed []driftline.EvaluationCheck
		for _, check := range e.Checks {
			if check.Outcome == driftline.EvaluationFailed {
				failed = append(failed, check)
			}
		}
		if e.Outcome != driftline.EvaluationFailed || len(failed) == 0 || failed[0].Check != c.check || !strings.Contains(failed[0].Message, c.says) {
			t.Errorf("%s: %s\n%s", c.name, outcomes(e), evaluation.Reason(e))
		}
		// The same as a warning lets it pass, and says so, where it is all that is wrong.
		g.Severities = map[driftline.EvaluationKind]driftline.CheckSeverity{c.check: driftline.CheckWarning}
		if warned := evaluate(t, g, c.in); len(failed) == 1 && (warned.Outcome != driftline.EvaluationWarned || !strings.Contains(evaluation.Reason(warned), c.says)) {
			t.Errorf("%s, as a warning: %s, %s", c.name, warned.Outcome, evaluation.Reason(warned))
		}
	}
}

// TestIdenticalBytesAreNoCandidate (A19).
func TestIdenticalBytesAreNoCandidate(t *testing.T) {
	in := models(100, 1, 1)
	in.Candidate.SHA256 = in.Champion.SHA256
	e := evaluate(t, gate, in)
	if e.Outcome != driftline.EvaluationIdentical || len(e.Checks) != 1 || evaluation.Reason(e) != "version 2 is the champion, byte for byte" {
		t.Errorf("%s: %s", outcomes(e), evaluation.Reason(e))
	}
}

func TestAFirstModelHasItsFloors(t *testing.T) {
	in := models(4000, 0.5, 0.5)
	in.Champion, in.Trained = nil, nil
	in.Candidate.Latencies = nil
	e := evaluate(t, gate, in)
	if got := outcomes(e); got != "passed: artifact passed, signature skipped, data passed, leakage skipped, metric skipped, floor passed, floor passed, segment skipped, calibration skipped, latency skipped" {
		t.Error(got)
	}
	bare := gate
	bare.Floors = nil
	for _, c := range evaluate(t, bare, in).Checks {
		if c.Check == driftline.EvaluateFloor && !strings.Contains(c.Message, "nothing was asked of it") {
			t.Error(c.Message)
		}
	}
}

func TestWrongInputsAreRefused(t *testing.T) {
	for want, change := range map[string]func(g *driftline.EvaluationGate, in *evaluation.Input){
		`evaluation.metric: metric "auc" is not known`:                                     func(g *driftline.EvaluationGate, _ *evaluation.Input) { g.Metric = "auc" },
		`evaluation.metric "rmse" is of regression, and evaluation.task is classification`: func(g *driftline.EvaluationGate, _ *evaluation.Input) { g.Metric = "rmse" },
		`evaluation.floors: metric "auc" is not known`:                                     func(g *driftline.EvaluationGate, _ *evaluation.Input) { g.Floors = map[string]float64{"auc": 1} },
		`evaluation: the candidate's scores are 99, and the labels 100`:                    func(_ *driftline.EvaluationGate, in *evaluation.Input) { in.Candidate.Scores = in.Candidate.Scores[1:] },
		`evaluation.label is missing`:                                                      func(g *driftline.EvaluationGate, _ *evaluation.Input) { g.Label = "" },
	} {
		g, in := gate, models(100, 1, 1)
		change(&g, in)
		if _, err := evaluation.Evaluate(g, in, now); err == nil || !strings.HasPrefix(err.Error(), want) || driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
