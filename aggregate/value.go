package aggregate

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate/exact"
)

// Value is one value of an event or of an answer. The type is known beside it.
type Value struct {
	Valid bool

	// Bits is an int64 of whole numbers, truth values (0 and 1) and times, and the bits
	// of a float64 of float32 and float64.
	Bits uint64

	// Text is a text or bytes. Of lists and maps it is a form that only this package reads.
	Text []byte
}

// Whole returns the value of a whole number, a truth value or a time.
func Whole(v int64) Value { return Value{Valid: true, Bits: uint64(v)} }

// Fraction returns the value of a float64, or of a float32, which it holds.
func Fraction(v float64) Value { return Value{Valid: true, Bits: math.Float64bits(v)} }

// Text returns the value of a text, which is borrowed.
func Text(v []byte) Value { return Value{Valid: true, Text: v} }

// class is what the bits of a value mean.
type class int

const (
	wholes class = iota
	fractions
	texts
)

func classOf(t driftline.Type) class {
	switch t {
	case driftline.Float32, driftline.Float64:
		return fractions
	case driftline.String, driftline.Bytes:
		return texts
	}
	return wholes
}

// float64 is the value as a number.
func (v Value) float64(c class) float64 {
	if c == fractions {
		return math.Float64frombits(v.Bits)
	}
	return float64(int64(v.Bits))
}

// order maps a number to one that compares as it does: NaN is one value, greater than all
// others, and -0 is less than 0.
func (v Value) order(c class) uint64 {
	if c != fractions {
		return v.Bits ^ 1<<63
	}
	b := v.Bits
	if f := math.Float64frombits(b); f != f {
		b = math.Float64bits(math.NaN())
	}
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

// fromOrder is the number that order maps to o.
func fromOrder(o uint64, c class) Value {
	switch {
	case c != fractions:
		return Value{Valid: true, Bits: o ^ 1<<63}
	case o>>63 != 0:
		return Value{Valid: true, Bits: o ^ 1<<63}
	}
	return Value{Valid: true, Bits: ^o}
}

// appendKey appends bytes that are equal for equal values, for which -0 is 0, and compare
// as the values do.
func (v Value) appendKey(b []byte, c class) []byte {
	if c == texts {
		return append(b, v.Text...)
	}
	if c == fractions && math.Float64frombits(v.Bits) == 0 {
		v.Bits = 0
	}
	return binary.BigEndian.AppendUint64(b, v.order(c))
}

// fromKey is the value whose key is given, which is borrowed.
func fromKey(key []byte, c class) Value {
	if c == texts {
		return Text(key)
	}
	return fromOrder(binary.BigEndian.Uint64(key), c)
}

// category is the text by which a value of a category column is known in a map.
func category(b []byte, v Value, t driftline.Type) []byte {
	switch t {
	case driftline.String:
		return append(b, v.Text...)
	case driftline.Bool:
		return strconv.AppendBool(b, v.Bits != 0)
	}
	return strconv.AppendInt(b, int64(v.Bits), 10)
}

// appendElement writes a value of a list or a map, which has no null in it.
func appendElement(b []byte, v Value, isText bool) []byte {
	if isText {
		b = binary.AppendUvarint(b, uint64(len(v.Text)))
		return append(b, v.Text...)
	}
	return binary.LittleEndian.AppendUint64(b, v.Bits)
}

func (d *decoder) element(isText bool) Value {
	if isText {
		return Text(d.text())
	}
	return Value{Valid: true, Bits: d.fixed()}
}

// heldInText reports whether a value of the type is in [Value.Text].
func heldInText(t driftline.Type) bool {
	if t.Arrow() == nil {
		return false
	}
	id := t.Arrow().ID()
	return classOf(t) == texts || id == arrow.LIST || id == arrow.MAP
}

// Append appends a value of the given type to a builder of that type's Arrow type. It
// panics if they are of different types, and fails with DataLoss if the value of a list or
// map was not made by this package.
func Append(to array.Builder, t driftline.Type, v Value) error {
	if !v.Valid {
		to.AppendNull()
		return nil
	}
	switch b := to.(type) {
	case *array.BooleanBuilder:
		b.Append(v.Bits != 0)
	case *array.Int32Builder:
		b.Append(int32(v.Bits))
	case *array.Int64Builder:
		b.Append(int64(v.Bits))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.Bits))
	case *array.Float32Builder:
		b.Append(float32(math.Float64frombits(v.Bits)))
	case *array.Float64Builder:
		b.Append(math.Float64frombits(v.Bits))
	case *array.StringBuilder:
		b.Append(string(v.Text))
	case *array.BinaryBuilder:
		b.Append(v.Text)
	case *array.MapBuilder:
		return appendMap(b, t, v.Text)
	case *array.ListBuilder:
		return appendList(b, t, v.Text)
	}
	return nil
}

func appendList(b *array.ListBuilder, t driftline.Type, text []byte) error {
	element, _ := t.Element()
	isText := heldInText(element)
	b.Append(true)
	d := decoder{rest: text}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		v := d.element(isText)
		if d.bad {
			break
		}
		if err := Append(b.ValueBuilder(), element, v); err != nil {
			return err
		}
	}
	return d.finish()
}

func appendMap(b *array.MapBuilder, t driftline.Type, text []byte) error {
	value, _ := t.MapValue()
	isText := heldInText(value)
	b.Append(true)
	d := decoder{rest: text}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		key, valid := d.text(), d.byte()
		v := Value{}
		if valid != 0 {
			v = d.element(isText)
		}
		if d.bad {
			break
		}
		b.KeyBuilder().(*array.StringBuilder).Append(string(key))
		if err := Append(b.ItemBuilder(), value, v); err != nil {
			return err
		}
	}
	return d.finish()
}

// decoder reads what this package has written, or damage. Once bad it gives zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) fixed() uint64 {
	if len(d.rest) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail()
		return nil
	}
	v := d.rest[:n]
	d.rest = d.rest[n:]
	return v
}

// text reads a length and as many bytes.
func (d *decoder) text() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	return d.take(int(n))
}

// sum adds a sum to another one.
func (d *decoder) sum(to *exact.Sum) {
	rest, ok := to.Merge(d.rest)
	if d.rest = rest; !ok {
		d.fail()
	}
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

// finish fails with DataLoss unless all was read and was good.
func (d *decoder) finish() error {
	if d.bad || len(d.rest) > 0 {
		return driftline.Errorf(driftline.DataLoss, "the state of an aggregation is damaged").
			WithHint("rebuild the view's online rows from its files")
	}
	return nil
}
