package columns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/driftline/driftline"
)

var testSchema = arrow.NewSchema([]arrow.Field{
	{Name: "key", Type: arrow.PrimitiveTypes.Int64},
	{Name: "i32", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "f32", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
	{Name: "f64", Type: arrow.PrimitiveTypes.Float64},
	{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "word", Type: arrow.BinaryTypes.String},
	{Name: "raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	{Name: "yes", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "at", Type: driftline.Time},
}, nil)

// layouts are ways to write the same rows.
var layouts = map[string][]parquet.WriterProperty{
	"ours":             {parquet.WithDictionaryDefault(false), parquet.WithDictionaryFor("key", true), parquet.WithDictionaryFor("word", true)},
	"zstd":             {parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryDefault(false)},
	"snappy and words": {parquet.WithCompression(compress.Codecs.Snappy)},
	"second version":   {parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithCompression(compress.Codecs.Zstd)},
	"no page index":    {parquet.WithPageIndexEnabled(false), parquet.WithDictionaryDefault(false)},
	"rare encodings":   {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("text", parquet.Encodings.DeltaByteArray), parquet.WithEncodingFor("f64", parquet.Encodings.ByteStreamSplit)},
	"deltas":           {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("key", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("i32", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("at", parquet.Encodings.DeltaBinaryPacked)},
	"words give up":    {parquet.WithDictionaryPageSizeLimit(200)},
}

// randomRows makes rows in runs of equal keys, of which about one in nulls is null; none if nulls is 0.
func randomRows(rng *rand.Rand, rows, nulls int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, testSchema)
	defer b.Release()
	key := int64(0)
	for range rows {
		if rng.IntN(5) == 0 {
			key += rng.Int64N(3)
		}
		null := func() bool { return nulls > 0 && rng.IntN(nulls) == 0 }
		b.Field(0).(*array.Int64Builder).Append(key)
		for i := 1; i < testSchema.NumFields(); i++ {
			if testSchema.Field(i).Nullable && null() {
				b.Field(i).AppendNull()
				continue
			}
			switch f := b.Field(i).(type) {
			case *array.Int32Builder:
				f.Append(int32(rng.IntN(3)))
			case *array.Float32Builder:
				f.Append(rng.Float32())
			case *array.Float64Builder:
				f.Append(rng.Float64())
			case *array.StringBuilder:
				f.Append(fmt.Sprintf("%s %d", testSchema.Field(i).Name, key/7))
			case *array.BinaryBuilder:
				f.Append(bytes.Repeat([]byte{byte(key)}, rng.IntN(9)))
			case *array.BooleanBuilder:
				f.Append(rng.IntN(2) == 0)
			case *array.TimestampBuilder:
				f.Append(arrow.Timestamp(rng.Int64()))
			}
		}
	}
	return b.NewRecordBatch()
}

func writeFile(t testing.TB, batch arrow.RecordBatch, layout ...parquet.WriterProperty) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	properties := append([]parquet.WriterProperty{
		parquet.WithDataPageSize(2000), parquet.WithBatchSize(100), parquet.WithMaxRowGroupLength(1500), parquet.WithPageIndexEnabled(true), parquet.WithStats(true),
	}, layout...)
	w, err := pqarrow.NewFileWriter(batch.Schema(), f, parquet.NewWriterProperties(properties...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// everyLayout runs test on a file of each layout, with nulls and without, with a reader
// that reads it through the mapping and with one that does not.
func everyLayout(t *testing.T, test func(t *testing.T, f *File, r *Reader, rows arrow.RecordBatch)) {
	for name, layout := range layouts {
		for _, nulls := range []int{0, 3, 100} {
			t.Run(fmt.Sprintf("%s, nulls %d", name, nulls), func(t *testing.T) {
				rows := randomRows(rand.New(rand.NewPCG(1, uint64(nulls))), 4000, nulls)
				f, err := Open(writeFile(t, rows, layout...))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if f.Groups() != 3 || len(f.Leaves()) != testSchema.NumFields() {
					t.Fatalf("%d groups of %d columns", f.Groups(), len(f.Leaves()))
				}
				for _, unmapped := range []bool{false, true} {
					test(t, f, &Reader{Unmapped: unmapped}, rows)
				}
			})
		}
	}
}

func leafOf(t testing.TB, f *File, name string) int {
	t.Helper()
	leaf, ok := f.Find(Column{Name: name})
	if !ok {
		t.Fatalf("no column %q", name)
	}
	return leaf
}

func TestArraysAreWhatWasWritten(t *testing.T) {
	everyLayout(t, func(t *testing.T, f *File, r *Reader, rows arrow.RecordBatch) {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		defer mem.AssertSize(t, 0)
		rng := rand.New(rand.NewPCG(2, 2))
		for i, field := range testSchema.Fields() {
			for g, first := 0, 0; g < f.Groups(); g++ {
				if err := r.Open(f, g, leafOf(t, f, field.Name)); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					from := rng.IntN(f.Rows(g))
					to := from + 1 + rng.IntN(f.Rows(g)-from)
					got, err := r.Array(mem, from, to)
					if err != nil {
						t.Fatal(err)
					}
					want := array.NewSlice(rows.Column(i), int64(first+from), int64(first+to))
					if !array.Equal(got, want) {
						t.Errorf("column %q, rows %d to %d of group %d:\n%v\nwant\n%v", field.Name, from, to, g, got, want)
					}
					got.Release()
					want.Release()
				}
				first += f.Rows(g)
			}
		}
	})
}

// A page that an array was made of has no places for nulls yet.
func TestPagesHaveAPlaceForEveryRow(t *testing.T) {
	everyLayout(t, func(t *testing.T, f *File, r *Reader, rows arrow.RecordBatch) {
		const column = 2
		want := rows.Column(column).(*array.Float32)
		for g, first := 0, 0; g < f.Groups(); g++ {
			if err := r.Open(f, g, leafOf(t, f, testSchema.Field(column).Name)); err != nil {
				t.Fatal(err)
			}
			for row := range f.Rows(g) {
				if row%2 == 0 {
					got, err := r.Array(memory.DefaultAllocator, row, row+1)
					if err != nil {
						t.Fatal(err)
					}
					got.Release()
				}
				p, err := r.Page(row)
				if err != nil {
					t.Fatal(err)
				}
				at := row - p.First
				if p.Null(at) != want.IsNull(first+row) {
					t.Fatalf("row %d of group %d: null is %v", row, g, p.Null(at))
				}
				value := math.Float32frombits(binary.LittleEndian.Uint32(p.Values[at*p.Width:]))
				if !p.Null(at) && value != want.Value(first+row) {
					t.Fatalf("row %d of group %d is %v, want %v", row, g, value, want.Value(first+row))
				}
			}
			first += f.Rows(g)
		}
	})
}

// Rows that are asked for one stretch after the other, in any order.
func TestStretchesOfRowsAreWhatWasWritten(t *testing.T) {
	everyLayout(t, func(t *testing.T, f *File, r *Reader, rows arrow.RecordBatch) {
		rng := rand.New(rand.NewPCG(6, 6))
		for i, field := range testSchema.Fields() {
			for g, first := 0, 0; g < f.Groups(); g++ {
				if err := r.Open(f, g, leafOf(t, f, field.Name)); err != nil {
					t.Fatal(err)
				}
				for range 30 {
					from := rng.IntN(f.Rows(g))
					to := min(from+1+rng.IntN(40), f.Rows(g))
					for row := from; row < to; {
						p, err := r.PageOf(row, to)
						if err != nil {
							t.Fatal(err)
						}
						for ; row < to && p.Has(row); row++ {
							if got, want := printCell(p, row-p.First), printArray(rows.Column(i), first+row); got != want {
								t.Fatalf("column %q, row %d of group %d is %s, want %s", field.Name, row, g, got, want)
							}
						}
					}
				}
				first += f.Rows(g)
			}
		}
	})
}

func TestAnUnmappedReaderReadsNoMoreThanItIsAskedFor(t *testing.T) {
	rows := randomRows(rand.New(rand.NewPCG(1, 1)), 1000, 0)
	f, err := Open(writeFile(t, rows, layouts["ours"]...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := Reader{Unmapped: true}
	for _, name := range []string{"i32", "f32", "f64", "at"} { // i32 and f32 may be null, and are not
		if err := r.Open(f, 0, leafOf(t, f, name)); err != nil {
			t.Fatal(err)
		}
		if page, err := r.PageOf(20, 23); err != nil || page.First != 20 || page.Rows != 3 {
			t.Errorf("column %q: %d rows from %d on were read, want 3 from 20 on (%v)", name, page.Rows, page.First, err)
		}
	}
}

func TestRunsAreWhereValuesChange(t *testing.T) {
	everyLayout(t, func(t *testing.T, f *File, r *Reader, rows arrow.RecordBatch) {
		for _, columns := range [][]string{{}, {"key"}, {"word"}, {"i32"}, {"text"}, {"word", "i32"}, {"key", "text", "yes"}} {
			var runs Runs
			first := 0
			for g := range f.Groups() {
				var leaves []int
				for _, c := range columns {
					leaves = append(leaves, leafOf(t, f, c))
				}
				if err := runs.Read(r, f, g, leaves); err != nil {
					t.Fatal(err)
				}
				compareRuns(t, &runs, rows, columns, first, f.Rows(g))
				first += f.Rows(g)
			}
		}
	})
}

// compareRuns looks each row's values up in its run.
func compareRuns(t *testing.T, runs *Runs, rows arrow.RecordBatch, columns []string, first, n int) {
	t.Helper()
	if runs.Starts[0] != 0 || runs.Starts[runs.Len()] != int32(n) {
		t.Fatalf("%v: the runs are from %d to %d, want 0 to %d", columns, runs.Starts[0], runs.Starts[runs.Len()], n)
	}
	changes := 1
	for run := range runs.Len() {
		for row := runs.Starts[run]; row < runs.Starts[run+1]; row++ {
			changed := false
			for c, name := range columns {
				column := rows.Column(rows.Schema().FieldIndices(name)[0])
				page := &runs.Values[c]
				at := first + int(row)
				if got, want := printCell(page, run), printArray(column, at); got != want {
					t.Fatalf("%v: row %d is in a run of %s, want %s", columns, at, got, want)
				}
				changed = changed || row > 0 && printArray(column, at) != printArray(column, at-1)
			}
			if changed {
				changes++
			}
		}
	}
	if changes != runs.Len() {
		t.Errorf("%v: %d runs, want %d", columns, runs.Len(), changes)
	}
}

func printCell(p *Page, i int) string {
	switch {
	case p.Null(i):
		return "null"
	case p.Width == 0:
		return fmt.Sprintf("%x", p.Bytes(i))
	}
	return fmt.Sprintf("%x", p.Values[i*p.Width:][:p.Width])
}

func printArray(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.String:
		return fmt.Sprintf("%x", a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%x", a.Value(i))
	case *array.Boolean:
		if a.Value(i) {
			return "01"
		}
		return "00"
	}
	width := a.DataType().(arrow.FixedWidthDataType).Bytes()
	return fmt.Sprintf("%x", a.Data().Buffers()[1].Bytes()[(a.Data().Offset()+i)*width:][:width])
}

func TestPlainPagesStayInPlace(t *testing.T) {
	rows := randomRows(rand.New(rand.NewPCG(1, 1)), 1000, 0)
	f, err := Open(writeFile(t, rows, layouts["ours"]...))
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	for _, name := range []string{"i32", "f32", "f64", "at"} { // i32 and f32 may be null, and are not
		if err := r.Open(f, 0, leafOf(t, f, name)); err != nil {
			t.Fatal(err)
		}
		if page, err := r.Page(999); err != nil || !page.InPlace {
			t.Errorf("column %q was copied (%v)", name, err)
		}
	}
	a, err := r.Array(memory.DefaultAllocator, 0, 8)
	f.Close()
	if err != nil || a.ValueStr(0) != rows.Column(8).ValueStr(0) {
		t.Errorf("after Close: %v, %v", a, err)
	}
	a.Release()
}

// TestDamageIsAnError flips bytes: nothing may panic, hang or reach outside of the file.
func TestDamageIsAnError(t *testing.T) {
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, randomRows(rand.New(rand.NewPCG(3, 3)), 2000, 4), layout...)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(4, 4))
			for range 300 {
				bad := bytes.Clone(good)
				for range 1 + rng.IntN(4) {
					bad[rng.IntN(len(bad))] = byte(rng.IntN(256))
				}
				if err := os.WriteFile(path, bad[:len(bad)-rng.IntN(2)*rng.IntN(len(bad))], 0o600); err != nil {
					t.Fatal(err)
				}
				if err := readAll(path); err != nil && driftline.CodeOf(err) != driftline.DataLoss {
					t.Fatalf("%v (%s)", err, driftline.CodeOf(err))
				}
			}
		})
	}
}

// TestPageThatEndsEarly reads columns whose pages promise more values than they have, in an
// encoding that the Parquet library decodes: it is no reason to wait for the rest of them.
func TestPageThatEndsEarly(t *testing.T) {
	const rows = 100
	for _, nullable := range []bool{false, true} {
		t.Run(fmt.Sprintf("nullable %v", nullable), func(t *testing.T) {
			schema := arrow.NewSchema([]arrow.Field{{Name: "word", Type: arrow.BinaryTypes.String, Nullable: nullable}}, nil)
			b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			defer b.Release()
			for i := range rows {
				b.Field(0).(*array.StringBuilder).Append(fmt.Sprint(i))
			}
			path := writeFile(t, b.NewRecordBatch(), parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("word", parquet.Encodings.DeltaLengthByteArray))
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// The lengths begin with: 128 in a block, of 4 parts, how many there are.
			lengths, fewer := []byte{0x80, 1, 4, rows}, []byte{0x80, 1, 4, rows / 2}
			if n := bytes.Count(good, lengths); n != 1 {
				t.Fatalf("the page has its lengths in %d places", n)
			}
			if err := os.WriteFile(path, bytes.Replace(good, lengths, fewer, 1), 0o600); err != nil {
				t.Fatal(err)
			}
			err = readAll(path)
			if want := `column "word" of file "rows.parquet" cannot be read`; driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %s", err, want)
			}
		})
	}
}

