package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/driftline/driftline/storage/durable"
)

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAFileIsWrittenAndReplacedWhole(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "manifest")
	for _, want := range []string{"", "first", strings.Repeat("more than one buffer ", 10_000), "short again"} {
		if err := durable.WriteBytes(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Fatalf("file holds %d bytes, want %d", len(got), len(want))
		}
		if n := names(t, folder); len(n) != 1 {
			t.Fatalf("folder holds %q, want only the file", n)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode is %v, want owner only", info.Mode().Perm())
	}
}

func TestAFailedWriteLeavesTheOldFileAndNothingElse(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		write func(io.Writer) error
		want  error
	}{
		{"before the first byte", func(io.Writer) error { return boom }, boom},
		{"after a part", func(w io.Writer) error {
			_, _ = w.Write(make([]byte, 1<<20))
			return boom
		}, boom},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "manifest")
			if err := durable.WriteBytes(path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			if err := durable.WriteFile(path, c.write); err != c.want {
				t.Fatalf("error is %v, want %v unchanged", err, c.want)
			}
			if got, _ := os.ReadFile(path); string(got) != "old" {
				t.Fatalf("file holds %q, want the old content", got)
			}
			if n := names(t, folder); len(n) != 1 {
				t.Fatalf("folder holds %q, want only the old file", n)
			}
		})
	}
}

func TestAPanickingWriterLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	func() {
		defer func() { _ = recover() }()
		_ = durable.WriteFile(filepath.Join(folder, "manifest"), func(io.Writer) error { panic("bug") })
	}()
	if n := names(t, folder); len(n) != 0 {
		t.Fatalf("folder holds %q, want nothing", n)
	}
}

func TestAFailedRenameLeavesNoTemporaryFile(t *testing.T) {
	folder := t.TempDir()
	occupied := filepath.Join(folder, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, "child"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteBytes(occupied, []byte("x")); err == nil {
		t.Fatal("a file replaced a folder")
	}
	if n := names(t, folder); len(n) != 1 {
		t.Fatalf("folder holds %q, want only the sub-folder", n)
	}
}

func TestErrorsNameTheFileAndNotThePath(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing", "manifest")
	for name, err := range map[string]error{
		"WriteFile":       durable.WriteBytes(missing, nil),
		"SyncDir":         durable.SyncDir(filepath.Dir(missing)),
		"RemoveTemporary": durable.RemoveTemporary(filepath.Dir(missing)),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error is %v, want one that says that the folder does not exist", name, err)
		}
		if strings.Contains(err.Error(), folder) {
			t.Errorf("%s: error %q tells the server's path", name, err)
		}
	}
}

func TestMkdirAllMakesParentsAndRefusesFiles(t *testing.T) {
	folder := t.TempDir()
	deep := filepath.Join(folder, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(deep)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Fatalf("mode is %v, want owner only", info.Mode().Perm())
	}
	file := filepath.Join(folder, "file")
	if err := durable.WriteBytes(file, nil); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(file); err == nil {
		t.Fatal("a file passed for a folder")
	}
	if err := durable.MkdirAll(filepath.Join(file, "below")); err == nil || errors.Is(err, syscall.ENOENT) {
		t.Fatalf("error is %v, want one that says that a parent is a file", err)
	}
}

func TestRemoveTemporaryKeepsEverythingElse(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{".manifest.123.tmp", "kept.tmp", ".kept", "kept"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.RemoveTemporary(folder); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, folder), " "); got != ".kept kept kept.tmp" {
		t.Fatalf("folder holds %q", got)
	}
}
