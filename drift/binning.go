package drift

import (
	"math"
	"slices"
)

// maxEvenBins bounds what a rule for the number of bins may ask for.
const maxEvenBins = 1 << 16

// SturgesEdges returns the edges of ⌈log₂ n + 1⌉ bins of equal width from the
// least to the greatest value, bit for bit those of numpy.histogram_bin_edges(values,
// "sturges"). NaN and infinities must not be among the values.
//
// Special cases:
//
//	no value:               0 and 1
//	one distinct value v:   v − ½ and v + ½
//	infinite, NaN, or a range too wide or too fine to be cut: nil
//
// Source: Sturges, "The choice of a class interval", JASA 21 (1926).
func SturgesEdges(values []float64) []float64 {
	return edgesByWidth(values, func(span float64) float64 {
		return span / (math.Log2(float64(len(values))) + 1)
	})
}

// DoaneEdges is [SturgesEdges] with more bins for skewed values, those of
// numpy.histogram_bin_edges(values, "doane"). With the skewness g₁, the bins are
//
//	1 + log₂ n + log₂(1 + |g₁|/σ),   σ = √(6(n−2)/((n+1)(n+3)))
//
// Source: Doane, "Aesthetic frequency classification", American Statistician 30 (1976).
func DoaneEdges(values []float64) []float64 {
	return edgesByWidth(values, func(span float64) float64 {
		n := float64(len(values))
		mean := pairwiseSum(values) / n
		deviation := math.Sqrt(meanPower(values, mean, 1, 2))
		if n <= 2 || !(deviation > 0) {
			return 0
		}
		skewness := meanPower(values, mean, deviation, 3)
		sigma := math.Sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
		return span / (1 + math.Log2(n) + math.Log2(1+math.Abs(skewness)/sigma))
	})
}

// edgesByWidth cuts the range of values into bins of about the width that the
// rule gives for its span, into one if that is 0.
func edgesByWidth(values []float64, rule func(span float64) float64) []float64 {
	if len(values) == 0 {
		return []float64{0, 1}
	}
	low, high := slices.Min(values), slices.Max(values) // NaN if there is one
	if span := high - low; span-span != 0 {
		return nil
	}
	span := high - low
	if low == high {
		low, high = low-0.5, high+0.5
	}
	bins := 1
	if width := rule(span); width > 0 {
		bins = int(min(maxEvenBins, math.Ceil((high-low)/width)))
	}
	return linearEdges(low, high, bins)
}

// linearEdges is numpy.linspace(low, high, bins+1), nil where two edges are equal.
func linearEdges(low, high float64, bins int) []float64 {
	step := (high - low) / float64(bins)
	edges := make([]float64, bins+1)
	for i := range edges {
		edges[i] = float64(float64(i)*step) + low
	}
	edges[bins] = high
	for i := range bins {
		if !(edges[i] < edges[i+1]) {
			return nil
		}
	}
	return edges
}

// meanPower returns Σ ((v − mean)/unit)ᵏ/n, summed pairwise.
func meanPower(values []float64, mean, unit float64, k int) float64 {
	powers := make([]float64, len(values))
	for i, v := range values {
		base := (v - mean) / unit
		powers[i] = base
		for range k - 1 {
			powers[i] *= base
		}
	}
	return pairwiseSum(powers) / float64(len(values))
}

// pairwiseSum adds in the order in which NumPy adds: halves down to 128 values,
// and these in eight lanes. The error grows with log n only.
func pairwiseSum(values []float64) float64 {
	const block, lanes = 128, 8
	n := len(values)
	switch {
	case n < lanes:
		sum := 0.0
		for _, v := range values {
			sum += v
		}
		return sum
	case n > block:
		half := n / 2
		half -= half % lanes
		return pairwiseSum(values[:half]) + pairwiseSum(values[half:])
	}
	r := [lanes]float64(values)
	i := lanes
	for ; i+lanes <= n; i += lanes {
		for lane, v := range values[i : i+lanes] {
			r[lane] += v
		}
	}
	sum := ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
	for _, v := range values[i:] {
		sum += v
	}
	return sum
}

// BinCounts is how many values of a sample lie in each bin, and how many in none.
type BinCounts struct {
	Bins         []int64
	Below, Above int64 // finite, but outside the edges
	NegInf       int64
	PosInf       int64
	Missing      int64 // NaN; a caller adds its nulls
}

// CountBins counts a sample over the bins between ascending edges. A bin holds its
// lower edge but not its upper one; the last bin holds both, as in NumPy.
// Infinities are never inside, even if an edge is infinite.
func CountBins(s Sample, edges []float64) BinCounts {
	counts := BinCounts{Bins: make([]int64, max(0, len(edges)-1))}
	if len(edges) < 2 {
		edges = []float64{math.Inf(1), math.Inf(1)}
	}
	last := len(edges) - 2
	low, high := edges[0], edges[last+1]
	for _, piece := range s {
		for _, v := range piece {
			switch {
			case v != v:
				counts.Missing++
			case math.IsInf(v, 1):
				counts.PosInf++
			case math.IsInf(v, -1):
				counts.NegInf++
			case v < low:
				counts.Below++
			case v > high:
				counts.Above++
			case v >= edges[last]:
				counts.Bins[last]++
			default:
				counts.Bins[binOf(v, edges)]++
			}
		}
	}
	return counts
}

// Mass names what may be a cell of its own beside the bins.
type Mass uint

// The masses. They may be added.
const (
	Outside  Mass = 1 << iota // finite values below the first or above the last edge, in one cell
	Infinite                  // −∞ and +∞, a cell each
	Missing                   // NaN and nulls
)

// Cells returns the bins and, after them, the cells of the masses asked for: so two
// counts over the same edges can be compared by any distance or test over cells, with
// missing values, infinities and values outside as mass of their own.
func (b BinCounts) Cells(with Mass) []int64 {
	cells := slices.Clone(b.Bins)
	if with&Outside != 0 {
		cells = append(cells, b.Below+b.Above)
	}
	if with&Infinite != 0 {
		cells = append(cells, b.NegInf, b.PosInf)
	}
	if with&Missing != 0 {
		cells = append(cells, b.Missing)
	}
	return cells
}
