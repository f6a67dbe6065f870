package offline

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

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

// columns returns the columns of all rows, each in one array. The caller releases them.
func (c *chunk) columns(schema *arrow.Schema, s *Store) ([]arrow.Array, error) {
	columns := make([]arrow.Array, 0, schema.NumFields())
	parts := make([]arrow.Array, len(c.batches))
	for i := range schema.NumFields() {
		for k, batch := range c.batches {
			parts[k] = batch.Column(i)
		}
		column, err := array.Concatenate(parts, s.mem)
		if err != nil {
			releaseArrays(columns)
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, nil
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
