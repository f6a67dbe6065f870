package drift

import (
	"math"
	"slices"
)

// Finding D without sorting.
//
// A monotone map sends each value to a cell. One pass counts both samples:
//
//	cell          0        1      2      …     K-2      K-1       K
//	values      v < lo  ├──── equal steps from lo to hi ───┤  v > hi   NaN
//	reference     n₀       n₁     n₂           …         …        missing
//	current       m₀       m₁     m₂           …         …        missing
//
// The running sums give F − G at the right edge of each cell exactly. Inside a
// cell that holds a of the n and b of the m values, with difference l at its left
// edge and r at its right one, the difference stays within
//
//	max(l − b/m, r − a/n)  ≤  F − G  ≤  min(l + a/n, r + b/m)
//
// because it rises only by reference values and falls only by current ones. Most
// cells cannot reach the best edge. A second pass gathers the values of those
// that can, and only they are sorted. A cell that holds one value many times, as
// rounded data has them, is counted and not gathered.

const (
	// cellsMin is the pooled length from which cells beat sorting.
	cellsMin = 1 << 12

	// There is a cell for every eighth value, as far as the counts fit in the cache.
	valuesPerCell = 8
	maxCells      = 1 << 16

	// A map is chosen by one in sampledShare values of each side, at most
	// maxSampled. It decides speed, never the result.
	sampledShare = 32
	maxSampled   = 2048

	// boundSlack covers the rounding of the bounds, which is below 1e-15; two
	// neighbouring distances differ by at least 1/(n·m) where it matters.
	boundSlack = 1e-14
)

// findExtremes returns what extremesBySorting returns, in the direction (or,
// two-sided, the larger of the directions) that the alternative asks for. If it counts
// values into cells, those that also names take part in its second pass.
func findExtremes(reference, current Sample, alternative Alternative, also func(counts orderedCounts, n, m int) []cellTaker) extremes {
	total := reference.Len() + current.Len()
	if total < cellsMin || uint64(max(reference.Len(), current.Len())) > math.MaxUint32 {
		return extremesBySorting(reference, current)
	}
	return extremesByCells(reference, current, alternative, min(total/valuesPerCell, maxCells), also)
}

// cellMap sends values to cells 0 … last, NaN to cell last+1. It is monotone.
type cellMap struct {
	last int

	// Linear in the value …
	lo, perUnit, steps float64

	// … or, for values of many magnitudes, linear in the ordered bits.
	byBits bool
	loBits uint64
	shift  int
}

func (c *cellMap) cell(v float64) int {
	if c.byBits {
		return c.cellByBits(v)
	}
	t := (v - c.lo) * c.perUnit
	if t >= 0 {
		if t < c.steps {
			return int(t) + 1
		}
		return c.last
	}
	if t < 0 {
		return 0
	}
	return c.last + 1
}

func (c *cellMap) cellByBits(v float64) int {
	if v != v {
		return c.last + 1
	}
	b := orderedBits(v + 0) // one zero
	if b < c.loBits {
		return 0
	}
	return int(min((b-c.loBits)>>c.shift, uint64(c.last)-1)) + 1
}

// chooseMap looks at a few values of each side and takes the map that keeps
// different ones apart best. The values are tied if most of those that it looks at are equal to another one.
func chooseMap(reference, current Sample, cells int) (mapping cellMap, tied bool) {
	limit := func(s Sample) int { return min(s.Len()/sampledShare+1, maxSampled) }
	sample := reference.strided(nil, limit(reference))
	sample = current.strided(sample, limit(current))
	sample = slices.DeleteFunc(sample, func(v float64) bool { return math.IsInf(v, 0) })
	if len(sample) == 0 {
		sample = append(sample, 0)
	}
	slices.Sort(sample)
	tied = len(slices.Compact(slices.Clone(sample))) < len(sample)/2
	lo, hi := sample[len(sample)/200], sample[len(sample)-1-len(sample)/200]
	if lo == hi {
		lo, hi = sample[0], sample[len(sample)-1]
	}
	byBits := bitsMap(lo, hi, cells)
	linear, ok := linearMap(lo, hi, cells)
	if !ok || byBits.collisions(sample) < linear.collisions(sample) {
		return byBits, tied
	}
	return linear, tied
}

// linearMap reports false where lo and hi are too close or too far apart for
// the step to be a normal number.
func linearMap(lo, hi float64, cells int) (cellMap, bool) {
	steps := float64(cells - 2)
	perUnit := steps / (hi - lo)
	ok := perUnit > 0 && !math.IsInf(perUnit, 0) && !math.IsInf(hi-lo, 0)
	return cellMap{last: cells - 1, lo: lo, perUnit: perUnit, steps: steps}, ok
}

