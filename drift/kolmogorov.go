package drift

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// KolmogorovSF returns P(D_n ≥ x), where D_n is the greatest distance between
// the empirical distribution function of n values and the continuous
// distribution that they come from. n is a whole number, carried as a float64.
//
// The method depends on n and x as in Simard and L'Ecuyer, with SciPy's limits
// (scipy.stats.kstwo). With t = n·x and u = n·x²:
//
//	t ≤ ½                       1
//	t ≤ 1                       1 − n!·((2t−1)/n)ⁿ            Ruben and Gambino
//	t ≥ n−1                     2(1−x)ⁿ                       Ruben and Gambino
//	x ≥ ½, or n ≤ 140, u > 4    2·P(D⁺_n ≥ x)                 Smirnov, see SmirnovSF
//	n ≤ 140                     1 − n!/nⁿ·(Hⁿ)ₖₖ              Durbin's matrix
//	u ≥ 370                     0                             below every float64
//	u ≥ 2.2                     2·P(D⁺_n ≥ x)                 Smirnov
//	n ≤ 100,000, n·x^1.5 ≤ 1.4  1 − n!/nⁿ·(Hⁿ)ₖₖ              Durbin's matrix
//	otherwise                   1 − K₀ − K₁/√n − K₂/n − K₃/n^1.5  Pelz and Good
//
// SciPy computes part of the fifth line's range by Pomeranz's recursion. Both
// are exact, so only one is here. Doubling the one-sided probability is exact
// for x ≥ ½ and elsewhere too large by about e^(−6u) of itself: 2·10⁻⁶ at u = 2.2,
// 4·10⁻¹¹ at u = 4.
//
// Special cases:
//
//	KolmogorovSF(n, x) = NaN if x is NaN or n < 1
//	KolmogorovSF(n, x) = 1   if x ≤ 0
//	KolmogorovSF(n, x) = 0   if x ≥ 1
//
// Source: Simard and L'Ecuyer, "Computing the two-sided Kolmogorov–Smirnov
// distribution", Journal of Statistical Software 39 (2011).
func KolmogorovSF(n, x float64) float64 {
	switch {
	case math.IsNaN(x) || !(n >= 1):
		return math.NaN()
	case x <= 0:
		return 1
	case x >= 1:
		return 0
	}
	t, u := n*x, n*x*x
	switch {
	case t <= 0.5:
		return 1
	case t <= 1:
		return -math.Expm1(stirlingLog(n) + n*math.Log(2*t-1))
	case t >= n-1:
		return clampProbability(2 * math.Pow(1-x, n))
	case x >= 0.5, n <= 140 && u > 4:
		return clampProbability(2 * SmirnovSF(n, x))
	case n <= 140:
		return clampProbability(1 - durbinCDF(n, x))
	case u >= 370:
		return 0
	case u >= 2.2:
		return clampProbability(2 * SmirnovSF(n, x))
	case n <= 100_000 && n*math.Pow(x, 1.5) <= 1.4:
		return clampProbability(1 - durbinCDF(n, x))
	}
	return clampProbability(pelzGoodSF(n, x))
}

// SmirnovSF returns P(D⁺_n ≥ x), the one-sided companion of [KolmogorovSF], with
// the same special cases:
//
//	x Σ_j C(n, j) (x + j/n)^{j−1} (1 − x − j/n)^{n−j}     0 ≤ j ≤ n(1−x)
//
// Each term is nx/(nx+j) times a binomial probability, taken by Loader's
// saddle-point form, which keeps all digits for any n. Of many terms every s-th
// is summed and weighed s: the terms are a smooth function of j that dies away
// at both ends, for which that is as exact as the full sum.
//
// Above a million, SciPy and so this function take Maag and Dicaire's
// exp(−(6nx+1)²/(18n)).
//
// Sources: Smirnov 1944; Loader, "Fast and accurate computation of binomial
// probabilities", 2000; Maag and Dicaire, Biometrika 58 (1971).
func SmirnovSF(n, x float64) float64 {
	switch {
	case math.IsNaN(x) || !(n >= 1):
		return math.NaN()
	case x <= 0:
		return 1
	case x >= 1:
		return 0
	}
	if n > smirnovMax && n*x > 1 {
		return math.Exp(-(6*n*x + 1) * (6*n*x + 1) / 18 / n)
	}
	if n*x >= n-1 {
		return math.Pow(1-x, n)
	}
	stride := max(1, math.Floor(n/smirnovTerms))
	sum := math.Exp(n*math.Log1p(-x)) * (1 + stride) / 2
	logRoot := stirlingError(n) + math.Log(n/(2*math.Pi))/2
	last := math.Floor(n * (1 - x))
	for j := stride; j <= last && j < n; j += stride {
		sum += stride * smirnovTerm(n, x, j, logRoot)
	}
	return sum
}

