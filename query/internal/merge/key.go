package merge

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline/storage/columns"
)

// A key is a number if the view has one join key of fixed width, else text. Either way
// keys in order are numbers or texts in order, and equal keys are equal: -0 is 0, and a
// narrow integer is the wide one of the same value.
type key interface{ uint64 | string }

// signBit makes signed numbers ordered as unsigned ones.
const signBit = 1 << 63

// codeFloat returns false for NaN, which equals nothing.
func codeFloat(v float64) (uint64, bool) {
	if v != v {
		return 0, false
	}
	bits := math.Float64bits(v + 0) // -0 + 0 is 0
	if bits&signBit != 0 {
		return ^bits, true
	}
	return bits | signBit, true
}

func codeInteger(v int64) (uint64, bool) { return uint64(v) ^ signBit, true }

// isText reports whether values of the type are of any length.
func isText(dt arrow.DataType) bool { return dt.ID() == arrow.STRING || dt.ID() == arrow.BINARY }

// rawCoder returns how a value of fixed width of a file becomes a code of the type
// wanted; nil if the one cannot be held by the other.
func rawCoder(stored, wanted arrow.DataType) func(raw []byte) (uint64, bool) {
	float := wanted.ID() == arrow.FLOAT64 || wanted.ID() == arrow.FLOAT32
	switch stored.ID() {
	case arrow.BOOL:
		if wanted.ID() == arrow.BOOL {
			return func(raw []byte) (uint64, bool) { return uint64(raw[0]), true }
		}
	case arrow.INT32:
		if float && wanted.ID() == arrow.FLOAT64 {
			return func(raw []byte) (uint64, bool) {
				return codeFloat(float64(int32(binary.LittleEndian.Uint32(raw))))
			}
		}
		if wanted.ID() == arrow.INT32 || wanted.ID() == arrow.INT64 {
			return func(raw []byte) (uint64, bool) { return codeInteger(int64(int32(binary.LittleEndian.Uint32(raw)))) }
		}
	case arrow.INT64:
		if wanted.ID() == arrow.INT64 {
			return codeWord
		}
	case arrow.TIMESTAMP:
		if wanted.ID() == arrow.TIMESTAMP && isMicroseconds(stored) {
			return codeWord
		}
	case arrow.FLOAT32:
		if float {
			return func(raw []byte) (uint64, bool) {
				return codeFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
			}
		}
	case arrow.FLOAT64:
		if wanted.ID() == arrow.FLOAT64 {
			return func(raw []byte) (uint64, bool) {
				return codeFloat(math.Float64frombits(binary.LittleEndian.Uint64(raw)))
			}
		}
	}
	return nil
}

func codeWord(raw []byte) (uint64, bool) { return codeInteger(int64(binary.LittleEndian.Uint64(raw))) }

func isMicroseconds(dt arrow.DataType) bool {
	ts, ok := dt.(*arrow.TimestampType)
	return ok && ts.Unit == arrow.Microsecond
}

// coder makes keys from the values of runs.
type coder struct {
	raw []func(raw []byte) (uint64, bool) // by join key; nil for text
}

// newCoder returns false if the stored types cannot be keys of the wanted types.
func newCoder(stored, wanted []arrow.DataType) (coder, bool) {
	c := coder{}
	for i := range wanted {
		if isText(wanted[i]) {
			if stored[i].ID() != wanted[i].ID() {
				return c, false
			}
			c.raw = append(c.raw, nil)
			continue
		}
		raw := rawCoder(stored[i], wanted[i])
		if raw == nil {
			return c, false
		}
		c.raw = append(c.raw, raw)
	}
	return c, true
}

// appendPart appends the i-th of n join keys to a text. What is not last ends in a way
// that keeps the order: no text is the beginning of another one.
func (c coder) appendPart(to []byte, page *columns.Page, row, i, n int) ([]byte, bool) {
	if page.Null(row) {
		return to, false
	}
	if c.raw[i] == nil {
		return appendText(to, page.Bytes(row), i == n-1), true
	}
	code, ok := c.raw[i](page.Values[row*page.Width:])
	return binary.BigEndian.AppendUint64(to, code), ok
}

func appendText(to, text []byte, last bool) []byte {
	if last {
		return append(to, text...)
	}
	for _, b := range text {
		if to = append(to, b); b == 0 {
			to = append(to, 0xff)
		}
	}
	return append(to, 0, 1)
}

// numbers returns the codes of a spine's column that is the only join key, and calls
// drop for each row that has none.
func numbers(a arrow.Array, wanted arrow.DataType, to []uint64, drop func(row int)) {
	if a, ok := a.(*array.Int64); ok && a.NullN() == 0 {
		for i, v := range a.Int64Values() {
			to[i] = uint64(v) ^ signBit
		}
		return
	}
	code := arrayCoder(a, wanted)
	for i := range a.Len() {
		var ok bool
		if a.IsValid(i) {
			to[i], ok = code(i)
		}
		if !ok {
			drop(i)
		}
	}
}

// arrayCoder is rawCoder for values of an array.
func arrayCoder(a arrow.Array, wanted arrow.DataType) func(i int) (uint64, bool) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(i int) (uint64, bool) {
			if a.Value(i) {
				return 1, true
			}
			return 0, true
		}
	case *array.Int32:
		if wanted.ID() == arrow.FLOAT64 {
			return func(i int) (uint64, bool) { return codeFloat(float64(a.Value(i))) }
		}
		return func(i int) (uint64, bool) { return codeInteger(int64(a.Value(i))) }
	case *array.Int64:
		return func(i int) (uint64, bool) { return codeInteger(a.Value(i)) }
	case *array.Timestamp:
		return func(i int) (uint64, bool) { return codeInteger(int64(a.Value(i))) }
	case *array.Float32:
		return func(i int) (uint64, bool) { return codeFloat(float64(a.Value(i))) }
	case *array.Float64:
		return func(i int) (uint64, bool) { return codeFloat(a.Value(i)) }
	}
	return func(int) (uint64, bool) { return 0, false } // a column of nulls
}

// textCoder appends the i-th of n join keys of a spine's row, as [coder.appendPart] does.
func textCoder(a arrow.Array, wanted arrow.DataType, last bool) func(to []byte, row int) ([]byte, bool) {
	switch a := a.(type) {
	case *array.String:
		return func(to []byte, row int) ([]byte, bool) {
			if a.IsNull(row) {
				return to, false
			}
			return appendText(to, []byte(a.Value(row)), last), true
		}
	case *array.Binary:
		return func(to []byte, row int) ([]byte, bool) {
			if a.IsNull(row) {
				return to, false
			}
			return appendText(to, a.Value(row), last), true
		}
	}
	code := arrayCoder(a, wanted)
	return func(to []byte, row int) ([]byte, bool) {
		if a.IsNull(row) {
			return to, false
		}
		c, ok := code(row)
		return binary.BigEndian.AppendUint64(to, c), ok
	}
}
