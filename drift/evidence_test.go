package drift_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/driftline/driftline/drift"
)

// band is the 99 % band of a count of alarms in replications at a nominal rate.
func band(replications int, rate float64) (low, high float64) {
	n := float64(replications)
	half := 2.576 * math.Sqrt(n*rate*(1-rate))
	return n*rate - half - 0.5, n*rate + half + 0.5
}

// draws makes two samples of one distribution.
func draws(random *rand.Rand, n, m int, of func(*rand.Rand) float64) (x, y []float64) {
	x, y = make([]float64, n), make([]float64, m)
	for i := range x {
		x[i] = of(random)
	}
	for i := range y {
		y[i] = of(random)
	}
	return x, y
}

func standardNormal(r *rand.Rand) float64 { return r.NormFloat64() }

func TestNoDriftAlarmsAsOftenAsPromised(t *testing.T) {
	const replications, alpha = 600, 0.05
	for _, c := range []struct {
		name  string
		n, m  int
		exact bool // continuous and large: the rate is alpha, and not just at most
		of    func(*rand.Rand) float64
	}{
		{"normal, small", 50, 50, false, standardNormal},
		{"normal, medium", 2000, 2000, true, standardNormal},
		{"heavy tails", 2000, 1500, true, func(r *rand.Rand) float64 { return math.Exp(3 * r.NormFloat64()) }},
		{"unequal sizes", 4000, 700, true, standardNormal},
		{"ties", 1000, 1000, false, func(r *rand.Rand) float64 { return math.Round(3 * r.NormFloat64()) }},
		{"four values", 1000, 800, false, func(r *rand.Rand) float64 { return float64(r.IntN(4)) }},
		{"infinities", 1000, 1000, false, func(r *rand.Rand) float64 { return 1 / math.Round(5*r.NormFloat64()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(11, uint64(c.n)))
			alarms := 0.0
			for range replications {
				x, y := draws(random, c.n, c.m, c.of)
				if drift.CompareNumbers(drift.SampleOf(x), drift.SampleOf(y)).P <= alpha {
					alarms++
				}
			}
			low, high := band(replications, alpha)
			if alarms > high || c.exact && alarms < low {
				t.Errorf("%v false alarms in %d, want %.0f to %.0f", alarms, replications, low, high)
			}
		})
	}
}

func TestNoDriftOfCategoriesAlarmsAsOftenAsPromised(t *testing.T) {
	const replications, alpha = 600, 0.05
	for _, c := range []struct {
		categories, n, m int
		exact            bool
	}{
		{2, 100, 100, false}, {10, 1000, 1000, true}, {10, 1000, 5000, true}, {50, 5000, 5000, true}, {1000, 20000, 20000, true}, {1000, 500, 500, false},
	} {
		random := rand.New(rand.NewPCG(12, uint64(c.categories)))
		alarms := 0.0
		for range replications {
			x, y := make([]int64, c.categories), make([]int64, c.categories)
			for range c.n {
				x[random.IntN(c.categories)]++
			}
			for range c.m {
				y[random.IntN(c.categories)]++
			}
			if drift.CompareCategories(x, y).P <= alpha {
				alarms++
			}
		}
		low, high := band(replications, alpha)
		if alarms > high || c.exact && alarms < low {
			t.Errorf("%+v: %v false alarms in %d, want %.0f to %.0f", c, alarms, replications, low, high)
		}
	}
}

