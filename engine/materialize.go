package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// keptMaterializations is how many jobs are remembered after their end; the ledger keeps
// what each did to each view.
const keptMaterializations = 1000

// materializations are the jobs that bring rows online which were written offline only.
// They are written down when they begin and carried on when the folder is opened after a
// crash: a row that is brought online twice is the same row.
type materializations struct {
	mu   sync.Mutex
	next uint64
	jobs []*materializing // in the order in which they began
}

// materializing is a job. What it has done is guarded by materializations.mu.
type materializing struct {
	number uint64
	state  driftline.Materialization
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
}

// Materialize begins a job that brings rows online which were written offline only, and
// returns it. [Engine.Materialized] waits for its end.
//
// It is a Conflict if a job under way has one of the views, unless the request is to
// force it.
func (e *Engine) Materialize(ctx context.Context, req driftline.MaterializationRequest) (driftline.Materialization, error) {
	if err := e.begin(); err != nil {
		return driftline.Materialization{}, err
	}
	defer e.end()
	job, err := e.newMaterialization(req)
	if err != nil {
		return driftline.Materialization{}, err
	}
	m := &e.materializations
	for {
		m.mu.Lock()
		others := m.conflicting(job.Views)
		if len(others) == 0 {
			break // with the lock held
		}
		m.mu.Unlock()
		if !req.Force {
			return driftline.Materialization{}, materializingAlready(others)
		}
		for _, other := range others {
			other.cancel()
			select {
			case <-other.ended:
			case <-ctx.Done():
				return driftline.Materialization{}, context.Cause(ctx)
			}
		}
	}
	defer m.mu.Unlock()
	added := m.add(job)
	if err := e.storeMaterialization(added); err != nil {
		m.jobs = m.jobs[:len(m.jobs)-1]
		return driftline.Materialization{}, err
	}
	e.startMaterialization(added)
	return added.shown(), nil
}

// newMaterialization checks a request.
func (e *Engine) newMaterialization(req driftline.MaterializationRequest) (driftline.Materialization, error) {
	job := driftline.Materialization{
		Start: req.Start, End: req.End, Incremental: req.Incremental, Rebuild: req.Rebuild,
		State: driftline.MaterializationRunning, Done: []driftline.ViewName{}, Started: e.now().UTC(),
	}
	switch {
	case req.Rebuild && (req.Incremental || !req.Start.IsZero() || !req.End.IsZero()):
		return job, driftline.Errorf(driftline.Invalid, "a rebuild has no times").
			WithHint("it makes all online rows of the views anew; leave start, end and incremental out")
	case req.Rebuild && len(req.Views) == 0:
		return job, driftline.Errorf(driftline.Invalid, "the rebuild names no views").
			WithHint("name those whose online rows are to be made anew")
	case req.End.IsZero() && !req.Rebuild:
		return job, driftline.Errorf(driftline.Invalid, "the materialization has no end").
			WithHint("say up to which event time rows go online")
	case !req.Start.IsZero() && req.Start.After(req.End):
		return job, driftline.Errorf(driftline.Invalid, "the materialization's start %s is after its end %s", req.Start.Format(time.RFC3339Nano), req.End.Format(time.RFC3339Nano)).
			WithHint("give the earlier time as the start")
	}
	names := slices.Clone(req.Views)
	if len(names) == 0 {
		for _, view := range e.registry.Views() {
			if checkMaterialized(&view) == nil {
				names = append(names, view.Name)
			}
		}
	}
	for _, name := range names {
		view, err := e.registry.View(e.registry.Meant(name))
		if err != nil {
			return job, err
		}
		if err := checkMaterialized(view); err != nil {
			return job, err
		}
		if slices.Contains(job.Views, view.Name) {
			continue
		}
		job.Views = append(job.Views, view.Name)
		if req.Rebuild {
			job.Total += e.rowsToRebuild(view)
			continue
		}
		for _, rows := range e.heads.of(view.Name).held {
			job.Total += rows.rows()
		}
	}
	return job, nil
}

