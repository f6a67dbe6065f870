package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
	"github.com/driftline/driftline/query"
)

// rowsPerPart is how many rows of a file are one write. A file of more is written in
// parts, so that an interrupted command has not sent it all in vain.
var rowsPerPart int64 = 8 << 20 // less in tests

// fileIngest is the ingest of one file.
type fileIngest struct {
	client *client.Client
	db     *query.DB
	view   *driftline.FeatureView
	to     driftline.Target
	path   string
	key    string // the user's idempotency key, or ""
	title  string // for people
}

// inParts writes the rows under keys made of the file's content: the key itself for
// the first part, and with the part's number for each other. Parts that the server has
// are passed over, by as many rows as they had.
func (f *fileIngest) inParts(ctx context.Context, rows driftline.Batches) (driftline.IngestResult, error) {
	key, err := contentKey(f.view.Name, f.to, f.path)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	p := newParts(rows)
	defer p.stop()
	whole := driftline.IngestResult{View: f.view.Name, Duplicate: true}
	for part := 0; ; part++ {
		result, err := f.part(ctx, partKey(key, part), p)
		if err != nil {
			return whole, err
		}
		if part == 0 {
			whole.Sequence = result.Sequence
		}
		whole.Rows += result.Rows
		whole.Snapshot = result.Snapshot
		whole.Duplicate = whole.Duplicate && result.Duplicate
		if more, err := p.more(); err != nil || !more {
			return whole, err
		}
	}
}

func partKey(key string, part int) string {
	if part == 0 {
		return key
	}
	return fmt.Sprintf("%s-%d", key, part)
}

func (f *fileIngest) part(ctx context.Context, key string, p *parts) (driftline.IngestResult, error) {
	known, err := f.client.Written(ctx, f.view.Name, key)
	switch {
	case err == nil:
		known.Duplicate = true
		return known, p.skip(known.Rows)
	case driftline.CodeOf(err) != driftline.NotFound:
		return known, err
	}
	first := p.taken
	result, err := f.client.IngestTo(ctx, f.view.Name, f.to, key, p.take(rowsPerPart))
	return result, countedFrom(first, err)
}

// countedFrom says where a part begins in an error that may name one of its rows.
func countedFrom(first int64, err error) error {
	var e *driftline.Error
	if first == 0 || !errors.As(err, &e) || e.Code != driftline.Invalid {
		return err
	}
	placed := *e
	placed.Message += fmt.Sprintf(", counted from row %d of the file", first)
	return &placed
}

// parts cuts a stream of rows into consecutive pieces.
type parts struct {
	schema *arrow.Schema
	next   func() (arrow.RecordBatch, error, bool)
	stop   func()
	rest   arrow.RecordBatch // rows of the stream's present batch that are not taken yet; borrowed from it
	offset int64             // of the first of them in rest
	taken  int64             // rows, so far
}

func newParts(rows driftline.Batches) *parts {
	next, stop := iter.Pull2(rows.All)
	return &parts{schema: rows.Schema, next: next, stop: stop}
}

// more reports whether rows are left.
func (p *parts) more() (bool, error) {
	for p.rest == nil || p.offset == p.rest.NumRows() {
		batch, err, ok := p.next()
		if !ok || err != nil {
			p.rest = nil
			return false, err
		}
		p.rest, p.offset = batch, 0
	}
	return true, nil
}

// each visits the next n rows, or those that are left if they are fewer.
func (p *parts) each(n int64, visit func(arrow.RecordBatch) bool) error {
	for n > 0 {
		more, err := p.more()
		if err != nil || !more {
			return err
		}
		taken := min(n, p.rest.NumRows()-p.offset)
		piece := p.rest.NewSlice(p.offset, p.offset+taken)
		p.offset += taken
		p.taken += taken
		n -= taken
		more = visit(piece)
		piece.Release()
		if !more {
			return nil
		}
	}
	return nil
}

func (p *parts) skip(n int64) error { return p.each(n, func(arrow.RecordBatch) bool { return true }) }

// take yields the next n rows; it can be ranged over once.
func (p *parts) take(n int64) driftline.Batches {
	return driftline.Batches{Schema: p.schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		if err := p.each(n, func(piece arrow.RecordBatch) bool { return yield(piece, nil) }); err != nil {
			yield(nil, err)
		}
	}}
}

// rowCount is how many rows a file has, -1 where only reading it would tell.
func rowCount(path string) int64 {
	if !strings.EqualFold(filepath.Ext(path), ".parquet") {
		return -1
	}
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		return -1 // reading it says what is wrong
	}
	defer f.Close()
	return f.NumRows()
}

// ingestable are the endings of files that can be read.
var ingestable = []string{".parquet", ".csv", ".arrow", ".feather", ".ipc"}

// filesBelow replaces each folder by the files below it that can be read, by name.
// Names that begin with a dot or an underscore are other programs' own, and left out.
func filesBelow(paths []string) ([]string, error) {
	var files []string
	for _, root := range paths {
		info, err := os.Stat(root)
		if err != nil || !info.IsDir() {
			files = append(files, root) // opening it says what is wrong
			continue
		}
		found, err := filesIn(root)
		if err != nil {
			return nil, cannotRead(root, err)
		}
		if len(found) == 0 {
			return nil, driftline.Errorf(driftline.NotFound, "folder %q has no file that can be read", root).
				WithHint("files end in %s", strings.Join(ingestable, ", "))
		}
		files = append(files, found...)
	}
	return files, nil
}

func filesIn(root string) (files []string, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := path != root && strings.ContainsAny(entry.Name()[:1], "._")
		switch {
		case hidden && entry.IsDir():
			return fs.SkipDir
		case !hidden && entry.Type().IsRegular() && slices.Contains(ingestable, strings.ToLower(filepath.Ext(path))):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}