func TestDriftIsFound(t *testing.T) {
	const replications = 40
	for _, c := range []struct {
		name string
		n    int
		ours func(z float64) float64 // current, of a standard normal value
		ks   bool                    // whether KS alone finds it
	}{
		{"mean by 0.05 standard deviations", 20_000, func(z float64) float64 { return z + 0.05 }, true},
		{"log-normal times 1.5", 1_000, func(z float64) float64 { return z + math.Log(1.5)/2 }, true},
		{"top 1 % half as far again", 5_000, func(z float64) float64 {
			if z > 2.326 {
				return z * 1.5
			}
			return z
		}, false},
		{"spread by 5 %", 20_000, func(z float64) float64 { return z * 1.05 }, true},
	} {
		random := rand.New(rand.NewPCG(13, 1))
		found, byKS := 0, 0
		for range replications {
			x, z := draws(random, c.n, c.n, standardNormal)
			for i := range z {
				z[i] = c.ours(z[i])
			}
			result := drift.CompareNumbers(drift.SampleOf(x), drift.SampleOf(z))
			if result.P <= 0.05 {
				found++
			}
			if result.KS.P <= 0.05 {
				byKS++
			}
		}
		if found < 38 || (byKS > replications/2) != c.ks {
			t.Errorf("%s: found %d of %d, by KS %d", c.name, found, replications, byKS)
		}
	}
}

func TestOneNewCategoryAmongAThousandIsFound(t *testing.T) {
	random := rand.New(rand.NewPCG(14, 1))
	reference, current := make([]int64, 1001), make([]int64, 1001)
	for range 20_000 {
		reference[random.IntN(1000)]++
		if random.IntN(100) == 0 {
			current[1000]++
		} else {
			current[random.IntN(1000)]++
		}
	}
	result := drift.CompareCategories(reference, current)
	if result.Category.Index != 1000 || result.P > 1e-6 || result.ChiSquare.P < 1e-6 {
		t.Errorf("%+v", result)
	}
}

// TestRanksByHand: the score test on four values, against all ways to deal them.
func TestRanksByHand(t *testing.T) {
	// Pooled 1 2 3 4 with current {3, 4}: T = Σu = ⅛+⅜ = ½, Var T = Σu²·nm/(N(N−1)) = 5/48,
	// scale scores of current are those of reference, so χ² = ¼·48/5.
	got := drift.CompareNumbers(drift.SampleOf([]float64{1, 2}), drift.SampleOf([]float64{3, 4})).Ranks
	if math.Abs(got.Statistic-2.4) > 1e-12 || got.DF != 2 || got.Location != 1 || got.Scale != 0 {
		t.Errorf("%+v", got)
	}
	// Current is the outer half.
	got = drift.CompareNumbers(drift.SampleOf([]float64{2, 3}), drift.SampleOf([]float64{1, 4})).Ranks
	if got.Location != 0 || math.Abs(got.Scale-1) > 1e-12 {
		t.Errorf("%+v", got)
	}
	// Two distinct values have one degree of freedom, and χ² is that of the 2×2 table times (N−1)/N.
	x, y := []float64{0, 0, 0, 1}, []float64{0, 1, 1, 1, 1}
	got = drift.CompareNumbers(drift.SampleOf(x), drift.SampleOf(y)).Ranks
	if want := 9 * 121.0 / (4 * 5 * 4 * 5) * 8 / 9; got.DF != 1 || math.Abs(got.Statistic-want) > 1e-12 {
		t.Errorf("%+v, want %v", got, want)
	}
	if got = drift.CompareNumbers(drift.SampleOf([]float64{5, 5}), drift.SampleOf([]float64{5})).Ranks; got.DF != 0 || got.P != 1 {
		t.Errorf("constant: %+v", got)
	}
	if got = drift.CompareNumbers(nil, drift.SampleOf([]float64{5})).Ranks; got.P == got.P {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestTailsOfSortedSamples counts the tails by sorting everything.
func TestTailsOfSortedSamples(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 1))
	for _, shape := range []func(*rand.Rand) float64{
		standardNormal,
		func(r *rand.Rand) float64 { return math.Round(2 * r.NormFloat64()) },
		func(r *rand.Rand) float64 { return math.Exp(5 * r.NormFloat64()) },
		func(r *rand.Rand) float64 { return 1 / math.Round(5*r.NormFloat64()) },
	} {
		x, y := draws(random, 30_000, 20_000, shape)
		y[0], y[1] = math.NaN(), math.Inf(1)
		got := drift.CompareNumbers(drift.SampleOf(x), drift.Sample{y[:7000], y[7000:]}).Tails
		beyond := func(values []float64) (count int64) {
			for _, v := range values {
				if got.Upper && v >= got.At || !got.Upper && v <= got.At {
					count++
				}
			}
			return count
		}
		if i, j := beyond(x), beyond(y); i != got.Reference || j != got.Current || i+j < 10 {
			t.Errorf("%+v, counted %d and %d", got, i, j)
		}
	}
}

