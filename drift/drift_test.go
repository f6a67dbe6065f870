package drift_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/driftline/driftline/drift"
)

var nan, inf = math.NaN(), math.Inf(1)

func ks(x, y []float64) drift.KSResult {
	return drift.KS(drift.SampleOf(x), drift.SampleOf(y), drift.TwoSided)
}

func TestKSOfNothingIsNaN(t *testing.T) {
	for _, c := range [][2][]float64{{nil, nil}, {nil, {1}}, {{1}, nil}, {{nan, nan}, {1, 2}}, {{1}, {nan}}} {
		got := ks(c[0], c[1])
		if !math.IsNaN(got.D) || !math.IsNaN(got.P) || !math.IsNaN(got.Location) || got.Sign != 0 {
			t.Errorf("%v v %v: %+v, want NaN", c[0], c[1], got)
		}
	}
}

func TestKSLeavesOutMissingValuesAndCountsThem(t *testing.T) {
	got := ks([]float64{1, nan, 2, 3, nan}, []float64{nan, 2, 3, 4})
	want := ks([]float64{1, 2, 3}, []float64{2, 3, 4})
	if got.D != want.D || got.P != want.P || got.N != 3 || got.M != 3 || got.MissingN != 2 || got.MissingM != 1 {
		t.Errorf("%+v, want %+v with 2 and 1 missing", got, want)
	}
}

func TestKSDoesNotChangeItsInput(t *testing.T) {
	for _, n := range []int{50, 40000} {
		x, y := normals(1, n, 1, 0), normals(2, n, 1, 0)
		xBefore, yBefore := slices.Clone(x), slices.Clone(y)
		ks(x, y)
		drift.NewHistogram(drift.SampleOf(x), drift.SampleOf(y))
		if !slices.Equal(x, xBefore) || !slices.Equal(y, yBefore) {
			t.Errorf("n = %d: input changed", n)
		}
	}
}

func TestKSIdentities(t *testing.T) {
	x, y := normals(1, 700, 1, 0), normals(2, 900, 1.3, .1)
	base := ks(x, y)
	swapped := ks(y, x)
	if swapped.D != base.D || swapped.P != base.P || swapped.Sign != -base.Sign || swapped.Location != base.Location {
		t.Errorf("sides swapped: %+v, was %+v", swapped, base)
	}
	monotone := func(values []float64) []float64 {
		out := slices.Clone(values)
		for i, v := range out {
			out[i] = math.Atan(v)
		}
		return out
	}
	if got := ks(monotone(x), monotone(y)); got.D != base.D || got.P != base.P {
		t.Errorf("under a monotone map: %+v, was %+v", got, base)
	}
	less := drift.KS(drift.SampleOf(x), drift.SampleOf(y), drift.Less)
	greater := drift.KS(drift.SampleOf(x), drift.SampleOf(y), drift.Greater)
	if math.Abs(max(less.D, greater.D)-base.D) > 1e-15 {
		t.Errorf("one-sided D %v and %v, two-sided %v", less.D, greater.D, base.D)
	}
	if same := ks(x, x); same.D != 0 || same.P != 1 || same.Sign != 1 {
		t.Errorf("against itself: %+v", same)
	}
	if apart := ks([]float64{-inf, 1}, []float64{2, inf}); apart.D != 1 || apart.Location != 1 {
		t.Errorf("nothing in common: %+v", apart)
	}
}

// The exact and the asymptotic probability meet where both are good.
func TestExactAndAsymptoticPValuesAgree(t *testing.T) {
	for _, d := range []float64{0.012, 0.02, 0.03} {
		exact := drift.KSPValue(d, 9000, 10000, drift.TwoSided, drift.Exact)
		asymptotic := drift.KSPValue(d, 9000, 10000, drift.TwoSided, drift.Asymptotic)
		if math.Abs(exact-asymptotic) > 0.03*exact {
			t.Errorf("d %v: exact %v, asymptotic %v", d, exact, asymptotic)
		}
	}
}

