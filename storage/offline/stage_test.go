package offline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
	"github.com/driftline/driftline/storage/offline"
)

// readings yields rows of weatherSchema and an ordinal in random order, made as they are asked for.
func readings(rows, perBatch int) driftline.Batches {
	schema := arrow.NewSchema(append(weatherSchema.Fields(), arrow.Field{Name: "__sequence", Type: arrow.PrimitiveTypes.Int64}), nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		random := rand.New(rand.NewPCG(5, 6))
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		for start := 0; start < rows; start += perBatch {
			for i := start; i < min(start+perBatch, rows); i++ {
				b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("airport-%04d", random.IntN(1000)))
				b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(random.IntN(100) * 3_600_000_000))
				b.Field(2).(*array.Float64Builder).Append(random.NormFloat64())
				b.Field(3).(*array.Int64Builder).Append(int64(i))
			}
			batch := b.NewRecordBatch()
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
		}
	}}
}

// The fast sort must agree with the obvious slow one.
func TestRowsAreSortedNullsFirstAndStably(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	random := rand.New(rand.NewPCG(7, 8))
	pools := []struct {
		dt     arrow.DataType
		values []string // in order
	}{
		{arrow.PrimitiveTypes.Int64, []string{null, "-9223372036854775808", "-1", "0", "9223372036854775807"}},
		{arrow.PrimitiveTypes.Int64, []string{"5", "6", "7"}},
		{arrow.PrimitiveTypes.Int32, []string{null, "-2147483648", "2147483647"}},
		{arrow.PrimitiveTypes.Uint64, []string{null, "0", "18446744073709551615"}},
		{driftline.Time, []string{"1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2013-01-01T00:00:00Z"}},
		{arrow.BinaryTypes.String, []string{null, "", "\x00", "a", "a\x00", "aa", "b"}},
		{arrow.BinaryTypes.String, []string{"airport-EWR", "airport-JFK", "airport-LGA"}},
		{arrow.BinaryTypes.String, []string{"a long shared beginning", "a long shared beginning and 12345678", "a long shared beginning and 123456789", "b"}},
		{arrow.BinaryTypes.String, []string{null, "same"}},
		{arrow.BinaryTypes.Binary, []string{null, "", "AA==", "AAE=", "/w=="}},
		{arrow.PrimitiveTypes.Float64, []string{null, "-Inf", "-1", "0", "1", "+Inf", "NaN"}},
		{arrow.FixedWidthTypes.Boolean, []string{null, "false", "true"}},
		{arrow.FixedWidthTypes.Date32, []string{"1969-12-31", "2013-01-01"}},
		{arrow.Null, []string{null}},
	}
	for n := range 60 {
		id := offline.TableID{Namespace: "features", Name: fmt.Sprintf("t%d", n)}
		rows, keys := 1+random.IntN(200), 1+random.IntN(4)
		ranks := make([][]int, rows) // of each row: the place of each key in its pool
		for i := range ranks {
			ranks[i] = append(make([]int, keys), i)
		}
		var fields []arrow.Field
		var columns []arrow.Array
		var sortBy []string
		for k := range keys {
			pool := pools[random.IntN(len(pools))]
			values := make([]string, rows)
			for i := range values {
				ranks[i][k] = random.IntN(len(pool.values))
				values[i] = pool.values[ranks[i][k]]
			}
			sortBy = append(sortBy, fmt.Sprintf("k%d", k))
			fields = append(fields, arrow.Field{Name: sortBy[k], Type: pool.dt, Nullable: true})
			columns = append(columns, column(t, pool.dt, values))
		}
		ordinals := make([]string, rows)
		for i := range ordinals {
			ordinals[i] = fmt.Sprint(i)
		}
		fields = append(fields, arrow.Field{Name: "ordinal", Type: arrow.PrimitiveTypes.Int64})
		columns = append(columns, column(t, arrow.PrimitiveTypes.Int64, ordinals))
		schema := arrow.NewSchema(fields, nil)
		mustCreate(t, s, id, schema)
		in := driftline.BatchesOf(schema, array.NewRecordBatch(schema, columns, int64(rows)))
		snapshot, err := s.Append(t.Context(), id, in, offline.Order{Keys: sortBy[:1], Then: sortBy[1:]}, nil)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(ranks, func(a, b []int) int { return slices.Compare(a[:keys], b[:keys]) })
		var want strings.Builder
		for _, r := range ranks {
			fmt.Fprintf(&want, "\n%d", r[keys])
		}
		wantRows(t, s, snapshot, want.String(), "ordinal")
	}
}