func bitsMap(lo, hi float64, cells int) cellMap {
	loBits, hiBits := orderedBits(lo+0), orderedBits(hi+0)
	shift := 0
	for (hiBits-loBits)>>shift >= uint64(cells-2) {
		shift++
	}
	return cellMap{last: cells - 1, byBits: true, loBits: loBits, shift: shift}
}

// collisions counts the neighbours in the sorted sample that differ and yet share a cell.
func (c *cellMap) collisions(sample []float64) int {
	count := 0
	for i := 1; i < len(sample); i++ {
		if sample[i-1] != sample[i] && c.cell(sample[i-1]) == c.cell(sample[i]) {
			count++
		}
	}
	return count
}

// blockSize is how many values countBlocks and filterBlocks take at once.
const blockSize = 8

// counted is how many values of a sample lie in each cell, and what else the pass over them found.
type counted struct {
	cells  []uint32
	within valueRange
}

// countedAtOnce values are in the nearest cache when they are looked at again.
const countedAtOnce = 1024

// counts counts how many values lie in each cell, and, of values that are tied, takes note of those in single.
func (c *cellMap) counts(s Sample, single *singles) counted {
	found := counted{cells: make([]uint32, c.last+2), within: emptyRange()}
	for _, piece := range s {
		for len(piece) > 0 {
			values := piece[:min(len(piece), countedAtOnce)]
			piece = piece[len(values):]
			found.within.add(values)
			if single != nil {
				c.countSingles(found.cells, values, single)
				continue
			}
			if blocks := len(values) / blockSize; blocks > 0 && c.hasBlocks() {
				c.countInBlocks(found.cells, &values[0], blocks)
				values = values[blocks*blockSize:]
			}
			c.countInto(found.cells, values)
		}
	}
	return found
}

// singles are the values of cells that hold one value only, however often. Inside of such a cell there is
// nothing to look for.
type singles struct {
	first []float64 // by cell: the value; NaN where none was met, or several
	mixed []bool    // several
}

func newSingles(cells int) *singles {
	s := &singles{first: make([]float64, cells), mixed: make([]bool, cells)}
	for i := range s.first {
		s.first[i] = math.NaN()
	}
	return s
}

// of is the only value of a cell.
func (s *singles) of(cell int) (value float64, only bool) {
	if s == nil {
		return math.NaN(), false
	}
	return s.first[cell], s.first[cell] == s.first[cell]
}

// countSingles is countInto, and keeps s.
func (c *cellMap) countSingles(counts []uint32, values []float64, s *singles) {
	lo, perUnit, steps := c.lo, c.perUnit, c.steps // steps is 0 if by bits
	for _, v := range values {
		cell := 0
		if t := (v - lo) * perUnit; t >= 0 && t < steps {
			cell = int(t) + 1
		} else {
			cell = c.cell(v)
		}
		counts[cell]++
		if s.first[cell] != v && !s.mixed[cell] {
			s.meet(cell, v)
		}
	}
}

// meet takes in a value that its cell does not have yet.
func (s *singles) meet(cell int, v float64) {
	if math.IsNaN(s.first[cell]) {
		s.first[cell] = v
		return
	}
	s.first[cell], s.mixed[cell] = math.NaN(), true
}

// hasBlocks reports whether this processor has wide instructions for the map.
func (c *cellMap) hasBlocks() bool { return hasBlocks || hasAVX2 && (!c.byBits || c.shift > 0) }

func (c *cellMap) countInBlocks(counts []uint32, values *float64, blocks int) {
	missing := uint32(c.last + 1)
	switch {
	case c.byBits && hasBlocks:
		countBitsBlocks(values, blocks, c.loBits, c.shift, uint64(c.last-1), missing, &counts[0])
	case hasBlocks:
		countBlocks(values, blocks, c.lo, c.perUnit, c.steps, missing, &counts[0])
	case c.byBits:
		countBitsBlocksAVX2(values, blocks, c.loBits, c.shift, uint64(c.last-1), missing, &counts[0])
	default:
		countBlocksAVX2(values, blocks, c.lo, c.perUnit, c.steps, missing, &counts[0])
	}
}

func (c *cellMap) countInto(counts []uint32, values []float64) {
	if c.byBits {
		for _, v := range values {
			counts[c.cellByBits(v)]++
		}
		return
	}
	lo, perUnit, steps := c.lo, c.perUnit, c.steps
	for _, v := range values {
		t := (v - lo) * perUnit
		if t >= 0 && t < steps {
			counts[int(t)+1]++
		} else {
			counts[c.cell(v)]++
		}
	}
}

