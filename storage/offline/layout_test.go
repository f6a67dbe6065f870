package offline_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// everyLayout has a column of each kind that is laid out in its own way.
var everyLayout = arrow.NewSchema([]arrow.Field{
	{Name: "station", Type: arrow.PrimitiveTypes.Int64},
	{Name: "airport", Type: arrow.BinaryTypes.String},
	{Name: "event_timestamp", Type: driftline.Time},
	{Name: "created", Type: driftline.Time, Nullable: true},
	{Name: "noise", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "flag", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "rare_noise", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "count", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "gusts", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "remark", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "tags", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	{Name: "__sequence", Type: arrow.PrimitiveTypes.Int64},
}, nil)

var layoutOrder = offline.Order{Keys: []string{"station", "airport"}, Then: []string{"event_timestamp", "created", "__sequence"}}

func everyLayoutRows(rows int) driftline.Batches {
	random := rand.New(rand.NewPCG(1, 2))
	b := array.NewRecordBuilder(memory.DefaultAllocator, everyLayout)
	defer b.Release()
	for i := range rows {
		station := random.Int64N(100)
		b.Field(0).(*array.Int64Builder).Append(station)
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("airport-%d", station/10))
		b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(random.Int64N(1e15)))
		b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(1e15)) // would shrink to nothing
		b.Field(4).(*array.Float64Builder).Append(random.NormFloat64())
		b.Field(5).(*array.Float64Builder).Append(float64(random.IntN(2)))
		if i%50 == 0 {
			b.Field(6).(*array.Float64Builder).Append(random.NormFloat64())
		} else {
			b.Field(6).AppendNull() // nulls take no room, so they are not what shrinks
		}
		b.Field(7).(*array.Int32Builder).Append(int32(random.IntN(3)))
		b.Field(8).(*array.BooleanBuilder).Append(i%1000 == 0)
		b.Field(9).(*array.StringBuilder).Append([]string{"clear", "rain"}[random.IntN(2)])
		b.Field(10).(*array.ListBuilder).Append(true)
		b.Field(10).(*array.ListBuilder).ValueBuilder().(*array.Int64Builder).Append(7)
		b.Field(11).(*array.Int64Builder).Append(int64(i))
	}
	return driftline.BatchesOf(everyLayout, b.NewRecordBatch())
}

func TestEachColumnHasTheLayoutOfItsKind(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, everyLayout)
	staged, err := s.Stage(t.Context(), weather, everyLayoutRows(20_000), layoutOrder)
	if err != nil {
		t.Fatal(err)
	}
	want := `
station                RLE_DICTIONARY uncompressed
airport                RLE_DICTIONARY zstd
event_timestamp        PLAIN          uncompressed
created                PLAIN          uncompressed
noise                  PLAIN          uncompressed
flag                   PLAIN          zstd
rare_noise             PLAIN          uncompressed
count                  DELTA_BINARY_PACKED uncompressed
gusts                  PLAIN          zstd
remark                 RLE_DICTIONARY zstd
tags.list.element      RLE_DICTIONARY zstd
__sequence             PLAIN          uncompressed
`
	if got := "\n" + strings.Join(layoutOf(t, staged[0].Path), "\n") + "\n"; got != want {
		t.Errorf("the layout is%swant%s", got, want)
	}
}

// layoutOf is a line for each column of a file: how its values are encoded and
// compressed. It fails the test for a column that cannot be skipped by statistics.
func layoutOf(t *testing.T, path string) (lines []string) {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	group := r.MetaData().RowGroup(0)
	for i := range group.NumColumns() {
		c, err := group.ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		if set, err := c.StatsSet(); !set || err != nil || c.GetColumnIndexLocation() == nil || c.GetOffsetIndexLocation() == nil {
			t.Errorf("column %s has no statistics or no page index: %v", c.PathInSchema(), err)
		}
		lines = append(lines, fmt.Sprintf("%-22s %-14s %s", c.PathInSchema(), encodingOf(c), strings.ToLower(c.Compression().String())))
	}
	return lines
}

// encodingOf is the encoding of a chunk's data pages.
func encodingOf(c *metadata.ColumnChunkMetaData) string {
	for _, stats := range c.EncodingStats() {
		if strings.HasPrefix(stats.PageType.String(), "DATA_PAGE") {
			return stats.Encoding.String()
		}
	}
	return "unknown"
}

