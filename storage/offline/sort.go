package offline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// sortedOrder returns the row numbers of columns in sorted order: by the first
// column, then by the next, and equal rows as they came. Nulls come first, -0
// equals 0, and NaN comes after +Inf.
func sortedOrder(columns []arrow.Array, names []string) ([]int32, error) {
	compares := make([]func(i, j int32) int, len(columns))
	for k, column := range columns {
		compare, ok := comparer(column)
		if !ok {
			return nil, driftline.Errorf(driftline.Invalid, "rows cannot be sorted by column %q, which is %s", names[k], column.DataType())
		}
		compares[k] = nullsFirst(column, compare)
	}
	rows := make([]sortRow, columns[0].Len())
	for i, prefix := range prefixes(columns) {
		rows[i] = sortRow{prefix: prefix, row: int32(i)}
	}
	slices.SortFunc(rows, func(a, b sortRow) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		for _, compare := range compares {
			if c := compare(a.row, b.row); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.row, b.row)
	})
	order := make([]int32, len(rows))
	for i, r := range rows {
		order[i] = r.row
	}
	return order, nil
}

// sortRow is a row and the beginning of its keys in an order-preserving form, so
// that most comparisons touch no column. Most of a sort's time is there.
type sortRow struct {
	prefix uint64
	row    int32
}

// prefixes returns a number for each row such that rows of different numbers are
// in their order. It is the codes of the columns side by side, as many as fit:
//
//	| first column's bits | second column's bits | … | 0 |
func prefixes(columns []arrow.Array) []uint64 {
	packed := make([]uint64, columns[0].Len())
	room := 64
	for _, column := range columns {
		code := codeOf(column)
		code.addTo(packed, room)
		if room -= code.bits; room <= 0 || !code.exact {
			break
		}
	}
	return packed
}

// code maps the values of one column to numbers of so many bits: smaller values
// have smaller numbers or, if it is not exact, equal ones.
type code struct {
	value func(i int) uint64
	bits  int
	exact bool
}

// addTo puts the codes of all rows into the highest of the lowest room bits.
func (c code) addTo(packed []uint64, room int) {
	if c.bits == 0 {
		return
	}
	for i := range packed {
		if shift := room - c.bits; shift >= 0 {
			packed[i] |= c.value(i) << shift
		} else {
			packed[i] |= c.value(i) >> -shift
		}
	}
}

func codeOf(column arrow.Array) code {
	c := code{}
	switch a := column.(type) {
	case *array.Int32:
		c = integerCode(a, a.Int32Values())
	case *array.Int64:
		c = integerCode(a, a.Int64Values())
	case *array.Timestamp:
		c = integerCode(a, a.TimestampValues())
	case *array.Date32:
		c = integerCode(a, a.Date32Values())
	case *array.String:
		c = stringCode(a)
	}
	if column.NullN() == 0 {
		return c
	}
	return c.nullable(column)
}

// nullable puts a bit in front that is 0 for nulls.
func (c code) nullable(column arrow.Array) code {
	value, bits, drop := c.value, c.bits, 0
	if bits == 64 {
		bits, drop = 63, 1
	}
	return code{bits: bits + 1, exact: c.exact && drop == 0, value: func(i int) uint64 {
		if column.IsNull(i) {
			return 0
		}
		if value == nil {
			return 1 << bits
		}
		return 1<<bits | value(i)>>drop
	}}
}

// integerCode counts from the least value.
func integerCode[T ~int32 | ~int64](column arrow.Array, values []T) code {
	least, greatest, any := T(0), T(0), false
	for i, v := range values {
		if column.IsNull(i) {
			continue
		}
		if !any {
			least, greatest, any = v, v, true
		}
		least, greatest = min(least, v), max(greatest, v)
	}
	return code{
		value: func(i int) uint64 { return uint64(values[i]) - uint64(least) },
		bits:  bits.Len64(uint64(greatest) - uint64(least)),
		exact: true,
	}
}

// stringCode takes the first eight bytes after those that all values share. It is
// exact if these are all there is, and of one length, as codes of things often are.
func stringCode(column *array.String) code {
	shared, longest, oneLength, any := "", 0, true, false
	for i := range column.Len() {
		if column.IsNull(i) {
			continue
		}
		v := column.Value(i)
		if !any {
			shared, longest, any = v, len(v), true
		}
		shared = shared[:sharedBytes(shared, v)]
		oneLength = oneLength && len(v) == longest
		longest = max(longest, len(v))
	}
	skip := len(shared)
	width := min(8, longest-skip)
	return code{
		value: func(i int) uint64 {
			var first [8]byte
			copy(first[:], column.Value(i)[skip:])
			return binary.BigEndian.Uint64(first[:]) >> (64 - 8*width)
		},
		bits:  8 * width,
		exact: oneLength && longest-skip <= 8,
	}
}

func sharedBytes(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func nullsFirst(column arrow.Array, compare func(i, j int32) int) func(i, j int32) int {
	if column.NullN() == 0 {
		return compare
	}
	return func(i, j int32) int {
		switch a, b := column.IsNull(int(i)), column.IsNull(int(j)); {
		case a && b:
			return 0
		case a:
			return -1
		case b:
			return 1
		}
		return compare(i, j)
	}
}

// comparer compares two rows that are not null; false if the type has no order.
func comparer(column arrow.Array) (func(i, j int32) int, bool) {
	switch a := column.(type) {
	case *array.Boolean:
		return func(i, j int32) int { return cmp.Compare(bit(a.Value(int(i))), bit(a.Value(int(j)))) }, true
	case *array.Int32:
		return ordered(a.Int32Values()), true
	case *array.Int64:
		return ordered(a.Int64Values()), true
	case *array.Timestamp:
		return ordered(a.TimestampValues()), true
	case *array.Date32:
		return ordered(a.Date32Values()), true
	case *array.Time64:
		return ordered(a.Time64Values()), true
	case *array.Float32:
		return floats(a.Float32Values()), true
	case *array.Float64:
		return floats(a.Float64Values()), true
	case *array.String:
		return func(i, j int32) int { return strings.Compare(a.Value(int(i)), a.Value(int(j))) }, true
	case *array.Binary:
		return func(i, j int32) int { return bytes.Compare(a.Value(int(i)), a.Value(int(j))) }, true
	case *array.FixedSizeBinary:
		return func(i, j int32) int { return bytes.Compare(a.Value(int(i)), a.Value(int(j))) }, true
	case *array.Decimal128:
		return func(i, j int32) int { return a.Value(int(i)).Cmp(a.Value(int(j))) }, true
	}
	return nil, false
}

func ordered[T cmp.Ordered](values []T) func(i, j int32) int {
	return func(i, j int32) int { return cmp.Compare(values[i], values[j]) }
}

// floats orders NaN last; cmp.Compare would have it first.
func floats[T float32 | float64](values []T) func(i, j int32) int {
	return func(i, j int32) int {
		a, b := float64(values[i]), float64(values[j])
		if math.IsNaN(a) || math.IsNaN(b) {
			return cmp.Compare(bit(math.IsNaN(a)), bit(math.IsNaN(b)))
		}
		return cmp.Compare(a, b)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
