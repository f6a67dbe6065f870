package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
	"github.com/driftline/driftline/storage/kv"
)

// The steps of a rollout between which a crash is tried.
const (
	stepRolloutCounted  = "rollout counted"
	stepRolloutDecided  = "rollout decided"
	stepRolloutRecorded = "rollout recorded"
	stepAliasDecided    = "champion decided"
	stepAliasRecorded   = "champion recorded"
)

// rollouts are those that are under way. Their states are kept under
//
//	'q' ∥ 's' ∥ rollout's ID  →  JSON of keptRollout
//	'q' ∥ 'n' ∥ model         →  JSON of the queuedRollout that waits, if one does
//
// and are written in one batch with their lines in the ledger, with the notices and with the
// champion's alias where that moves. Package rollout decides; what is here is the disk,
// the clock and the model's files.
type rollouts struct {
	live   sync.Map   // driftline.ModelName → *liveRollout
	models keyedMutex // by model: one step of its rollouts at a time
	wake   chan struct{}
}

// keptRollout is a rollout as it is kept.
type keptRollout struct {
	rollout.State
	Notices []driftline.PolicyNotice `json:"notices,omitempty"`
}

// liveRollout is a rollout that is under way.
type liveRollout struct {
	id       driftline.RolloutID
	model    driftline.ModelName
	router   atomic.Pointer[routing.Router] // nil while it leaves nobody to answer
	observed observed
	tending  sync.Mutex // one goroutine looks after it at a time

	// The rest is guarded by the model's lock in rollouts.
	kept    keptRollout
	ticked  time.Duration // by the engine's uptime; less than 0: not yet
	written time.Duration // likewise
	failure string        // why the last step could not be written
}

func rolloutKey(id driftline.RolloutID) []byte {
	return append([]byte{kv.Rollouts, 's'}, id...)
}

func queueKey(model driftline.ModelName) []byte {
	return append([]byte{kv.Rollouts, 'n'}, model...)
}

// loadRollouts takes up the rollouts that are under way. If the folder was restored from a
// backup they are paused.
func (e *Engine) loadRollouts(restored bool) error {
	for _, known := range e.registry.Rollouts("") {
		if known.Phase.Ended() {
			continue
		}
		kept, err := e.keptRollout(known.ID)
		if err != nil {
			return err
		}
		live := newLive(kept)
		e.rollouts.live.Store(live.model, live)
		if restored {
			if err := e.stepRollout(live, rollout.Event{Kind: rollout.Restored}); err != nil {
				return err
			}
		}
	}
	return nil
}

func newLive(kept keptRollout) *liveRollout {
	live := &liveRollout{id: kept.ID, model: kept.Model, kept: kept, ticked: -1}
	live.reroute()
	return live
}

// reroute makes the route of the state the one that requests are dealt by.
func (l *liveRollout) reroute() {
	router, err := routing.New(l.kept.Route)
	if err != nil {
		router = nil // it has no arms: there is no champion yet
	}
	l.router.Store(router)
}

// keptRollout reads the state of a rollout.
func (e *Engine) keptRollout(id driftline.RolloutID) (kept keptRollout, err error) {
	raw, err := e.kv.Get(rolloutKey(id))
	if err != nil {
		return kept, err
	}
	if err := json.Unmarshal(raw, &kept); err != nil || raw == nil {
		return kept, driftline.Errorf(driftline.DataLoss, "the state of rollout %s is damaged", id).WithRef(driftline.RolloutRef(id)).
			WithHint("restore the data folder from a backup")
	}
	return kept, nil
}

// rolloutStep is a rollout after a step, and what is to happen.
type rolloutStep struct {
	kept    keptRollout
	effects []rollout.Effect
}

// step takes an event into account, without writing anything.
func (l *liveRollout) step(event rollout.Event, now time.Time) (rolloutStep, error) {
	next, effects, err := rollout.Step(l.kept.State, event, now)
	return rolloutStep{keptRollout{next, l.kept.Notices}, effects}, err
}