// checkMaterialized refuses views that are not served.
func checkMaterialized(view *driftline.FeatureView) error {
	if view.Horizon > 0 {
		return driftline.Errorf(driftline.FailedPrecondition, "view %q has labels, which are not served online", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("leave it out")
	}
	if !view.ServedOnline() {
		return driftline.Errorf(driftline.FailedPrecondition, "view %q is a prediction log, which is not served online", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("leave it out")
	}
	return checkWritable(view)
}

// materializingAlready is the refusal of a job whose views others are at work on.
func materializingAlready(others []*materializing) error {
	var ids, views []string
	for _, other := range others {
		ids = append(ids, other.state.ID)
		for _, view := range other.state.Views {
			views = append(views, string(view))
		}
	}
	slices.Sort(views)
	return driftline.Errorf(driftline.Conflict, "feature views are being materialized already: %s", strings.Join(slices.Compact(views), ", ")).
		WithHint("wait for %s to end, cancel it, or use force", strings.Join(ids, " and "))
}

// conflicting returns the jobs under way that have one of the views.
func (m *materializations) conflicting(views []driftline.ViewName) []*materializing {
	var others []*materializing
	for _, job := range m.jobs {
		if job.state.State == driftline.MaterializationRunning && slices.ContainsFunc(views, func(v driftline.ViewName) bool { return slices.Contains(job.state.Views, v) }) {
			others = append(others, job)
		}
	}
	return others
}

// add gives a job its number. The caller holds mu.
func (m *materializations) add(state driftline.Materialization) *materializing {
	m.next++
	state.ID = fmt.Sprintf("materialize-%d", m.next)
	job := &materializing{number: m.next, state: state, ended: make(chan struct{})}
	m.jobs = append(m.jobs, job)
	return job
}

// shown is the job as callers see it. The caller holds materializations.mu.
func (j *materializing) shown() driftline.Materialization {
	state := j.state
	state.Done = slices.Clone(state.Done)
	return state
}

// Materializations returns the jobs, the newest first.
func (e *Engine) Materializations() []driftline.Materialization {
	m := &e.materializations
	m.mu.Lock()
	defer m.mu.Unlock()
	shown := make([]driftline.Materialization, 0, len(m.jobs))
	for _, job := range slices.Backward(m.jobs) {
		shown = append(shown, job.shown())
	}
	return shown
}

// Materialization returns a job as it is now.
func (e *Engine) Materialization(id string) (driftline.Materialization, error) {
	job, err := e.materializations.find(id)
	if err != nil {
		return driftline.Materialization{}, err
	}
	e.materializations.mu.Lock()
	defer e.materializations.mu.Unlock()
	return job.shown(), nil
}

func (m *materializations) find(id string) (*materializing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, job := range m.jobs {
		if job.state.ID == id {
			return job, nil
		}
		ids = append(ids, job.state.ID)
	}
	return nil, driftline.Unknown("materialization", fmt.Sprintf("%.80s", id), ids)
}

// Materialized waits until a job has ended, and returns it. If it did not succeed, the
// error says why. When ctx ends first the job goes on.
func (e *Engine) Materialized(ctx context.Context, id string) (driftline.Materialization, error) {
	job, err := e.materializations.find(id)
	if err != nil {
		return driftline.Materialization{}, err
	}
	select {
	case <-job.ended:
	case <-ctx.Done():
		return driftline.Materialization{}, context.Cause(ctx)
	}
	state, err := e.Materialization(id)
	switch state.State {
	case driftline.MaterializationFailed:
		err = driftline.Errorf(driftline.Internal, "%s failed: %s", id, state.Error)
	case driftline.MaterializationCancelled:
		err = driftline.Errorf(driftline.Unavailable, "%s was cancelled", id).WithHint("start it again: what it brought online is online")
	case driftline.MaterializationRunning:
		err = driftline.Errorf(driftline.Unavailable, "the server is stopping").WithHint("%s goes on when it is up", id)
	}
	return state, err
}

// CancelMaterialization ends a job and waits for that. What it brought online stays so;
// one that has ended is left as it is.
func (e *Engine) CancelMaterialization(ctx context.Context, id string) (driftline.Materialization, error) {
	job, err := e.materializations.find(id)
	if err != nil {
		return driftline.Materialization{}, err
	}
	job.cancel()
	select {
	case <-job.ended:
	case <-ctx.Done():
		return driftline.Materialization{}, context.Cause(ctx)
	}
	return e.Materialization(id)
}

// startMaterialization runs a job in the background. The caller holds materializations.mu.
func (e *Engine) startMaterialization(job *materializing) {
	job.ctx, job.cancel = context.WithCancel(e.background)
	e.work.Go(func() {
		defer job.cancel()
		e.endMaterialization(job, e.materialize(job.ctx, job))
	})
}

// endMaterialization writes down how a job ended. If the engine is closing it did not: it
// goes on when the folder is opened again.
func (e *Engine) endMaterialization(job *materializing, err error) {
	m := &e.materializations
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(job.ended)
	var shown *driftline.Error
	switch {
	case err == nil:
		job.state.State = driftline.MaterializationDone
	case e.background.Err() != nil:
		return
	case job.ctx.Err() != nil:
		job.state.State = driftline.MaterializationCancelled
	default:
		e.log.Error("a materialization failed", "id", job.state.ID, "error", err)
		job.state.State, job.state.Error = driftline.MaterializationFailed, "internal error; the server's log names the cause"
		if errors.As(err, &shown) {
			job.state.Error = shown.Error()
		}
	}
	job.state.Ended = e.now().UTC()
	if err := e.storeMaterialization(job); err != nil {
		e.log.Error("how a materialization ended was not written down", "id", job.state.ID, "error", err)
	}
}

// materialize carries out a job.
func (e *Engine) materialize(ctx context.Context, job *materializing) error {
	span := eventSpan{math.MinInt64, job.state.End.UnixMicro()}
	if !job.state.Start.IsZero() && !job.state.Incremental {
		span.from = job.state.Start.UnixMicro()
	}
	for _, name := range job.state.Views {
		if slices.Contains(job.state.Done, name) { // before a crash
			continue
		}
		view := &materializedView{engine: e, job: job, name: name, span: span}
		run := view.run
		if job.state.Rebuild {
			run = view.rebuild
		}
		if err := run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// materializedView is one view of a job.
type materializedView struct {
	engine *Engine
	job    *materializing
	name   driftline.ViewName
	span   eventSpan
	held   []*heldRows // that were held back when it began, and may have rows in span
	rows   int64       // brought online
}

// run brings the held rows of the span online, file by file, so that writers need not wait
// for long. A file that compaction makes meanwhile is looked at too: the rows are then in
// files that were, and merging a row twice changes nothing. If all online rows are made
// anew meanwhile, without the held ones, it begins again.
func (v *materializedView) run(ctx context.Context) error {
	e := v.engine
	for _, rows := range e.heads.of(v.name).held {
		if rows.touches(v.span) {
			v.held = append(v.held, rows)
		}
	}
	view, err := e.registry.View(v.name)
	if err != nil {
		return err
	}
	if len(v.held) > 0 {
		if err := e.flush(ctx, view); err != nil { // then they are all in files
			return err
		}
	}
	seen, rebuilds := map[string]bool{}, -1
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done, err = v.step(ctx, seen, &rebuilds); err != nil {
			return err
		}
	}
	return nil
}

// rebuild makes all online rows of the view anew.
func (v *materializedView) rebuild(ctx context.Context) error {
	e := v.engine
	defer e.tables.lock(viewTable(v.name).String())()
	if err := e.checkHealthy(v.name); err != nil {
		return err
	}
	if err := e.rebuildOnline(ctx, v.name, v.count); err != nil {
		return err
	}
	return v.finish(e.heads.of(v.name).snapshot)
}

// step looks at one file, or ends the work if there is none left.
func (v *materializedView) step(ctx context.Context, seen map[string]bool, rebuilds *int) (done bool, err error) {
	e := v.engine
	unlock := e.tables.lock(viewTable(v.name).String())
	defer unlock()
	if err := e.checkHealthy(v.name); err != nil {
		return false, err
	}
	view, err := e.registry.View(v.name)
	if err != nil {
		return false, err
	}
	now := e.heads.of(v.name)
	if now.rebuilds != *rebuilds {
		*rebuilds = now.rebuilds
		clear(seen)
	}
	if len(v.held) > 0 {
		f, left, err := v.nextFile(ctx, now.snapshot, seen)
		if err != nil {
			return false, err
		}
		if left {
			part := now.snapshot
			part.Files = []offline.File{f}
			if view.KeepsHistory() { // since the rows were written
				if err := e.extendHistory(view, v.due(ctx, view, part)); err != nil {
					return false, err
				}
			}
			return false, e.mergeOnline(view, e.newestIn(ctx, view, counted(v.due(ctx, view, part), v.count)))
		}
	}
	if err := e.reached(stepMaterialized); err != nil {
		return false, err
	}
	return true, v.finish(now.snapshot)
}

// nextFile returns a file that was not seen before and may have held rows, by the write
// sequences that the manifests say it has; false if there is none. It notes that it was seen.
func (v *materializedView) nextFile(ctx context.Context, snapshot offline.Snapshot, seen map[string]bool) (next offline.File, left bool, err error) {
	if !slices.ContainsFunc(snapshot.Files, func(f offline.File) bool { return !seen[f.Hash] }) {
		return next, false, nil
	}
	ranges, err := v.engine.offline.Ranges(ctx, snapshot, offline.Order{Then: []string{driftline.SequenceColumn}})
	if err != nil {
		return next, false, err
	}
	for _, r := range ranges {
		if seen[r.Hash] {
			continue
		}
		seen[r.Hash] = true
		first, known := r.Low[0].(int64)
		last, alsoKnown := r.High[0].(int64)
		if r.Unknown || !known || !alsoKnown || v.holdsAny(uint64(first), uint64(last)) {
			return r.File, true, nil
		}
	}
	return next, false, nil
}

// holdsAny reports whether rows of some write sequences, first and last included, are among
// the held ones.
func (v *materializedView) holdsAny(first, last uint64) bool {
	return slices.ContainsFunc(v.held, func(h *heldRows) bool { return h.first <= last && first <= h.last })
}

// stepMaterialized is after a view's rows are online, and before that is written down.
const stepMaterialized = "rows materialized"

// due yields the rows of files that are to go online.
func (v *materializedView) due(ctx context.Context, view *driftline.FeatureView, part offline.Snapshot) driftline.Batches {
	e := v.engine
	rows := e.readAs(ctx, part, view, view.StoredSchema())
	return e.where(ctx, view, rows, func(sequence uint64, event int64) bool {
		return v.span.from <= event && event <= v.span.to && holds(v.held, sequence, event)
	})
}

// count takes note of rows that were looked at.
func (v *materializedView) count(rows int64) {
	v.rows += rows
	m := &v.engine.materializations
	m.mu.Lock()
	defer m.mu.Unlock()
	v.job.state.Rows += rows
}

// counted calls count with the rows of each batch that passes.
func counted(rows driftline.Batches, count func(rows int64)) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err == nil {
				count(b.NumRows())
			}
			if !yield(b, err) {
				return
			}
		}
	}}
}

