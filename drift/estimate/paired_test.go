package estimate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift/estimate"
)

// twoModels are rows on which both models err together, and the candidate a little more often
// or less: better is how much more of its noise is gone.
func twoModels(random *rand.Rand, n int, better float64) (candidate, champion estimate.Rows) {
	candidate, champion = estimate.Rows{}, estimate.Rows{}
	for i := range n {
		x, hard := random.NormFloat64(), random.NormFloat64()
		label := one(x > 0)
		score := func(noise float64) float64 { return 1 / (1 + math.Exp(-3*(x+hard*noise))) }
		for _, side := range []struct {
			rows  *estimate.Rows
			noise float64
		}{{&candidate, 0.8 - better}, {&champion, 0.8}} {
			s := score(side.noise)
			side.rows.Score = append(side.rows.Score, s)
			side.rows.Prediction = append(side.rows.Prediction, one(s > 0.5))
			side.rows.Label = append(side.rows.Label, label)
			side.rows.Group = append(side.rows.Group, i/10)
		}
	}
	return candidate, champion
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// TestPairedIntervalsHoldTheTruth for each kind of metric, and are far narrower than the
// intervals of the two models suggest.
func TestPairedIntervalsHoldTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, name := range []string{"accuracy", "f1", "roc_auc", "r2", "ndcg"} {
		m := metric(t, name)
		const draws = 120
		held, rows, all := 0, 500, 50_000
		if name == "ndcg" {
			rows, all = 4000, 300_000 // lists of ten, most of which are the same to both
		}
		a, b := twoModels(random, all, 0.1)
		truth := m.Compare(a, b, 0.05, 2, 1).Better.Value
		for seed := range uint64(draws) {
			a, b := twoModels(random, rows, 0.1)
			d := m.Compare(a, b, 0.05, 200, seed)
			if d.Better.Low <= truth && truth <= d.Better.High {
				held++
			}
			wide := d.Candidate.High - d.Candidate.Low
			if narrow := d.Better.High - d.Better.Low; name == "accuracy" && narrow > wide {
				t.Fatalf("accuracy: the difference's interval is %v wide, the candidate's %v", narrow, wide)
			}
		}
		if held < draws-20 { // of rankings it holds in nine of ten: most lists are the same to both
			t.Errorf("%s: the interval holds %v in %d of %d draws", name, truth, held, draws)
		}
		if truth <= 0 {
			t.Errorf("%s: the candidate is better, and the difference is %v", name, truth)
		}
	}
}

// TestWeightedMetricsAreTheMetrics where every row has weight one: the bootstrap of two equal
// models has no width, and the values are those of Measure.
func TestWeightedMetricsAreTheMetrics(t *testing.T) {
	a, _ := twoModels(rand.New(rand.NewPCG(2, 2)), 400, 0)
	for _, m := range estimate.Metrics() {
		if m.Name == "mape" {
			continue // of labels that are 0 there is none
		}
		d := m.Compare(a, a, 0.05, 50, 1)
		want := m.Measure(a, 0.05, 1)
		if d.Better.Value != 0 || d.Better.Low != 0 || d.Better.High != 0 || d.Candidate.Value != want.Value || d.Candidate.Rows != want.Rows {
			t.Errorf("%s against itself: %+v, measured %+v", m.Name, d, want)
		}
		b := m.Compare(a, a, 0.05, 50, 1)
		if b != d {
			t.Errorf("%s: the same seed gave %+v and %+v", m.Name, d, b)
		}
	}
}

func TestComparisonsOfNothing(t *testing.T) {
	nan := math.NaN()
	for name, rows := range map[string]estimate.Rows{
		"no rows":   {},
		"no labels": {Prediction: []float64{1, 0}, Score: []float64{1, 0}, Label: []float64{nan, nan}},
		"no scores": {Prediction: []float64{nan, nan}, Score: []float64{nan, nan}, Label: []float64{1, 0}},
	} {
		for _, metricName := range []string{"accuracy", "roc_auc"} {
			d := metric(t, metricName).Compare(rows, rows, 0.05, 50, 1)
			if d.Better.Value == d.Better.Value || d.Better.Low == d.Better.Low {
				t.Errorf("%s, %s: %+v", metricName, name, d)
			}
		}
	}
	one := estimate.Rows{Prediction: []float64{1, 1}, Score: []float64{1, 0.5}, Label: []float64{1, 1}}
	if d := metric(t, "roc_auc").Compare(one, one, 0.05, 50, 1); d.Better.Value == d.Better.Value {
		t.Errorf("AUC of one class: %+v", d)
	}
}

func TestCalibrationError(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	var scores, labels, bold []float64
	for range 50_000 {
		p := random.Float64()
		scores, labels = append(scores, p), append(labels, one(random.Float64() < p))
		bold = append(bold, one(p > 0.5))
	}
	if good := estimate.CalibrationError(scores, labels); good > 0.01 {
		t.Errorf("calibrated scores have an error of %v", good)
	}
	if bad := estimate.CalibrationError(bold, labels); math.Abs(bad-0.25) > 0.01 {
		t.Errorf("scores of 0 and 1 have an error of %v, want ¼", bad)
	}
	if none := estimate.CalibrationError(nil, labels); none == none {
		t.Errorf("no scores have an error of %v", none)
	}
}
