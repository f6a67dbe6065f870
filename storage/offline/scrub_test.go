package offline_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

func TestTheRestOfATableServesWhenAFileIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	snapshot := append1(t, s, weather, "EWR", 2)
	if err := os.Rename(snapshot.Files[0].Path, filepath.Join(dir, "lost")); err != nil {
		t.Fatal(err)
	}
	again := reopen(t, dir)
	current, ok, err := again.Current(t.Context(), weather)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = readText(again, current, nil)
	wantCode(t, err, driftline.DataLoss, "file "+snapshot.Files[0].Hash+" of table features.weather is missing")
	files, damaged, err := again.Healthy(t.Context(), current)
	if err != nil || len(files) != 1 || files[0] != snapshot.Files[1] || len(damaged) != 1 || damaged[0] != snapshot.Files[0] {
		t.Errorf("healthy %v, damaged %v, %v", files, damaged, err)
	}
	if got := again.Damaged(t.Context()); len(got) != 1 || got[0] != snapshot.Files[0] {
		t.Errorf("quarantine has %v", got)
	}
	wantRows(t, again, current.Without(damaged), "\nEWR 2013-01-01T00:00:00Z 2")
	wantRows(t, again, append1(t, again, weather, "LGA", 3).Without(damaged), "\nEWR 2013-01-01T00:00:00Z 2\nLGA 2013-01-01T00:00:00Z 3")

	// Restored from a backup, it is out of quarantine and served.
	if err := os.Rename(filepath.Join(dir, "lost"), snapshot.Files[0].Path); err != nil {
		t.Fatal(err)
	}
	if checked, damaged, err := again.Scrub(t.Context(), weather, 0); checked != 3 || len(damaged) != 0 || err != nil {
		t.Errorf("checked %d, damaged %v, %v", checked, damaged, err)
	}
	if got := again.Damaged(t.Context()); len(got) != 0 {
		t.Errorf("quarantine has %v", got)
	}
	wantRows(t, again, current, "\nJFK 2013-01-01T00:00:00Z 1\nEWR 2013-01-01T00:00:00Z 2")
}

func TestTheScrubberFindsDamageInFilesThatWereGood(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	old := append1(t, s, weather, "JFK", 1)
	replace1(t, s, "EWR", 2)
	undo := flip(t, old.Files[0].Path, rand.New(rand.NewPCG(1, 1)))
	if err := s.Verify(t.Context(), old.Files[0]); err != nil {
		t.Errorf("it was read when it was good: %v", err)
	}
	checked, damaged, err := s.Scrub(t.Context(), weather, 0)
	if err != nil || checked != 2 || len(damaged) != 1 || damaged[0] != old.Files[0] {
		t.Errorf("checked %d, damaged %v, %v", checked, damaged, err)
	}
	wantCode(t, s.Verify(t.Context(), old.Files[0]), driftline.DataLoss, "is damaged")
	undo()
	if err := s.Verify(t.Context(), old.Files[0]); err != nil {
		t.Error(err)
	}
	if got := s.Damaged(t.Context()); len(got) != 0 {
		t.Errorf("quarantine has %v", got)
	}
}

// The first read is free; one byte a second puts the next far off, and only the end
// of the context ends the wait.
func TestASlowScrubEndsWithItsContext(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := s.Scrub(ctx, weather, 1)
	if driftline.CodeOf(err) != driftline.Deadline || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if checked, _, err := s.Scrub(t.Context(), weather, 1<<30); checked != 1 || err != nil {
		t.Errorf("checked %d, %v", checked, err)
	}
}

func TestADamagedTableStopsNoOther(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	plane := offline.TableID{Namespace: "features", Name: "plane"}
	mustCreate(t, s, weather, weatherSchema)
	mustCreate(t, s, plane, weatherSchema)
	append1(t, s, weather, "JFK", 1)
	good := append1(t, s, plane, "N1", 2)
	for _, path := range allFiles(t, filepath.Join(dir, "features", "weather", "metadata")) {
		if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := reopen(t, dir)
	tables, err := again.Tables(t.Context())
	if err != nil || len(tables) != 2 {
		t.Errorf("tables %v, %v", tables, err)
	}
	wantRows(t, again, good, "\nN1 2013-01-01T00:00:00Z 2")
	append1(t, again, plane, "N2", 3)
	_, _, err = again.Current(t.Context(), weather)
	wantCode(t, err, driftline.DataLoss, "the metadata of table features.weather is damaged")
	_, _, err = again.Scrub(t.Context(), weather, 0)
	wantCode(t, err, driftline.DataLoss, "features.weather")
	_, err = again.Orphans(t.Context(), weather, 0)
	wantCode(t, err, driftline.DataLoss, "features.weather")
}
