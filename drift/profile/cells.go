package profile

import (
	"math"
	"slices"
)

// cells counts values by cell. A few are kept as a list of their cells, so that many small
// profiles can be made at a time.
type cells struct {
	total uint64
	list  []uint16 // while neither of the others is there
	small []uint32 // by cell
	large []uint64 // by cell, once a count may pass 2^32
}

// mostListed values are about as large in a list as all counts are.
const mostListed = 1 << 15

// grow makes room for n more values.
func (c *cells) grow(n uint64) {
	c.total += n
	switch {
	case c.large != nil:
	case c.small == nil && c.total <= mostListed:
	case c.total > math.MaxUint32:
		large := make([]uint64, Cells)
		c.each(func(cell int, n uint64) { large[cell] += n })
		c.large, c.small, c.list = large, nil, nil
	case c.small == nil:
		c.small = make([]uint32, Cells)
		for _, cell := range c.list {
			c.small[cell]++
		}
		c.list = nil
	}
}

// add counts n values in a cell.
func (c *cells) add(cell uint16, n uint64) {
	c.grow(n)
	c.count(cell, n)
}

// count counts n values in a cell that there is room for.
func (c *cells) count(cell uint16, n uint64) {
	switch {
	case c.large != nil:
		c.large[cell] += n
	case c.small != nil:
		c.small[cell] += uint32(n)
	default:
		for range n {
			c.list = append(c.list, cell)
		}
	}
}

// each calls with every cell that has values, in ascending order of the cells.
func (c *cells) each(with func(cell int, n uint64)) {
	switch {
	case c.large != nil:
		for cell, n := range c.large {
			if n > 0 {
				with(cell, n)
			}
		}
	case c.small != nil:
		for cell, n := range c.small {
			if n > 0 {
				with(cell, uint64(n))
			}
		}
	default:
		slices.Sort(c.list)
		for i := 0; i < len(c.list); {
			j := i
			for j < len(c.list) && c.list[j] == c.list[i] {
				j++
			}
			with(int(c.list[i]), uint64(j-i))
			i = j
		}
	}
}

func (c *cells) merge(other *cells) {
	other.each(func(cell int, n uint64) { c.add(uint16(cell), n) })
}