func TestRowsWithoutAnOrderCannotBeSorted(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	schema := arrow.NewSchema([]arrow.Field{{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}}, nil)
	mustCreate(t, s, weather, schema)
	_, err := s.Stage(t.Context(), weather, rowsOf(t, schema, `[{"tags":["a"]}]`), offline.Order{Keys: []string{"tags"}})
	wantCode(t, err, driftline.Invalid, `table features.weather: rows cannot be sorted by column "tags"`)
	_, err = s.Stage(t.Context(), weather, rowsOf(t, schema, `[{"tags":["a"]}]`), offline.Order{Keys: []string{"tag"}})
	wantCode(t, err, driftline.Invalid, `rows cannot be sorted by "tag", which is no column`)
	wantFiles(t, dir, 0)
}

// peakAllocator notes the most bytes that were held at once.
type peakAllocator struct {
	memory.Allocator
	now, peak atomic.Int64
}

func (a *peakAllocator) Allocate(n int) []byte {
	a.note(n)
	return a.Allocator.Allocate(n)
}

func (a *peakAllocator) Reallocate(n int, b []byte) []byte {
	a.note(n - len(b))
	return a.Allocator.Reallocate(n, b)
}

func (a *peakAllocator) Free(b []byte) {
	a.now.Add(-int64(len(b)))
	a.Allocator.Free(b)
}

func (a *peakAllocator) note(n int) {
	a.peak.Store(max(a.peak.Load(), a.now.Add(int64(n))))
}

func TestManyRowsMakeSeveralFilesInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes three million rows")
	}
	mem := &peakAllocator{Allocator: memory.NewGoAllocator()}
	s, err := offline.Open(t.TempDir(), &offline.Options{Allocator: mem})
	if err != nil {
		t.Fatal(err)
	}
	const rows, perFile, most = 3_000_000, 1 << 20, 256 << 20
	in := readings(rows, 100_000)
	mustCreate(t, s, weather, in.Schema)
	snapshot, err := s.Append(t.Context(), weather, in, offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Files) != 3 || snapshot.Rows != rows {
		t.Fatalf("%d rows in %d files, want %d in 3", snapshot.Rows, len(snapshot.Files), rows)
	}
	if mem.peak.Load() > most {
		t.Errorf("held %d MiB, want at most %d", mem.peak.Load()>>20, most>>20)
	}
	wantSortedFiles(t, s, snapshot, perFile)
}

// wantSortedFiles checks that each run of perFile rows is sorted and that no row is missing.
func wantSortedFiles(t *testing.T, s *offline.Store, snapshot offline.Snapshot, perFile int64) {
	t.Helper()
	var last string
	var lastTime arrow.Timestamp
	var row, sum int64
	for batch, err := range s.Read(t.Context(), snapshot, []string{"airport", "event_timestamp", "__sequence"}).All {
		if err != nil {
			t.Fatal(err)
		}
		airports, times, sequences := batch.Column(0).(*array.String), batch.Column(1).(*array.Timestamp), batch.Column(2).(*array.Int64)
		for i := range int(batch.NumRows()) {
			airport, at := airports.Value(i), times.Value(i)
			if row%perFile != 0 && (airport < last || airport == last && at < lastTime) {
				t.Fatalf("row %d is not in order", row)
			}
			last, lastTime = strings.Clone(airport), at
			sum += sequences.Value(i)
			row++
		}
	}
	if row != snapshot.Rows || sum != row*(row-1)/2 {
		t.Errorf("read %d rows with sequence sum %d", row, sum)
	}
}

