package profile

import (
	"math"

	"github.com/driftline/driftline/aggregate/exact"
)

// totals are what a profile has of a column besides its cells and its names.
type totals struct {
	rows, nulls uint64
	nan         uint64
	infinite    [2]uint64 // −∞, +∞

	// Of the finite numbers.
	min, max     float64 // +∞ and −∞ if there are none
	sum, squares exact.Sum
	spikes       []uint64 // by spike of the map; the cells count these values too
}

func newTotals(m *Map) totals {
	return totals{min: math.Inf(1), max: math.Inf(-1), spikes: make([]uint64, len(m.spikes))}
}

func (t *totals) merge(other *totals) {
	t.rows += other.rows
	t.nulls += other.nulls
	t.nan += other.nan
	t.infinite[0] += other.infinite[0]
	t.infinite[1] += other.infinite[1]
	t.min, t.max = min(t.min, other.min), max(t.max, other.max)
	t.sum.Add(&other.sum)
	t.squares.Add(&other.squares)
	for i, n := range other.spikes {
		t.spikes[i] += n
	}
}

// Rows is the number of rows, those without a value too.
func (t *totals) Rows() int64 { return int64(t.rows) }

// Nulls is the number of rows without a value.
func (t *totals) Nulls() int64 { return int64(t.nulls) }

// NaN is the number of rows that are NaN.
func (t *totals) NaN() int64 { return int64(t.nan) }

// Infinite is the number of rows that are −∞ and +∞.
func (t *totals) Infinite() (negative, positive int64) {
	return int64(t.infinite[0]), int64(t.infinite[1])
}

// Values is the number of rows that have a value: not null and not NaN.
func (t *totals) Values() int64 { return int64(t.rows - t.nulls - t.nan) }

// finite is the number of finite numbers, or of categories.
func (t *totals) finite() uint64 { return t.rows - t.nulls - t.nan - t.infinite[0] - t.infinite[1] }

// Range returns the least and the greatest finite number, NaN if there is none.
func (t *totals) Range() (least, greatest float64) {
	if t.min > t.max {
		return math.NaN(), math.NaN()
	}
	return t.min, t.max
}

// Mean is the mean of the finite numbers, rounded once; NaN if there is none.
func (t *totals) Mean() float64 {
	if t.min > t.max {
		return math.NaN()
	}
	return t.sum.Over(t.finite())
}

// StdDev is the sample standard deviation of the finite numbers, rounded once before the
// root is taken; NaN of fewer than two.
func (t *totals) StdDev() float64 {
	if t.min > t.max || t.finite() < 2 {
		return math.NaN()
	}
	return exact.SampleDeviation(&t.sum, &t.squares, t.finite())
}