// extremesByCells is findExtremes for large samples.
// It wants at least 4 cells, and at most 2³²−1 values a side.
func extremesByCells(reference, current Sample, alternative Alternative, cells int, also func(counts orderedCounts, n, m int) []cellTaker) extremes {
	mapping, tied := chooseMap(reference, current, cells)
	var single *singles
	if tied {
		single = newSingles(mapping.last + 2)
	}
	countedReference, countedCurrent := mapping.counts(reference, single), mapping.counts(current, single)
	inReference, inCurrent := countedReference.cells, countedCurrent.cells
	n := reference.Len() - int(inReference[cells])
	m := current.Len() - int(inCurrent[cells])
	found := newExtremes(n, m)
	found.counts = orderedCounts{inReference[:cells], inCurrent[:cells], &mapping, countedReference.within.join(countedCurrent.within)}
	if n == 0 || m == 0 {
		return found
	}
	slots := candidates(inReference, inCurrent, n, m, alternative)
	parts := newCellParts(slots, single)
	takers := []cellTaker{parts}
	if also != nil {
		takers = append(takers, also(found.counts, n, m)...)
	}
	mapping.gather(reference, current, takers)
	SortNumbers(parts.reference.values)
	SortNumbers(parts.current.values)
	i, j := 0, 0
	for cell := range cells {
		if slot := slots[cell]; slot > 0 {
			parts.observe(&found, int(slot)-1, i, j, int(inReference[cell]), int(inCurrent[cell]))
		}
		i += int(inReference[cell])
		j += int(inCurrent[cell])
	}
	return found
}

// candidates numbers, from 1 on, the cells in which the extreme may lie; the
// other cells are 0.
func candidates(inReference, inCurrent []uint32, n, m int, alternative Alternative) []uint32 {
	cells := len(inReference) - 1
	left, right := make([]float64, cells), make([]float64, cells)
	i, j := 0, 0
	difference, above, below := 0.0, 0.0, 0.0
	for cell := range cells {
		left[cell] = difference
		i += int(inReference[cell])
		j += int(inCurrent[cell])
		difference = float64(i)/float64(n) - float64(j)/float64(m)
		right[cell] = difference
		above, below = max(above, difference), max(below, -difference)
	}
	switch alternative {
	case TwoSided:
		above = max(above, below)
		below = above
	case Less:
		above = math.Inf(1)
	case Greater:
		below = math.Inf(1)
	}
	slots := make([]uint32, cells+1)
	used := uint32(0)
	for cell := range cells {
		rise, fall := float64(inReference[cell])/float64(n), float64(inCurrent[cell])/float64(m)
		if rise == 0 && fall == 0 {
			continue
		}
		highest := min(left[cell]+rise, right[cell]+fall)
		lowest := max(left[cell]-fall, right[cell]-rise)
		if highest >= above-boundSlack || -lowest >= below-boundSlack {
			used++
			slots[cell] = used
		}
	}
	return slots
}

// cellParts holds the values of the candidate cells: of each cell the first
// value met, once, and all others. The cell's count says how often it was met.
type cellParts struct {
	slots              []uint32
	single             *singles  // of these cells the value is known already
	first              []float64 // by slot-1; NaN until one is met
	reference, current gathered
}

type gathered struct {
	others []uint32  // by slot-1: how many of the cell's values are not its first one
	values []float64 // these, of all cells
}

func newCellParts(slots []uint32, single *singles) *cellParts {
	used := slices.Max(slots)
	first := make([]float64, used)
	for cell, slot := range slots {
		if slot > 0 {
			first[slot-1], _ = single.of(cell)
		}
	}
	return &cellParts{
		slots: slots, single: single, first: first,
		reference: gathered{others: make([]uint32, used)},
		current:   gathered{others: make([]uint32, used)},
	}
}

func (p *cellParts) wants(cell int) bool {
	_, only := p.single.of(cell)
	return p.slots[cell] > 0 && !only
}

func (p *cellParts) take(side, cell int, v float64) {
	slot, into := p.slots[cell], &p.reference
	if side == ofCurrent {
		into = &p.current
	}
	if slot > 0 {
		p.keep(v, slot-1, into)
	}
}

// The two samples, where they are counted by side.
const (
	ofReference = iota
	ofCurrent
)

// cellTaker wants the values of some cells. It is given those that others want, too.
type cellTaker interface {
	wants(cell int) bool
	take(side, cell int, v float64)
}

