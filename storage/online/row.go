package online

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// NoTime stands for a created timestamp that is null, and for the times of a row
// that is not there. As a created timestamp it sorts lowest. No row may have it
// as a time of its own.
const NoTime int64 = math.MinInt64

const (
	headerBytes = 24 // event, created, sequence
	prefixBytes = 32 // and the layout
)

// appendHeader adds the part of a value that decides which row is newer.
func appendHeader(value []byte, event, created, sequence int64) []byte {
	value = kv.AppendInt64(value, event)
	value = kv.AppendInt64(value, created)
	return kv.AppendInt64(value, sequence)
}

// setSequence gives a value that has none yet its write sequence.
func setSequence(value []byte, sequence int64) {
	binary.BigEndian.PutUint64(value[headerBytes-8:], uint64(sequence)^(1<<63))
}

// appendFeatures adds the layout's id, and row i of the feature columns, which
// have the layout's types in its order.
func (l *layout) appendFeatures(value []byte, columns []arrow.Array, i int) []byte {
	value = binary.BigEndian.AppendUint64(value, l.id)
	start := len(value)
	value = append(value, make([]byte, l.fixed)...)
	texts := len(value)
	for at, column := range columns {
		slot := start + l.fields[at].slot
		if column.IsNull(i) {
			value[start+at/8] |= 1 << (at % 8)
			if isText(l.fields[at].Type) { // an empty text, so that the next begins where it ends
				binary.LittleEndian.PutUint32(value[slot:], uint32(len(value)-texts))
			}
			continue
		}
		switch c := column.(type) {
		case *array.Boolean:
			if c.Value(i) {
				value[slot] = 1
			}
		case *array.Int32:
			binary.LittleEndian.PutUint32(value[slot:], uint32(c.Value(i)))
		case *array.Float32:
			binary.LittleEndian.PutUint32(value[slot:], math.Float32bits(c.Value(i)))
		case *array.Int64:
			binary.LittleEndian.PutUint64(value[slot:], uint64(c.Value(i)))
		case *array.Float64:
			binary.LittleEndian.PutUint64(value[slot:], math.Float64bits(c.Value(i)))
		case *array.Timestamp:
			binary.LittleEndian.PutUint64(value[slot:], uint64(c.Value(i)))
		case *array.String:
			value = append(value, c.Value(i)...)
			binary.LittleEndian.PutUint32(value[slot:], uint32(len(value)-texts))
		case *array.Binary:
			value = append(value, c.Value(i)...)
			binary.LittleEndian.PutUint32(value[slot:], uint32(len(value)-texts))
		}
	}
	return value
}

// row is a packed row.
type row struct {
	layout  *layout
	event   int64
	created int64
	nulls   []byte // nulls and slots
	texts   []byte
}

// splitHeader takes the times and the layout's id off a value.
func splitHeader(value []byte) (event, created int64, id uint64, rest []byte, ok bool) {
	if len(value) < prefixBytes {
		return 0, 0, 0, nil, false
	}
	const signBit = 1 << 63
	event = int64(binary.BigEndian.Uint64(value) ^ signBit)
	created = int64(binary.BigEndian.Uint64(value[8:]) ^ signBit)
	return event, created, binary.BigEndian.Uint64(value[headerBytes:]), value[prefixBytes:], true
}

// split takes the features of a row apart, and checks that every text is inside
// of texts, so that the accessors need not. It keeps rest.
func (l *layout) split(rest []byte) (r row, ok bool) {
	if len(rest) < l.fixed {
		return row{}, false
	}
	r = row{layout: l, nulls: rest[:l.fixed:l.fixed], texts: rest[l.fixed:]}
	end := uint32(0)
	for _, at := range l.texts {
		next := r.uint32(&l.fields[at])
		if next < end {
			return row{}, false
		}
		end = next
	}
	return r, int64(end) == int64(len(r.texts))
}

// hasNulls reports whether any feature is null.
func (r *row) hasNulls() bool {
	for _, b := range r.nulls[:(len(r.layout.fields)+7)/8] {
		if b != 0 {
			return true
		}
	}
	return false
}

func (r *row) isNull(at int) bool           { return r.nulls[at/8]&(1<<(at%8)) != 0 }
func (r *row) bool(f *layoutField) bool     { return r.nulls[f.slot] != 0 }
func (r *row) uint32(f *layoutField) uint32 { return binary.LittleEndian.Uint32(r.nulls[f.slot:]) }
func (r *row) uint64(f *layoutField) uint64 { return binary.LittleEndian.Uint64(r.nulls[f.slot:]) }
func (r *row) text(f *layoutField) []byte {
	start := uint32(0)
	if f.previous >= 0 {
		start = binary.LittleEndian.Uint32(r.nulls[f.previous:])
	}
	return r.texts[start:r.uint32(f)]
}

// word is a value that is no text, as [Values] has it.
func (r *row) word(f *layoutField) uint64 {
	switch f.Type {
	case driftline.Bool:
		if r.bool(f) {
			return 1
		}
		return 0
	case driftline.Int32:
		return uint64(int32(r.uint32(f)))
	case driftline.Float32:
		return math.Float64bits(float64(math.Float32frombits(r.uint32(f))))
	}
	return r.uint64(f)
}
