package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/rollout"
)

// applyPatience is how long a call waits for what it decided to be done; it is done anyway.
const applyPatience = 2 * time.Second

// queuedRollout is what waits until the rollout under way has ended.
type queuedRollout struct {
	driftline.RolloutRequest
	Policy int `json:"policy,omitempty"`
}

// StartRollout begins a rollout of a version of a model. A person's is a Conflict while another
// one is under way; a policy's takes its place or waits, as the plan of that one says.
func (e *Engine) StartRollout(ctx context.Context, request driftline.RolloutRequest) (driftline.RolloutStart, error) {
	if err := e.begin(); err != nil {
		return driftline.RolloutStart{}, err
	}
	defer e.end()
	if err := e.checkRequest(&request); err != nil {
		return driftline.RolloutStart{}, err
	}
	started, err := e.admit(request)
	if err == nil {
		e.wakeRollouts()
	}
	return started, err
}

// checkRequest checks a request and spells out what it means.
func (e *Engine) checkRequest(request *driftline.RolloutRequest) error {
	version, err := e.registry.ModelVersion(request.Model, request.Version)
	if err != nil {
		return err
	}
	request.Version = strconv.Itoa(version.Version)
	e.followPolicy(request)
	if err := e.checkMixture(request); err != nil {
		return err
	}
	for _, rule := range request.Notices {
		for _, channel := range rule.Channels {
			if err := e.outbox.channels.Check(channel); err != nil {
				return err
			}
		}
		for _, event := range rule.On {
			if !slices.Contains(driftline.PolicyEvents, event) {
				return driftline.Unknown("event", event, driftline.PolicyEvents)
			}
		}
	}
	return errors.Join(request.Plan.Check(), registry.CheckWords(request.By, request.Reason))
}

// checkMixture refuses a mixture with versions that there are not.
func (e *Engine) checkMixture(request *driftline.RolloutRequest) error {
	if request.Plan.Mixture == nil {
		return nil
	}
	for _, other := range request.Plan.Mixture.With {
		if other.Version < 1 {
			continue // the champion, or nothing that the plan's own check lets pass
		}
		if _, err := e.registry.ModelVersion(request.Model, strconv.Itoa(other.Version)); err != nil {
			return err
		}
	}
	return nil
}

// followPolicy fills in what a request leaves out, by the policy of the model.
func (e *Engine) followPolicy(request *driftline.RolloutRequest) {
	policy, err := e.registry.Policy(request.Model)
	if err != nil {
		policy = &driftline.Policy{} // there is none
	}
	if request.Plan == nil {
		plan := policy.Rollout
		request.Plan = &plan
	}
	if request.Notices == nil {
		request.Notices = policy.Notices
	}
}

func (e *Engine) admit(request driftline.RolloutRequest) (driftline.RolloutStart, error) {
	unlock := e.rollouts.models.lock(string(request.Model))
	defer unlock()
	live := e.liveRollout(request.Model)
	version, _ := strconv.Atoi(request.Version) // that checkRequest wrote
	var active *driftline.Rollout
	if live != nil {
		active = &live.kept.Rollout
		if request.Policy != 0 && active.Candidate == version {
			return driftline.RolloutStart{Admission: driftline.RolloutAdmitted, Rollout: e.statusOf(&live.kept)}, nil // it is asked again
		}
	}
	spec := rollout.Spec{Model: request.Model, Candidate: version, Plan: *request.Plan, Policy: request.Policy, By: request.By, Reason: request.Reason}
	admission, err := rollout.Admit(active, e.registry.Rollouts(request.Model), &spec)
	if err != nil {
		return driftline.RolloutStart{}, err
	}
	started := driftline.RolloutStart{Admission: driftline.RolloutAdmission(admission)}
	if admission == rollout.Queues {
		if err := e.queue(request); err != nil {
			return started, err
		}
		started.Rollout = e.statusOf(&live.kept)
		return started, nil
	}
	if admission == rollout.Admitted {
		live = nil
	}
	begun, err := e.beginRollout(spec, request.Notices, live)
	if err == nil {
		started.Rollout = e.statusOf(&begun.kept)
	}
	return started, err
}

