package drift_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift"
)

// covered counts how often intervals at 95 % hold the truth, and how often each end misses.
func covered(t *testing.T, name string, truth float64, draws int, interval func() drift.Interval) {
	t.Helper()
	above, below, width := 0, 0, 0.0
	for range draws {
		i := interval()
		if i.Low > i.High || math.IsNaN(i.Low) {
			t.Fatalf("%s: interval %+v", name, i)
		}
		if truth < i.Low-1e-12 {
			above++
		}
		if truth > i.High+1e-12 {
			below++
		}
		width += i.High - i.Low
	}
	// 2.5 % at either end; that many more happen once in 10,000 draws of intervals that hold it.
	most := int(0.025*float64(draws) + 3.72*math.Sqrt(0.025*0.975*float64(draws)) + 1)
	t.Logf("%-40s truth %.4f, mean width %.4f, missed %d above and %d below of %d", name, truth, width/float64(draws), above, below, draws)
	if above > most || below > most {
		t.Errorf("%s: of %d intervals, %d lie above the truth %v and %d below it; at most %d may", name, draws, above, truth, below, most)
	}
}

// multinomial draws counts of n values.
func multinomial(random *rand.Rand, n int, shares []float64) []int64 {
	counts := make([]int64, len(shares))
	for range n {
		u := random.Float64()
		for i, share := range shares {
			if u -= share; u < 0 || i == len(shares)-1 {
				counts[i]++
				break
			}
		}
	}
	return counts
}

func even(cells int) []float64 {
	shares := make([]float64, cells)
	for i := range shares {
		shares[i] = 1 / float64(cells)
	}
	return shares
}

// moved moves mass from some cells to others.
func moved(shares []float64, from, to int, mass float64) []float64 {
	other := append([]float64{}, shares...)
	other[from] -= mass
	other[to] += mass
	return other
}

// tilted changes all cells a little, up and down in turns.
func tilted(shares []float64, by float64) []float64 {
	other := append([]float64{}, shares...)
	for i := range other {
		other[i] *= 1 + by*(1-2*float64(i%2))
	}
	return other
}

func TestIntervalsOfShareDistancesHoldTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	skewed := []float64{0.6, 0.2, 0.1, 0.05, 0.03, 0.02}
	for _, c := range []struct {
		name string
		p, q []float64
		n, m int
	}{
		{"two, the same", even(2), even(2), 300, 200},
		{"two, apart", []float64{0.5, 0.5}, []float64{0.62, 0.38}, 300, 200},
		{"ten, the same", even(10), even(10), 1000, 1000},
		{"ten, all a little", even(10), tilted(even(10), 0.08), 1000, 1000},
		{"ten, all clearly", even(10), tilted(even(10), 0.5), 1000, 700},
		{"ten, one moved", even(10), moved(even(10), 0, 1, 0.06), 500, 2000},
		{"skewed, the same", skewed, skewed, 400, 400},
		{"skewed, a new one", append(append([]float64{}, skewed...), 0), append(tilted(moved(skewed, 0, 1, 0.02), 0), 0), 2000, 2000},
		{"many, the same", even(400), even(400), 8000, 8000},
		{"many, tilted", even(400), tilted(even(400), 0.3), 8000, 8000},
	} {
		draws := 600
		if len(c.p) > 100 {
			draws = 150
		}
		tv, linf := drift.TotalVariation(c.p, c.q), drift.LInfinity(c.p, c.q)
		covered(t, "total variation, "+c.name, tv, draws, func() drift.Interval {
			return drift.TotalVariationInterval(multinomial(random, c.n, c.p), multinomial(random, c.m, c.q), 0.05)
		})
		covered(t, "l infinity, "+c.name, linf, draws, func() drift.Interval {
			return drift.LInfinityInterval(multinomial(random, c.n, c.p), multinomial(random, c.m, c.q), 0.05)
		})
	}
}

func TestIntervalsOfTransportHoldTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(22, 1))
	normal := func(shift, scale float64) func() float64 {
		return func() float64 { return shift + scale*random.NormFloat64() }
	}
	uniform := func(low, high float64) func() float64 {
		return func() float64 { return low + (high-low)*random.Float64() }
	}
	rounded := func(of func() float64) func() float64 { return func() float64 { return math.Round(of()) } }
	draw := func(n int, of func() float64) drift.Sample {
		values := make([]float64, n)
		for i := range values {
			values[i] = of()
		}
		return drift.Sample{values}
	}
	exponential := func(scale float64) func() float64 { return func() float64 { return scale * random.ExpFloat64() } }
	for _, c := range []struct {
		name string
		x, y func() float64
		n, m int
	}{
		{"normal, the same", normal(0, 1), normal(0, 1), 500, 500},
		{"normal, the same, unequal", normal(0, 1), normal(0, 1), 300, 3000},
		{"normal, a small shift", normal(0, 1), normal(0.05, 1), 1000, 1000},
		{"normal, a shift", normal(0, 1), normal(0.5, 1), 400, 600},
		{"normal, wider", normal(0, 1), normal(0, 1.3), 1000, 1000},
		{"uniform, apart", uniform(0, 1), uniform(2, 3), 200, 200},
		{"rounded, a shift", rounded(normal(0, 3)), rounded(normal(1, 3)), 800, 800},
		{"exponential, the same", exponential(1), exponential(1), 800, 800},
		{"exponential, longer", exponential(1), exponential(1.2), 800, 800},
	} {
		w, e := truthOf(draw(200_000, c.x), draw(200_000, c.y))
		if c.name[len(c.name)-4:] == "same" || c.name == "normal, the same, unequal" {
			w, e = 0, 0
		}
		covered(t, "wasserstein, "+c.name, w, 120, func() drift.Interval {
			return drift.WassersteinInterval(draw(c.n, c.x), draw(c.m, c.y), 0.05).Interval
		})
		covered(t, "energy, "+c.name, e, 120, func() drift.Interval {
			return drift.EnergyInterval(draw(c.n, c.x), draw(c.m, c.y), 0.05).Interval
		})
	}
}

func truthOf(x, y drift.Sample) (wasserstein, energy float64) {
	return drift.Wasserstein(x, y), drift.Energy(x, y)
}

func TestIntervalsOfDistancesAtTheirLimits(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for name, i := range map[string]drift.Interval{
		"no counts":   drift.TotalVariationInterval(nil, []int64{3}, 0.05),
		"bad alpha":   drift.LInfinityInterval([]int64{3}, []int64{3}, 2),
		"no values":   drift.WassersteinInterval(nil, drift.Sample{{1, 2}}, 0.05).Interval,
		"only NaN":    drift.EnergyInterval(drift.Sample{{nan}}, drift.Sample{{1, 2}}, 0.05).Interval,
		"infinite":    drift.WassersteinInterval(drift.Sample{{1, 2, inf}}, drift.Sample{{1, 2, inf}}, 0.05).Interval,
		"one value":   drift.EnergyInterval(drift.Sample{{4, 4}}, drift.Sample{{4, 4, 4}}, 0.05).Interval,
		"not a level": drift.WassersteinInterval(drift.Sample{{1, 2}}, drift.Sample{{1, 2}}, nan).Interval,
	} {
		if !math.IsNaN(i.Low) || !math.IsNaN(i.High) {
			t.Errorf("%s: %+v, want an interval that is not known", name, i)
		}
	}
	disjoint := drift.TotalVariationInterval([]int64{500, 0}, []int64{0, 500}, 0.05)
	if disjoint.High != 1 || disjoint.Low < 0.98 {
		t.Errorf("disjoint: %+v", disjoint)
	}
	r := drift.WassersteinInterval(drift.Sample{{0, 1, 3}}, drift.Sample{{5, 6}, {8}}, 0.05)
	if r.Distance != 5 || r.Interval.Low > 5 || r.Interval.High < 5 {
		t.Errorf("a shift of 5: %+v", r)
	}
	again := drift.WassersteinInterval(drift.Sample{{3, 0}, {1}}, drift.Sample{{8, 6, 5}}, 0.05)
	if again != r {
		t.Errorf("cut otherwise: %+v, want %+v", again, r)
	}
}