func TestKSPValueFallsAsDRises(t *testing.T) {
	for _, size := range [][2]int64{{10, 10}, {7, 11}, {300, 170}, {20000, 12}, {30000, 40000}, {3e6, 4e6}} {
		for _, alternative := range []drift.Alternative{drift.TwoSided, drift.Greater} {
			last := 1.0
			for d := 0.0; d <= 1; d += 1. / 256 {
				p := drift.KSPValue(d, size[0], size[1], alternative, drift.Auto)
				if !(p >= 0 && p <= last*(1+1e-6)) {
					t.Fatalf("%v, alternative %d, d %v: p %v after %v", size, alternative, d, p, last)
				}
				last = p
			}
		}
	}
}

func TestKSPValueSpecialCases(t *testing.T) {
	for _, c := range []struct {
		d    float64
		n, m int64
		want float64
	}{
		{0, 5, 9, 1}, {0, 50000, 9, 1}, {nan, 5, 9, nan}, {0.5, 0, 9, nan}, {0.5, 9, -1, nan},
		{1, 50000, 50000, 0}, {1, 1, 1, 1}, {0.5, 10000, 9999, 0},
	} {
		if got := drift.KSPValue(c.d, c.n, c.m, drift.TwoSided, drift.Auto); got != c.want && !(got != got && c.want != c.want) {
			t.Errorf("d %v of %d v %d: %v, want %v", c.d, c.n, c.m, got, c.want)
		}
	}
	for _, f := range []func(n, x float64) float64{drift.KolmogorovSF, drift.SmirnovSF} {
		if f(10, 0) != 1 || f(10, -1) != 1 || f(10, 1) != 0 || f(10, 2) != 0 || f(10, nan) == f(10, nan) || f(0, .5) == f(0, .5) {
			t.Error("special cases of the one-sample distribution")
		}
	}
}

