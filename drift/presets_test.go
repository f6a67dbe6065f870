package drift_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/driftline/driftline/drift"
)

// TestGoodnessOfFit: numbers of Evidently itself, see facts of its tests.
func TestGoodnessOfFit(t *testing.T) {
	for _, c := range []struct {
		reference, current []int64
		statistic, p       float64
	}{
		{[]int64{160, 180, 160, 140, 120, 120}, []int64{160, 160, 160, 160, 160, 80}, 31.746032, 6.670e-6},
		{[]int64{500, 300, 200, 0}, []int64{450, 300, 200, 50}, math.Inf(1), 0},
		{[]int64{900, 100}, []int64{870, 130}, 10, .0015654},
		{[]int64{500, 300, 150, 50}, []int64{520, 310, 170, 0}, 53.8, 1.238e-11},
		{[]int64{5}, []int64{7}, 0, 1},
	} {
		statistic, p := drift.GoodnessOfFit(c.reference, c.current)
		if statistic != c.statistic && math.Abs(statistic/c.statistic-1) > 1e-4 || p != c.p && math.Abs(p/c.p-1) > 1e-3 {
			t.Errorf("%v to %v: %v, p %v; want %v, %v", c.reference, c.current, statistic, p, c.statistic, c.p)
		}
	}
}

func TestEvidentlyChoosesByTypeAndSize(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	many, _ := draws(random, 1001, 0, standardNormal)
	values := func(n int, of ...float64) drift.Sample {
		s := make([]float64, n)
		for i := range s {
			s[i] = of[i%len(of)]
		}
		return drift.SampleOf(s)
	}
	six, five := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 2, 3, 4, 5}
	for _, c := range []struct {
		name               string
		reference, current drift.Sample
		test               string
		threshold          float64
	}{
		{"few rows", drift.SampleOf(many[:1000]), drift.SampleOf(many), "ks", .05},
		{"many rows", drift.SampleOf(many), drift.SampleOf(many[:100]), "wasserstein", .1},
		{"six values", values(600, six...), values(6, six...), "ks", .05},
		{"five values", values(600, five...), values(5, five...), "chi2_gof", .05},
		{"two values", values(600, 1, 2), values(5, 2), "z", .05},
		{"one value", values(600, 1), values(5, 1), "z", .05},
		{"five values, many rows", values(1001, five...), values(5, five...), "jensenshannon", .1},
		{"infinities do not count", values(1001, 1, 2, 3, 4, 5, math.Inf(1), math.NaN()), values(5, five...), "chi2_gof", .05},
		{"nothing", values(5, math.NaN()), values(5, 1), "", nan},
	} {
		got := drift.EvidentlyNumbers(c.reference, c.current)
		if got.Test != c.test || got.Threshold != c.threshold && c.threshold == c.threshold {
			t.Errorf("%s: %+v, want %s", c.name, got, c.test)
		}
	}
	// A spread of 0 is taken for 0.001.
	if got := drift.EvidentlyNumbers(values(2000, 1, 1.0001, 1.0002, 1.0003, 1.0004, 1.0005), values(10, 2)); got.Statistic < 999 || got.Statistic > 1001 {
		t.Errorf("%+v", got)
	}
}

func TestNannyMLByHand(t *testing.T) {
	// Shares ½ ½ against 1 0 in base 2: √(1 − ¾·log₂3 + ½) … of chunks that are all alike.
	half := []int64{10, 10, 0}
	got := drift.NannyML(half, [][]int64{{5, 5, 0}, {5, 5, 0}, {0, 0, 0}}, []int64{20, 0, 0})
	want := math.Sqrt(drift.JensenShannon([]float64{.5, .5}, []float64{1}, 2) * drift.JensenShannon([]float64{.5, .5}, []float64{1}, 2))
	if math.Abs(got.Statistic-want) > 1e-12 || got.Threshold != 0 || !got.Drift {
		t.Errorf("%+v, want %v", got, want)
	}
	// Chunks at distance d and d: the limits are both d, and being closer is drift too.
	chunks := [][]int64{{6, 4, 0}, {4, 6, 0}}
	if got = drift.NannyML(half, chunks, half); got.Statistic != 0 || !got.Drift || !(got.Lower > 0) {
		t.Errorf("closer than any chunk: %+v", got)
	}
	if got = drift.NannyML(half, nil, half); got.Test != "" || got.Drift {
		t.Errorf("no chunks: %+v", got)
	}
}

