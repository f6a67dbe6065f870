package offline_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

func none(offline.Snapshot) bool { return false }

// replace1 makes one row all that a table has.
func replace1(t *testing.T, s *offline.Store, airport string, temp int) offline.Snapshot {
	t.Helper()
	rows := fmt.Sprintf(`[{"airport":%q,"event_timestamp":"2013-01-01T00:00:00Z","temp":%d}]`, airport, temp)
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, weatherSchema, rows), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := s.Replace(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func expire(t *testing.T, s *offline.Store, keep func(offline.Snapshot) bool) offline.Expired {
	t.Helper()
	expired, err := s.Expire(t.Context(), weather, keep)
	if err != nil {
		t.Fatal(err)
	}
	return expired
}

func TestExpiredSnapshotsAreGoneWithTheirFiles(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	appended := append1(t, s, weather, "JFK", 1)
	tagged := append1(t, s, weather, "EWR", 2)
	if err := s.Tag(t.Context(), weather, "kept", tagged.ID); err != nil {
		t.Fatal(err)
	}
	given := replace1(t, s, "LGA", 3)
	pinned := replace1(t, s, "BOS", 4)
	current := replace1(t, s, "SFO", 5)

	expired := expire(t, s, func(s offline.Snapshot) bool { return s.ID == pinned.ID })
	if got := fmt.Sprint(expired.Snapshots, expired.Files); got != fmt.Sprint([]driftline.SnapshotID{appended.ID, given.ID}, given.Files) {
		t.Errorf("expired %s", got)
	}
	wantFiles(t, dir, 4) // of tagged two, of pinned and current one each
	for _, store := range []*offline.Store{s, reopen(t, dir)} {
		wantRows(t, store, current, "\nSFO 2013-01-01T00:00:00Z 5")
		wantRows(t, store, pinned, "\nBOS 2013-01-01T00:00:00Z 4")
		wantRows(t, store, tagged, "\nJFK 2013-01-01T00:00:00Z 1\nEWR 2013-01-01T00:00:00Z 2")
		all, err := store.Snapshots(t.Context(), weather)
		if err != nil || len(all) != 3 {
			t.Errorf("%d snapshots, %v; want 3", len(all), err)
		}
		_, err = store.At(t.Context(), weather, given.ID)
		wantCode(t, err, driftline.NotFound, "older ones expire")
	}
	_, err := readText(s, given, nil)
	wantCode(t, err, driftline.NotFound, "the snapshots that had it expired")

	// Nothing is left that no snapshot needs, and what a table needs next is there.
	if removed, err := s.Orphans(t.Context(), weather, 0); err != nil || len(removed) != 0 {
		t.Errorf("orphans %v, %v", removed, err)
	}
	if again := expire(t, s, func(offline.Snapshot) bool { return true }); len(again.Snapshots)+len(again.Files) != 0 {
		t.Errorf("expired %v again", again)
	}
	if err := s.Untag(t.Context(), weather, "kept"); err != nil {
		t.Fatal(err)
	}
	expire(t, s, none)
	wantFiles(t, dir, 1)
	wantRows(t, reopen(t, dir), append1(t, s, weather, "JFK", 6), "\nSFO 2013-01-01T00:00:00Z 5\nJFK 2013-01-01T00:00:00Z 6")
}

func TestHeldFilesOutliveTheirSnapshot(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	old := append1(t, s, weather, "JFK", 1)
	replace1(t, s, "EWR", 2)
	first, second := s.Hold(old), s.Hold(old)
	expire(t, s, none)
	wantRows(t, s, old, "\nJFK 2013-01-01T00:00:00Z 1")
	first()
	first() // twice is once
	wantRows(t, s, old, "\nJFK 2013-01-01T00:00:00Z 1")
	wantFiles(t, dir, 2)
	second()
	wantFiles(t, dir, 1)
	_, err := readText(s, old, nil)
	wantCode(t, err, driftline.NotFound, "expired")
	s.Hold(old)() // too late, and harmless
}

func TestAReadThatHasBegunIsNotDisturbed(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	old := append1(t, s, weather, "EWR", 2)
	replace1(t, s, "LGA", 3)
	rows := 0
	for batch, err := range s.Read(t.Context(), old, nil).All {
		if err != nil {
			t.Fatal(err)
		}
		if rows += int(batch.NumRows()); rows == 1 {
			expire(t, s, none) // between the first file and the second
		}
	}
	if rows != 2 {
		t.Errorf("%d rows, want 2", rows)
	}
	wantFiles(t, dir, 1)
}

// Readers, writers and the one who expires do not see each other.
func TestExpiryRunsBesideReadersAndWriters(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 0)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				current, _, err := s.Current(t.Context(), weather)
				if err != nil {
					t.Error(err)
					return
				}
				// The files may be gone between Current and Read: then the error says so.
				text, err := readText(s, current, nil)
				if err != nil && driftline.CodeOf(err) != driftline.NotFound {
					t.Error(err)
				}
				if err == nil && int64(strings.Count(text, "\n")+1) != current.Rows {
					t.Errorf("read %q, want %d rows", text, current.Rows)
				}
			}
		})
	}
	for n := range 15 {
		append1(t, s, weather, "JFK", n)
		replace1(t, s, "EWR", n)
		expire(t, s, none)
	}
	stop()
	readers.Wait()
}

