package drift

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// WelchResult is the outcome of [Welch].
type WelchResult struct {
	TestResult         // Statistic is t, positive if the reference's mean is the greater one
	DF         float64 // degrees of freedom
}

// Welch is the two-sided t test of equal means that does not assume equal
// variances. With s² the unbiased variances,
//
//	t = (x̄ − ȳ)/√(s²ₓ/n + s²ᵧ/m)
//	ν = (s²ₓ/n + s²ᵧ/m)² / ((s²ₓ/n)²/(n−1) + (s²ᵧ/m)²/(m−1))
//
// and P is twice the tail of Student's t with ν degrees of freedom. It sees means only,
// and with heavy tails it sees little.
//
// Special cases:
//
//	fewer than 2 values on a side, or an infinite one: Statistic and P are NaN
//	no variance on either side: t is ±Inf and P = 0 if the means differ, else NaN
//
// Source: Welch, "The generalization of Student's problem when several different
// population variances are involved", Biometrika 34 (1947).
func Welch(reference, current Sample) WelchResult {
	unit := squarable(reference, current)
	level := momentsOf(reference, unit, 0).Mean // what both have in common would cost digits
	x, y := momentsOf(reference, unit, level), momentsOf(current, unit, level)
	result := WelchResult{TestResult: TestResult{N: x.N, M: y.N, MissingN: x.Missing, MissingM: y.Missing}}
	u, v := x.Variance(1)/float64(x.N), y.Variance(1)/float64(y.N)
	result.Statistic = (x.Mean - y.Mean) / math.Sqrt(u+v)
	share := u / (u + v)
	result.DF = 1 / (share*share/float64(x.N-1) + (1-share)*(1-share)/float64(y.N-1))
	switch {
	case u+v == 0 && x.Mean != y.Mean:
		result.P = 0
	default:
		result.P = studentTwoSided(result.Statistic, result.DF)
	}
	return result
}

// squarable returns a power of two that brings the greatest finite value near 1 if
// the squares of such values might not be normal numbers, and else 1.
func squarable(samples ...Sample) float64 {
	all := rangeOf(nil)
	for _, s := range samples {
		all = all.join(rangeOf(s))
	}
	_, exponent := math.Frexp(max(-all.least, all.greatest))
	if exponent > -400 && exponent < 400 {
		return 1
	}
	return math.Ldexp(1, min(1023, -exponent))
}

// studentTwoSided returns P(|t| ≥ |x|) for Student's t: the regularized incomplete
// beta function of ν/(ν+x²) at (ν/2, ½).
func studentTwoSided(x, df float64) float64 {
	if math.IsNaN(x) || math.IsNaN(df) {
		return math.NaN()
	}
	return mathext.RegIncBeta(df/2, 0.5, df/(df+x*x))
}

// ProportionsResult is the outcome of [TwoProportions].
type ProportionsResult struct {
	Z float64 // positive if the reference's share is the greater one
	P float64 // two-sided
}

// TwoProportions is the pooled two-proportion z test of a of n against b of m:
//
//	z = (a/n − b/m) / √(p(1−p)(1/n + 1/m)),   p = (a+b)/(n+m)
//
// P = erfc(|z|/√2), which reaches far below the 1e-16 at which 1 − Φ(z) becomes 0. z² is
// the χ² of the 2×2 table. Below about five expected counts a cell use [FisherExact].
//
// Special cases:
//
//	n < 1 or m < 1: Z and P are NaN
//	p = 0 or p = 1: Z = 0, P = 1
func TwoProportions(a, n, b, m int64) ProportionsResult {
	if n < 1 || m < 1 {
		return ProportionsResult{math.NaN(), math.NaN()}
	}
	p := float64(a+b) / float64(n+m)
	if p == 0 || p == 1 {
		return ProportionsResult{0, 1}
	}
	z := (float64(a)/float64(n) - float64(b)/float64(m)) /
		math.Sqrt(p*(1-p)*(1/float64(n)+1/float64(m)))
	return ProportionsResult{z, math.Erfc(math.Abs(z) / math.Sqrt2)}
}
