package offline

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// chunk holds the rows of one file to be: slices of batches, retained.
type chunk struct {
	batches []arrow.RecordBatch
	rows    int64
	bytes   int64
}

func (c *chunk) full() bool { return c.rows >= rowsPerFile || c.bytes >= bytesPerFile }

// add takes rows from the beginning of batch until the chunk is full, at least
// one, and returns their number. It counts rows of a batch as equally wide.
func (c *chunk) add(batch arrow.RecordBatch) int64 {
	width := max(1, batchSize(batch)/batch.NumRows())
	taken := min(batch.NumRows(), rowsPerFile-c.rows, max(1, (bytesPerFile-c.bytes)/width))
	c.batches = append(c.batches, batch.NewSlice(0, taken))
	c.rows += taken
	c.bytes += taken * width
	return taken
}

// parts returns a column, batch by batch. The chunk owns the arrays.
func (c *chunk) parts(column int) []arrow.Array {
	parts := make([]arrow.Array, len(c.batches))
	for i, batch := range c.batches {
		parts[i] = batch.Column(column)
	}
	return parts
}

// column returns a column of all rows in one array. The caller releases it.
func (c *chunk) column(column int, mem memory.Allocator) (arrow.Array, error) {
	parts := c.parts(column)
	if len(parts) == 1 {
		parts[0].Retain()
		return parts[0], nil
	}
	return array.Concatenate(parts, mem)
}

func (c *chunk) release() {
	driftline.ReleaseAll(c.batches)
	*c = chunk{}
}

// batchSize is the number of bytes that the values of a batch take. Unlike the
// sizes of its buffers, which slices share, it is right for slices.
func batchSize(batch arrow.RecordBatch) (bytes int64) {
	for _, column := range batch.Columns() {
		bytes += arraySize(column)
	}
	return bytes
}

func arraySize(a arrow.Array) int64 {
	rows := int64(a.Len())
	if rows == 0 {
		return 0
	}
	switch a := a.(type) {
	case array.BinaryLike:
		return int64(len(a.ValueBytes())) + 4*rows
	case *array.Struct:
		var bytes int64
		for i := range a.NumField() {
			bytes += arraySize(a.Field(i))
		}
		return bytes
	case array.ListLike:
		start, _ := a.ValueOffsets(0)
		_, end := a.ValueOffsets(a.Len() - 1)
		values := array.NewSlice(a.ListValues(), start, end)
		defer values.Release()
		return arraySize(values) + 4*rows
	}
	if fixed, ok := a.DataType().(arrow.FixedWidthDataType); ok {
		return int64(fixed.BitWidth())*rows/8 + rows/8
	}
	return rows
}