// union copies the files of both folders; those of b win.
func union(t *testing.T, a, b string) string {
	t.Helper()
	to := copyTree(t, a)
	for _, path := range allFiles(t, b) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(b, path)
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// age makes all files look as if nobody had touched them for long.
func age(t *testing.T, dir string) {
	t.Helper()
	long := time.Now().Add(-48 * time.Hour)
	for _, path := range allFiles(t, dir) {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
}

func relativeFiles(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, path := range allFiles(t, dir) {
		name, _ := filepath.Rel(dir, path)
		names = append(names, name)
	}
	return names
}

// Whatever part of its files a crash keeps Expire from removing: the table reads the
// same, and the rest is collected later.
func TestACrashInTheMiddleOfExpiryLeavesOnlyOrphans(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	replace1(t, s, "EWR", 2)
	current := append1(t, s, weather, "LGA", 3)
	before := copyTree(t, dir)
	expire(t, s, none)
	after := copyTree(t, dir)
	want := relativeFiles(t, after)

	crashed := union(t, before, after) // committed, and nothing removed yet
	lost := map[string]bool{}
	for _, name := range relativeFiles(t, crashed) {
		lost[name] = true
	}
	for _, name := range want {
		delete(lost, name)
	}
	if len(lost) < 5 {
		t.Fatalf("Expire removed %v only", slices.Collect(maps.Keys(lost)))
	}
	for name := range lost { // and one file less each time
		age(t, crashed)
		again := reopen(t, crashed)
		wantRows(t, again, current, "\nEWR 2013-01-01T00:00:00Z 2\nLGA 2013-01-01T00:00:00Z 3")
		if err := os.Remove(filepath.Join(crashed, name)); err != nil {
			t.Fatal(err)
		}
		delete(lost, name)
		if len(lost) == 3 {
			break
		}
	}
	age(t, crashed)
	again := reopen(t, crashed)
	removed, err := again.Orphans(t.Context(), weather, 24*time.Hour)
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %v, %v; want 3 files", removed, err)
	}
	if got := relativeFiles(t, crashed); !slices.Equal(got, want) {
		t.Errorf("left\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantRows(t, again, current, "\nEWR 2013-01-01T00:00:00Z 2\nLGA 2013-01-01T00:00:00Z 3")

	// A crash before the metadata is renamed: nothing has happened.
	for _, path := range metadataFiles(t, after) {
		if name := filepath.Base(path); strings.HasPrefix(name, ".v") {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(before, "features", "weather", "metadata", name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if said, err := tell(t, before); err != nil || len(said) != 3 {
		t.Errorf("%d snapshots, %v; want 3", len(said), err)
	}
}

func TestOrphansAreOldAndNobodyElses(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	current := append1(t, s, weather, "JFK", 1)
	row := rowsOf(t, weatherSchema, `[{"airport":"EWR","event_timestamp":"2013-01-01T00:00:00Z","temp":2}]`)
	if _, err := s.Stage(t.Context(), weather, row, offline.Order{}); err != nil { // by a process that then died
		t.Fatal(err)
	}
	table := filepath.Join(dir, "features", "weather")
	for _, name := range []string{"data/notes.txt", "metadata/notes.txt", "metadata/snap-1-0-x.avro", "metadata/.gone.avro.crc", "data/x.parquet"} {
		if err := os.WriteFile(filepath.Join(table, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age(t, dir)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(table, "data", "x.parquet"), old, old); err != nil {
		t.Fatal(err)
	}
	again := reopen(t, dir)
	staged, err := again.Stage(t.Context(), weather, row, offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	removed, err := again.Orphans(t.Context(), weather, 24*time.Hour)
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %v, %v; want the staged file, the manifest list and the checksums", removed, err)
	}
	if removed, err := again.Orphans(t.Context(), weather, 0); err != nil || fmt.Sprint(removed) != "[x.parquet]" {
		t.Errorf("removed %v, %v; want the younger file and not the one staged just now", removed, err)
	}
	for _, name := range []string{"data/notes.txt", "metadata/notes.txt"} {
		if _, err := os.Stat(filepath.Join(table, name)); err != nil {
			t.Error(err)
		}
	}
	wantRows(t, again, current, "\nJFK 2013-01-01T00:00:00Z 1")
	after, err := again.Commit(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, again, after, "\nJFK 2013-01-01T00:00:00Z 1\nEWR 2013-01-01T00:00:00Z 2")
}

// A damaged snapshot can be given up; one that is kept must be whole.
func TestExpiryGetsRidOfADamagedSnapshot(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	first := metadataFiles(t, dir)
	current := replace1(t, s, "EWR", 2)
	for _, path := range first {
		if strings.HasPrefix(filepath.Base(path), "snap-") {
			if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := reopen(t, dir)
	_, err := again.Expire(t.Context(), weather, func(offline.Snapshot) bool { return true })
	if err != nil {
		t.Errorf("nothing to expire: %v", err)
	}
	if expired := expire(t, again, none); len(expired.Snapshots) != 1 {
		t.Errorf("expired %v", expired)
	}
	wantRows(t, again, current, "\nEWR 2013-01-01T00:00:00Z 2")
	age(t, dir)
	if removed, err := reopen(t, dir).Orphans(t.Context(), weather, time.Hour); err != nil || len(removed) == 0 {
		t.Errorf("removed %v, %v; want what the damaged list had named", removed, err)
	}
	wantFiles(t, dir, 1)
}

func TestHeldFilesAreNoOrphans(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	old := append1(t, s, weather, "JFK", 1)
	replace1(t, s, "EWR", 2)
	age(t, dir)
	again := reopen(t, dir)
	release := again.Hold(old)
	expire(t, again, none)
	if removed, err := again.Orphans(t.Context(), weather, 0); err != nil || slices.Contains(removed, old.Files[0].Hash+".parquet") {
		t.Errorf("removed %v, %v", removed, err)
	}
	wantRows(t, again, old, "\nJFK 2013-01-01T00:00:00Z 1")
	release()
	wantFiles(t, dir, 1)
}
