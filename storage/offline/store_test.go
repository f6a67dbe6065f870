package offline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var weather = offline.TableID{Namespace: "features", Name: "weather"}

// openStore opens a store in dir, and fails the test if it leaks memory.
func openStore(t *testing.T, dir string) (*offline.Store, *memory.CheckedAllocator) {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	s, err := offline.Open(dir, &offline.Options{Allocator: mem})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mem.AssertSize(t, 0)
	})
	return s, mem
}

// rowsOf makes a batch from JSON: an array of objects.
func rowsOf(t *testing.T, schema *arrow.Schema, json string) driftline.Batches {
	t.Helper()
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(json))
	if err != nil {
		t.Fatal(err)
	}
	return driftline.BatchesOf(schema, batch)
}

// textOf is the rows of a snapshot, one line each.
func textOf(t *testing.T, s *offline.Store, snapshot offline.Snapshot, columns ...string) string {
	t.Helper()
	text, err := readText(s, snapshot, columns)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func wantRows(t *testing.T, s *offline.Store, snapshot offline.Snapshot, want string, columns ...string) {
	t.Helper()
	if got := textOf(t, s, snapshot, columns...); got != strings.TrimPrefix(want, "\n") {
		t.Fatalf("snapshot %d has\n%s\nwant%s", snapshot.Sequence, got, want)
	}
}

func readText(s *offline.Store, snapshot offline.Snapshot, columns []string) (string, error) {
	var lines []string
	for batch, err := range s.Read(context.Background(), snapshot, columns).All {
		if err != nil {
			return "", err
		}
		for row := range int(batch.NumRows()) {
			var values []string
			for _, column := range batch.Columns() {
				values = append(values, column.ValueStr(row))
			}
			lines = append(lines, strings.Join(values, " "))
		}
	}
	return strings.Join(lines, "\n"), nil
}

var weatherSchema = arrow.NewSchema([]arrow.Field{
	{Name: "airport", Type: arrow.BinaryTypes.String},
	{Name: "event_timestamp", Type: driftline.Time},
	{Name: "temp", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
}, nil)

func mustCreate(t *testing.T, s *offline.Store, id offline.TableID, schema *arrow.Schema) {
	t.Helper()
	if err := s.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
}

func TestRowsComeBackSortedFromTheSnapshotThatHasThem(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	if _, ok, err := s.Current(t.Context(), weather); ok || err != nil {
		t.Fatalf("a new table has a snapshot: %v, %v", ok, err)
	}
	first, err := s.Append(t.Context(), weather, rowsOf(t, weatherSchema, `[
		{"airport":"JFK","event_timestamp":"2013-01-01T02:00:00Z","temp":2},
		{"airport":"EWR","event_timestamp":"2013-01-01T03:00:00Z","temp":null},
		{"airport":"JFK","event_timestamp":"2013-01-01T01:00:00Z","temp":1}
	]`), offline.Order{Keys: []string{"airport"}, Then: []string{"event_timestamp"}}, map[string]string{"log-sequence": "7"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Append(t.Context(), weather, rowsOf(t, weatherSchema, `[
		{"airport":"LGA","event_timestamp":"2013-01-02T00:00:00Z","temp":5}
	]`), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, s, first, `
EWR 2013-01-01T03:00:00Z (null)
JFK 2013-01-01T01:00:00Z 1
JFK 2013-01-01T02:00:00Z 2`)
	wantRows(t, s, second, `
EWR 2013-01-01T03:00:00Z (null)
JFK 2013-01-01T01:00:00Z 1
JFK 2013-01-01T02:00:00Z 2
LGA 2013-01-02T00:00:00Z 5`)
}

func append1(t *testing.T, s *offline.Store, id offline.TableID, airport string, temp int) offline.Snapshot {
	t.Helper()
	rows := fmt.Sprintf(`[{"airport":%q,"event_timestamp":"2013-01-01T00:00:00Z","temp":%d}]`, airport, temp)
	snapshot, err := s.Append(t.Context(), id, rowsOf(t, weatherSchema, rows), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func TestSnapshotsNeverChange(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	first := append1(t, s, weather, "JFK", 1)
	second := append1(t, s, weather, "EWR", 2)
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, weatherSchema, `[{"airport":"LGA","event_timestamp":"2013-01-01T00:00:00Z","temp":3}]`), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	third, err := s.Replace(t.Context(), weather, staged, map[string]string{"version": "2"})
	if err != nil {
		t.Fatal(err)
	}
	wide := arrow.NewSchema(append(weatherSchema.Fields(), arrow.Field{Name: "wind", Type: arrow.PrimitiveTypes.Int32, Nullable: true}), nil)
	if err := s.Extend(t.Context(), weather, wide); err != nil {
		t.Fatal(err)
	}
	fourth, err := s.Append(t.Context(), weather, rowsOf(t, wide, `[{"airport":"LGA","event_timestamp":"2013-01-02T00:00:00Z","temp":4,"wind":9}]`), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}

	reopened, _ := openStore(t, dir)
	for _, store := range []*offline.Store{s, reopened} {
		for _, test := range []struct {
			snapshot offline.Snapshot
			want     string
		}{
			{first, "\nJFK 2013-01-01T00:00:00Z 1"},
			{second, "\nJFK 2013-01-01T00:00:00Z 1\nEWR 2013-01-01T00:00:00Z 2"},
			{third, "\nLGA 2013-01-01T00:00:00Z 3"},
			{fourth, "\nLGA 2013-01-01T00:00:00Z 3 (null)\nLGA 2013-01-02T00:00:00Z 4 9"},
		} {
			wantRows(t, store, test.snapshot, test.want)
			found, err := store.At(t.Context(), weather, test.snapshot.ID)
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, store, found, test.want)
			wantSameSnapshot(t, found, test.snapshot)
		}
		wantRows(t, store, fourth, "\n(null) LGA\n9 LGA", "wind", "airport")
	}
}

func wantSameSnapshot(t *testing.T, got, want offline.Snapshot) {
	t.Helper()
	if !got.Schema.Equal(want.Schema) {
		t.Errorf("schema %s, want %s", got.Schema, want.Schema)
	}
	text := func(s offline.Snapshot) string {
		return fmt.Sprint(s.ID, s.Table, s.Parent, s.Sequence, s.Time, s.Rows, s.Files, s.Summary)
	}
	if text(got) != text(want) {
		t.Errorf("got %s\nwant %s", text(got), text(want))
	}
}

func TestHistoryIsListedOldestFirst(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2013, 1, 1, 0, 0, 0, 1000, time.UTC)
	s, err := offline.Open(dir, &offline.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, weather, weatherSchema)
	var want []offline.Snapshot
	const commits = 105 // of 100 on, Iceberg merges manifests
	for i := range commits {
		now = now.Add(time.Microsecond)
		snapshot, err := s.Append(t.Context(), weather, rowsOf(t, weatherSchema, `[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":1}]`),
			offline.Order{}, map[string]string{"log-sequence": fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, snapshot)
	}
	reopened, _ := openStore(t, dir)
	got, err := reopened.Snapshots(t.Context(), weather)
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d snapshots, %v; want %d", len(got), err, len(want))
	}
	for i := range got {
		wantSameSnapshot(t, got[i], want[i])
		if got[i].Sequence != int64(i+1) || i > 0 && got[i].Parent != got[i-1].ID {
			t.Errorf("snapshot %d has sequence %d and parent %d", i, got[i].Sequence, got[i].Parent)
		}
	}
	current, ok, err := reopened.Current(t.Context(), weather)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	wantSameSnapshot(t, current, want[len(want)-1])
	if got := current.Summary["log-sequence"]; got != "104" || current.Rows != commits || !current.Time.Equal(now) {
		t.Errorf("summary has %q, %d rows at %v", got, current.Rows, current.Time)
	}
}

func TestACrashBetweenStageAndCommitChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	before := append1(t, s, weather, "JFK", 1)
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, weatherSchema, `[{"airport":"EWR","event_timestamp":"2013-01-01T00:00:00Z","temp":2}]`), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	// What a writer that was killed leaves: half a data file, half a commit.
	table := filepath.Join(dir, "features", "weather")
	for _, name := range []string{"data/.1.tmp", "metadata/.v3.metadata.json.1.tmp", "metadata/.v3.metadata.json.crc"} {
		if err := os.WriteFile(filepath.Join(table, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reopened, _ := openStore(t, dir)
	current, _, err := reopened.Current(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	wantSameSnapshot(t, current, before)
	wantRows(t, reopened, current, "\nJFK 2013-01-01T00:00:00Z 1")
	wantFiles(t, dir, 2)

	// The staged files are as good as ever: commit them now, or discard them.
	after, err := reopened.Commit(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, reopened, after, "\nJFK 2013-01-01T00:00:00Z 1\nEWR 2013-01-01T00:00:00Z 2")
}

func TestDiscardRemovesWhatWasStaged(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	rows := rowsOf(t, weatherSchema, `[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":1}]`)
	kept, err := s.Append(t.Context(), weather, rows, offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	staged, err := s.Stage(t.Context(), weather, rows, offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // discarding twice is fine
		if err := s.Discard(staged); err != nil {
			t.Fatal(err)
		}
	}
	wantRows(t, s, kept, "\nJFK 2013-01-01T00:00:00Z 1") // equal rows, another file
	_, err = s.Commit(t.Context(), weather, staged, nil)
	wantCode(t, err, driftline.DataLoss, "is missing")
}

func wantCode(t *testing.T, err error, code driftline.Code, text string) {
	t.Helper()
	if driftline.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, driftline.CodeOf(err), code, text)
	}
}

func TestAFileIsCommittedOnce(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	mustCreate(t, s, offline.TableID{Namespace: "features", Name: "plane"}, weatherSchema)
	snapshot := append1(t, s, weather, "JFK", 1)
	_, err := s.Commit(t.Context(), weather, snapshot.Files, nil)
	wantCode(t, err, driftline.Conflict, "is in table features.weather already")
	_, err = s.Replace(t.Context(), weather, snapshot.Files, nil)
	wantCode(t, err, driftline.Conflict, "is in table features.weather already")
	_, err = s.Commit(t.Context(), offline.TableID{Namespace: "features", Name: "plane"}, snapshot.Files, nil)
	wantCode(t, err, driftline.Invalid, "cannot be committed to table features.plane")
}

func TestConcurrentCommitsAreAllThere(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	plane := offline.TableID{Namespace: "features", Name: "plane"}
	mustCreate(t, s, weather, weatherSchema)
	mustCreate(t, s, plane, weatherSchema)
	const writers, commits = 4, 5
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for c := range commits {
				append1(t, s, []offline.TableID{weather, plane}[w%2], "JFK", w*commits+c)
			}
		})
	}
	group.Wait()
	reopened, _ := openStore(t, dir)
	seen := map[string]bool{}
	for _, id := range []offline.TableID{weather, plane} {
		current, _, err := reopened.Current(t.Context(), id)
		if err != nil || current.Rows != writers*commits/2 || current.Sequence != writers*commits/2 {
			t.Fatalf("%s has %d rows in commit %d, %v", id, current.Rows, current.Sequence, err)
		}
		for line := range strings.Lines(textOf(t, reopened, current, "temp")) {
			seen[strings.TrimSpace(line)] = true
		}
	}
	if len(seen) != writers*commits {
		t.Errorf("%d different values are there, want %d", len(seen), writers*commits)
	}
}

func TestTablesAreToldApart(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	if tables, err := s.Tables(t.Context()); err != nil || len(tables) != 0 {
		t.Fatalf("a new store has %v, %v", tables, err)
	}
	saved := offline.TableID{Namespace: "datasets", Name: "weather"}
	mustCreate(t, s, weather, weatherSchema)
	mustCreate(t, s, saved, weatherSchema)
	mustCreate(t, s, weather, weatherSchema) // again is fine
	one := append1(t, s, weather, "JFK", 1)
	two := append1(t, s, saved, "EWR", 2)
	wantRows(t, s, one, "\nJFK 2013-01-01T00:00:00Z 1")
	wantRows(t, s, two, "\nEWR 2013-01-01T00:00:00Z 2")
	if tables, err := s.Tables(t.Context()); err != nil || fmt.Sprint(tables) != "[datasets.weather features.weather]" {
		t.Errorf("got %v, %v", tables, err)
	}
	other := arrow.NewSchema([]arrow.Field{{Name: "airport", Type: arrow.BinaryTypes.String}}, nil)
	wantCode(t, s.CreateTable(t.Context(), weather, other), driftline.AlreadyExists, "table features.weather exists with another schema")
	wantCode(t, s.CreateTable(t.Context(), offline.TableID{Namespace: "..", Name: "x"}, other), driftline.Invalid, `namespace name ".."`)
	_, err := s.Append(t.Context(), offline.TableID{Namespace: "features", Name: "wether"}, rowsOf(t, weatherSchema, `[]`), offline.Order{}, nil)
	wantCode(t, err, driftline.NotFound, `did you mean "features.weather"?`)
	_, err = s.At(t.Context(), weather, 1)
	wantCode(t, err, driftline.NotFound, "table features.weather has no snapshot 1")
	_, err = readText(s, one, []string{"tmp"})
	wantCode(t, err, driftline.NotFound, `did you mean "temp"?`)
}

func TestATableOnlyGrows(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	field := func(name string, dt arrow.DataType, nullable bool) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: name, Type: dt, Nullable: nullable}}, nil)
	}
	err := s.Extend(t.Context(), weather, field("wind", arrow.PrimitiveTypes.Int32, false))
	wantCode(t, err, driftline.FailedPrecondition, `column "wind" cannot be added`)
	err = s.Extend(t.Context(), weather, field("temp", arrow.BinaryTypes.String, true))
	wantCode(t, err, driftline.FailedPrecondition, `column "temp" is float64 and cannot become utf8`)
	if err := s.Extend(t.Context(), weather, weatherSchema); err != nil {
		t.Error(err)
	}
	if err := s.Extend(t.Context(), weather, field("tags", arrow.ListOf(arrow.BinaryTypes.String), true)); err != nil {
		t.Error(err)
	}
	// Rows of the old schema are still taken: the flusher may hold some.
	snapshot := append1(t, s, weather, "JFK", 1)
	wantRows(t, s, snapshot, "\nJFK 2013-01-01T00:00:00Z 1 (null)")
}

func TestNoRowsMakeNoFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	for _, rows := range []driftline.Batches{driftline.BatchesOf(weatherSchema), rowsOf(t, weatherSchema, `[]`)} {
		snapshot, err := s.Append(t.Context(), weather, rows, offline.Order{Keys: []string{"airport"}}, map[string]string{"empty": "yes"})
		if err != nil || snapshot.Rows != 0 || snapshot.Summary["empty"] != "yes" {
			t.Fatalf("got %+v, %v", snapshot, err)
		}
		wantRows(t, s, snapshot, "\n")
	}
	wantFiles(t, dir, 0)
}

func TestFilesAreTheirOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "offline")
	history(t, dir)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAMovedFolderIsStillReadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "before")
	want := history(t, dir)
	moved := filepath.Join(t.TempDir(), "after")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	got, err := tell(t, moved)
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got %v, %v", got, err)
	}
	s, _ := openStore(t, moved)
	if snapshot := append1(t, s, weather, "JFK", 9); snapshot.Rows != 5 {
		t.Errorf("%d rows, want 5", snapshot.Rows)
	}
}

func TestAnEndedContextStopsTheWork(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	snapshot := append1(t, s, weather, "JFK", 1)
	reopened, _ := openStore(t, dir)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reopened.Append(ended, weather, rowsOf(t, weatherSchema, `[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":1}]`), offline.Order{}, nil)
	wantCode(t, err, driftline.Deadline, "stopped")
	wantCode(t, reopened.Verify(ended, snapshot.Files[0]), driftline.Deadline, "stopped")
	wantFiles(t, dir, 1)
}

func TestAStreamThatBreaksLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	broken := errors.New("the client went away")
	good := rowsOf(t, weatherSchema, `[{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":1}]`)
	rows := driftline.Batches{Schema: weatherSchema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch := range good.All {
			if !yield(batch, nil) {
				return
			}
		}
		yield(nil, broken)
	}}
	if _, err := s.Append(t.Context(), weather, rows, offline.Order{}, nil); !errors.Is(err, broken) {
		t.Errorf("got %v, want the stream's error", err)
	}
	wantFiles(t, dir, 0)
	if _, ok, err := s.Current(t.Context(), weather); ok || err != nil {
		t.Errorf("something was committed: %v", err)
	}
}

func TestADroppedTableIsGoneAsAWhole(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	plane := offline.TableID{Namespace: "features", Name: "plane"}
	mustCreate(t, s, weather, weatherSchema)
	mustCreate(t, s, plane, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	append1(t, s, plane, "N1", 1)
	for range 2 { // dropping what is not there is fine
		if err := s.Drop(t.Context(), weather); err != nil {
			t.Fatal(err)
		}
	}
	// A crash in the middle of dropping the other.
	if err := os.Rename(filepath.Join(dir, "features", "plane"), filepath.Join(dir, "features", ".dropped-plane")); err != nil {
		t.Fatal(err)
	}
	reopened, _ := openStore(t, dir)
	if tables, err := reopened.Tables(t.Context()); err != nil || len(tables) != 0 {
		t.Errorf("got %v, %v; want no tables", tables, err)
	}
	if left := allFiles(t, dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	other := arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.BinaryTypes.String}}, nil)
	mustCreate(t, s, weather, other)
	snapshot, err := s.Append(t.Context(), weather, rowsOf(t, other, `[{"k":"new"}]`), offline.Order{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, s, snapshot, "\nnew")
}
