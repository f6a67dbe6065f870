package aggregate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate/exact"
)

// cell is the state of one summary. Adding events and merging the bytes of other cells of
// its kind commute and associate: what it holds in the end depends on the events only.
type cell interface {
	reset()
	add(v Value, e *Event)
	merge(d *decoder)         // reads all of d
	appendTo(b []byte) []byte // one form for one state; empty for the state of no events
	value(o *output) Value    // valid until the cell changes; null over nothing
}

// kind says how events are summarised; functions may share one.
type kind int

const (
	counting kind = iota
	summing       // sum and mean
	spreading
	least
	greatest
	earliest
	latest
	latestN
	telling // apart: approx_count_distinct
	sketching
	tallying // top_k
)

var kinds = map[driftline.Function]kind{
	driftline.Count: counting, driftline.Sum: summing, driftline.Mean: summing, driftline.StdDev: spreading,
	driftline.Min: least, driftline.Max: greatest, driftline.First: earliest, driftline.Last: latest,
	driftline.LastN: latestN, driftline.ApproxCountDistinct: telling, driftline.ApproxQuantile: sketching,
	driftline.TopK: tallying,
}

func newCell(k kind, input driftline.Type, n int) cell {
	c := classOf(input)
	switch k {
	case counting:
		return &countCell{}
	case summing:
		return &sumCell{class: c}
	case spreading:
		return &spreadCell{class: c}
	case least, greatest:
		return &extremeCell{class: c, greatest: k == greatest}
	case earliest, latest:
		return &edgeCell{class: c, latest: k == latest}
	case latestN:
		return &latestCell{class: c, most: n}
	case telling:
		return &distinctCell{class: c}
	case sketching:
		return &sketchCell{class: c}
	}
	return &tallyCell{class: c}
}

// countCell counts.
type countCell struct{ n uint64 }

func (c *countCell) reset()              { c.n = 0 }
func (c *countCell) add(Value, *Event)   { c.n++ }
func (c *countCell) merge(d *decoder)    { c.n += d.uvarint() }
func (c *countCell) value(*output) Value { return Whole(int64(c.n)) }
func (c *countCell) appendTo(b []byte) []byte {
	if c.n == 0 {
		return b
	}
	return binary.AppendUvarint(b, c.n)
}

// sumCell is the exact sum of numbers, and how many they are.
type sumCell struct {
	class class
	n     uint64
	sum   exact.Sum
	odd   oddities
}

// oddities says which values that are no finite number were added. They decide sums
// whatever else was added, so it is enough to know whether there were any.
type oddities byte

const (
	nan oddities = 1 << iota
	plusInfinity
	minusInfinity
)

func oddityOf(f float64) oddities {
	switch {
	case f != f:
		return nan
	case math.IsInf(f, 1):
		return plusInfinity
	case math.IsInf(f, -1):
		return minusInfinity
	}
	return 0
}

// sum is what numbers with these oddities, at least one, add up to.
func (o oddities) sum() float64 {
	switch o {
	case plusInfinity:
		return math.Inf(1)
	case minusInfinity:
		return math.Inf(-1)
	}
	return math.NaN()
}

func (c *sumCell) reset() {
	c.n, c.odd = 0, 0
	c.sum.Reset()
}

func (c *sumCell) add(v Value, _ *Event) {
	c.n++
	if c.class == wholes {
		c.sum.AddInt(int64(v.Bits))
		return
	}
	f := math.Float64frombits(v.Bits)
	if odd := oddityOf(f); odd != 0 {
		c.odd |= odd
		return
	}
	c.sum.AddFloat(f)
}

func (c *sumCell) merge(d *decoder) {
	c.n += d.uvarint()
	c.odd |= oddities(d.byte())
	d.sum(&c.sum)
}

func (c *sumCell) appendTo(b []byte) []byte {
	if c.n == 0 {
		return b
	}
	b = binary.AppendUvarint(b, c.n)
	b = append(b, byte(c.odd))
	return c.sum.AppendTo(b)
}

func (c *sumCell) value(o *output) Value {
	switch {
	case c.n == 0:
		return Value{}
	case c.odd != 0:
		return Fraction(c.odd.sum())
	case o.function == driftline.Mean:
		return Fraction(c.sum.Over(c.n))
	case c.class == fractions:
		return Fraction(c.sum.Over(1))
	}
	sum, fits := c.sum.Int64()
	if !fits {
		return Value{}
	}
	return Whole(sum)
}