func TestSharesP(t *testing.T) {
	for _, c := range []struct {
		a, n, b, m int64
		want       float64
	}{
		{3, 4, 1, 4, 2 * 17.0 / 70}, // the lady tasting tea
		{0, 10, 10, 10, 2 / 184756.0},
		{0, 10, 0, 10, 1}, {10, 10, 5, 5, 1}, {5, 10, 5, 10, 1},
		{1, 0, 0, 3, nan}, {4, 3, 0, 3, nan}, {0, 3, -1, 3, nan},
	} {
		got := drift.SharesP(c.a, c.n, c.b, c.m)
		if math.Abs(got-c.want) > 1e-12 || (got != got) != (c.want != c.want) {
			t.Errorf("%+v: %v", c, got)
		}
		if swapped := drift.SharesP(c.b, c.m, c.a, c.n); math.Abs(got-swapped) > 1e-9*got {
			t.Errorf("%+v: %v, sides swapped %v", c, got, swapped)
		}
	}
	// Large counts: near the chi-square of the table.
	got := drift.SharesP(100_000, 1_000_000, 101_000, 1_000_000)
	want := drift.ChiSquare([]int64{100_000, 900_000}, []int64{101_000, 899_000}).P
	if math.Abs(got/want-1) > 0.02 {
		t.Errorf("%v, chi-square %v", got, want)
	}
}

