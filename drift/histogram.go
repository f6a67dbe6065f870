package drift

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sort"
)

const (
	maxBins       = 30
	minBins       = 5
	maxCategories = 20

	// binnedValues per side choose the bins; all values are counted.
	binnedValues = 1 << 13
)

// OtherCategories names the sum of the categories that a histogram leaves out.
const OtherCategories = "(other)"

// Histogram counts two samples over the same bins, for people to look at. No
// test is computed from it.
type Histogram struct {
	Edges              []float64 // numbers: one more than bins, strictly ascending; nil for categories
	Categories         []string  // categories: one per bin; nil for numbers
	Reference, Current []int64
	Infinite           int // how many of the values counted are infinite
}

// NewHistogram counts two samples over common bins of equal width.
//
// A bin holds its lower edge but not its upper one; the last bin holds both. The
// bins run from the least to the greatest finite value of both sides. Where one
// end lies farther out than a quarter of the span between the 0.5 % and 99.5 %
// quantiles, the bins end at that quantile, and the outliers and infinities are
// gathered in the end bin, so that one sentinel value does not flatten the
// picture. Missing values are not counted.
//
// The width is that of Freedman and Diaconis, 2·IQR/∛N, giving at least 5 bins
// and at most 30. Bins of whole numbers begin and end half-way between two of
// them, so that each holds as many; a span below 30 gets one bin per number.
// Quantiles are taken over up to 8,192 values of each side, evenly
// spread, so that both weigh alike.
//
// Special cases:
//
//	no finite value on either side: one bin around 0 if there are infinities, else none
//	one distinct value v:           one bin from v−½ to v+½, or to the next floats
//
// Source: Freedman and Diaconis, "On the histogram as a density estimator", 1981.
func NewHistogram(reference, current Sample) Histogram {
	all := rangeOf(reference).join(rangeOf(current))
	edges := binEdges(reference, current, all)
	if edges == nil {
		return Histogram{}
	}
	return Histogram{
		Infinite:  all.infinite,
		Edges:     edges,
		Reference: countBins(reference, edges),
		Current:   countBins(current, edges),
	}
}

func binEdges(reference, current Sample, all valueRange) []float64 {
	switch {
	case all.finite == 0 && all.infinite == 0:
		return nil
	case all.finite == 0:
		return []float64{-0.5, 0.5}
	case all.least == all.greatest:
		return edgesAround(all.least)
	}
	sample := reference.strided(make([]float64, 0, 2*binnedValues+2), binnedValues)
	sample = current.strided(sample, binnedValues)
	sample = slices.DeleteFunc(sample, func(v float64) bool { return math.IsInf(v, 0) })
	if len(sample) == 0 {
		return evenEdges(all.least, all.greatest, minBins)
	}
	SortNumbers(sample)
	if isDenselyWhole(all) && areWhole(sample) {
		return wholeEdges(all.least, all.greatest, 1)
	}
	low, high := fence(all, sample)
	width := 2 * (quantile(sample, 0.75) - quantile(sample, 0.25)) / math.Cbrt(float64(all.finite))
	bins := math.Ceil((high - low) / width)
	if !(bins <= maxBins) { // also for a width of 0
		bins = maxBins
	}
	if areWhole(sample) && max(-low, high) < 1<<51 {
		return wholeEdges(low, high, math.Ceil((high-low+1)/max(minBins, bins)))
	}
	return evenEdges(low, high, max(minBins, int(bins)))
}

// valueRange is the range of the finite values of a sample.
type valueRange struct {
	least, greatest  float64
	finite, infinite int
}

func emptyRange() valueRange { return valueRange{least: math.Inf(1), greatest: math.Inf(-1)} }

func rangeOf(s Sample) valueRange {
	r := emptyRange()
	for _, piece := range s {
		r.add(piece)
	}
	return r
}

func (r *valueRange) add(values []float64) {
	if blocks := len(values) / blockSize; blocks > 0 && hasAVX2 {
		within := [2]float64{r.least, r.greatest}
		done := blockSize * rangeBlocksAVX2(&values[0], blocks, &within)
		r.least, r.greatest, r.finite, values = within[0], within[1], r.finite+done, values[done:]
	}
	least, greatest, infinite, missing := r.least, r.greatest, 0, 0
	for _, v := range values {
		if v-v != 0 {
			if v == v {
				infinite++
			} else {
				missing++
			}
			continue
		}
		if v < least {
			least = v
		}
		if v > greatest {
			greatest = v
		}
	}
	// The zeros are equal, and one is less: which of them is met first must not show.
	r.least, r.greatest = least+0, greatest+0
	r.finite, r.infinite = r.finite+len(values)-infinite-missing, r.infinite+infinite
}

func (r valueRange) join(other valueRange) valueRange {
	return valueRange{
		least: min(r.least, other.least), greatest: max(r.greatest, other.greatest),
		finite: r.finite + other.finite, infinite: r.infinite + other.infinite,
	}
}

// fence cuts off ends of the range that lie far from the central 99 %.
func fence(all valueRange, sorted []float64) (low, high float64) {
	low, high = quantile(sorted, 0.005), quantile(sorted, 0.995)
	if low == high {
		return all.least, all.greatest
	}
	far := (high - low) / 4
	if low-all.least <= far {
		low = all.least
	}
	if all.greatest-high <= far {
		high = all.greatest
	}
	return low, high
}

// quantile returns the value below which about a share q of the sorted values lies.
func quantile(sorted []float64, q float64) float64 {
	return sorted[int(q*float64(len(sorted)-1))]
}

