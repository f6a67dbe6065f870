package profile

import (
	"errors"
	"math"

	"github.com/driftline/driftline/aggregate/distinct"
	"github.com/driftline/driftline/aggregate/exact"
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

// Scratch is what adding numbers needs besides the profile. One serves any number of
// profiles, one after the other. The zero value is ready.
type Scratch struct {
	adder  exact.Adder
	finite [blockValues]float64
}

const (
	// blockValues are looked at several times while they are in the fastest cache.
	blockValues = 1 << 10

	// widenAt values are worth a sketch that takes the next ones without searching.
	widenAt = 1 << 11
)

// AddNulls adds n rows without a value.
func (c *Column) AddNulls(n int) {
	c.rows += uint64(n)
	c.nulls += uint64(n)
}

// AddNumbers adds a row for each value. NaN and infinities are counted by themselves, and
// −0 is 0. The column must be of [Numbers].
func (c *Column) AddNumbers(values []float64, s *Scratch) {
	c.rows += uint64(len(values))
	for len(values) > 0 {
		n := min(len(values), blockValues)
		c.addBlock(c.setAside(values[:n], s), s)
		values = values[n:]
	}
}

// setAside counts what is no finite number, and returns the others.
func (c *Column) setAside(block []float64, s *Scratch) []float64 {
	odd := false
	least, greatest := c.min, c.max
	for _, v := range block {
		odd = odd || v-v != 0
		if v < least {
			least = v
		}
		if v > greatest {
			greatest = v
		}
	}
	if !odd {
		c.min, c.max = least+0, greatest+0
		return block
	}
	finite := s.finite[:0]
	for _, v := range block {
		switch {
		case v-v == 0:
			finite = append(finite, v)
			c.min, c.max = min(c.min, v+0), max(c.max, v+0)
		case v != v:
			c.nan++
		case v < 0:
			c.infinite[0]++
			c.distinct.Add(mix(math.Float64bits(v)))
		default:
			c.infinite[1]++
			c.distinct.Add(mix(math.Float64bits(v)))
		}
	}
	return finite
}

func (c *Column) addBlock(block []float64, s *Scratch) {
	s.adder.Add(block, &c.sum, &c.squares)
	c.cells.grow(uint64(len(block)))
	if c.cells.total > widenAt {
		c.distinct.Widen()
	}
	switch {
	case c.cells.small == nil && c.cells.large == nil:
		for _, v := range block {
			cell := c.m.cell(v)
			c.cells.list = append(c.cells.list, cell)
			c.addSpike(cell, v)
		}
	case c.cells.small == nil:
		for _, v := range block {
			cell := c.m.cell(v)
			c.cells.large[cell]++
			c.addSpike(cell, v)
		}
	case c.m.byBits || len(c.m.spikes) > 0:
		c.countSpiky(block)
	default:
		c.countSmooth(block)
	}
	for _, v := range block {
		c.distinct.Add(mix(math.Float64bits(v + 0)))
	}
}

// countSmooth counts values of which most lie in the equal steps.
func (c *Column) countSmooth(block []float64) {
	counts := (*[Cells]uint32)(c.cells.small)
	lo, perUnit := c.m.lo, c.m.perUnit
	for _, v := range block {
		t := (v - lo) * perUnit
		if t >= 0 && t < steps {
			counts[uint16(tailCells+int(t))]++
		} else {
			counts[c.m.cell(v)]++
		}
	}
}

func (c *Column) countSpiky(block []float64) {
	counts := (*[Cells]uint32)(c.cells.small)
	for _, v := range block {
		cell := c.m.cell(v)
		counts[cell]++
		c.addSpike(cell, v)
	}
}

// addSpike counts a value if it is a spike.
func (c *Column) addSpike(cell uint16, v float64) {
	if c.m.special[cell>>6]>>(cell&63)&1 == 0 {
		return
	}
	if i := c.m.spike(v); i >= 0 {
		c.spikes[i]++
	}
}

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
