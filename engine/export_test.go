package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
	"github.com/driftline/driftline/storage/online"
)

// FailAt makes every later write stop with err at a step, as if the process had died
// there: nothing after the step happens. An empty step switches it off.
func (e *Engine) FailAt(step string, err error) {
	e.failAt = func(at string) error {
		if step == at {
			return err
		}
		return nil
	}
}

// SinceServed is how long ago somebody read online or wrote.
func (e *Engine) SinceServed() time.Duration { return e.sinceServed() }

// FailWhen asks do at every step.
func (e *Engine) FailWhen(do func(step string) error) { e.failAt = do }

// FailWith makes whatever reaches a step end with what do returns.
func (e *Engine) FailWith(step string, do func() error) {
	e.failAt = func(at string) error {
		if step == at {
			return do()
		}
		return nil
	}
}

// CompareLooking is a comparison that is one of several looks at growing data.
var CompareLooking = compareLooking

// Cancelled reports whether a materialization was told to end.
func (e *Engine) Cancelled(id string) bool {
	job, err := e.materializations.find(id)
	return err == nil && job.ctx.Err() != nil
}

// AtFirst runs do when a write or an upkeep reaches a step for the first time, and lets
// it go on then.
func (e *Engine) AtFirst(step string, do func()) {
	e.failAt = func(at string) error {
		if step == at {
			e.failAt = nil // what do does may reach the step too
			do()
		}
		return nil
	}
}

// MendAll is the part of upkeep that carries on what was stopped.
func (e *Engine) MendAll(ctx context.Context) error { return e.mendAll(ctx) }

// WarmWindows is the part of upkeep that makes tiles before anybody asks.
func (e *Engine) WarmWindows(ctx context.Context) error { return e.warmWindows(ctx) }

// SetSmallRows changes how many rows a write may have to go to the ingest log.
func (e *Engine) SetSmallRows(n int64) { e.smallRows = n }

// The steps of a bulk write and of a flush at which a crash is tried.
var Steps = []string{stepStaged, stepIntended, stepCommitted, stepOnline}

// RolloutSteps are the steps of a rollout at which a crash is tried.
var RolloutSteps = []string{stepRolloutCounted, stepRolloutDecided, stepRolloutRecorded, stepAliasDecided, stepAliasRecorded}

// TrainingSteps are the steps of a training run and of what becomes of its candidate at which a crash is
// tried.
var TrainingSteps = []string{stepCauseSeen, stepTrainingRecorded, stepTrainingClaimed, stepTrainingStarted, stepTrainingReported,
	stepCandidateEvaluated, stepCandidateRolledOut, stepTrainingStopped}

// ErasureSteps are the steps of an erasure at which a crash is tried.
var ErasureSteps = []string{stepErasureNoted, stepViewLocked, stepViewsErased, stepDatasetsErased, stepProfilesForgotten, stepFindingsForgotten}

// FindingsSteps are those of an erasure that something a monitor found is of.
var FindingsSteps = []string{stepProfilesForgotten, stepResultsForgotten, stepFindingsForgotten}

// WakeOutbox has notices that are due delivered now, and not at the next round.
func (e *Engine) WakeOutbox() { e.wakeOutbox() }

// Flush flushes a view's log as a reader does that resolved view some time ago.
func (e *Engine) Flush(ctx context.Context, view *driftline.FeatureView) error {
	return e.flush(ctx, view)
}

// WriteWithLostAnswer carries out a bulk write whose commit to the table succeeds but
// reports an error: here because the same files were committed under its name already.
func (e *Engine) WriteWithLostAnswer(ctx context.Context, view *driftline.FeatureView, rows driftline.Batches) error {
	written, err := e.writtenView(view.Name)
	if err != nil {
		return err
	}
	w, err := e.newWrite(written, "", rows.Schema)
	if err != nil {
		return err
	}
	staged := driftline.Batches{Schema: view.StoredSchema(), All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range w.conformed(ctx, rows) {
			if err != nil {
				yield(nil, err)
			} else if !w.yieldSequenced(b, yield) {
				return
			}
		}
	}}
	files, err := e.offline.Stage(ctx, viewTable(view.Name), staged, orderOf(view))
	if err != nil {
		return err
	}
	in := intent{ID: "write-lost", Kind: intentWrite, View: view.Name, Files: hashes(files), Next: w.next,
		Result: driftline.IngestResult{View: view.Name, Rows: w.rows, Sequence: w.first}}
	if _, err := e.offline.Commit(ctx, viewTable(view.Name), files, map[string]string{summaryIntent: in.ID}); err != nil {
		return err
	}
	return e.execute(ctx, &in, files)
}

