package engine

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// Points of metrics come into the key-value store, and move into the table meta.metric_history in
// few and large files. A point is its own key in both, so it may be in both: readers, and whoever
// moves points again after a crash, take it for one.
const (
	filePointsAt    = 1 << 18 // points that were logged,
	filePointsEvery = time.Hour
)

// pointsTable is where points of metrics are that are no longer in the key-value store.
var pointsTable = offline.TableID{Namespace: schemaMeta, Name: pointsTableName}

var pointsSchema = metaTable{columns: pointColumns}.schema()

// pointsOrder is how the rows of a file are sorted: those of a metric as its history is.
var pointsOrder = offline.Order{Keys: []string{"run_id", "key"}, Then: []string{"step", "time", "value"}}

// The steps of a move of points, and of taking those of removed runs out, at which a crash is tried.
const (
	stepPointsStaged    = "points staged"
	stepPointsMarked    = "points marked"
	stepPointsCommitted = "points committed"
	stepPointsMoved     = "points moved"
	stepPointsErased    = "points erased"
)

// pointFiles is the newest snapshot of the table of points, for readers. It changes before points
// leave the key-value store, and before files leave the disk.
type pointFiles struct {
	store *offline.Store

	mu       sync.RWMutex
	snapshot offline.Snapshot
	files    []offline.FileRange
	damage   error // why it is not known which files there are
}

// show lets readers see the newest snapshot.
func (p *pointFiles) show(ctx context.Context) error {
	var files []offline.FileRange
	snapshot, ok, err := p.store.Current(ctx, pointsTable)
	if err == nil && ok {
		files, err = p.store.Ranges(ctx, snapshot, pointsOrder)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot, p.files, p.damage = snapshot, files, err
	return err
}

// now returns the newest snapshot. Its files stay for those who hold the table's lock.
func (p *pointFiles) now() (offline.Snapshot, []offline.FileRange, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.snapshot, p.files, p.damage
}

// again is show if the last one failed.
func (p *pointFiles) again(ctx context.Context) error {
	if _, _, err := p.now(); err == nil {
		return nil
	}
	return p.show(ctx)
}

// sequences is the [registry.PointFiles] of the engine.
func (p *pointFiles) sequences(run driftline.RunID, metric string) (all []iter.Seq2[registry.PointRows, error], release func()) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if damage := p.damage; damage != nil {
		failed := func(yield func(registry.PointRows, error) bool) { yield(registry.PointRows{}, damage) }
		return []iter.Seq2[registry.PointRows, error]{failed}, func() {}
	}
	files := p.files
	if run != "" {
		files = nil
		for _, f := range p.files {
			if mayHavePoints(f, string(run), metric) {
				files = append(files, f)
			}
		}
	}
	part := p.snapshot
	part.Files = nil
	for _, sequence := range offline.Sequences(files) {
		part.Files = append(part.Files, sequence...)
		of := part
		of.Files = sequence
		if run == "" {
			all = append(all, p.each(of))
		} else {
			all = append(all, p.ofMetric(of, run, metric))
		}
	}
	return all, p.store.Hold(part)
}

// mayHavePoints reports whether a file may have rows with these values of the first columns that
// files are sorted by.
func mayHavePoints(f offline.FileRange, values ...string) bool {
	for i, value := range values {
		if low, ok := f.Low[i].(string); ok && value < low {
			return false
		}
		if high, ok := f.High[i].(string); ok && value > high {
			return false
		}
	}
	return true
}

// ofMetric yields the points of one metric.
func (p *pointFiles) ofMetric(of offline.Snapshot, run driftline.RunID, metric string) iter.Seq2[registry.PointRows, error] {
	return func(yield func(registry.PointRows, error) bool) {
		key := []offline.KeyValue{{Column: "run_id", Value: string(run)}, {Column: "key", Value: metric}}
		for b, err := range p.store.ReadKey(context.Background(), of, key, []string{"step", "time", "value"}).All {
			if err != nil {
				yield(registry.PointRows{}, err)
				return
			}
			if !yield(pointRows(b.Columns(), run, metric), nil) {
				return
			}
		}
	}
}

// pointRows are rows of steps, times and values.
func pointRows(columns []arrow.Array, run driftline.RunID, metric string) registry.PointRows {
	return registry.PointRows{
		Run: run, Metric: metric, Steps: columns[0].(*array.Int64).Int64Values(),
		Times:  arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(columns[1].(*array.Timestamp).TimestampValues())),
		Values: columns[2].(*array.Float64).Float64Values(),
	}
}

// each yields all points.
func (p *pointFiles) each(of offline.Snapshot) iter.Seq2[registry.PointRows, error] {
	return func(yield func(registry.PointRows, error) bool) {
		for b, err := range p.store.Read(context.Background(), of, fieldNames(pointsSchema)).All {
			if err != nil {
				yield(registry.PointRows{}, err)
				return
			}
			if !eachMetric(b, yield) {
				return
			}
		}
	}
}

