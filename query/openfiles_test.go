package query

import (
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline/storage/columns"
)

func TestOpenFilesAreKeptForAWhile(t *testing.T) {
	var o openFiles
	defer o.close()
	path := fileOfRows(t, 1)
	open := func() *columns.File {
		t.Helper()
		f, err := o.open(path)
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
	var o openFiles
	defer o.close()
	path := fileOfRows(t, 1)
	for rows := 1; rows < 4; rows++ {
		if err := os.Rename(fileOfRows(t, rows), path); err != nil {
			t.Fatal(err)
		}
		f, err := o.open(path)
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
	if _, err := o.open(path); err == nil {
		t.Error("a file that was removed was opened")
	}
}

// fileOfRows writes a file of so many rows.
func fileOfRows(t *testing.T, rows int) string {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(make([]int64, rows), nil)
	batch := b.NewRecordBatch()
	defer batch.Release()
	return writeParquet(t, schema, batch)
}