// stepRollout commits what an event makes of a rollout. The caller holds the model's lock.
func (e *Engine) stepRollout(l *liveRollout, event rollout.Event) error {
	next, err := l.step(event, e.now().UTC())
	if err != nil {
		return err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	if err := e.recordStep(tx, &next); err != nil {
		return err
	}
	return e.commitStep(tx, l, &next, stepRolloutDecided, stepRolloutRecorded)
}

// commitStep makes a step durable, and then visible.
func (e *Engine) commitStep(tx *registry.Tx, l *liveRollout, next *rolloutStep, before, after string) error {
	if err := e.reached(before); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := e.reached(after); err != nil {
		return err
	}
	e.showStep(l, next)
	return nil
}

// showStep lets requests and readers see a step that is durable.
func (e *Engine) showStep(l *liveRollout, next *rolloutStep) {
	l.kept, l.written, l.failure = next.kept, e.uptime(), ""
	l.reroute()
	if l.kept.Phase.Ended() {
		e.rollouts.live.CompareAndDelete(l.model, l)
	}
	if slices.ContainsFunc(next.effects, func(f rollout.Effect) bool { return f.Kind == rollout.EffectNotice }) {
		e.wakeOutbox()
	}
}

// recordStep adds to a transaction all that a step leaves behind: its state, a line of the
// ledger for each change, and whom it tells.
func (e *Engine) recordStep(tx *registry.Tx, next *rolloutStep) (err error) {
	kept := &next.kept
	var line registry.Line
	for _, effect := range next.effects {
		switch effect.Kind {
		case rollout.EffectRecord:
			if line, err = tx.ChangeRollout(kept.Rollout, effect.Transition); err != nil {
				return err
			}
		case rollout.EffectNotice:
			if line.Sequence == 0 {
				if line, err = tx.ChangeRollout(kept.Rollout, nil); err != nil {
					return err
				}
			}
			h := driftline.Happening{Event: effect.Event, Model: kept.Model, Ref: kept.Ref(), Text: effect.Text, Time: tx.Time()}
			if err := addHappening(tx, line.Sequence, kept.Notices, h); err != nil {
				return err
			}
		}
	}
	if kept.Phase.Ended() { // nothing is judged any more
		kept.Evidence.Candidates, kept.Evidence.Champions, kept.Evidence.Events, kept.Evidence.Clusters = rollout.Keys{}, rollout.Keys{}, nil, nil
	}
	return setState(tx.Batch(), kept)
}

func setState(batch *kv.Batch, kept *keptRollout) error {
	encoded, err := json.Marshal(kept)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "the state of rollout %s cannot be written as JSON: %w", kept.ID, err)
	}
	batch.Set(rolloutKey(kept.ID), encoded)
	return nil
}

// liveRollout returns the rollout of a model that is under way, or nil.
func (e *Engine) liveRollout(model driftline.ModelName) *liveRollout {
	live, ok := e.rollouts.live.Load(model)
	if !ok {
		return nil
	}
	return live.(*liveRollout)
}

// rolloutLoop looks after the rollouts until the engine closes. One that takes long, because its
// model is read, keeps no other one waiting.
func (e *Engine) rolloutLoop(ctx context.Context, every time.Duration) {
	for range rounds(ctx, every, e.rollouts.wake) {
		e.rollouts.live.Range(func(_, value any) bool {
			live := value.(*liveRollout)
			if !live.tending.TryLock() {
				return true
			}
			e.work.Go(func() {
				defer live.tending.Unlock()
				e.tend(ctx, live)
			})
			return true
		})
	}
}

func (e *Engine) wakeRollouts() {
	select {
	case e.rollouts.wake <- struct{}{}:
	default:
	}
}

// TendRollouts looks once after every rollout, as the engine does by itself each second.
func (e *Engine) TendRollouts(ctx context.Context) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	var errs []error
	e.rollouts.live.Range(func(_, value any) bool {
		live := value.(*liveRollout)
		live.tending.Lock()
		defer live.tending.Unlock()
		errs = append(errs, e.tendOnce(ctx, live))
		return true
	})
	return errors.Join(errs...)
}

func (e *Engine) tend(ctx context.Context, l *liveRollout) {
	if err := e.tendOnce(ctx, l); err != nil && ctx.Err() == nil {
		e.log.Error("a rollout is held, because what became of it cannot be written", "rollout", string(l.id), "error", err)
	}
}

// tendOnce takes in what happened to a rollout, decides, and does what was decided. The caller
// holds l.tending.
func (e *Engine) tendOnce(ctx context.Context, l *liveRollout) error {
	err := e.withRollout(l, func() error {
		if err := e.noticeMoved(l); err != nil {
			return err
		}
		return e.tick(l)
	})
	if err != nil {
		return err
	}
	if err := e.applyOpen(ctx, l); err != nil {
		return err
	}
	if err := e.reweigh(ctx, l); err != nil && ctx.Err() == nil {
		e.log.Error("the shares of a mixture stay as they are; they are estimated again", "rollout", string(l.id), "error", err)
	}
	return e.startQueued(l.model)
}

// withRollout calls f with the model's lock, if the rollout is still under way.
func (e *Engine) withRollout(l *liveRollout, f func() error) error {
	unlock := e.rollouts.models.lock(string(l.model))
	defer unlock()
	if e.liveRollout(l.model) != l {
		return nil
	}
	return f()
}

