package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
	mapped "github.com/driftline/driftline/storage/columns"
)

const (
	// A batch that Read yields has at most so many rows, fewer if they are wide: those
	// of a page of numbers, which then is a column of the batch where it lies.
	rowsPerBatch  = bytesPerPage / 8
	bytesPerBatch = 8 << 20

	// bufferBytes of each column chunk are read at a time.
	bufferBytes = 1 << 20
)

// Read yields the rows of a snapshot, file after file, each verified before its
// first row. columns are the columns wanted, in order; nil means all. The result
// can be ranged over any number of times.
//
// Files are mapped into memory, and a column of a batch lies in the file where it can, at
// whatever address that is. A batch that is retained stays good, also after its file was
// removed.
func (s *Store) Read(ctx context.Context, snapshot Snapshot, columns []string) driftline.Batches {
	return s.ReadParts(ctx, snapshot, columns, nil)
}

// ReadParts is [Store.Read] of some parts: wanted is asked of each, in the order of the rows,
// and what it refuses is not yielded, nor read where columns can be read in place. A part
// that was not refused is the next batch. A nil wanted takes all.
func (s *Store) ReadParts(ctx context.Context, snapshot Snapshot, columns []string, wanted func(Part) bool) driftline.Batches {
	return s.read(ctx, snapshot, columns, reading{wanted: wanted})
}

// KeyValue is the value that a column has, which is a text.
type KeyValue struct{ Column, Value string }

// ReadKey is [Store.Read] of the rows with a key: the first columns, in their order, that the rows of
// each file are sorted by. Of a row group without such rows its statistics are read, of others the
// columns of the key, and of the columns that are wanted these rows alone.
func (s *Store) ReadKey(ctx context.Context, snapshot Snapshot, key []KeyValue, columns []string) driftline.Batches {
	of := reading{key: make([]wantedKey, len(key))}
	for i, k := range key {
		_, stored, err := snapshot.project([]string{k.Column})
		if err != nil {
			return failed(snapshot.Schema, err)
		}
		id, _ := fieldID(stored.Field(0))
		of.key[i] = wantedKey{mapped.Column{ID: id, Name: k.Column}, k.Value}
	}
	return s.read(ctx, snapshot, columns, of)
}

func (s *Store) read(ctx context.Context, snapshot Snapshot, columns []string, of reading) driftline.Batches {
	schema, stored, err := snapshot.project(columns)
	if err == nil && of.key != nil && !mappable(stored) {
		err = driftline.Errorf(driftline.Internal, "table %s has columns that cannot be read by key", snapshot.Table)
	}
	if err != nil {
		return failed(schema, err)
	}
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		defer s.Hold(snapshot)()
		r := of
		r.plain, r.stored, r.again, r.large = schema, stored, mapped.NewRecycler(s.mem), snapshot.bytes() > mapped.MostMapped
		defer r.again.Close()
		for _, f := range snapshot.Files {
			more, err := s.readFile(ctx, f, &r, yield)
			if err != nil {
				yield(nil, err)
			}
			if err != nil || !more {
				return
			}
		}
	}}
}

// reading is what the files of a snapshot are read for.
type reading struct {
	plain, stored *arrow.Schema    // of the answer, without and with field ids
	wanted        func(Part) bool  // nil: all
	key           []wantedKey      // nil: all
	again         *mapped.Recycler // memory of columns of fixed width
	large         bool             // the files are not to stay in memory
}

// wantedKey is a column with the value that rows are read of.
type wantedKey struct {
	column mapped.Column
	value  string
}

func (s Snapshot) bytes() (bytes int64) {
	for _, f := range s.Files {
		bytes += f.Bytes
	}
	return bytes
}

func failed(schema *arrow.Schema, err error) driftline.Batches {
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) { yield(nil, err) }}
}

// project returns the wanted columns of the snapshot's schema, without and with field ids.
func (s Snapshot) project(columns []string) (plain, stored *arrow.Schema, err error) {
	if columns == nil {
		return s.Schema, s.stored, nil
	}
	fields := make([]arrow.Field, len(columns))
	withIDs := make([]arrow.Field, len(columns))
	for i, name := range columns {
		found := s.Schema.FieldIndices(name)
		if len(found) == 0 {
			return s.Schema, nil, driftline.Unknown("column", name, names(s.Schema)).
				WithRef(driftline.SnapshotRef(s.Table.String(), s.ID))
		}
		fields[i], withIDs[i] = s.Schema.Field(found[0]), s.stored.Field(found[0])
	}
	return arrow.NewSchema(fields, nil), arrow.NewSchema(withIDs, nil), nil
}

func names(schema *arrow.Schema) []string {
	names := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		names[i] = f.Name
	}
	return names
}

// readFile yields the rows of one file, in memory that is used again where it can be. more
// is false if yield wants no more.
func (s *Store) readFile(ctx context.Context, f File, of *reading, yield func(arrow.RecordBatch, error) bool) (more bool, err error) {
	if err := s.Verify(ctx, f); err != nil {
		return false, err
	}
	var r rowReader
	if mappable(of.stored) {
		r, err = s.mapFile(ctx, f, of)
	} else {
		r, err = s.openFile(ctx, f, of, nil)
	}
	if err != nil {
		return false, failure("read file "+f.Hash+" of table "+f.Table.String(), err)
	}
	defer r.close()
	for {
		batch, err := r.next(of.plain)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, failure("read file "+f.Hash+" of table "+f.Table.String(), err)
		}
		more := yield(batch, nil)
		batch.Release()
		if !more {
			return false, nil
		}
	}
}

