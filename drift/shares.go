package drift

import "math"

// SharesP returns the two-sided p-value of the exact test that two shares, a of n
// and b of m, come from one probability. Given that a+b of all n+m values are
// marked, a is hypergeometric without drift:
//
//	P(a) = C(n, a)·C(m, b) / C(n+m, a+b)      p = min(1, 2·min(P(≤ a), P(≥ a)))
//
// Doubling the smaller tail keeps the test exact and as strict in both directions,
// also for sides of unequal size. The p-value is never too small; where few values
// are marked it takes few values, and is then too large.
//
// The terms are summed outwards from a until they vanish: O(√(a+b)) of them.
//
// Special cases:
//
//	SharesP = NaN if n < 1, m < 1, or a or b is not in 0 … n or 0 … m
//	SharesP = 1   if nothing or everything is marked
//
// Source: Fisher, "The logic of inductive inference", JRSS 98 (1935).
func SharesP(a, n, b, m int64) float64 {
	if n < 1 || m < 1 || a < 0 || b < 0 || a > n || b > m {
		return math.NaN()
	}
	marked := a + b
	if marked == 0 || marked == n+m {
		return 1
	}
	at := math.Exp(logHypergeometric(a, n, b, m))
	// ratio of the next term to this one, upwards and downwards in a
	up, down := 0.0, 0.0
	for x, term := a, 1.0; x < n && x < marked; x++ {
		term *= float64(n-x) / float64(x+1) * (float64(marked-x) / float64(m-marked+x+1))
		up += term
		if term < 1e-17*up {
			break
		}
	}
	for x, term := a, 1.0; x > 0 && marked-x < m; x-- {
		term *= float64(x) / float64(n-x+1) * (float64(m-marked+x) / float64(marked-x+1))
		down += term
		if term < 1e-17*down {
			break
		}
	}
	return min(1, 2*at*(1+min(up, down)))
}

func logHypergeometric(a, n, b, m int64) float64 {
	return logBinomial(n, a) + logBinomial(m, b) - logBinomial(n+m, a+b)
}
