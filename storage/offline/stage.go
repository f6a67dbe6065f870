package offline

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

const (
	// A file ends at whichever comes first. They bound the memory of Stage, which
	// sorts one file's rows at a time and while it does so holds them twice.
	rowsPerFile  = 1 << 20
	bytesPerFile = 128 << 20 // as Arrow; a third of that or less as Parquet

	// rowsPerGroup is near the 122,880 rows of DuckDB's own row groups: it is the
	// grain at which DuckDB skips by statistics and gives work to threads.
	rowsPerGroup = 128 << 10

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

// Stage writes rows as Parquet files that no snapshot refers to yet. When it
// returns the files are durable; [Store.Commit] makes them visible and
// [Store.Discard] removes them. The rows of each file are sorted by the sortBy
// columns, nulls first and equal rows as they came; files follow each other in
// the order of rows. Without sortBy rows keep their order.
//
// Columns are matched with the table's by name and converted as [StoredSchema]
// says. Rows that do not fit are Invalid, and then nothing is left behind, as
// after every error. No rows make no file.
func (s *Store) Stage(ctx context.Context, id TableID, rows driftline.Batches, sortBy []string) (files []File, err error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	schema, err := arrowSchema(t.Schema(), true)
	if err != nil {
		return nil, err
	}
	w := &stager{store: s, table: id, schema: schema, sortBy: sortBy, conformer: newConformer(ctx, s.mem)}
	defer func() {
		w.chunk.release()
		if err != nil {
			_ = s.Discard(w.files)
		}
	}()
	for batch, err := range rows.All {
		if err != nil {
			return nil, err // the caller's own
		}
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		if err := w.add(batch); err != nil {
			return nil, err
		}
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	return w.files, nil
}

// stager cuts a stream of batches into files.
type stager struct {
	store     *Store
	table     TableID
	schema    *arrow.Schema // the stored one, with field ids
	sortBy    []string
	conformer conformer
	chunk     chunk
	files     []File
}

func (w *stager) add(batch arrow.RecordBatch) error {
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
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

func tableError(id TableID, err error) error {
	return driftline.Errorf(driftline.CodeOf(err), "table %s: %w", id, err)
}

// flush writes the rows gathered so far as a file.
func (w *stager) flush() error {
	if w.chunk.rows == 0 {
		return nil
	}
	columns, err := w.chunk.columns(w.schema, w.store)
	if err != nil {
		return failure("write to table "+w.table.String(), err)
	}
	w.chunk.release()
	defer releaseArrays(columns)
	order, err := w.order(columns)
	if err != nil {
		return tableError(w.table, err)
	}
	file, err := w.write(columns, order)
	if err != nil {
		return failure("write to table "+w.table.String(), err)
	}
	w.files = append(w.files, file)
	return nil
}

// order returns the order in which the rows are written; nil if they are in order.
func (w *stager) order(columns []arrow.Array) ([]int32, error) {
	if len(w.sortBy) == 0 {
		return nil, nil
	}
	keys := make([]arrow.Array, len(w.sortBy))
	for i, name := range w.sortBy {
		indices := w.schema.FieldIndices(name)
		if len(indices) == 0 {
			return nil, driftline.Errorf(driftline.Invalid, "rows cannot be sorted by %q, which is no column", name)
		}
		keys[i] = columns[indices[0]]
	}
	return sortedOrder(keys, w.sortBy)
}

func (w *stager) write(columns []arrow.Array, order []int32) (File, error) {
	file := File{Table: w.table, Rows: int64(columns[0].Len())}
	folder := filepath.Join(w.store.warehouse.tableDir(w.table), dataFolder)
	path, err := durable.WriteNamed(folder, func(out io.Writer) (string, error) {
		hashed := &hashingWriter{out: out, hash: sha256.New()}
		if err := w.encode(hashed, columns, order); err != nil {
			return "", err
		}
		file.Hash, file.Bytes = hashed.name(), hashed.bytes
		return file.Hash + fileSuffix, nil
	})
	file.Path = path
	return file, err
}

// encode writes one Parquet file, a row group at a time.
func (w *stager) encode(out io.Writer, columns []arrow.Array, order []int32) (err error) {
	defer recovered(&err, "writing Parquet")
	mem := w.store.mem
	options := append(dictionaries(w.schema),
		parquet.WithAllocator(mem),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithMaxRowGroupLength(rowsPerGroup),
		parquet.WithStats(true),
		parquet.WithPageIndexEnabled(true),
		parquet.WithStoreDecimalAsInteger(true), // as the Iceberg specification wants it
		parquet.WithCreatedBy("driftline"),
	)
	writer, err := pqarrow.NewFileWriter(w.schema, out, parquet.NewWriterProperties(options...), pqarrow.NewArrowWriterProperties(pqarrow.WithAllocator(mem)))
	if err != nil {
		return err
	}
	rows := columns[0].Len()
	for start := 0; start < rows; start += rowsPerGroup {
		if err := w.encodeGroup(writer, columns, order, start, min(start+rowsPerGroup, rows)); err != nil {
			return err
		}
	}
	if err := writer.AppendKeyValueMetadata(nonceKey, rand.Text()); err != nil {
		return err
	}
	return writer.Close()
}

func (w *stager) encodeGroup(writer *pqarrow.FileWriter, columns []arrow.Array, order []int32, start, end int) error {
	group := make([]arrow.Array, 0, len(columns))
	defer func() { releaseArrays(group) }()
	for _, column := range columns {
		if order == nil {
			group = append(group, array.NewSlice(column, int64(start), int64(end)))
			continue
		}
		gathered, err := w.gather(column, order[start:end])
		if err != nil {
			return err
		}
		group = append(group, gathered)
	}
	batch := array.NewRecordBatch(w.schema, group, int64(end-start))
	defer batch.Release()
	return writer.Write(batch)
}

func (w *stager) gather(column arrow.Array, order []int32) (arrow.Array, error) {
	b := array.NewInt32Builder(w.store.mem)
	defer b.Release()
	b.AppendValues(order, nil)
	indices := b.NewArray()
	defer indices.Release()
	return compute.TakeArray(w.conformer.ctx, column, indices)
}

// Discard removes files that were staged and not committed. Files that are gone
// already are no error. The caller makes sure that no snapshot has them.
func (s *Store) Discard(files []File) error {
	for _, f := range files {
		if err := os.Remove(s.pathOf(f)); err != nil && !os.IsNotExist(err) {
			return failure(fmt.Sprintf("remove a file of table %s", f.Table), err)
		}
	}
	return nil
}

// pathOf is where a file must be, whatever its Path says.
func (s *Store) pathOf(f File) string {
	return filepath.Join(s.warehouse.tableDir(f.Table), dataFolder, filepath.Base(f.Hash)+fileSuffix)
}

// dictionaries encodes by dictionary what repeats long values, strings and binary.
// Numbers are left plain: building their dictionaries, mostly in vain, took two thirds of
// the time of writing, and zstd finds the repeats.
func dictionaries(schema *arrow.Schema) []parquet.WriterProperty {
	var options []parquet.WriterProperty
	for _, f := range schema.Fields() {
		long := arrow.IsBaseBinary(f.Type.ID()) || arrow.IsNested(f.Type.ID())
		options = append(options, parquet.WithDictionaryFor(f.Name, long))
	}
	return options
}

// hashingWriter computes the name of a file while it is written.
type hashingWriter struct {
	out   io.Writer
	hash  hash.Hash
	bytes int64
}

func (w *hashingWriter) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	w.hash.Write(p[:n])
	w.bytes += int64(n)
	return n, err
}

func (w *hashingWriter) name() string { return hex.EncodeToString(w.hash.Sum(nil)[:hashBytes]) }

// recovered turns a panic of the Parquet library into an error of its caller.
func recovered(err *error, doing string) {
	if r := recover(); r != nil {
		*err = &driftline.Error{Code: driftline.Internal, Message: doing + " failed", Err: fmt.Errorf("panic: %v", r)}
	}
}
