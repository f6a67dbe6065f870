package drift

import "math"

// FisherResult is the outcome of [FisherExact].
type FisherResult struct {
	OddsRatio float64 // a·d/(b·c)
	P         float64 // two-sided
}

// fisherTie is how close two probabilities are taken for equal: well above their
// rounding errors, and below what two different ones are apart unless they are both
// in the midst of the distribution, where P is near 1 anyway.
const fisherTie = 1e-10

// FisherExact is Fisher's exact test of the table
//
//	reference   a   b
//	current     c   d
//
// Given the sums of its rows and columns, a is hypergeometric if there is no drift. The
// two-sided P sums all tables that are at most as probable as this one, as SciPy
// (fisher_exact) and R do. The cost is that of the smallest sum.
//
// Special cases:
//
//	a negative count, or a row or column without counts: OddsRatio = NaN, P = 1
//	b or c = 0: OddsRatio = +Inf
//
// Sources: Fisher 1935; Loader 2000 for the probabilities, by their saddle-point form.
func FisherExact(a, b, c, d int64) FisherResult {
	if min(a, b, c, d) < 0 || a+b == 0 || c+d == 0 || a+c == 0 || b+d == 0 {
		return FisherResult{math.NaN(), 1}
	}
	result := FisherResult{OddsRatio: math.Inf(1)}
	if b > 0 && c > 0 {
		result.OddsRatio = float64(a) * float64(d) / (float64(b) * float64(c))
	}
	own := hypergeometric(float64(a), float64(a+b), float64(c+d), float64(a+c))
	result.P = clampProbability(own * outcomesAtMost(a, b, c, d))
	return result
}

// outcomesAtMost sums the probabilities of the tables that are at most as probable
// as the given one, relative to it.
func outcomesAtMost(a, b, c, d int64) float64 {
	sum := 1.0
	walk := func(a, b, c, d int64) {
		ratio := 1.0
		for b > 0 && c > 0 {
			ratio *= float64(b) * float64(c) / (float64(a+1) * float64(d+1))
			a, b, c, d = a+1, b-1, c-1, d+1
			if ratio <= 1+fisherTie {
				sum += ratio
			}
			if ratio < 1e-20 {
				return
			}
		}
	}
	walk(a, b, c, d)
	walk(b, a, d, c) // the same steps downwards, columns exchanged
	return sum
}

// hypergeometric returns the probability of x marked among n drawn, where marked and
// rest are there, as a quotient of binomial probabilities, none of which overflows.
func hypergeometric(x, marked, rest, n float64) float64 {
	p := n / (marked + rest)
	return math.Exp(logBinomialPMF(x, marked, p) + logBinomialPMF(n-x, rest, p) - logBinomialPMF(n, marked+rest, p))
}

// logBinomialPMF is Loader's saddle-point form, for whole numbers.
func logBinomialPMF(x, n, p float64) float64 {
	q := 1 - p
	switch {
	case p == 0 || p == 1:
		if x == n*p {
			return 0
		}
		return math.Inf(-1)
	case x == 0:
		return n * math.Log1p(-p)
	case x == n:
		return n * math.Log(p)
	}
	return stirlingError(n) - stirlingError(x) - stirlingError(n-x) -
		deviance(x, n*p) - deviance(n-x, n*q) + math.Log(n/(2*math.Pi*x*(n-x)))/2
}

// deviance returns x·ln(x/mean) + mean − x, without cancellation where they are close.
func deviance(x, mean float64) float64 {
	d := (x - mean) / (x + mean)
	if math.Abs(d) >= 0.1 {
		return x*math.Log(x/mean) + mean - x
	}
	// x·ln((1+d)/(1−d)) = 2x(d + d³/3 + …), and mean − x = −d·(x+mean).
	sum, power := (x-mean)*d, 2*x*d
	for k := 3.0; ; k += 2 {
		power *= d * d
		next := sum + power/k
		if next == sum {
			return sum
		}
		sum = next
	}
}
