package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// The forms of what is written. A change of a form gets a number of its own.
const (
	mapForm  = 1
	headForm = 17
	bodyForm = 33
)

const (
	// A head has a count for each group of cells.
	groupBits = 6
	groups    = Cells >> groupBits

	// mostHeadNames names are in the head, if they are all; else all are in the body.
	mostHeadNames = 256

	mostRows = math.MaxInt64 / 4 // so that sums of a few do not overflow
)

// ErrDamaged is the error of bytes that no profile was written as.
var ErrDamaged = errors.New("damaged")

func damaged(what string) error { return fmt.Errorf("the %s of a profile is %w", what, ErrDamaged) }

// AppendHead writes what most comparisons need: all but the cells and the sketch of
// distinct values. The form is drawn in the documentation of the package.
func (c *Column) AppendHead(b []byte) []byte {
	begin := len(b)
	b = append(b, headForm, byte(c.m.kind))
	b = binary.LittleEndian.AppendUint64(b, c.m.fingerprint)
	b = c.totals.appendTo(b)
	all := c.allCells()
	var grouped [groups]uint64
	all.each(func(cell int, n uint64) { grouped[cell>>groupBits] += n })
	b = appendCounts(b, grouped[:])
	b = appendCounts(b, c.spikes)
	b = c.appendNames(b, c.namesInHead())
	return appendChecksum(b, begin)
}

// AppendBody writes what a head leaves out.
func (c *Column) AppendBody(b []byte) []byte {
	begin := len(b)
	b = append(b, bodyForm, byte(c.m.kind))
	b = binary.LittleEndian.AppendUint64(b, c.m.fingerprint)
	cells := &c.cells
	sketch := &c.distinct
	if c.m.kind == Categories {
		c.names.prune(c.m)
		cells, sketch = &c.names.other, &c.names.distinct
	}
	b = cells.appendTo(b)
	form := sketch.AppendTo(nil)
	b = append(binary.AppendUvarint(b, uint64(len(form))), form...)
	b = c.appendNames(b, c.m.kind == Categories && !c.namesInHead())
	return appendChecksum(b, begin)
}

// allCells are the cells of all values, those of categories whose names are kept too.
func (c *Column) allCells() *cells {
	if c.m.kind == Numbers {
		return &c.cells
	}
	var all cells
	for _, name := range c.names.sorted(c.m) {
		all.add(uint16(xxhash.Sum64String(name)>>48), *c.names.counts[name])
	}
	all.merge(&c.names.other)
	return &all
}

func (c *Column) namesInHead() bool {
	c.names.prune(c.m)
	return c.m.kind == Categories && c.names.other.total == 0 && len(c.names.counts) <= mostHeadNames
}

// appendNames writes the names and their counts, or that they are elsewhere.
func (c *Column) appendNames(b []byte, here bool) []byte {
	b = append(b, flag(here))
	if !here {
		return b
	}
	all := c.names.sorted(c.m)
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, name := range all {
		b = binary.AppendUvarint(appendText(b, name), *c.names.counts[name])
	}
	return b
}

func (t *totals) appendTo(b []byte) []byte {
	for _, n := range []uint64{t.rows, t.nulls, t.nan, t.infinite[0], t.infinite[1]} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, flag(t.min <= t.max))
	if t.min <= t.max {
		b = t.squares.AppendTo(t.sum.AppendTo(appendFloat(appendFloat(b, t.min), t.max)))
	}
	return b
}

// appendCounts writes counts, most of which are small or zero: 2n for a count of n, and
// 2n+1 for n zeros. It ends with the last count above zero, and then a zero.
func appendCounts(b []byte, counts []uint64) []byte {
	zeros := uint64(0)
	for _, n := range counts {
		if n == 0 {
			zeros++
			continue
		}
		if zeros > 0 {
			b = binary.AppendUvarint(b, zeros<<1|1)
			zeros = 0
		}
		b = binary.AppendUvarint(b, n<<1)
	}
	return append(b, 0)
}

func (c *cells) appendTo(b []byte) []byte {
	next := 0
	c.each(func(cell int, n uint64) {
		if cell > next {
			b = binary.AppendUvarint(b, uint64(cell-next)<<1|1)
		}
		b = binary.AppendUvarint(b, n<<1)
		next = cell + 1
	})
	return append(b, 0)
}

func appendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendChecksum(b []byte, begin int) []byte {
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[begin:]))
}

