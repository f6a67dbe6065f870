package driftline

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// SplitBatch yields batch in consecutive pieces of at most maxBytes of values
// each, without copying. A row that is larger alone is a piece of its own; a batch
// that fits, an empty one too, is yielded as it is. Pieces follow the rule of [Batches].
func SplitBatch(batch arrow.RecordBatch, maxBytes int64) iter.Seq[arrow.RecordBatch] {
	return func(yield func(arrow.RecordBatch) bool) { splitRows(batch, 0, batch.NumRows(), maxBytes, yield) }
}

// splitRows yields rows [from, to), halved until the pieces fit. Halving, not
// dividing by the mean, because one long string may hold most of the bytes.
func splitRows(batch arrow.RecordBatch, from, to, maxBytes int64, yield func(arrow.RecordBatch) bool) bool {
	if to-from > 1 && rowsBytes(batch, from, to) > maxBytes {
		middle := from + (to-from)/2
		return splitRows(batch, from, middle, maxBytes, yield) && splitRows(batch, middle, to, maxBytes, yield)
	}
	if from == 0 && to == batch.NumRows() {
		return yield(batch)
	}
	piece := batch.NewSlice(from, to)
	defer piece.Release()
	return yield(piece)
}

// BatchBytes is the size in bytes of the values of batch: of a slice, those of its
// rows, not those of the buffers that it shares.
func BatchBytes(batch arrow.RecordBatch) int64 { return rowsBytes(batch, 0, batch.NumRows()) }

func rowsBytes(batch arrow.RecordBatch, from, to int64) (bytes int64) {
	for _, column := range batch.Columns() {
		bytes += valuesBytes(column, from, to)
	}
	return bytes
}

// valuesBytes is the size in bytes of the elements [from, to) of a, in the layout
// that they are sent in. The values of a dictionary are sent once and not counted.
func valuesBytes(a arrow.Array, from, to int64) int64 {
	rows := to - from
	validity := (rows + 7) / 8
	switch a := a.(type) {
	case *array.Null:
		return 0
	case array.BinaryLike:
		width := int64(4)
		if id := a.DataType().ID(); id == arrow.LARGE_STRING || id == arrow.LARGE_BINARY {
			width = 8
		}
		if rows == 0 {
			return 0
		}
		begin, last := a.ValueOffset64(int(from)), int(to-1)
		return validity + width*rows + a.ValueOffset64(last) + int64(a.ValueLen(last)) - begin
	case array.ViewLike:
		bytes := validity
		for i := int(from); i < int(to); i++ {
			bytes += int64(arrow.ViewHeaderSizeBytes + a.ValueHeader(i).Len())
		}
		return bytes
	case array.ListLike:
		if rows == 0 {
			return 0
		}
		begin, _ := a.ValueOffsets(int(from))
		_, end := a.ValueOffsets(int(to - 1))
		return validity + 8*rows + valuesBytes(a.ListValues(), begin, end)
	case *array.Struct:
		bytes := validity
		for i := range a.NumField() {
			bytes += valuesBytes(a.Field(i), from, to)
		}
		return bytes
	case array.ExtensionArray:
		return valuesBytes(a.Storage(), from, to)
	}
	if fixed, ok := a.DataType().(arrow.FixedWidthDataType); ok {
		return validity + (rows*int64(fixed.BitWidth())+7)/8
	}
	return rows * int64(a.Data().SizeInBytes()) / max(1, int64(a.Len()))
}
