package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// External is the present state of an Iceberg table that somebody else writes.
type External struct {
	Snapshot driftline.SnapshotID // 0 for a table without rows
	Files    []string             // Parquet, in the order of the table's manifests
	Columns  []columns.Column
}

// OpenExternal reads the newest state of the Iceberg table in folder, or of the
// metadata file that path names: a catalogue that keeps the newest one's name elsewhere
// may leave several of one number in the folder. Nothing outside the table's folder is
// opened, and nothing in it is written. Tables with deleted rows that are not compacted
// are FailedPrecondition.
func OpenExternal(ctx context.Context, path string) (_ External, err error) {
	defer recovered(&err, "reading an Iceberg table")
	folder, metadata, err := newestMetadata(path)
	if err != nil {
		return External{}, externalError(path, err)
	}
	files, err := newExternalFiles(folder, metadata)
	if err != nil {
		return External{}, externalError(path, err)
	}
	open := func(context.Context) (icebergio.IO, error) { return files, nil }
	t, err := table.NewFromLocation(ctx, table.Identifier{"external", "table"}, metadata, open, nil)
	if err != nil {
		return External{}, externalError(path, err)
	}
	schema, err := arrowSchema(t.Schema(), false)
	if err != nil {
		return External{}, externalError(path, err)
	}
	e := External{}
	for i, f := range schema.Fields() {
		e.Columns = append(e.Columns, columns.Column{ID: t.Schema().Field(i).ID, Name: f.Name, Type: f.Type})
	}
	if current := t.CurrentSnapshot(); current != nil {
		e.Snapshot = driftline.SnapshotID(current.SnapshotID)
		if e.Files, err = files.dataFiles(ctx, current); err != nil {
			return External{}, externalError(path, err)
		}
	}
	return e, nil
}

// externalError keeps what is known and hides paths in what is not.
func externalError(path string, cause error) error {
	var known *driftline.Error
	if errors.As(cause, &known) {
		return cause
	}
	if err := interrupted(cause); err != nil {
		return err
	}
	e := driftline.Errorf(driftline.FailedPrecondition, "%s is not an Iceberg table that can be read", filepath.Base(path)).
		WithHint("give the table's folder, the one that has metadata and data in it")
	e.Err = cause
	return e
}

// newestMetadata finds the newest metadata file: what version-hint.text names, or the
// one of the greatest number.
func newestMetadata(path string) (folder, metadata string, err error) {
	if strings.HasSuffix(path, metadataSuffix) {
		return filepath.Dir(filepath.Dir(path)), path, nil
	}
	dir := filepath.Join(path, metadataFolder)
	if hint, err := os.ReadFile(filepath.Join(dir, versionHint)); err == nil {
		name := "v" + strings.TrimSpace(string(hint)) + metadataSuffix
		if filepath.IsLocal(name) {
			return path, filepath.Join(dir, name), nil
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", err
	}
	newest, rivals := -1, 0
	for _, entry := range entries {
		number, ok := externalVersion(entry.Name())
		switch {
		case !ok || number < newest:
		case number == newest:
			rivals++
		default:
			newest, rivals, metadata = number, 0, filepath.Join(dir, entry.Name())
		}
	}
	switch {
	case newest < 0:
		return "", "", fs.ErrNotExist
	case rivals > 0:
		return "", "", driftline.Errorf(driftline.FailedPrecondition, "the table has several newest metadata files").
			WithHint("give the metadata file that the table's catalogue names, instead of the folder")
	}
	return path, metadata, nil
}

// externalVersion reads the number that begins a metadata file's name: 3 of
// 00003-<uuid>.metadata.json and of v3.metadata.json.
func externalVersion(name string) (int, bool) {
	text, ok := strings.CutSuffix(name, metadataSuffix)
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "v"), "-")
	number, err := strconv.Atoi(text)
	return number, ok && err == nil && number >= 0
}

// externalFiles is the file system of somebody else's table. Paths in its metadata
// begin with the table's location, which may since have moved to dir.
type externalFiles struct{ dir, location string }

var _ icebergio.ReadFileIO = externalFiles{}

func newExternalFiles(dir, metadata string) (externalFiles, error) {
	content, err := os.ReadFile(metadata)
	if err != nil {
		return externalFiles{}, err
	}
	var head struct {
		Location string `json:"location"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return externalFiles{}, err
	}
	return externalFiles{dir: dir, location: strings.TrimSuffix(withoutScheme(head.Location), "/")}, nil
}

func withoutScheme(location string) string { return strings.TrimPrefix(location, "file://") }

func (f externalFiles) local(name string) (string, error) {
	name = withoutScheme(name)
	for _, root := range []string{f.location, f.dir} {
		if below, ok := strings.CutPrefix(name, root+"/"); ok && filepath.IsLocal(below) {
			return filepath.Join(f.dir, below), nil
		}
	}
	return "", fmt.Errorf("file %s is outside the table's folder", filepath.Base(name))
}

func (f externalFiles) ReadFile(name string) ([]byte, error) {
	path, err := f.local(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (f externalFiles) Open(name string) (icebergio.File, error) {
	path, err := f.local(name)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(content), path: path}, nil
}

func (f externalFiles) Remove(string) error {
	return errors.New("somebody else's table is not written")
}

// dataFiles lists the data files of a snapshot.
func (f externalFiles) dataFiles(ctx context.Context, of *table.Snapshot) ([]string, error) {
	manifests, err := of.Manifests(f)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, m := range manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m.ManifestContent() != iceberg.ManifestContentData {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "the table has delete files, which cannot be read in place").
				WithHint("compact the table, so that its deleted rows are gone from its files")
		}
		for entry, err := range m.Entries(f, true) {
			if err != nil {
				return nil, err
			}
			if entry.DataFile().FileFormat() != iceberg.ParquetFile {
				return nil, driftline.Errorf(driftline.FailedPrecondition, "the table has files of format %s, and only Parquet can be read", entry.DataFile().FileFormat())
			}
			path, err := f.local(entry.DataFile().FilePath())
			if err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}
