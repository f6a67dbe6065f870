package profile

import "math"

// boundSlack covers the rounding of the bounds, which is below 1e-15.
const boundSlack = 1e-14

// Bracket is an interval that holds a value for certain.
type Bracket struct{ Low, High float64 }

// Exact reports whether the value is known.
func (b Bracket) Exact() bool { return b.Low == b.High }

// Difference is what two profiles of numbers say of the difference between their columns.
type Difference struct {
	N, M int64 // values: reference, current. Infinities are values, null and NaN are not.

	// D is the statistic of Kolmogorov and Smirnov: the greatest distance between the two
	// empirical distribution functions F (reference) and G. Its lower end is a distance
	// that there is.
	D        Bracket
	Location float64 // about where the lower end is reached
	Sign     int     // +1 if F > G there, else −1

	// Wasserstein is ∫|F − G|, NaN if there are infinities.
	Wasserstein Bracket
}

// Compare brackets the difference between two columns of numbers from their profiles. D and
// Wasserstein are NaN if a side has no values.
//
// Between two cells F − G is known. Inside a cell with a of the n and b of the m values that
// are no spikes, after spikes that change F − G by s, it lies within
//
//	l + s − b/m  ≤  F − G  ≤  l + s + a/n
//
// where l is the difference at its left edge. So the bracket of D is no wider than the
// greatest share that one cell, its spikes left out, has of both sides.
func Compare(reference, current *Column) (Difference, error) {
	if reference.m.fingerprint != current.m.fingerprint {
		return Difference{}, ErrOtherMap
	}
	w := newWalk(reference.m, &reference.totals, &current.totals, 0)
	merge(&reference.cells, &current.cells, w.group)
	return w.end(), nil
}

// CompareOutlines is [Compare] of outlines: its cells are 64 times as wide.
func CompareOutlines(reference, current *Outline) (Difference, error) {
	return compareOutlines(reference, current, true)
}

// OutlineDistance is [CompareOutlines] without Wasserstein, which is NaN, in a fifth of the
// time: what a comparison of thousands of columns asks for.
func OutlineDistance(reference, current *Outline) (Difference, error) {
	return compareOutlines(reference, current, false)
}

func compareOutlines(reference, current *Outline, areas bool) (Difference, error) {
	if reference.m.fingerprint != current.m.fingerprint {
		return Difference{}, ErrOtherMap
	}
	w := newWalk(reference.m, &reference.totals, &current.totals, groupBits)
	w.areas = areas
	for group := 0; group < groups; group++ {
		if !areas {
			group = w.plain(reference.counts, current.counts, group)
		}
		if group < groups && reference.counts[group]|current.counts[group] > 0 {
			w.group(group, reference.counts[group], current.counts[group])
		}
	}
	return w.end(), nil
}

// plain is [walk.group], without areas, of all groups from one on up to one with a spike, which it
// returns. Most groups have none, so this is where the time of a comparison goes.
func (w *walk) plain(reference, current []uint64, group int) int {
	end := min(groups, w.spikeCell>>w.bits)
	if group >= end {
		return group
	}
	i, j, difference := w.i, w.j, w.difference
	high, near := math.Inf(-1), w.found.D.Low-boundSlack
	current = current[:len(reference)]
	for ; group < end; group++ {
		a, b := reference[group], current[group]
		if a|b == 0 {
			continue
		}
		if above := difference + float64(a)*w.ofN; above > high {
			high = above
		}
		if below := float64(b)*w.ofM - difference; below > high {
			high = below
		}
		i, j = i+a, j+b
		if difference = float64(i)*w.ofN - float64(j)*w.ofM; !(math.Abs(difference) < near) {
			w.to(i, j)
			w.exactly(spot{group: group})
			near = w.found.D.Low - boundSlack
		}
	}
	w.to(i, j)
	w.atMost(high)
	return group
}

// merge calls with every cell that either side has values in, in ascending order.
func merge(reference, current *cells, with func(cell int, a, b uint64)) {
	var counts [2][]uint64
	for side, c := range []*cells{reference, current} {
		counts[side] = make([]uint64, Cells)
		c.each(func(cell int, n uint64) { counts[side][cell] = n })
	}
	for cell, a := range counts[0] {
		if b := counts[1][cell]; a > 0 || b > 0 {
			with(cell, a, b)
		}
	}
}

// walk goes over the values of both sides from the least to the greatest.
type walk struct {
	m                  *Map
	bits               int  // cells to a group, as a power of two
	areas              bool // whether Wasserstein is wanted
	reference, current *totals
	ofN, ofM           float64 // 1/N and 1/M
	i, j               uint64  // values passed
	difference         float64 // F − G where the walk is, but for rounding
	spike, spikeCell   int     // the next one, and its cell
	found              Difference
	widest             float64 // D.Low with its sign
	place              spot    // where that is
	edge               float64 // where the last group ended
	least, greatest    float64 // of both sides
}

// spot is a value, or the end of a group of cells, which takes time to tell.
type spot struct {
	group int // −1: value
	value float64
}

