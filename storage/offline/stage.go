package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

const (
	// A file ends at whichever comes first. They bound the memory of Stage.
	rowsPerFile  = 1 << 20
	bytesPerFile = 128 << 20 // as Arrow; rarely more as Parquet

	// hashBytes of SHA-256 name a file: no two files of a table will ever share a
	// name by chance (2^64 files would have to), and damage cannot keep a hash.
	hashBytes = 16

	fileSuffix = ".parquet"

	// nonceKey is the footer entry that makes the files of each Stage different,
	// even of equal rows. So one caller's Discard never removes another's file.
	nonceKey = "driftline.nonce"
)

// File is one immutable Parquet file of a table.
type File struct {
	Path  string // absolute
	Table TableID
	Hash  string // of the content: 32 hexadecimal digits of SHA-256, the file's name
	Rows  int64
	Bytes int64
}

// Order is how the rows of each file are sorted: by Keys, then by Then, nulls first
// and equal rows as they came. The zero Order leaves rows as they come.
type Order struct {
	Keys []string // join keys; files are laid out for reading runs of equal keys
	Then []string // such as event time, created time, write sequence; the first is searched in place
}

func (o Order) columns() []string { return slices.Concat(o.Keys, o.Then) }

// Newest is given the last row of each run of equal keys of a staged file, sorted. The
// rows are released when it returns.
type Newest func(file File, rows arrow.RecordBatch) error

// Stage writes rows as Parquet files that no snapshot refers to yet. When it
// returns the files are durable; [Store.Commit] makes them visible and
// [Store.Discard] removes them. Files follow each other in the order of rows, and
// the rows of each are in the given order.
//
// Columns are matched with the table's by name and converted as [StoredSchema]
// says. Rows that do not fit are Invalid, and then nothing is left behind, as
// after every error. No rows make no file.
//
// While a file's rows are gathered, the rows of the file before are sorted and encoded,
// and the one before that is made durable. So Stage holds the rows of two files, at
// most 2 × 128 MiB, and beside them the order and, one row group at a time, the sorted
// columns; rows with columns that are not of fixed width are held once more while they
// are sorted.
func (s *Store) Stage(ctx context.Context, id TableID, rows driftline.Batches, order Order) (files []File, err error) {
	return s.StageNewest(ctx, id, rows, order, nil)
}

// StageNewest is [Store.Stage] that shows what it sorted: newest is called once for
// each file, in turn. Its error ends the staging.
func (s *Store) StageNewest(ctx context.Context, id TableID, rows driftline.Batches, order Order, newest Newest) (files []File, err error) {
	return s.stage(ctx, id, rows, order, newest, nil)
}

func (s *Store) stage(ctx context.Context, id TableID, rows driftline.Batches, order Order, newest Newest, pace *Pace) (files []File, err error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	schema, err := arrowSchema(t.Schema(), true)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(filesUnderWay)
	w := &stager{
		store: s, table: id, schema: schema, order: order, newest: newest, pace: pace,
		conformer: newConformer(ctx, s.mem), group: group, turn: make(chan struct{}, 1),
		packed: memory.NewResizableBuffer(s.mem),
	}
	defer w.packed.Release()
	err = w.addAll(ctx, rows)
	w.chunk.release()
	// The error of a file that fails cancels the rest, so it is the one to report.
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	if err != nil {
		return nil, errors.Join(err, s.Discard(w.made()))
	}
	return w.made(), nil
}

// filesUnderWay is how many files are made at once: one is sorted and encoded while
// the one before it reaches the disk.
const filesUnderWay = 2

// stager cuts a stream of batches into files.
type stager struct {
	store     *Store
	table     TableID
	schema    *arrow.Schema // the stored one, with field ids
	order     Order
	newest    Newest
	pace      *Pace
	conformer conformer
	chunk     chunk

	group  *errgroup.Group
	turn   chan struct{}  // has room for the one file whose rows are sorted and encoded
	packed *memory.Buffer // of that file's rows
	files  []*File        // in the order of rows; without a hash until they are made
}

// made returns the files that are there.
func (w *stager) made() []File {
	var made []File
	for _, f := range w.files {
		if f.Path != "" {
			made = append(made, *f)
		}
	}
	return made
}

