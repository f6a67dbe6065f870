package durable_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftline/driftline/storage/durable"
)

func TestWriteNamedNamesTheFileByWhatWriteReturns(t *testing.T) {
	folder := t.TempDir()
	path, err := durable.WriteNamed(folder, func(w io.Writer) (string, error) {
		_, err := io.WriteString(w, "content")
		return "later", err
	})
	if err != nil || path != filepath.Join(folder, "later") {
		t.Fatalf("got %q, %v", path, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" {
		t.Fatalf("read %q, %v", content, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestWriteNamedLeavesNothingBehindWhenItFails(t *testing.T) {
	broken := errors.New("broken")
	for name, write := range map[string]func(io.Writer) (string, error){
		"write fails":          func(io.Writer) (string, error) { return "file", broken },
		"no name":              func(io.Writer) (string, error) { return "", nil },
		"name leaves a folder": func(io.Writer) (string, error) { return "../file", nil },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if path, err := durable.WriteNamed(folder, write); err == nil {
				t.Fatalf("wrote %q, want an error", path)
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
				t.Fatalf("left %v, %v; want nothing", left, err)
			}
		})
	}
}
