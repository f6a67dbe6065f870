package offline

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// commitManifests commits a snapshot of manifests that iceberg-go has no operation for.
// counts are Iceberg's totals of the snapshot. The caller holds the table's lock.
func (s *Store) commitManifests(ctx context.Context, id TableID, t *table.Table, doing string, counts iceberg.Properties, summary map[string]string, manifests func(*table.Snapshot) ([]iceberg.ManifestFile, error)) (Snapshot, error) {
	next := s.nextSnapshot(t, counts, summary)
	files, err := manifests(next)
	if err != nil {
		return Snapshot{}, failure(doing, err)
	}
	if err := writeManifestList(tableFiles{dir: s.warehouse.tableDir(id)}, next, files); err != nil {
		return Snapshot{}, failure(doing, err)
	}
	t, err = s.update(ctx, id, t, doing,
		table.NewAddSnapshotUpdate(next),
		table.NewSetSnapshotRefUpdate(table.MainBranch, next.SnapshotID, table.BranchRef, 0, 0, 0))
	if err != nil {
		return Snapshot{}, err
	}
	return s.snapshot(ctx, id, t, t.CurrentSnapshot())
}

// nextSnapshot follows the current snapshot of a table, which must have one.
func (s *Store) nextSnapshot(t *table.Table, counts iceberg.Properties, summary map[string]string) *table.Snapshot {
	properties := s.properties(summary)
	for key, value := range counts {
		properties[key] = value
	}
	schema := t.Schema().ID
	next := &table.Snapshot{
		SnapshotID:       newSnapshotID(t),
		ParentSnapshotID: &t.CurrentSnapshot().SnapshotID,
		SequenceNumber:   t.Metadata().LastSequenceNumber() + 1,
		TimestampMs:      max(time.Now().UnixMilli(), t.Metadata().LastUpdatedMillis()),
		SchemaID:         &schema,
		Summary:          &table.Summary{Operation: table.OpOverwrite, Properties: properties},
	}
	next.ManifestList = metadataName(t, fmt.Sprintf("snap-%d-0-%s.avro", next.SnapshotID, t.Metadata().TableUUID()))
	return next
}

// metadataName is what metadata calls a file in the metadata folder.
func metadataName(t *table.Table, name string) string {
	return t.Location() + "/" + metadataFolder + "/" + name
}

// newSnapshotID draws an id that the table does not have.
func newSnapshotID(t *table.Table) int64 {
	for {
		if id := rand.Int64(); id != 0 && t.SnapshotByID(id) == nil {
			return id
		}
	}
}

func writeManifestList(files tableFiles, of *table.Snapshot, manifests []iceberg.ManifestFile) error {
	var content bytes.Buffer
	err := iceberg.WriteManifestList(2, &content, of.SnapshotID, of.ParentSnapshotID, &of.SequenceNumber, 0, manifests)
	if err != nil {
		return err
	}
	return files.WriteFile(of.ManifestList, content.Bytes())
}

// forgetting commits a snapshot of the kept files and the added ones, in manifests that
// name no others: those that iceberg-go writes tell what was removed.
func (s *Store) forgetting(ctx context.Context, id TableID, t *table.Table, kept []listedFile, added []iceberg.DataFile, summary map[string]string) (Snapshot, error) {
	counts := totals(kept, added)
	return s.commitManifests(ctx, id, t, "commit to table "+id.String(), counts, summary, func(next *table.Snapshot) ([]iceberg.ManifestFile, error) {
		entries := make([]iceberg.ManifestEntry, 0, len(kept)+len(added))
		for _, f := range kept {
			entries = append(entries, iceberg.NewManifestEntry(iceberg.EntryStatusEXISTING, &f.snapshot, &f.sequence, &f.sequence, f.data))
		}
		for _, data := range added {
			entries = append(entries, iceberg.NewManifestEntry(iceberg.EntryStatusADDED, &next.SnapshotID, nil, nil, data))
		}
		if len(entries) == 0 {
			return nil, nil
		}
		name := metadataName(t, fmt.Sprintf("%d-m0.avro", next.SnapshotID))
		var content bytes.Buffer
		manifest, err := iceberg.WriteManifest(name, &content, 2, t.Spec(), t.Schema(), next.SnapshotID, entries)
		if err != nil {
			return nil, err
		}
		return []iceberg.ManifestFile{manifest}, tableFiles{dir: s.warehouse.tableDir(id)}.WriteFile(name, content.Bytes())
	})
}

// totals are what Iceberg's summary says of all files of a snapshot.
func totals(kept []listedFile, added []iceberg.DataFile) iceberg.Properties {
	var rows, bytes int64
	for _, f := range kept {
		rows, bytes = rows+f.data.Count(), bytes+f.data.FileSizeBytes()
	}
	for _, data := range added {
		rows, bytes = rows+data.Count(), bytes+data.FileSizeBytes()
	}
	return iceberg.Properties{
		"total-data-files":       strconv.Itoa(len(kept) + len(added)),
		"total-records":          strconv.FormatInt(rows, 10),
		"total-files-size":       strconv.FormatInt(bytes, 10),
		"total-delete-files":     "0",
		"total-position-deletes": "0",
		"total-equality-deletes": "0",
	}
}