// finish writes down that the rows are online, in the ledger too. Small writes may have
// been joined to held rows since: those stay held back.
func (v *materializedView) finish(snapshot offline.Snapshot) error {
	e := v.engine
	e.pushes.committing.Lock()
	defer e.pushes.committing.Unlock()
	tx := e.registry.Begin()
	defer tx.Discard()
	var left []*heldRows
	for _, rows := range e.heads.of(v.name).held {
		after, err := v.release(tx.Batch(), rows)
		if err != nil {
			return err
		}
		left = append(left, after...)
	}
	m := &e.materializations
	m.mu.Lock()
	job := v.job.shown()
	m.mu.Unlock()
	job.Done = append(job.Done, v.name)
	if err := storeJob(tx.Batch(), v.job.number, job); err != nil {
		return err
	}
	if err := tx.AddMaterialization(registry.Materialized{
		View: v.name, Job: job.ID, Start: job.Start, End: job.End, Rows: v.rows, Snapshot: snapshot.ID,
	}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	e.heads.materialized(v.name, left)
	m.mu.Lock()
	v.job.state.Done = job.Done
	m.mu.Unlock()
	return nil
}

// release returns what is left of held rows, and adds that to a batch.
func (v *materializedView) release(b *kv.Batch, rows *heldRows) ([]*heldRows, error) {
	at := slices.IndexFunc(v.held, func(h *heldRows) bool { return h.first == rows.first })
	if at < 0 {
		return []*heldRows{rows}, nil
	}
	var left []*heldRows
	was := v.held[at]
	if still := was.without(v.span); still != nil {
		still.small = false
		left = append(left, still)
	} else {
		b.Delete(heldKey(v.name, was.first))
	}
	if rows.last > was.last {
		left = append(left, &heldRows{first: was.last + 1, last: rows.last, from: rows.from, to: rows.to, small: true})
	}
	for _, one := range left {
		if err := one.store(b, v.name); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// materializationKey is 'z' ∥ number (8 bytes, big endian).
func materializationKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kv.Materializations}, number)
}

