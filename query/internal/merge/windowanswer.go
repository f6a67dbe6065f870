package merge

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
)

// WindowAnswer is what aggregations give for the rows of a spine. Rows without a key or a
// time have no values; those of a key that the view does not have have the values over
// nothing.
type WindowAnswer struct {
	mem     memory.Allocator
	columns []*windowColumn
}

// windowColumn has the values of one feature, by row of the spine. Each row is written by
// one worker.
type windowColumn struct {
	kind    driftline.Type
	valid   []bool
	bits    []uint64 // of text, lists and maps where it is: part in the upper half, place in the lower
	lengths []uint32 // of these; nil for others
	texts   [][]byte // by part of the work
	unknown []bool   // whether what the value is made of was not yet known; nil if not asked
}

func (t *windowTable[K]) answer(s *Spine) *WindowAnswer {
	a := &WindowAnswer{mem: t.mem}
	for _, f := range t.Query.Features {
		c := &windowColumn{kind: f.Type, valid: make([]bool, s.Rows), bits: make([]uint64, s.Rows)}
		switch f.Type.Arrow().ID() {
		case arrow.STRING, arrow.BINARY, arrow.LIST, arrow.MAP:
			c.lengths = make([]uint32, s.Rows)
		}
		if t.View.CountUnknown {
			c.unknown = make([]bool, s.Rows)
		}
		a.columns = append(a.columns, c)
	}
	return a
}

// set keeps the values of a row, texts in the store of this part of the work.
func (a *WindowAnswer) set(row int32, values []aggregate.Value, unknown []bool, part int) error {
	for i, v := range values {
		c := a.columns[i]
		c.valid[row], c.bits[row] = v.Valid, v.Bits
		if c.unknown != nil {
			c.unknown[row] = unknown[i]
		}
		if c.lengths == nil || !v.Valid {
			continue
		}
		store := c.texts[part]
		if len(store)+len(v.Text) > math.MaxUint32 {
			return driftline.Errorf(driftline.Exhausted, "the values of a column are more text than fits").
				WithHint("ask for fewer rows at a time")
		}
		c.bits[row], c.lengths[row] = uint64(part)<<32|uint64(len(store)), uint32(len(v.Text))
		c.texts[part] = append(store, v.Text...)
	}
	return nil
}

func (c *windowColumn) value(row int) aggregate.Value {
	v := aggregate.Value{Valid: c.valid[row], Bits: c.bits[row]}
	if c.lengths != nil && v.Valid {
		v.Text = c.texts[v.Bits>>32][uint32(v.Bits):][:c.lengths[row]]
	}
	return v
}

// Bytes is about how many bytes n rows take, from from on.
func (a *WindowAnswer) Bytes(from, n int) (bytes int64) {
	for _, c := range a.columns {
		bytes += 9 * int64(n)
		if c.lengths == nil {
			continue
		}
		for _, length := range c.lengths[from : from+n] {
			bytes += int64(length)
		}
	}
	return bytes
}

// Arrays returns the features in n rows, from from on. The caller releases them.
func (a *WindowAnswer) Arrays(from, n int) ([]arrow.Array, error) {
	arrays := make([]arrow.Array, 0, len(a.columns))
	for _, c := range a.columns {
		one, err := c.array(a.mem, from, n)
		if err != nil {
			for _, made := range arrays {
				made.Release()
			}
			return nil, err
		}
		arrays = append(arrays, one)
	}
	return arrays, nil
}

func (c *windowColumn) array(mem memory.Allocator, from, n int) (arrow.Array, error) {
	b := array.NewBuilder(mem, c.kind.Arrow())
	defer b.Release()
	b.Reserve(n)
	for row := from; row < from+n; row++ {
		if err := aggregate.Append(b, c.kind, c.value(row)); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

// Unknown counts the values of a feature, in n rows from from on, that are made of an event
// that was not yet known at their time.
func (a *WindowAnswer) Unknown(feature, from, n int) (count int64) {
	c := a.columns[feature]
	if c.unknown == nil {
		return 0
	}
	for row := from; row < from+n; row++ {
		if c.unknown[row] && c.valid[row] {
			count++
		}
	}
	return count
}
