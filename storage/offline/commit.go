package offline

import (
	"context"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// Snapshot is one state of a table that was committed. It never changes.
type Snapshot struct {
	ID       driftline.SnapshotID
	Table    TableID
	Parent   driftline.SnapshotID // the state before; 0 for a table's first
	Sequence int64                // 1 for a table's first commit, then counting up
	Time     time.Time            // of the commit, UTC microseconds
	Schema   *arrow.Schema
	Rows     int64
	Files    []File            // in order of commit, then of Stage
	Summary  map[string]string // what the committer noted

	stored     *arrow.Schema  // Schema with field ids
	identities map[int]string // of columns, by field id, where they are not their names
}

// Columns says where the snapshot's columns are in its files.
func (s Snapshot) Columns() []columns.Column {
	of := make([]columns.Column, s.Schema.NumFields())
	for i, f := range s.Schema.Fields() {
		id, _ := fieldID(s.stored.Field(i))
		of[i] = columns.Column{ID: id, Name: f.Name, Type: f.Type}
	}
	return of
}

const (
	// summaryPrefix keeps what committers note apart from Iceberg's own keys.
	summaryPrefix = "driftline."

	// timeKey holds the time of the commit by the store's clock, in microseconds.
	timeKey = summaryPrefix + "committed-us"
)

// Commit adds files to a table as one snapshot, all or none, and returns it once
// it is durable. summary is kept with the snapshot; its keys may be any but
// "committed-us". Without files it makes a snapshot of the same rows, for the
// sake of the summary. Commits on one table take turns.
//
// A file that this store has not written itself since it was opened is read and
// compared with its hash: what is damaged is never committed. A file that the table
// has already is a Conflict. After any other error look at [Store.Current] before a
// retry: the snapshot may be there.
func (s *Store) Commit(ctx context.Context, id TableID, files []File, summary map[string]string) (Snapshot, error) {
	return s.commit(ctx, id, files, summary, false)
}

// Replace is [Store.Commit] of a snapshot that has the rows of files and no
// others. Snapshots before it keep theirs.
func (s *Store) Replace(ctx context.Context, id TableID, files []File, summary map[string]string) (Snapshot, error) {
	return s.commit(ctx, id, files, summary, true)
}

// Append is [Store.Stage] and [Store.Commit] in one.
func (s *Store) Append(ctx context.Context, id TableID, rows driftline.Batches, order Order, summary map[string]string) (Snapshot, error) {
	files, err := s.Stage(ctx, id, rows, order)
	if err != nil {
		return Snapshot{}, err
	}
	return s.Commit(ctx, id, files, summary)
}

func (s *Store) commit(ctx context.Context, id TableID, files []File, summary map[string]string, replace bool) (Snapshot, error) {
	if err := s.checkStaged(ctx, id, files); err != nil {
		return Snapshot{}, err
	}
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	if err := s.checkNew(ctx, id, t, files); err != nil {
		return Snapshot{}, err
	}
	added, err := s.describe(t, files)
	if err != nil {
		return Snapshot{}, err
	}
	tx := t.NewTransaction()
	if err := s.change(ctx, id, tx, t.CurrentSnapshot(), added, s.properties(summary), replace); err != nil {
		return Snapshot{}, failure("commit to table "+id.String(), err)
	}
	t, err = tx.Commit(ctx)
	if err != nil {
		s.warehouse.forget(id)
		return Snapshot{}, failure("commit to table "+id.String(), err)
	}
	return s.snapshot(ctx, id, t, t.CurrentSnapshot())
}

// checkStaged makes sure that files are the table's and not damaged.
func (s *Store) checkStaged(ctx context.Context, id TableID, files []File) error {
	for _, f := range files {
		if f.Table != id {
			return driftline.Errorf(driftline.Invalid, "file %s of table %s cannot be committed to table %s", f.Hash, f.Table, id)
		}
		if err := s.check(ctx, f, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) properties(summary map[string]string) iceberg.Properties {
	properties := iceberg.Properties{}
	for k, v := range summary {
		properties[summaryPrefix+k] = v
	}
	properties[timeKey] = strconv.FormatInt(s.now().UnixMicro(), 10)
	return properties
}

// checkNew makes sure that a file is not committed twice.
func (s *Store) checkNew(ctx context.Context, id TableID, t *table.Table, files []File) error {
	seen := make(map[string]bool, len(files))
	if current := t.CurrentSnapshot(); current != nil {
		listed, err := s.list(ctx, id, current)
		if err != nil {
			return err
		}
		for _, f := range listed {
			seen[f.Hash] = true
		}
	}
	for _, f := range files {
		if seen[f.Hash] {
			return driftline.Errorf(driftline.Conflict, "file %s is in table %s already", f.Hash, id)
		}
		seen[f.Hash] = true
	}
	return nil
}

// change adds the snapshot to the transaction. Files carry field ids, so the
// name mapping that iceberg-go would add is not wanted; duplicates are ruled out.
func (s *Store) change(ctx context.Context, id TableID, tx *table.Transaction, current *table.Snapshot, added []iceberg.DataFile, properties iceberg.Properties, replace bool) error {
	options := []table.WriteOption{table.WithoutAutoNameMapping(), table.WithoutDuplicateCheck()}
	var removed []iceberg.DataFile
	if replace && current != nil {
		entries, err := s.entriesOf(ctx, id, current)
		if err != nil {
			return err
		}
		for _, e := range entries {
			removed = append(removed, e.data)
		}
	}
	switch {
	case len(removed) > 0:
		return tx.ReplaceDataFilesWithDataFiles(ctx, removed, added, properties, options...)
	case len(added) > 0:
		return tx.AddDataFiles(ctx, added, properties, options...)
	}
	return tx.AddFiles(ctx, nil, properties, true)
}

// describe makes the manifest entries of files from their footers.
func (s *Store) describe(t *table.Table, files []File) ([]iceberg.DataFile, error) {
	described := make([]iceberg.DataFile, len(files))
	for i, f := range files {
		data, err := s.describeOne(t, f)
		if err != nil {
			return nil, failure("read file "+f.Hash+" of table "+f.Table.String(), err)
		}
		described[i] = data
	}
	return described, nil
}

func (s *Store) describeOne(t *table.Table, f File) (_ iceberg.DataFile, err error) {
	defer recovered(&err, "reading Parquet")
	in, err := os.Open(s.pathOf(f))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	reader, err := file.NewParquetReader(in)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	describe := func(schema *iceberg.Schema) (iceberg.DataFile, error) {
		return dataFileOf(t, schema, f, info.Size(), reader.MetaData())
	}
	data, err := describe(t.Schema())
	if err == nil {
		return data, nil
	}
	// The columns changed since the file was staged: what described it then still does.
	for _, earlier := range slices.Backward(slices.Sorted(maps.Keys(t.Schemas()))) {
		if data, err := describe(t.Schemas()[earlier]); err == nil {
			return data, nil
		}
	}
	return nil, err
}

// boundsMode is how much of a long value a manifest keeps as a bound: enough to tell
// files apart by their join keys, which Iceberg's 16 characters often are not.
const boundsMode = "truncate(128)"

func dataFileOf(t *table.Table, schema *iceberg.Schema, f File, size int64, footer *metadata.FileMetaData) (iceberg.DataFile, error) {
	return table.DataFileFromMetadata(table.DataFileArgs{
		Schema:        schema,
		Spec:          t.Spec(),
		Format:        iceberg.ParquetFile,
		Metadata:      footer,
		FilePath:      t.Location() + "/" + dataFolder + "/" + f.Hash + fileSuffix,
		FileSize:      size,
		Content:       iceberg.EntryContentData,
		Properties:    iceberg.Properties{table.DefaultWriteMetricsModeKey: boundsMode},
		FormatVersion: t.Metadata().Version(),
	})
}

// Current returns the newest snapshot of a table; false if nothing was ever
// committed to it, also because it does not exist.
func (s *Store) Current(ctx context.Context, id TableID) (Snapshot, bool, error) {
	current, err := untilSteady(func() (*Snapshot, error) { return s.current(ctx, id) })
	if err != nil || current == nil {
		return Snapshot{}, false, err
	}
	return *current, true, nil
}

func (s *Store) current(ctx context.Context, id TableID) (*Snapshot, error) {
	t, err := s.load(ctx, id)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	current := t.CurrentSnapshot()
	if current == nil {
		return nil, nil
	}
	snapshot, err := s.snapshot(ctx, id, t, current)
	return &snapshot, err
}

// At returns the snapshot of that id.
func (s *Store) At(ctx context.Context, id TableID, snapshot driftline.SnapshotID) (Snapshot, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	found := t.SnapshotByID(int64(snapshot))
	if found == nil {
		return Snapshot{}, unknownSnapshot(id, snapshot)
	}
	return s.snapshot(ctx, id, t, found)
}

// Snapshots returns all snapshots of a table, oldest first.
func (s *Store) Snapshots(ctx context.Context, id TableID) ([]Snapshot, error) {
	return untilSteady(func() ([]Snapshot, error) { return s.snapshots(ctx, id) })
}

func (s *Store) snapshots(ctx context.Context, id TableID) ([]Snapshot, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	snapshots := make([]Snapshot, 0, len(t.Metadata().Snapshots()))
	for _, found := range t.Metadata().Snapshots() {
		snapshot, err := s.snapshot(ctx, id, t, &found)
		if err != nil {
			return nil, err
		}
		snapshots = append(snapshots, snapshot)
	}
	slices.SortFunc(snapshots, func(a, b Snapshot) int { return int(a.Sequence - b.Sequence) })
	return snapshots, nil
}

func (s *Store) snapshot(ctx context.Context, id TableID, t *table.Table, from *table.Snapshot) (Snapshot, error) {
	snapshot, err := s.header(id, t, from)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot.Files, err = s.list(ctx, id, from)
	if err != nil {
		return Snapshot{}, err
	}
	for _, f := range snapshot.Files {
		snapshot.Rows += f.Rows
	}
	return snapshot, nil
}

// header is a snapshot without its files, for which no other file need be read.
func (s *Store) header(id TableID, t *table.Table, from *table.Snapshot) (Snapshot, error) {
	stored := t.Schema()
	if from.SchemaID != nil {
		if then, ok := t.Schemas()[*from.SchemaID]; ok {
			stored = then
		}
	}
	schema, err := arrowSchema(stored, false)
	if err != nil {
		return Snapshot{}, s.damaged(id, err)
	}
	withIDs, err := arrowSchema(stored, true)
	if err != nil {
		return Snapshot{}, s.damaged(id, err)
	}
	known, err := identities(t)
	if err != nil {
		return Snapshot{}, s.damaged(id, err)
	}
	snapshot := Snapshot{
		ID:         driftline.SnapshotID(from.SnapshotID),
		Table:      id,
		Sequence:   from.SequenceNumber,
		Time:       commitTime(from),
		Schema:     schema,
		Summary:    map[string]string{},
		stored:     withIDs,
		identities: known,
	}
	if from.ParentSnapshotID != nil {
		snapshot.Parent = driftline.SnapshotID(*from.ParentSnapshotID)
	}
	if from.Summary != nil {
		snapshot.note(from.Summary.Properties)
	}
	return snapshot, nil
}

// note takes over the entries of an Iceberg summary that are ours.
func (s *Snapshot) note(properties iceberg.Properties) {
	for key, value := range properties {
		if ours, ok := strings.CutPrefix(key, summaryPrefix); ok && key != timeKey {
			s.Summary[ours] = value
		}
	}
}