// beginRollout commits the first state of a rollout, and with it the end of the one that it
// supersedes, if there is one, and of its waiting.
func (e *Engine) beginRollout(spec rollout.Spec, notices []driftline.PolicyNotice, superseded *liveRollout) (*liveRollout, error) {
	now := e.now().UTC()
	tx := e.registry.Begin()
	defer tx.Discard()
	var ended rolloutStep
	if superseded != nil {
		var err error
		if ended, err = superseded.step(rollout.Event{Kind: rollout.Newer, Version: spec.Candidate, By: spec.By}, now); err != nil {
			return nil, err
		}
		if err := e.recordStep(tx, &ended); err != nil {
			return nil, err
		}
	}
	spec.ID, spec.After = tx.NextRollout(spec.Model)
	spec.Champion = tx.Champion(spec.Model)
	state, effects, err := rollout.Start(spec, now)
	if err != nil {
		return nil, err
	}
	first := rolloutStep{keptRollout{state, notices}, effects}
	if err := e.recordStep(tx, &first); err != nil {
		return nil, err
	}
	tx.Batch().Delete(queueKey(spec.Model))
	live := newLive(first.kept)
	if err := e.commitStep(tx, live, &first, stepRolloutDecided, stepRolloutRecorded); err != nil {
		return nil, err
	}
	e.rollouts.live.Store(spec.Model, live)
	return live, nil
}

// queue lets a request wait; of several the newest one.
func (e *Engine) queue(request driftline.RolloutRequest) error {
	encoded, err := json.Marshal(queuedRollout{request, request.Policy})
	if err != nil {
		return err
	}
	batch := e.kv.NewBatch()
	defer batch.Close()
	batch.Set(queueKey(request.Model), encoded)
	return batch.Commit()
}

func (e *Engine) queued(model driftline.ModelName) (*queuedRollout, error) {
	raw, err := e.kv.Get(queueKey(model))
	if err != nil || raw == nil {
		return nil, err
	}
	waiting := new(queuedRollout)
	if err := json.Unmarshal(raw, waiting); err != nil {
		return nil, driftline.Errorf(driftline.DataLoss, "the rollout of model %q that waits is damaged", model).WithHint("restore the data folder from a backup")
	}
	waiting.RolloutRequest.Policy = waiting.Policy
	return waiting, nil
}

// startQueued begins what waits, once nothing of the model is under way. What cannot begin any
// more is forgotten, with a line of the log.
func (e *Engine) startQueued(model driftline.ModelName) error {
	if e.liveRollout(model) != nil {
		return nil
	}
	waiting, err := e.queued(model)
	if err != nil || waiting == nil {
		return err
	}
	err = e.checkRequest(&waiting.RolloutRequest)
	if err == nil {
		_, err = e.admit(waiting.RolloutRequest)
	}
	switch driftline.CodeOf(err) {
	case "":
		e.wakeRollouts()
		return nil
	case driftline.Unavailable, driftline.Internal:
		return err
	}
	e.log.Warn("a rollout that waited does not begin", "model", string(model), "version", waiting.Version, "error", err)
	return e.forgetKeys([][]byte{queueKey(model)})
}

// resumeQueued begins what waited when the engine was closed.
func (e *Engine) resumeQueued() error {
	var models []driftline.ModelName
	prefix := queueKey("")
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		models = append(models, driftline.ModelName(bytes.TrimPrefix(slices.Clone(pair.Key), prefix)))
	}
	for _, model := range models {
		if err := e.startQueued(model); err != nil {
			return err
		}
	}
	return nil
}

// ActOnRollout does what a person asks for, and waits a moment for it to be done. Conflict:
// somebody was faster, or the evidence is against it; FailedPrecondition: not in this phase.
func (e *Engine) ActOnRollout(ctx context.Context, id driftline.RolloutID, action driftline.RolloutAction, command driftline.RolloutCommand) (driftline.RolloutStatus, error) {
	if err := e.begin(); err != nil {
		return driftline.RolloutStatus{}, err
	}
	defer e.end()
	if !slices.Contains(driftline.RolloutActions, action) {
		return driftline.RolloutStatus{}, driftline.Unknown("action", action, driftline.RolloutActions)
	}
	if err := registry.CheckWords(command.By, command.Reason); err != nil {
		return driftline.RolloutStatus{}, err
	}
	known, err := e.registry.Rollout(id)
	if err != nil {
		return driftline.RolloutStatus{}, err
	}
	live, err := e.act(known, rollout.Event{
		Kind: rollout.EventKind(action), By: command.By, Reason: command.Reason, Expect: command.Expect, Force: command.Force,
	})
	if err != nil {
		return driftline.RolloutStatus{}, err
	}
	e.applySoon(ctx, live)
	return e.RolloutStatus(id)
}