func newWalk(m *Map, reference, current *totals, bits int) *walk {
	w := &walk{m: m, bits: bits, areas: true, reference: reference, current: current, place: spot{-1, math.NaN()}}
	w.found.N, w.found.M = reference.Values(), current.Values()
	w.ofN, w.ofM = 1/float64(w.found.N), 1/float64(w.found.M)
	w.least, w.greatest = min(reference.min, current.min), max(reference.max, current.max)
	w.edge = w.least
	w.toSpike(0)
	if w.found.N > 0 && w.found.M > 0 && reference.infinite[0]+current.infinite[0] > 0 {
		w.to(reference.infinite[0], current.infinite[0])
		w.exactly(spot{-1, math.Inf(-1)})
	}
	return w
}

// to goes on to where so many values were passed.
func (w *walk) to(i, j uint64) {
	w.i, w.j = i, j
	w.difference = float64(i)*w.ofN - float64(j)*w.ofM
}

func (w *walk) toSpike(spike int) {
	w.spike, w.spikeCell = spike, Cells
	if spike < len(w.m.spikes) {
		w.spikeCell = int(w.m.cell(w.m.spikes[spike]))
	}
}

// exactly takes in that the difference is what it is at a place. It divides only where that
// may matter: most places of a walk are far from the widest.
func (w *walk) exactly(at spot) {
	if math.Abs(w.difference) < w.found.D.Low-boundSlack {
		return
	}
	difference := float64(w.i)/float64(w.found.N) - float64(w.j)/float64(w.found.M)
	if distance := math.Abs(difference); distance > w.found.D.Low || w.place.group < 0 && math.IsNaN(w.place.value) {
		w.found.D.Low, w.widest, w.place = distance, difference, at
	}
}

// atMost takes in that the distance may be as large as this somewhere.
func (w *walk) atMost(distance float64) {
	if distance += boundSlack; distance > w.found.D.High {
		w.found.D.High = distance
	}
}

// group takes in the a and b values of a group of cells.
func (w *walk) group(group int, a, b uint64) {
	var high float64
	if w.areas {
		var low float64
		low, high = w.edges(group)
		w.pass(low)
	}
	i, j := w.i+a, w.j+b
	if w.spikeCell>>w.bits <= group {
		a, b = w.spikesIn(group, a, b)
	}
	w.mixed(a, b, high)
	w.to(i, j)
	w.exactly(spot{group: group})
}

// spikesIn goes over a group up to behind its last spike, and returns how many of its a and
// b values are no spikes.
func (w *walk) spikesIn(group int, a, b uint64) (restA, restB uint64) {
	for w.spikeCell>>w.bits < group {
		w.toSpike(w.spike + 1)
	}
	from := w.spike
	for ; w.spikeCell>>w.bits == group; w.toSpike(w.spike + 1) {
		a -= w.reference.spikes[w.spike]
		b -= w.current.spikes[w.spike]
	}
	for spike := from; spike < w.spike; spike++ {
		value := w.m.spikes[spike]
		w.mixed(a, b, value)
		w.to(w.i+w.reference.spikes[spike], w.j+w.current.spikes[spike])
		if a|b == 0 {
			w.exactly(spot{-1, value})
		}
	}
	return a, b
}

// mixed takes in a stretch up to a value in which a and b values lie, nobody knows where.
func (w *walk) mixed(a, b uint64, to float64) {
	above, below := float64(a)*w.ofN, float64(b)*w.ofM
	if a|b > 0 {
		w.atMost(w.difference + above)
		w.atMost(below - w.difference)
	}
	if w.areas {
		w.area(to, w.difference-below, w.difference+above)
	}
}

// edges returns the edges of a group within the range of the values.
func (w *walk) edges(group int) (low, high float64) {
	low, high = w.m.edges(group<<w.bits, (group+1)<<w.bits-1)
	return max(low, w.least), min(high, w.greatest)
}

// pass goes on to a value; there is none in between.
func (w *walk) pass(to float64) { w.area(to, w.difference, w.difference) }

// area takes in a stretch up to a value, in which the difference lies between two others.
func (w *walk) area(to, low, high float64) {
	width := max(to-w.edge, 0)
	w.edge = max(w.edge, to)
	w.found.Wasserstein.Low += width * max(low, -high, 0)
	w.found.Wasserstein.High += width * max(high, -low)
}

func (w *walk) end() Difference {
	nan := Bracket{math.NaN(), math.NaN()}
	w.found.Sign, w.found.Location = +1, w.place.value
	if w.found.N == 0 || w.found.M == 0 {
		w.found.D, w.found.Wasserstein, w.found.Location = nan, nan, math.NaN()
		return w.found
	}
	w.found.D.High = max(w.found.D.Low, min(w.found.D.High, 1))
	if w.widest < 0 {
		w.found.Sign = -1
	}
	if w.place.group >= 0 {
		_, w.found.Location = w.edges(w.place.group)
	}
	if !w.areas || w.reference.infinite != [2]uint64{} || w.current.infinite != [2]uint64{} {
		w.found.Wasserstein = nan
	}
	return w.found
}