// TestDivergencesAreCalibrated: without drift their p-values are uniform, and corrected
// distances near 0, where the plain ones are far from it.
func TestDivergencesAreCalibrated(t *testing.T) {
	random := rand.New(rand.NewPCG(22, 1))
	const replications, cells, n, m = 400, 50, 3000, 2000
	jensenShannon := func(p, q []float64) float64 { return drift.JensenShannon(p, q, math.E) }
	for _, c := range []struct {
		name   string
		of     func(p, q []float64) float64
		root   bool
		factor float64
	}{
		{"PSI", drift.PSI, false, 1}, {"Kullback–Leibler", drift.KullbackLeibler, false, 2},
		{"Jensen–Shannon", jensenShannon, true, 8}, {"Hellinger", drift.Hellinger, true, 8},
	} {
		alarms, plain, corrected, missed := 0.0, 0.0, 0.0, 0.0
		for range replications {
			x, y := make([]int64, cells), make([]int64, cells)
			for range n {
				x[random.IntN(cells)]++
			}
			for range m {
				y[random.IntN(cells)]++
			}
			d := drift.NewDivergence(c.of(drift.Shares(x), drift.Shares(y)), c.root, c.factor, x, y)
			alarms += count(d.P <= .05)
			plain, corrected = plain+d.Distance, corrected+d.Corrected
			missed += count(d.Interval(.05).Low > 0)
		}
		low, high := band(replications, .05)
		if alarms < low || alarms > high+4 || missed > high {
			t.Errorf("%s: %v alarms, interval above 0 %v times in %d, want %.0f to %.0f", c.name, alarms, missed, replications, low, high)
		}
		if corrected > plain/2 {
			t.Errorf("%s: mean distance %v, corrected %v", c.name, plain/replications, corrected/replications)
		}
	}
}

// TestMultivariate: no drift is found as rarely as promised, and drift of the
// correlation alone is found.
func TestMultivariate(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 1))
	pair := func(n int, correlation float64) drift.Table {
		a, b := draws(random, n, n, standardNormal)
		for i := range b {
			b[i] = correlation*a[i] + math.Sqrt(1-correlation*correlation)*b[i]
		}
		return drift.Table{a, b}
	}
	names := []string{"a", "b"}
	const replications = 100
	alarms := 0.0
	for i := range replications {
		x, y := drift.NormalScores(pair(300, .3), pair(200, .3))
		alarms += count(drift.Classifier(x, y, names, uint64(i)).P <= .05)
	}
	if _, most := band(replications, .05); alarms > most {
		t.Errorf("the classifier raises %v false alarms in %d", alarms, replications)
	}
	x, y := drift.NormalScores(pair(2000, 0), pair(2000, .5))
	c := drift.Classifier(x, y, names, 1)
	if c.P > 1e-6 || c.Effect < .1 || len(c.Telling) == 0 || c.Telling[0] != "a with b" {
		t.Errorf("classifier: %+v", c)
	}
	if again := drift.Classifier(x, y, names, 1); again.P != c.P {
		t.Error("the same seed gives another p-value")
	}
	if m := drift.MMD(x, y, 1, 1); m.P > .01 || m.N != 500 {
		t.Errorf("MMD: %+v", m)
	}
	if m := drift.MMD(x, drift.Table{x[1], x[0]}, 5, 1); m.P < .01 {
		t.Errorf("MMD without drift: %+v", m)
	}
	if m := drift.MMD(pair(9, 0), pair(50, 0), 1, 1); m.P == m.P {
		t.Errorf("of nine rows: %+v", m)
	}
}
