package drift_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift"
)

func TestDistancesOfEqualAndDisjointShares(t *testing.T) {
	p, q := []float64{0.5, 0.5}, []float64{0, 0, 1}
	for _, c := range []struct {
		name            string
		distance        func(p, q []float64) float64
		equal, disjoint float64
	}{
		{"total variation", drift.TotalVariation, 0, 1},
		{"Hellinger", drift.Hellinger, 0, 1},
		{"Jensen–Shannon base 2", func(p, q []float64) float64 { return drift.JensenShannon(p, q, 2) }, 0, 1},
		{"Jensen–Shannon base e", func(p, q []float64) float64 { return drift.JensenShannon(p, q, math.E) }, 0, math.Sqrt(math.Ln2)},
		{"L∞", drift.LInfinity, 0, 1},
		{"Kullback–Leibler", drift.KullbackLeibler, 0, math.Inf(1)},
		{"PSI", drift.PSI, 0, math.Inf(1)},
	} {
		if got := c.distance(p, p); got != c.equal {
			t.Errorf("%s of equal shares is %v, want %v", c.name, got, c.equal)
		}
		if got := c.distance(p, q); math.Abs(got-c.disjoint) > 1e-15 {
			t.Errorf("%s of disjoint shares is %v, want %v", c.name, got, c.disjoint)
		}
	}
}

// TestDistancesBoundEachOther: identities and inequalities that hold between them
// for all shares.
func TestDistancesBoundEachOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		p, q := randomShares(random, 1+random.IntN(20)), randomShares(random, 1+random.IntN(20))
		variation, hellinger := drift.TotalVariation(p, q), drift.Hellinger(p, q)
		shannon, kl := drift.JensenShannon(p, q, math.E), drift.KullbackLeibler(p, q)
		const slack = 1e-12
		check := func(what string, holds bool) {
			t.Helper()
			if !holds {
				t.Errorf("%s does not hold for %v and %v", what, p, q)
			}
		}
		check("H² ≤ TVD ≤ √2·H", hellinger*hellinger <= variation+slack && variation <= math.Sqrt2*hellinger+slack)
		check("TVD ≤ √(KL/2) (Pinsker)", variation <= math.Sqrt(kl/2)+slack)
		check("L∞ ≤ TVD", drift.LInfinity(p, q) <= variation+slack)
		check("PSI = KL(p, q) + KL(q, p)", agree(drift.PSI(p, q), kl+drift.KullbackLeibler(q, p), 1e-9))
		check("JS is symmetric", agree(shannon, drift.JensenShannon(q, p, math.E), 1e-12))
		check("JS₂ = JSₑ/√(ln 2)", agree(drift.JensenShannon(p, q, 2), shannon/math.Sqrt(math.Ln2), 1e-12))
	}
}

func randomShares(random *rand.Rand, cells int) []float64 {
	counts := make([]int64, cells)
	for i := range counts {
		counts[i] = random.Int64N(1000)
		if random.IntN(4) == 0 {
			counts[i] = 0
		}
	}
	counts[0]++
	return drift.Shares(counts)
}

