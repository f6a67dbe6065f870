package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// StoredTables returns the newest snapshot of each stored table, by name: those of views,
// with the rows of their ingest logs, and one for each version of a dataset. A table
// without one has only its name and such rows.
func (e *Engine) StoredTables(ctx context.Context) ([]driftline.Snapshot, error) {
	tables, err := e.offline.Tables(ctx)
	if err != nil {
		return nil, err
	}
	newest := make([]driftline.Snapshot, len(tables))
	for i, table := range tables {
		newest[i].Table = table.String()
		s, ok, err := e.offline.Current(ctx, table)
		if driftline.CodeOf(err) == driftline.DataLoss {
			newest[i].Cause = "damaged"
			continue
		}
		if err != nil {
			return nil, err
		}
		if ok {
			newest[i] = describeSnapshot(s)
		}
		if table.Namespace == schemaFeatures {
			addLogged(&newest[i], e.heads.of(driftline.ViewName(table.Name)))
		}
	}
	return newest, nil
}

// addLogged counts the rows of a view's log as rows of its table, all of one moment.
func addLogged(s *driftline.Snapshot, now head) {
	if now.exists {
		*s = describeSnapshot(now.snapshot)
	}
	s.Logged = int64(now.rows)
	s.Rows += s.Logged
}

// Snapshots returns the snapshots of a table, oldest first, with their tags and with
// what keeps them from being expired.
func (e *Engine) Snapshots(ctx context.Context, table string) ([]driftline.Snapshot, error) {
	id, err := e.storedTable(ctx, table)
	if err != nil {
		return nil, err
	}
	stored, err := e.offline.Snapshots(ctx, id)
	if err != nil {
		return nil, err
	}
	tags, err := e.offline.Tags(ctx, id)
	if err != nil {
		return nil, err
	}
	described := make([]driftline.Snapshot, len(stored))
	for i, s := range stored {
		described[i] = describeSnapshot(s)
		for _, name := range slices.Sorted(maps.Keys(tags)) {
			if tags[name] == s.ID {
				described[i].Tags = append(described[i].Tags, name)
			}
		}
		if described[i].Pins, err = e.pinsOf(s); err != nil {
			return nil, err
		}
	}
	return described, nil
}

func describeSnapshot(s offline.Snapshot) driftline.Snapshot {
	d := driftline.Snapshot{
		Table: s.Table.String(), ID: s.ID, Parent: s.Parent, Time: s.Time,
		Rows: s.Rows, Files: len(s.Files), Cause: causeOf(s),
	}
	for _, f := range s.Files {
		d.Bytes += f.Bytes
	}
	return d
}

// causeOf is what made a snapshot. Writes and flushes say it with their intent's name.
func causeOf(s offline.Snapshot) string {
	if cause := s.Summary[summaryCause]; cause != "" {
		return cause
	}
	if kind, _, ok := strings.Cut(s.Summary[summaryIntent], "-"); ok {
		return kind
	}
	return string(intentWrite)
}

// TagSnapshot gives a snapshot a name, which keeps it until the tag is removed.
func (e *Engine) TagSnapshot(ctx context.Context, table, tag string, snapshot driftline.SnapshotID) error {
	return e.onTable(ctx, table, func(id offline.TableID) error { return e.offline.Tag(ctx, id, tag, snapshot) })
}

// UntagSnapshot removes a tag. It is NotFound if there is none of that name.
func (e *Engine) UntagSnapshot(ctx context.Context, table, tag string) error {
	return e.onTable(ctx, table, func(id offline.TableID) error {
		if _, err := e.offline.ByTag(ctx, id, tag); err != nil {
			return err
		}
		return e.offline.Untag(ctx, id, tag)
	})
}

// onTable runs f as the one who changes a table.
func (e *Engine) onTable(ctx context.Context, table string, f func(offline.TableID) error) error {
	id, err := e.storedTable(ctx, table)
	if err != nil {
		return err
	}
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	unlock := e.tables.lock(id.String())
	defer unlock()
	return f(id)
}

// DiffSnapshots says what changed from one snapshot of a table to another.
func (e *Engine) DiffSnapshots(ctx context.Context, table string, from, to driftline.SnapshotID) (driftline.SnapshotDiff, error) {
	id, err := e.storedTable(ctx, table)
	if err != nil {
		return driftline.SnapshotDiff{}, err
	}
	d, err := e.offline.Diff(ctx, id, from, to)
	if err != nil {
		return driftline.SnapshotDiff{}, err
	}
	diff := driftline.SnapshotDiff{
		Table: table, From: from, To: to, RowsAdded: d.RowsAdded, RowsRemoved: d.RowsRemoved,
		FilesAdded: len(d.FilesAdded), FilesRemoved: len(d.FilesRemoved), Schema: d.Schema,
	}
	if id.Namespace != schemaFeatures {
		return diff, nil
	}
	view, err := e.registry.View(driftline.ViewName(id.Name))
	if err != nil {
		return diff, err
	}
	if low, high, ok := d.Bounds(view.EventTimestamp); ok {
		start, isTime := low.(time.Time)
		end, isAlso := high.(time.Time)
		if isTime && isAlso {
			diff.EventTimes = &driftline.TimeRange{Start: start, End: end}
		}
	}
	return diff, nil
}