// eachMetric yields the rows of a batch, metric by metric.
func eachMetric(b arrow.RecordBatch, yield func(registry.PointRows, error) bool) bool {
	runs, keys, rows := b.Column(0).(*array.String), b.Column(1).(*array.String), pointRows(b.Columns()[2:], "", "")
	for begin := 0; begin < runs.Len(); {
		run, key := runs.Value(begin), keys.Value(begin)
		end := begin + 1
		for end < runs.Len() && keys.Value(end) == key && runs.Value(end) == run {
			end++
		}
		part := registry.PointRows{
			Run: driftline.RunID(strings.Clone(run)), Metric: strings.Clone(key),
			Steps: rows.Steps[begin:end], Times: rows.Times[begin:end], Values: rows.Values[begin:end],
		}
		if !yield(part, nil) {
			return false
		}
		begin = end
	}
	return true
}

// loadPoints lets readers see the files of points. What is wrong with their table is for who reads
// points of it; nothing else stops.
func (e *Engine) loadPoints(ctx context.Context) {
	err := e.points.show(ctx)
	if err == nil {
		err = e.forgetPoints(ctx) // a crash may have come before
	}
	if err != nil {
		e.log.Error("the table of metric points cannot be used", "error", err)
	}
}

// pointsLoop moves points into files now and then until the engine closes.
func (e *Engine) pointsLoop(ctx context.Context) {
	logged, at := int64(0), e.now()
	for range rounds(ctx, flushEvery, nil) {
		now := e.registry.LoggedPoints()
		if now-logged < filePointsAt && e.now().Sub(at) < filePointsEvery {
			continue
		}
		if _, err := e.movePoints(ctx, false); err != nil {
			if ctx.Err() == nil {
				e.log.Error("points of metrics stay in the key-value store; it is tried again", "error", err)
			}
			continue
		}
		logged, at = now, e.now()
	}
}

// filePoints moves all points into files, and merges files where that pays.
func (e *Engine) filePoints(ctx context.Context) (driftline.Maintenance, error) {
	if err := e.begin(); err != nil {
		return driftline.Maintenance{}, err
	}
	defer e.end()
	moved, err := e.movePoints(ctx, true)
	if err != nil {
		return driftline.Maintenance{}, err
	}
	done, err := e.compactPoints(ctx, nil) // somebody waits for it
	done.Flushed = moved
	return done, err
}

// movePoints moves points from the key-value store into files: those of every run, or of the runs
// that are due.
func (e *Engine) movePoints(ctx context.Context, all bool) (moved int64, err error) {
	part := e.registry.UnfiledPoints(all)
	for part.Next() {
		if err := e.movePart(ctx, part); err != nil {
			return moved, err
		}
		moved += int64(part.Points())
	}
	return moved, nil
}

// movePart moves points that are one commit. While it holds the table's lock, nobody takes those of
// removed runs out: who removes a run meanwhile waits, and finds them in the files.
func (e *Engine) movePart(ctx context.Context, part *registry.UnfiledPoints) error {
	defer e.tables.lock(pointsTable.String())()
	if err := e.offline.CreateTable(ctx, pointsTable, pointsSchema); err != nil {
		return err
	}
	if err := e.points.again(ctx); err != nil {
		return err
	}
	files, err := e.offline.Stage(ctx, pointsTable, e.rowsOfPoints(part.Rows()), pointsOrder)
	if err != nil {
		return err
	}
	if part.Damage != nil {
		e.log.Error("points of metrics are moved that may be in a damaged file too", "error", part.Damage)
	}
	if err := e.reached(stepPointsStaged); err != nil {
		return err
	}
	if err := part.Mark(); err != nil {
		return errors.Join(err, e.offline.Discard(files))
	}
	if err := e.reached(stepPointsMarked); err != nil {
		return err
	}
	if err := e.commitPoints(ctx, files); err != nil {
		return err
	}
	if err := e.reached(stepPointsCommitted); err != nil {
		return err
	}
	if err := part.Remove(); err != nil {
		return err
	}
	return e.reached(stepPointsMoved)
}

// commitPoints adds files to the table, and shows them to readers. The caller holds the table's lock.
func (e *Engine) commitPoints(ctx context.Context, files []offline.File) error {
	if len(files) == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	_, err := e.offline.Commit(ctx, pointsTable, files, nil)
	return errors.Join(err, e.points.show(ctx))
}

// rowsOfPoints puts points into batches as the table has them.
func (e *Engine) rowsOfPoints(rows iter.Seq2[registry.PointRows, error]) driftline.Batches {
	return metaTable{name: pointsTableName, columns: pointColumns}.stream(e, func(_ *Engine, c []array.Builder, next func() bool) error {
		for part, err := range rows {
			if err != nil {
				return err
			}
			for i, step := range part.Steps {
				addTexts(c, string(part.Run), part.Metric)
				c[2].(*array.Int64Builder).Append(step)
				c[3].(*array.TimestampBuilder).Append(arrow.Timestamp(part.Times[i]))
				c[4].(*array.Float64Builder).Append(part.Values[i])
				if !next() {
					return nil
				}
			}
		}
		return nil
	})
}

