package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// What upkeep does on its own, and how often.
const (
	maintainEvery  = time.Minute        // looks for files worth merging, from manifests alone
	expireEvery    = time.Hour          // gives up snapshots and online rows, removes orphans, and mends what is online
	orphanGrace    = 24 * time.Hour     // what a crash left is not touched before
	scrubEvery     = 7 * 24 * time.Hour // reads each file again
	scrubBandwidth = 16 << 20           // bytes a second: a disk barely notices
)

// DefaultRetention keeps the last ten snapshots of a table, and those of a week.
var DefaultRetention = driftline.Retention{Last: 10, MaxAge: driftline.Duration(7 * 24 * time.Hour)}

// DefaultCompactionBandwidth is what a merge in the background moves a second, read and
// written together: it leaves most of a disk to those who wait for it. A row is merged about as often as
// its table has doubled, so of a table of a billion rows it keeps up with 6 MB of Parquet a
// second, day and night; a merge that comes later makes readers look into more files till then.
const DefaultCompactionBandwidth = 128 << 20

// summary causes of upkeep.
const (
	causeCompaction = "compaction"
	causeRollback   = "rollback"
	causeEvolution  = "evolution"
)

// rounds are the rounds of a background loop: one each time that the span has passed, and one
// when somebody sends to wake, which may be nil. They end with the context.
func rounds(ctx context.Context, every time.Duration, wake <-chan struct{}) func(yield func() bool) {
	return func(yield func() bool) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-wake:
			}
			if !yield() {
				return
			}
		}
	}
}

// maintainLoop keeps the tables of views and datasets in shape until the engine closes.
// What fails is logged and tried again in the next round.
func (e *Engine) maintainLoop(ctx context.Context) {
	expired := e.now()
	for range rounds(ctx, maintainEvery, nil) {
		expire := e.now().Sub(expired) >= expireEvery
		if err := e.maintainAll(ctx, expire); err != nil && ctx.Err() == nil {
			e.log.Error("upkeep failed; it is tried again", "error", err)
			continue
		}
		if err := e.checkIfDue(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("the stores could not be compared", "error", err)
		}
		if expire {
			expired = e.now()
		}
	}
}

