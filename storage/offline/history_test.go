package offline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// openAt opens a store whose clock shows *now.
func openAt(t *testing.T, dir string, now *time.Time) *offline.Store {
	t.Helper()
	s, err := offline.Open(dir, &offline.Options{Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestATableIsReadAsOfATime(t *testing.T) {
	noon := time.Date(2013, 1, 1, 12, 0, 0, 0, time.UTC)
	now := noon
	s := openAt(t, t.TempDir(), &now)
	mustCreate(t, s, weather, weatherSchema)
	_, err := s.AsOf(t.Context(), weather, noon)
	wantCode(t, err, driftline.NotFound, "nothing was ever committed to it")
	first := append1(t, s, weather, "JFK", 1)
	now = noon.Add(time.Microsecond)
	second := append1(t, s, weather, "EWR", 2)
	now = noon // a clock that was set back
	third := append1(t, s, weather, "LGA", 3)
	for _, test := range []struct {
		at   time.Time
		want offline.Snapshot
	}{
		{noon, third},
		{noon.Add(time.Microsecond), third},
		{noon.Add(time.Hour), third},
	} {
		got, err := s.AsOf(t.Context(), weather, test.at)
		if err != nil {
			t.Fatal(err)
		}
		wantSameSnapshot(t, got, test.want)
	}
	_, err = s.AsOf(t.Context(), weather, noon.Add(-time.Microsecond))
	wantCode(t, err, driftline.NotFound, "its oldest is of 2013-01-01T12:00:00Z")
	if _, err := s.Expire(t.Context(), weather, func(s offline.Snapshot) bool { return s.ID == second.ID }); err != nil {
		t.Fatal(err)
	}
	got, err := s.AsOf(t.Context(), weather, noon.Add(time.Hour))
	if err != nil || got.ID != third.ID {
		t.Fatal(got.ID, err)
	}
	if _, err := s.At(t.Context(), weather, first.ID); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestTagsNameSnapshots(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	first := append1(t, s, weather, "JFK", 1)
	second := append1(t, s, weather, "EWR", 2)
	for range 2 { // the same again is fine
		if err := s.Tag(t.Context(), weather, "audit 2013", first.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range []*offline.Store{s, reopen(t, dir)} {
		tagged, err := store.ByTag(t.Context(), weather, "audit 2013")
		if err != nil {
			t.Fatal(err)
		}
		wantSameSnapshot(t, tagged, first)
		tags, err := store.Tags(t.Context(), weather)
		if err != nil || fmt.Sprint(tags) != fmt.Sprintf("map[audit 2013:%d]", first.ID) {
			t.Errorf("got %v, %v", tags, err)
		}
		current, _, err := store.Current(t.Context(), weather)
		if err != nil || current.ID != second.ID {
			t.Errorf("tagging an old snapshot made it current: %v, %v", current.ID, err)
		}
	}
	wantCode(t, s.Tag(t.Context(), weather, "audit 2013", second.ID), driftline.AlreadyExists, `tag "audit 2013" of table features.weather names snapshot`)
	wantCode(t, s.Tag(t.Context(), weather, "main", first.ID), driftline.Invalid, "means the newest snapshot")
	wantCode(t, s.Tag(t.Context(), weather, "../x", first.ID), driftline.Invalid, "tag name")
	wantCode(t, s.Tag(t.Context(), weather, "x", 1), driftline.NotFound, "no snapshot 1")
	_, err := s.ByTag(t.Context(), weather, "audit 2012")
	wantCode(t, err, driftline.NotFound, `did you mean "audit 2013"?`)
	for range 2 {
		if err := s.Untag(t.Context(), weather, "audit 2013"); err != nil {
			t.Fatal(err)
		}
	}
	if tags, err := s.Tags(t.Context(), weather); err != nil || len(tags) != 0 {
		t.Errorf("got %v, %v", tags, err)
	}
}

func reopen(t *testing.T, dir string) *offline.Store {
	t.Helper()
	s, _ := openStore(t, dir)
	return s
}

func TestARollbackIsANewSnapshotOfTheSameFiles(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	first := append1(t, s, weather, "JFK", 1)
	append1(t, s, weather, "EWR", 2)
	staged, err := s.Stage(t.Context(), weather, rowsOf(t, weatherSchema, `[{"airport":"LGA","event_timestamp":"2013-01-01T00:00:00Z","temp":3}]`), offline.Order{})
	if err != nil {
		t.Fatal(err)
	}
	bad, err := s.Replace(t.Context(), weather, staged, nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Rollback(t.Context(), weather, first.ID, map[string]string{"cause": "rollback"})
	if err != nil {
		t.Fatal(err)
	}
	if back.Parent != bad.ID || back.Sequence != bad.Sequence+1 || back.Summary["cause"] != "rollback" || fmt.Sprint(back.Files) != fmt.Sprint(first.Files) {
		t.Errorf("got %+v", back)
	}
	after := append1(t, s, weather, "BOS", 4)
	for _, store := range []*offline.Store{s, reopen(t, dir)} {
		wantRows(t, store, back, "\nJFK 2013-01-01T00:00:00Z 1")
		wantRows(t, store, bad, "\nLGA 2013-01-01T00:00:00Z 3")
		wantRows(t, store, after, "\nJFK 2013-01-01T00:00:00Z 1\nBOS 2013-01-01T00:00:00Z 4")
		all, err := store.Snapshots(t.Context(), weather)
		if err != nil || len(all) != 5 {
			t.Errorf("%d snapshots, %v; want 5", len(all), err)
		}
	}
	_, err = s.Rollback(t.Context(), weather, 1, nil)
	wantCode(t, err, driftline.NotFound, "no snapshot 1")
}

func TestATableWithoutRowsCanBeRolledBackTo(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	mustCreate(t, s, weather, weatherSchema)
	empty, err := s.Commit(t.Context(), weather, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	append1(t, s, weather, "JFK", 1)
	back, err := s.Rollback(t.Context(), weather, empty.ID, nil)
	if err != nil || back.Rows != 0 || len(back.Files) != 0 {
		t.Fatal(back, err)
	}
	wantRows(t, reopen(t, dir), append1(t, s, weather, "EWR", 2), "\nEWR 2013-01-01T00:00:00Z 2")
}

// copyTree copies a folder as it is now: what a crash at this moment would leave.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