// noticeMoved takes in that somebody else moved the champion's alias.
func (e *Engine) noticeMoved(l *liveRollout) error {
	at, err := e.registry.Champion(l.model)
	if err != nil {
		at = 0
	}
	expected := l.kept.Champion
	if l.kept.Moved {
		expected = l.kept.Candidate
	}
	if at == expected {
		return nil
	}
	event := rollout.Event{Kind: rollout.Moved, Version: at}
	if moves, err := e.registry.AliasHistory(l.model, driftline.AliasChampion); err == nil && len(moves) > 0 {
		last := moves[len(moves)-1]
		event.By, event.Reason = last.By, last.Reason
	}
	next, err := l.step(event, e.now().UTC())
	if err != nil || next.kept.Sequence == l.kept.Sequence {
		return err
	}
	return e.stepRollout(l, event)
}

// tick lets time pass and judges. What could not be written is taken in again at the next
// tick, which then concludes nothing.
func (e *Engine) tick(l *liveRollout) error {
	observations, blind := l.observed.take()
	if l.failure != "" {
		blind = l.failure
	}
	now := e.uptime()
	event := rollout.Event{Kind: rollout.Tick, Observations: observations, Blind: blind}
	if l.ticked >= 0 {
		event.Elapsed = driftline.Duration(now - l.ticked)
	}
	next, err := l.step(event, e.now().UTC())
	if err == nil {
		err = e.commitTick(l, &next, len(observations) > 0)
	}
	if err != nil {
		l.observed.giveBack(observations)
		l.failure = "what the requests came to cannot be written: " + shownError(err)
		return err
	}
	l.ticked = now
	return nil
}

// commitTick writes a tick if there is something in it that must not be lost: time that was
// watched is written now and then.
func (e *Engine) commitTick(l *liveRollout, next *rolloutStep, counted bool) error {
	if len(next.effects) == 0 && !counted && next.kept.Blind == l.kept.Blind && e.uptime()-l.written < writeElapsedEvery {
		l.kept, l.failure = next.kept, ""
		return nil
	}
	if len(next.effects) == 0 { // no line of the ledger
		batch := e.kv.NewBatch()
		defer batch.Close()
		if err := cmp.Or(setState(batch, &next.kept), e.reached(stepRolloutCounted)); err != nil {
			return err
		}
		if err := batch.Commit(); err != nil {
			return err
		}
		e.showStep(l, next)
		return nil
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	if err := e.recordStep(tx, next); err != nil {
		return err
	}
	return e.commitStep(tx, l, next, stepRolloutDecided, stepRolloutRecorded)
}

// writeElapsedEvery is how much watched time a crash can take from a rollout without requests.
const writeElapsedEvery = 15 * time.Second

// applyOpen does what a rollout awaits, in its order.
func (e *Engine) applyOpen(ctx context.Context, l *liveRollout) error {
	for {
		var open *rollout.Effect
		if err := e.withRollout(l, func() error {
			if len(l.kept.Open) > 0 && l.kept.Phase != driftline.RolloutPaused {
				first := l.kept.Open[0]
				open = &first
			}
			return nil
		}); err != nil || open == nil {
			return err
		}
		unfit, err := e.unfit(ctx, l.model, open.Version)
		if err != nil {
			return err
		}
		if err := e.withRollout(l, func() error { return e.applyEffect(l, open, unfit) }); err != nil {
			return err
		}
	}
}

// applyEffect does one effect and takes in its outcome, in one batch, unless it was done or
// dropped meanwhile. unfit says why the version cannot answer.
func (e *Engine) applyEffect(l *liveRollout, effect *rollout.Effect, unfit string) error {
	if !slices.ContainsFunc(l.kept.Open, func(f rollout.Effect) bool { return f.ID == effect.ID }) {
		return nil
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	event := rollout.Event{Kind: rollout.Applied, Effect: effect.ID}
	if unfit == "" && effect.Kind == rollout.EffectAlias {
		err := tx.MoveChampion(registry.ChampionMove{
			Model: l.model, From: effect.From, To: effect.Version, Rollout: l.kept.ID, Reason: effect.Text, By: l.kept.By,
			Back: effect.Version == l.kept.Champion,
		})
		switch driftline.CodeOf(err) {
		case "":
		case driftline.Conflict, driftline.FailedPrecondition, driftline.NotFound:
			unfit = shownError(err)
		default:
			return err
		}
	}
	if unfit != "" {
		event.Kind, event.Reason = rollout.Refused, unfit
	}
	next, err := l.step(event, e.now().UTC())
	if err != nil {
		return err
	}
	if err := e.recordStep(tx, &next); err != nil {
		return err
	}
	return e.commitStep(tx, l, &next, stepAliasDecided, stepAliasRecorded)
}
