package query

import (
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"go.uber.org/goleak"
)

// files is where [writeParquet] puts its files. A folder per test would take
// longer than the tests.
var files string

func TestMain(m *testing.M) {
	escapeIfAsked()
	hangIfAsked()
	breakIfAsked()
	WorkerMain() // does not return in the processes that tests of workers start
	var err error
	if files, err = os.MkdirTemp("", "driftline-query-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(files)
		os.Exit(code)
	}))
}

// openDB returns a DB whose batches must all be released when the test ends.
func openDB(t testing.TB) *DB {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	db, err := Open(&Options{Allocator: mem, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return db
}

// writeParquet writes batches to a new file and returns its path.
func writeParquet(t testing.TB, schema *arrow.Schema, batches ...arrow.RecordBatch) string {
	t.Helper()
	return writeLayout(t, schema, batches)
}

// writeLayout is writeParquet with a layout of the file.
func writeLayout(t testing.TB, schema *arrow.Schema, batches []arrow.RecordBatch, layout ...parquet.WriterProperty) string {
	t.Helper()
	f, err := os.CreateTemp(files, "*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	path := f.Name()
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(append([]parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Uncompressed)}, layout...)...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := w.WriteBuffered(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
