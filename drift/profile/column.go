package profile

import (
	"errors"

	"github.com/driftline/driftline/aggregate/distinct"
)

// ErrOtherMap is the error of putting profiles together that were made with different maps.
var ErrOtherMap = errors.New("the profiles were made with different maps")

// Column is the profile of one column: what is kept of its values. A Column is for one
// goroutine at a time.
type Column struct {
	m *Map
	totals

	cells    cells           // of finite numbers
	distinct distinct.Sketch // of all numbers that are not NaN

	names names // of categories
}

// New returns the profile of no rows.
func New(m *Map) *Column {
	m.once.Do(m.prepare)
	return &Column{m: m, totals: newTotals(m)}
}

// Map is the map that the values are counted by.
func (c *Column) Map() *Map { return c.m }

// AddCategory adds n rows of a category. The name's memory remains the caller's. The column
// must be of [Categories].
func (c *Column) AddCategory(name string, n int) {
	c.rows += uint64(n)
	c.names.add(c.m, name, uint64(n))
}

// Merge adds the rows of another profile, which stays as it is but for the order of what it
// holds. The outcome is, to the last bit, the profile of the rows of both, whatever the
// order and the grouping of merges.
func (c *Column) Merge(other *Column) error {
	if c.m.fingerprint != other.m.fingerprint {
		return ErrOtherMap
	}
	c.totals.merge(&other.totals)
	c.cells.merge(&other.cells)
	c.distinct.Union(&other.distinct)
	c.names.merge(c.m, &other.names)
	return nil
}

// Distinct is about how many different values there are, NaN and null left out. It is
// exact, and exactly says so, while all names of categories are kept; the standard error
// of the estimate is 1.6 %.
func (c *Column) Distinct() (estimate float64, exactly bool) {
	if c.m.kind == Numbers {
		return c.distinct.Estimate(), c.distinct.Empty()
	}
	c.names.prune(c.m)
	if c.names.other.total == 0 {
		return float64(len(c.names.counts)), true
	}
	return float64(len(c.names.counts)) + c.names.distinct.Estimate(), false
}

// Count is how many rows a category has.
type Count struct {
	Name string
	Rows int64
}

// Categories returns the names that are kept, in order, with their exact counts, and how
// many rows are of other names. While that is none, these are all. See [Column.AtMost].
func (c *Column) Categories() (kept []Count, other int64) {
	for _, name := range c.names.sorted(c.m) {
		kept = append(kept, Count{name, int64(*c.names.counts[name])})
	}
	return kept, int64(c.names.other.total)
}

// AtMost is the greatest number of rows that a name which is not kept can have.
func (c *Column) AtMost() int64 {
	c.names.prune(c.m)
	most := uint64(0)
	c.names.other.each(func(_ int, n uint64) { most = max(most, n) })
	return int64(most)
}
