package engine

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
)

// outcome is what a test that a caller chose says of a column. A test of significance
// has a p-value; a distance may have one too, and then an interval.
type outcome struct {
	statistic, p float64
	distance     bool
	effect       float64
	interval     drift.Interval
	detectable   float64
	location     float64
}

// chosenTest is a test by name. threshold is that of a distance, from which on it is
// drift, unless the caller sets one.
type chosenTest struct {
	threshold float64
	numbers   func(reference, current drift.Sample, alpha float64) outcome
	counts    func(reference, current []int64, alpha float64) outcome
}

const usualDistance = 0.1

// chosenTests are the tests that a caller can choose by name. Those of counts apply to
// categories; those of binned numbers take Sturges' bins over both sides.
var chosenTests = map[string]chosenTest{
	"ks":               {numbers: significance(func(x, y drift.Sample) (float64, float64) { r := drift.KS(x, y, drift.TwoSided); return r.D, r.P })},
	"cramer_von_mises": {numbers: significance(func(x, y drift.Sample) (float64, float64) { return statisticOf(drift.CramerVonMises(x, y)) })},
	"anderson_darling": {numbers: significance(func(x, y drift.Sample) (float64, float64) {
		r := drift.AndersonDarling(x, y)
		return r.Statistic, r.P
	})},
	"mann_whitney": {numbers: significance(func(x, y drift.Sample) (float64, float64) {
		r := drift.MannWhitney(x, y)
		return r.Statistic, r.P
	})},
	"welch":          {numbers: significance(func(x, y drift.Sample) (float64, float64) { r := drift.Welch(x, y); return r.Statistic, r.P })},
	"epps_singleton": {numbers: significance(func(x, y drift.Sample) (float64, float64) { r := drift.EppsSingleton(x, y); return r.Statistic, r.P })},
	"wasserstein":    {threshold: usualDistance, numbers: transport(drift.WassersteinInterval, itself)},
	"energy":         {threshold: usualDistance, numbers: transport(drift.EnergyInterval, math.Sqrt)},

	"chi2":     {counts: func(x, y []int64, alpha float64) outcome { return ofTable(drift.ChiSquare(x, y), alpha) }},
	"g":        {counts: func(x, y []int64, alpha float64) outcome { return ofTable(drift.GTest(x, y), alpha) }},
	"chi2_gof": {counts: goodnessOfFit},

	"psi":             divergence(1, false, func(p, q []float64) float64 { return drift.PSI(drift.FilledZeros(p), drift.FilledZeros(q)) }),
	"kl":              divergence(2, false, filledKL),
	"jensenshannon":   divergence(8, true, func(p, q []float64) float64 { return drift.JensenShannon(p, q, math.E) }),
	"hellinger":       divergence(8, true, drift.Hellinger),
	"total_variation": shares(drift.TotalVariation, drift.TotalVariationInterval),
	"l_infinity":      shares(drift.LInfinity, drift.LInfinityInterval),
}

// testNames lists the tests for columns of the kinds.
func testNames(kinds ...string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(chosenTests)) {
		test := chosenTests[name]
		if test.numbers != nil && slices.Contains(kinds, numeric) || test.counts != nil && slices.Contains(kinds, categorical) {
			names = append(names, name)
		}
	}
	return names
}

func statisticOf(r drift.TestResult) (statistic, p float64) { return r.Statistic, r.P }

// significance makes a test of numbers whose effect is D, whatever its statistic is.
func significance(of func(reference, current drift.Sample) (statistic, p float64)) func(x, y drift.Sample, alpha float64) outcome {
	return func(x, y drift.Sample, alpha float64) outcome {
		ks := drift.KS(x, y, drift.TwoSided)
		o := outcome{effect: ks.D, interval: ks.Interval(alpha), detectable: ks.Detectable(alpha), location: ks.Location}
		o.statistic, o.p = of(x, y)
		return o
	}
}

// transport makes a test of a distance in units of the values, in standard deviations
// of the reference. Its evidence is that of all tests of numbers together, and what
// is detectable is the shift of the mean that would be. The interval takes the deviation
// for known.
//
// The energy distance grows with the root of the values' unit, and so is divided by the root
// of the deviation: either way it is the distance of the columns after each value was divided
// by the deviation, in whatever unit they came.
func transport(of func(reference, current drift.Sample, alpha float64) drift.TransportResult, dimension func(unit float64) float64) func(x, y drift.Sample, alpha float64) outcome {
	return func(x, y drift.Sample, alpha float64) outcome {
		all, found := drift.CompareNumbers(x, y), of(x, y, alpha)
		unit := dimension(math.Sqrt(drift.MomentsOf(x).Variance(0)))
		return outcome{
			statistic: found.Distance / unit, p: all.P, distance: true, effect: found.Distance / unit, location: all.KS.Location,
			interval:   drift.Interval{Low: found.Interval.Low / unit, High: found.Interval.High / unit},
			detectable: drift.DetectableShift(all.KS.N, all.KS.M, alpha),
		}
	}
}