func storeJob(b *kv.Batch, number uint64, job driftline.Materialization) error {
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	b.Set(materializationKey(number), raw)
	return nil
}

// storeMaterialization writes a job down, and forgets the oldest of those that ended if
// there are too many. The caller holds materializations.mu.
func (e *Engine) storeMaterialization(job *materializing) error {
	b := e.kv.NewBatch()
	defer b.Close()
	if err := storeJob(b, job.number, job.state); err != nil {
		return err
	}
	m := &e.materializations
	if over := len(m.jobs) - keptMaterializations; over > 0 {
		m.jobs = slices.DeleteFunc(m.jobs, func(old *materializing) bool {
			if over == 0 || old.state.State == driftline.MaterializationRunning {
				return false
			}
			over--
			b.Delete(materializationKey(old.number))
			return true
		})
	}
	return b.Commit()
}

// resumeMaterializations reads the jobs, and carries on those that were under way.
func (e *Engine) resumeMaterializations() error {
	m := &e.materializations
	m.mu.Lock()
	defer m.mu.Unlock()
	for pair, err := range e.kv.ScanPrefix([]byte{kv.Materializations}) {
		if err != nil {
			return err
		}
		job := &materializing{ended: make(chan struct{}), cancel: func() {}}
		if len(pair.Key) != 9 || json.Unmarshal(pair.Value, &job.state) != nil {
			e.log.Error("the record of a materialization is damaged; start it again", "key", fmt.Sprintf("%x", pair.Key))
			continue
		}
		job.number = binary.BigEndian.Uint64(pair.Key[1:])
		m.next = max(m.next, job.number)
		m.jobs = append(m.jobs, job)
		if job.state.State == driftline.MaterializationRunning {
			e.log.Info("recover: carrying on a materialization", "id", job.state.ID)
			job.state.Rows = 0 // files are looked at again
			e.startMaterialization(job)
			continue
		}
		close(job.ended)
	}
	return nil
}
