package drift

import "math"

// Method says which distribution of D a p-value is taken from.
type Method int

const (
	Auto       Method = iota // as SciPy: exact up to 10,000 values a side, asymptotic above
	Exact                    // the distribution for exactly these sizes, O(n·m) at worst
	Asymptotic               // the limit, corrected for size
)

const (
	exactMax = 10_000 // values a side up to which Auto is exact

	// lcmMax bounds lcm(n, m) for exact probabilities, as in SciPy.
	lcmMax = math.MaxInt32

	// logMaxFloat is the logarithm of the greatest float64.
	logMaxFloat = 709.782712893384
)

// KSPValue returns the probability that samples of n and m values from one
// continuous distribution give a Kolmogorov–Smirnov distance of d or more.
//
// The exact methods count lattice paths from (0, 0) to (n, m): each order of the
// pooled values is one path, all equally probable, and d is reached by those
// that touch a line next to the diagonal.
//
//	two-sided, n = m    2 Σ_{k≥1} (−1)^{k+1} C(2n, n−kh) / C(2n, n),  h = n·d
//	one-sided, n = m    C(2n, n−h) / C(2n, n)
//	otherwise           recursion over the lattice on the share of paths that have
//	                    touched; all terms positive, so nothing cancels
//
// The asymptotic ones, with e = n·m/(n+m), are
//
//	two-sided           P(D_e ≥ d), the one-sample distribution for round(e)
//	                    values: see [KolmogorovSF]
//	one-sided           exp(−2z² − 2z(m+2n)/(3√(nm(n+m)))),  z = d√e,  m ≥ n
//
// Auto takes the asymptotic one-sided form also where C(n+m, n) exceeds a
// float64, because SciPy does. Where the exact sum of SciPy is rounded to a little
// more than 1, SciPy turns to the asymptotic form; here it is 1.
//
// Special cases:
//
//	KSPValue(NaN, …) = NaN
//	KSPValue(d, n, m, …) = NaN if n < 1 or m < 1
//	KSPValue(0, …) = 1
//
// Sources: Hodges 1958, eq. 5.3 for the asymptotic one-sided form; Viehmann,
// "Numerically more stable computation of the p-values for the two-sample
// Kolmogorov-Smirnov test", arXiv:2102.08037, for the recursion.
func KSPValue(d float64, n, m int64, alternative Alternative, method Method) float64 {
	_, p, _ := ksPValue(d, n, m, alternative, method)
	return p
}

// ksPValue also returns the distance that p belongs to (a multiple of
// 1/lcm(n, m) up to exactMax values) and whether p is exact.
func ksPValue(d float64, n, m int64, alternative Alternative, method Method) (distance, p float64, exact bool) {
	if math.IsNaN(d) || n < 1 || m < 1 {
		return d, math.NaN(), false
	}
	n, m = max(n, m), min(n, m)
	if !takesExact(n, m, method) {
		return d, clampProbability(asymptoticKS(d, n, m, alternative)), false
	}
	lcm := n / gcd(n, m) * m
	h := int64(math.RoundToEven(d * float64(lcm)))
	d = float64(h) / float64(lcm)
	if method == Auto && h > 0 && alternative != TwoSided && n != m && logBinomial(n+m, m) > logMaxFloat {
		return d, clampProbability(asymptoticKS(d, n, m, alternative)), false
	}
	return d, clampProbability(exactKS(h, n, m, alternative)), true
}

func takesExact(n, m int64, method Method) bool {
	divisor := gcd(n, m)
	if method == Asymptotic || float64(n/divisor)*float64(m) > lcmMax*float64(divisor) {
		return false
	}
	return method == Exact || n <= exactMax
}

// exactKS returns P(D ≥ h/lcm(n, m)). It wants n ≥ m.
func exactKS(h, n, m int64, alternative Alternative) float64 {
	switch {
	case h <= 0:
		return 1
	case n != m:
		return outsideShare(n, m, h, alternative == TwoSided)
	case alternative == TwoSided:
		return outsideShareSquare(n, h)
	}
	return binomialRatio(n, h, 0)
}

