package drift

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Divergence is a distance between two rows of counts that is a divergence to second
// order, as PSI, Kullback–Leibler, Jensen–Shannon and Hellinger are: with h = 1/n + 1/m
// and K cells, factor·d/h, or factor·d²/h for a root, has χ²'s distribution with K−1
// degrees of freedom without drift, and about the noncentral one with it.
type Divergence struct {
	Distance  float64
	P         float64 // the probability of such a distance, or a greater one, if there is no drift
	Corrected float64 // Distance without what chance adds to it on average, at least 0

	root     bool
	factor   float64
	df, size float64 // size is 1/h
}

// NewDivergence describes a distance between counts. Factor is 1 for [PSI], 2 for
// [KullbackLeibler], and 8 with root for [JensenShannon] in base e and [Hellinger].
//
// The approximation wants expected counts that are not small, as that of [ChiSquare]
// does, and holds for PSI and Kullback–Leibler only where no zeros were filled.
//
// Special cases:
//
//	a side without counts: P and Corrected are NaN
//	one cell:              P = 1
//
// Source: Yurdakul and Naranjo 2020 for PSI; Lin 1991 and Pardo, "Statistical
// inference based on divergence measures", 2006, for the others.
func NewDivergence(distance float64, root bool, factor float64, reference, current []int64) Divergence {
	t := newTable(reference, current)
	d := Divergence{Distance: distance, root: root, factor: factor, df: float64(len(t.cells) - 1)}
	d.size = effectiveSize(t.n, t.m)
	x := d.toChiSquare(distance)
	switch {
	case t.n == 0 || t.m == 0 || math.IsNaN(distance):
		d.P, d.Corrected, d.df = math.NaN(), math.NaN(), math.NaN()
	case d.df == 0:
		d.P = 1
	default:
		d.P = mathext.GammaIncRegComp(d.df/2, min(x, math.MaxFloat64)/2)
		d.Corrected = d.toDistance(max(0, x-d.df))
	}
	return d
}

func (d Divergence) toChiSquare(distance float64) float64 {
	if d.root {
		distance *= distance
	}
	return d.factor * distance * d.size
}

func (d Divergence) toDistance(x float64) float64 {
	distance := x / d.factor / d.size
	if d.root {
		return math.Sqrt(distance)
	}
	return distance
}

// Interval returns the confidence interval at 1 − alpha of the distance between the
// distributions, as [ChiSquareResult.Interval] does of V.
func (d Divergence) Interval(alpha float64) Interval {
	x := d.toChiSquare(d.Distance)
	if !(d.df > 0) || math.IsInf(x, 1) {
		return undefinedInterval()
	}
	return Interval{
		d.toDistance(noncentrality(x, d.df, 1-alpha/2)),
		d.toDistance(noncentrality(x, d.df, alpha/2)),
	}
}

// Detectable returns the smallest corrected distance that would have been significant
// at level alpha, NaN if there are not two cells.
func (d Divergence) Detectable(alpha float64) float64 {
	if !(d.df > 0) {
		return math.NaN()
	}
	return d.toDistance(max(0, chiSquareQuantile(int(d.df), alpha)-d.df))
}

// DetectableShift returns the shift of the mean, in standard deviations, that a
// two-sided test of means would find significant: z(1−alpha/2)·√(1/n + 1/m).
func DetectableShift(n, m int64, alpha float64) float64 {
	if n < 1 || m < 1 || !(alpha > 0 && alpha <= 1) {
		return math.NaN()
	}
	return math.Sqrt2 * math.Erfinv(1-alpha) / math.Sqrt(effectiveSize(n, m))
}

// SturgesCounts counts two samples of numbers over common cells, as Evidently does
// where it bins: the distinct values if the reference has up to 20, and else
// [SturgesEdges] over both sides. NaN and infinities are left out.
func SturgesCounts(reference, current Sample) (x, y []int64) {
	const distinct = 20
	reference, current = reference.finite(), current.finite()
	if values, _, _ := fewCounts(reference, nil, distinct); values != nil {
		// current may have any number of others
		return CountValues(reference, current)
	}
	edges := SturgesEdges(slices.Concat(slices.Concat(reference...), slices.Concat(current...)))
	return CountBins(reference, edges).Bins, CountBins(current, edges).Bins
}

// CountValues counts the distinct values of both samples, in ascending order. It wants no NaN.
func CountValues(reference, current Sample) (x, y []int64) {
	a, b := map[float64]int64{}, map[float64]int64{}
	var values []float64
	for i, s := range []Sample{reference, current} {
		counts := []map[float64]int64{a, b}[i]
		for _, piece := range s {
			for _, v := range piece {
				if a[v] == 0 && b[v] == 0 {
					values = append(values, v)
				}
				counts[v]++
			}
		}
	}
	slices.Sort(values)
	for _, v := range values {
		x, y = append(x, a[v]), append(y, b[v])
	}
	return x, y
}
