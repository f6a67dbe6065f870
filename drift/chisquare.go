package drift

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// minExpected is the expected count below which a category is pooled (Cochran's rule).
const minExpected = 5

// ChiSquareResult is the outcome of [ChiSquare].
type ChiSquareResult struct {
	Statistic float64 // χ²
	DF        int     // degrees of freedom: tested categories − 1
	P         float64 // the probability of such a χ², or a greater one, if there is no drift
	V         float64 // Cramér's V with Bergsma's bias correction: 0 no difference, 1 nothing in common

	N, M   int64 // values on each side
	Pooled int   // how many categories were too rare to stand alone and were tested as one
}

// ChiSquare tests whether two rows of counts over the same categories come from
// one distribution (homogeneity of a 2×K table; no Yates correction):
//
//	χ² = Σ_i (n_c·r_i − n_r·c_i)² / (n_r·n_c·(r_i + c_i)),   K − 1 degrees of freedom
//
// Both rows are samples: the reference is not taken as the truth, which would
// raise a false alarm for most columns of many categories. If one slice is
// shorter, its missing counts are 0; negative counts count as 0. Categories that
// neither side has are dropped.
//
// The chi-square distribution needs counts that are not small. Categories with
// an expected count below 5 on the smaller side are pooled into one; if that one
// is still below 5, it joins the rarest of the others. A new category of many
// values therefore stands alone, and many new ones of few values count together.
//
// The effect is Cramér's V with the bias correction of Bergsma, which without
// drift is near 0 for any K, where the plain √(χ²/N) grows as √(K/N):
//
//	φ² = max(0, χ²/N − (K−1)/(N−1))
//	V  = √(φ² / min(K − 1 − (K−1)²/(N−1), 1 − 1/(N−1)))     N = n_r + n_c
//
// Special cases:
//
//	a side without counts:           Statistic, P and V are NaN
//	one category in all:             χ² = 0, DF = 0, P = 1, V = 0
//	all categories too rare to test: Statistic, P and V are NaN, DF = 0
//
// Sources: Pearson 1900; Cochran 1954; Bergsma, "A bias-correction for Cramér's V
// and Tschuprow's T", Journal of the Korean Statistical Society 42 (2013).
func ChiSquare(reference, current []int64) ChiSquareResult {
	return homogeneity(reference, current, (*table).chiSquare)
}

// GTest is [ChiSquare] with the likelihood ratio in place of the squared differences,
// and χ²'s distribution and special cases:
//
//	G = 2 Σ_i ( r_i·ln(r_i/e_i) + c_i·ln(c_i/f_i) )
//
// where e_i and f_i are the expected counts. It is 2N times the mutual information of
// side and category, so the G of a refined table is the sum of those of its steps. V is
// that of χ².
//
// Source: Woolf 1957; Sokal and Rohlf, "Biometry", 1981.
func GTest(reference, current []int64) ChiSquareResult {
	return homogeneity(reference, current, (*table).g)
}

func homogeneity(reference, current []int64, statistic func(*table) float64) ChiSquareResult {
	table := newTable(reference, current)
	result := ChiSquareResult{N: table.n, M: table.m}
	if table.n == 0 || table.m == 0 {
		return result.undefined()
	}
	if len(table.cells) == 1 {
		result.P = 1
		return result
	}
	result.Pooled = table.poolRare()
	if len(table.cells) < 2 {
		return result.undefined()
	}
	result.DF = len(table.cells) - 1
	result.Statistic = statistic(&table)
	result.P = ChiSquareSF(result.Statistic, result.DF)
	result.V = cramersV(table.chiSquare(), result.DF, table.n+table.m)
	return result
}

// Detectable returns the smallest V that would have been significant at level
// alpha with these sizes and categories, NaN if nothing was tested. Where both
// sides have but one and the same category, it is that of a second one.
func (r ChiSquareResult) Detectable(alpha float64) float64 {
	switch {
	case math.IsNaN(r.P):
		return math.NaN()
	case r.DF == 0:
		return cramersV(chiSquareQuantile(1, alpha), 1, r.N+r.M)
	}
	return cramersV(chiSquareQuantile(r.DF, alpha), r.DF, r.N+r.M)
}

