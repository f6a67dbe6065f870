package drift

import (
	"math"
	"math/bits"
)

const (
	// mannExactMax is the length of the shorter sample up to which probabilities
	// are exact if there are no ties, as in SciPy.
	mannExactMax = 8

	// mannExactProduct bounds n·m for exact probabilities, and so their number
	// below 2¹²⁸.
	mannExactProduct = 1 << 20
)

// MannWhitneyResult is the outcome of [MannWhitney].
type MannWhitneyResult struct {
	TestResult          // Statistic is U of the reference
	Superiority float64 // U/(nm): the probability that a reference value exceeds a current one, ties half
}

// MannWhitney is the two-sided Mann–Whitney U (Wilcoxon rank-sum) test. U counts the
// pairs in which the reference value is the greater one, ties half:
//
//	U = R − n(n+1)/2        R the sum of the reference's midranks
//
// It sees only whether one sample tends to be greater: not spread, not shape. As SciPy
// (mannwhitneyu, method="auto"), P is exact if the shorter sample has at most 8 values
// and there are no ties, and else normal with tie and continuity correction:
//
//	z = (max(U, nm−U) − nm/2 − ½) / √(nm/12·((N+1) − Σ(t³−t)/(N(N−1))))
//
// Of more than 2²⁰ pairs P is always the normal one.
//
// Special cases:
//
//	a side without values: Statistic, P and Superiority are NaN
//	a single distinct value: P = 1
//
// Source: Mann and Whitney 1947; Di Bucchianico, "Combinatorics, computer algebra and
// the Wilcoxon–Mann–Whitney test", 1999, for the exact distribution.
func MannWhitney(reference, current Sample) MannWhitneyResult {
	x, y := reference.sorted(), current.sorted()
	result := MannWhitneyResult{newTestResult(reference, current, len(x), len(y)), math.NaN()}
	if len(x) == 0 || len(y) == 0 {
		return result
	}
	n, m := float64(len(x)), float64(len(y))
	var u, ties compensated
	j := 0
	overPooled(x, y, func(_ float64, inX, inY int) {
		u.add(float64(inX) * (float64(j) + float64(inY)/2))
		t := float64(inX + inY)
		ties.add(t * (t - 1) * (t + 1))
		j += inY
	})
	result.Statistic = u.value()
	result.Superiority = result.Statistic / (n * m)
	larger := max(result.Statistic, n*m-result.Statistic)
	if min(len(x), len(y)) <= mannExactMax && len(x)*len(y) <= mannExactProduct && ties.value() == 0 {
		result.P = clampProbability(2 * mannWhitneySF(int(larger), len(x), len(y)))
		result.ExactP = true
		return result
	}
	total := n + m
	variance := n * m / 12 * (total + 1 - ties.value()/(total*(total-1)))
	z := (larger - n*m/2 - 0.5) / math.Sqrt(variance)
	if !(variance > 0) {
		z = math.Inf(-1)
	}
	result.P = clampProbability(math.Erfc(z / math.Sqrt2))
	return result
}

// mannWhitneySF returns P(U ≥ u). The number of orders of the pooled values with a
// given U is a coefficient of the Gaussian binomial
//
//	Π (1 − q^(m+i))/(1 − qⁱ)    i = 1 … n,  n ≤ m
//
// which is symmetric, so that the coefficients up to n·m − u are enough. They are
// computed modulo 2¹²⁸, which they stay below.
func mannWhitneySF(u, n, m int) float64 {
	n, m = min(n, m), max(n, m)
	last := n*m - u
	coefficients := make([]uint128, last+1)
	coefficients[0].low = 1
	for i := 1; i <= n; i++ {
		for k := last; k >= m+i; k-- {
			coefficients[k] = coefficients[k].minus(coefficients[k-m-i])
		}
		for k := i; k <= last; k++ {
			coefficients[k] = coefficients[k].plus(coefficients[k-i])
		}
	}
	var sum uint128
	for _, c := range coefficients {
		sum = sum.plus(c)
	}
	return sum.float() / choose(n+m, n)
}

// uint128 is a whole number modulo 2¹²⁸.
type uint128 struct{ high, low uint64 }

func (a uint128) plus(b uint128) uint128 {
	low, carry := bits.Add64(a.low, b.low, 0)
	high, _ := bits.Add64(a.high, b.high, carry)
	return uint128{high, low}
}

func (a uint128) minus(b uint128) uint128 {
	low, borrow := bits.Sub64(a.low, b.low, 0)
	high, _ := bits.Sub64(a.high, b.high, borrow)
	return uint128{high, low}
}

func (a uint128) float() float64 { return float64(a.high)*0x1p64 + float64(a.low) }
