package offline

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// Part is a run of rows of one file, which are read together.
type Part struct {
	First, Rows int64 // the number in the file of its first row, and how many there are

	of *mappedReader // at the part's row group; nil if the statistics are not known
}

// MayHave reports whether rows of the part may have a value in a column of the read, numbered
// as it was asked for. The value is a text, as [arrow.Array.ValueStr] writes it. The
// statistics of whole numbers and of texts are looked at; of other types any value may be there.
func (p Part) MayHave(column int, value string) bool {
	if p.of == nil {
		return true
	}
	leaf := p.of.wanted[column].leaf
	if leaf < 0 {
		return false // every row has null
	}
	least, greatest, ok := p.of.file.Bounds(p.of.group, leaf)
	return !ok || within(p.of.file.Leaves()[leaf].Type, value, least, greatest)
}

// within compares a value with bounds in the plain encoding of Parquet. Those of long texts may be
// cut short.
func within(kind arrow.DataType, value string, least, greatest []byte) bool {
	switch kind.ID() {
	case arrow.STRING:
		begin := []byte(value[:min(len(value), len(greatest))])
		return bytes.Compare([]byte(value), least) >= 0 && bytes.Compare(begin, greatest) <= 0
	case arrow.INT64:
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && len(least) == 8 && len(greatest) == 8 &&
			n >= int64(binary.LittleEndian.Uint64(least)) && n <= int64(binary.LittleEndian.Uint64(greatest))
	case arrow.INT32:
		n, err := strconv.ParseInt(value, 10, 32)
		return err == nil && len(least) == 4 && len(greatest) == 4 &&
			n >= int64(int32(binary.LittleEndian.Uint32(least))) && n <= int64(int32(binary.LittleEndian.Uint32(greatest)))
	}
	return true
}
