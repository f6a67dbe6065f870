package aggregate

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// categoryCell has a cell for each category that was seen.
type categoryCell struct {
	by     driftline.Type // of the category's column
	column int            // of the events' values
	make   func() cell

	cells   map[string]cell
	spare   []cell
	state   decoder // of one of them
	scratch []byte
}

func (c *categoryCell) reset() {
	for _, one := range c.cells {
		one.reset()
		c.spare = append(c.spare, one)
	}
	clear(c.cells)
}

// of returns the cell of a category.
func (c *categoryCell) of(name []byte) cell {
	if one, ok := c.cells[string(name)]; ok {
		return one
	}
	if c.cells == nil {
		c.cells = map[string]cell{}
	}
	var one cell
	if last := len(c.spare) - 1; last >= 0 {
		one, c.spare = c.spare[last], c.spare[:last]
	} else {
		one = c.make()
	}
	c.cells[string(name)] = one
	return one
}

func (c *categoryCell) add(v Value, e *Event) {
	by := e.Values[c.column]
	if !by.Valid {
		return
	}
	c.scratch = category(c.scratch[:0], by, c.by)
	c.of(c.scratch).add(v, e)
}

func (c *categoryCell) merge(d *decoder) {
	for len(d.rest) > 0 {
		name := d.text()
		c.state = decoder{rest: d.text()}
		if d.bad || len(c.state.rest) == 0 {
			d.fail()
			return
		}
		c.of(name).merge(&c.state)
		if c.state.finish() != nil {
			d.fail()
		}
	}
}

func (c *categoryCell) appendTo(b []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(c.cells)) {
		c.scratch = c.cells[name].appendTo(c.scratch[:0])
		if len(c.scratch) == 0 { // of NaN only, which a sketch leaves out
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = binary.AppendUvarint(b, uint64(len(c.scratch)))
		b = append(b, c.scratch...)
	}
	return b
}

// value is a map, sorted by category. Over nothing a count is the empty map.
func (c *categoryCell) value(o *output) Value {
	n := 0
	entries := []byte{}
	for _, name := range slices.Sorted(maps.Keys(c.cells)) {
		if c.scratch = c.cells[name].appendTo(c.scratch[:0]); len(c.scratch) == 0 {
			continue
		}
		n++
		entries = binary.AppendUvarint(entries, uint64(len(name)))
		entries = append(entries, name...)
		v := c.cells[name].value(o)
		if !v.Valid {
			entries = append(entries, 0)
			continue
		}
		entries = appendElement(append(entries, 1), v, o.isText)
	}
	if n == 0 && o.function != driftline.Count {
		return Value{}
	}
	return Text(append(binary.AppendUvarint(nil, uint64(n)), entries...))
}
