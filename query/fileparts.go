package query

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// FileParts is a file whose columns are read by themselves, in parts that can be read at once.
type FileParts struct {
	Schema *arrow.Schema

	db     *DB
	ctx    context.Context
	name   string
	whole  driftline.Batches
	mapped *columns.File // nil if it is no Parquet file
	again  *columns.Recycler
	spare  sync.Pool // readers of columns, for their buffers
}

const (
	// partRows of a large row group are a part, if there are few row groups.
	partRows  = 1 << 18
	fewGroups = 8

	// sampledPlaces of sampledRows each are looked at for a sample. Each takes the decoding
	// of a page of each column.
	sampledPlaces, sampledRows = 5, 1 << 14

	partBatchRows = 1 << 16
)

// OpenParts opens a file as [DB.ReadFile] does, for who wants columns and reads several parts
// at once. Files that are not Parquet, and columns that are nested, have one part. The caller
// closes the result.
func (db *DB) OpenParts(ctx context.Context, path string) (*FileParts, error) {
	whole, err := db.ReadFile(ctx, path)
	if err != nil {
		return nil, err
	}
	f := &FileParts{
		Schema: whole.Schema, db: db, ctx: ctx, name: filepath.Base(path), whole: whole, again: columns.NewRecycler(db.opts.Allocator),
	}
	if strings.EqualFold(filepath.Ext(path), ".parquet") {
		if f.mapped, err = columns.Open(path); err != nil {
			return nil, f.damaged(err)
		}
	}
	return f, nil
}

// InPlace reports whether every column can be read where it lies. Reading another one by itself reads all of the
// file.
func (f *FileParts) InPlace() bool {
	_, ok := f.leaves(f.Schema)
	return ok
}

// Close lets go of the file. Batches that were retained stay good.
func (f *FileParts) Close() {
	if f.mapped != nil {
		f.mapped.Close()
	}
	f.again.Close()
}

// Read returns the rows of some columns, in parts, each of which can be ranged over at the
// same time as the others. Of text that the file keeps in a dictionary, batches have the
// dictionary: their own schema says so, where that of the part does not.
func (f *FileParts) Read(names []string) ([]driftline.Batches, error) {
	return f.parts(names, wholeRanges)
}

// Sample is Read for some of the rows, from all over the file; for all of them if choosing
// some would not be faster.
func (f *FileParts) Sample(names []string) ([]driftline.Batches, error) {
	return f.parts(names, sampledRanges)
}

// ReadColumns is [DB.ReadFile] for who looks at one column after the other: batches are not
// put together, and have the dictionaries of text that the file has. Their own schema says
// so, where that of the result does not.
func (db *DB) ReadColumns(ctx context.Context, path string) (driftline.Batches, error) {
	f, err := db.OpenParts(ctx, path)
	if err != nil {
		return driftline.Batches{}, err
	}
	defer f.Close()
	names := make([]string, f.Schema.NumFields())
	for i, field := range f.Schema.Fields() {
		names[i] = field.Name
		if len(f.Schema.FieldIndices(field.Name)) > 1 { // cannot be told apart by their names
			return f.whole, nil
		}
	}
	return driftline.Batches{Schema: f.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		f, err := db.OpenParts(ctx, path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		parts, err := f.Read(names)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, part := range parts {
			for batch, err := range part.All {
				if !yield(batch, err) || err != nil {
					return
				}
			}
		}
	}}, nil
}

// damaged is the error of a file that is not what it should be.
func (f *FileParts) damaged(err error) error {
	if driftline.CodeOf(err) != driftline.DataLoss {
		return unreadable(f.name, err)
	}
	return driftline.Errorf(driftline.Invalid, "file %q cannot be read: %w", f.name, hidden{err}).WithHint("it is damaged: write it again")
}

func (f *FileParts) parts(names []string, ranges func(*columns.File, []int) []rowRange) ([]driftline.Batches, error) {
	wanted, _, err := chosenFields(f.Schema, names)
	if err != nil {
		return nil, err
	}
	leaves, ok := f.leaves(wanted)
	if !ok {
		rows, err := projectedTo(f.whole, names)
		return []driftline.Batches{rows}, err
	}
	var parts []driftline.Batches
	for _, r := range ranges(f.mapped, leaves) {
		parts = append(parts, driftline.Batches{Schema: wanted, All: func(yield func(arrow.RecordBatch, error) bool) {
			if err := f.eachOf(names, leaves, r, yield); err != nil {
				yield(nil, f.damaged(err))
			}
		}})
	}
	return parts, nil
}

// leaves returns where the columns are, false if there is one that cannot be read in place.
func (f *FileParts) leaves(wanted *arrow.Schema) ([]int, bool) {
	if f.mapped == nil {
		return nil, false
	}
	leaves := make([]int, wanted.NumFields())
	for i, field := range wanted.Fields() {
		leaf, ok := f.mapped.Find(columns.Column{Name: field.Name})
		if !ok || !readsAs(f.mapped.Leaves()[leaf].Type, field.Type) {
			return nil, false
		}
		leaves[i] = leaf
	}
	return leaves, true
}

// projectedTo is the rows with some of their columns.
func projectedTo(rows driftline.Batches, names []string) (driftline.Batches, error) {
	schema, places, err := chosenFields(rows.Schema, names)
	if err != nil {
		return driftline.Batches{}, err
	}
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			arrays := make([]arrow.Array, len(places))
			for i, place := range places {
				arrays[i] = batch.Column(place)
			}
			some := array.NewRecordBatch(schema, arrays, batch.NumRows())
			more := yield(some, nil)
			some.Release()
			if !more {
				return
			}
		}
	}}, nil
}

