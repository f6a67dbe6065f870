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
	if reference.m.fingerprint != current.m.fingerprint {
		return Difference{}, ErrOtherMap
	}
	w := newWalk(reference.m, &reference.totals, &current.totals, groupBits)
	for group, a := range reference.counts {
		if b := current.counts[group]; a > 0 || b > 0 {
			w.group(group, a, b)
		}
	}
	return w.end(), nil
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
	bits               int // cells to a group, as a power of two
	reference, current *totals
	perN, perM         float64 // values of each side, by which counts are divided
	i, j               uint64  // values passed
	spike              int     // the next
	found              Difference
	edge               float64 // where the last group ended
	least, greatest    float64 // of both sides
}

func newWalk(m *Map, reference, current *totals, bits int) *walk {
	w := &walk{m: m, bits: bits, reference: reference, current: current}
	w.found.N, w.found.M = reference.Values(), current.Values()
	w.perN, w.perM = float64(w.found.N), float64(w.found.M)
	w.least, w.greatest = min(reference.min, current.min), max(reference.max, current.max)
	w.edge = w.least
	w.found.Sign, w.found.Location = +1, math.NaN()
	w.i, w.j = reference.infinite[0], current.infinite[0]
	if w.found.N > 0 && w.found.M > 0 && w.i+w.j > 0 {
		w.exactly(math.Inf(-1))
	}
	return w
}

// difference is F − G at the place that was reached.
func (w *walk) difference() float64 { return float64(w.i)/w.perN - float64(w.j)/w.perM }

// exactly takes in that the difference is what it is at a value.
func (w *walk) exactly(at float64) {
	d := w.difference()
	if distance := math.Abs(d); distance > w.found.D.Low || math.IsNaN(w.found.Location) {
		w.found.D.Low, w.found.Location, w.found.Sign = distance, at, +1
		if d < 0 {
			w.found.Sign = -1
		}
	}
}

// atMost takes in that the distance may be as large as this somewhere.
func (w *walk) atMost(distance float64) { w.found.D.High = max(w.found.D.High, distance+boundSlack) }

// group takes in the a and b values of a group of cells.
func (w *walk) group(group int, a, b uint64) {
	first, last := group<<w.bits, (group+1)<<w.bits-1
	low, high := w.m.edges(first, last)
	low, high = max(low, w.least), min(high, w.greatest)
	w.pass(low)
	restA, restB := a, b
	from := w.spike
	for ; w.spike < len(w.m.spikes) && int(w.m.cell(w.m.spikes[w.spike])) <= last; w.spike++ {
		if int(w.m.cell(w.m.spikes[w.spike])) < first {
			from = w.spike + 1
			continue
		}
		restA -= w.reference.spikes[w.spike]
		restB -= w.current.spikes[w.spike]
	}
	i, j := w.i+a, w.j+b
	above, below := float64(restA)/w.perN, float64(restB)/w.perM
	for spike := from; ; spike++ {
		d := w.difference()
		if restA+restB > 0 {
			w.atMost(max(d+above, below-d))
		}
		next := high
		if spike < w.spike {
			next = w.m.spikes[spike]
		}
		w.area(max(next-w.edge, 0), d-below, d+above)
		w.edge = max(w.edge, next)
		if spike == w.spike {
			break
		}
		w.i += w.reference.spikes[spike]
		w.j += w.current.spikes[spike]
		if restA+restB == 0 {
			w.exactly(next)
		}
	}
	w.i, w.j = i, j
	w.exactly(high)
}

// pass goes on to a value; there is none in between.
func (w *walk) pass(to float64) {
	d := w.difference()
	w.area(max(to-w.edge, 0), d, d)
	w.edge = max(w.edge, to)
}

// area takes in a stretch in which the difference lies between two values.
func (w *walk) area(width, low, high float64) {
	least := max(low, -high, 0)
	w.found.Wasserstein.Low += width * least
	w.found.Wasserstein.High += width * max(high, -low)
}

func (w *walk) end() Difference {
	nan := Bracket{math.NaN(), math.NaN()}
	if w.found.N == 0 || w.found.M == 0 {
		w.found.D, w.found.Wasserstein = nan, nan
		return w.found
	}
	w.found.D.High = max(w.found.D.Low, min(w.found.D.High, 1))
	if w.reference.infinite != [2]uint64{} || w.current.infinite != [2]uint64{} {
		w.found.Wasserstein = nan
	}
	return w.found
}
