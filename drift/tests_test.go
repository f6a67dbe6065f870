package drift_test

import (
	"math"
	"testing"

	"github.com/driftline/driftline/drift"
)

// TestPublishedExamples are worked examples of the literature.
func TestPublishedExamples(t *testing.T) {
	within := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	of := func(values ...float64) drift.Sample { return drift.SampleOf(values) }

	conover := drift.CramerVonMises(of(7.6, 8.4, 8.6, 8.7, 9.3, 9.9, 10.1, 10.6, 11.2),
		of(5.2, 5.7, 5.9, 6.5, 6.8, 8.2, 9.1, 9.8, 10.8, 11.3, 11.5, 12.3, 12.5, 13.4, 14.6))
	within("Conover's T", conover.Statistic, 0.262, 5e-4)
	within("Conover's p", conover.P, 0.18, 1e-2)

	mann := drift.MannWhitney(of(19, 22, 16, 29, 24), of(20, 11, 17, 12))
	within("U", mann.Statistic, 17, 0)
	within("exact p of U", mann.P, 14./126, 1e-15)
	within("superiority", mann.Superiority, 17./20, 1e-15)

	tea := drift.FisherExact(3, 1, 1, 3)
	within("the lady's p", tea.P, 34./70, 1e-14)
	within("the lady's odds", tea.OddsRatio, 9, 0)

	z := drift.TwoProportions(900, 1000, 870, 1000)
	within("z²", z.Z*z.Z, drift.ChiSquare([]int64{900, 100}, []int64{870, 130}).Statistic, 1e-12)
	within("p of z", z.P, 0.0354885, 5e-8)
}

// TestFarTailsAreNotZero: what 1 − Φ(z) and its like lose.
func TestFarTailsAreNotZero(t *testing.T) {
	if p := drift.TwoProportions(0, 10_000, 500, 10_000).P; !(p > 0 && p < 1e-100) {
		t.Errorf("p of a z far out is %v", p)
	}
	if p, want := drift.CramerVonMisesSF(20), 1.0972093165653866e-44; !agree(p, want, 1e-12) {
		t.Errorf("P(ω² ≥ 20) is %v, want %v", p, want) // by the series, with 90 digits
	}
}

// TestCramerVonMisesSFIsContinuous where its two forms meet.
func TestCramerVonMisesSFIsContinuous(t *testing.T) {
	below, above := drift.CramerVonMisesSF(math.Nextafter(0.06, 0)), drift.CramerVonMisesSF(0.06)
	if !agree(below, above, 1e-13) {
		t.Errorf("%v below, %v above", below, above)
	}
}

func TestAndersonDarlingSaysWhenPIsABound(t *testing.T) {
	same := drift.SampleOf(normals(1, 50, 1, 0))
	if r := drift.AndersonDarling(same, same); !r.Capped || r.P != 0.25 {
		t.Errorf("equal samples: %+v", r)
	}
	if r := drift.AndersonDarling(same, drift.SampleOf(normals(2, 50, 1, 5))); !r.Floored || r.P != 0.001 {
		t.Errorf("far samples: %+v", r)
	}
	if r := drift.AndersonDarling(same, drift.SampleOf(normals(2, 50, 1, 0.5)), same); len(r.N) != 3 || math.IsNaN(r.P) {
		t.Errorf("three samples: %+v", r)
	}
}

// TestTestsOfNothing: what cannot be computed is NaN, and never a panic.
func TestTestsOfNothing(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	samples := [][]float64{nil, {1}, {nan}, {1, 1, 1, 1, 1, 1}, {inf, inf, inf, inf, inf, inf}, {1, 2, 3, 4, 5, inf}, {math.MaxFloat64, -math.MaxFloat64}}
	for _, x := range samples {
		for _, y := range samples {
			a, b := drift.SampleOf(x), drift.SampleOf(y)
			for name, p := range map[string]float64{
				"Cramér–von Mises": drift.CramerVonMises(a, b).P,
				"Anderson–Darling": drift.AndersonDarling(a, b).P,
				"Mann–Whitney":     drift.MannWhitney(a, b).P,
				"Welch":            drift.Welch(a, b).P,
				"Epps–Singleton":   drift.EppsSingleton(a, b).P,
			} {
				if p < 0 || p > 1 {
					t.Errorf("%s of %v and %v: p %v", name, x, y, p)
				}
			}
			if d := drift.Wasserstein(a, b); d < 0 {
				t.Errorf("Wasserstein of %v and %v: %v", x, y, d)
			}
			drift.SturgesEdges(x)
			drift.DoaneEdges(y)
		}
	}
	for _, table := range [][4]int64{{0, 0, 1, 1}, {1, 0, 1, 0}, {-1, 1, 1, 1}} {
		if r := drift.FisherExact(table[0], table[1], table[2], table[3]); r.P != 1 || !math.IsNaN(r.OddsRatio) {
			t.Errorf("Fisher of %v: %+v", table, r)
		}
	}
	if r := drift.TwoProportions(0, 0, 1, 1); !math.IsNaN(r.P) {
		t.Errorf("proportion of nothing: %+v", r)
	}
}