func (e *Engine) act(known driftline.Rollout, event rollout.Event) (*liveRollout, error) {
	unlock := e.rollouts.models.lock(string(known.Model))
	defer unlock()
	live := e.liveRollout(known.Model)
	if live == nil || live.kept.ID != known.ID {
		kept, err := e.keptRollout(known.ID)
		if err != nil {
			return nil, err
		}
		if err := e.returnable(&kept, live, event.Kind); err != nil {
			return nil, err
		}
		live = newLive(kept) // for what is done to one that has ended
	}
	if err := e.stepRollout(live, event); err != nil {
		return nil, err
	}
	if !live.kept.Phase.Ended() {
		e.rollouts.live.Store(live.model, live)
	}
	return live, nil
}

// returnable refuses to take back a rollout that ended well once another one has begun, or
// somebody else has moved the champion since.
func (e *Engine) returnable(kept *keptRollout, live *liveRollout, kind rollout.EventKind) error {
	if kind != rollout.Rollback || kept.Phase != driftline.RolloutPromoted {
		return nil // Step knows what to say
	}
	if live != nil {
		return driftline.Errorf(driftline.Conflict, "model %q has rollout %s of version %d under way", kept.Model, live.kept.ID, live.kept.Candidate).
			WithRef(live.kept.Ref()).WithHint("abort that one first: driftline rollout abort %s", live.kept.ID)
	}
	if at, err := e.registry.Champion(kept.Model); err != nil || at != kept.Candidate {
		return driftline.Errorf(driftline.FailedPrecondition, "rollout %s made version %d champion, and the champion is another one now", kept.ID, kept.Candidate).
			WithRef(kept.Ref()).WithHint("take the last move back: driftline models rollback %s %s", kept.Model, driftline.AliasChampion)
	}
	return nil
}

