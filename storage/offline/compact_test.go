package offline_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// compact merges all files of the current snapshot.
func compact(t *testing.T, s *offline.Store, order offline.Order) offline.Snapshot {
	t.Helper()
	current, _, err := s.Current(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Compact(t.Context(), weather, current.Files, order, nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := s.ReplaceFiles(t.Context(), weather, current.Files, files, map[string]string{"cause": "compaction"})
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

var keyPools = []struct {
	dt     arrow.DataType
	values []string // in order
}{
	{arrow.PrimitiveTypes.Int64, []string{null, "-9223372036854775808", "-1", "0", "9223372036854775807"}},
	{arrow.PrimitiveTypes.Int32, []string{null, "-2147483648", "-5", "2147483647"}},
	{arrow.PrimitiveTypes.Uint64, []string{null, "0", "18446744073709551615"}},
	{driftline.Time, []string{"1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2013-01-01T00:00:00Z"}},
	{arrow.BinaryTypes.String, []string{null, "", "\x00", "\x00\x00", "\x00\x01", "a", "a\x00", "a\x00\x00", "a\x01", "aa", "b"}},
	{arrow.BinaryTypes.Binary, []string{null, "", "AA==", "AAA=", "AAE=", "/w==", "/wA=", "//8="}},
	{arrow.PrimitiveTypes.Float64, []string{null, "-Inf", "-1.5", "-1", "0", "1", "+Inf", "NaN"}},
	{arrow.PrimitiveTypes.Float32, []string{null, "-2", "0.5", "NaN"}},
	{arrow.FixedWidthTypes.Boolean, []string{null, "false", "true"}},
	{arrow.FixedWidthTypes.Date32, []string{"1969-12-31", "2013-01-01"}},
	{&arrow.Decimal128Type{Precision: 38, Scale: 2}, []string{null, "-99999999999999999999.25", "-0.01", "0.00", "99999999999999999999.25"}},
	{&arrow.FixedSizeBinaryType{ByteWidth: 2}, []string{null, "AAA=", "AAE=", "//8="}},
}

// Merging must agree with sorting all rows at once: same order, no row more or less,
// equal rows in the order of their files. Up to 40 files need rounds.
func TestMergingFilesIsSortingTheirRows(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	random := rand.New(rand.NewPCG(9, 9))
	for n := range 12 {
		id := offline.TableID{Namespace: "features", Name: fmt.Sprintf("t%d", n)}
		keys, files := 1+random.IntN(4), 1+random.IntN(40)
		fields := []arrow.Field{{Name: "ordinal", Type: arrow.PrimitiveTypes.Int64}, nullable("tags", arrow.ListOf(arrow.BinaryTypes.String)), nullable("text", arrow.BinaryTypes.String)}
		var order offline.Order
		pools := random.Perm(len(keyPools))[:keys]
		for k, pool := range pools {
			name := fmt.Sprintf("k%d", k)
			fields = append(fields, nullable(name, keyPools[pool].dt))
			order.Keys = append(order.Keys, name)
		}
		schema := arrow.NewSchema(fields, nil)
		mustCreate(t, s, id, schema)
		type row struct {
			ranks   []int
			ordinal int
		}
		var want []row
		var staged []offline.File
		for range files {
			rows := 1 + random.IntN(30)
			cells := make([][]string, len(fields))
			var file []row
			for range rows {
				r := row{ordinal: len(want) + len(file)}
				cells[0] = append(cells[0], fmt.Sprint(r.ordinal))
				cells[1] = append(cells[1], fmt.Sprintf(`["%d"]`, r.ordinal))
				cells[2] = append(cells[2], []string{null, "", "x", "much longer"}[r.ordinal%4])
				for k, pool := range pools {
					rank := random.IntN(len(keyPools[pool].values))
					r.ranks = append(r.ranks, rank)
					cells[3+k] = append(cells[3+k], keyPools[pool].values[rank])
				}
				file = append(file, r)
			}
			want = append(want, file...)
			columns := make([]arrow.Array, len(fields))
			for i, f := range fields {
				if f.Name == "tags" {
					columns[i] = listColumn(t, cells[i])
					continue
				}
				columns[i] = column(t, f.Type, cells[i])
			}
			made, err := s.Stage(t.Context(), id, driftline.BatchesOf(schema, array.NewRecordBatch(schema, columns, int64(rows))), order)
			if err != nil {
				t.Fatal(err)
			}
			staged = append(staged, made...)
		}
		if _, err := s.Commit(t.Context(), id, staged, nil); err != nil {
			t.Fatal(err)
		}
		merged, err := s.Compact(t.Context(), id, staged, order, nil)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := s.ReplaceFiles(t.Context(), id, staged, merged, nil)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(want, func(a, b row) int { return slices.Compare(a.ranks, b.ranks) })
		var text strings.Builder
		for _, r := range want {
			fmt.Fprintf(&text, "\n%d [\"%d\"] %s", r.ordinal, r.ordinal, []string{"(null)", "", "x", "much longer"}[r.ordinal%4])
		}
		wantRows(t, s, snapshot, text.String(), "ordinal", "tags", "text")
	}
}

func listColumn(t *testing.T, cells []string) arrow.Array {
	t.Helper()
	a, _, err := array.FromJSON(memory.DefaultAllocator, arrow.ListOf(arrow.BinaryTypes.String), strings.NewReader("["+strings.Join(cells, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var byAirport = offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}

// part stages and commits some of the readings as one file.
func part(t *testing.T, s *offline.Store, rows driftline.Batches) offline.Snapshot {
	t.Helper()
	snapshot, err := s.Append(t.Context(), weather, rows, byAirport, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func TestCompactedFilesAreSortedAsAWholeAndLeaveHistoryAlone(t *testing.T) {
	dir := t.TempDir()
	s, mem := openStore(t, dir)
	rows := readings(40_000, 10_000)
	mustCreate(t, s, weather, rows.Schema)
	for range 5 {
		part(t, s, rows)
	}
	before := part(t, s, rows)
	after := compact(t, s, byAirport)
	if after.Rows != before.Rows || len(after.Files) != 1 || len(before.Files) != 6 {
		t.Fatalf("%d rows in %d files, before %d in %d", after.Rows, len(after.Files), before.Rows, len(before.Files))
	}
	if after.Summary["cause"] != "compaction" || after.Parent != before.ID {
		t.Errorf("got %+v", after)
	}
	d := diff(t, s, before, after)
	if got := said(d); got != "+0 -0 rows, +1 -6 files, " {
		t.Errorf("got %s", got)
	}
	lines := strings.Split(textOf(t, s, after, "airport", "event_timestamp", "temp", "__sequence"), "\n")
	if !slices.IsSortedFunc(lines, func(a, b string) int {
		return strings.Compare(a[:len("airport-0000 2013-01-01T00:00:00Z")], b[:len("airport-0000 2013-01-01T00:00:00Z")])
	}) {
		t.Error("rows are not in order")
	}
	old := strings.Split(textOf(t, s, before, "airport", "event_timestamp", "temp", "__sequence"), "\n")
	slices.Sort(lines)
	slices.Sort(old)
	if !slices.Equal(lines, old) {
		t.Error("rows are not the same")
	}
	mem.AssertSize(t, 0)
	expire(t, s, none)
	wantFiles(t, dir, 1)
}

func TestReplacingFilesThatAreGoneIsAConflict(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	old := append1(t, s, weather, "EWR", 2)
	merged, err := s.Compact(t.Context(), weather, old.Files, byAirport, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := append1(t, s, weather, "LGA", 3) // a writer is no conflict
	if _, err := s.ReplaceFiles(t.Context(), weather, old.Files, merged, nil); err != nil {
		t.Fatal(err)
	}
	again, err := s.Compact(t.Context(), weather, old.Files, byAirport, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.ReplaceFiles(t.Context(), weather, old.Files, again, nil)
	wantCode(t, err, driftline.Conflict, "file "+old.Files[0].Hash+" is no longer in table features.weather")
	_, err = s.ReplaceFiles(t.Context(), weather, []offline.File{now.Files[2], now.Files[2]}, again, nil)
	wantCode(t, err, driftline.Invalid, "is to be replaced twice")
	if err := s.Discard(again); err != nil {
		t.Fatal(err)
	}
	current, _, err := s.Current(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, s, current, "\nLGA 2013-01-01T00:00:00Z 3\nEWR 2013-01-01T00:00:00Z 2\nJFK 2013-01-01T00:00:00Z 1")
	empty, err := s.ReplaceFiles(t.Context(), weather, current.Files, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, reopen(t, dir), empty, "\n")
	more, err := s.ReplaceFiles(t.Context(), weather, nil, nil, map[string]string{"cause": "nothing"})
	if err != nil || more.Summary["cause"] != "nothing" {
		t.Error(more, err)
	}
}

func TestCompactionWritesThePresentColumns(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	narrow := arrow.NewSchema([]arrow.Field{nullable("k", arrow.PrimitiveTypes.Int32), nullable("gone", arrow.BinaryTypes.String)}, nil)
	mustCreate(t, s, weather, narrow)
	appendRows(t, s, narrow, `[{"k":-3,"gone":"x"},{"k":9,"gone":"y"}]`)
	evolve(t, s, offline.WidenColumn("k", arrow.PrimitiveTypes.Int64), offline.RenameColumn("k", "key"), offline.DropColumn("gone"), offline.AddColumn(nullable("new", arrow.PrimitiveTypes.Float64)))
	wide := arrow.NewSchema([]arrow.Field{nullable("key", arrow.PrimitiveTypes.Int64), nullable("new", arrow.PrimitiveTypes.Float64)}, nil)
	appendRows(t, s, wide, `[{"key":-4294967296,"new":1},{"key":5,"new":2}]`)
	after := compact(t, s, offline.Order{Keys: []string{"key"}})
	wantRows(t, s, after, "\n-4294967296 1\n-3 (null)\n5 2\n9 (null)")
	if content := dataOf(t, after); bytes.Contains(content, []byte("gone")) {
		t.Error("the dropped column is still in the file")
	}
}

func TestACompactionThatIsStoppedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, mem := openStore(t, dir)
	rows := readings(30_000, 10_000)
	mustCreate(t, s, weather, rows.Schema)
	part(t, s, rows)
	snapshot := part(t, s, rows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Compact(ctx, weather, snapshot.Files, byAirport, nil)
	wantCode(t, err, driftline.Deadline, "stopped")
	_, err = s.Compact(t.Context(), weather, snapshot.Files, offline.Order{}, nil)
	wantCode(t, err, driftline.Invalid, "without an order")
	_, err = s.Compact(t.Context(), weather, snapshot.Files, offline.Order{Keys: []string{"airprot"}}, nil)
	wantCode(t, err, driftline.NotFound, `did you mean "airport"?`)
	undo := flip(t, snapshot.Files[1].Path, rand.New(rand.NewPCG(1, 2)))
	again := reopen(t, dir)
	_, err = again.Compact(t.Context(), weather, snapshot.Files, byAirport, nil)
	wantCode(t, err, driftline.DataLoss, "is damaged")
	undo()
	wantFiles(t, dir, 2)
	mem.AssertSize(t, 0)
}

func TestTheCompactionPlan(t *testing.T) {
	const small, full = 1000, 1 << 20
	type f struct {
		low, high string
		rows      int64
	}
	for _, test := range []struct {
		name  string
		files []f
		want  string // groups of low-high, by name of file
	}{
		{"nothing", nil, "[]"},
		{"one file", []f{{"a", "z", small}}, "[]"},
		{"too few runs", []f{{"a", "z", small}, {"a", "z", small}, {"a", "z", small}}, "[]"},
		{"small runs that overlap", []f{{"a", "m", small}, {"b", "z", small}, {"a", "z", small}, {"c", "z", small}}, "[[0 2 1 3]]"},
		{"a large run is left until the small ones weigh as much", []f{{"a", "z", full}, {"a", "z", small}, {"a", "z", small}, {"a", "z", small}, {"a", "z", small}}, "[[1 2 3 4]]"},
		{"runs of one size", []f{{"a", "z", full}, {"a", "z", full}, {"a", "z", full}, {"a", "z", full}}, "[[0 1 2 3]]"},
		{"full files that overlap with nothing stay", []f{{"x", "z", full}, {"a", "m", full}, {"a", "m", full}, {"a", "m", full}, {"a", "m", full}}, "[[2 3 4 1]]"},
		{"one sorted run of full files", []f{{"a", "c", full}, {"c", "d", full}, {"d", "f", full}, {"g", "z", full}}, "[]"},
		{"small neighbours", []f{{"a", "b", small}, {"c", "d", small}, {"e", "f", small}, {"g", "h", small}, {"i", "k", full}, {"l", "m", small}}, "[[0 1 2 3]]"},
		{"few small neighbours", []f{{"a", "b", small}, {"c", "d", small}, {"e", "f", full}, {"g", "h", small}, {"i", "k", small}}, "[]"},
	} {
		var files []offline.FileRange
		for i, f := range test.files {
			files = append(files, offline.FileRange{File: offline.File{Hash: fmt.Sprint(i), Rows: f.rows}, Low: []any{f.low}, High: []any{f.high}})
		}
		got := [][]string{}
		for _, group := range offline.CompactionPlan(files) {
			var hashes []string
			for _, f := range group {
				hashes = append(hashes, f.Hash)
			}
			got = append(got, hashes)
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: got %v, want %s", test.name, got, test.want)
		}
	}
}

// A table that is compacted whenever the plan says so comes to rest, with few files to
// look into, and no row was rewritten often.
func TestAPlanComesToRest(t *testing.T) {
	const flushes, rows = 400, 1000
	var files []offline.FileRange
	rewritten, most := int64(0), 0
	for n := range flushes {
		files = append(files, offline.FileRange{File: offline.File{Hash: fmt.Sprint("f", n), Rows: rows}, Low: []any{"a"}, High: []any{"z"}})
		for round := 0; ; round++ {
			groups := offline.CompactionPlan(files)
			if len(groups) == 0 {
				break
			}
			if round > 20 {
				t.Fatal("the plan never ends")
			}
			merged := offline.FileRange{File: offline.File{Hash: fmt.Sprint("m", n, ".", round)}, Low: []any{"a"}, High: []any{"z"}}
			for _, f := range groups[0] {
				merged.Rows += f.Rows
				files = slices.DeleteFunc(files, func(r offline.FileRange) bool { return r.Hash == f.Hash })
			}
			rewritten += merged.Rows
			files = append(files, merged)
		}
		most = max(most, len(files))
	}
	if most > 16 || rewritten > 10*flushes*rows {
		t.Errorf("%d files at most, each row rewritten %.1f times", most, float64(rewritten)/(flushes*rows))
	}
}

func TestRangesComeFromTheManifests(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	long := strings.Repeat("one beginning that is longer than what Iceberg keeps ", 2)
	appendRows(t, s, weatherSchema, fmt.Sprintf(`[{"airport":"%[1]sa","event_timestamp":"2013-01-01T00:00:00Z","temp":null},{"airport":"%[1]sb","event_timestamp":"2013-01-01T00:00:00Z","temp":1}]`, long))
	snapshot := append1(t, s, weather, long+"c", 1)
	ranges, err := s.Ranges(t.Context(), snapshot, offline.Order{Keys: []string{"airport", "temp"}})
	if err != nil || len(ranges) != 2 {
		t.Fatal(ranges, err)
	}
	if got := fmt.Sprint(ranges[0].Low, ranges[0].High, ranges[1].Low, ranges[1].Unknown); got != fmt.Sprintf("[%[1]sa <nil>] [%[1]sb 1] [%[1]sc 1] false", long) {
		t.Errorf("got %s", got)
	}
}

// However long the files are, a batch of each is in memory and what Stage holds.
func TestCompactionHoldsABatchOfEachFile(t *testing.T) {
	if testing.Short() {
		t.Skip("writes eight million rows")
	}
	mem := &peakAllocator{Allocator: memory.NewGoAllocator()}
	s, err := offline.Open(t.TempDir(), &offline.Options{Allocator: mem})
	if err != nil {
		t.Fatal(err)
	}
	rows := readings(200_000, 20_000)
	mustCreate(t, s, weather, rows.Schema)
	var snapshot offline.Snapshot
	for range 20 { // more than are merged at a time
		snapshot = part(t, s, rows)
	}
	mem.peak.Store(0)
	files, err := s.Compact(t.Context(), weather, snapshot.Files, byAirport, nil)
	if err != nil {
		t.Fatal(err)
	}
	var merged int64
	for _, f := range files {
		merged += f.Rows
	}
	if merged != snapshot.Rows || len(files) != 4 {
		t.Errorf("%d rows in %d files, want %d in 4", merged, len(files), snapshot.Rows)
	}
	wantFiles(t, filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(files[0].Path)))), 24) // none of the rounds between
	const most = 200 << 20                                                                  // all rows are 190 MiB, which Stage would hold once more in part
	if mem.peak.Load() > most {
		t.Errorf("held %d MiB, want at most %d", mem.peak.Load()>>20, most>>20)
	}
}