const (
	smirnovMax   = 1e6  // above it the sum is replaced by its limit
	smirnovTerms = 8192 // about so many terms are summed
)

// smirnovTerm is the term of index 0 < j < n. logRoot is what all terms share.
func smirnovTerm(n, x, j, logRoot float64) float64 {
	rest, shift := n-j, n*x
	if rest <= shift {
		return 0
	}
	exponent := logRoot - stirlingError(j) - stirlingError(rest) +
		j*math.Log1p(shift/j) + rest*math.Log1p(-shift/rest)
	return shift / (shift + j) / math.Sqrt(j*rest) * math.Exp(exponent)
}

// stirlingLog returns log(n!/nⁿ).
func stirlingLog(n float64) float64 {
	return stirlingError(n) + math.Log(2*math.Pi*n)/2 - n
}

// stirlingError returns log n! − log(√(2πn)·(n/e)ⁿ), the error of Stirling's
// formula, for whole n ≥ 1.
func stirlingError(n float64) float64 {
	if n < 16 {
		logGamma, _ := math.Lgamma(n + 1)
		return logGamma - (math.Log(2*math.Pi*n)/2 + n*math.Log(n) - n)
	}
	s := 1 / (n * n)
	return (1./12 - s*(1./360-s*(1./1260-s*(1./1680-s/1188)))) / n
}

// durbinCDF returns P(D_n < x) as n!/nⁿ times an element of the n-th power of
// Durbin's matrix. It wants ½ < n·x, and n·x small, for the matrix has 2⌈nx⌉−1 rows.
//
// Source: Marsaglia, Tsang and Wang, "Evaluating Kolmogorov's distribution",
// Journal of Statistical Software 8 (2003).
func durbinCDF(n, x float64) float64 {
	k := int(math.Ceil(n * x))
	element, exponent := powerElement(durbinMatrix(k, float64(k)-n*x), int(n), k-1)
	for i := 1.0; i <= n; i++ {
		element *= i / n
		if element < 0x1p-500 {
			element *= 0x1p500
			exponent -= 500
		}
	}
	return math.Ldexp(element, exponent)
}

// durbinMatrix returns the matrix H for nx = k − h:
//
//	H(i, j) = 1/(i−j+1)!  for i−j+1 ≥ 0, else 0     (i, j from 0)
//
// less h^(i+1)/(i+1)! in the first column and h^(m−j)/(m−j)! in the last row;
// the corner that belongs to both also gains max(0, 2h−1)^m/m!.
func durbinMatrix(k int, h float64) *mat.Dense {
	m := 2*k - 1
	inverse := make([]float64, m+1) // 1/i!
	inverse[0] = 1
	for i := 1; i <= m; i++ {
		inverse[i] = inverse[i-1] / float64(i)
	}
	matrix := mat.NewDense(m, m, nil)
	for i := range m {
		for j := 0; j <= min(i+1, m-1); j++ {
			matrix.Set(i, j, inverse[i-j+1])
		}
	}
	for i := range m {
		lost := math.Pow(h, float64(i+1)) * inverse[i+1]
		matrix.Set(i, 0, matrix.At(i, 0)-lost)
		matrix.Set(m-1, m-1-i, matrix.At(m-1, m-1-i)-lost)
	}
	corner := matrix.At(m-1, 0) + math.Pow(max(0, 2*h-1), float64(m))*inverse[m]
	matrix.Set(m-1, 0, corner)
	return matrix
}

