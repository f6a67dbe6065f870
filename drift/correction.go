package drift

import (
	"cmp"
	"math"
	"slices"
)

// AdjustBH returns the Benjamini–Hochberg adjusted p-values, in the order of p:
//
//	q_(i) = min over j ≥ i of  p_(j)·m/j        p_(1) ≤ … ≤ p_(m)
//
// Calling drift where q ≤ alpha keeps the expected share of false alarms among
// all alarms at or below alpha, for tests that are independent or positively
// dependent.
//
// Special cases:
//
//	NaN is no test: it stays NaN and does not count in m
//	p below 0 or above 1 is taken as 0 or 1
//
// Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B
// 57 (1995).
func AdjustBH(p []float64) []float64 {
	adjusted := make([]float64, len(p))
	order := make([]int, 0, len(p))
	for i, value := range p {
		adjusted[i] = math.NaN()
		if value == value {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	least := 1.0
	for rank := len(order); rank >= 1; rank-- {
		i := order[rank-1]
		least = min(least, clampProbability(p[i])*float64(len(order))/float64(rank))
		adjusted[i] = least
	}
	return adjusted
}