// spreadCell is the exact sum of numbers and of their squares.
type spreadCell struct {
	class        class
	n            uint64
	sum, squares exact.Sum
	odd          oddities
}

func (c *spreadCell) reset() {
	c.n, c.odd = 0, 0
	c.sum.Reset()
	c.squares.Reset()
}

func (c *spreadCell) add(v Value, _ *Event) {
	c.n++
	if c.class == wholes {
		c.sum.AddInt(int64(v.Bits))
		c.squares.AddIntSquare(int64(v.Bits))
		return
	}
	f := math.Float64frombits(v.Bits)
	if odd := oddityOf(f); odd != 0 {
		c.odd |= odd
		return
	}
	c.sum.AddFloat(f)
	c.squares.AddFloatSquare(f)
}

func (c *spreadCell) merge(d *decoder) {
	c.n += d.uvarint()
	c.odd |= oddities(d.byte())
	d.sum(&c.sum)
	d.sum(&c.squares)
}

func (c *spreadCell) appendTo(b []byte) []byte {
	if c.n == 0 {
		return b
	}
	b = binary.AppendUvarint(b, c.n)
	b = append(b, byte(c.odd))
	return c.squares.AppendTo(c.sum.AppendTo(b))
}

func (c *spreadCell) value(*output) Value {
	switch {
	case c.n < 2:
		return Value{}
	case c.odd != 0:
		return Fraction(math.NaN())
	}
	return Fraction(exact.SampleDeviation(&c.sum, &c.squares, c.n))
}

// extremeCell is the least or greatest value.
type extremeCell struct {
	class    class
	greatest bool
	found    bool
	number   uint64 // as [Value.order] has it
	text     []byte
}

func (c *extremeCell) reset() { c.found, c.text = false, c.text[:0] }

func (c *extremeCell) add(v Value, _ *Event) {
	if c.class == texts {
		c.take(0, v.Text)
	} else {
		c.take(v.order(c.class), nil)
	}
}

func (c *extremeCell) take(number uint64, text []byte) {
	if c.found {
		order := cmp.Compare(number, c.number)
		if c.class == texts {
			order = bytes.Compare(text, c.text)
		}
		if order == 0 || (order > 0) != c.greatest {
			return
		}
	}
	c.found, c.number, c.text = true, number, append(c.text[:0], text...)
}

func (c *extremeCell) merge(d *decoder) {
	if c.class == texts {
		d.byte() // the empty text is not the state of no events
		c.take(0, d.take(len(d.rest)))
	} else {
		c.take(d.fixed(), nil)
	}
}

func (c *extremeCell) appendTo(b []byte) []byte {
	switch {
	case !c.found:
		return b
	case c.class == texts:
		return append(append(b, 1), c.text...)
	}
	return binary.LittleEndian.AppendUint64(b, c.number)
}

func (c *extremeCell) value(*output) Value {
	switch {
	case !c.found:
		return Value{}
	case c.class == texts:
		return Text(c.text)
	}
	return fromOrder(c.number, c.class)
}

// moment is where a value stands among the events of an entity.
type moment struct{ time, created, sequence int64 }

func (m moment) compare(o moment) int {
	return cmp.Or(cmp.Compare(m.time, o.time), cmp.Compare(m.created, o.created), cmp.Compare(m.sequence, o.sequence))
}

func (e *Event) moment() moment { return moment{e.Time, e.Created, e.Sequence} }

// dated is a value with its moment.
type dated struct {
	moment
	value Value // its text is owned
}

func (v *dated) set(m moment, value Value) {
	text := append(v.value.Text[:0], value.Text...)
	v.moment, v.value = m, value
	v.value.Text = text
}

func (v *dated) appendTo(b []byte, c class) []byte {
	b = binary.AppendVarint(b, v.time)
	b = binary.AppendVarint(b, v.created)
	b = binary.AppendVarint(b, v.sequence)
	return appendElement(b, v.value, c == texts)
}

func (d *decoder) dated(c class) (moment, Value) {
	m := moment{d.varint(), d.varint(), d.varint()}
	return m, d.element(c == texts)
}