// TestJensenShannonKeepsItsDigits: of shares that differ by d, the divergence is
// d²/2 to first order, far below the rounding errors of the plain sum.
func TestJensenShannonKeepsItsDigits(t *testing.T) {
	const d = 1e-10
	got := drift.JensenShannon([]float64{0.5 + d, 0.5 - d}, []float64{0.5, 0.5}, math.E)
	if want := d / math.Sqrt2; !agree(got, want, 1e-6) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestFilledZerosAreThoseOfEvidently(t *testing.T) {
	for _, c := range []struct{ shares, want []float64 }{
		{[]float64{0.5, 0, 0.5}, []float64{0.5, 0.0001, 0.5}},
		{[]float64{0.99995, 0.00005, 0}, []float64{0.99995, 0.00005, 0.00005 / 1e6}},
		{[]float64{1}, []float64{1}},
	} {
		for i, got := range drift.FilledZeros(c.shares) {
			if got != c.want[i] {
				t.Errorf("%v filled: %v in cell %d, want %v", c.shares, got, i, c.want[i])
			}
		}
	}
}

func TestWassersteinAndEnergyByHand(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		x, y                []float64
		wasserstein, energy float64
	}{
		{[]float64{0, 1}, []float64{0}, 0.5, math.Sqrt(0.5)},
		{[]float64{0, 1, 2}, []float64{1, 2, 3}, 1, math.Sqrt(2. / 3)},
		{[]float64{0, 0, 0, 1}, []float64{0}, 0.25, math.Sqrt(2. / 16)},
		{[]float64{3, 3}, []float64{3}, 0, 0},
		{[]float64{0, inf}, []float64{1, inf}, 0.5, math.Sqrt(0.5)},
		{[]float64{0, inf}, []float64{0, 1}, inf, inf},
		{[]float64{-inf, 0}, []float64{0, 1}, inf, inf},
		{[]float64{math.NaN(), 2}, []float64{1}, 1, math.Sqrt2},
		{nil, []float64{1}, math.NaN(), math.NaN()},
	} {
		x, y := drift.SampleOf(c.x), drift.SampleOf(c.y)
		if got := drift.Wasserstein(x, y); !agree(got, c.wasserstein, 1e-15) {
			t.Errorf("Wasserstein of %v and %v is %v, want %v", c.x, c.y, got, c.wasserstein)
		}
		if got := drift.Energy(x, y); !agree(got, c.energy, 1e-15) {
			t.Errorf("energy of %v and %v is %v, want %v", c.x, c.y, got, c.energy)
		}
	}
}

func TestCountBinsKeepsWhatLiesInNoBin(t *testing.T) {
	inf := math.Inf(1)
	s := drift.Sample{{-1, 0, 0.5, 1}, {1.5, 2, 2.5, inf, -inf, -inf, math.NaN()}}
	got := drift.CountBins(s, []float64{0, 1, 2})
	for _, c := range []struct {
		with drift.Mass
		want []int64
	}{
		{0, []int64{2, 3}},
		{drift.Outside, []int64{2, 3, 2}},
		{drift.Infinite, []int64{2, 3, 2, 1}},
		{drift.Missing, []int64{2, 3, 1}},
		{drift.Outside | drift.Infinite | drift.Missing, []int64{2, 3, 2, 2, 1, 1}},
	} {
		cells := got.Cells(c.with)
		if len(cells) != len(c.want) {
			t.Fatalf("mass %b: cells %v, want %v", c.with, cells, c.want)
		}
		for i := range cells {
			if cells[i] != c.want[i] {
				t.Errorf("mass %b: cells %v, want %v", c.with, cells, c.want)
			}
		}
	}
	if none := drift.CountBins(s, nil); len(none.Bins) != 0 || none.NegInf != 2 || none.Missing != 1 {
		t.Errorf("without edges: %+v", none)
	}
}

// TestMissingMassIsSeen: two columns alike in their values, one of them a fifth empty.
func TestMissingMassIsSeen(t *testing.T) {
	edges := []float64{0, 1, 2}
	full := drift.CountBins(drift.SampleOf([]float64{0, 0, 1, 1}), edges)
	holed := drift.CountBins(drift.SampleOf([]float64{0, 0, 1, 1, math.NaN()}), edges)
	distance := func(with drift.Mass) float64 {
		return drift.TotalVariation(drift.Shares(full.Cells(with)), drift.Shares(holed.Cells(with)))
	}
	if got := distance(0); got != 0 {
		t.Errorf("without the cell of missing values %v, want 0", got)
	}
	if got := distance(drift.Missing); math.Abs(got-0.2) > 1e-15 {
		t.Errorf("with it %v, want 0.2", got)
	}
}