// rowReader reads some columns of one file in batches.
type rowReader interface {
	next(plain *arrow.Schema) (arrow.RecordBatch, error) // io.EOF after the last
	close()
}

// fileReader is a rowReader that decodes, for columns of every type.
type fileReader struct {
	conformer conformer
	parquet   *file.Reader
	columns   pqarrow.RecordReader // nil if the file has none of the columns
	wanted    []wantedColumn
	rows      int64 // that next has not returned
	batchRows int64
	part      Part // that next returned last
	asked     func(Part) bool
}

// wantedColumn is a column of the answer; at is its place in the record reader, -1
// if the file was written before the column was added.
type wantedColumn struct {
	at  int
	typ arrow.DataType
}

func (s *Store) openFile(ctx context.Context, f File, of *reading, pace *Pace) (_ rowReader, err error) {
	defer recovered(&err, "reading Parquet")
	in, err := os.Open(s.pathOf(f))
	if err != nil {
		return nil, err
	}
	properties := parquet.NewReaderProperties(s.mem)
	properties.BufferedStreamEnabled = true
	properties.BufferSize = bufferBytes
	parquetReader, err := file.NewParquetReader(&pacedFile{File: in, ctx: ctx, pace: pace}, file.WithReadProps(properties)) // owns in
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	r := &fileReader{
		conformer: newConformer(ctx, s.mem),
		parquet:   parquetReader,
		rows:      parquetReader.NumRows(),
		batchRows: batchRows(bytesOf(parquetReader), parquetReader.NumRows()),
		asked:     of.wanted,
	}
	if err := r.open(ctx, of.stored, forgetful{s.mem}); err != nil {
		return nil, errors.Join(err, parquetReader.Close())
	}
	return r, nil
}

// batchRows is how many of rows make a batch of at most bytesPerBatch on average.
func batchRows(bytes, rows int64) int64 {
	width := max(1, bytes/max(1, rows))
	return min(rowsPerBatch, max(1, bytesPerBatch/width))
}

func bytesOf(r *file.Reader) (bytes int64) {
	for i := range r.NumRowGroups() {
		bytes += r.MetaData().RowGroup(i).TotalByteSize()
	}
	return bytes
}

func (r *fileReader) open(ctx context.Context, stored *arrow.Schema, mem memory.Allocator) error {
	reader, err := pqarrow.NewFileReader(r.parquet, pqarrow.ArrowReadProperties{BatchSize: r.batchRows}, mem)
	if err != nil {
		return err
	}
	places := make(map[int]int) // field id → place among the columns that are read
	var leaves []int
	for _, column := range reader.Manifest.Fields {
		id, ok := fieldID(*column.Field)
		if !ok || !hasFieldID(stored, id) {
			continue
		}
		places[id] = len(places)
		leaves = appendLeaves(leaves, column)
	}
	for _, field := range stored.Fields() {
		id, _ := fieldID(field)
		at, ok := places[id]
		if !ok {
			at = -1
		}
		r.wanted = append(r.wanted, wantedColumn{at: at, typ: field.Type})
	}
	if len(leaves) == 0 {
		return nil
	}
	r.columns, err = reader.GetRecordReader(ctx, leaves, nil)
	return err
}

func hasFieldID(schema *arrow.Schema, id int) bool {
	return slices.ContainsFunc(schema.Fields(), func(f arrow.Field) bool {
		have, ok := fieldID(f)
		return ok && have == id
	})
}

func appendLeaves(leaves []int, column pqarrow.SchemaField) []int {
	if column.ColIndex >= 0 {
		leaves = append(leaves, column.ColIndex)
	}
	for _, child := range column.Children {
		leaves = appendLeaves(leaves, child)
	}
	return leaves
}

// next returns the next rows that are wanted, or io.EOF. The caller releases them.
func (r *fileReader) next(plain *arrow.Schema) (_ arrow.RecordBatch, err error) {
	defer recovered(&err, "reading Parquet")
	for r.rows > 0 {
		if err := r.conformer.ctx.Err(); err != nil {
			return nil, err
		}
		if batch, err := r.decode(plain); batch != nil || err != nil {
			return batch, err
		}
	}
	return nil, io.EOF
}

// decode returns the next rows, nil if they are not wanted: then they were decoded for nothing.
func (r *fileReader) decode(plain *arrow.Schema) (arrow.RecordBatch, error) {
	rows, columns := min(r.rows, r.batchRows), []arrow.Array(nil)
	if r.columns != nil {
		if !r.columns.Next() {
			return nil, fmt.Errorf("file ends %d rows early: %v", r.rows, r.columns.Err()) // must not be io.EOF
		}
		batch := r.columns.RecordBatch()
		rows, columns = batch.NumRows(), batch.Columns()
	}
	r.rows -= rows
	r.part = Part{First: r.part.First + r.part.Rows, Rows: rows}
	if r.asked != nil && !r.asked(r.part) {
		return nil, nil
	}
	return r.answer(plain, columns, rows)
}

func (r *fileReader) answer(plain *arrow.Schema, columns []arrow.Array, rows int64) (arrow.RecordBatch, error) {
	answer := make([]arrow.Array, 0, len(r.wanted))
	defer func() { releaseArrays(answer) }()
	for _, want := range r.wanted {
		if want.at < 0 {
			answer = append(answer, array.MakeArrayOfNull(r.conformer.mem, want.typ, int(rows)))
			continue
		}
		column, err := r.conformer.array(columns[want.at], want.typ)
		if err != nil {
			return nil, err
		}
		answer = append(answer, column)
	}
	return array.NewRecordBatch(plain, answer, rows), nil
}

func (r *fileReader) close() {
	if r.columns != nil {
		r.columns.Release()
	}
	_ = r.parquet.Close()
}
