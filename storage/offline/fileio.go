package offline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	icebergio "github.com/apache/iceberg-go/io"

	"github.com/driftline/driftline/storage/durable"
)

// tableFiles is the file system of one table, as iceberg-go sees it. It differs
// from iceberg-go's own in three ways. What it writes is fsynced when it is
// closed, and open to its owner only. And it looks at no more of a path than its
// last two elements (metadata/x, data/x): metadata holds absolute paths, so a
// data folder that was moved or restored elsewhere stays readable, and damaged
// or forged metadata cannot lead out of the table's folder.
type tableFiles struct{ dir string }

var (
	_ icebergio.WriteFileIO = tableFiles{}
	_ icebergio.ReadFileIO  = tableFiles{}
	_ icebergio.StatIO      = tableFiles{}
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

func (t tableFiles) Open(name string) (icebergio.File, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

func (t tableFiles) ReadFile(name string) ([]byte, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (t tableFiles) Stat(name string) (fs.FileInfo, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}

func (t tableFiles) Remove(name string) error {
	path, err := t.local(name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// Create makes a file that nothing refers to yet, so it needs no temporary name.
func (t tableFiles) Create(name string) (icebergio.FileWriter, error) {
	path, err := t.local(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &syncedFile{File: f}, nil
}

func (t tableFiles) WriteFile(name string, content []byte) error {
	path, err := t.local(name)
	if err != nil {
		return err
	}
	return durable.WriteBytes(path, content)
}

// syncedFile fsyncs before it closes. The folder is fsynced by the write of the
// metadata file that first refers to this one.
type syncedFile struct{ *os.File }

func (f *syncedFile) Close() error {
	return errors.Join(f.Sync(), f.File.Close())
}
