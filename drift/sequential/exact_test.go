package sequential_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/driftline/driftline/drift/sequential"
)

// TestEValuesHaveMeanOne computes the mean of each e-value at the edge of its hypothesis,
// over everything that can happen: it is 1, and not a little more.
func TestEValuesHaveMeanOne(t *testing.T) {
	binomial := func(n int, p float64, value func(x float64) float64) (mean float64) {
		for x := range n + 1 {
			mean += distuv.Binomial{N: float64(n), P: p}.Prob(float64(x)) * math.Exp(value(float64(x)))
		}
		return mean
	}
	const n, m, share, margin = 30, 12, 0.05, 1.5
	unsafe := share * margin / (share*margin + 1 - share)
	stretch := func(share, x, n float64) sequential.Stretch {
		return sequential.Stretch{Share: share, Candidate: x, Champion: n - x}
	}
	for name, mean := range map[string]float64{
		"worse": binomial(n, share, func(x float64) float64 { return sequential.Rates{stretch(share, x, n)}.Worse() }),
		"worse, two stretches": binomial(n, share, func(x float64) float64 {
			return math.Log(binomial(m, 0.25, func(y float64) float64 {
				return sequential.Rates{stretch(share, x, n), stretch(0.25, y, m)}.Worse()
			}))
		}),
		"safe":  binomial(n, unsafe, func(x float64) float64 { return sequential.Rates{stretch(share, x, n)}.Safe(margin) }),
		"dealt": binomial(n, share, func(x float64) float64 { return sequential.Rates{stretch(share, x, n)}.Dealt() }),
		"above": binomial(n, 0.02, func(x float64) float64 { return sequential.Share{Events: x, Requests: n}.Above(0.02) }),
		"below": binomial(n, 0.02, func(x float64) float64 { return sequential.Share{Events: x, Requests: n}.Below(0.02) }),
		"pairs above": binomial(n, 0.5, func(x float64) float64 {
			return sequential.Pairs{2000: int64(x), -2000: int64(n - x)}.Above()
		}),
		"pairs below": binomial(n, 0.55, func(x float64) float64 { // the mean is 0.1
			return sequential.Pairs{2000: int64(x), -2000: int64(n - x)}.Below(0.1)
		}),
	} {
		if math.Abs(mean-1) > 1e-9 {
			t.Errorf("%s: the mean is %v, want 1", name, mean)
		}
	}
}

// TestClustersHaveMeanOneAtMost deals keys with many events and with few to the arms, in every
// way: a key with most of them, and keys with one event, are as good as one event each.
func TestClustersHaveMeanOneAtMost(t *testing.T) {
	const share = 0.1
	for _, clusters := range [][]float64{{1, 1, 1, 1}, {5, 5, 5}, {7, 1, 1, 3}, {100}, {2, 1}} {
		mean := 0.0
		for dealt := range 1 << len(clusters) {
			probability, most := 1.0, 0.0
			stretch := sequential.Stretch{Share: share}
			for i, events := range clusters {
				most = max(most, events)
				if dealt>>i&1 == 1 {
					probability *= share
					stretch.Candidate += events
				} else {
					probability *= 1 - share
					stretch.Champion += events
				}
			}
			mean += probability * math.Exp(stretch.Clustered(most))
		}
		equal := clusters[0] == clusters[len(clusters)-1]
		if mean > 1+1e-12 || equal && mean < 1-1e-12 || mean < 0.5 {
			t.Errorf("clusters %v: the mean is %v", clusters, mean)
		}
	}
}

// TestEstimatesHaveMeanOne integrates over a normal estimate, and over two.
func TestEstimatesHaveMeanOne(t *testing.T) {
	normal := func(value func(x float64) float64) (mean float64) {
		const step = 0.01
		for x := -9.0; x <= 9; x += step {
			mean += step * distuv.UnitNormal.Prob(x) * math.Exp(value(x))
		}
		return mean
	}
	one := normal(func(x float64) float64 {
		log, _ := sequential.Estimates{{Value: 3 + x*0.1, Error: 0.1}}.Above(3, 0.05, 0)
		return log
	})
	two := normal(func(x float64) float64 {
		return math.Log(normal(func(y float64) float64 {
			log, _ := sequential.Estimates{{Value: x, Error: 1}, {Value: 0.5 * y, Error: 0.5}}.Above(0, 0.7, 0)
			return log
		}))
	})
	for name, mean := range map[string]float64{"one": one, "two": two} {
		if math.Abs(mean-1) > 1e-3 {
			t.Errorf("%s: the mean is %v, want 1", name, mean)
		}
	}
}

// TestDirections: what is better never alarms, what is worse is never safe.
func TestDirections(t *testing.T) {
	better := sequential.Rates{{Share: 0.5, Candidate: 10, Champion: 100}}
	worse := sequential.Rates{{Share: 0.5, Candidate: 100, Champion: 10}}
	if better.Worse() > 0 || better.Safe(1.5) < 20 {
		t.Errorf("a tenth of the errors: worse %v, safe %v", better.Worse(), better.Safe(1.5))
	}
	if worse.Worse() < 20 || worse.Safe(1.5) > 0 {
		t.Errorf("ten times the errors: worse %v, safe %v", worse.Worse(), worse.Safe(1.5))
	}
	if a, b := (sequential.Share{Events: 30, Requests: 1000}).Above(0.01), (sequential.Share{Requests: 1000}).Below(0.01); a < 5 || b < 5 {
		t.Errorf("3 %% above 1 %%: %v; none in 1000 below 1 %%: %v", a, b)
	}
}

