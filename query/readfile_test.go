package query

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/driftline/driftline"
)

func TestReadFile(t *testing.T) {
	db := openDB(t)
	dir := t.TempDir()
	parquet, _ := numbers(t, 3)
	csv := filepath.Join(dir, "it's.csv")
	if err := os.WriteFile(csv, []byte("n,name\n0,row 0\n1,row 1\n2,row 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	batches, err := db.ReadFile(context.Background(), parquet)
	if err != nil {
		t.Fatal(err)
	}
	held, _, err := batches.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(held)

	feather, stream := filepath.Join(dir, "f.feather"), filepath.Join(dir, "s.arrow")
	f := first(os.Create(feather))
	fw := first(ipc.NewFileWriter(f, ipc.WithSchema(batches.Schema)))
	s := first(os.Create(stream))
	sw := ipc.NewWriter(s, ipc.WithSchema(batches.Schema))
	for _, err := range []error{fw.Write(held[0]), fw.Close(), f.Close(), sw.Write(held[0]), sw.Close(), s.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{parquet, csv, feather, stream} {
		batches, err := db.ReadFile(context.Background(), path)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		for range 2 {
			got, _, err := batches.Collect()
			if text := show(batches.Schema, got); err != nil || text != "n name\n0 row 0\n1 row 1\n2 row 2" {
				t.Errorf("%s: %v\n%s", filepath.Base(path), err, text)
			}
			driftline.ReleaseAll(got)
		}
	}
}

func TestReadFileErrors(t *testing.T) {
	db := openDB(t)
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("no such format"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, code := range map[string]driftline.Code{
		filepath.Join(dir, "missing.csv"): driftline.NotFound,
		write("a.parquet"):                driftline.Invalid,
		write("a.arrow"):                  driftline.Invalid,
		write("a.xlsx"):                   driftline.Invalid,
	} {
		if _, err := db.ReadFile(context.Background(), path); driftline.CodeOf(err) != code {
			t.Errorf("%s: %v (%s), want %s", filepath.Base(path), err, driftline.CodeOf(err), code)
		}
	}
}