func (w *stager) addAll(ctx context.Context, rows driftline.Batches) error {
	for batch, err := range rows.All {
		if err != nil {
			return err // the caller's own
		}
		if err := w.add(ctx, batch); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

func (w *stager) add(ctx context.Context, batch arrow.RecordBatch) error {
	if err := ctx.Err(); err != nil {
		return interrupted(err)
	}
	rows, err := w.conformer.batch(batch, w.schema)
	if err != nil {
		return tableError(w.table, err)
	}
	defer rows.Release()
	for start := int64(0); start < rows.NumRows(); {
		rest := rows.NewSlice(start, rows.NumRows())
		taken := w.chunk.add(rest)
		rest.Release()
		if start += taken; !w.chunk.full() {
			continue
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func tableError(id TableID, err error) error {
	return driftline.Errorf(driftline.CodeOf(err), "table %s: %w", id, err)
}

// flush begins a file of the rows gathered so far, once the rows of the file before
// are written.
func (w *stager) flush(ctx context.Context) error {
	if w.chunk.rows == 0 {
		return nil
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return interrupted(ctx.Err())
	}
	rows, file := w.chunk, &File{Table: w.table, Rows: w.chunk.rows}
	w.chunk, w.files = chunk{}, append(w.files, file)
	w.group.Go(func() error { return w.make(ctx, &rows, file) })
	return nil
}

// make writes a file. It gives up its turn when it needs the rows no more.
func (w *stager) make(ctx context.Context, c *chunk, file *File) (err error) {
	defer recovered(&err, "writing Parquet")
	done := sync.OnceFunc(func() { c.release(); <-w.turn })
	defer done()
	order, ends, err := w.sort(c)
	if err != nil {
		return tableError(w.table, err)
	}
	folder := filepath.Join(w.store.warehouse.tableDir(w.table), dataFolder)
	path, err := durable.WriteNamed(folder, func(out io.Writer) (string, error) {
		defer done()
		err := w.encode(&pacedWriter{ctx: ctx, pace: w.pace, out: out}, c, order, ends, file)
		return file.Hash + fileSuffix, err
	})
	file.Path = path // also after an error, if the file is there
	if err != nil {
		return w.fail(err)
	}
	w.store.wrote(*file)
	return nil
}

// encode writes a file, and shows its newest rows.
func (w *stager) encode(out io.Writer, c *chunk, order, ends []int32, file *File) (err error) {
	e, err := newEncoder(w, c, order)
	if err != nil {
		return err
	}
	defer e.release()
	behind := writeBehind(out)
	err = e.encode(behind)
	written := behind.finish()
	if err := errors.Join(err, written.err); err != nil {
		return err
	}
	file.Hash, file.Bytes = written.hash, written.bytes
	if w.newest == nil {
		return nil
	}
	e.gather.positions(ends)
	rows, err := e.gather.batch()
	if err != nil {
		return err
	}
	defer rows.Release()
	return w.newest(*file, rows)
}

// sort returns the sorted order of a chunk's rows, nil if they are in order, and the
// positions in it at which runs of equal keys end, if they are wanted.
func (w *stager) sort(c *chunk) (order, ends []int32, err error) {
	names := w.order.columns()
	if len(names) == 0 {
		return nil, nil, nil
	}
	columns := make([]arrow.Array, 0, len(names))
	defer func() { releaseArrays(columns) }()
	for _, name := range names {
		at := w.schema.FieldIndices(name)
		if len(at) == 0 {
			return nil, nil, driftline.Errorf(driftline.Invalid, "rows cannot be sorted by %q, which is no column", name)
		}
		column, err := c.column(at[0], w.store.mem)
		if err != nil {
			return nil, nil, err
		}
		columns = append(columns, column)
	}
	rows, err := sortRows(columns, names)
	if err != nil || w.newest == nil {
		return rows.order, nil, err
	}
	ends, err = rows.runEnds(columns[:len(w.order.Keys)])
	return rows.order, ends, err
}

// fail explains an error of writing; one that has a code already is somebody's own.
func (w *stager) fail(err error) error {
	var explained *driftline.Error
	if errors.As(err, &explained) {
		return err
	}
	return failure("write to table "+w.table.String(), err)
}

// Discard removes files that were staged and not committed. Files that are gone
// already are no error. The caller makes sure that no snapshot has them.
func (s *Store) Discard(files []File) error {
	for _, f := range files {
		path := s.pathOf(f)
		s.mu.Lock()
		delete(s.verified, path)
		s.mu.Unlock()
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return failure(fmt.Sprintf("remove a file of table %s", f.Table), err)
		}
	}
	return nil
}

// pathOf is where a file must be, whatever its Path says.
func (s *Store) pathOf(f File) string {
	return filepath.Join(s.warehouse.tableDir(f.Table), dataFolder, filepath.Base(f.Hash)+fileSuffix)
}

// recovered turns a panic of the Parquet library into an error of its caller.
func recovered(err *error, doing string) {
	if r := recover(); r != nil {
		*err = &driftline.Error{Code: driftline.Internal, Message: doing + " failed", Err: fmt.Errorf("panic: %v", r)}
	}
}
