package offline

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// Expired is what [Store.Expire] gave up.
type Expired struct {
	Snapshots []driftline.SnapshotID // oldest first
	Files     []File                 // data files that no snapshot has any more
}

// Expire gives up the snapshots for which keep is false, and removes the files that
// no other snapshot has. The current snapshot and those with a tag are kept in any
// case. A snapshot whose file list is damaged is shown to keep without files.
//
// The snapshots are gone durably before the first file is. After a crash in between
// the files are orphans, see [Store.Orphans]. Files that somebody holds are removed
// when they are released, see [Store.Hold]. Whoever comes later with a [Snapshot] that
// was given up gets NotFound.
func (s *Store) Expire(ctx context.Context, id TableID, keep func(Snapshot) bool) (Expired, error) {
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return Expired{}, err
	}
	kept, given, err := s.part(ctx, id, t, keep)
	if err != nil || len(given) == 0 {
		return Expired{}, err
	}
	garbage, err := s.onlyIn(ctx, id, given, kept)
	if err != nil {
		return Expired{}, err
	}
	expired := Expired{Files: garbage.files()}
	ids := make([]int64, len(given))
	for i, snapshot := range given {
		ids[i] = snapshot.SnapshotID
		expired.Snapshots = append(expired.Snapshots, driftline.SnapshotID(snapshot.SnapshotID))
	}
	if _, err := s.update(ctx, id, t, "expire snapshots of table "+id.String(), table.NewRemoveSnapshotsUpdate(ids, false)); err != nil {
		return Expired{}, err
	}
	return expired, s.remove(id, garbage)
}

// part tells the snapshots to keep from those to give up, both oldest first.
func (s *Store) part(ctx context.Context, id TableID, t *table.Table, keep func(Snapshot) bool) (kept, given []table.Snapshot, err error) {
	bound := map[int64]bool{} // by a tag or by being current
	for _, ref := range t.Metadata().Refs() {
		bound[ref.SnapshotID] = true
	}
	for _, from := range t.Metadata().Snapshots() {
		if bound[from.SnapshotID] {
			kept = append(kept, from)
			continue
		}
		snapshot, err := s.snapshot(ctx, id, t, &from)
		if driftline.CodeOf(err) == driftline.DataLoss {
			snapshot, err = s.header(id, t, &from)
		}
		if err != nil {
			return nil, nil, err
		}
		if keep(snapshot) {
			kept = append(kept, from)
		} else {
			given = append(given, from)
		}
	}
	return kept, given, nil
}

// reach is the files that some snapshots need, by path.
type reach struct {
	data     map[string]File
	metadata map[string]struct{} // manifest lists and manifests
}

func (r reach) files() []File {
	files := make([]File, 0, len(r.data))
	for _, path := range slices.Sorted(maps.Keys(r.data)) {
		files = append(files, r.data[path])
	}
	return files
}

// onlyIn returns what the given snapshots need and the kept ones do not. It stops if
// it cannot know what a kept one needs; of a given one that is damaged it returns
// what it can name.
func (s *Store) onlyIn(ctx context.Context, id TableID, given, kept []table.Snapshot) (reach, error) {
	needed, err := s.reachOf(ctx, id, kept)
	if err != nil {
		return reach{}, err
	}
	garbage := reach{data: map[string]File{}, metadata: map[string]struct{}{}}
	for _, snapshot := range given {
		has, err := s.reachOf(ctx, id, []table.Snapshot{snapshot})
		if err != nil && driftline.CodeOf(err) != driftline.DataLoss {
			return reach{}, err
		}
		maps.Copy(garbage.data, has.data)
		maps.Copy(garbage.metadata, has.metadata)
	}
	maps.DeleteFunc(garbage.data, func(path string, _ File) bool { _, ok := needed.data[path]; return ok })
	maps.DeleteFunc(garbage.metadata, func(path string, _ struct{}) bool { _, ok := needed.metadata[path]; return ok })
	return garbage, nil
}

