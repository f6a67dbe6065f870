package estimate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift/estimate"
)

var nan = math.NaN()

func metric(t testing.TB, name string) estimate.Metric {
	t.Helper()
	m, err := estimate.MetricOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func near(got, want, tolerance float64) bool {
	return math.IsNaN(got) && math.IsNaN(want) || math.Abs(got-want) <= tolerance
}

// Values worked out by hand.
func TestMetrics(t *testing.T) {
	classes := estimate.Rows{
		Prediction: []float64{1, 1, 1, 0, 0, 0, 0, 1, nan},
		Score:      []float64{.9, .8, .4, .4, .2, .1, .3, .6, .5},
		Label:      []float64{1, 1, 0, 1, 0, 0, 0, nan, 1},
	}
	numbers := estimate.Rows{Prediction: []float64{1, 2, 4, 0}, Label: []float64{2, 2, 2, 0}}
	lists := estimate.Rows{
		Score: []float64{3, 2, 1, 3, 2, 1, 1},
		Label: []float64{0, 1, 1, 2, 0, 1, 0},
		Group: []int{1, 1, 1, 2, 2, 2, 3},
	}
	for _, c := range []struct {
		metric string
		rows   estimate.Rows
		want   float64
		count  int
	}{
		{"accuracy", classes, 5.0 / 7, 7},
		{"precision", classes, 2.0 / 3, 3},
		{"recall", classes, 2.0 / 3, 3},
		{"specificity", classes, 3.0 / 4, 4},
		{"f1", classes, 2.0 / 3, 4},
		// Of 4·4 pairs (the row without prediction has a score) one is lost to a tie by half.
		{"roc_auc", classes, 15.5 / 16, 8},
		{"brier", classes, (.01 + .04 + .16 + .36 + .04 + .01 + .09 + .25) / 8, 8},
		{"mae", numbers, 0.75, 4},
		{"rmse", numbers, math.Sqrt(5.0 / 4), 4},
		{"mape", numbers, 0.5, 3},
		{"r2", numbers, 1 - 5.0/3, 4},
		{"ndcg", lists, ((1/math.Log2(3)+0.5)/(1+1/math.Log2(3)) + (2+0.5)/(2+1/math.Log2(3))) / 2, 2},
		{"map", lists, ((1.0/2+2.0/3)/2 + (1+2.0/3)/2) / 2, 2},
		{"accuracy", estimate.Rows{Prediction: []float64{1}, Label: []float64{nan}}, nan, 0},
		{"roc_auc", estimate.Rows{Score: []float64{.1, .2}, Label: []float64{1, 1}}, nan, 0},
		{"mae", estimate.Rows{}, nan, 0},
	} {
		got := metric(t, c.metric).Measure(c.rows, 0.05, 1)
		if !near(got.Value, c.want, 1e-12) || got.Rows != c.count {
			t.Errorf("%s is %v of %d rows, want %v of %d", c.metric, got.Value, got.Rows, c.want, c.count)
		}
		if got.Value == got.Value && !(got.Low <= got.Value && got.Value <= got.High) {
			t.Errorf("%s: %v is not in its interval %v to %v", c.metric, got.Value, got.Low, got.High)
		}
	}
}

func TestWilson(t *testing.T) {
	// Newcombe, Statistics in Medicine 17 (1998), table I.
	for _, c := range []struct{ k, n, low, high float64 }{
		{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718},
	} {
		low, high := estimate.Wilson(c.k, c.n, 0.05)
		if !near(low, c.low, 5e-5) || !near(high, c.high, 5e-5) {
			t.Errorf("%v of %v: %v to %v, want %v to %v", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

func TestAUCIsTheShareOfPairs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := 2 + random.IntN(12)
		r := estimate.Rows{Score: make([]float64, n), Label: make([]float64, n)}
		won, pairs := 0.0, 0.0
		for i := range n {
			r.Score[i], r.Label[i] = float64(random.IntN(5))/4, float64(random.IntN(2))
		}
		for i := range n {
			for j := range n {
				if r.Label[i] == 1 && r.Label[j] == 0 {
					pairs++
					switch {
					case r.Score[i] > r.Score[j]:
						won++
					case r.Score[i] == r.Score[j]:
						won += 0.5
					}
				}
			}
		}
		if got := metric(t, "roc_auc").Measure(r, 0.05, 1).Value; !near(got, won/pairs, 1e-12) {
			t.Fatalf("%+v: AUC %v, want %v", r, got, won/pairs)
		}
	}
}

// model draws rows whose score is the probability of their label, after shift is added to
// the score's logit.
func model(random *rand.Rand, rows int, shift float64) estimate.Rows {
	r := estimate.Rows{Prediction: make([]float64, rows), Score: make([]float64, rows), Label: make([]float64, rows)}
	for i := range rows {
		logit := random.NormFloat64() * 1.5
		r.Score[i] = 1 / (1 + math.Exp(-logit))
		if r.Score[i] > 0.5 {
			r.Prediction[i] = 1
		}
		if random.Float64() < 1/(1+math.Exp(-logit-shift)) {
			r.Label[i] = 1
		}
	}
	return r
}

// truth of the model, from very many rows.
func truth(t *testing.T, name string, shift float64) float64 {
	return metric(t, name).Measure(model(rand.New(rand.NewPCG(9, 9)), 300_000, shift), 0.05, 1).Value
}

// Intervals at 95 % hold the truth in about 95 % of 300 draws: 20 misses more or fewer
// than 15 happen by chance once in a million.
func TestIntervalsCover(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	covered := func(name string, draw func() estimate.Estimate, want float64) {
		const draws = 300
		held := 0
		for range draws {
			if e := draw(); e.Low <= want && want <= e.High {
				held++
			}
		}
		if held < draws-35 {
			t.Errorf("%s: the interval holds the truth in %d of %d draws", name, held, draws)
		}
	}
	for _, name := range []string{"accuracy", "precision", "f1", "roc_auc", "log_loss", "brier"} {
		m, want := metric(t, name), truth(t, name, 0)
		covered(name, func() estimate.Estimate { return m.Measure(model(random, 400, 0), 0.05, 1) }, want)
		covered(name+", half of the labels known", func() estimate.Estimate {
			r := model(random, 600, 0)
			for i := 200; i < 600; i++ {
				r.Label[i] = nan
			}
			return m.PredictionPowered(r, r.Score, 0.05)
		}, want)
	}
}

// The estimate by calibrated probabilities follows what the labels would have said, in
// a population with other inputs, with scores that are no probabilities.
func TestCBPECoversTheTruthWhenInputsChange(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const draws = 100
	for _, name := range []string{"accuracy", "precision", "recall", "specificity", "f1", "roc_auc", "brier"} {
		m, held := metric(t, name), 0
		for range draws {
			reference, current := model(random, 3000, 0.8), model(random, 1000, 0.8)
			for i := range current.Score { // as many of high scores again
				if current.Score[i] < 0.5 && i%2 == 0 {
					current.Score[i], current.Prediction[i], current.Label[i] = nan, nan, nan
				}
			}
			e := m.CBPE(current, estimate.Calibrate(reference.Score, reference.Label), 0.05)
			if measured := m.Measure(current, 0.05, 1).Value; e.Low <= measured && measured <= e.High {
				held++
			}
		}
		if held < 85 {
			t.Errorf("%s: the interval without labels holds what the labels say in %d of %d draws", name, held, draws)
		}
	}
}

// The vector is NannyML's, whose scores are calibrated.
func TestCBPEIsNannyMLs(t *testing.T) {
	r := estimate.Rows{Score: []float64{.9, .8, .6, .3, .2, .1}, Prediction: []float64{1, 1, 1, 0, 0, 0}}
	for name, want := range map[string]float64{"accuracy": .783333, "precision": .766667, "recall": .793103,
		"f1": .779661, "specificity": .774194, "roc_auc": .839266} {
		if got := metric(t, name).CBPE(r, estimate.Identity(), 0.05).Value; !near(got, want, 5e-7) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// Of all increasing functions with steps at the scores, the calibration is the closest.
func TestCalibrationIsTheClosestIncreasingFunction(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		n := 1 + random.IntN(5)
		scores, labels := make([]float64, n), make([]float64, n)
		for i := range n {
			scores[i], labels[i] = float64(random.IntN(4)), float64(random.IntN(2))
		}
		c := estimate.Calibrate(scores, labels)
		squares := func(p func(float64) float64) (total float64) {
			for i := range n {
				total += (p(scores[i]) - labels[i]) * (p(scores[i]) - labels[i])
			}
			return total
		}
		best := squares(c.Probability)
		const steps = 12
		for code := range (steps + 1) * (steps + 1) * (steps + 1) * (steps + 1) {
			levels := [4]float64{}
			for i, rest := 0, code; i < 4; i, rest = i+1, rest/(steps+1) {
				levels[i] = float64(rest%(steps+1)) / steps
			}
			if levels[0] <= levels[1] && levels[1] <= levels[2] && levels[2] <= levels[3] {
				if s := squares(func(score float64) float64 { return levels[int(score)] }); s < best-1e-9 {
					t.Fatalf("scores %v, labels %v: %v is off by %v, the calibration by %v", scores, labels, levels, s, best)
				}
			}
		}
	}
	if p := estimate.Calibrate([]float64{0, 1}, []float64{0, 1}).Probability(0.25); p != 0.25 {
		t.Errorf("between two scores the probability is %v, want a line", p)
	}
}

// Half of the labels and good probabilities say more than half of the labels alone; with
// probabilities that mean nothing they say no less.
func TestEstimatesOfUnlabelledRowsHelpAndDoNotHarm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 9))
	r := model(random, 20_000, 0)
	for i := 1000; i < r.Len(); i++ {
		r.Label[i] = nan
	}
	noise := make([]float64, r.Len())
	for i := range noise {
		noise[i] = random.Float64()
	}
	m := metric(t, "brier")
	width := func(e estimate.Estimate) float64 { return e.High - e.Low }
	alone := width(m.Measure(r, 0.05, 1))
	if w := width(m.PredictionPowered(r, r.Score, 0.05)); w > 0.97*alone {
		t.Errorf("with good probabilities the interval is %v wide, with labels alone %v", w, alone)
	}
	if w := width(m.PredictionPowered(r, noise, 0.05)); w > 1.02*alone {
		t.Errorf("with bad probabilities the interval is %v wide, with labels alone %v", w, alone)
	}
}

func TestLossesFollowTheInputs(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	draw := func(rows int, high float64) (estimate.Rows, estimate.Features) {
		r := estimate.Rows{Prediction: make([]float64, rows), Label: make([]float64, rows)}
		x := make([]float64, rows)
		for i := range rows {
			if random.Float64() < high {
				x[i] = 1
			}
			r.Prediction[i] = random.Float64()
			r.Label[i] = r.Prediction[i] + (1+3*x[i])*random.NormFloat64() // errors are four times as large where x is 1
		}
		return r, estimate.Features{Names: []string{"x"}, Columns: [][]float64{x}, Categorical: []bool{false}}
	}
	for _, name := range []string{"mae", "rmse"} {
		m, held := metric(t, name), 0
		const draws = 30
		for range draws {
			reference, inputs := draw(2000, 0.2)
			current, now := draw(1000, 0.6)
			losses, err := m.FitLosses(t.Context(), reference, inputs)
			if err != nil {
				t.Fatal(err)
			}
			e := losses.Estimate(current, now, 0.05)
			if measured := m.Measure(current, 0.05, 1).Value; e.Low <= measured && measured <= e.High {
				held++
			}
		}
		if held < draws-7 {
			t.Errorf("%s: the interval without labels holds what the labels say in %d of %d draws", name, held, draws)
		}
	}
	few, inputs := draw(50, 0.5)
	if losses, err := metric(t, "mae").FitLosses(t.Context(), few, inputs); losses != nil || err != nil {
		t.Error("losses were fitted to 50 rows")
	}
}

func TestTheRuleOfWindows(t *testing.T) {
	repeat := func(parts ...float64) (values []float64) { // value, count, …
		for i := 0; i < len(parts); i += 2 {
			for range int(parts[i+1]) {
				values = append(values, parts[i])
			}
		}
		return values
	}
	for name, c := range map[string]struct {
		values []float64
		higher bool
		fell   bool
		first  float64
	}{
		"falls by 11 %":             {repeat(0.9, 10, 0.8, 5), true, true, 0.9},
		"falls by a tenth":          {repeat(1, 10, 0.9, 5), true, false, 1},
		"rises":                     {repeat(0.8, 10, 0.9, 5), true, false, 0.8},
		"an error that rises":       {repeat(1, 10, 1.2, 5), false, true, 1},
		"an error that falls":       {repeat(1, 10, 0.5, 5), false, false, 1},
		"too few windows":           {repeat(1, 9, 0, 5), true, false, nan},
		"a window without value":    {repeat(1, 5, nan, 1, 1, 5, 0.5, 5), true, true, 1},
		"only the last five count":  {repeat(1, 10, 0, 5, 1, 5), true, false, 1},
		"a negative metric (R²)":    {repeat(-1, 10, -1.2, 5), true, true, -1},
		"one bad window among five": {repeat(1, 10, 0.6, 1, 1, 4), true, false, 1},
	} {
		got := estimate.DefaultRule.Fell(c.values, c.higher)
		if got.Fell != c.fell || !near(got.First, c.first, 1e-12) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
