package drift

import (
	"math"
	"slices"
)

// PresetResult is what another product's default rules say of a column.
type PresetResult struct {
	Test      string  // in our words: "ks", "chi2_gof", "z", "wasserstein", "jensenshannon"
	Statistic float64 // D, χ², z or a distance
	P         float64 // NaN if the rule is about a distance
	Threshold float64 // of P, or of the distance
	Drift     bool

	// Distances of chunks of the reference may also be unusually small: NaN if the rule
	// has no lower limit.
	Lower float64
}

const (
	evidentlySmall     = 1000 // values of the reference up to which Evidently takes p-values
	evidentlyFew       = 5    // distinct numbers up to which it counts them
	evidentlyP         = 0.05
	evidentlyDistance  = 0.1
	evidentlyLeastNorm = 0.001
)

// EvidentlyNumbers applies Evidently's defaults (0.7) to a numeric column:
//
//	distinct values   reference ≤ 1000 values          more
//	> 5               KS, p ≤ 0.05                     W₁/σ ≥ 0.1, σ that of the reference, at least 0.001
//	3 … 5             goodness of fit, p < 0.05        Jensen–Shannon, base e, ≥ 0.1
//	1, 2              two proportions, p < 0.05        Jensen–Shannon, base e, ≥ 0.1
//
// NaN and infinities are left out, as there. These rules are here to move away from:
// see [ChiSquare] for what is wrong with the goodness of fit, and docs/statistics.md
// for how often they raise false alarms.
//
// Special cases:
//
//	a side without finite values: Test is empty, all numbers are NaN
func EvidentlyNumbers(reference, current Sample) PresetResult {
	reference, current = reference.finite(), current.finite()
	n, m := reference.Len(), current.Len()
	if n == 0 || m == 0 {
		return undefinedPreset()
	}
	if values, x, y := fewCounts(reference, current, evidentlyFew); values != nil {
		return EvidentlyCategories(x, y)
	}
	if n <= evidentlySmall {
		ks := KS(reference, current, TwoSided)
		return PresetResult{Test: "ks", Statistic: ks.D, P: ks.P, Threshold: evidentlyP, Drift: ks.P <= evidentlyP, Lower: math.NaN()}
	}
	norm := max(math.Sqrt(MomentsOf(reference).Variance(0)), evidentlyLeastNorm)
	return distanceRule("wasserstein", Wasserstein(reference, current)/norm, evidentlyDistance)
}

// EvidentlyCategories applies Evidently's defaults to a categorical column, given its
// counts over the categories of both sides, in the order of their names:
//
//	categories   reference ≤ 1000 values       more
//	> 2          goodness of fit, p < 0.05     Jensen–Shannon, base e, ≥ 0.1
//	1, 2         two proportions, p < 0.05     Jensen–Shannon, base e, ≥ 0.1
//
// Special cases: those of [EvidentlyNumbers]
func EvidentlyCategories(reference, current []int64) PresetResult {
	t := newTable(reference, current)
	if t.n == 0 || t.m == 0 {
		return undefinedPreset()
	}
	result := PresetResult{Threshold: evidentlyP, Lower: math.NaN()}
	switch {
	case t.n > evidentlySmall:
		return distanceRule("jensenshannon", JensenShannon(Shares(reference), Shares(current), math.E), evidentlyDistance)
	case len(t.cells) > 2:
		result.Test = "chi2_gof"
		result.Statistic, result.P = GoodnessOfFit(reference, current)
	default:
		result.Test = "z"
		z := TwoProportions(t.n-t.cells[0].reference, t.n, t.m-t.cells[0].current, t.m)
		result.Statistic, result.P = z.Z, z.P
	}
	result.Drift = result.P < evidentlyP
	return result
}

func distanceRule(test string, distance, threshold float64) PresetResult {
	return PresetResult{Test: test, Statistic: distance, P: math.NaN(), Threshold: threshold, Drift: distance >= threshold, Lower: math.NaN()}
}

