package offline

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// entries reads the manifests of a snapshot: an entry for each of its data files.
func (s *Store) entries(ctx context.Context, id TableID, from *table.Snapshot) (_ []iceberg.ManifestEntry, err error) {
	defer recovered(&err, "reading a manifest")
	files := tableFiles{dir: s.warehouse.tableDir(id)}
	manifests, err := from.Manifests(files)
	if err != nil {
		return nil, err
	}
	var entries []iceberg.ManifestEntry
	for _, m := range manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m.ManifestContent() != iceberg.ManifestContentData {
			return nil, fmt.Errorf("snapshot %d has delete files, which this store neither writes nor reads", from.SnapshotID)
		}
		found, err := m.FetchEntries(files, true)
		if err != nil {
			return nil, err
		}
		entries = append(entries, found...)
	}
	slices.SortStableFunc(entries, func(a, b iceberg.ManifestEntry) int { return cmp.Compare(a.SequenceNum(), b.SequenceNum()) })
	return entries, nil
}

// list makes the file list of a snapshot and compares it with the totals in the
// snapshot's summary, which stand in another file.
func (s *Store) list(ctx context.Context, id TableID, from *table.Snapshot) ([]File, error) {
	entries, err := s.entries(ctx, id, from)
	if err != nil {
		return nil, s.damaged(id, err)
	}
	files := make([]File, len(entries))
	var rows int64
	for i, e := range entries {
		data := e.DataFile()
		hash, ok := strings.CutSuffix(filepath.Base(data.FilePath()), fileSuffix)
		if !ok || data.FileFormat() != iceberg.ParquetFile {
			return nil, s.damaged(id, fmt.Errorf("snapshot %d: entry %d is no Parquet file of ours", from.SnapshotID, i))
		}
		f := File{Table: id, Hash: hash, Rows: data.Count(), Bytes: data.FileSizeBytes()}
		f.Path = s.pathOf(f)
		files[i] = f
		rows += f.Rows
	}
	if total(from, "total-data-files") != int64(len(files)) || total(from, "total-records") != rows {
		return nil, s.damaged(id, fmt.Errorf("snapshot %d: manifests do not match the summary", from.SnapshotID))
	}
	return files, nil
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