// Decode reads the profile that AppendHead and AppendBody have written with the map m. It is
// an error if they are of another map, do not belong together, or are anything else.
// Memory is bounded by the profile, whatever the bytes say.
func Decode(m *Map, head, body []byte) (*Column, error) {
	outline, err := DecodeOutline(m, head)
	if err != nil {
		return nil, err
	}
	d, err := openOf(m, body, bodyForm, "body")
	if err != nil {
		return nil, err
	}
	c := New(m)
	c.totals = outline.totals
	var cells cells
	counted := make([]uint64, Cells)
	cells.grow(d.counts(counted))
	for cell, n := range counted {
		if n > 0 {
			cells.count(uint16(cell), n)
		}
	}
	sketch := d.take(d.count(1 << 13))
	if m.kind == Numbers {
		c.cells = cells
		d.bad = d.bad || !c.distinct.Merge(sketch)
	} else {
		c.names.other = cells
		d.bad = d.bad || !c.names.distinct.Merge(sketch)
	}
	read := map[string]uint64{}
	for name, n := range outline.names {
		read[name] = n
	}
	if d.byte() != 0 {
		d.names(read)
	}
	if err := d.finish("body"); err != nil {
		return nil, err
	}
	c.names.restore(m, read)
	if !c.agrees(outline) {
		return nil, damaged("body")
	}
	return c, nil
}

// restore makes the names as they were written.
func (c *names) restore(m *Map, read map[string]uint64) {
	c.counts, c.limit = make(map[string]*uint64, len(read)), ^uint64(0)
	for name, n := range read {
		c.counts[name] = &n
	}
	if c.other.total > 0 {
		c.limit = c.greatestHash(m)
	}
}

// greatestHash is that of the names that are kept and that the map does not name.
func (c *names) greatestHash(m *Map) (greatest uint64) {
	for name := range c.counts {
		if !m.frozen[name] {
			greatest = max(greatest, xxhash.Sum64String(name))
		}
	}
	return greatest
}

// agrees reports whether a body is that of the head.
func (c *Column) agrees(head *Outline) bool {
	if c.m.kind == Numbers {
		if c.cells.total != c.finite() || len(c.names.counts) > 0 {
			return false
		}
	} else if len(c.names.counts) > mostNames+len(c.m.names) {
		return false
	}
	var grouped [groups]uint64
	c.allCells().each(func(cell int, n uint64) { grouped[cell>>groupBits] += n })
	return slices.Equal(grouped[:], head.counts)
}

// Outline is the head of a profile: its totals, and its values by groups of 64 cells. It
// merges as profiles do, and is small enough to compare a thousand columns at once.
type Outline struct {
	m *Map
	totals

	counts []uint64          // by group
	names  map[string]uint64 // of categories, if all are here
	whole  bool              // all are
}

// Outline returns the head of the profile.
func (c *Column) Outline() *Outline {
	head, err := DecodeOutline(c.m, c.AppendHead(nil))
	if err != nil {
		panic("profile: a head cannot be read that was just written: " + err.Error())
	}
	return head
}

// reset makes o the outline of no rows, in the memory that it has.
func (o *Outline) reset(m *Map) {
	counts := o.counts
	if counts == nil {
		counts = make([]uint64, groups)
	}
	clear(counts)
	*o = Outline{m: m, totals: newTotals(m), counts: counts, whole: m.kind == Categories}
	if o.whole {
		o.names = map[string]uint64{}
	}
}

// Map is the map that the values are counted by.
func (o *Outline) Map() *Map { return o.m }

// Merge adds the rows of another outline.
func (o *Outline) Merge(other *Outline) error {
	if o.m.fingerprint != other.m.fingerprint {
		return ErrOtherMap
	}
	o.totals.merge(&other.totals)
	for i, n := range other.counts {
		o.counts[i] += n
	}
	o.whole = o.whole && other.whole
	if !o.whole {
		o.names = nil
		return nil
	}
	for name, n := range other.names {
		o.names[name] += n
	}
	return nil
}

// DecodeOutline reads what AppendHead has written with the map m.
func DecodeOutline(m *Map, head []byte) (*Outline, error) {
	o := &Outline{}
	if err := o.Decode(m, head); err != nil {
		return nil, err
	}
	return o, nil
}

// Decode is [DecodeOutline] into the memory of o, of which nothing else is left. After an error o
// means nothing.
func (o *Outline) Decode(m *Map, head []byte) error {
	d, err := openOf(m, head, headForm, "head")
	if err != nil {
		return err
	}
	o.reset(m)
	d.totals(&o.totals)
	inCells := d.counts(o.counts)
	d.counts(o.spikes)
	switch here := d.byte() != 0; {
	case !here:
		o.whole = false
	case m.kind == Categories:
		d.names(o.names)
	default:
		d.fail()
	}
	if err := d.finish("head"); err != nil {
		return err
	}
	if inCells != o.finite() || !o.spikesFit() || m.kind == Categories && o.min <= o.max {
		return damaged("head")
	}
	return nil
}

// spikesFit reports whether no group has more values at spikes than it has values.
func (o *Outline) spikesFit() bool {
	for i := 0; i < len(o.spikes); {
		group := o.m.cell(o.m.spikes[i]) >> groupBits
		total := uint64(0)
		for ; i < len(o.spikes) && o.m.cell(o.m.spikes[i])>>groupBits == group; i++ {
			total += o.spikes[i]
		}
		if total > o.counts[group] {
			return false
		}
	}
	return true
}