func chosenFields(schema *arrow.Schema, names []string) (*arrow.Schema, []int, error) {
	fields, places := make([]arrow.Field, len(names)), make([]int, len(names))
	for i, name := range names {
		found := schema.FieldIndices(name)
		if len(found) == 0 {
			known := []string{}
			for _, f := range schema.Fields() {
				known = append(known, f.Name)
			}
			return nil, nil, driftline.Unknown("column", name, known)
		}
		fields[i], places[i] = schema.Field(found[0]), found[0]
	}
	return arrow.NewSchema(fields, nil), places, nil
}

// rowRange is rows of a row group.
type rowRange struct{ group, from, to int }

// wholeRanges are all rows: row group by row group, large ones in pieces if there are few.
func wholeRanges(f *columns.File, leaves []int) (ranges []rowRange) {
	for group := range f.Groups() {
		rows := f.Rows(group)
		step := max(1, rows)
		cheap := !slices.ContainsFunc(leaves, func(leaf int) bool { return !f.Cheap(group, leaf) })
		if cheap && f.Groups() < fewGroups {
			step = partRows
		}
		for from := 0; from < rows; from += step {
			ranges = append(ranges, rowRange{group, from, min(from+step, rows)})
		}
	}
	return ranges
}

// sampledRanges are rows evenly spread over the file.
func sampledRanges(f *columns.File, leaves []int) (ranges []rowRange) {
	all := wholeRanges(f, leaves)
	total := 0
	for _, r := range all {
		total += r.to - r.from
	}
	if total <= 2*sampledPlaces*sampledRows {
		return all
	}
	passed, taken := 0, 0
	for _, r := range all {
		rows := r.to - r.from
		for ; taken < sampledPlaces; taken++ { // the first rows, the last, and between them
			at := taken*(total-sampledRows)/(sampledPlaces-1) - passed
			if at >= rows {
				break
			}
			ranges = append(ranges, rowRange{r.group, r.from + at, min(r.from+at+sampledRows, r.to)})
		}
		passed += rows
	}
	return ranges
}

// readsAs tells whether values of a column of a Parquet file are those of a type of Arrow,
// but for how text is kept.
func readsAs(stored, wanted arrow.DataType) bool {
	if isText(stored) {
		if d, ok := wanted.(*arrow.DictionaryType); ok {
			wanted = d.ValueType
		}
		return isText(wanted)
	}
	switch stored.ID() {
	case arrow.TIMESTAMP:
		t, ok := wanted.(*arrow.TimestampType)
		return ok && t.Unit == stored.(*arrow.TimestampType).Unit
	case arrow.BOOL, arrow.INT32, arrow.INT64, arrow.UINT32, arrow.UINT64, arrow.FLOAT32, arrow.FLOAT64, arrow.DATE32, arrow.TIME32, arrow.TIME64:
		return arrow.TypeEqual(stored, wanted)
	}
	return false
}

func isText(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW, arrow.BINARY, arrow.LARGE_BINARY, arrow.BINARY_VIEW:
		return true
	}
	return false
}

// eachOf yields the rows of a range in batches.
func (f *FileParts) eachOf(names []string, leaves []int, r rowRange, yield func(arrow.RecordBatch, error) bool) error {
	p := partReader{mem: f.again, names: names, plain: make([]bool, len(names))}
	if spare, ok := f.spare.Get().(*[]columns.Reader); ok {
		p.readers = *spare
	}
	for len(p.readers) < len(names) {
		p.readers = append(p.readers, columns.Reader{})
	}
	defer f.spare.Put(&p.readers)
	for i, leaf := range leaves {
		if err := columns.Guard(func() error { return p.readers[i].Open(f.mapped, r.group, leaf) }); err != nil {
			return err
		}
	}
	for from := r.from; from < r.to; from += partBatchRows {
		if f.ctx.Err() != nil {
			return stopped(f.ctx.Err())
		}
		var batch arrow.RecordBatch
		err := columns.Guard(func() (err error) {
			batch, err = p.read(from, min(from+partBatchRows, r.to))
			return err
		})
		if err != nil {
			return err
		}
		more := yield(batch, nil)
		batch.Release()
		if !more {
			return nil
		}
	}
	return nil
}

// partReader reads columns of a row group.
type partReader struct {
	mem     memory.Allocator
	names   []string
	readers []columns.Reader
	plain   []bool // by column: text that is not in a dictionary
}

// read returns some rows. The caller releases them.
func (p *partReader) read(from, to int) (arrow.RecordBatch, error) {
	fields, arrays := make([]arrow.Field, len(p.names)), make([]arrow.Array, 0, len(p.names))
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
	}()
	for i, name := range p.names {
		a, err := p.column(i, from, to)
		if err != nil {
			return nil, err
		}
		arrays = append(arrays, a)
		fields[i] = arrow.Field{Name: name, Type: a.DataType(), Nullable: true}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(to-from)), nil
}

func (p *partReader) column(i, from, to int) (arrow.Array, error) {
	if !p.plain[i] {
		words, err := p.readers[i].Words(p.mem, from, to)
		if err != nil || words != nil {
			return words, err
		}
		p.plain[i] = true
	}
	return p.readers[i].Array(p.mem, from, to)
}
