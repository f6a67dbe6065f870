package offline

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

// AsOf returns the snapshot that was the newest at a time, by the store's clock.
func (s *Store) AsOf(ctx context.Context, id TableID, at time.Time) (Snapshot, error) {
	return untilSteady(func() (Snapshot, error) { return s.asOf(ctx, id, at) })
}

func (s *Store) asOf(ctx context.Context, id TableID, at time.Time) (Snapshot, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	var newest, oldest *table.Snapshot
	for _, found := range t.Metadata().Snapshots() {
		if oldest == nil || found.SequenceNumber < oldest.SequenceNumber {
			oldest = &found
		}
		if !commitTime(&found).After(at) && (newest == nil || found.SequenceNumber > newest.SequenceNumber) {
			newest = &found
		}
	}
	if newest != nil {
		return s.snapshot(ctx, id, t, newest)
	}
	e := driftline.Errorf(driftline.NotFound, "table %s has no snapshot of %s or before", id, at.UTC().Format(time.RFC3339Nano))
	if oldest != nil {
		return Snapshot{}, e.WithHint("its oldest is of %s", commitTime(oldest).Format(time.RFC3339Nano))
	}
	return Snapshot{}, e.WithHint("nothing was ever committed to it")
}

// AddedAfter returns what the commits after a time added, of those that followed the
// snapshot base (0: of all), oldest first. look says of each whether its files are wanted,
// and whether the rest is of no interest. It is a FailedPrecondition error if a snapshot
// has expired before that, because it might have been wanted.
func (s *Store) AddedAfter(ctx context.Context, id TableID, base driftline.SnapshotID, at time.Time, look func(Snapshot) (wanted, enough bool)) ([]Snapshot, error) {
	return untilSteady(func() ([]Snapshot, error) { return s.addedAfter(ctx, id, base, at, look) })
}

func (s *Store) addedAfter(ctx context.Context, id TableID, base driftline.SnapshotID, at time.Time, look func(Snapshot) (wanted, enough bool)) (added []Snapshot, err error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(t.Metadata().Snapshots())
	slices.SortFunc(all, func(a, b table.Snapshot) int { return cmp.Compare(a.SequenceNumber, b.SequenceNumber) })
	first := 1 + slices.IndexFunc(all, func(found table.Snapshot) bool { return driftline.SnapshotID(found.SnapshotID) == base })
	for i := first; i < len(all); i++ {
		snapshot, err := s.header(id, t, &all[i])
		if err != nil {
			return nil, err
		}
		if snapshot.Parent != base {
			return nil, driftline.Errorf(driftline.FailedPrecondition, "table %s: snapshots between %s and %s have expired", id,
				at.UTC().Format(time.RFC3339Nano), snapshot.Time.Format(time.RFC3339Nano)).
				WithHint("a snapshot that is kept can still be read by its number")
		}
		base = snapshot.ID
		if !snapshot.Time.After(at) {
			continue
		}
		wanted, enough := look(snapshot)
		if wanted {
			if snapshot, err = s.added(ctx, snapshot, &all[i]); err != nil {
				return nil, err
			}
			added = append(added, snapshot)
		}
		if enough {
			break
		}
	}
	return added, nil
}

// added gives a snapshot the files that its own commit added.
func (s *Store) added(ctx context.Context, snapshot Snapshot, from *table.Snapshot) (Snapshot, error) {
	entries, err := s.entriesOf(ctx, snapshot.Table, from)
	if err != nil {
		return Snapshot{}, s.unlisted(ctx, snapshot.Table, from, err)
	}
	for _, entry := range entries {
		if entry.snapshot == from.SnapshotID {
			snapshot.Files = append(snapshot.Files, entry.file)
			snapshot.Rows += entry.file.Rows
		}
	}
	return snapshot, nil
}

// commitTime is when a snapshot was committed, UTC microseconds.
func commitTime(from *table.Snapshot) time.Time {
	if from.Summary != nil {
		if micros, err := strconv.ParseInt(from.Summary.Properties[timeKey], 10, 64); err == nil {
			return time.UnixMicro(micros).UTC()
		}
	}
	return time.UnixMilli(from.TimestampMs).UTC()
}

