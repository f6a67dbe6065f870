package offline_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"

	"github.com/driftline/driftline/storage/offline"
)

// dataOf is the content of a snapshot's files.
func dataOf(t *testing.T, snapshot offline.Snapshot) (content []byte) {
	t.Helper()
	for _, f := range snapshot.Files {
		bytes, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, bytes...)
	}
	return content
}

// filesInManifests are the data files that any manifest in dir has, removed ones too.
func filesInManifests(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, path := range metadataFiles(t, dir) {
		if name := filepath.Base(path); !strings.HasPrefix(name, "snap-") || !strings.HasSuffix(name, ".avro") {
			continue
		}
		list, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		manifests, err := iceberg.ReadManifestList(list)
		if err := errors.Join(err, list.Close()); err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			for e, err := range m.Entries(icebergio.LocalFS{}, false) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, filepath.Base(e.DataFile().FilePath()))
			}
		}
	}
	return names
}

func is(airport string) func(arrow.RecordBatch) ([]bool, error) {
	return func(batch arrow.RecordBatch) ([]bool, error) {
		airports := batch.Column(0).(*array.String)
		gone := make([]bool, airports.Len())
		for i := range gone {
			gone[i] = airports.Value(i) == airport
		}
		return gone, nil
	}
}

func TestErasedRowsAreNowhereOnDisk(t *testing.T) {
	dir := t.TempDir()
	s, mem := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	appendRows(t, s, weatherSchema, `[
		{"airport":"JFK","event_timestamp":"2013-01-01T00:00:00Z","temp":1},
		{"airport":"SECRET-NAME","event_timestamp":"2013-01-01T00:00:00Z","temp":2},
		{"airport":"SECRET-NAME","event_timestamp":"2013-01-02T00:00:00Z","temp":3},
		{"airport":"EWR","event_timestamp":"2013-01-01T00:00:00Z","temp":4},
		{"airport":"SECRET-NAME","event_timestamp":"2013-01-03T00:00:00Z","temp":5}]`)
	append1(t, s, weather, "SECRET-NAME", 6)
	before := append1(t, s, weather, "LGA", 7)
	var removed, added []offline.File
	var rows int64
	for i, f := range before.Files {
		files, n, err := s.Erase(t.Context(), f, byAirport, []string{"airport"}, is("SECRET-NAME"))
		if err != nil {
			t.Fatal(err)
		}
		if want := []int64{3, 1, 0}[i]; n != want || len(files) != []int{1, 0, 0}[i] {
			t.Errorf("file %d: %d rows in %v", i, n, files)
		}
		if rows += n; n > 0 {
			removed, added = append(removed, f), append(added, files...)
		}
	}
	after, err := s.ReplaceFiles(t.Context(), weather, removed, added, map[string]string{"cause": "erasure"})
	if err != nil {
		t.Fatal(err)
	}
	if got := said(diff(t, s, before, after)); got != "+2 -6 rows, +1 -2 files, " {
		t.Errorf("got %s", got)
	}
	expire(t, s, none)
	wantRows(t, reopen(t, dir), after, "\nLGA 2013-01-01T00:00:00Z 7\nEWR 2013-01-01T00:00:00Z 4\nJFK 2013-01-01T00:00:00Z 1")
	if names := filesInManifests(t, dir); len(names) != len(after.Files) {
		t.Errorf("manifests name %v, and with them the bounds of what was erased", names)
	}
	for _, path := range allFiles(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("SECRET")) {
			t.Errorf("%s still has the name", filepath.Base(path))
		}
	}
	mem.AssertSize(t, 0)
}

func TestAnErasureThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, mem := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	snapshot := append1(t, s, weather, "JFK", 1)
	broken, calls := errors.New("no match today"), 0
	_, _, err := s.Erase(t.Context(), snapshot.Files[0], byAirport, []string{"airport"}, func(batch arrow.RecordBatch) ([]bool, error) {
		if calls++; calls == 2 { // while the rest is being written
			return nil, broken
		}
		return []bool{true}, nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	wantFiles(t, dir, 1)
	mem.AssertSize(t, 0)
}