// applySoon does what a rollout awaits, and waits for it a moment.
func (e *Engine) applySoon(ctx context.Context, l *liveRollout) {
	done := make(chan struct{})
	e.work.Go(func() {
		defer close(done)
		l.tending.Lock()
		defer l.tending.Unlock()
		if err := e.applyOpen(e.background, l); err != nil && e.background.Err() == nil {
			e.log.Error("what a rollout decided is not done yet; it is tried again", "rollout", string(l.id), "error", err)
		}
		e.wakeRollouts() // for what waits
	})
	patience := time.NewTimer(applyPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// RollBackModel gives a model back to the version that was champion before, by one call: it rolls
// back the rollout under way, or the last one if it made the champion of now, or else takes back
// the last move of the alias champion. expect, unless nil, is the version that must answer now.
func (e *Engine) RollBackModel(ctx context.Context, model driftline.ModelName, back driftline.AliasRollback) (driftline.ModelRollback, error) {
	if _, err := e.registry.Model(model); err != nil {
		return driftline.ModelRollback{}, err
	}
	at, err := e.registry.Champion(model)
	if back.Expect != nil && (err != nil || at != *back.Expect) {
		return driftline.ModelRollback{}, driftline.Errorf(driftline.Conflict, "model %q: version %d is champion, not %d", model, at, *back.Expect).
			WithRef(driftline.ModelRef(model, at)).WithHint("somebody was faster; look at it again, and decide again")
	}
	if last := e.registry.Rollouts(model); len(last) > 0 && (!last[0].Phase.Ended() || last[0].Phase == driftline.RolloutPromoted && last[0].Candidate == at && last[0].Champion != 0) {
		status, err := e.ActOnRollout(ctx, last[0].ID, driftline.RolloutRollback, driftline.RolloutCommand{By: back.By, Reason: back.Reason})
		if err != nil {
			return driftline.ModelRollback{}, err
		}
		return driftline.ModelRollback{Model: model, Version: status.Champion, Rollout: &status}, nil
	}
	v, err := e.registry.RollbackAlias(model, driftline.AliasChampion, back)
	if err != nil {
		return driftline.ModelRollback{}, err
	}
	return driftline.ModelRollback{Model: model, Version: v.Version}, nil
}

// ReportModelServer tells a model's rollout that a version answers (failure nil), or why it cannot: it
// cannot be loaded, or its circuit is open. It may wait for the disk.
func (e *Engine) ReportModelServer(model driftline.ModelName, version int, failure error) {
	live := e.liveRollout(model)
	if live == nil || e.begin() != nil {
		return
	}
	defer e.end()
	err := e.withRollout(live, func() error {
		switch {
		case live.kept.Candidate != version || failure == nil && live.kept.Loaded:
			return nil
		case failure == nil:
			return e.stepRollout(live, rollout.Event{Kind: rollout.Loaded})
		}
		return e.stepRollout(live, rollout.Event{Kind: rollout.Broken, Reason: shownError(failure)})
	})
	if err != nil {
		e.log.Error("what a model server reports cannot be written", "model", string(model), "version", version, "error", err)
	}
	e.wakeRollouts()
}

// Rollouts returns the rollouts of a model (of all for ""), the newest first.
func (e *Engine) Rollouts(model driftline.ModelName) ([]driftline.RolloutStatus, error) {
	if model != "" {
		if _, err := e.registry.Model(model); err != nil {
			return nil, err
		}
	}
	found := []driftline.RolloutStatus{}
	for _, known := range e.registry.Rollouts(model) {
		found = append(found, e.refresh(known))
	}
	return found, nil
}

// RolloutStatus returns a rollout, and what it is at.
func (e *Engine) RolloutStatus(id driftline.RolloutID) (driftline.RolloutStatus, error) {
	known, err := e.registry.Rollout(id)
	if err != nil {
		return driftline.RolloutStatus{}, err
	}
	return e.refresh(known), nil
}

// refresh adds to a rollout as of its last line what has become of it since.
func (e *Engine) refresh(known driftline.Rollout) driftline.RolloutStatus {
	unlock := e.rollouts.models.lock(string(known.Model))
	defer unlock()
	live := e.liveRollout(known.Model)
	if live == nil || live.kept.ID != known.ID {
		return driftline.RolloutStatus{Rollout: known}
	}
	status := e.statusOf(&live.kept)
	if live.failure != "" {
		status.Blind = live.failure
	}
	return status
}

func (e *Engine) statusOf(kept *keptRollout) driftline.RolloutStatus {
	status := driftline.RolloutStatus{Rollout: kept.Rollout, Loaded: kept.Loaded, Blind: kept.Blind}
	if kept.Phase == driftline.RolloutPending {
		status.Baseline = int64(max(len(kept.Samples.Latencies), len(kept.Samples.Scores)))
	}
	if waiting, err := e.queued(kept.Model); err == nil && waiting != nil {
		status.Next, _ = strconv.Atoi(waiting.Version)
	}
	return status
}

// RolloutHistory returns the changes of a rollout, oldest first.
func (e *Engine) RolloutHistory(id driftline.RolloutID) ([]driftline.RolloutChange, error) {
	changes, err := e.registry.RolloutChanges(id)
	if err != nil {
		return nil, err
	}
	history := make([]driftline.RolloutChange, len(changes))
	for i := range changes {
		history[i] = changeOf(&changes[i])
	}
	return history, nil
}

func changeOf(t *rollout.Transition) driftline.RolloutChange {
	return driftline.RolloutChange{
		Rollout: t.Rollout, Sequence: t.Sequence, Time: t.Time, From: t.From, To: t.To, Stage: t.Stage, Weight: t.Weight,
		Cause: t.Cause, Reason: t.Reason, By: t.By, Verdict: t.Verdict,
	}
}

// ExplainRollout makes each verdict that a change of a rollout rested on again, from the counts
// that were recorded with it.
func (e *Engine) ExplainRollout(id driftline.RolloutID) ([]driftline.RolloutExplanation, error) {
	known, err := e.registry.Rollout(id)
	if err != nil {
		return nil, err
	}
	changes, err := e.registry.RolloutChanges(id)
	if err != nil {
		return nil, err
	}
	explained := make([]driftline.RolloutExplanation, len(changes))
	for i := range changes {
		if explained[i], err = explain(&known.Plan, &changes[i]); err != nil {
			return nil, err
		}
	}
	return explained, nil
}

func explain(plan *driftline.RolloutPlan, t *rollout.Transition) (driftline.RolloutExplanation, error) {
	x := driftline.RolloutExplanation{RolloutChange: changeOf(t), Equal: true}
	if t.Verdict == nil {
		return x, nil
	}
	again := rollout.Explain(plan, t)
	x.Again = &again
	was, err := json.Marshal(t.Verdict)
	is, errAgain := json.Marshal(again)
	x.Equal = bytes.Equal(was, is)
	evidence, errEvidence := json.Marshal(t.Segments)
	x.Evidence = evidence
	return x, errors.Join(err, errAgain, errEvidence)
}