func itself(unit float64) float64 { return unit }

func ofTable(r drift.ChiSquareResult, alpha float64) outcome {
	return outcome{statistic: r.Statistic, p: r.P, effect: r.V, interval: r.Interval(alpha), detectable: r.Detectable(alpha), location: math.NaN()}
}

func goodnessOfFit(x, y []int64, alpha float64) outcome {
	o := ofTable(drift.ChiSquare(x, y), alpha)
	o.statistic, o.p = drift.GoodnessOfFit(x, y)
	return o
}

func filledKL(p, q []float64) float64 {
	return drift.KullbackLeibler(drift.Normalized(drift.FilledZeros(p)), drift.Normalized(drift.FilledZeros(q)))
}

// divergence makes a test of a distance over cells of which factor times the distance, or
// its square, over 1/n + 1/m has about χ²'s distribution without drift: that gives bias,
// interval and p-value.
func divergence(factor float64, root bool, of func(p, q []float64) float64) chosenTest {
	return binned(func(x, y []int64, alpha float64) outcome {
		distance := of(drift.Shares(x), drift.Shares(y))
		d := drift.NewDivergence(distance, root, factor, x, y)
		return outcome{
			statistic: distance, p: d.P, distance: true, effect: d.Corrected,
			interval: d.Interval(alpha), detectable: d.Detectable(alpha), location: math.NaN(),
		}
	})
}

// shares makes a test of a distance over cells whose evidence is that of chi-square.
func shares(of func(p, q []float64) float64, interval func(x, y []int64, alpha float64) drift.Interval) chosenTest {
	return binned(func(x, y []int64, alpha float64) outcome {
		distance := of(drift.Shares(x), drift.Shares(y))
		o := ofTable(drift.ChiSquare(x, y), alpha)
		o.statistic, o.effect, o.distance, o.interval = distance, distance, true, interval(x, y, alpha)
		o.detectable = drift.DetectableD(total64(x), total64(y), alpha)
		return o
	})
}

// binned makes a test of counts one of numbers too, by Sturges' bins.
func binned(counts func(x, y []int64, alpha float64) outcome) chosenTest {
	return chosenTest{
		threshold: usualDistance, counts: counts,
		numbers: func(x, y drift.Sample, alpha float64) outcome {
			a, b := drift.SturgesCounts(x, y)
			return counts(a, b, alpha)
		},
	}
}

func total64(counts []int64) (sum int64) {
	for _, count := range counts {
		sum += count
	}
	return sum
}

// testChosen runs a test that the caller chose. One of significance is corrected and
// weighed like the default ones, unless it has a threshold of its own for its p-value.
func (c *comparison) testChosen(chosen *driftline.ColumnTest, alpha float64) error {
	test := chosenTests[chosen.Test]
	var o outcome
	switch c.Kind {
	case numeric:
		reference, current := c.countNumbers()
		if c.ReferenceRows == 0 || c.CurrentRows == 0 {
			return nil
		}
		if test.numbers == nil {
			return c.wrongKind(chosen.Test)
		}
		o = test.numbers(reference, current, alpha)
	default:
		reference, current, ok := c.countCategories()
		if !ok || c.ReferenceRows == 0 || c.CurrentRows == 0 {
			return nil
		}
		if test.counts == nil {
			return c.wrongKind(chosen.Test)
		}
		names := drift.CategoryNames(reference, current)
		o = test.counts(countsOf(names, reference), countsOf(names, current), alpha)
	}
	if math.IsNaN(o.statistic) {
		c.note("test %s gives no number for this column", chosen.Test)
		return nil
	}
	c.Test, c.Statistic, c.Effect = chosen.Test, driftline.Number(o.statistic), driftline.Number(o.effect)
	c.PValue, c.CombinedPValue = driftline.Number(o.p), driftline.Number(o.p)
	c.Location = driftline.Number(o.location)
	c.effectRange(o.interval, o.detectable)
	switch {
	case o.distance:
		c.margin = &test.threshold
		if chosen.Threshold != nil {
			c.margin = chosen.Threshold
		}
	case chosen.Threshold != nil:
		c.level = chosen.Threshold
	}
	return nil
}

func (c *comparison) wrongKind(test string) error {
	return driftline.Errorf(driftline.Invalid, "test %q is none for column %q, which is %s", test, c.Column, c.Kind).
		WithHint("choose one of: %s", strings.Join(testNames(c.Kind), ", "))
}
