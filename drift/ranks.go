package drift

import "math"

// RankResult is the outcome of the rank test of location and scale.
type RankResult struct {
	Statistic float64 // χ²
	DF        int     // 2; 1 or 0 where there are only two or one distinct values
	P         float64 // the probability of such a χ², or a greater one, if there is no drift

	// Location is how much more often a current value exceeds a reference value than
	// the other way round: P(Y > X) − P(Y < X), in [−1, 1].
	Location float64

	// Scale is how much farther out current values lie in the pooled order, in
	// [−1, 1]: 1 if current holds the outer half of the values and reference the inner.
	Scale float64
}

// Effect returns the larger of |Location| and |Scale|.
func (r RankResult) Effect() float64 { return max(math.Abs(r.Location), math.Abs(r.Scale)) }

// orderedCounts are the counts of two samples over ascending values, or over
// ascending cells of them, whose values then count as equal.
type orderedCounts struct {
	reference, current []uint32
	mapping            *cellMap   // nil if each count is of one value
	within             valueRange // of both, if there is a mapping
}

// ranks tests whether current values lie higher or lower, or farther out or in, than
// reference values do in the order of both. With u the mid-rank of a value, scaled to
// [−½, ½], the scores are u (Wilcoxon, Mann and Whitney) and u² (Mood):
//
//	T_j = Σ over current of (s_j − s̄_j)
//	V_ij = nm/(N(N−1)) · Σ over both of (s_i − s̄_i)(s_j − s̄_j)        N = n+m
//	χ² = Tᵀ V⁻¹ T,   2 degrees of freedom
//
// T has mean 0 and covariance V over all ways to deal the pooled values to two sides:
// exactly, ties included. The idea of adding a location and a scale test of ranks is
// Lepage's. Scores are bounded, so that the limit is near already for 25 values a side.
//
// Sources: Lepage, "A combination of Wilcoxon's and Ansari–Bradley's statistics",
// Biometrika 58 (1971); Mood 1954; Hájek and Šidák, "Theory of rank tests", 1967.
func (c orderedCounts) ranks() RankResult {
	n, m := 0.0, 0.0
	for i := range c.reference {
		n, m = n+float64(c.reference[i]), m+float64(c.current[i])
	}
	total := n + m
	result := RankResult{Statistic: math.NaN(), P: math.NaN(), Location: math.NaN(), Scale: math.NaN()}
	if n == 0 || m == 0 || total < 3 {
		return result
	}
	// First moments of the scores over both sides, then of current around them.
	mean2 := 0.0 // that of u is 0
	c.eachScore(total, func(u, both, _ float64) { mean2 += both * u * u })
	mean2 /= total
	var t1, t2, v11, v12, v22 float64
	c.eachScore(total, func(u, both, current float64) {
		s := u*u - mean2
		t1, t2 = t1+current*u, t2+current*s
		v11, v12, v22 = v11+both*u*u, v12+both*u*s, v22+both*s*s
	})
	spread := n * m / (total * (total - 1))
	v11, v12, v22 = spread*v11, spread*v12, spread*v22
	result.Location = 2 * t1 * total / (n * m)
	result.Scale = max(-1, min(1, 8*t2*total/(n*m)))
	result.Statistic, result.DF = quadraticForm(t1, t2, v11, v12, v22)
	result.P = 1
	if result.DF > 0 {
		result.P = ChiSquareSF(result.Statistic, result.DF)
	}
	return result
}

// eachScore calls visit with the scaled mid-rank of each cell and its counts.
func (c orderedCounts) eachScore(total float64, visit func(u, both, current float64)) {
	before := 0.0
	for i, current := range c.current {
		both := float64(c.reference[i]) + float64(current)
		if both > 0 {
			visit((before+both/2-total/2)/total, both, float64(current))
		}
		before += both
	}
}

// quadraticForm returns Tᵀ V⁻¹ T and the rank of V.
func quadraticForm(t1, t2, v11, v12, v22 float64) (form float64, rank int) {
	const singular = 1e-9
	switch rest := v22 - v12*v12/v11; {
	case !(v11 > 0):
		return 0, 0
	case !(rest > singular*v22):
		return t1 * t1 / v11, 1
	default:
		residual := t2 - v12/v11*t1
		return t1*t1/v11 + residual*residual/rest, 2
	}
}