// edgeCell is the first or last value.
type edgeCell struct {
	class  class
	latest bool
	found  bool
	held   dated
}

func (c *edgeCell) reset() { c.found = false }

func (c *edgeCell) add(v Value, e *Event) { c.take(e.moment(), v) }

func (c *edgeCell) take(m moment, v Value) {
	if c.found && (m.compare(c.held.moment) > 0) != c.latest {
		return
	}
	c.found = true
	c.held.set(m, v)
}

func (c *edgeCell) merge(d *decoder) {
	if m, v := d.dated(c.class); !d.bad {
		c.take(m, v)
	}
}

func (c *edgeCell) appendTo(b []byte) []byte {
	if !c.found {
		return b
	}
	return c.held.appendTo(b, c.class)
}

func (c *edgeCell) value(*output) Value {
	if !c.found {
		return Value{}
	}
	return c.held.value
}

// latestCell is the last values, the oldest first.
type latestCell struct {
	class   class
	most    int
	held    []dated
	scratch []byte
}

func (c *latestCell) reset() { c.held = c.held[:0] }

func (c *latestCell) add(v Value, e *Event) { c.take(e.moment(), v) }

func (c *latestCell) take(m moment, v Value) {
	at := len(c.held)
	for at > 0 && m.compare(c.held[at-1].moment) < 0 {
		at--
	}
	if len(c.held) == c.most {
		if at == 0 {
			return
		}
		oldest := c.held[0] // its memory is used again
		copy(c.held, c.held[1:at])
		c.held[at-1] = oldest
		c.held[at-1].set(m, v)
		return
	}
	if len(c.held) < cap(c.held) {
		c.held = c.held[:len(c.held)+1]
	} else {
		c.held = append(c.held, dated{})
	}
	spare := c.held[len(c.held)-1]
	copy(c.held[at+1:], c.held[at:])
	c.held[at] = spare
	c.held[at].set(m, v)
}

func (c *latestCell) merge(d *decoder) {
	for len(d.rest) > 0 {
		if m, v := d.dated(c.class); !d.bad {
			c.take(m, v)
		}
	}
}

func (c *latestCell) appendTo(b []byte) []byte {
	for i := range c.held {
		b = c.held[i].appendTo(b, c.class)
	}
	return b
}

func (c *latestCell) value(*output) Value {
	if len(c.held) == 0 {
		return Value{}
	}
	c.scratch = binary.AppendUvarint(c.scratch[:0], uint64(len(c.held)))
	for i := range c.held {
		c.scratch = appendElement(c.scratch, c.held[i].value, c.class == texts)
	}
	return Text(c.scratch)
}

// tallyCell counts each value.
type tallyCell struct {
	class   class
	tally   map[string]uint64 // by key
	scratch []byte
}

func (c *tallyCell) reset() { clear(c.tally) }

func (c *tallyCell) add(v Value, _ *Event) {
	c.scratch = v.appendKey(c.scratch[:0], c.class)
	c.take(c.scratch, 1)
}

func (c *tallyCell) take(key []byte, n uint64) {
	if c.tally == nil {
		c.tally = map[string]uint64{}
	}
	c.tally[string(key)] += n
}

func (c *tallyCell) merge(d *decoder) {
	for len(d.rest) > 0 {
		key := d.text()
		n := d.uvarint()
		if c.class != texts && len(key) != 8 {
			d.fail()
		}
		if !d.bad {
			c.take(key, n)
		}
	}
}

func (c *tallyCell) appendTo(b []byte) []byte {
	for _, key := range slices.Sorted(maps.Keys(c.tally)) {
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
		b = binary.AppendUvarint(b, c.tally[key])
	}
	return b
}

func (c *tallyCell) value(o *output) Value {
	if len(c.tally) == 0 {
		return Value{}
	}
	keys := slices.SortedFunc(maps.Keys(c.tally), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.tally[b], c.tally[a]), cmp.Compare(a, b))
	})
	keys = keys[:min(o.n, len(keys))]
	c.scratch = binary.AppendUvarint(c.scratch[:0], uint64(len(keys)))
	for _, key := range keys {
		c.scratch = appendElement(c.scratch, fromKey([]byte(key), c.class), c.class == texts)
	}
	return Text(c.scratch)
}
