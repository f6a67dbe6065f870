package offline

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline/storage/columns"
)

// mappedReader is a rowReader of columns that storage/columns reads in place.
type mappedReader struct {
	conformer conformer
	file      *columns.File
	again     *columns.Recycler // memory of columns of fixed width
	nulls     columns.Nulls
	wanted    []mappedColumn
	group     int // the row group that is read
	row       int // in it: the next
	before    int // rows in the groups before it
	asked     func(Part) bool
}

// mappedColumn is a column of the answer; leaf is its place in the file, -1 if the
// file was written before the column was added.
type mappedColumn struct {
	leaf   int
	typ    arrow.DataType
	reader columns.Reader
	opened int // row group + 1 that the reader is open for
}

// mappable reports whether all columns are of types that storage/columns knows.
func mappable(stored *arrow.Schema) bool {
	for _, f := range stored.Fields() {
		switch f.Type.ID() {
		case arrow.BOOL, arrow.INT32, arrow.INT64, arrow.FLOAT32, arrow.FLOAT64,
			arrow.DATE32, arrow.TIME64, arrow.TIMESTAMP, arrow.STRING, arrow.BINARY:
		default:
			return false
		}
	}
	return true
}

func (s *Store) mapFile(ctx context.Context, f File, of *reading) (rowReader, error) {
	path := s.pathOf(f)
	file, err := s.files.Open(path)
	if err != nil {
		return nil, err
	}
	if of.large {
		s.files.Thin([]string{path})
	}
	r := &mappedReader{conformer: newConformer(ctx, s.mem), file: file, again: of.again, asked: of.wanted, wanted: make([]mappedColumn, of.stored.NumFields())}
	for i, field := range of.stored.Fields() {
		id, _ := fieldID(field)
		leaf, ok := file.Find(columns.Column{ID: id, Name: field.Name})
		if !ok {
			leaf = -1
		}
		r.wanted[i].leaf, r.wanted[i].typ, r.wanted[i].reader.Nulls = leaf, field.Type, &r.nulls
	}
	return r, nil
}

// next returns the next rows of a row group that are wanted, or io.EOF. The caller releases them.
func (r *mappedReader) next(plain *arrow.Schema) (batch arrow.RecordBatch, err error) {
	if err := r.conformer.ctx.Err(); err != nil {
		return nil, err
	}
	end, ok := r.advance()
	if !ok {
		return nil, io.EOF
	}
	err = columns.Guard(func() error {
		batch, err = r.read(plain, r.row, end)
		return err
	})
	r.row = end
	return batch, err
}

// advance goes to the next rows that are wanted, and returns their end in the row group.
func (r *mappedReader) advance() (end int, ok bool) {
	for r.group < r.file.Groups() {
		rows := r.file.Rows(r.group)
		if r.row == rows {
			r.group, r.row, r.before = r.group+1, 0, r.before+rows
			continue
		}
		end := min(r.row+int(batchRows(r.file.Bytes(r.group), int64(rows))), rows)
		if r.asked == nil || r.asked(Part{First: int64(r.before + r.row), Rows: int64(end - r.row), of: r}) {
			return end, true
		}
		r.row = end
	}
	return 0, false
}

func (r *mappedReader) read(plain *arrow.Schema, from, to int) (arrow.RecordBatch, error) {
	answer := make([]arrow.Array, 0, len(r.wanted))
	defer func() { releaseArrays(answer) }()
	for i := range r.wanted {
		column, err := r.column(&r.wanted[i], from, to)
		if err != nil {
			return nil, err
		}
		answer = append(answer, column)
	}
	return array.NewRecordBatch(plain, answer, int64(to-from)), nil
}

func (r *mappedReader) column(c *mappedColumn, from, to int) (arrow.Array, error) {
	if c.leaf < 0 {
		return array.MakeArrayOfNull(r.conformer.mem, c.typ, to-from), nil
	}
	if c.opened != r.group+1 {
		if err := c.reader.Open(r.file, r.group, c.leaf); err != nil {
			return nil, err
		}
		c.opened = r.group + 1
	}
	mem := r.conformer.mem
	if _, fixed := c.typ.(arrow.FixedWidthDataType); fixed {
		mem = r.again
	}
	found, err := c.reader.Array(mem, from, to)
	if err != nil {
		return nil, err
	}
	defer found.Release()
	return r.conformer.array(found, c.typ)
}

func (r *mappedReader) close() { r.file.Close() }
