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
	entered   int // row group + 1 whose rows are known that are asked for
	row, end  int // in it: the next, and the end of those that are asked for
	before    int // rows in the groups before it
	asked     func(Part) bool
	key       []wantedKey // of the rows that are asked for; nil for all
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
	r := &mappedReader{conformer: newConformer(ctx, s.mem), file: file, again: of.again, asked: of.wanted, key: of.key, wanted: make([]mappedColumn, of.stored.NumFields())}
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
	end, ok, err := r.advance()
	if err != nil {
		return nil, err
	}
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
func (r *mappedReader) advance() (end int, ok bool, err error) {
	for r.group < r.file.Groups() {
		rows := r.file.Rows(r.group)
		if err := r.enter(rows); err != nil {
			return 0, false, err
		}
		if r.row == r.end {
			r.group, r.before = r.group+1, r.before+rows
			continue
		}
		end := min(r.row+int(batchRows(r.file.Bytes(r.group), int64(rows))), r.end)
		if r.asked == nil || r.asked(Part{First: int64(r.before + r.row), Rows: int64(end - r.row), of: r}) {
			return end, true, nil
		}
		r.row = end
	}
	return 0, false, nil
}

// enter finds the rows of the row group that are asked for, once for each group.
func (r *mappedReader) enter(rows int) error {
	if r.entered == r.group+1 {
		return nil
	}
	r.entered, r.row, r.end = r.group+1, 0, rows
	if r.key == nil {
		return nil
	}
	return columns.Guard(func() (err error) {
		r.row, r.end, err = r.keyed()
		return err
	})
}

// keyed returns the rows of the row group that have the key: they lie side by side.
func (r *mappedReader) keyed() (from, to int, err error) {
	leaves := make([]int, len(r.key))
	for i, k := range r.key {
		leaf, ok := r.file.Find(k.column)
		if !ok {
			return 0, 0, nil // every row has null
		}
		if least, greatest, ok := r.file.Bounds(r.group, leaf); ok && !within(arrow.BinaryTypes.String, k.value, least, greatest) {
			return 0, 0, nil
		}
		leaves[i] = leaf
	}
	var reader columns.Reader
	var runs columns.Runs
	if err := runs.Read(&reader, r.file, r.group, leaves); err != nil {
		return 0, 0, err
	}
	for run := range runs.Len() {
		if !r.hasKey(&runs, run) {
			continue
		}
		if to == 0 {
			from = int(runs.Starts[run])
		}
		to = int(runs.Starts[run+1])
	}
	return from, to, nil
}

func (r *mappedReader) hasKey(runs *columns.Runs, run int) bool {
	for i, k := range r.key {
		if runs.Values[i].Null(run) || string(runs.Values[i].Bytes(run)) != k.value {
			return false
		}
	}
	return true
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
