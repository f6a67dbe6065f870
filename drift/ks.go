package drift

import "math"

// Alternative is what a Kolmogorov–Smirnov test takes as evidence, in the words
// of SciPy. F and G are the distribution functions of reference and current.
type Alternative int

const (
	TwoSided Alternative = iota // F ≠ G
	Less                        // F < G somewhere: reference tends to be greater than current
	Greater                     // F > G somewhere: reference tends to be less than current
)

// KSResult is the outcome of [KS].
type KSResult struct {
	D        float64 // the greatest distance between the two empirical distribution functions, in [0, 1]
	P        float64 // the probability of such a D, or a greater one, if there is no drift
	Location float64 // where D is reached: the share of values ≤ Location differs by D
	Sign     int     // +1 if more of reference than of current lies at or below Location, -1 if less

	N, M     int64 // values tested: reference, current
	MissingN int64 // NaN in reference
	MissingM int64 // NaN in current
	ExactP   bool  // whether P is the exact, not the asymptotic probability
}

// KS is the two-sample Kolmogorov–Smirnov test with the exact statistic, ties
// included, on samples of any size:
//
//	D⁺ = max F(x) − G(x)    D⁻ = max G(x) − F(x)    over every pooled value x
//	D  = max(D⁺, D⁻) two-sided, D⁻ for Less, D⁺ for Greater
//
// with F(x) = (number of reference values ≤ x)/n and G alike. Location, Sign and
// P follow scipy.stats.ks_2samp(method="auto"): the exact distribution where both
// samples have at most 10,000 values (and D is then rounded to the multiple of
// 1/lcm(n, m) that it stands for), the asymptotic one above. See [KSPValue].
//
// KS sorts small samples. Large ones it only counts into cells, which bounds the
// distance inside each cell, and then sorts the few cells that may hold D: a few
// nanoseconds per value, and bit for bit what sorting and merging gives.
//
// Ties make the p-value conservative: too large, never too small.
//
// Special cases:
//
//	KS of a sample without values: D, P and Location are NaN, Sign is 0
//	KS of equal samples:           D = 0, P = 1, Sign = +1
//
// Source: Smirnov 1939; Hodges, "The significance probability of the Smirnov
// two-sample test", Arkiv för Matematik 3 (1958).
func KS(reference, current Sample, alternative Alternative) KSResult {
	result, _ := ksWithCounts(reference, current, alternative, nil)
	return result
}

// ksWithCounts also returns the counts that D was found by. If they are by cells, also says who else
// wants values of some cells.
func ksWithCounts(reference, current Sample, alternative Alternative, also func(counts orderedCounts, n, m int) []cellTaker) (KSResult, orderedCounts) {
	found := findExtremes(reference, current, alternative, also)
	result := KSResult{
		N: int64(found.n), M: int64(found.m),
		MissingN: int64(reference.Len() - found.n), MissingM: int64(current.Len() - found.m),
	}
	if found.n == 0 || found.m == 0 {
		result.D, result.P, result.Location = math.NaN(), math.NaN(), math.NaN()
		return result, found.counts
	}
	side := found.above
	result.Sign = +1
	if alternative == Less || alternative == TwoSided && found.below.distance > found.above.distance {
		side = found.below
		result.Sign = -1
	}
	result.Location = side.at + 0 // negative zero becomes zero
	result.D, result.P, result.ExactP = ksPValue(side.distance, result.N, result.M, alternative, Auto)
	return result, found.counts
}

// Detectable returns the smallest D that would have been significant at level
// alpha with these sample sizes, by the bound of [DetectableD].
func (r KSResult) Detectable(alpha float64) float64 { return DetectableD(r.N, r.M, alpha) }

// gap is the greatest distance seen so far in one direction and where it was.
type gap struct {
	distance float64
	at       float64
	shared   bool // whether reference holds the value at
}

// extremes are the greatest distances of the two empirical distribution
// functions over the values seen so far.
type extremes struct {
	n, m  int // values in reference and current, missing ones excluded
	above gap // F − G
	below gap // G − F

	counts orderedCounts // of every value, or every cell
}

func newExtremes(n, m int) extremes {
	unseen := gap{distance: math.Inf(-1), at: math.NaN()}
	return extremes{n: n, m: m, above: unseen, below: unseen}
}

// observe takes in that i reference values and j current ones are ≤ at. Values
// must come in ascending order. Among equal distances the first value that
// reference holds wins, and else the first one, as in SciPy.
func (e *extremes) observe(i, j int, at float64, inReference bool) {
	difference := float64(i)/float64(e.n) - float64(j)/float64(e.m)
	e.above.raise(difference, at, inReference)
	e.below.raise(0-difference, at, inReference)
}

func (g *gap) raise(distance, at float64, shared bool) {
	if distance > g.distance || distance == g.distance && shared && !g.shared {
		*g = gap{distance: distance, at: at, shared: shared}
	}
}

// extremesBySorting is the definition: sort both samples, walk through them.
func extremesBySorting(reference, current Sample) extremes {
	x, y := reference.present(), current.present()
	SortNumbers(x)
	SortNumbers(y)
	found := newExtremes(len(x), len(y))
	if len(x) == 0 || len(y) == 0 {
		return found
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		at := smaller(x[i:], y[j:])
		before, beforeCurrent := i, j
		i += leading(x[i:], at)
		j += leading(y[j:], at)
		found.observe(i, j, at, i > before)
		found.counts.reference = append(found.counts.reference, uint32(i-before))
		found.counts.current = append(found.counts.current, uint32(j-beforeCurrent))
	}
	return found
}

// smaller returns the smaller first value of two sorted slices, not both empty.
func smaller(x, y []float64) float64 {
	if len(y) == 0 || len(x) > 0 && x[0] <= y[0] {
		return x[0]
	}
	return y[0]
}

// leading counts how many values at the front of x equal v.
func leading(x []float64, v float64) int {
	count := 0
	for count < len(x) && x[count] == v {
		count++
	}
	return count
}