func TestWideRowsMakeSmallBatchesAndFiles(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	schema := arrow.NewSchema([]arrow.Field{{Name: "blob", Type: arrow.BinaryTypes.Binary}}, nil)
	mustCreate(t, s, weather, schema)
	const rows, width = 160, 1 << 20
	b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	for i := range rows {
		blob := make([]byte, width)
		blob[0] = byte(i)
		b.Append(blob)
	}
	batch := array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, rows)
	snapshot, err := s.Append(t.Context(), weather, driftline.BatchesOf(schema, batch), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Files) != 2 {
		t.Errorf("%d MiB are in %d files, want 2", rows, len(snapshot.Files))
	}
	row := 0
	for batch, err := range s.Read(t.Context(), snapshot, nil).All {
		if err != nil {
			t.Fatal(err)
		}
		if batch.NumRows() > 8 {
			t.Errorf("a batch holds %d MiB, want at most 8", batch.NumRows())
		}
		for i := range int(batch.NumRows()) {
			if got := batch.Column(0).(*array.Binary).Value(i)[0]; got != byte(row) {
				t.Fatalf("row %d holds %d", row, got)
			}
			row++
		}
	}
	if row != rows {
		t.Errorf("read %d rows", row)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			s, err := offline.Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			in := readings(rows, 64<<10)
			batches, _, err := in.Collect()
			if err != nil {
				b.Fatal(err)
			}
			defer driftline.ReleaseAll(batches)
			if err := s.CreateTable(b.Context(), weather, in.Schema); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Append(b.Context(), weather, driftline.BatchesOf(in.Schema, batches...), offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkStageOfAFlush is what the processor does while a server that logs predictions moves its log into a file:
// 25,000 rows of 50 features.
func BenchmarkStageOfAFlush(b *testing.B) {
	s, err := offline.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	fields := []arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String}}
	for i := range 50 {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("feature_", i), Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	random := rand.New(rand.NewPCG(5, 6))
	for range 25_000 {
		builder.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%032x", random.Uint64()))
		for i := range 50 {
			builder.Field(1 + i).(*array.Float64Builder).Append(random.NormFloat64())
		}
	}
	rows := builder.NewRecordBatch()
	defer rows.Release()
	table := offline.TableID{Namespace: "features", Name: "t"}
	if err := s.CreateTable(context.Background(), table, schema); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Stage(context.Background(), table, driftline.BatchesOf(schema, rows), offline.Order{Keys: []string{"id"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s, err := offline.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	in := readings(1_000_000, 64<<10)
	if err := s.CreateTable(b.Context(), weather, in.Schema); err != nil {
		b.Fatal(err)
	}
	snapshot, err := s.Append(b.Context(), weather, in, offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, err := range s.Read(context.Background(), snapshot, nil).All {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(1e6*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReadDataset reads what a dataset has: keys and times in no order, and features that are null
// in the same rows, a twentieth of all.
func BenchmarkReadDataset(b *testing.B) {
	const rows, features = 2_000_000, 10
	var files columns.Files
	defer files.Close()
	s, err := offline.Open(b.TempDir(), &offline.Options{Files: &files})
	if err != nil {
		b.Fatal(err)
	}
	in := labelled(rows, features)
	if err := s.CreateTable(b.Context(), weather, in.Schema); err != nil {
		b.Fatal(err)
	}
	snapshot, err := s.Append(b.Context(), weather, in, offline.Order{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(rows * (features + 2) * 8)
	for b.Loop() {
		for _, err := range s.Read(context.Background(), snapshot, nil).All {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// labelled are rows of random keys and times with features.
func labelled(rows, features int) driftline.Batches {
	fields := []arrow.Field{{Name: "airport", Type: arrow.PrimitiveTypes.Int64}, {Name: "event_timestamp", Type: driftline.Time}}
	for i := range features {
		fields = append(fields, nullable(fmt.Sprint("f", i), arrow.PrimitiveTypes.Float64))
	}
	schema := arrow.NewSchema(fields, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		random := rand.New(rand.NewPCG(8, 8))
		build := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer build.Release()
		for row := range rows {
			build.Field(0).(*array.Int64Builder).Append(random.Int64N(50_000))
			build.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(random.Int64N(1 << 50)))
			present := random.IntN(20) > 0
			for i := range features {
				build.Field(2+i).(*array.Float64Builder).AppendValues([]float64{random.Float64()}, []bool{present})
			}
			if (row+1)%(64<<10) == 0 || row == rows-1 {
				batch := build.NewRecordBatch()
				more := yield(batch, nil)
				batch.Release()
				if !more {
					return
				}
			}
		}
	}}
}

func BenchmarkCommit(b *testing.B) {
	s, err := offline.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.CreateTable(b.Context(), weather, weatherSchema); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Commit(b.Context(), weather, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
