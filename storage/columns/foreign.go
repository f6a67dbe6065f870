package columns

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
)

// loadForeign decodes the whole chunk with the Parquet library, for encodings that none of
// our files has, and makes it the page.
func (r *Reader) loadForeign() error {
	if r.rows > biggestPage/8 {
		return errDamaged
	}
	columns, err := r.file.reader.RowGroup(r.group).Column(r.leaf.column)
	if err != nil {
		return err
	}
	r.page = Page{Rows: r.rows, Width: r.width}
	switch c := columns.(type) {
	case *file.Int32ColumnChunkReader:
		return readForeign(r, c.ReadBatchInPage, arrow.Int32Traits.CastToBytes)
	case *file.Int64ColumnChunkReader:
		return readForeign(r, c.ReadBatchInPage, arrow.Int64Traits.CastToBytes)
	case *file.Float32ColumnChunkReader:
		return readForeign(r, c.ReadBatchInPage, arrow.Float32Traits.CastToBytes)
	case *file.Float64ColumnChunkReader:
		return readForeign(r, c.ReadBatchInPage, arrow.Float64Traits.CastToBytes)
	case *file.BooleanColumnChunkReader:
		return readForeign(r, c.ReadBatchInPage, func(values []bool) []byte {
			out := make([]byte, len(values))
			for i, v := range values {
				if v {
					out[i] = 1
				}
			}
			return out
		})
	case *file.ByteArrayColumnChunkReader:
		return r.readForeignText(c)
	}
	return errDamaged // INT96 and fixed-length bytes: no type of ours is stored so
}

// readForeign reads all values of a chunk of fixed width.
func readForeign[T any](r *Reader, read func(int64, []T, []int16, []int16) (int64, int, error), raw func([]T) []byte) error {
	values := make([]T, r.rows)
	present, err := r.readBatches(func(batch int64, row, at int, levels []int16) (int64, int, error) {
		return read(batch, values[at:], levels, nil)
	})
	if err != nil {
		return err
	}
	r.spread = sized(r.spread, r.rows*r.width)
	copy(r.spread, raw(values[:present]))
	r.page.Values = r.spread
	spreadValues(&r.page, r.spread)
	return nil
}

// readBatches calls read until all rows of the chunk were read, and makes their validity.
// read must be a ReadBatchInPage: the library's ReadBatch goes on for ever in a page that
// has fewer values than its header says.
func (r *Reader) readBatches(read func(batch int64, row, at int, levels []int16) (int64, int, error)) (present int, err error) {
	levels := make([]int16, r.rows)
	for row := 0; row < r.rows; {
		rows, values, err := read(int64(r.rows-row), row, present, levels[row:])
		if err != nil {
			return 0, err
		}
		if rows <= 0 {
			return 0, errDamaged
		}
		row, present = row+int(rows), present+values
	}
	if !r.leaf.nullable || present == r.rows {
		return present, nil
	}
	r.valid = sized(r.valid, (r.rows+7)/8)
	for i, level := range levels {
		bitutil.SetBitTo(r.valid, i, level != 0)
	}
	if bitutil.CountSetBits(r.valid, 0, r.rows) != present {
		return 0, errDamaged // other values would be taken for those that are missing
	}
	r.page.Valid = r.valid
	return present, nil
}

// foreignTexts are how many texts are decoded at once.
const foreignTexts = 4 << 10

func (r *Reader) readForeignText(c *file.ByteArrayColumnChunkReader) error {
	values := make([]parquet.ByteArray, min(r.rows, foreignTexts))
	var text []byte
	spans := sized(r.spans, r.rows)[:0]
	_, err := r.readBatches(func(batch int64, _, _ int, levels []int16) (int64, int, error) {
		rows, n, err := c.ReadBatchInPage(min(batch, foreignTexts), values, levels, nil)
		for _, v := range values[:n] { // valid until the next batch
			if len(text)+len(v) > biggestPage { // texts that begin as the one before can be as many as they like
				return 0, 0, errDamaged
			}
			spans = append(spans, Span{At: uint32(len(text)), Len: uint32(len(v))})
			text = append(text, v...)
		}
		return rows, n, err
	})
	if err != nil {
		return err
	}
	r.spans = spreadSpans(&r.page, spans)
	r.page.Text, r.page.Spans = text, r.spans
	return nil
}
