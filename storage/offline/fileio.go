package offline

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"

	icebergio "github.com/apache/iceberg-go/io"

	"github.com/driftline/driftline/storage/durable"
)

// tableFiles is the file system of one table, as iceberg-go sees it. It differs
// from iceberg-go's own in four ways. What it writes is fsynced when it is closed.
// It is open to its owner only. Each metadata file has its checksums beside it,
// which are compared when it is read. And no more of a path counts than its last
// two elements (metadata/x, data/x): metadata holds absolute paths, so a data
// folder that was moved or restored elsewhere stays readable, and forged metadata
// cannot lead out of the table's folder.
type tableFiles struct{ dir string }

var (
	_ icebergio.WriteFileIO = tableFiles{}
	_ icebergio.ReadFileIO  = tableFiles{}
)

const (
	metadataFolder = "metadata"
	dataFolder     = "data"
)

// local returns where the file that metadata calls name is.
func (t tableFiles) local(name string) (string, error) {
	folder, file := filepath.Base(filepath.Dir(name)), filepath.Base(name)
	if (folder != metadataFolder && folder != dataFolder) || file == "." || file == ".." {
		return "", &fs.PathError{Op: "open", Path: file, Err: fs.ErrInvalid}
	}
	return filepath.Join(t.dir, folder, file), nil
}

// ReadFile reads a metadata file and checks it.
func (t tableFiles) ReadFile(name string) ([]byte, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	return readChecked(path)
}

// Open reads a metadata file into memory and checks it. They are small; data files
// do not come this way.
func (t tableFiles) Open(name string) (icebergio.File, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	content, err := readChecked(path)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(content), path: path}, nil
}

// openFile is a file that was read whole.
type openFile struct {
	*bytes.Reader
	path string
}

func (f *openFile) Stat() (fs.FileInfo, error) { return os.Stat(f.path) }
func (f *openFile) Close() error               { return nil }

// Remove removes a file and its checksums.
func (t tableFiles) Remove(name string) error {
	path, err := t.local(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := os.Remove(checksumPath(path)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Create makes a metadata file, which is there once the writer is closed.
func (t tableFiles) Create(name string) (icebergio.FileWriter, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	return &createdFile{path: path}, nil
}

// WriteFile makes a metadata file and its checksums.
func (t tableFiles) WriteFile(name string, content []byte) error {
	path, err := t.local(name)
	if err != nil {
		return err
	}
	return writeChecked(path, content)
}

// createdFile gathers what is written, and writes it when it is closed.
type createdFile struct {
	bytes.Buffer
	path   string
	closed bool
}

func (f *createdFile) Close() error {
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return writeChecked(f.path, f.Bytes())
}

// writeChecked writes a file after its checksums, so that it is never without.
func writeChecked(path string, content []byte) error {
	if err := durable.WriteBytes(checksumPath(path), checksums(content)); err != nil {
		return err
	}
	return durable.WriteBytes(path, content)
}

// readChecked reads a file and compares it with its checksums. A file without
// checksums is another engine's, and is taken as it is.
func readChecked(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(checksumPath(path))
	if os.IsNotExist(err) {
		return content, nil
	}
	if err != nil {
		return nil, err
	}
	return content, compareChecksums(content, sums)
}

// filesOf gives iceberg-go the file system of a table.
func (w *warehouse) filesOf(id TableID) func(context.Context) (icebergio.IO, error) {
	return func(context.Context) (icebergio.IO, error) { return tableFiles{dir: w.tableDir(id)}, nil }
}
