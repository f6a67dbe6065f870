package query

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query/internal/merge"
)

// cursor walks over the answer of one view, in the order of the spine.
type cursor interface {
	// begin moves to the first row of a piece of the chunk.
	begin(first int)

	// remaining returns how many rows can be taken at once, at least 1.
	remaining() (int64, error)

	// bytes is about how many bytes the next n rows take.
	bytes(n int64) int64

	// take returns the features of the next n rows, whose first is the given row of the
	// whole answer, and counts them. The caller releases them.
	take(row, n int64, reports []driftline.ColumnReport) ([]arrow.Array, error)

	release()
}

// zipper lays the spine and the answers of the views side by side. All hold the same
// rows in the same order, cut at different places.
type zipper struct {
	plan    *HistoricalPlan
	answer  *Answer
	cursors []cursor
	yield   func(arrow.RecordBatch, error) bool
}

func (z *zipper) chunk(c *chunk) (more bool, err error) {
	for i, piece := range c.pieces {
		for _, cursor := range z.cursors {
			cursor.begin(c.first[i])
		}
		for from := int64(0); from < piece.NumRows(); {
			n, err := z.fitting(piece, from)
			if err != nil {
				return false, err
			}
			rows, err := z.take(piece, from, n)
			if err != nil {
				return false, err
			}
			began := time.Now()
			more := z.yield(rows, nil)
			c.reading += time.Since(began)
			rows.Release()
			if !more {
				return false, nil
			}
			from += n
		}
	}
	return true, nil
}

// fitting returns how many rows of a piece the next batch has: as many as fit in
// [batchBytes], and where they lie at whole words of the bitmaps, if that is possible.
func (z *zipper) fitting(piece arrow.RecordBatch, from int64) (int64, error) {
	n := min(piece.NumRows()-from, max(batchBytes/leastRowBytes(z.plan.Schema), 1))
	for _, c := range z.cursors {
		left, err := c.remaining()
		if err != nil {
			return 0, err
		}
		n = min(n, left)
	}
	for n > 1 {
		bytes := z.bytes(piece, from, n)
		if bytes <= batchBytes {
			break
		}
		n = max(min(n-1, n*batchBytes/bytes), 1)
		if n > 64 {
			n -= n % 64
		}
	}
	return n, nil
}

// leastRowBytes is what a row takes without its texts and bitmaps, at least 1.
func leastRowBytes(schema *arrow.Schema) int64 {
	bytes := 1
	for _, f := range schema.Fields() {
		if t, ok := f.Type.(arrow.FixedWidthDataType); ok {
			bytes += t.BitWidth() / 8
		}
	}
	return int64(bytes)
}

func (z *zipper) bytes(piece arrow.RecordBatch, from, n int64) int64 {
	slice := piece.NewSlice(from, from+n)
	defer slice.Release()
	const ends = 16 // what a column takes beside its values, at most
	bytes := driftline.BatchBytes(slice) + int64(ends*z.plan.Schema.NumFields())
	for _, c := range z.cursors {
		bytes += c.bytes(n)
	}
	return bytes
}

// take makes the next n rows of the answer. The caller releases the result.
func (z *zipper) take(piece arrow.RecordBatch, from, n int64) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, z.plan.Schema.NumFields())
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	reports := z.answer.report.Columns
	for i, c := range z.cursors {
		features := len(z.plan.views[i].features)
		taken, err := c.take(z.answer.report.Rows, n, reports[:features])
		if err != nil {
			return nil, err
		}
		columns, reports = append(columns, taken...), reports[features:]
	}
	ordered := make([]arrow.Array, 0, z.plan.Schema.NumFields())
	for _, column := range piece.Columns() {
		slice := array.NewSlice(column, from, from+n)
		defer slice.Release()
		ordered = append(ordered, slice)
	}
	for _, at := range z.plan.order {
		ordered = append(ordered, columns[at])
	}
	z.answer.report.Rows += n
	return array.NewRecordBatch(z.plan.Schema, ordered, n), nil
}

// mergeCursor walks over a view that was merged.
type mergeCursor struct {
	view   *viewPlan
	answer *merge.Answer
	at     int
}

func (c *mergeCursor) release() { c.answer.Release() }

func (c *mergeCursor) begin(first int) { c.at = first }

func (c *mergeCursor) remaining() (int64, error) { return 1<<63 - 1, nil }

func (c *mergeCursor) bytes(n int64) int64 {
	return n*int64(c.answer.RowBytes()) + int64(len(c.view.features))*n/8 + c.answer.TextBytes(c.at, int(n))
}

func (c *mergeCursor) take(_, n int64, reports []driftline.ColumnReport) ([]arrow.Array, error) {
	features := c.answer.Arrays(c.at, int(n))
	for i, f := range features {
		reports[i].Nulls += int64(f.NullN())
		if c.view.features[i].Name != EventTimeColumn { // which tells of a row whether or not it counts
			reports[i].NotYetKnown += c.answer.Unknown(i, c.at, int(n))
		}
	}
	c.at += int(n)
	return features, nil
}

// queryCursor walks over a view that DuckDB answers.
type queryCursor struct {
	ctx    context.Context
	view   *viewPlan
	reader array.RecordReader
	batch  arrow.RecordBatch // the reader's; nil before the first
	offset int64             // of the next row in batch
}

func (c *queryCursor) release() { c.reader.Release() }

func (c *queryCursor) begin(int) {}

func (c *queryCursor) bytes(n int64) int64 {
	slice := c.batch.NewSlice(c.offset, c.offset+n)
	defer slice.Release()
	return driftline.BatchBytes(slice)
}

// remaining moves to the next batch if no row of the present one is left.
func (c *queryCursor) remaining() (int64, error) {
	for c.batch == nil || c.offset == c.batch.NumRows() {
		if !c.reader.Next() {
			if err := c.reader.Err(); err != nil {
				return 0, failure(c.ctx, err)
			}
			return 0, driftline.Errorf(driftline.Internal, "view %q answered fewer rows than the spine has", c.view.source.View.Name)
		}
		c.batch, c.offset = c.reader.RecordBatch(), 0
	}
	return c.batch.NumRows() - c.offset, nil
}

func (c *queryCursor) take(row, n int64, reports []driftline.ColumnReport) ([]arrow.Array, error) {
	if first := c.batch.Column(0).(*array.Int64).Value(int(c.offset)); first != row {
		return nil, driftline.Errorf(driftline.Internal, "view %q answered row %d where row %d was due", c.view.source.View.Name, first, row)
	}
	features := make([]arrow.Array, len(c.view.features))
	for i := range features {
		features[i] = array.NewSlice(c.batch.Column(1+i), c.offset, c.offset+n)
	}
	c.count(features, reports, n)
	c.offset += n
	return features, nil
}

// count adds the next n rows to the reports of their columns.
func (c *queryCursor) count(features []arrow.Array, reports []driftline.ColumnReport, n int64) {
	for i, f := range features {
		reports[i].Nulls += int64(f.NullN())
	}
	if !c.view.countsUnknown {
		return
	}
	unknown := c.batch.Column(1 + len(features)).(*array.Boolean)
	for row := range int(n) {
		if !unknown.Value(int(c.offset) + row) {
			continue
		}
		for i, f := range features {
			if f.IsValid(row) && c.view.features[i].Name != EventTimeColumn {
				reports[i].NotYetKnown++
			}
		}
	}
}