// binomialRatio returns C(2n, n−(k+1)h) / C(2n, n−kh) as a product of h factors below one.
func binomialRatio(n, h, k int64) float64 {
	ratio := 1.0
	for j := range h {
		ratio = float64(n-k*h-j) * ratio / float64(n+k*h+j+1)
	}
	return ratio
}

// outsideShareSquare returns the share of paths from (0, 0) to (n, n) that touch
// one of the lines x − y = ±h. The alternating sum is nested, innermost first,
// so that it does not cancel:
//
//	2·r₀·(1 − r₁·(1 − r₂·(1 − …))),   r_k = binomialRatio(n, h, k)
func outsideShareSquare(n, h int64) float64 {
	share := 0.0
	for k := n / h; k >= 0; k-- {
		share = binomialRatio(n, h, k) * (1 - share)
	}
	return 2 * share
}

// outsideShare returns the share of paths from (0, 0) to (n, m) that reach a
// point (x, y) with x/n − y/m ≥ h/lcm(n, m), or two-sided its absolute value.
//
// Let A(x, y) be that share for the paths to (x, y). It is 1 at and beyond the
// lines. Between them the last step came from the left with probability
// x/(x+y), and else from below:
//
//	A(x, y) = (x·A(x−1, y) + y·A(x, y−1)) / (x + y)
//
// One column is kept and overwritten from left to right; rows below lowest and,
// two-sided, above highest are beyond the lines.
func outsideShare(n, m, h int64, twoSided bool) float64 {
	divisor := gcd(n, m)
	a, b := m/divisor, n/divisor // x/n − y/m = (x·a − y·b)/lcm
	if twoSided && vanishes(float64(h)/(float64(a)*float64(n)), n, m) {
		return 0
	}
	column := make([]float64, m+1)
	if twoSided {
		for y := range column {
			if int64(y)*b >= h {
				column[y] = 1
			}
		}
	}
	reciprocal := make([]float64, n+m+1)
	for i := range reciprocal {
		reciprocal[i] = 1 / float64(i)
	}
	for x := int64(1); x <= n; x++ {
		lowest, highest := int64(0), m
		if x*a >= h {
			lowest = (x*a-h)/b + 1
			column[lowest-1] = 1
		}
		if twoSided {
			highest = min(m, (x*a+h-1)/b)
		}
		below := 0.0
		if lowest > 0 {
			below = 1
		}
		for y := lowest; y <= highest; y++ {
			part := reciprocal[x+y]
			below = math.FMA(below, float64(y)*part, column[y]*(float64(x)*part))
			column[y] = below
		}
	}
	return column[m]
}

// vanishes reports whether P(D ≥ d) is below every float64, by the bound
// P ≤ e·exp(−2d²·nm/(n+m)) of Wei and Dudley, "Two-sample
// Dvoretzky–Kiefer–Wolfowitz inequalities", 2012.
func vanishes(d float64, n, m int64) bool {
	return 2*d*d*effectiveSize(n, m) > 750
}

// asymptoticKS wants n ≥ m.
func asymptoticKS(d float64, n, m int64, alternative Alternative) float64 {
	size := effectiveSize(n, m)
	if alternative == TwoSided {
		return KolmogorovSF(math.RoundToEven(size), d)
	}
	large, small := float64(n), float64(m)
	z := math.Sqrt(size) * d
	return math.Exp(-2*z*z - 2*z*(large+2*small)/math.Sqrt(large*small*(large+small))/3)
}

// effectiveSize is the size of the one sample that is as informative as two of n and m.
func effectiveSize(n, m int64) float64 {
	return float64(n) * float64(m) / (float64(n) + float64(m))
}

func logBinomial(n, k int64) float64 {
	whole, _ := math.Lgamma(float64(n) + 1)
	part, _ := math.Lgamma(float64(k) + 1)
	rest, _ := math.Lgamma(float64(n-k) + 1)
	return whole - part - rest
}

func clampProbability(p float64) float64 { return min(1, max(0, p)) }

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
