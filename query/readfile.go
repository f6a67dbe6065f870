package query

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/driftline/driftline"
)

// ReadFile reads a file of the caller's own machine: Parquet, CSV (with a header;
// types are guessed from all rows), or Arrow IPC as a file or a stream (Feather
// version 2 is one). The file's name says which it is.
//
// It trusts the file, so a server must not call it for a path or a file that came
// from a client.
func (db *DB) ReadFile(ctx context.Context, path string) (driftline.Batches, error) {
	name := filepath.Base(path)
	if _, err := os.Stat(path); err != nil {
		return driftline.Batches{}, openFailure(name, err)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".parquet":
		return db.readParquet(ctx, path)
	case ".csv":
		return db.readCSV(ctx, path)
	case ".arrow", ".feather", ".ipc":
		return db.readArrow(ctx, path)
	}
	return driftline.Batches{}, driftline.Errorf(driftline.Invalid, "file %q is of no known kind", name).
		WithHint("use .parquet, .csv, .arrow, .feather or .ipc")
}

func openFailure(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return driftline.Errorf(driftline.NotFound, "file %q does not exist: %w", name, hidden{err})
	}
	return driftline.Errorf(driftline.Invalid, "file %q cannot be opened: %w", name, err)
}

// source opens a file and returns what reads it and what closes it.
type source func() (schema *arrow.Schema, read func(yield func(arrow.RecordBatch, error) bool), closeFile func() error, err error)

// fromSource learns the schema by opening the file once, and opens it again for each range.
func (db *DB) fromSource(ctx context.Context, name string, open source) (driftline.Batches, error) {
	schema, _, closeFile, err := open()
	if err != nil {
		return driftline.Batches{}, unreadable(name, err)
	}
	if err := closeFile(); err != nil {
		return driftline.Batches{}, unreadable(name, err)
	}
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		_, read, closeFile, err := open()
		if err != nil {
			yield(nil, unreadable(name, err))
			return
		}
		defer closeFile()
		read(func(batch arrow.RecordBatch, err error) bool {
			if err == nil && ctx.Err() != nil {
				err = stopped(ctx.Err())
			}
			if err != nil {
				yield(nil, unreadable(name, err))
				return false
			}
			return yield(batch, nil)
		})
	}
	return driftline.Batches{Schema: schema, All: coalesce(db.opts.Allocator, schema, batchBytes, rows)}, nil
}

func unreadable(name string, err error) error {
	var ours *driftline.Error
	if errors.As(err, &ours) {
		return err
	}
	return driftline.Errorf(driftline.Invalid, "file %q cannot be read: %w", name, err)
}

func (db *DB) readParquet(ctx context.Context, path string) (driftline.Batches, error) {
	return db.fromSource(ctx, filepath.Base(path), func() (*arrow.Schema, func(func(arrow.RecordBatch, error) bool), func() error, error) {
		f, err := file.OpenParquetFile(path, false)
		if err != nil {
			return nil, nil, nil, err
		}
		reader, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 64 << 10}, db.opts.Allocator)
		if err != nil {
			return nil, nil, nil, errors.Join(err, f.Close())
		}
		schema, err := reader.Schema()
		if err != nil {
			return nil, nil, nil, errors.Join(err, f.Close())
		}
		read := func(yield func(arrow.RecordBatch, error) bool) {
			records, err := reader.GetRecordReader(ctx, nil, nil)
			if err != nil {
				yield(nil, err)
				return
			}
			defer records.Release()
			readRecords(records, yield)
		}
		return schema, read, f.Close, nil
	})
}

func readRecords(r array.RecordReader, yield func(arrow.RecordBatch, error) bool) {
	for r.Next() {
		if !yield(r.RecordBatch(), nil) {
			return
		}
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		yield(nil, err)
	}
}

// arrowMagic begins an IPC file; a stream begins with its first message.
const arrowMagic = "ARROW1"

func (db *DB) readArrow(ctx context.Context, path string) (driftline.Batches, error) {
	return db.fromSource(ctx, filepath.Base(path), func() (*arrow.Schema, func(func(arrow.RecordBatch, error) bool), func() error, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, nil, err
		}
		magic := make([]byte, len(arrowMagic))
		if n, _ := f.ReadAt(magic, 0); string(magic[:n]) == arrowMagic {
			return db.openArrowFile(f)
		}
		r, err := ipc.NewReader(f, ipc.WithAllocator(db.opts.Allocator))
		if err != nil {
			return nil, nil, nil, errors.Join(err, f.Close())
		}
		closeStream := func() error {
			r.Release()
			return f.Close()
		}
		return r.Schema(), func(yield func(arrow.RecordBatch, error) bool) { readRecords(r, yield) }, closeStream, nil
	})
}

func (db *DB) openArrowFile(f *os.File) (*arrow.Schema, func(func(arrow.RecordBatch, error) bool), func() error, error) {
	r, err := ipc.NewFileReader(f, ipc.WithAllocator(db.opts.Allocator))
	if err != nil {
		return nil, nil, nil, errors.Join(err, f.Close())
	}
	read := func(yield func(arrow.RecordBatch, error) bool) {
		for i := range r.NumRecords() {
			batch, err := r.RecordBatchAt(i)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
		}
	}
	return r.Schema(), read, func() error { return errors.Join(r.Close(), f.Close()) }, nil
}

// readCSV lets DuckDB guess the types, which it does better than a guess from the
// first rows, in a sandbox that can read this one file.
func (db *DB) readCSV(ctx context.Context, path string) (driftline.Batches, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return driftline.Batches{}, openFailure(filepath.Base(path), err)
	}
	text := "SELECT * FROM read_csv(" + quoteString(path) + ", header = true, sample_size = -1)"
	return db.sandboxed(ctx, sandbox{text: text, files: []string{path}})
}
