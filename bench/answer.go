package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// answer is what one side found, small enough to compare across processes.
type answer struct {
	Rows     int64       `json:"rows"`
	Checksum string      `json:"checksum"` // of all values: see checksum
	Numbers  []exactReal `json:"numbers"`  // results that are few, such as a statistic
}

// sameBits is the comparison of workloads that name no other.
func sameBits(ours, theirs answer) error {
	if ours.Rows != theirs.Rows {
		return fmt.Errorf("%d rows, the peer has %d", ours.Rows, theirs.Rows)
	}
	if ours.Checksum != theirs.Checksum {
		return fmt.Errorf("checksum %s, the peer has %s", ours.Checksum, theirs.Checksum)
	}
	if !slices.EqualFunc(ours.Numbers, theirs.Numbers, sameReal) {
		return fmt.Errorf("numbers %v, the peer has %v", ours.Numbers, theirs.Numbers)
	}
	return nil
}

func sameReal(a, b exactReal) bool {
	return math.Float64bits(float64(a)) == math.Float64bits(float64(b))
}

// exactReal is a float64 that survives JSON bit by bit, NaN and infinities too: it
// travels as the text of C's %a, which Python calls float.hex.
type exactReal float64

// MarshalJSON writes the hexadecimal form.
func (r exactReal) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatFloat(float64(r), 'x', -1, 64)), nil
}

// UnmarshalJSON reads the hexadecimal form.
func (r *exactReal) UnmarshalJSON(text []byte) error {
	value, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err != nil {
		return fmt.Errorf("number %s: %w", text, err)
	}
	*r = exactReal(value)
	return nil
}

// checksum sums up the values of a table. It depends on names, values and which
// values share a row; not on the order of rows or columns, nor on batch sizes or the
// width of numbers. peers/protocol.py has its twin.
//
//	word(value)  int64 of integers, times (microseconds) and bools; bits of the float64;
//	             CRC-32 of text and bytes; a constant for null
//	row          h = 0; for each column by name: h = (h ⊕ word)·M; h = h ⊕ (h ≫ 32)
//	checksum     Σ h over rows, mod 2⁶⁴
func checksum(table driftline.Batches) (answer, error) {
	var total answer
	var sum uint64
	order := columnsByName(table.Schema)
	for batch, err := range table.All {
		if err != nil {
			return answer{}, err
		}
		hashes := make([]uint64, batch.NumRows())
		for _, i := range order {
			if err := mixColumn(hashes, batch.Column(i)); err != nil {
				return answer{}, fmt.Errorf("column %q: %w", batch.ColumnName(i), err)
			}
		}
		for _, h := range hashes {
			sum += h
		}
		total.Rows += batch.NumRows()
	}
	total.Checksum = fmt.Sprintf("%016x", sum)
	return total, nil
}

func columnsByName(schema *arrow.Schema) []int {
	order := make([]int, schema.NumFields())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(schema.Field(a).Name, schema.Field(b).Name) })
	return order
}

const (
	mixMultiplier = 0x9E3779B97F4A7C15
	nullWord      = 0x6E756C6C6E756C6C
)

func mixColumn(hashes []uint64, column arrow.Array) error {
	word, err := words(column)
	if err != nil {
		return err
	}
	for i := range hashes {
		w := uint64(nullWord)
		if column.IsValid(i) {
			w = word(i)
		}
		h := (hashes[i] ^ w) * mixMultiplier
		hashes[i] = h ^ h>>32
	}
	return nil
}

// words returns how to read a valid element as a word.
func words(column arrow.Array) (func(i int) uint64, error) {
	switch c := column.(type) {
	case *array.Int64:
		return func(i int) uint64 { return uint64(c.Value(i)) }, nil
	case *array.Int32:
		return func(i int) uint64 { return uint64(int64(c.Value(i))) }, nil
	case *array.Float64:
		return func(i int) uint64 { return math.Float64bits(c.Value(i)) }, nil
	case *array.Float32:
		return func(i int) uint64 { return math.Float64bits(float64(c.Value(i))) }, nil
	case *array.Boolean:
		return func(i int) uint64 { return boolWord(c.Value(i)) }, nil
	case *array.Timestamp:
		return timestampWords(c)
	case array.StringLike:
		return func(i int) uint64 { return uint64(crc32.ChecksumIEEE([]byte(c.Value(i)))) }, nil
	case *array.Binary:
		return func(i int) uint64 { return uint64(crc32.ChecksumIEEE(c.Value(i))) }, nil
	}
	return nil, fmt.Errorf("type %s has no word", column.DataType())
}

func timestampWords(c *array.Timestamp) (func(i int) uint64, error) {
	unit := c.DataType().(*arrow.TimestampType).Unit
	perSecond := map[arrow.TimeUnit]int64{arrow.Second: 1, arrow.Millisecond: 1e3, arrow.Microsecond: 1e6}[unit]
	if perSecond == 0 {
		return nil, errors.New("times finer than a microsecond have no word")
	}
	return func(i int) uint64 { return uint64(int64(c.Value(i)) * (1e6 / perSecond)) }, nil
}

func boolWord(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
