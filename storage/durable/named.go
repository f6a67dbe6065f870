package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteNamed is [WriteFile] for a file whose name is known only once its content
// is, such as a file that is named by its hash: write returns the name, without a
// folder, when all is written. The path returned is that of the finished file.
func WriteNamed(folder string, write func(io.Writer) (name string, err error)) (path string, err error) {
	return writeNamed(folder, false, write)
}

// WriteNamedOnce is [WriteNamed] for a file of any size that is seldom read: what comes after its first
// 32 MiB goes past the page cache where the file system can do that. It costs half the processor's time,
// and pushes nothing out of memory that is read often. Writers give multiples of 4 KiB, but for the end.
func WriteNamedOnce(folder string, write func(io.Writer) (name string, err error)) (path string, err error) {
	return writeNamed(folder, true, write)
}

func writeNamed(folder string, past bool, write func(io.Writer) (name string, err error)) (path string, err error) {
	folder = filepath.Clean(folder)
	temporary, err := os.CreateTemp(folder, ".*"+temporarySuffix)
	if err != nil {
		return "", nameOnly(filepath.Base(folder), err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	var name string
	err = fill(temporary, filepath.Base(folder), past, func(w io.Writer) (err error) {
		name, err = write(w)
		return err
	})
	if err != nil {
		return "", err
	}
	if name == "" || name != filepath.Base(name) {
		return "", fmt.Errorf("%q is not the name of a file", name)
	}
	path = filepath.Join(folder, name)
	if err := os.Rename(temporary.Name(), path); err != nil {
		return "", nameOnly(name, err)
	}
	return path, SyncDir(folder)
}
