package drift

import (
	"cmp"
	"math"
	"slices"
)

// tellingCount is the count from which on a category can change noticeably. It is of
// both sides together, so that a test that leaves out the others stays exact.
const tellingCount = 10

// CategoriesResult is all that the default rules say of two samples of categories.
type CategoriesResult struct {
	ChiSquare ChiSquareResult
	Category  CategoryResult
	P         float64 // of both together
}

// CategoryResult is the outcome of the test for the one category that changed most.
type CategoryResult struct {
	P      float64 // corrected for the number of categories; NaN if there are less than three
	Index  int     // of the category, -1 if none was tested
	Effect float64 // its φ: Cramér's V of this category against all others
}

// CompareCategories tests two rows of counts over the same categories for drift.
// [ChiSquare] sees changes of many categories. The category test sees the change of
// one among many, such as a new one, which chi-square drowns in its degrees of
// freedom. P is their [CombineCauchy].
//
// The category test is the exact one of each category against all others, see
// [SharesP], for those K that both sides together have at least ten times, and
// 1 − (1 − min p)^K (Šidák). Of two categories there is only one question, and P is
// its exact answer: chi-square alarms a little too often where they have few values.
//
// Special cases: those of [ChiSquare]
func CompareCategories(reference, current []int64) CategoriesResult {
	result := CategoriesResult{ChiSquare: ChiSquare(reference, current)}
	if t := newTable(reference, current); len(t.cells) == 2 && t.n > 0 && t.m > 0 {
		result.Category = CategoryResult{P: math.NaN(), Index: -1, Effect: math.NaN()}
		result.P = SharesP(t.cells[0].reference, t.n, t.cells[0].current, t.m)
		return result
	}
	result.Category = changedMost(reference, current)
	result.P = CombineCauchy([]float64{result.ChiSquare.P, result.Category.P}, categoriesWeights)
	return result
}

func changedMost(reference, current []int64) CategoryResult {
	result := CategoryResult{P: math.NaN(), Index: -1, Effect: math.NaN()}
	t := newTable(reference, current)
	if t.n == 0 || t.m == 0 {
		return result
	}
	type candidate struct {
		index  int
		effect float64
	}
	var tested []candidate
	for i := range max(len(reference), len(current)) {
		a, b := countAt(reference, i), countAt(current, i)
		if a+b >= tellingCount && a+b < t.n+t.m {
			tested = append(tested, candidate{i, phi(a, t.n, b, t.m)})
		}
	}
	if len(t.cells) < 3 || len(tested) == 0 {
		return result
	}
	slices.SortStableFunc(tested, func(a, b candidate) int { return cmp.Compare(b.effect, a.effect) })
	// φ orders the categories nearly as their p-values do.
	const exactly = 8
	least := math.Inf(1)
	for _, c := range tested[:min(exactly, len(tested))] {
		if p := SharesP(countAt(reference, c.index), t.n, countAt(current, c.index), t.m); p < least {
			least, result.Index, result.Effect = p, c.index, c.effect
		}
	}
	result.P = -math.Expm1(float64(len(tested)) * math.Log1p(-min(least, 1)))
	return result
}

func countAt(counts []int64, i int) int64 {
	if i >= len(counts) {
		return 0
	}
	return max(0, counts[i])
}
