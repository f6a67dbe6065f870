package detect

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAgrawalLabelsAsRiverDoes: the share of positive labels of each function, beside that of
// 200,000 rows of River 0.26's synth.Agrawal.
func TestAgrawalLabelsAsRiverDoes(t *testing.T) {
	river := [10]float64{0.6708, 0.3857, 0.5360, 0.3854, 0.1987, 0.3819, 0.4990, 0.0173, 0.4985, 0.0020}
	random := rand.New(rand.NewPCG(1, 1))
	const rows = 200_000
	positive := [10]float64{}
	for range rows {
		p := drawPerson(random)
		for i, function := range agrawalFunctions {
			if function(p) {
				positive[i] += 1.0 / rows
			}
		}
	}
	for i, want := range river {
		if got, error := positive[i], math.Sqrt(2*want*(1-want)/rows); math.Abs(got-want) > 4*error {
			t.Errorf("function %d labels %.4f positive, River's %.4f", i, got, want)
		}
	}
}

// TestStreamsThatMoveFartherAreHarder: what was learned is worth less the farther a stream moves.
func TestStreamsThatMoveFartherAreHarder(t *testing.T) {
	for name, degrees := range map[string][]Concept{
		"Hyperplane": {Hyperplane(0, 0.05), Hyperplane(0.5, 0.05), Hyperplane(2, 0.05)},
		"LED":        {LED(0, 0.1), LED(1, 0.1), LED(3, 0.1), LED(7, 0.1)},
		"RBF":        {RBF(0), RBF(0.2), RBF(0.6)},
		"Waveform":   {Waveform(0), Waveform(5), Waveform(10)},
	} {
		before := 0.0
		for i, concept := range degrees {
			random, errors := rand.New(rand.NewPCG(2, 2)), 0.0
			const values = 20_000
			for range values {
				errors += concept(random) / values
			}
			if errors < before+0.02 {
				t.Errorf("%s, degree %d: error %.3f after %.3f", name, i, errors, before)
			}
			before = errors
		}
	}
}
