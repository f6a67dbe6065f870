package query

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
)

var partsSchema = arrow.NewSchema([]arrow.Field{
	{Name: "number", Type: arrow.PrimitiveTypes.Float64},
	{Name: "holes", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "own", Type: arrow.BinaryTypes.LargeString}, // each row has another one
	{Name: "ok", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "at", Type: driftline.Time},
	{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
}, nil)

// writePartsFile writes rows of all kinds of columns.
func writePartsFile(t *testing.T, rows int, options ...parquet.WriterProperty) string {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(rows), 1))
	b := array.NewRecordBuilder(memory.DefaultAllocator, partsSchema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Float64Builder).Append(r.NormFloat64())
		if null := r.IntN(5) == 0; null {
			b.Field(1).AppendNull()
			b.Field(2).AppendNull()
			b.Field(4).AppendNull()
			b.Field(6).AppendNull()
		} else {
			b.Field(1).(*array.Int64Builder).Append(r.Int64N(1000))
			b.Field(2).(*array.StringBuilder).Append(fmt.Sprint("name ", r.IntN(300)))
			b.Field(4).(*array.BooleanBuilder).Append(r.IntN(2) == 0)
			b.Field(6).(*array.ListBuilder).Append(true)
		}
		b.Field(3).(*array.LargeStringBuilder).Append(fmt.Sprint("own ", i))
		b.Field(5).(*array.TimestampBuilder).Append(arrow.Timestamp(i * 1000))
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	path := filepath.Join(t.TempDir(), "rows.parquet")
	f := first(os.Create(path))
	w := first(pqarrow.NewFileWriter(partsSchema, f, parquet.NewWriterProperties(options...), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema())))
	for _, err := range []error{w.Write(batch), w.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// shownRows are rows as text, sorted, whatever form text has.
func shownRows(t *testing.T, parts []driftline.Batches) []string {
	t.Helper()
	var all []string
	var mu sync.Mutex
	var done sync.WaitGroup
	for _, part := range parts {
		done.Go(func() {
			for batch, err := range part.All {
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for row := range int(batch.NumRows()) {
					var cells []string
					for _, column := range batch.Columns() {
						if words, ok := column.(*array.Dictionary); ok && column.IsValid(row) {
							cells = append(cells, words.Dictionary().ValueStr(words.GetValueIndex(row)))
							continue
						}
						cells = append(cells, column.ValueStr(row))
					}
					all = append(all, strings.Clone(strings.Join(cells, " ")))
				}
				mu.Unlock()
			}
		})
	}
	done.Wait()
	slices.Sort(all)
	return all
}

func TestPartsAreTheRowsOfTheFile(t *testing.T) {
	ctx := context.Background()
	flat := []string{"own", "number", "name", "at", "holes", "ok"}
	for name, c := range map[string]struct {
		rows, parts int
		options     []parquet.WriterProperty
	}{
		"no rows":                  {0, 0, nil},
		"one row group":            {5000, 1, nil},
		"row groups":               {5000, 5, []parquet.WriterProperty{parquet.WithMaxRowGroupLength(1000)}},
		"cut":                      {partRows + 5000, 2, []parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Snappy)}},
		"small pages":              {30_000, 1, []parquet.WriterProperty{parquet.WithDataPageSize(5000), parquet.WithCompression(compress.Codecs.Zstd)}},
		"dictionaries that end":    {60_000, 1, []parquet.WriterProperty{parquet.WithDictionaryPageSizeLimit(2000), parquet.WithDataPageSize(3000)}},
		"no dictionaries":          {5000, 1, []parquet.WriterProperty{parquet.WithDictionaryDefault(false)}},
		"pages of the second form": {5000, 1, []parquet.WriterProperty{parquet.WithDataPageVersion(parquet.DataPageV2)}},
		"other encodings":          {partRows + 5000, 1, []parquet.WriterProperty{parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("name", parquet.Encodings.DeltaByteArray)}},
	} {
		t.Run(name, func(t *testing.T) {
			db, path := openDB(t), writePartsFile(t, c.rows, c.options...)
			if name == "other encodings" { // of which the Parquet library leaks some
				db = first(Open(nil))
				defer db.Close()
			}
			whole, err := db.ReadFile(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := db.OpenParts(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, wanted := range [][]string{flat, {"name"}, {"list", "number"}, {}} {
				parts, err := f.Read(wanted)
				if err != nil {
					t.Fatal(err)
				}
				if nested := slices.Contains(wanted, "list"); nested != (len(parts) == 1) && c.parts > 1 || !nested && len(wanted) > 2 && len(parts) != c.parts {
					t.Errorf("%v: %d parts, want %d", wanted, len(parts), c.parts)
				}
				rows, err := projectedTo(whole, wanted)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := shownRows(t, parts), shownRows(t, []driftline.Batches{rows}); !slices.Equal(got, want) {
					t.Errorf("%v: %d rows in parts are not the %d of the file", wanted, len(got), len(want))
				}
			}
			checkSample(t, f, c.rows)
			checkColumns(t, db, path, whole)
		})
	}
}

// checkColumns wants all columns of the file, whose rows stay good after the range.
func checkColumns(t *testing.T, db *DB, path string, whole driftline.Batches) {
	t.Helper()
	columns, err := db.ReadColumns(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	held, _, err := columns.Collect()
	defer driftline.ReleaseAll(held)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shownRows(t, []driftline.Batches{driftline.BatchesOf(columns.Schema, held...)}), shownRows(t, []driftline.Batches{whole}); !slices.Equal(got, want) {
		t.Errorf("%d rows by column are not the %d of the file", len(got), len(want))
	}
}

// checkSample wants rows of the file, from its beginning to its end.
func checkSample(t *testing.T, f *FileParts, rows int) {
	t.Helper()
	parts, err := f.Sample([]string{"at"})
	if err != nil {
		t.Fatal(err)
	}
	seen, places := map[arrow.Timestamp]bool{}, map[int]bool{}
	for _, part := range parts {
		for batch, err := range part.All {
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range batch.Column(0).(*array.Timestamp).TimestampValues() {
				if seen[at] || int(at) >= 1000*rows {
					t.Fatalf("row %d of %d is there again, or at all", at/1000, rows)
				}
				seen[at], places[int(at)/1000*sampledPlaces/rows] = true, true
			}
		}
	}
	if rows <= 2*sampledPlaces*sampledRows && len(seen) != rows || rows >= 2*sampledPlaces*sampledRows && (len(seen) > rows/2 || len(places) < sampledPlaces-1) {
		t.Errorf("%d of %d rows, from %d of %d places", len(seen), rows, len(places), sampledPlaces)
	}
}

func TestPartsOfADamagedFile(t *testing.T) {
	db, ctx := openDB(t), context.Background()
	raw := first(os.ReadFile(writePartsFile(t, 3000, parquet.WithCompression(compress.Codecs.Snappy))))
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		bad := slices.Clone(raw)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		err := readAllParts(ctx, db, path)
		if err != nil && driftline.CodeOf(err) != driftline.Invalid {
			t.Fatalf("%s: %v", driftline.CodeOf(err), err)
		}
	}
}

func readAllParts(ctx context.Context, db *DB, path string) error {
	f, err := db.OpenParts(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	names := []string{}
	for _, field := range f.Schema.Fields() {
		if field.Type.ID() != arrow.LIST {
			names = append(names, field.Name)
		}
	}
	parts, err := f.Read(names)
	if err != nil {
		return err
	}
	for _, part := range parts {
		for _, err := range part.All {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func TestPartsThatAreNotThere(t *testing.T) {
	db, ctx := openDB(t), context.Background()
	f, err := db.OpenParts(ctx, writePartsFile(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read([]string{"nmae"}); err == nil || !strings.Contains(err.Error(), `column "nmae" does not exist`) {
		t.Error(err)
	}
	csv := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(csv, []byte("a,b\n1,x\n2,y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := db.OpenParts(ctx, csv)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	parts, err := other.Read([]string{"b"})
	if got := fmt.Sprint(shownRows(t, parts)); err != nil || got != "[x y]" {
		t.Error(got, err)
	}
	if _, err := db.OpenParts(ctx, filepath.Join(t.TempDir(), "none.parquet")); driftline.CodeOf(err) != driftline.NotFound {
		t.Error(err)
	}
}
