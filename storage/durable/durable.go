// Package durable puts files on disk so that after a crash each is there whole,
// or not at all: it is the one way in which Driftline writes a file that it will
// read back.
//
// A file is written in five steps, and its name appears in the fourth:
//
//	create .NAME.*.tmp → write → fsync file → rename to NAME → fsync folder
//
// A crash before the rename leaves a temporary file, which no reader looks at
// and [RemoveTemporary] deletes. A returned nil means that the file survives
// power loss. A returned error means that NAME is what it was before, except
// when the folder's fsync fails: then it is the old or the new file, whole.
//
// Errors name files by their last element, never by the path of the server.
package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const temporarySuffix = ".tmp"

// bufferBytes is large enough that writers of small pieces cost few system calls.
const bufferBytes = 64 << 10

// WriteFile makes the file at path, readable by its owner only, from what write
// writes. It replaces a file that is there. If write returns an error, WriteFile
// returns it as it is and leaves nothing behind, also when write panics.
func WriteFile(path string, write func(io.Writer) error) error {
	folder, name := filepath.Split(filepath.Clean(path))
	folder = filepath.Clean(folder)
	temporary, err := os.CreateTemp(folder, "."+name+".*"+temporarySuffix)
	if err != nil {
		return nameOnly(name, err)
	}
	renamed := false
	defer func() {
		if !renamed {
			_ = os.Remove(temporary.Name())
		}
	}()
	if err := fill(temporary, name, false, write); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return nameOnly(name, err)
	}
	renamed = true
	return SyncDir(folder)
}

// WriteBytes is [WriteFile] for content that is already in memory.
func WriteBytes(path string, content []byte) error {
	return WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// fill writes, fsyncs and closes f. It closes f in every case. If past is set, most of a large file goes past
// the page cache.
func fill(f *os.File, name string, past bool, write func(io.Writer) error) error {
	defer f.Close()
	buffered := bufio.NewWriterSize(&behind{file: f, past: past}, bufferBytes)
	if err := write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return nameOnly(name, err)
	}
	if err := f.Sync(); err != nil {
		return nameOnly(name, err)
	}
	if err := f.Close(); err != nil {
		return nameOnly(name, err)
	}
	return nil
}

// SyncDir makes the names in a folder durable: without it a file that was
// created, renamed or removed may be back in its old state after power loss.
func SyncDir(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return nameOnly(filepath.Base(folder), err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return nameOnly(filepath.Base(folder), err)
	}
	return nil
}

// MkdirAll makes a folder and its missing parents, open to their owner only, and
// makes their names durable. A folder that is there is left as it is.
func MkdirAll(folder string) error {
	folder = filepath.Clean(folder)
	info, err := os.Stat(folder)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s: is a file, want a folder", filepath.Base(folder))
	case !errors.Is(err, fs.ErrNotExist):
		return nameOnly(filepath.Base(folder), err)
	}
	parent := filepath.Dir(folder)
	if err := MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nameOnly(filepath.Base(folder), err)
	}
	return SyncDir(parent)
}

// RemoveTemporary deletes the temporary files that writers left in a folder when
// they were killed. No write to the folder may be under way.
func RemoveTemporary(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nameOnly(filepath.Base(folder), err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, temporarySuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nameOnly(name, err)
		}
	}
	return nil
}

// nameOnly replaces the paths in an error of package os by the file's name.
func nameOnly(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s %s: %w", path.Op, name, path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return fmt.Errorf("%s %s: %w", link.Op, name, link.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}