func TestChiSquareSpecialCases(t *testing.T) {
	for _, c := range []struct {
		name               string
		reference, current []int64
		statistic, p, v    float64
		df, pooled         int
	}{
		{"no counts", nil, nil, nan, nan, nan, 0, 0},
		{"an empty side", []int64{40, 60}, []int64{0, 0}, nan, nan, nan, 0, 0},
		{"one category", []int64{40}, []int64{70}, 0, 1, 0, 0, 0},
		{"one category and empty ones", []int64{0, 40, 0}, []int64{0, 70}, 0, 1, 0, 0, 0},
		{"equal shares", []int64{40, 60}, []int64{80, 120}, 0, 1, 0, 1, 0},
		{"nothing in common", []int64{100, 0}, []int64{0, 100}, 200, drift.ChiSquareSF(200, 1), 1, 1, 0},
		{"negative is zero", []int64{100, -5}, []int64{0, 100}, 200, drift.ChiSquareSF(200, 1), 1, 1, 0},
		{"too few of each", []int64{1, 1, 1}, []int64{1, 1, 1}, nan, nan, nan, 0, 3},
	} {
		got := drift.ChiSquare(c.reference, c.current)
		if fmt.Sprint(got.Statistic, got.P, got.V, got.DF, got.Pooled) != fmt.Sprint(c.statistic, c.p, c.v, c.df, c.pooled) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestChiSquarePoolsRareCategories(t *testing.T) {
	common, rare := []int64{500, 480}, []int64{1, 2, 1, 0, 2, 1}
	// Ten rare values on each side stand as one category …
	separate := drift.ChiSquare(append(slices.Clone(common), rare...), append(slices.Clone(common), 0, 0, 2, 6, 1, 1))
	together := drift.ChiSquare(append(slices.Clone(common), 7), append(slices.Clone(common), 10))
	if separate.Statistic != together.Statistic || separate.DF != 2 || separate.Pooled != 6 {
		t.Errorf("%+v, want %v with 2 degrees of freedom", separate, together.Statistic)
	}
	// … and fewer than five join the rarest common one.
	joined := drift.ChiSquare([]int64{500, 480, 2}, []int64{400, 300, 1})
	direct := drift.ChiSquare([]int64{500, 482}, []int64{400, 301})
	if joined.Statistic != direct.Statistic || joined.DF != 1 || joined.Pooled != 1 {
		t.Errorf("%+v, want %v with 1 degree of freedom", joined, direct.Statistic)
	}
}

func TestChiSquareIdentities(t *testing.T) {
	a, b := []int64{160, 180, 160, 140, 120, 120}, []int64{160, 160, 160, 160, 160, 80}
	base, swapped := drift.ChiSquare(a, b), drift.ChiSquare(b, a)
	if math.Abs(base.Statistic-swapped.Statistic) > 1e-12 || math.Abs(base.P-swapped.P) > 1e-12 {
		t.Errorf("sides swapped: %+v, was %+v", swapped, base)
	}
	// Two categories: the square of the pooled two-proportion z.
	n, m, x, y := 1000., 1000., 900., 870.
	pooled := (x + y) / (n + m)
	z := (x/n - y/m) / math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
	if got := drift.ChiSquare([]int64{900, 100}, []int64{870, 130}); math.Abs(got.Statistic-z*z) > 1e-12 || math.Abs(got.P-math.Erfc(z/math.Sqrt2)) > 1e-12 {
		t.Errorf("%+v, want z² = %v, p = %v", got, z*z, math.Erfc(z/math.Sqrt2))
	}
}

// Plain V of 20,000 categories without drift is 0.3; corrected, it is near 0.
func TestVIsNearZeroWithoutDriftForManyCategories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a, b := make([]int64, 2000), make([]int64, 2000)
	for range 40000 {
		a[random.IntN(len(a))]++
		b[random.IntN(len(b))]++
	}
	if got := drift.ChiSquare(a, b); got.V > 0.03 || got.P < 0.001 {
		t.Errorf("%+v", got)
	}
}

// Without drift, p ≤ 5 % must happen in about 5 % of the cases: 400 replications
// stay within the 99.9 % binomial band.
func TestFalseAlarmsAreAsRareAsPromised(t *testing.T) {
	const replications = 400
	random := rand.New(rand.NewPCG(3, 4))
	alarms := func(p func() float64) int {
		count := 0
		for range replications {
			if p() <= 0.05 {
				count++
			}
		}
		return count
	}
	normal := func(n int) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = random.NormFloat64()
		}
		return values
	}
	uniform := func(n, k int) []int64 {
		counts := make([]int64, k)
		for range n {
			counts[random.IntN(k)]++
		}
		return counts
	}
	for name, p := range map[string]func() float64{
		"ks 300 v 200":           func() float64 { return ks(normal(300), normal(200)).P },
		"ks 12000 v 400":         func() float64 { return ks(normal(12000), normal(400)).P },
		"chi2 2 of 1000 v 5000":  func() float64 { return drift.ChiSquare(uniform(1000, 2), uniform(5000, 2)).P },
		"chi2 50 of 1000 v 1000": func() float64 { return drift.ChiSquare(uniform(1000, 50), uniform(1000, 50)).P },
		"chi2 8 and 100 rare ones": func() float64 {
			side := func(n int) []int64 { return append(uniform(n, 8), uniform(n/10, 100)...) }
			return drift.ChiSquare(side(900), side(500)).P
		},
	} {
		if count := alarms(p); count < 5 || count > 36 {
			t.Errorf("%s: %d alarms in %d", name, count, replications)
		}
	}
}