// isDenselyWhole reports whether the range runs between whole numbers that are
// few, and small enough that their halves are floats too.
func isDenselyWhole(r valueRange) bool {
	return r.greatest-r.least < maxBins && areWhole([]float64{r.least, r.greatest}) &&
		max(-r.least, r.greatest) < 1<<51
}

func areWhole(values []float64) bool {
	for _, v := range values {
		if v != math.Trunc(v) {
			return false
		}
	}
	return true
}

func edgesAround(v float64) []float64 {
	low, high := v-0.5, v+0.5
	if low == v || high == v {
		low, high = math.Nextafter(v, math.Inf(-1)), math.Nextafter(v, math.Inf(1))
	}
	return []float64{low, high}
}

// wholeEdges cuts least … greatest into bins that hold as many whole numbers each.
func wholeEdges(least, greatest, width float64) []float64 {
	edges := []float64{least - 0.5}
	for last := least - 0.5; last < greatest; {
		last += width
		edges = append(edges, last)
	}
	return edges
}

// evenEdges cuts low … high into bins, or leaves it whole where the bins would
// be narrower than the floats are dense.
func evenEdges(low, high float64, bins int) []float64 {
	edges := make([]float64, bins+1)
	for i := range edges {
		share := float64(i) / float64(bins)
		edges[i] = low*(1-share) + high*share
	}
	edges[0], edges[bins] = low, high
	for i := range bins {
		if !(edges[i] < edges[i+1]) {
			return []float64{low, high}
		}
	}
	return edges
}

func countBins(s Sample, edges []float64) []int64 {
	counts := make([]int64, len(edges)-1)
	last := len(counts) - 1
	low, steps := edges[0], float64(len(counts))
	perUnit := steps / (edges[last+1] - low)
	for _, piece := range s {
		for _, v := range piece {
			// The guess is right but for rounding at the bin's ends.
			if t := (v - low) * perUnit; t > 0 && t < steps {
				if i := int(t); edges[i] <= v && v < edges[i+1] {
					counts[i]++
					continue
				}
			}
			switch {
			case v < edges[1]:
				counts[0]++
			case v >= edges[last]:
				counts[last]++
			case v == v:
				counts[binOf(v, edges)]++
			}
		}
	}
	return counts
}

// binnedCells are counts by bin of values that are counted by cells. Cells ascend with the values, so that
// all values of a cell are of one bin, but where an edge lies in it: the values of such cells are asked for.
type binnedCells struct {
	edges  []float64
	split  []bool     // by cell: an edge between two bins lies in it
	counts [2][]int64 // by side
}

func binCells(of orderedCounts, edges []float64) *binnedCells {
	b := &binnedCells{edges: edges, split: make([]bool, len(of.reference)+1)}
	inner := edges[1 : len(edges)-1]
	for _, edge := range inner {
		b.split[of.mapping.cell(edge)] = true
	}
	for side, counts := range [2][]uint32{of.reference, of.current} {
		b.counts[side] = make([]int64, len(edges)-1)
		cell := 0
		for bin := range b.counts[side] {
			end := len(counts)
			if bin < len(inner) {
				end = of.mapping.cell(inner[bin])
			}
			for ; cell < end; cell++ {
				if !b.split[cell] {
					b.counts[side][bin] += int64(counts[cell])
				}
			}
		}
	}
	return b
}

func (b *binnedCells) wants(cell int) bool { return b.split[cell] }

func (b *binnedCells) take(side, cell int, v float64) {
	if b.split[cell] {
		last := len(b.counts[side]) - 1
		b.counts[side][min(max(binOf(v, b.edges), 0), last)]++
	}
}

// binOf returns the bin of a value between the edges.
func binOf(v float64, edges []float64) int {
	return sort.Search(len(edges), func(i int) bool { return edges[i] > v }) - 1
}

// NewCategoryHistogram returns the counts of the 20 categories that are the most
// frequent on both sides together, the largest first and equals by name, and the
// sum of the others as [OtherCategories].
func NewCategoryHistogram(reference, current map[string]int64) Histogram {
	totals := maps.Clone(reference)
	if totals == nil {
		totals = map[string]int64{}
	}
	for name, count := range current {
		totals[name] += count
	}
	type category struct {
		name  string
		total int64
	}
	before := func(a, b category) int { return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.name, b.name)) }
	var top []category // in order, maxCategories at most: of 20,000 names, few ever get there
	for name, total := range totals {
		c := category{name, total}
		if len(top) == maxCategories && before(top[maxCategories-1], c) < 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, c, before)
		top = slices.Insert(top[:min(len(top), maxCategories-1)], min(at, maxCategories-1), c)
	}
	var h Histogram
	rest := [2]int64{}
	for side, counts := range []map[string]int64{reference, current} {
		for _, count := range counts {
			rest[side] += count
		}
	}
	for _, c := range top {
		h.Categories = append(h.Categories, c.name)
		h.Reference, h.Current = append(h.Reference, reference[c.name]), append(h.Current, current[c.name])
		rest[0], rest[1] = rest[0]-reference[c.name], rest[1]-current[c.name]
	}
	if len(totals) > maxCategories {
		h.Categories = append(h.Categories, OtherCategories)
		h.Reference, h.Current = append(h.Reference, rest[0]), append(h.Current, rest[1])
	}
	return h
}

// CategoryNames returns the names that either side has, sorted.
func CategoryNames(reference, current map[string]int64) []string {
	names := make(map[string]struct{}, max(len(reference), len(current)))
	for name := range reference {
		names[name] = struct{}{}
	}
	for name := range current {
		names[name] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}