func (e *Engine) maintainAll(ctx context.Context, expire bool) error {
	tables, err := e.offline.Tables(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, table := range tables {
		if table.Namespace == schemaFeatures {
			_, err := e.compact(ctx, driftline.ViewName(table.Name), e.mergePace)
			failed = errors.Join(failed, err)
		}
		if table == pointsTable {
			_, err := e.compactPoints(ctx, e.mergePace)
			failed = errors.Join(failed, err)
		}
		if expire {
			_, err := e.expire(ctx, table, e.retention)
			failed = errors.Join(failed, err)
		}
		failed = errors.Join(failed, e.scrubIfDue(ctx, table))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	failed = errors.Join(failed, e.warmWindows(ctx))
	if expire {
		_, err := e.collectArtifacts(ctx, orphanGrace)
		failed = errors.Join(failed, err, e.mendAll(ctx), e.expireOnline(ctx), e.expireHistories(ctx), e.forgetPoints(ctx))
	}
	return failed
}

// Compact moves the ingest log of a view, or the points of metrics, into files, and merges the
// table's files where the plan says that it pays.
func (e *Engine) Compact(ctx context.Context, table string) (driftline.Maintenance, error) {
	if table == pointsTable.String() {
		return e.filePoints(ctx)
	}
	view, err := e.viewOfTable(table)
	if err != nil {
		return driftline.Maintenance{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Maintenance{}, err
	}
	defer e.end()
	flushed := int64(e.heads.of(view.Name).rows)
	if err := e.flush(ctx, view); err != nil {
		return driftline.Maintenance{}, err
	}
	done, err := e.compact(ctx, view.Name, nil) // somebody waits for it
	done.Flushed = flushed
	return done, err
}

// compact merges files of a view until the plan has nothing to merge. Readers keep the
// snapshot that they have, and writers go on: only the swap of the files takes its turn.
func (e *Engine) compact(ctx context.Context, name driftline.ViewName, pace *offline.Pace) (driftline.Maintenance, error) {
	done := driftline.Maintenance{Table: viewTable(name).String()}
	view, err := e.registry.View(name)
	if driftline.CodeOf(err) == driftline.NotFound {
		return done, nil // a table of nobody
	}
	if err != nil || view.Source != nil {
		return done, err
	}
	var base offline.Snapshot
	plan := func() ([]offline.FileRange, error) {
		now := e.heads.of(name)
		if base = now.snapshot; !now.exists {
			return nil, nil
		}
		return e.offline.Ranges(ctx, base, orderOf(view))
	}
	done.Compacted, done.Into, err = compactRounds(plan, func(group []offline.File) (int, error) {
		return e.merge(ctx, view, base, group, pace)
	})
	return done, err
}

// compactRounds merges the files that plan says there are until nothing is left that pays. How many
// were merged, and into how many, it says after an error too.
func compactRounds(plan func() ([]offline.FileRange, error), merge func(group []offline.File) (into int, err error)) (compacted, into int, err error) {
	for range maxRounds {
		ranges, err := plan()
		if err != nil {
			return compacted, into, err
		}
		groups := offline.CompactionPlan(ranges)
		if len(groups) == 0 {
			break
		}
		for _, group := range groups {
			made, err := merge(group)
			if driftline.CodeOf(err) == driftline.Conflict {
				break // somebody else replaced these files: plan again
			}
			if err != nil {
				return compacted, into, err
			}
			compacted, into = compacted+len(group), into+made
		}
	}
	return compacted, into, nil
}

// maxRounds bounds how often the plan is made again after it was carried out.
const maxRounds = 8

// merge puts the rows of some files of a snapshot into new ones.
func (e *Engine) merge(ctx context.Context, view *driftline.FeatureView, from offline.Snapshot, group []offline.File, pace *offline.Pace) (into int, err error) {
	defer e.offline.Hold(from)()
	table := viewTable(view.Name)
	files, err := e.offline.Compact(ctx, table, group, orderOf(view), pace)
	if err != nil {
		return 0, err
	}
	if err := e.reached(stepStaged); err != nil {
		return 0, err
	}
	unlock := e.tables.lock(table.String())
	defer unlock()
	in := intent{ // of its own name: two of one snapshot may merge the same files
		ID: fmt.Sprintf("compaction-%s-%d-%s", view.Name, from.ID, rand.Text()), Kind: intentCompaction,
		View: view.Name, Files: hashes(files), removed: group,
	}
	return len(files), e.execute(ctx, &in, files)
}

// Expire gives up the snapshots of a table that retention does not keep, and removes the
// files that only they had, and what a crash left behind.
func (e *Engine) Expire(ctx context.Context, table string, retention driftline.Retention) (driftline.Maintenance, error) {
	id, err := e.storedTable(ctx, table)
	if err != nil {
		return driftline.Maintenance{}, err
	}
	if retention.Last < 1 {
		return driftline.Maintenance{}, driftline.Errorf(driftline.Invalid, "retention keeps the last %d snapshots, want at least 1", retention.Last)
	}
	if err := e.begin(); err != nil {
		return driftline.Maintenance{}, err
	}
	defer e.end()
	return e.expire(ctx, id, retention)
}

func (e *Engine) expire(ctx context.Context, table offline.TableID, retention driftline.Retention) (driftline.Maintenance, error) {
	done := driftline.Maintenance{Table: table.String()}
	unlock := e.tables.lock(table.String())
	defer unlock()
	keep, err := e.kept(ctx, table, retention)
	if err != nil {
		return done, err
	}
	expired, err := e.offline.Expire(ctx, table, func(s offline.Snapshot) bool { return keep[s.ID] })
	if err != nil {
		return done, err
	}
	orphans, err := e.offline.Orphans(ctx, table, orphanGrace)
	done.Expired, done.Removed = len(expired.Snapshots), len(expired.Files)+len(orphans)
	return done, err
}

// kept says which snapshots of a table must stay: those of the retention, and those that
// a dataset, a run or a model was made from, or is being made from.
func (e *Engine) kept(ctx context.Context, table offline.TableID, retention driftline.Retention) (map[driftline.SnapshotID]bool, error) {
	snapshots, err := e.offline.Snapshots(ctx, table)
	if err != nil {
		return nil, err
	}
	keep := map[driftline.SnapshotID]bool{}
	oldest := e.now().Add(-time.Duration(retention.MaxAge))
	for i, s := range snapshots {
		pins, err := e.pinsOf(s)
		if err != nil {
			return nil, err
		}
		recent := i >= len(snapshots)-retention.Last || (retention.MaxAge > 0 && !s.Time.Before(oldest))
		keep[s.ID] = recent || len(pins) > 0 || e.inUse.keeps(s)
	}
	return keep, nil
}

// pinsOf returns what was made from a snapshot, which it therefore has to outlive.
func (e *Engine) pinsOf(s offline.Snapshot) ([]driftline.Ref, error) {
	lineage, err := e.registry.Lineage(driftline.SnapshotRef(s.Table.String(), s.ID), driftline.Down, 1)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil, nil // nobody ever heard of it
	}
	if err != nil {
		return nil, err
	}
	var pins []driftline.Ref
	for _, node := range lineage.Nodes {
		switch node.Ref.Kind {
		case driftline.KindDataset, driftline.KindRun, driftline.KindModel:
			pins = append(pins, node.Ref)
		}
	}
	return pins, nil
}

// Scrub reads every file that a table's snapshots have and compares it with its name.
// Damaged files are reported, and readers who need them get DataLoss; the rest serves.
func (e *Engine) Scrub(ctx context.Context, table string) (driftline.Maintenance, error) {
	id, err := e.storedTable(ctx, table)
	if err != nil {
		return driftline.Maintenance{}, err
	}
	if err := e.begin(); err != nil {
		return driftline.Maintenance{}, err
	}
	defer e.end()
	return e.scrub(ctx, id)
}

func (e *Engine) scrub(ctx context.Context, table offline.TableID) (driftline.Maintenance, error) {
	done := driftline.Maintenance{Table: table.String()}
	checked, damaged, err := e.offline.Scrub(ctx, table, scrubBandwidth)
	done.Verified = checked
	for _, f := range damaged {
		done.Damaged = append(done.Damaged, fileRef(f))
		e.log.Error("a data file is damaged", "table", table.String(), "file", f.Hash)
	}
	return done, err
}

func fileRef(f offline.File) driftline.Ref { return driftline.FileRef(f.Table.String(), f.Hash) }

// DamagedFiles are the data files that were found damaged or missing since the engine
// was opened.
func (e *Engine) DamagedFiles(ctx context.Context) []driftline.Ref {
	damaged := []driftline.Ref{}
	for _, f := range e.offline.Damaged(ctx) {
		damaged = append(damaged, fileRef(f))
	}
	return damaged
}

// storedTable finds a table by its name, "features.weather".
func (e *Engine) storedTable(ctx context.Context, name string) (offline.TableID, error) {
	tables, err := e.offline.Tables(ctx)
	if err != nil {
		return offline.TableID{}, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.String()
	}
	if at := slices.Index(names, name); at >= 0 {
		return tables[at], nil
	}
	return offline.TableID{}, driftline.Unknown("table", name, names)
}
