package offline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
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
	prefix := prefixer(columns[0])
	for i := range rows {
		rows[i] = sortRow{prefix: prefix(i), row: int32(i)}
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

// sortRow is a row and the beginning of its first key in an order-preserving
// form, so that most comparisons touch no column. Most of a sort's time is there.
type sortRow struct {
	prefix uint64
	row    int32
}

// prefixer returns the prefix of each row of a column: if row i sorts before row
// j then prefix(i) <= prefix(j). Nulls have the least prefix, 0.
func prefixer(column arrow.Array) func(i int) uint64 {
	const sign = 1 << 63
	var value func(i int) uint64
	switch a := column.(type) {
	case *array.String:
		value = func(i int) uint64 { return bytesPrefix(a.Value(i)) }
	case *array.Int32:
		value = func(i int) uint64 { return uint64(int64(a.Value(i))) ^ sign }
	case *array.Int64:
		value = func(i int) uint64 { return uint64(a.Value(i)) ^ sign }
	case *array.Timestamp:
		value = func(i int) uint64 { return uint64(a.Value(i)) ^ sign }
	default:
		value = func(int) uint64 { return 0 }
	}
	return func(i int) uint64 {
		if column.IsNull(i) {
			return 0
		}
		return value(i)
	}
}

func bytesPrefix(s string) uint64 {
	var first [8]byte
	copy(first[:], s)
	return binary.BigEndian.Uint64(first[:])
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
