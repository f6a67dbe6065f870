package offline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

// listedFile is a data file as a manifest has it.
type listedFile struct {
	file     File
	sequence int64 // of the commit that added it
	snapshot int64 // likewise
	data     iceberg.DataFile
}

// list makes the file list of a snapshot, in order of commit, and compares it
// with the totals in the snapshot's summary, which stand in another file.
func (s *Store) list(ctx context.Context, id TableID, from *table.Snapshot) ([]File, error) {
	entries, err := s.entriesOf(ctx, id, from)
	if err != nil {
		return nil, s.unlisted(ctx, id, from, err)
	}
	files := make([]File, len(entries))
	var rows int64
	for i, e := range entries {
		files[i] = e.file
		rows += e.file.Rows
	}
	if total(from, "total-data-files") != int64(len(files)) || total(from, "total-records") != rows {
		return nil, s.damaged(id, fmt.Errorf("snapshot %d: manifests do not match the summary", from.SnapshotID))
	}
	return files, nil
}

// errExpired is in the error of one who looked at a snapshot while it expired.
var errExpired = errors.New("the snapshot expired")

// unlisted is the error of a snapshot whose files cannot be listed.
func (s *Store) unlisted(ctx context.Context, id TableID, from *table.Snapshot, cause error) error {
	if !errors.Is(cause, fs.ErrNotExist) {
		return s.damaged(id, cause)
	}
	now, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if now.SnapshotByID(from.SnapshotID) != nil {
		return s.damaged(id, cause)
	}
	e := unknownSnapshot(id, driftline.SnapshotID(from.SnapshotID))
	e.Err = errExpired
	return e
}

// untilSteady repeats what looks at the newest snapshots if one of them expired
// meanwhile: then there are newer ones.
func untilSteady[T any](look func() (T, error)) (T, error) {
	for {
		if found, err := look(); !errors.Is(err, errExpired) {
			return found, err
		}
	}
}

// total reads a number of a snapshot's summary; -1 if it has none of that name.
func total(from *table.Snapshot, key string) int64 {
	if from.Summary == nil {
		return -1
	}
	n, err := strconv.ParseInt(from.Summary.Properties[key], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (s *Store) entriesOf(ctx context.Context, id TableID, from *table.Snapshot) (_ []listedFile, err error) {
	defer recovered(&err, "reading a manifest")
	files := tableFiles{dir: s.warehouse.tableDir(id)}
	manifests, err := from.Manifests(files)
	if err != nil {
		return nil, err
	}
	var entries []listedFile
	for _, m := range manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found, err := s.readManifest(id, files, m)
		if err != nil {
			return nil, err
		}
		entries = append(entries, found...)
	}
	slices.SortStableFunc(entries, func(a, b listedFile) int { return cmp.Compare(a.sequence, b.sequence) })
	return entries, nil
}

// entriesCached bounds the memory of the manifest cache, about 1 KiB an entry.
// Snapshots share manifests, so that with it the list of a snapshot costs one
// small file instead of all.
const entriesCached = 64 << 10

func (s *Store) readManifest(id TableID, files tableFiles, m iceberg.ManifestFile) ([]listedFile, error) {
	key, err := files.local(m.FilePath())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	cached, ok := s.manifest[key]
	s.mu.Unlock()
	if ok {
		return cached, nil
	}
	if m.ManifestContent() != iceberg.ManifestContentData {
		return nil, fmt.Errorf("manifest %s has delete files, which this store neither writes nor reads", filepath.Base(key))
	}
	listed := []listedFile{}
	for e, err := range m.Entries(files, true) {
		if err != nil {
			return nil, err
		}
		f, err := s.listEntry(id, e)
		if err != nil {
			return nil, err
		}
		listed = append(listed, f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries += len(listed); s.entries > entriesCached {
		clear(s.manifest)
		s.entries = len(listed)
	}
	s.manifest[key] = listed
	return listed, nil
}

func (s *Store) listEntry(id TableID, e iceberg.ManifestEntry) (listedFile, error) {
	data := e.DataFile()
	hash, ok := strings.CutSuffix(filepath.Base(data.FilePath()), fileSuffix)
	if !ok || data.FileFormat() != iceberg.ParquetFile {
		return listedFile{}, fmt.Errorf("file %s is not one of ours", filepath.Base(data.FilePath()))
	}
	f := File{Table: id, Hash: hash, Rows: data.Count(), Bytes: data.FileSizeBytes()}
	f.Path = s.pathOf(f)
	return listedFile{file: f, sequence: e.SequenceNum(), snapshot: e.SnapshotID(), data: data}, nil
}
