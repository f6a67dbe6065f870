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

// sorted is the order of a chunk's rows.
type sorted struct {
	order  []int32 // row numbers in sorted order; nil if that is the order in which they are
	prefix prefixes
}

// sortRows sorts the rows of columns: by the first column, then by the next, and equal
// rows as they came. Nulls come first, -0 equals 0, and NaN comes after +Inf.
func sortRows(columns []arrow.Array, names []string) (sorted, error) {
	compares, err := comparers(columns, names)
	if err != nil {
		return sorted{}, err
	}
	prefix := prefixesOf(columns)
	exact := prefix.hold(len(columns))
	compare := func(a, b int32) int { return compareRows(compares, a, b) }
	if inOrder(prefix.of, exact, compare) {
		return sorted{prefix: prefix}, nil
	}
	rows := radixSort(prefix.of, prefix.ordered())
	if !exact {
		sortTies(rows, compare)
	}
	order := make([]int32, len(rows))
	for i, r := range rows {
		order[i], prefix.of[i] = r.row, r.prefix
	}
	return sorted{order: order, prefix: prefix}, nil
}

func comparers(columns []arrow.Array, names []string) ([]func(i, j int32) int, error) {
	compares := make([]func(i, j int32) int, len(columns))
	for k, column := range columns {
		compare, ok := comparer(column)
		if !ok {
			return nil, driftline.Errorf(driftline.Invalid, "rows cannot be sorted by column %q, which is %s", names[k], column.DataType())
		}
		compares[k] = nullsFirst(column, compare)
	}
	return compares, nil
}

func compareRows(compares []func(i, j int32) int, a, b int32) int {
	for _, compare := range compares {
		if c := compare(a, b); c != 0 {
			return c
		}
	}
	return 0
}

// inOrder reports whether the rows are sorted as they are, which costs little to see
// and saves the sort and a copy of all columns.
func inOrder(packed []uint64, exact bool, compare func(a, b int32) int) bool {
	for i := 1; i < len(packed); i++ {
		if packed[i-1] > packed[i] || (packed[i-1] == packed[i] && !exact && compare(int32(i-1), int32(i)) > 0) {
			return false
		}
	}
	return true
}

// sortRow is a row and the beginning of its keys in an order-preserving form, so
// that most comparisons touch no column.
type sortRow struct {
	prefix uint64
	row    int32
}

// digitBits is the width of a digit, whose counts fit the first-level cache.
const digitBits = 11

// radixSort sorts rows by their prefixes, equal ones as they came: digit by digit from
// the lowest, leaving out digits that are the same in all rows, and the lowest bits of
// which the rows are in order as they came.
func radixSort(packed []uint64, ordered int) []sortRow {
	rows, spare := make([]sortRow, len(packed)), make([]sortRow, len(packed))
	counts := make([][1 << digitBits]int32, (64-ordered+digitBits-1)/digitBits)
	digit := func(prefix uint64, d int) uint64 { return prefix >> (ordered + d*digitBits) & (1<<digitBits - 1) }
	for i, prefix := range packed {
		rows[i] = sortRow{prefix: prefix, row: int32(i)}
		for d := range counts {
			counts[d][digit(prefix, d)]++
		}
	}
	for d := range counts {
		if len(rows) == 0 || int(counts[d][digit(rows[0].prefix, d)]) == len(rows) {
			continue
		}
		next := &counts[d]
		at := int32(0)
		for v, n := range next {
			next[v] = at
			at += n
		}
		for _, r := range rows {
			v := digit(r.prefix, d)
			spare[next[v]] = r
			next[v]++
		}
		rows, spare = spare, rows
	}
	return rows
}

// sortTies sorts each run of equal prefixes by the columns themselves.
func sortTies(rows []sortRow, compare func(a, b int32) int) {
	for start := 0; start < len(rows); {
		end := start + 1
		for end < len(rows) && rows[end].prefix == rows[start].prefix {
			end++
		}
		if end-start > 1 {
			slices.SortStableFunc(rows[start:end], func(a, b sortRow) int { return compare(a.row, b.row) })
		}
		start = end
	}
}

// runEnds returns the positions in the sorted order at which runs of equal keys end.
func (s sorted) runEnds(keys []arrow.Array) ([]int32, error) {
	differ, err := s.differ(keys)
	if err != nil {
		return nil, err
	}
	var ends []int32
	last := len(s.prefix.of) - 1
	for i := range s.prefix.of {
		if i == last || differ(i, i+1) {
			ends = append(ends, int32(i))
		}
	}
	return ends, nil
}

// differ tells whether the keys at two positions differ: by the prefixes if they hold
// the keys, and by the columns if not.
func (s sorted) differ(keys []arrow.Array) (func(i, j int) bool, error) {
	if s.prefix.hold(len(keys)) {
		shift := 64 - s.prefix.bits[len(keys)-1]
		return func(i, j int) bool { return s.prefix.of[i]>>shift != s.prefix.of[j]>>shift }, nil
	}
	compares, err := comparers(keys, make([]string, len(keys)))
	if err != nil {
		return nil, err
	}
	if s.order == nil {
		return func(i, j int) bool { return compareRows(compares, int32(i), int32(j)) != 0 }, nil
	}
	return func(i, j int) bool { return compareRows(compares, s.order[i], s.order[j]) != 0 }, nil
}

// prefixes are a number for each row such that rows of different numbers are in
// their order. It is the codes of the columns side by side, as many as fit:
//
//	| first column's bits | second column's bits | … | 0 |
type prefixes struct {
	of   []uint64
	bits []int // up to the end of each column that is there whole
}

// ordered returns of how many of their lowest bits the prefixes are in order: those of
// all columns but the first ones. Events that are written as they happen are in order of
// their times, and have to be sorted by their keys only.
func (p prefixes) ordered() int {
	for _, bits := range p.bits {
		lowest := uint64(1)<<(64-bits) - 1
		if slices.IsSortedFunc(p.of, func(a, b uint64) int { return cmp.Compare(a&lowest, b&lowest) }) {
			return 64 - bits
		}
	}
	return 0
}

// hold reports whether rows of equal prefixes are equal in the first columns.
func (p prefixes) hold(columns int) bool { return columns > 0 && len(p.bits) >= columns }

func prefixesOf(columns []arrow.Array) prefixes {
	p, room := prefixes{of: make([]uint64, columns[0].Len())}, 64
	for _, column := range columns {
		code := codeOf(column)
		if code.bits > 0 && room == 0 {
			break
		}
		code.addTo(p.of, room)
		if room -= code.bits; !code.exact || room < 0 {
			break
		}
		p.bits = append(p.bits, 64-room)
	}
	return p
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