// readAll reads everything that there is in a file.
func readAll(path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, unmapped := range []bool{false, true} {
		if err := Guard(func() error { return readAllBy(&Reader{Unmapped: unmapped}, f) }); err != nil {
			return err
		}
	}
	return nil
}

func readAllBy(r *Reader, f *File) error {
	var runs Runs
	for g := range f.Groups() {
		if f.Rows(g) > 1<<20 {
			continue // a damaged number of rows: every page would be refused
		}
		for leaf := range f.Leaves() {
			if err := r.Open(f, g, leaf); err != nil {
				return err
			}
			for row := 0; row < f.Rows(g); {
				page, err := r.Page(row)
				if err != nil {
					return err
				}
				for i := range page.Rows {
					if page.Width == 0 && !page.Null(i) {
						_ = page.Bytes(i)
					}
				}
				row = page.First + page.Rows
			}
			if err := runs.Read(r, f, g, []int{leaf}); err != nil {
				return err
			}
		}
	}
	return nil
}

func FuzzPageHeader(f *testing.F) {
	f.Add([]byte{0x15, 0x00, 0x15, 0x20, 0x15, 0x20, 0x2c, 0x15, 0x08, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00})
	f.Add([]byte{0x15, 0x04, 0x15, 0x20, 0x15, 0x20, 0x4c, 0x15, 0x08, 0x15, 0x00, 0x00, 0x00})
	f.Add([]byte{0x19, 0x2c, 0x16, 0x08, 0x15, 0x20, 0x16, 0x00, 0x00, 0x16, 0x30, 0x15, 0x20, 0x16, 0x08, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := readPageHeader(data, len(data)); err == nil && (h.size > len(data) || h.storedSize > len(data)-h.size || h.storedSize < 0) {
			t.Errorf("%+v reaches outside of %d bytes", h, len(data))
		}
		_, _ = readOffsetIndex(data)
	})
}
