package columns

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func TestOpenFilesAreKeptForAWhile(t *testing.T) {
	var o Files
	defer o.Close()
	path := fileOfRows(t, 1)
	open := func() *File {
		t.Helper()
		f, err := o.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return f
	}
	first := open()
	if open() != first {
		t.Error("a file that is kept open was opened again")
	}
	o.sweep()
	if open() != first {
		t.Error("a file that was used since the last sweep was not kept")
	}
	o.sweep()
	o.sweep()
	if len(o.files) != 0 || o.bytes != 0 || o.tick != nil {
		t.Errorf("%d files of %d bytes are kept that nobody used", len(o.files), o.bytes)
	}
}

func TestAFileInThePlaceOfAnotherIsRead(t *testing.T) {
	var o Files
	defer o.Close()
	path := fileOfRows(t, 1)
	for rows := 1; rows < 4; rows++ {
		if err := os.Rename(fileOfRows(t, rows), path); err != nil {
			t.Fatal(err)
		}
		f, err := o.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Rows(0) != rows {
			t.Errorf("the file has %d rows, want %d", f.Rows(0), rows)
		}
		f.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(path); err == nil {
		t.Error("a file that was removed was opened")
	}
}

// fileOfRows writes a file of so many rows.
func fileOfRows(t *testing.T, rows int) string {
	return writeFile(t, randomRows(rand.New(rand.NewPCG(1, 1)), rows, 0))
}

func TestFilesOfLargeTablesTakeNoMemoryThatOthersCouldKeep(t *testing.T) {
	var o Files
	defer o.Close()
	large, small := fileOfRows(t, 1000), fileOfRows(t, 1000)
	for _, path := range []string{large, small} {
		f, err := o.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	both := o.bytes
	o.Thin([]string{large})
	if kept := o.files[small].file; o.bytes != kept.Size() || kept.lean.Load() {
		t.Errorf("of %d bytes, %d are to stay, want those of the other file, %d", both, o.bytes, kept.Size())
	}
	if o.Thin([]string{large, "of no file"}); !o.files[large].file.lean.Load() || o.bytes != o.files[small].file.Size() {
		t.Error("the large file counts again")
	}
}

// A file that is let go of while it is kept must read the same afterwards.
func TestAFileThatWasUnmappedIsReadAgain(t *testing.T) {
	var o Files
	defer o.Close()
	path := fileOfRows(t, 1000)
	for range 3 {
		f, err := o.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		o.Thin([]string{path})
		var r Reader
		if err := r.Open(f, 0, leafOf(t, f, "f64")); err != nil {
			t.Fatal(err)
		}
		want := randomRows(rand.New(rand.NewPCG(1, 1)), 1000, 0).Column(3)
		got, err := r.Array(memory.DefaultAllocator, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if !array.Equal(got, want) {
			t.Error("the rows differ")
		}
		got.Release()
	}
}