// Tag gives a snapshot a name, under which any engine finds it, and keeps it from
// [Store.Expire] until [Store.Untag]. A tag never moves: a name that another
// snapshot has is AlreadyExists.
func (s *Store) Tag(ctx context.Context, id TableID, name string, snapshot driftline.SnapshotID) error {
	if err := checkTag(name); err != nil {
		return err
	}
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if t.SnapshotByID(int64(snapshot)) == nil {
		return unknownSnapshot(id, snapshot)
	}
	if tagged, ok := tagsOf(t)[name]; ok {
		if tagged == snapshot {
			return nil
		}
		return driftline.Errorf(driftline.AlreadyExists, "tag %q of table %s names snapshot %d", name, id, tagged).
			WithHint("remove that tag first, or choose another name")
	}
	update := table.NewSetSnapshotRefUpdate(name, int64(snapshot), table.TagRef, 0, 0, 0)
	_, err = s.update(ctx, id, t, "tag table "+id.String(), update)
	return err
}

// Untag removes a tag. It is no error if there is none of that name.
func (s *Store) Untag(ctx context.Context, id TableID, name string) error {
	if err := checkTag(name); err != nil {
		return err
	}
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if _, ok := tagsOf(t)[name]; !ok {
		return nil
	}
	_, err = s.update(ctx, id, t, "remove a tag of table "+id.String(), table.NewRemoveSnapshotRefUpdate(name))
	return err
}

// Tags returns the tags of a table and the snapshots that they name.
func (s *Store) Tags(ctx context.Context, id TableID) (map[string]driftline.SnapshotID, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	return tagsOf(t), nil
}

// ByTag returns the snapshot that a tag names.
func (s *Store) ByTag(ctx context.Context, id TableID, name string) (Snapshot, error) {
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	tags := tagsOf(t)
	tagged, ok := tags[name]
	if !ok {
		return Snapshot{}, unknownTag(id, name, slices.Sorted(maps.Keys(tags)))
	}
	return s.snapshot(ctx, id, t, t.SnapshotByID(int64(tagged)))
}

func unknownTag(id TableID, name string, known []string) error {
	e := driftline.Unknown("tag", name, known)
	if len(known) == 0 {
		return e.WithHint("table %s has no tags", id)
	}
	return e
}

func checkTag(name string) error {
	if err := driftline.CheckName("tag", name); err != nil {
		return err
	}
	if name == table.MainBranch {
		return driftline.Errorf(driftline.Invalid, "tag name %q is taken: it means the newest snapshot", name).
			WithHint("choose another name")
	}
	return nil
}

func tagsOf(t *table.Table) map[string]driftline.SnapshotID {
	tags := map[string]driftline.SnapshotID{}
	for name, ref := range t.Metadata().Refs() {
		if ref.SnapshotRefType == table.TagRef {
			tags[name] = driftline.SnapshotID(ref.SnapshotID)
		}
	}
	return tags
}

func unknownSnapshot(id TableID, snapshot driftline.SnapshotID) *driftline.Error {
	return driftline.Errorf(driftline.NotFound, "table %s has no snapshot %d", id, snapshot).
		WithHint("list its snapshots; older ones expire")
}

// Rollback makes a new snapshot that has exactly the files of an older one. The
// history stays whole: what is rolled back can be read, and rolled back to, until
// it expires. Columns are not rolled back: those added since are null.
func (s *Store) Rollback(ctx context.Context, id TableID, to driftline.SnapshotID, summary map[string]string) (Snapshot, error) {
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	target := t.SnapshotByID(int64(to))
	if target == nil {
		return Snapshot{}, unknownSnapshot(id, to)
	}
	totals := iceberg.Properties{}
	for key, value := range target.Summary.Properties {
		if strings.HasPrefix(key, "total-") {
			totals[key] = value
		}
	}
	if _, err := s.list(ctx, id, target); err != nil {
		return Snapshot{}, err // what cannot be listed is nothing to go back to
	}
	return s.commitManifests(ctx, id, t, "roll table "+id.String()+" back", totals, summary, func(*table.Snapshot) ([]iceberg.ManifestFile, error) {
		return target.Manifests(tableFiles{dir: s.warehouse.tableDir(id)})
	})
}

// update commits changes of a table's metadata. The caller holds the table's lock.
func (s *Store) update(ctx context.Context, id TableID, t *table.Table, doing string, updates ...table.Update) (*table.Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, interrupted(err)
	}
	var head *int64
	if current := t.CurrentSnapshot(); current != nil {
		head = &current.SnapshotID
	}
	requirements := []table.Requirement{table.AssertRefSnapshotID(table.MainBranch, head)}
	if _, _, err := s.warehouse.CommitTable(ctx, id.identifier(), requirements, updates); err != nil {
		s.warehouse.forget(id)
		return nil, failure(doing, err)
	}
	return s.load(ctx, id)
}
