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
func AdjustBH(p []float64) []float64 { return stepUp(p, 1) }

// AdjustBY returns the Benjamini–Yekutieli adjusted p-values, in the order of p: those
// of [AdjustBH] times 1 + ½ + … + 1/m. They control the share of false alarms for tests
// that depend on each other in any way, and for 400 columns cost a factor of 6.6.
//
// Special cases: those of [AdjustBH]
//
// Source: Benjamini and Yekutieli, "The control of the false discovery rate in
// multiple testing under dependency", Annals of Statistics 29 (2001).
func AdjustBY(p []float64) []float64 {
	harmonic, tests := 0.0, 0
	for _, value := range p {
		if value == value {
			tests++
			harmonic += 1 / float64(tests)
		}
	}
	return stepUp(p, harmonic)
}

// stepUp is AdjustBH with every p-value times factor.
func stepUp(p []float64, factor float64) []float64 {
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
		least = min(least, clampProbability(p[i])*factor*float64(len(order))/float64(rank))
		adjusted[i] = least
	}
	return adjusted
}

// EValue turns a p-value into an e-value, a number whose expectation is at most 1
// without drift:
//
//	e(p) = (1 − p + p·ln p) / (p·(ln p)²) = ∫₀¹ κ·p^(κ−1) dκ
//
// E-values may be multiplied over independent looks and averaged over dependent
// ones, and stay e-values; an e-value of 1/alpha is evidence at level alpha, at
// whatever look it is reached. The price: e ≥ 20 asks for p ≤ 0.0011.
//
// Special cases:
//
//	EValue(NaN) = NaN
//	EValue(0) = +Inf
//	EValue(1) = ½
//
// Source: Vovk and Wang, "E-values: calibration, combination and applications",
// Annals of Statistics 49 (2021).
func EValue(p float64) float64 {
	p = min(p, 1)
	switch logarithm := math.Log(p); {
	case p != p:
		return p
	case p <= 0:
		return math.Inf(1)
	case logarithm > -1e-3: // the quotient of two small numbers, as a series
		return 0.5 - logarithm/6 + logarithm*logarithm/24
	default:
		return (1 - p + p*logarithm) / (p * logarithm * logarithm)
	}
}

// AdjustEBH returns the e-BH adjusted values, in the order of e, which are held
// against alpha like adjusted p-values:
//
//	q_(i) = min(1, min over j ≥ i of  m / (j·e_(j)))        e_(1) ≥ … ≥ e_(m)
//
// Calling drift where q ≤ alpha keeps the expected share of false alarms among all
// alarms at or below alpha, for e-values that depend on each other in any way.
//
// Special cases:
//
//	NaN is no test: it stays NaN and does not count in m
//	e below 0 is taken as 0
//
// Source: Wang and Ramdas, "False discovery rate control with e-values", JRSS B 84 (2022).
func AdjustEBH(e []float64) []float64 {
	reciprocal := make([]float64, len(e))
	for i, value := range e {
		reciprocal[i] = 1 / max(0, value) // NaN stays NaN
	}
	return stepUp(reciprocal, 1)
}