func TestAdjustBHSkipsWhatWasNotTested(t *testing.T) {
	got := drift.AdjustBH([]float64{nan, 0.04, 0.01, nan, 0.03})
	if want := []float64{nan, 0.04, 0.03, nan, 0.04}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(drift.AdjustBH(nil)) != 0 {
		t.Error("of nothing: not empty")
	}
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name                                             string
		q, alpha, effect, margin, detectable, resolution float64
		want                                             drift.Verdict
	}{
		{"significant and large", .01, .05, .2, .05, .04, 0, drift.Drift},
		{"at both limits", .05, .05, .05, .05, .04, 0, drift.Drift},
		{"few values, yet far apart", .001, .05, .9, .05, .4, 0, drift.Drift},
		{"significant and small", 1e-9, .05, .01, .05, .002, 0, drift.Same},
		{"not significant, many values", .4, .05, .01, .05, .02, 0, drift.Same},
		{"not significant, few values", .4, .05, .2, .05, .4, 0, drift.NotEnoughData},
		{"just enough", .4, .05, .2, .05, .05, 0, drift.Same},
		{"any effect matters: significant", .01, .05, .001, 0, .001, 0, drift.Drift},
		{"any effect matters: not significant", .4, .05, .01, 0, .02, 0, drift.Same},
		{"any effect matters: none could be seen", .4, .05, .5, 0, 1.3, 0, drift.NotEnoughData},
		{"same needs resolution, not margin", .4, .05, .2, .01, .04, .05, drift.Same},
		{"resolution missed", .4, .05, .2, .01, .06, .05, drift.NotEnoughData},
		{"drift below resolution", .01, .05, .02, .01, .01, .05, drift.Drift},
		{"not tested", nan, .05, nan, .05, nan, 0, drift.NotEnoughData},
		{"effect unknown", .01, .05, nan, .05, .01, 0, drift.NotEnoughData},
	} {
		if got := (drift.Levels{Alpha: c.alpha, Margin: c.margin, Resolution: c.resolution}).Decide(c.q, c.effect, c.detectable); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDetectableIsSignificant(t *testing.T) {
	for _, size := range [][2]int64{{30, 30}, {100, 90}, {1476, 1476}, {20000, 300}, {1e6, 1e6}} {
		d := drift.DetectableD(size[0], size[1], 0.05)
		if p := drift.KSPValue(d, size[0], size[1], drift.TwoSided, drift.Auto); p > 0.0505 {
			t.Errorf("%v: D %v has p %v", size, d, p)
		}
		if p := drift.KSPValue(0.9*d, size[0], size[1], drift.TwoSided, drift.Auto); p < 0.05 {
			t.Errorf("%v: D %v has p %v already", size, 0.9*d, p)
		}
	}
	if d := drift.DetectableD(1476, 1476, 0.05); d > 0.05 {
		t.Errorf("1476 a side: %v", d)
	}
	if d := drift.DetectableD(1475, 1475, 0.05); d <= 0.05 {
		t.Errorf("1475 a side: %v", d)
	}
	for _, d := range []float64{drift.DetectableD(0, 5, .05), drift.DetectableD(5, 0, .05), drift.DetectableD(5, 5, 0), drift.DetectableD(5, 5, nan)} {
		if !math.IsNaN(d) {
			t.Errorf("%v, want NaN", d)
		}
	}
	counts := drift.ChiSquare([]int64{500, 500, 500}, []int64{480, 500, 520})
	v := counts.Detectable(0.05)
	if v <= counts.V || v > 0.06 {
		t.Errorf("detectable V %v, seen %v with p %v", v, counts.V, counts.P)
	}
	if one := drift.ChiSquare([]int64{5000}, []int64{5000}).Detectable(.05); !(one > 0 && one < 0.05) {
		t.Errorf("one category: detectable V %v", one)
	}
}

func TestHistogramCountsEachValueOnce(t *testing.T) {
	for name, sides := range map[string][2][]float64{
		"normal":           {normals(1, 3000, 1, 0), normals(2, 200, 2, 5)},
		"one sentinel":     {append(normals(1, 3000, 1, 0), 1e9), normals(2, 2000, 1, 0)},
		"infinities":       {{inf, -inf, 0, 1, 2.5}, {inf, inf, 1}},
		"only infinities":  {{inf, -inf}, {inf}},
		"constant":         {{7, 7, 7}, {7}},
		"huge constant":    {{1e300, 1e300}, {1e300}},
		"zeros":            {{0, math.Copysign(0, -1)}, {0}},
		"extremes":         {{-math.MaxFloat64, 0, math.MaxFloat64}, {1}},
		"subnormal":        {{0, 5e-324}, {1e-323, 0}},
		"whole numbers":    {{1, 2, 3, 12}, {1, 1, 7}},
		"with missing":     {{nan, 1.5, nan, 2.5}, {nan}},
		"one side nothing": {{1.5, 2.5, 3.25}, nil},
	} {
		h := drift.NewHistogram(drift.SampleOf(sides[0]), drift.Sample{sides[1]})
		if !slices.IsSortedFunc(h.Edges, func(a, b float64) int {
			if a < b {
				return -1
			}
			return 1
		}) || len(h.Edges) < 2 || len(h.Edges) > 31 {
			t.Errorf("%s: edges %v", name, h.Edges)
			continue
		}
		for side, counts := range [][]int64{h.Reference, h.Current} {
			want := make([]int64, len(h.Edges)-1)
			for _, v := range sides[side] {
				if v == v {
					bin := 0
					for bin < len(want)-1 && v >= h.Edges[bin+1] {
						bin++
					}
					want[bin]++
				}
			}
			if !slices.Equal(counts, want) {
				t.Errorf("%s, side %d: %v, want %v over %v", name, side, counts, want, h.Edges)
			}
		}
	}
}

func TestHistogramBins(t *testing.T) {
	if h := drift.NewHistogram(drift.SampleOf([]float64{nan}), nil); h.Edges != nil {
		t.Errorf("of nothing: %v", h)
	}
	if h := drift.NewHistogram(drift.SampleOf([]float64{1, 3}), drift.SampleOf([]float64{2})); fmt.Sprint(h.Edges) != "[0.5 1.5 2.5 3.5]" {
		t.Errorf("whole numbers: %v", h.Edges)
	}
	var wide []float64
	for k := range 400 {
		wide = append(wide, float64(k))
	}
	for i, count := range drift.NewHistogram(drift.SampleOf(wide), nil).Reference {
		if count != 50 {
			t.Errorf("400 whole numbers: bin %d holds %d, want 50", i, count)
		}
	}
	spread := append(normals(1, 9999, 1, 0), 1e9)
	h := drift.NewHistogram(drift.SampleOf(spread), drift.SampleOf(normals(2, 10000, 1, 0)))
	if top := h.Edges[len(h.Edges)-1]; top > 5 || len(h.Edges) != 31 {
		t.Errorf("one sentinel: %d edges up to %v", len(h.Edges), top)
	}
}

func TestCategoryHistogramKeepsTheTwentyLargest(t *testing.T) {
	reference, current := map[string]int64{}, map[string]int64{}
	for i := range 25 {
		reference[fmt.Sprintf("c%02d", i)] = int64(i)
		current[fmt.Sprintf("c%02d", i)] = 1
	}
	h := drift.NewCategoryHistogram(reference, current)
	if len(h.Categories) != 21 || h.Categories[0] != "c24" || h.Categories[20] != drift.OtherCategories {
		t.Fatalf("categories %v", h.Categories)
	}
	if h.Reference[20] != 0+1+2+3+4 || h.Current[20] != 5 {
		t.Errorf("others %d and %d", h.Reference[20], h.Current[20])
	}
	few := drift.NewCategoryHistogram(map[string]int64{"a": 1, "b": 1}, map[string]int64{"z": 5})
	if fmt.Sprint(few) != "{[] [z a b] [0 1 1] [5 0 0] 0}" {
		t.Errorf("%v", few)
	}
}
