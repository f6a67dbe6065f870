package offline_test

import (
	"context"
	"strings"
	"testing"

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
	]`), []string{"airport", "event_timestamp"}, map[string]string{"log-sequence": "7"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Append(t.Context(), weather, rowsOf(t, weatherSchema, `[
		{"airport":"LGA","event_timestamp":"2013-01-02T00:00:00Z","temp":5}
	]`), nil, nil)
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