func TestCombineCauchy(t *testing.T) {
	for _, c := range []struct {
		name       string
		p, weights []float64
		want       float64
	}{
		{"one test is itself", []float64{.03}, []float64{5}, .03},
		{"equal ones are their value", []float64{.2, .2}, []float64{1, 3}, .2},
		{"one small one costs its weight", []float64{1e-12, .5}, []float64{1, 1}, 2e-12},
		{"no evidence does not outweigh", []float64{1e-3, 1}, []float64{1, 1}, 0.002019},
		{"untested ones are left out", []float64{nan, .03}, []float64{1, 1}, .03},
		{"impossible", []float64{0, .5}, []float64{1, 1}, 0},
		{"nothing", []float64{nan}, []float64{1}, nan},
	} {
		got := drift.CombineCauchy(c.p, c.weights)
		if math.Abs(got/c.want-1) > 1e-3 && got != c.want || (got != got) != (c.want != c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestIntervalsHoldTheTruth: D and V of known distributions, drawn again and again.
func TestIntervalsHoldTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(16, 1))
	const replications = 500
	missedD, missedV := 0.0, 0.0
	truthV := cramersOf([]float64{.5, .3, .2}, []float64{.45, .3, .25})
	for range replications {
		x, y := draws(random, 300, 400, standardNormal)
		for i := range y {
			y[i] += 0.3
		}
		truth := math.Erf(0.15 / math.Sqrt2) // 2Φ(0.15) − 1
		if i := drift.KS(drift.SampleOf(x), drift.SampleOf(y), drift.TwoSided).Interval(.05); i.Low > truth || i.High < truth {
			missedD++
		}
		a, b := make([]int64, 3), make([]int64, 3)
		for range 1000 {
			a[pickOf(random, .5, .3)]++
			b[pickOf(random, .45, .3)]++
		}
		if i := drift.ChiSquare(a, b).Interval(.05); i.Low > truthV || i.High < truthV {
			missedV++
		}
	}
	_, most := band(replications, 0.05)
	if missedD > most || missedV > most {
		t.Errorf("missed D %v and V %v of %d times, want at most %.0f", missedD, missedV, replications, most)
	}
	if missedV < 5 {
		t.Errorf("the interval of V is missed %v times: far too wide", missedV)
	}
}

func pickOf(r *rand.Rand, first, second float64) int {
	switch u := r.Float64(); {
	case u < first:
		return 0
	case u < first+second:
		return 1
	}
	return 2
}

// cramersOf is Cramér's V of two distributions that are sampled equally often.
func cramersOf(p, q []float64) float64 {
	sum := 0.0
	for i := range p {
		sum += (p[i] - q[i]) * (p[i] - q[i]) / (p[i] + q[i]) / 2
	}
	return math.Sqrt(sum)
}

func TestCorrections(t *testing.T) {
	p := []float64{.01, nan, .02, .5}
	for _, c := range []struct {
		name string
		got  []float64
		want []float64
	}{
		{"BH", drift.AdjustBH(p), []float64{.03, nan, .03, .5}},
		{"BY", drift.AdjustBY(p), []float64{.055, nan, .055, .5 * 11 / 6}},
		{"e-BH", drift.AdjustEBH([]float64{100, nan, 30, 0}), []float64{.03, nan, .05, 1}},
	} {
		for i := range c.want {
			if math.Abs(c.got[i]-c.want[i]) > 1e-12 || (c.got[i] != c.got[i]) != (c.want[i] != c.want[i]) {
				t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
			}
		}
	}
}

// TestEValuesAreFair: the expectation over a uniform p is 1.
func TestEValuesAreFair(t *testing.T) {
	sum := 0.0
	const steps = 400_000
	for i := range steps { // in ln p, where the mass near 0 shows
		logarithm := -400 * (float64(i) + 0.5) / steps
		p := math.Exp(logarithm)
		sum += drift.EValue(p) * p * 400 / steps
	}
	if sum < 0.99 || sum > 1 {
		t.Errorf("expectation %v", sum)
	}
	if a, b := drift.EValue(math.Exp(-0.00101)), drift.EValue(math.Exp(-0.00099)); math.Abs(a-b) > 1e-5 {
		t.Errorf("the series does not meet the quotient: %v, %v", a, b)
	}
	if drift.EValue(1) != 0.5 || !math.IsInf(drift.EValue(0), 1) || drift.EValue(nan) == drift.EValue(nan) {
		t.Error("special cases")
	}
}

// TestUniformConstants derives the bound's error from its theorem: for any η in
// (1, 2A²), with γ² = 2/η·(A − √(2(η−1)/C))² > 1, it is at most 4e^{−γ²C}·(1 + 1/((γ²−1)·ln η)).
func TestUniformConstants(t *testing.T) {
	const a = 0.85
	for _, alpha := range []float64{.3, .1, .05, .01, 1e-3, 1e-6, 1e-12} {
		start := drift.UniformDKW(1, 1, alpha) // A·√C
		c := start * start / (a * a)
		least := 1.0
		for i := 1; i < 2000; i++ {
			eta := 1 + (2*a*a-1)*float64(i)/2000
			root := a - math.Sqrt(2*(eta-1)/c)
			if gamma := 2 / eta * root * root; root > 0 && gamma > 1 {
				least = min(least, 4*math.Exp(-gamma*c)*(1+1/((gamma-1)*math.Log(eta))))
			}
		}
		if least > alpha || least < alpha/50 {
			t.Errorf("alpha %v: the error is at most %v", alpha, least)
		}
	}
	if w, one := drift.UniformDKW(10_000, 1, .05), math.Sqrt(math.Log(40)/20_000); w > 2.5*one {
		t.Errorf("width %v, for one look %v", w, one)
	}
}

// TestOverlappingWindowsNeedNoUniformBound: a week of rows that is looked at every hour. The
// level that a budget comes to gives a tighter bound on D at each look than one that holds at all
// looks of a week together, which takes two time-uniform ones: for the rows that leave the
// window and for those that come into it.
func TestOverlappingWindowsNeedNoUniformBound(t *testing.T) {
	const hourly, week = 60, 7 * 24
	budget := drift.Budget{Alarms: 1, Per: 30 * 24 * time.Hour, Every: time.Hour}
	one := math.Sqrt(math.Log(2/budget.Level()) / (2 * hourly * week))
	widest := 0.0
	for hours := 1; hours < week; hours++ {
		coming, leaving := int64(hours*hourly), int64((week-hours)*hourly)
		alpha := 7.0 / 30 / 2
		all := float64(coming)*drift.UniformDKW(coming, hourly, alpha) + float64(leaving)*drift.UniformDKW(leaving, hourly, alpha)
		widest = max(widest, all/(hourly*week))
	}
	if ratio := widest / one; ratio < 1.5 || ratio > 2.5 {
		t.Errorf("the uniform bound is %.2f times as wide, the documentation says about 1.7", ratio)
	}
}

// TestLookingAgainAndAgain: a plain test alarms sooner or later, the sequential one does not.
func TestLookingAgainAndAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 1))
	const replications, looks, perLook = 100, 40, 50
	plain, sequential, found := 0.0, 0.0, 0
	s := drift.Sequential{Start: perLook, Alpha: 0.05, FixedReference: true}
	for range replications {
		reference, current := draws(random, 2000, looks*perLook, standardNormal)
		plainAlarm, alarm, drifted := false, false, false
		for look := 1; look <= looks; look++ {
			result := drift.KS(drift.SampleOf(reference), drift.SampleOf(current[:look*perLook]), drift.TwoSided)
			plainAlarm = plainAlarm || result.P <= .05
			low := s.Interval(result.D, result.N, result.M).Low
			alarm = alarm || low > 0
			if p := s.P(result.D, result.N, result.M); (p < .05) != (low > 0) {
				t.Fatalf("p %v, interval from %v", p, low)
			}
		}
		for i := range current {
			current[i] += 0.3
		}
		result := drift.KS(drift.SampleOf(reference), drift.SampleOf(current), drift.TwoSided)
		drifted = s.P(result.D, result.N, result.M) <= .05
		plain, sequential = plain+count(plainAlarm), sequential+count(alarm)
		found += int(count(drifted))
	}
	if _, most := band(replications, .05); sequential > most || plain < 2*most || found < 95 {
		t.Errorf("of %d: plain %v, sequential %v, drift found %d", replications, plain, sequential, found)
	}
}