// TestABreakAfterAGoodDayIsFound: the bet is begun anew, so that a good past costs little.
func TestABreakAfterAGoodDayIsFound(t *testing.T) {
	var rates sequential.Rates
	for range 24 {
		rates = append(rates, sequential.Stretch{Share: 0.05, Candidate: 50, Champion: 950})
	}
	if log := rates.Worse(); log > 0 {
		t.Fatalf("a good day speaks against the candidate: %v", log)
	}
	broken := append(rates, sequential.Stretch{Share: 0.05, Candidate: 20, Champion: 40})
	if log := broken.Worse(); log < math.Log(100) {
		t.Errorf("ten times the errors after a good day: e-value %v", math.Exp(log))
	}
}

// TestForetellingIsWhatWouldBe: with the last stretch in place of another one, Worse is the same.
func TestForetellingIsWhatWouldBe(t *testing.T) {
	rates := sequential.Rates{{Share: 0.05, Candidate: 3, Champion: 40}, {Share: 1, Candidate: 9}, {Share: 0.25, Candidate: 20, Champion: 50}, {Share: 0.5}}
	foretold := rates.WorseIf()
	for _, last := range []sequential.Stretch{{Share: 0.5}, {Share: 0.5, Candidate: 40, Champion: 5}, {Share: 0, Champion: 3}} {
		now := append(append(sequential.Rates{}, rates[:3]...), last)
		if got, want := foretold(last), now.Worse(); math.Abs(got-want) > 1e-9 {
			t.Errorf("foretold %v, and it is %v", got, want)
		}
	}
}

func TestNothingSaysNothing(t *testing.T) {
	empty := sequential.Rates{}
	none := sequential.Rates{{Share: 0.05}}
	alone := sequential.Rates{{Share: 1, Candidate: 50}, {Share: 0, Champion: 9}, {Share: math.NaN(), Champion: 9}}
	for name, r := range map[string]sequential.Rates{"empty": empty, "none": none, "alone": alone} {
		for what, log := range map[string]float64{"worse": r.Worse(), "safe": r.Safe(1.5), "dealt": r.Dealt()} {
			if math.Abs(log) > 1e-12 {
				t.Errorf("%s, %s: %v", name, what, log)
			}
		}
		if ratio, interval := r.Ratio(0.05); ratio == ratio || interval.Low != 1e-4 || interval.High != 1e4 {
			t.Errorf("%s: ratio %v, %v", name, ratio, interval)
		}
	}
	var few sequential.Means
	for i := range 99 {
		few.Candidate.Add(float64(i))
		few.Champion.Add(float64(-i))
	}
	if few.Above(0) != 0 || few.Below(1) != 0 {
		t.Error("99 values an arm say something")
	}
	var same sequential.Means
	for range 200 {
		same.Candidate.Add(1)
		same.Champion.Add(2)
	}
	if _, interval := same.Interval(0.05); same.Above(0) != 0 || interval.Low == interval.Low {
		t.Error("values that do not differ say something")
	}
	if (sequential.Pairs{}).Above() != 0 || (sequential.Pairs{}).Below(0.1) != 0 || sequential.Average(nil) != 0 {
		t.Error("no pairs say something")
	}
	if log, _ := (sequential.Estimates{{math.NaN(), 1}, {1, 0}, {1, math.Inf(1)}}).Above(0, 1, 0); math.Abs(log) > 2 {
		t.Errorf("estimates that are none: %v", log)
	}
}

func TestMomentsMerge(t *testing.T) {
	var all, left, right sequential.Moments
	for i := range 1000 {
		v := math.Sin(float64(i)) * 1e6
		all.Add(v)
		if i < 300 {
			left.Add(v)
		} else {
			right.Add(v)
		}
	}
	all.Add(math.NaN())
	all.Add(math.Inf(1))
	left.Merge(right)
	left.Merge(sequential.Moments{})
	if left.N != all.N || math.Abs(left.Mean-all.Mean) > 1e-6 || math.Abs(left.Squares/all.Squares-1) > 1e-12 {
		t.Errorf("%+v, merged %+v", all, left)
	}
}

func TestPairsAreCountedInAnyOrder(t *testing.T) {
	values := []float64{0, 1, -1, 0.25, 0.2505, -0.3333, 7, -7, math.NaN()}
	forth, back, halves := sequential.Pairs{}, sequential.Pairs{}, sequential.Pairs{}
	for i, v := range values {
		forth.Add(v)
		back.Add(values[len(values)-1-i])
		one := sequential.Pairs{}
		one.Add(v)
		halves.Merge(one)
	}
	if forth.Len() != 8 || forth.Above() != back.Above() || forth.Below(0.1) != halves.Below(0.1) {
		t.Errorf("%v, %v, %v", forth, back, halves)
	}
	// Between two thousandths, each bet takes the value that is worse for it.
	between := sequential.Pairs{}
	between.Add(0.2505)
	low, high := sequential.Pairs{500: 1}, sequential.Pairs{502: 1}
	if between.Above() != low.Above() || between.Below(0.3) != high.Below(0.3) {
		t.Errorf("%v above %v, below %v", between, between.Above(), between.Below(0.3))
	}
}

func TestNeeded(t *testing.T) {
	for want, least := range map[int64]float64{0: 0, -1: 1e10, 1000: 1000} {
		got := sequential.Needed(func(n float64) bool { return n >= least })
		if want > 0 && (got < want || float64(got) > 1.06*float64(want)) || want <= 0 && got != want {
			t.Errorf("at %v: %d", least, got)
		}
	}
}
