package drift

// NumbersResult is all that the default rules say of two samples of numbers.
type NumbersResult struct {
	KS    KSResult
	Ranks RankResult
	Tails TailResult
	P     float64 // of the three together
}

// Weights of the tests in the combinations of CompareNumbers and CompareCategories.
// Equal ones: there is no telling in advance how a column will change.
var (
	numbersWeights    = []float64{1, 1, 1}
	categoriesWeights = []float64{1, 1}
)

// CompareNumbers tests two samples of numbers for any kind of drift. KS sees every
// difference of the distributions, if it is large enough for it; the rank test of
// location and scale sees small shifts and changes of spread sooner; the tail test
// sees what happens to the outermost values. P is their [CombineCauchy].
//
// Large samples are compared by cells, see [KS]; the rank test counts values of one
// cell, of which there are up to 65,536, as equal.
//
// Special cases:
//
//	a side without values: all statistics and P are NaN
func CompareNumbers(reference, current Sample) NumbersResult {
	return compareNumbers(reference, current, nil)
}

// DescribeNumbers is [CompareNumbers] and [NewHistogram] in fewer passes over the values than both
// of them: the counts by cells are those of most bins already.
func DescribeNumbers(reference, current Sample) (NumbersResult, Histogram) {
	var h Histogram
	result := compareNumbers(reference, current, &h)
	if h.Reference == nil {
		h = NewHistogram(reference, current)
	}
	return result, h
}

// compareNumbers also makes a histogram, if it counts by cells and there is one.
func compareNumbers(reference, current Sample, h *Histogram) NumbersResult {
	var ends *endValues
	var bins *binnedCells
	ks, counts := ksWithCounts(reference, current, TwoSided, func(counts orderedCounts, n, m int) (takers []cellTaker) {
		if hasTails(n, m) {
			ends = counts.ends((n + m) / tailDepth)
			takers = append(takers, ends)
		}
		if h != nil {
			bins = binCells(counts, binEdges(reference, current, counts.within))
			takers = append(takers, bins)
		}
		return takers
	})
	if bins != nil {
		*h = Histogram{Edges: bins.edges, Reference: bins.counts[ofReference], Current: bins.counts[ofCurrent], Infinite: counts.within.infinite}
	}
	result := NumbersResult{KS: ks, Ranks: counts.ranks()}
	result.Tails = tails(reference, current, int(ks.N), int(ks.M), ends)
	result.P = CombineCauchy([]float64{ks.P, result.Ranks.P, result.Tails.P}, numbersWeights)
	return result
}