// ReplaceWithLostAnswer puts the rows of a view's files into new ones, if took is true,
// and then asks what became of that as if it had failed.
func (e *Engine) ReplaceWithLostAnswer(ctx context.Context, name driftline.ViewName, took bool) error {
	view, err := e.registry.View(name)
	if err != nil {
		return err
	}
	old := e.heads.of(name).snapshot.Files
	staged, err := e.offline.Compact(ctx, viewTable(name), old, orderOf(view), nil)
	if err != nil {
		return err
	}
	if took {
		if _, err := e.offline.ReplaceFiles(ctx, viewTable(name), old, staged, nil); err != nil {
			return err
		}
	}
	next, err := e.replacedAnyway(ctx, old, staged, errLost)
	if err == nil {
		e.heads.committed(name, next, nil)
	}
	return err
}

var errLost = errors.New("the answer was lost")

// ForgetSnapshots gives up all snapshots of a view but a new one without rows, as an
// erasure of everything would.
func (e *Engine) ForgetSnapshots(ctx context.Context, view driftline.ViewName) error {
	empty, err := e.offline.Replace(ctx, viewTable(view), nil, nil)
	if err != nil {
		return err
	}
	_, err = e.offline.Expire(ctx, viewTable(view), func(s offline.Snapshot) bool { return s.ID == empty.ID })
	return err
}

// PutOnlineOnly writes rows to the online store alone, as a defect might.
func (e *Engine) PutOnlineOnly(view driftline.ViewName, rows driftline.Batches) error {
	return e.putAside(view, rows, e.online.Put)
}

// PutHistoryOnly adds rows to the online history of a view, and nowhere else.
func (e *Engine) PutHistoryOnly(view driftline.ViewName, rows driftline.Batches) error {
	return e.putAside(view, rows, func(b *kv.Batch, v *driftline.FeatureView, rows arrow.RecordBatch, sequences []int64) error {
		_, err := e.online.PutHistory(b, v, rows, sequences, online.Complete)
		return err
	})
}

// putAside puts rows under new write sequences, past the write path.
func (e *Engine) putAside(view driftline.ViewName, rows driftline.Batches, put func(*kv.Batch, *driftline.FeatureView, arrow.RecordBatch, []int64) error) error {
	v, err := e.registry.View(view)
	if err != nil {
		return err
	}
	b := e.kv.NewBatch()
	defer b.Close()
	for rows, err := range rows.All {
		if err != nil {
			return err
		}
		sequences := make([]int64, rows.NumRows())
		for i, first := 0, e.takeSequences(rows.NumRows()); i < len(sequences); i++ {
			sequences[i] = int64(first) + int64(i)
		}
		if err := put(b, v, rows, sequences); err != nil {
			return err
		}
	}
	return b.Commit()
}

// LoseOnline removes the online rows of a view, and nothing else.
func (e *Engine) LoseOnline(view driftline.ViewName) error {
	v, err := e.registry.View(view)
	if err != nil {
		return err
	}
	return e.online.DeleteView(v)
}

// LoseLog makes readers forget the ingest log of a view.
func (e *Engine) LoseLog(view driftline.ViewName) {
	now := e.heads.of(view)
	e.heads.committed(view, now.snapshot, firsts(now.log))
}

// MaintainAll is one round of upkeep of all tables, in which no snapshot expires.
func (e *Engine) MaintainAll(ctx context.Context) error { return e.maintainAll(ctx, false) }

