package profile

import (
	"math"
	"slices"
)

// Refinement makes the statistic of Kolmogorov and Smirnov exact by a second pass over the
// values: only those of the cells that may hold it are kept, most often one in a hundred.
// The values must be those that the profiles are of.
type Refinement struct {
	reference, current *Column
	wanted             [Cells / 64]uint64
	kept               [2][]float64
}

// NewRefinement finds the cells in which D may lie.
func NewRefinement(reference, current *Column) (*Refinement, error) {
	known, err := Compare(reference, current)
	if err != nil {
		return nil, err
	}
	r := &Refinement{reference: reference, current: current}
	n, m := float64(known.N), float64(known.M)
	i, j := reference.infinite[0], current.infinite[0]
	merge(&reference.cells, &current.cells, func(cell int, a, b uint64) {
		d := float64(i)/n - float64(j)/m
		if max(d+float64(a)/n, float64(b)/m-d) >= known.D.Low-boundSlack {
			r.wanted[cell>>6] |= 1 << (cell & 63)
		}
		i, j = i+a, j+b
	})
	return r, nil
}

// AddReference takes in values of the reference, in any order.
func (r *Refinement) AddReference(values []float64) { r.add(0, values) }

// AddCurrent takes in values of the current data, in any order.
func (r *Refinement) AddCurrent(values []float64) { r.add(1, values) }

func (r *Refinement) add(side int, values []float64) {
	for _, v := range values {
		if v-v != 0 {
			continue
		}
		if cell := r.reference.m.cell(v); r.wanted[cell>>6]>>(cell&63)&1 != 0 {
			r.kept[side] = append(r.kept[side], v+0)
		}
	}
}

// Kept is how many values were kept.
func (r *Refinement) Kept() int { return len(r.kept[0]) + len(r.kept[1]) }

// D returns the exact statistic, the value at which it is reached, and the sign of F − G
// there. It is false if the values are not those of the profiles.
func (r *Refinement) D() (d, location float64, sign int, ok bool) {
	x, y := r.kept[0], r.kept[1]
	slices.Sort(x)
	slices.Sort(y)
	w := newWalk(r.reference.m, &r.reference.totals, &r.current.totals, 0)
	if w.found.N == 0 || w.found.M == 0 {
		return math.NaN(), math.NaN(), 0, true
	}
	ok = true
	merge(&r.reference.cells, &r.current.cells, func(cell int, a, b uint64) {
		if r.wanted[cell>>6]>>(cell&63)&1 == 0 {
			w.to(w.i+a, w.j+b)
			return
		}
		if a > uint64(len(x)) || b > uint64(len(y)) {
			ok = false
			return
		}
		w.through(x[:a], y[:b])
		x, y = x[a:], y[b:]
	})
	ok = ok && len(x)+len(y) == 0
	found := w.end()
	return found.D.Low, found.Location, found.Sign, ok
}

// through walks over the sorted values of a cell.
func (w *walk) through(x, y []float64) {
	for len(x)+len(y) > 0 {
		at := math.Inf(1)
		if len(x) > 0 {
			at = x[0]
		}
		if len(y) > 0 {
			at = min(at, y[0])
		}
		i, j := w.i, w.j
		for ; len(x) > 0 && x[0] == at; x = x[1:] {
			i++
		}
		for ; len(y) > 0 && y[0] == at; y = y[1:] {
			j++
		}
		w.to(i, j)
		w.exactly(spot{-1, at})
	}
}