func TestWhatIsLaidOutInManyWaysReadsBackTheSame(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, everyLayout)
	snapshot, err := s.Append(t.Context(), weather, everyLayoutRows(20_000), offline.Order{Keys: []string{"__sequence"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for batch := range everyLayoutRows(20_000).All {
		want = linesOf(want, batch)
	}
	for _, columns := range [][]string{nil, names(everyLayout)[:10]} { // decoded, because of tags, and mapped
		var got []string
		for batch, err := range s.Read(t.Context(), snapshot, columns).All {
			if err != nil {
				t.Fatal(err)
			}
			got = linesOf(got, batch)
		}
		for i, line := range want {
			if !strings.HasPrefix(line, got[i]) {
				t.Fatalf("row %d is %q, want %q", i, got[i], line)
			}
		}
	}
}

func names(schema *arrow.Schema) (names []string) {
	for _, f := range schema.Fields() {
		names = append(names, f.Name)
	}
	return names
}

func linesOf(lines []string, batch arrow.RecordBatch) []string {
	for row := range int(batch.NumRows()) {
		var values []string
		for _, column := range batch.Columns() {
			values = append(values, column.ValueStr(row))
		}
		lines = append(lines, strings.Join(values, " "))
	}
	return lines
}

func TestABatchOutlivesItsFile(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	in := readings(40_000, 10_000)
	mustCreate(t, s, weather, in.Schema)
	snapshot, err := s.Append(t.Context(), weather, in, offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var kept arrow.RecordBatch
	var want []string
	for batch, err := range s.Read(t.Context(), snapshot, nil).All {
		if err != nil {
			t.Fatal(err)
		}
		batch.Retain()
		kept, want = batch, linesOf(nil, batch)
		break
	}
	defer kept.Release()
	if err := os.Remove(snapshot.Files[0].Path); err != nil {
		t.Fatal(err)
	}
	if got := linesOf(nil, kept); !slices.Equal(got, want) {
		t.Error("the batch changed when its file was removed")
	}
}

// The folder was written when all columns were zstd and numbers had no dictionary.
func TestFilesOfTheFirstLayoutAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/layout1")); err != nil {
		t.Fatal(err)
	}
	s, _ := openStore(t, dir)
	old, _, err := s.Current(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	const rows = `
EWR 2013-01-01T01:00:00Z 39.02 false 2 4
JFK 2013-01-01T01:00:00Z 39.02 false 1 3
JFK 2013-01-01T02:00:00Z (null) (null) (null) 2
LGA 2013-01-01T01:00:00Z 39.92 true 3 1`
	wantRows(t, s, old, rows)
	snapshot, err := s.Append(t.Context(), weather, rowsOf(t, old.Schema, `[
		{"airport":"EWR","event_timestamp":"2013-01-02T00:00:00Z","temp":1,"gusts":true,"stations":1,"__sequence":5}
	]`), offline.Order{Keys: []string{"airport"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, s, snapshot, rows+"\nEWR 2013-01-02T00:00:00Z 1 true 1 5")
}

func TestTheNewestRowOfEachKeyIsShownWithItsFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	in := rowsOf(t, weatherSchema, `[
		{"airport":"JFK","event_timestamp":"2013-01-01T02:00:00Z","temp":2},
		{"airport":"EWR","event_timestamp":"2013-01-01T01:00:00Z","temp":null},
		{"airport":"JFK","event_timestamp":"2013-01-01T01:00:00Z","temp":1},
		{"airport":"EWR","event_timestamp":"2013-01-01T00:00:00Z","temp":3}
	]`)
	order := offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}
	var shown []string
	files, err := s.StageNewest(t.Context(), weather, in, order, func(f offline.File, rows arrow.RecordBatch) error {
		shown = linesOf(append(shown, f.Hash), rows)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{files[0].Hash, "EWR 2013-01-01T01:00:00Z (null)", "JFK 2013-01-01T02:00:00Z 2"}
	if !slices.Equal(shown, want) {
		t.Errorf("shown was %q, want %q", shown, want)
	}
}

// manyFiles are rows of three files and a half, and then an error if there is one.
func manyFiles(fail error) driftline.Batches {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int32}}, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewInt32Builder(memory.DefaultAllocator)
		defer b.Release()
		for i := range 1 << 19 {
			b.Append(int32(1<<19 - i))
		}
		numbers := b.NewArray()
		batch := array.NewRecordBatch(schema, []arrow.Array{numbers}, int64(numbers.Len()))
		for range 7 {
			if !yield(batch, nil) {
				return
			}
		}
		if fail != nil {
			yield(nil, fail)
		}
	}}
}

// Files are made one behind the other: whichever fails, all are removed.
func TestAFailureAmongManyFilesLeavesNothingBehind(t *testing.T) {
	broken := errors.New("broken")
	order := offline.Order{Keys: []string{"n"}}
	for _, test := range []struct {
		name   string
		rows   driftline.Batches
		newest func(file int, f offline.File, dir string) error
		cause  error
	}{
		{"the rows end in an error", manyFiles(broken), func(int, offline.File, string) error { return nil }, broken},
		{"the second file's newest rows are refused", manyFiles(nil), func(file int, _ offline.File, _ string) error {
			if file == 2 {
				return broken
			}
			return nil
		}, broken},
		{"the third file cannot get its name", manyFiles(nil), func(file int, f offline.File, dir string) error {
			if file == 3 {
				return os.MkdirAll(filepath.Join(dir, "features/weather/data", f.Hash+".parquet/in-the-way"), 0o700)
			}
			return nil
		}, fs.ErrExist},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := openStore(t, dir)
			mustCreate(t, s, weather, test.rows.Schema)
			files := 0
			_, err := s.StageNewest(t.Context(), weather, test.rows, order, func(f offline.File, _ arrow.RecordBatch) error {
				files++
				return test.newest(files, f, dir)
			})
			if !errors.Is(err, test.cause) {
				t.Errorf("the error is %v, want one because of %q", err, test.cause)
			}
			for _, path := range dataFiles(t, dir) {
				if info, err := os.Stat(path); err != nil || !info.IsDir() {
					t.Errorf("%s was left behind", filepath.Base(path))
				}
			}
		})
	}
}
