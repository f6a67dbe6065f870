package offline

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// rowKeys is one string of bytes for each row of a batch, which are in the order of
// the rows, also of rows of different batches. It is, column by column,
//
//	| 0 |            null
//	| 1 | value |    anything else
//
// where numbers are big-endian with the sign turned, floats turned as a whole if they
// are negative, and the bytes of strings end in 0 0, a 0 in them being 0 255.
type rowKeys struct {
	bytes []byte
	ends  []int // of the key before each row, and of the last
}

func (k rowKeys) rows() int         { return len(k.ends) - 1 }
func (k rowKeys) at(row int) []byte { return k.bytes[k.ends[row]:k.ends[row+1]] }

// keyColumn packs the values of one column that are not null.
type keyColumn struct {
	width int                                  // of all values; 0 if they differ
	size  func(row int) int                    // if they differ
	put   func(to []byte, row int) (bytes int) // to has room
}

// packKeys makes the keys of rows from the columns that they are sorted by.
func packKeys(columns []arrow.Array, names []string) (rowKeys, error) {
	packed := make([]keyColumn, len(columns))
	for i, column := range columns {
		k, ok := keyColumnOf(column)
		if !ok {
			return rowKeys{}, driftline.Errorf(driftline.Invalid, "rows cannot be sorted by column %q, which is %s", names[i], column.DataType())
		}
		packed[i] = k
	}
	rows := columns[0].Len()
	keys := rowKeys{ends: make([]int, rows+1)}
	for i, column := range columns {
		addSizes(keys.ends[1:], column, packed[i])
	}
	for row := range rows {
		keys.ends[row+1] += keys.ends[row]
	}
	keys.bytes = make([]byte, keys.ends[rows])
	next := make([]int, rows) // where the next column of each row goes
	copy(next, keys.ends)
	for i, column := range columns {
		putColumn(keys.bytes, next, column, packed[i])
	}
	return keys, nil
}

func addSizes(sizes []int, column arrow.Array, k keyColumn) {
	for row := range sizes {
		sizes[row]++
		switch {
		case column.IsNull(row):
		case k.width > 0:
			sizes[row] += k.width
		default:
			sizes[row] += k.size(row)
		}
	}
}

func putColumn(bytes []byte, next []int, column arrow.Array, k keyColumn) {
	for row, at := range next {
		if column.IsNull(row) {
			next[row]++
			continue
		}
		bytes[at] = 1
		next[row] += 1 + k.put(bytes[at+1:], row)
	}
}

// keyColumnOf knows the types that comparer knows, and orders values as it does.
func keyColumnOf(column arrow.Array) (keyColumn, bool) {
	switch a := column.(type) {
	case *array.Boolean:
		return keyColumn{width: 1, put: func(to []byte, i int) int { to[0] = byte(bit(a.Value(i))); return 1 }}, true
	case *array.Int32:
		return numberKey(a.Int32Values()), true
	case *array.Int64:
		return numberKey(a.Int64Values()), true
	case *array.Timestamp:
		return numberKey(a.TimestampValues()), true
	case *array.Date32:
		return numberKey(a.Date32Values()), true
	case *array.Time64:
		return numberKey(a.Time64Values()), true
	case *array.Float32:
		return floatKey(a.Float32Values()), true
	case *array.Float64:
		return floatKey(a.Float64Values()), true
	case *array.String:
		return bytesKey(a.Value), true
	case *array.Binary:
		return bytesKey(a.Value), true
	case *array.FixedSizeBinary:
		width := a.DataType().(*arrow.FixedSizeBinaryType).ByteWidth
		return keyColumn{width: width, put: func(to []byte, i int) int { return copy(to, a.Value(i)) }}, true
	case *array.Decimal128:
		return keyColumn{width: 16, put: func(to []byte, i int) int {
			binary.BigEndian.PutUint64(to, turned(a.Value(i).HighBits()))
			binary.BigEndian.PutUint64(to[8:], a.Value(i).LowBits())
			return 16
		}}, true
	}
	return keyColumn{}, false
}

// turned maps integers to unsigned ones of the same order.
func turned(v int64) uint64 { return uint64(v) ^ 1<<63 }

func numberKey[T ~int32 | ~int64](values []T) keyColumn {
	return keyColumn{width: 8, put: func(to []byte, i int) int {
		binary.BigEndian.PutUint64(to, turned(int64(values[i])))
		return 8
	}}
}

func floatKey[T float32 | float64](values []T) keyColumn {
	return keyColumn{width: 8, put: func(to []byte, i int) int {
		v := float64(values[i])
		bits := math.Float64bits(v + 0) // -0 becomes 0
		switch {
		case math.IsNaN(v):
			bits = math.MaxUint64 // all NaN are one, after +Inf
		case bits>>63 == 1:
			bits = ^bits
		default:
			bits |= 1 << 63
		}
		binary.BigEndian.PutUint64(to, bits)
		return 8
	}}
}

func bytesKey[T string | []byte](value func(int) T) keyColumn {
	return keyColumn{
		size: func(i int) int {
			v := value(i)
			size := len(v) + 2
			for k := range len(v) {
				if v[k] == 0 {
					size++
				}
			}
			return size
		},
		put: func(to []byte, i int) int {
			v, n := value(i), 0
			for k := range len(v) {
				to[n] = v[k]
				if n++; v[k] == 0 {
					to[n] = 255
					n++
				}
			}
			return n + 2 // 0 0, which to has already
		},
	}
}