// compactPoints merges files as those of views are.
func (e *Engine) compactPoints(ctx context.Context, pace *offline.Pace) (done driftline.Maintenance, err error) {
	done.Table = pointsTable.String()
	plan := func() ([]offline.FileRange, error) {
		_, files, err := e.points.now()
		return files, err
	}
	done.Compacted, done.Into, err = compactRounds(plan, func(group []offline.File) (int, error) {
		return e.mergePoints(ctx, group, pace)
	})
	return done, err
}

// mergePoints puts the rows of some files into new ones.
func (e *Engine) mergePoints(ctx context.Context, group []offline.File, pace *offline.Pace) (into int, err error) {
	files, err := e.offline.Compact(ctx, pointsTable, group, pointsOrder, pace)
	if err != nil {
		return 0, err
	}
	if err := e.reached(stepStaged); err != nil {
		return 0, err
	}
	defer e.tables.lock(pointsTable.String())()
	return len(files), e.replacePoints(ctx, group, files, causeCompaction)
}

// replacePoints puts files in the place of others. The caller holds the table's lock.
func (e *Engine) replacePoints(ctx context.Context, old, files []offline.File, cause string) error {
	ctx = context.WithoutCancel(ctx)
	_, err := e.offline.ReplaceFiles(ctx, pointsTable, old, files, map[string]string{summaryCause: cause})
	if driftline.CodeOf(err) == driftline.Conflict {
		return errors.Join(err, e.offline.Discard(files)) // nothing changed
	}
	return errors.Join(err, e.points.show(ctx))
}

// CleanUp is [registry.Registry.CleanUp] that takes the points of the runs out of files too. If that
// fails, upkeep tries it again.
func (e *Engine) CleanUp(ctx context.Context, req driftline.RunCleanup) (driftline.RunsRemoved, error) {
	if err := e.begin(); err != nil {
		return driftline.RunsRemoved{}, err
	}
	defer e.end()
	removed, err := e.registry.CleanUp(ctx, req)
	if len(removed.Runs) == 0 || req.DryRun {
		return removed, err
	}
	return removed, errors.Join(err, e.forgetPoints(context.WithoutCancel(ctx)))
}

// forgetPoints takes the points of runs that were removed for good out of the files, and gives up the
// snapshots that had them. It may be repeated. A damaged file keeps them until it is restored or gone.
func (e *Engine) forgetPoints(ctx context.Context) error {
	defer e.tables.lock(pointsTable.String())()
	runs, err := e.registry.UnwantedRuns()
	if err != nil || len(runs) == 0 {
		return err
	}
	if err := e.points.again(ctx); err != nil {
		return err
	}
	snapshot, files, _ := e.points.now()
	var old, staged []offline.File
	var damaged error
	for _, f := range files {
		rest, removed, err := e.withoutRuns(ctx, f, runs)
		if driftline.CodeOf(err) == driftline.DataLoss {
			damaged = errors.Join(damaged, err)
			continue
		}
		if err != nil {
			return errors.Join(err, e.offline.Discard(staged))
		}
		if removed > 0 {
			old, staged = append(old, f.File), append(staged, rest...)
		}
	}
	if len(old) > 0 {
		if err := e.replacePoints(ctx, old, staged, causeErasure); err != nil {
			return err
		}
	}
	if err := e.reached(stepPointsErased); err != nil {
		return err
	}
	if snapshot.ID != 0 {
		if _, err := e.offline.Expire(ctx, pointsTable, func(offline.Snapshot) bool { return false }); err != nil {
			return err
		}
	}
	if damaged != nil {
		return damaged
	}
	return e.registry.TakenOut(runs)
}

// withoutRuns stages what is left of a file without the points of runs, which are sorted, and says how
// many it has of them.
func (e *Engine) withoutRuns(ctx context.Context, f offline.FileRange, runs []driftline.RunID) (files []offline.File, removed int64, err error) {
	if !slices.ContainsFunc(runs, func(run driftline.RunID) bool { return mayHavePoints(f, string(run)) }) {
		return nil, 0, nil
	}
	return e.offline.Erase(ctx, f.File, pointsOrder, pointsOrder.Keys[:1], func(b arrow.RecordBatch) ([]bool, error) {
		gone, ids := make([]bool, b.NumRows()), b.Column(0).(*array.String)
		for i := range gone {
			if i > 0 && ids.Value(i) == ids.Value(i-1) {
				gone[i] = gone[i-1]
				continue
			}
			_, gone[i] = slices.BinarySearch(runs, driftline.RunID(ids.Value(i)))
		}
		return gone, nil
	})
}
