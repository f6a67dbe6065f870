package estimate_test

import (
	"math"
	"testing"

	"github.com/driftline/driftline/drift/estimate"
)

// TestMixturesFollowTheBest: in winter the old model is better, in summer the new one, and
// the mixture's loss is close to that of whoever is best at the time.
func TestMixturesFollowTheBest(t *testing.T) {
	weights := []float64{0.5, 0.5}
	for month := range 36 {
		losses := []float64{0.2, 0.3}
		if month/6%2 == 1 {
			losses = []float64{0.3, 0.2}
		}
		weights = estimate.MixtureWeights(weights, losses, 30, 0.05)
		best := 0
		if losses[1] < losses[0] {
			best = 1
		}
		if sum := weights[0] + weights[1]; math.Abs(sum-1) > 1e-12 || month%6 >= 3 && weights[best] < 0.9 {
			t.Errorf("month %d: weights %v", month, weights)
		}
	}
}

func TestMixturesOfNothing(t *testing.T) {
	nan := math.NaN()
	if got := estimate.MixtureWeights(nil, nil, 1, 0.1); got != nil {
		t.Errorf("no models: %v", got)
	}
	if got := estimate.MixtureWeights([]float64{1, 0}, []float64{0.5}, 1, 0.1); got != nil {
		t.Errorf("a loss is missing: %v", got)
	}
	for _, got := range [][]float64{
		estimate.MixtureWeights([]float64{0, 0}, []float64{1, 2}, 1, 0),
		estimate.MixtureWeights([]float64{0.5, 0.5}, []float64{nan, nan}, 1, 0.1),
		estimate.MixtureWeights([]float64{0.5, 0.5}, []float64{nan, 0.1}, 1, 0.1),
	} {
		if math.Abs(got[0]-0.5) > 1e-12 || math.Abs(got[1]-0.5) > 1e-12 {
			t.Errorf("weights %v, want equal ones", got)
		}
	}
}