func count(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// TestBudgetIsKept simulates a year of hourly looks at 40 columns of small samples.
func TestBudgetIsKept(t *testing.T) {
	budget := drift.Budget{Alarms: 1, Per: 30 * 24 * time.Hour, Every: time.Hour, Columns: 40}
	if budget.Looks() != 720 || budget.Level() != 1.0/720 || budget.ColumnLevel() != 1.0/720/40 {
		t.Fatalf("looks %v, level %v, per column %v", budget.Looks(), budget.Level(), budget.ColumnLevel())
	}
	random := rand.New(rand.NewPCG(18, 1))
	const hours = 365 * 24
	alarms := 0.0
	p := make([]float64, budget.Columns)
	for range hours {
		for i := range p {
			x, y := draws(random, 20, 20, standardNormal)
			p[i] = drift.CompareNumbers(drift.SampleOf(x), drift.SampleOf(y)).P
		}
		for _, q := range drift.AdjustBH(p) {
			if q <= budget.Level() {
				alarms++
				break
			}
		}
	}
	// 12.2 are promised; a year with more than 22 has a chance below 0.5 %.
	if alarms > 22 {
		t.Errorf("%v looks with false alarms in a year, the budget is 12", alarms)
	}
	for _, b := range []drift.Budget{{}, {Alarms: 1, Per: time.Hour}, {Alarms: -1, Per: time.Hour, Every: time.Minute}} {
		if level := b.Level(); level == level {
			t.Errorf("%+v: level %v", b, level)
		}
	}
}