// reachOf returns what the snapshots need, and as much of it as it found if they are damaged.
func (s *Store) reachOf(ctx context.Context, id TableID, snapshots []table.Snapshot) (r reach, err error) {
	defer recovered(&err, "reading a manifest")
	files := tableFiles{dir: s.warehouse.tableDir(id)}
	r = reach{data: map[string]File{}, metadata: map[string]struct{}{}}
	for _, snapshot := range snapshots {
		if err := ctx.Err(); err != nil {
			return r, interrupted(err)
		}
		list, err := files.local(snapshot.ManifestList)
		if err != nil {
			return r, s.damaged(id, err)
		}
		r.metadata[list] = struct{}{}
		manifests, err := snapshot.Manifests(files)
		if err != nil {
			return r, s.unlisted(ctx, id, &snapshot, err)
		}
		for _, m := range manifests {
			path, err := files.local(m.FilePath())
			if err != nil {
				return r, s.damaged(id, err)
			}
			if _, known := r.metadata[path]; known {
				continue
			}
			r.metadata[path] = struct{}{}
			entries, err := s.readManifest(id, files, m)
			if err != nil {
				return r, s.unlisted(ctx, id, &snapshot, err)
			}
			for _, e := range entries {
				r.data[e.file.Path] = e.file
			}
		}
	}
	return r, nil
}

// remove removes files that no snapshot needs: data before the manifests that name it.
func (s *Store) remove(id TableID, garbage reach) error {
	var failed error
	for path := range garbage.data {
		failed = errors.Join(failed, s.removeData(path))
	}
	s.forgetManifests(garbage.metadata)
	for path := range garbage.metadata {
		failed = errors.Join(failed, removeWithChecksums(path))
	}
	for _, folder := range []string{dataFolder, metadataFolder} {
		failed = errors.Join(failed, durable.SyncDir(filepath.Join(s.warehouse.tableDir(id), folder)))
	}
	if failed != nil {
		return failure("remove files of table "+id.String(), failed)
	}
	return nil
}

// removeData removes a data file, now or when the last who holds it releases it.
func (s *Store) removeData(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[path] > 0 {
		s.doomed[path] = struct{}{}
		return nil
	}
	s.forgetData(path)
	return removeFile(path)
}

// forgetData notes that a data file expired. The caller holds s.mu.
func (s *Store) forgetData(path string) {
	delete(s.verified, path)
	delete(s.quarantine, path)
	s.expired[path] = struct{}{}
}

func removeWithChecksums(path string) error {
	return errors.Join(removeFile(path), removeFile(checksumPath(path)))
}

// removeFile removes a file. It is no error if it is gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) forgetManifests(paths map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range paths {
		s.entries -= len(s.manifest[path])
		delete(s.manifest, path)
	}
}

// Hold keeps the files of a snapshot on disk until release is called, also when the
// snapshot expires meanwhile. It is for readers that open files by their path; what
// [Store.Read] yields is held without it. Files that are gone already stay gone: the
// reader that verifies them after Hold gets NotFound. release may be called again.
func (s *Store) Hold(snapshot Snapshot) (release func()) {
	paths := make([]string, len(snapshot.Files))
	for i, f := range snapshot.Files {
		paths[i] = s.pathOf(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range paths {
		s.held[path]++
	}
	return sync.OnceFunc(func() { s.release(paths) })
}

// release removes what was doomed while it was held. A file that cannot be removed
// now is an orphan.
func (s *Store) release(paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range paths {
		if s.held[path]--; s.held[path] > 0 {
			continue
		}
		delete(s.held, path)
		if _, doomed := s.doomed[path]; doomed {
			delete(s.doomed, path)
			s.forgetData(path)
			_ = removeFile(path)
		}
	}
}

// missing is the error for a data file that is not there.
func (s *Store) missing(f File, cause error) error {
	s.mu.Lock()
	_, expired := s.expired[s.pathOf(f)]
	s.mu.Unlock()
	if !expired {
		return lost(f, "is missing", cause)
	}
	return driftline.Errorf(driftline.NotFound, "file %s of table %s was removed: the snapshots that had it expired", f.Hash, f.Table).
		WithHint("read a newer snapshot, and tag those that must stay")
}