func (r ChiSquareResult) undefined() ChiSquareResult {
	r.Statistic, r.P, r.V = math.NaN(), math.NaN(), math.NaN()
	return r
}

// ChiSquareSF returns P(χ² ≥ x) with df degrees of freedom: Q(df/2, x/2), the
// regularized upper incomplete gamma function, exact far into the tail.
//
// Special cases:
//
//	ChiSquareSF(NaN, df) = NaN
//	ChiSquareSF(x, df) = NaN if df < 1
//	ChiSquareSF(x, df) = 1   if x ≤ 0
//	ChiSquareSF(+Inf, df) = 0
func ChiSquareSF(x float64, df int) float64 {
	switch {
	case math.IsNaN(x) || df < 1:
		return math.NaN()
	case x <= 0:
		return 1
	case math.IsInf(x, 1):
		return 0
	}
	return mathext.GammaIncRegComp(float64(df)/2, x/2)
}

// chiSquareQuantile returns the x with ChiSquareSF(x, df) = p.
func chiSquareQuantile(df int, p float64) float64 {
	return 2 * mathext.GammaIncRegCompInv(float64(df)/2, p)
}

func cramersV(statistic float64, df int, total int64) float64 {
	k, n := float64(df), float64(total)
	if n < 2 {
		return math.NaN()
	}
	phi := max(0, statistic/n-k/(n-1))
	scale := min(k-k*k/(n-1), 1-1/(n-1))
	if scale <= 0 {
		return math.NaN()
	}
	return min(1, math.Sqrt(phi/scale))
}

// table is a 2×K table of counts without empty columns.
type table struct {
	cells []cellCounts
	n, m  int64
}

type cellCounts struct{ reference, current int64 }

func (c cellCounts) total() int64 { return c.reference + c.current }

func newTable(reference, current []int64) table {
	var t table
	for i := range max(len(reference), len(current)) {
		var c cellCounts
		if i < len(reference) {
			c.reference = max(0, reference[i])
		}
		if i < len(current) {
			c.current = max(0, current[i])
		}
		if c.total() == 0 {
			continue
		}
		t.cells = append(t.cells, c)
		t.n += c.reference
		t.m += c.current
	}
	return t
}

// expected returns a category's expected count on the smaller side.
func (t *table) expected(c cellCounts) float64 {
	return float64(c.total()) * float64(min(t.n, t.m)) / float64(t.n+t.m)
}

// poolRare merges the rare categories and returns how many there were.
func (t *table) poolRare() int {
	var common []cellCounts
	var pool cellCounts
	pooled := 0
	for _, c := range t.cells {
		if t.expected(c) >= minExpected {
			common = append(common, c)
			continue
		}
		pool.reference += c.reference
		pool.current += c.current
		pooled++
	}
	switch {
	case pooled == 0:
		return 0
	case t.expected(pool) < minExpected && len(common) > 0:
		rarest := 0
		for i, c := range common {
			if c.total() < common[rarest].total() {
				rarest = i
			}
		}
		common[rarest].reference += pool.reference
		common[rarest].current += pool.current
	default:
		common = append(common, pool)
	}
	t.cells = common
	return pooled
}

func (t *table) chiSquare() float64 {
	n, m := float64(t.n), float64(t.m)
	sum := 0.0
	for _, c := range t.cells {
		difference := float64(c.reference)*m - float64(c.current)*n
		sum += difference / n * (difference / m) / float64(c.total())
	}
	return sum
}

// g sums per side and cell o·ln(o/e) − (o − e), which is the same sum, because the
// differences cancel, and has no negative terms to cancel where o is near e.
func (t *table) g() float64 {
	total := float64(t.n + t.m)
	sum := 0.0
	for _, c := range t.cells {
		share := float64(c.total()) / total
		for _, side := range [...]struct{ observed, size int64 }{{c.reference, t.n}, {c.current, t.m}} {
			observed, expected := float64(side.observed), share*float64(side.size)
			if observed == 0 {
				sum += expected
				continue
			}
			sum += deviance(observed, expected)
		}
	}
	return 2 * sum
}