func undefinedPreset() PresetResult {
	nan := math.NaN()
	return PresetResult{Statistic: nan, P: nan, Threshold: nan, Lower: nan}
}

// GoodnessOfFit is Pearson's χ² of the current counts against what they would be if
// the reference were the truth, and its p-value with K − 1 degrees of freedom:
//
//	χ² = Σ_i (c_i − e_i)² / e_i,   e_i = r_i·m/n
//
// It is wrong for two samples, as it ignores the chance in the reference: without
// drift it alarms in up to 98 % of the cases at a nominal 5 %. It is here because
// Evidently and whylogs use it. For two samples use [ChiSquare].
//
// Special cases:
//
//	a category that only current has: +Inf and 0
//	a side without counts:            NaN and NaN
func GoodnessOfFit(reference, current []int64) (statistic, p float64) {
	t := newTable(reference, current)
	if t.n == 0 || t.m == 0 {
		return math.NaN(), math.NaN()
	}
	for _, c := range t.cells {
		expected := float64(c.reference) * (float64(t.m) / float64(t.n))
		difference := float64(c.current) - expected
		statistic += difference * difference / expected
	}
	if len(t.cells) == 1 {
		return statistic, 1
	}
	return statistic, ChiSquareSF(statistic, len(t.cells)-1)
}

// NannyMLChunks is into how many chunks NannyML cuts the reference; what is left
// over is a chunk of its own.
const NannyMLChunks = 10

// NannyML applies NannyML's defaults (0.13) to counts over cells: the Jensen–Shannon
// distance in base 2 between reference and current, held against
//
//	mean ± 3·deviation of the distances between the reference and its own chunks
//
// where the lower limit is at least 0, and a distance below it is drift too. The last
// cell of all counts holds what is not of the reference's cells; the cells are the
// reference's categories, or bins by [DoaneEdges] of the reference.
//
// The chunks are of consecutive rows, and smaller than current in general: the limit
// is about chunks, and says little of other sizes.
//
// Special cases:
//
//	a side without counts: Test is empty, all numbers are NaN
//	chunks without counts are left out
func NannyML(reference []int64, chunks [][]int64, current []int64) PresetResult {
	expected := Shares(reference)
	distance := func(counts []int64) float64 { return JensenShannon(expected, Shares(counts), 2) }
	result := PresetResult{Test: "jensenshannon", Statistic: distance(current), P: math.NaN()}
	var usual []float64
	for _, chunk := range chunks {
		if d := distance(chunk); d == d {
			usual = append(usual, d)
		}
	}
	if math.IsNaN(result.Statistic) || len(usual) == 0 {
		return undefinedPreset()
	}
	mean, deviation := meanAndDeviation(usual)
	result.Threshold, result.Lower = mean+3*deviation, max(0, mean-3*deviation)
	result.Drift = result.Statistic > result.Threshold || result.Statistic < result.Lower
	return result
}

func meanAndDeviation(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	for _, v := range values {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(values)))
}

// finite returns the sample without NaN and infinities, itself if there are none.
func (s Sample) finite() Sample {
	finite := make(Sample, len(s))
	for i, piece := range s {
		finite[i] = piece
		if slices.ContainsFunc(piece, isNotFinite) {
			finite[i] = slices.DeleteFunc(slices.Clone(piece), isNotFinite)
		}
	}
	return finite
}

func isNotFinite(v float64) bool { return v-v != 0 }

// fewCounts returns the distinct values of both samples and their counts, in ascending
// order; nil if there are more than limit. It wants no NaN.
func fewCounts(reference, current Sample, limit int) (values []float64, x, y []int64) {
	for _, s := range []Sample{reference, current} {
		for _, piece := range s {
			for _, v := range piece {
				if slices.Contains(values, v) {
					continue
				}
				if len(values) == limit {
					return nil, nil, nil
				}
				values = append(values, v)
			}
		}
	}
	x, y = CountValues(reference, current)
	return values, x, y
}