// RebuildOnline makes the online rows of a view anew, as a rollback does.
func (e *Engine) RebuildOnline(ctx context.Context, view driftline.ViewName) error {
	defer e.tables.lock(viewTable(view).String())()
	return e.rebuildOnline(ctx, view, func(int64) {})
}

// ExpireOnline is the part of upkeep that removes expired online rows.
func (e *Engine) ExpireOnline(ctx context.Context) error { return e.expireOnline(ctx) }

// ExpireHistories is the part of upkeep that removes rows that no history has to keep.
func (e *Engine) ExpireHistories(ctx context.Context) error { return e.expireHistories(ctx) }

// Damage spoils the log entries of weather, or the intents, and counts them.
func (e *Engine) Damage(t testing.TB, what string) (n int) {
	prefix := logPrefix("weather")
	if what == "intent" {
		prefix = []byte{kv.Intents}
	}
	b := e.kv.NewBatch()
	defer b.Close()
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			t.Fatal(err)
		}
		b.Set(pair.Key, append(slices.Clone(pair.Value), '!'))
		n++
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return n
}

// CheckIfDue is what upkeep does of checks in one round.
func (e *Engine) CheckIfDue(ctx context.Context) error { return e.checkIfDue(ctx) }

// OnlinePlansKept is how many plans the engine remembers.
func (e *Engine) OnlinePlansKept() int {
	e.onlinePlans.mu.RLock()
	defer e.onlinePlans.mu.RUnlock()
	return len(e.onlinePlans.plans)
}

// FeatureSetKey is what a plan is remembered under.
func FeatureSetKey(set driftline.FeatureSet) []byte { return appendFeatureSet(nil, set) }

// EvaluationSteps are the steps at which a crash is tried: three of an evaluation, and two
// of the flush of its results.
var EvaluationSteps = []string{stepPaneCompared, stepPaneDecided, stepPaneRecorded, stepResultsStaged, stepResultsCommitted}

// FlushResults moves the results of monitors into a file.
func (e *Engine) FlushResults(ctx context.Context) error { return e.flushResults(ctx) }

// LosePieces removes the checksums of the pieces of contents, as if they were stored before
// there were any.
func (e *Engine) LosePieces(t interface{ Fatal(...any) }) {
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.DeletePrefix([]byte{kv.ContentPieces})
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
}

// HoldCommits keeps small writes from being committed until release is called.
func (e *Engine) HoldCommits() (release func()) {
	e.pushes.committing.Lock()
	return e.pushes.committing.Unlock
}

// LimitPredictions bounds prediction logs that are made from now on.
func (e *Engine) LimitPredictions(rows int, bytes int64) {
	e.predictions.mu.Lock()
	defer e.predictions.mu.Unlock()
	e.predictions.limits = predictions.Limits{Rows: rows, Bytes: bytes}
}

// OnlineEntities is how many entities of a view are online, of ten that are looked for.
func (e *Engine) OnlineEntities(name driftline.ViewName) (int, error) {
	view, err := e.registry.View(name)
	if err != nil {
		return 0, err
	}
	near := make([]arrow.Array, len(view.JoinKeys))
	for i, k := range view.JoinKeys {
		near[i] = array.NewBuilder(e.mem, k.Type.Arrow()).NewArray()
		defer near[i].Release()
	}
	keys, err := e.online.Sample(e.mem, view, near, 10, rand.New(rand.NewPCG(1, 1)))
	defer func() {
		for _, k := range keys {
			k.Release()
		}
	}()
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	return keys[0].Len(), nil
}

// PointSteps are the steps of a move of points into files at which a crash is tried.
var PointSteps = []string{stepPointsStaged, stepPointsMarked, stepPointsCommitted, stepPointsMoved}

// StepPointsErased is where points of removed runs are in the newest snapshot no more.
const StepPointsErased = stepPointsErased

// MovePoints moves points of metrics into files: those of every run, or of the runs that are due.
func (e *Engine) MovePoints(ctx context.Context, all bool) (int64, error) {
	return e.movePoints(ctx, all)
}

// PointFiles is what files have of the points of metrics.
func (e *Engine) PointFiles() registry.PointFiles { return e.points.sequences }