// powerElement returns a diagonal element of base^n, to be multiplied by 2^exponent. Of the power only
// the row of that element is made, which costs a square less for each bit of n that is set.
func powerElement(base *mat.Dense, n, at int) (element float64, exponent int) {
	size, _ := base.Dims()
	row, rowSpare, spare := mat.NewDense(1, size, nil), mat.NewDense(1, size, nil), mat.NewDense(size, size, nil)
	row.Set(0, at, 1)
	for baseExponent := 0; ; {
		if n%2 == 1 {
			rowSpare.Mul(row, base)
			row, rowSpare = rowSpare, row
			exponent += baseExponent + rescale(row, row.At(0, at))
		}
		if n /= 2; n == 0 {
			return row.At(0, at), exponent
		}
		spare.Mul(base, base)
		base, spare = spare, base
		baseExponent = 2*baseExponent + rescale(base, base.At(at, at))
	}
}

// rescale divides a by 2^exponent if the element that is watched is large.
func rescale(a *mat.Dense, watched float64) (exponent int) {
	if watched < 0x1p200 {
		return 0
	}
	a.Scale(0x1p-200, a)
	return 200
}

// pelzGoodSF returns 1 − P(D_n ≤ x) by the asymptotic expansion of Pelz and Good
// in powers of 1/√n, each K a theta series in z = x√n. With m odd, k whole and
// q(m) = exp(−π²m²/8z²):
//
//	K₀ = √2π/z       Σ q(m)
//	K₁ = √2π/6z⁴     Σ (π²m²/4 − z²) q(m)
//	K₂ = √2π/72z⁷    Σ (6z⁶+2z⁴ + π²m²/4·(2z⁴−5z²) + π⁴m⁴/16·(1−2z²)) q(m)
//	   − √2π·π²/36z³ Σ k² q(2k)
//	K₃ = √2π/6480z¹⁰ Σ (−30z⁶−90z⁸ + π²m²/4·(135z⁴−96z⁶) + π⁴m⁴/16·(212z⁴−60z²)
//	                    + π⁶m⁶/64·(5−30z²)) q(m)
//	   + √2π·π²/216z⁶ Σ (3z²−π²k²) k² q(2k)
//
// Source: Pelz and Good, "Approximating the lower tail-areas of the
// Kolmogorov–Smirnov one-sample statistic", JRSS B 38 (1976).
func pelzGoodSF(n, x float64) float64 {
	z := x * math.Sqrt(n)
	z2 := z * z
	z4, z6, z8 := z2*z2, z2*z2*z2, z2*z2*z2*z2
	var k0, k1, k2, k3, even2, even3 float64
	for k := math.Ceil(16 * z / math.Pi); k >= 1; k-- {
		m2 := (2*k - 1) * (2*k - 1) * math.Pi * math.Pi / 4
		q := math.Exp(-m2 / (2 * z2))
		k0 += q
		k1 += q * (m2 - z2)
		k2 += q * (6*z6 + 2*z4 + m2*(2*z4-5*z2) + m2*m2*(1-2*z2))
		k3 += q * (-30*z6 - 90*z8 + m2*(135*z4-96*z6) + m2*m2*(212*z4-60*z2) + m2*m2*m2*(5-30*z2))
		pi2k2 := math.Pi * math.Pi * k * k
		q = math.Exp(-pi2k2 / (2 * z2))
		even2 += q * pi2k2
		even3 += q * pi2k2 * (3*z2 - pi2k2)
	}
	k0 /= z
	k1 /= 6 * z4
	k2 = k2/(72*z4*z2*z) - even2/(36*z2*z)
	k3 = k3/(6480*z4*z6) + even3/(216*z6)
	root := math.Sqrt(n)
	return 1 - math.Sqrt(2*math.Pi)*(k0+k1/root+k2/n+k3/(n*root))
}
