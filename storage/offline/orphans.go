package offline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline/storage/durable"
)

// clockGrain is more than the times of files are coarser than the clock.
const clockGrain = time.Second

// Orphans removes the files of a table that no snapshot needs and that have not been
// touched for grace: those that a crash left between Stage and Commit, or in the
// middle of [Store.Expire]. It returns their names, sorted. Files that were written
// since the store was opened are left alone, whatever their age, because somebody may
// be about to commit them; so are files that are none of ours.
func (s *Store) Orphans(ctx context.Context, id TableID, grace time.Duration) ([]string, error) {
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	needed, err := s.needed(ctx, id, t)
	if err != nil {
		return nil, err
	}
	before := s.now().Add(-grace)
	if started := s.opened.Add(-clockGrain); started.Before(before) {
		before = started
	}
	var removed []string
	for _, folder := range []string{dataFolder, metadataFolder} {
		names, err := s.sweep(ctx, filepath.Join(s.warehouse.tableDir(id), folder), needed, before)
		removed = append(removed, names...)
		if err != nil {
			return removed, failure("remove orphans of table "+id.String(), err)
		}
	}
	slices.Sort(removed)
	return removed, nil
}

// needed is the paths of all files that the present metadata refers to.
func (s *Store) needed(ctx context.Context, id TableID, t *table.Table) (map[string]bool, error) {
	has, err := s.reachOf(ctx, id, t.Metadata().Snapshots())
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for path := range has.data {
		needed[path] = true
	}
	for path := range has.metadata {
		needed[path] = true
	}
	files := tableFiles{dir: s.warehouse.tableDir(id)}
	for earlier := range t.Metadata().PreviousFiles() {
		if path, err := files.local(earlier.MetadataFile); err == nil {
			needed[path] = true
		}
	}
	path, err := files.local(t.MetadataLocation())
	needed[path] = true
	return needed, err
}

// sweep removes our files in a folder that are not needed and older than before.
func (s *Store) sweep(ctx context.Context, folder string, needed map[string]bool, before time.Time) (removed []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		path := filepath.Join(folder, e.Name())
		if !isOurs(e.Name()) || needed[path] || needed[checksummed(path)] || s.isHeld(path) {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) || err == nil && !info.ModTime().Before(before) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if err := os.Remove(path); err != nil {
			return removed, err
		}
		removed = append(removed, e.Name())
	}
	return removed, durable.SyncDir(folder)
}

// isOurs reports whether a file is of a kind that the store writes: data, a manifest
// or list of manifests, metadata, or the checksums of one of these.
func isOurs(name string) bool {
	name = filepath.Base(checksummed(name))
	if _, ok := versionOf(name); ok {
		return true
	}
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, fileSuffix) || strings.HasSuffix(name, ".avro"))
}

// checksummed returns the path of the file whose checksums are at path, and path
// itself if it is no such file.
func checksummed(path string) string {
	name, ok := strings.CutSuffix(filepath.Base(path), ".crc")
	if !ok || !strings.HasPrefix(name, ".") {
		return path
	}
	return filepath.Join(filepath.Dir(path), name[1:])
}

func (s *Store) isHeld(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[path] > 0
}