// Rollback makes a new snapshot of a view's table that has the rows of an older one, and
// rebuilds the online rows from it. Nothing is lost: what is rolled back can be read, and
// rolled back to, until it expires.
func (e *Engine) Rollback(ctx context.Context, table string, to driftline.SnapshotID) (driftline.Snapshot, error) {
	view, err := e.viewOfTable(table)
	if err != nil {
		return driftline.Snapshot{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Snapshot{}, err
	}
	defer e.end()
	id := viewTable(view.Name)
	if _, err := e.offline.At(ctx, id, to); err != nil {
		return driftline.Snapshot{}, err
	}
	unlock := e.tables.lock(id.String())
	defer unlock()
	// What is in the log now is rolled back too. A write that comes after it stays.
	e.pushes.committing.Lock()
	defer e.pushes.committing.Unlock()
	if err := e.flushLocked(ctx, view.Name); err != nil {
		return driftline.Snapshot{}, err
	}
	in := intent{
		ID: fmt.Sprintf("rollback-%s-%d-%s", view.Name, to, rand.Text()), Kind: intentRollback,
		View: view.Name, To: to, Next: e.sequence.Load(),
	}
	if err := e.execute(ctx, &in, nil); err != nil {
		return driftline.Snapshot{}, err
	}
	return describeSnapshot(e.heads.of(view.Name).snapshot), nil
}

// rebuildOnline makes the online rows of a view those of its files and of the log, by a
// caller who holds the table's lock. The files are those of now: a rollback may be finished
// after more was written. Reads are answered offline meanwhile. A row that is written
// meanwhile is in the log, and so is put again if it is removed.
//
// count is called with how many rows were looked at; see [Engine.rowsToRebuild].
func (e *Engine) rebuildOnline(ctx context.Context, name driftline.ViewName, count func(rows int64)) error {
	view, err := e.registry.View(name)
	if err != nil {
		return err
	}
	snapshot, exists, err := e.offline.Current(ctx, viewTable(name))
	if err != nil {
		return err
	}
	if err := e.online.BeginRebuild(name); err != nil {
		return err
	}
	if err := e.online.DeleteView(view); err != nil {
		return err
	}
	if err := e.reached(stepOnlineRemoved); err != nil {
		return err
	}
	if exists {
		rows := e.served(ctx, view, counted(e.readAs(ctx, snapshot, view, view.StoredSchema()), count))
		if err := e.mergeOnline(view, e.newestIn(ctx, view, rows)); err != nil {
			return err
		}
	}
	entries, err := e.storedEntries(name)
	if err != nil {
		return err
	}
	if err := e.mergeOnline(view, e.served(ctx, view, counted(e.rowsOfEntries(ctx, view, entries), count))); err != nil {
		return err
	}
	e.heads.rebuilt(name)
	if err := e.online.EndRebuild(name); err != nil || !view.KeepsHistory() {
		return err
	}
	return e.buildHistory(ctx, view, count)
}

// rowsToRebuild is how many rows a rebuild of a view's online rows looks at.
func (e *Engine) rowsToRebuild(view *driftline.FeatureView) int64 {
	now := e.heads.of(view.Name)
	rows := now.snapshot.Rows + int64(now.rows)
	if view.KeepsHistory() {
		rows *= 2
	}
	return rows
}

// progressEvery is how often work that nobody asked for by name says how far it is.
const progressEvery = 5 * time.Second

// logProgress returns a function that counts rows of a rebuild and now and then logs them.
func (e *Engine) logProgress(name driftline.ViewName) func(rows int64) {
	total, said := int64(0), e.now()
	return func(rows int64) {
		if total += rows; e.now().Sub(said) < progressEvery {
			return
		}
		said = e.now()
		e.log.Info("rows of a view are being brought online", "view", name, "rows", total)
	}
}

// viewOfTable returns the view whose rows a table keeps.
func (e *Engine) viewOfTable(table string) (*driftline.FeatureView, error) {
	name, ok := strings.CutPrefix(table, schemaFeatures+".")
	if !ok {
		return nil, driftline.Errorf(driftline.Invalid, "table %q is not of a view", table).
			WithHint("datasets never change; name the table of a view, as %q", schemaFeatures+".weather")
	}
	view, err := e.registry.View(driftline.ViewName(name))
	if err != nil {
		return nil, err
	}
	return view, checkWritable(view)
}
