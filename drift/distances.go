package drift

import "math"

// The distances below compare two distributions over the same cells: bins of
// numbers, categories, with a cell for missing values or unseen categories if the
// caller wants that mass to count ([BinCounts.Cells] has them). p and q are shares:
// not negative, and summing to one on each side, as [Shares] gives them. Nothing
// is normalized again, so that what a caller put into an empty cell stays there.
// A shorter slice is filled up with zeros. NaN in gives NaN out.
//
// None of them is a test: without drift they are not 0 but of the size that chance
// gives, which grows with the number of cells K and falls with the sizes n and m.
// To first order, with h = 1/n + 1/m, the mean without drift is
//
//	PSI                (K−1)·h
//	Kullback–Leibler   (K−1)·h/2
//	Jensen–Shannon²    (K−1)·h/8   base e; divide by ln 2 for base 2
//	Hellinger²         (K−1)·h/8
//
// so a fixed threshold for all n and K is wrong for most of them.

// Shares returns counts divided by their sum. Negative counts count as 0.
// Without any count all shares are NaN.
func Shares(counts []int64) []float64 {
	total := int64(0)
	for _, count := range counts {
		total += max(0, count)
	}
	shares := make([]float64, len(counts))
	for i, count := range counts {
		shares[i] = float64(max(0, count)) / float64(total)
	}
	return shares
}

// Normalized returns shares divided by their sum, all NaN if that is 0.
func Normalized(shares []float64) []float64 {
	total := 0.0
	for _, share := range shares {
		total += share
	}
	normalized := make([]float64, len(shares))
	for i, share := range shares {
		normalized[i] = share / total
	}
	return normalized
}

// overCells calls visit with the shares of each cell that either side has.
func overCells(p, q []float64, visit func(a, b float64)) {
	at := func(shares []float64, i int) float64 {
		if i < len(shares) {
			return shares[i]
		}
		return 0
	}
	for i := range max(len(p), len(q)) {
		if a, b := at(p, i), at(q, i); a != 0 || b != 0 {
			visit(a, b)
		}
	}
}

// TotalVariation returns ½ Σ |p − q|, the share of values that would have to be
// moved: 0 if equal, 1 if disjoint.
func TotalVariation(p, q []float64) float64 {
	sum := 0.0
	overCells(p, q, func(a, b float64) { sum += math.Abs(a - b) })
	return sum / 2
}

// LInfinity returns max |p − q|, the greatest change of a single cell.
//
// Special cases:
//
//	LInfinity(p, q) = 0 if there are no cells
func LInfinity(p, q []float64) float64 {
	greatest := 0.0
	overCells(p, q, func(a, b float64) { greatest = max(greatest, math.Abs(a-b)) })
	return greatest
}

// Hellinger returns √(½ Σ (√p − √q)²), which for shares that sum to one is
// √(1 − Σ √(pq)): 0 if equal, 1 if disjoint.
//
// Source: Hellinger 1909; Le Cam and Yang, "Asymptotics in Statistics", 2000.
func Hellinger(p, q []float64) float64 {
	sum := 0.0
	overCells(p, q, func(a, b float64) {
		difference := math.Sqrt(a) - math.Sqrt(b)
		sum += difference * difference
	})
	return math.Sqrt(sum / 2)
}

// JensenShannon returns the Jensen–Shannon distance, the square root of the
// divergence
//
//	½ Σ p·log(p/m) + ½ Σ q·log(q/m)     m = (p + q)/2
//
// with logarithms of the given base. It is a metric: 0 if equal, and if disjoint 1
// in base 2 and √(ln 2) = 0.83 in base e.
//
// Cells that hardly differ are summed as a series in (p−q)/(p+q), so small
// distances keep their digits, where the sum as it is written above loses half of them.
//
// Special cases:
//
//	JensenShannon(p, q, base) = NaN if base ≤ 0 or base = 1
//
// Sources: Lin, "Divergence measures based on the Shannon entropy", IEEE
// Transactions on Information Theory 37 (1991); Endres and Schindelin 2003.
func JensenShannon(p, q []float64, base float64) float64 {
	if !(base > 0) || base == 1 {
		return math.NaN()
	}
	sum := 0.0
	overCells(p, q, func(a, b float64) {
		sum += (a + b) / 4 * entropyLost((a-b)/(a+b))
	})
	return math.Sqrt(sum / math.Log(base))
}

// entropyLost returns (1+d)·ln(1+d) + (1−d)·ln(1−d) for |d| ≤ 1, which is
// Σ d²ᵏ/(k·(2k−1)).
func entropyLost(d float64) float64 {
	d = math.Abs(d)
	if d >= 1 {
		return 2 * math.Ln2
	}
	if d > 0.25 {
		return (1+d)*math.Log1p(d) + (1-d)*math.Log1p(-d)
	}
	sum, power := 0.0, d*d
	for k := 1.0; k <= 12; k++ {
		sum += power / (k * (2*k - 1))
		power *= d * d
	}
	return sum
}

// KullbackLeibler returns Σ p·ln(p/q), in nats. It is not symmetric: p is what
// was expected.
//
// Special cases:
//
//	a cell with p = 0: adds nothing
//	a cell with p > 0 and q = 0: the divergence is +Inf. [FilledZeros] is the usual way out
//
// Source: Kullback and Leibler, "On information and sufficiency", 1951.
func KullbackLeibler(p, q []float64) float64 {
	sum := 0.0
	overCells(p, q, func(a, b float64) {
		if a != 0 {
			sum += a * math.Log(a/b)
		}
	})
	return sum
}

// PSI returns the population stability index Σ (p − q)·ln(p/q), which is the sum of
// the Kullback–Leibler divergences in both directions. Credit scoring's rule of thumb
// calls 0.1 a small and 0.25 a large shift, for about ten cells and samples of thousands.
//
// Special cases:
//
//	a cell that only one side has: the index is +Inf. [FilledZeros] is the usual way
//	out, and then most of the index is what was filled in
//
// Source: Lewis, "An Introduction to Credit Scoring", 1994; Yurdakul and Naranjo,
// "Statistical properties of the population stability index", Journal of Risk Model
// Validation 14 (2020) for its distribution.
func PSI(p, q []float64) float64 {
	sum := 0.0
	overCells(p, q, func(a, b float64) { sum += (a - b) * math.Log(a/b) })
	return sum
}

// FilledZeros returns shares with the zeros replaced by 0.0001, or by a millionth
// of the smallest share if that is 0.0001 or less. The sum is then a little more
// than one. That is what Evidently does before it computes [PSI] and, normalized
// again, [KullbackLeibler].
func FilledZeros(shares []float64) []float64 {
	const usual = 0.0001
	least := math.Inf(1)
	for _, share := range shares {
		if share != 0 {
			least = min(least, share)
		}
	}
	fill := usual
	if least <= usual {
		fill = least / 1e6
	}
	filled := make([]float64, len(shares))
	for i, share := range shares {
		filled[i] = share
		if share == 0 {
			filled[i] = fill
		}
	}
	return filled
}
