package offline_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// state is all that a store says of a table.
func state(t *testing.T, dir string) string {
	t.Helper()
	s := reopen(t, dir)
	snapshots, err := s.Snapshots(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := s.Tags(t.Context(), weather)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintln(tags)
	for _, snapshot := range snapshots {
		text += fmt.Sprintf("%d %s %v\n%s\n", snapshot.ID, snapshot.Schema, snapshot.Summary, textOf(t, s, snapshot))
	}
	return text
}

// newFiles are the files that after has and before has not or has otherwise, in the
// order in which they were written.
func newFiles(t *testing.T, before, after string) (names []string) {
	t.Helper()
	times := map[string]int64{}
	for _, name := range relativeFiles(t, after) {
		is, err := os.ReadFile(filepath.Join(after, name))
		if err != nil {
			t.Fatal(err)
		}
		was, err := os.ReadFile(filepath.Join(before, name))
		if err == nil && string(was) == string(is) {
			continue
		}
		info, err := os.Stat(filepath.Join(after, name))
		if err != nil {
			t.Fatal(err)
		}
		times[name] = info.ModTime().UnixNano()
		names = append(names, name)
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(times[a], times[b]) })
	return names
}

// A crash at any moment of any operation leaves the table as it was before or as it is
// after, and a table that lives on.
func TestACrashAtAnyStepIsBeforeOrAfter(t *testing.T) {
	order := byAirport
	for _, op := range []struct {
		name string
		do   func(t *testing.T, s *offline.Store, first, current offline.Snapshot)
	}{
		{"append", func(t *testing.T, s *offline.Store, _, _ offline.Snapshot) { append1(t, s, weather, "BOS", 9) }},
		{"tag", func(t *testing.T, s *offline.Store, first, _ offline.Snapshot) {
			if err := s.Tag(t.Context(), weather, "t", first.ID); err != nil {
				t.Fatal(err)
			}
		}},
		{"evolve", func(t *testing.T, s *offline.Store, _, _ offline.Snapshot) {
			evolve(t, s, offline.AddColumn(nullable("gust", arrow.PrimitiveTypes.Float64)), offline.RenameColumn("temp", "temperature"))
		}},
		{"roll back", func(t *testing.T, s *offline.Store, first, _ offline.Snapshot) {
			if _, err := s.Rollback(t.Context(), weather, first.ID, nil); err != nil {
				t.Fatal(err)
			}
		}},
		{"compact", func(t *testing.T, s *offline.Store, _, _ offline.Snapshot) { compact(t, s, order) }},
		{"erase", func(t *testing.T, s *offline.Store, _, current offline.Snapshot) {
			files, _, err := s.Erase(t.Context(), current.Files[0], order, []string{"airport"}, is("JFK"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.ReplaceFiles(t.Context(), weather, current.Files[:1], files, nil); err != nil {
				t.Fatal(err)
			}
		}},
		{"expire", func(t *testing.T, s *offline.Store, _, _ offline.Snapshot) { expire(t, s, none) }},
	} {
		t.Run(op.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := openStore(t, dir)
			mustCreate(t, s, weather, weatherSchema)
			first := append1(t, s, weather, "JFK", 1)
			current := append1(t, s, weather, "EWR", 2)
			before := copyTree(t, dir)
			op.do(t, s, first, current)
			was, is := state(t, before), state(t, dir)
			steps := newFiles(t, before, dir)
			if len(steps) < 3 { // metadata, its checksums, the hint
				t.Fatalf("wrote %v", steps)
			}
			happened := false
			for n := range len(steps) + 1 {
				crashed := copyTree(t, before)
				for _, name := range steps[:n] {
					content, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(crashed, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				got := state(t, crashed)
				switch {
				case got == is && (got != was || n == len(steps)):
					happened = true
				case got != was || happened:
					t.Errorf("after %v:\n%s", steps[:n], got)
				}
				again := reopen(t, crashed)
				if _, err := again.Commit(t.Context(), weather, nil, nil); err != nil {
					t.Errorf("after %v no more commit: %v", steps[:n], err)
				}
			}
			if !happened {
				t.Errorf("it never happened: %v", steps)
			}
		})
	}
}

// Compaction and expiry go on under readers and writers, and no row is ever seen twice
// or not at all.
func TestCompactionRunsBesideReadersAndWriters(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	mustCreate(t, s, weather, weatherSchema)
	append1(t, s, weather, "JFK", 0)
	ctx, stop := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() {
		for ctx.Err() == nil {
			current, _, err := s.Current(t.Context(), weather)
			if err != nil {
				t.Error(err)
				return
			}
			release := s.Hold(current)
			text, err := readText(s, current, []string{"temp"})
			release()
			if driftline.CodeOf(err) == driftline.NotFound {
				continue // it expired between Current and Hold
			}
			lines := strings.Split(text, "\n")
			slices.Sort(lines)
			if err != nil || int64(len(lines)) != current.Rows || len(slices.Compact(lines)) != len(lines) {
				t.Errorf("%d rows: %v, %v", current.Rows, lines, err)
			}
		}
	})
	background.Go(func() {
		for ctx.Err() == nil {
			current, _, err := s.Current(t.Context(), weather)
			if err != nil {
				t.Error(err)
				return
			}
			files, err := s.Compact(t.Context(), weather, current.Files, byAirport, nil)
			if err == nil {
				_, err = s.ReplaceFiles(t.Context(), weather, current.Files, files, nil)
			}
			if err == nil {
				_, err = s.Expire(t.Context(), weather, none)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	const writes = 25
	for n := 1; n < writes; n++ {
		append1(t, s, weather, "JFK", n)
	}
	stop()
	background.Wait()
	current, _, err := s.Current(t.Context(), weather)
	if err != nil || current.Rows != writes {
		t.Errorf("%d rows, %v; want %d", current.Rows, err, writes)
	}
}