// wantedBy has a bit for each cell that somebody wants. It fits in the nearest cache, where a byte
// for each would not.
func (c *cellMap) wantedBy(takers []cellTaker) []uint32 {
	wanted := make([]uint32, (c.last+2)/32+1)
	for cell := range c.last + 1 {
		for _, t := range takers {
			if t.wants(cell) {
				wanted[cell/32] |= 1 << (cell % 32)
				break
			}
		}
	}
	return wanted
}

// gather goes once over both samples for all that want values of some cells.
func (c *cellMap) gather(reference, current Sample, takers []cellTaker) {
	wanted := c.wantedBy(takers)
	for side, s := range []Sample{ofReference: reference, ofCurrent: current} {
		c.filter(s, wanted, func(found []float64) {
			for _, v := range found {
				cell := c.cell(v)
				for _, t := range takers {
					t.take(side, cell, v)
				}
			}
		})
	}
}

// filteredAtOnce is a multiple of blockSize, and small enough for the nearest cache.
const filteredAtOnce = 1024

type filtered [filteredAtOnce + blockSize]float64

// filter calls visit with the values whose cell's bit is set in wanted, in order and
// some at a time. visit must not keep them.
func (c *cellMap) filter(s Sample, wanted []uint32, visit func(found []float64)) {
	var found filtered
	for _, piece := range s {
		for len(piece) > 0 {
			values := piece[:min(len(piece), filteredAtOnce)]
			piece = piece[len(values):]
			visit(found[:c.filterInto(&found, values, wanted)])
		}
	}
}

func (c *cellMap) filterInto(found *filtered, values []float64, wanted []uint32) (count int) {
	if blocks := len(values) / blockSize; blocks > 0 && c.hasBlocks() {
		count = c.filterInBlocks(found, &values[0], blocks, wanted)
		values = values[blocks*blockSize:]
	}
	lo, perUnit, steps := c.lo, c.perUnit, c.steps // steps is 0 if by bits
	for _, v := range values {
		cell := 0
		if t := (v - lo) * perUnit; t >= 0 && t < steps {
			cell = int(t) + 1
		} else {
			cell = c.cell(v)
		}
		found[count] = v // which the next one overwrites if nobody wants it: a branch would often be guessed wrong
		count += int(wanted[cell/32] >> (cell % 32) & 1)
	}
	return count
}

func (c *cellMap) filterInBlocks(found *filtered, values *float64, blocks int, wanted []uint32) (count int) {
	missing := uint32(c.last + 1)
	switch {
	case c.byBits && hasBlocks:
		return filterBitsBlocks(values, blocks, c.loBits, c.shift, uint64(c.last-1), missing, &wanted[0], &found[0])
	case hasBlocks:
		return filterBlocks(values, blocks, c.lo, c.perUnit, c.steps, missing, &wanted[0], &found[0])
	case c.byBits:
		return filterBitsBlocksAVX2(values, blocks, c.loBits, c.shift, uint64(c.last-1), missing, &wanted[0], &found[0])
	}
	return filterBlocksAVX2(values, blocks, c.lo, c.perUnit, c.steps, missing, &wanted[0], &found[0])
}

// keep takes in a value of a slot, counted from 0.
func (p *cellParts) keep(v float64, slot uint32, into *gathered) {
	first := p.first[slot]
	switch {
	case v == first: // as all others are counted, so are these
	case first != first:
		p.first[slot] = v
	default:
		into.others[slot]++
		into.values = append(into.values, v)
	}
}

// observe walks through one candidate cell, which holds inReference and
// inCurrent values after i and j smaller ones. It takes the cell's values off
// the front of the gathered ones, so cells must come in ascending order.
func (p *cellParts) observe(found *extremes, slot, i, j, inReference, inCurrent int) {
	x := takeFirst(&p.reference, int(p.reference.others[slot]))
	y := takeFirst(&p.current, int(p.current.others[slot]))
	firstInX, firstInY := inReference-len(x), inCurrent-len(y)
	first, pending := p.first[slot], true
	for pending || len(x) > 0 || len(y) > 0 {
		at := first
		if len(x) > 0 || len(y) > 0 {
			at = smaller(x, y)
		}
		fromX, fromY := 0, 0
		if pending && first <= at {
			at, pending = first, false
			fromX, fromY = firstInX, firstInY
		} else {
			fromX, fromY = leading(x, at), leading(y, at)
			x, y = x[fromX:], y[fromY:]
		}
		i, j = i+fromX, j+fromY
		found.observe(i, j, at, fromX > 0)
	}
}

func takeFirst(g *gathered, count int) []float64 {
	taken := g.values[:count]
	g.values = g.values[count:]
	return taken
}
