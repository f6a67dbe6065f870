package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// The steps of what becomes of a candidate between which a crash is tried.
const (
	stepCandidateEvaluated = "candidate evaluated"
	stepCandidateRolledOut = "candidate rolled out" // the rollout began, and the run does not say so yet
)

// championAlias is the alias of the version that answers.
const championAlias = "champion"

// seeToCandidates does what is next for the candidates of runs that succeeded, each in a
// goroutine of its own, and notices that a model has another champion.
func (e *Engine) seeToCandidates(ctx context.Context) {
	t := &e.training
	t.mu.Lock()
	var idle []driftline.TrainingID
	for id, waits := range t.candidates {
		if waits {
			idle = append(idle, id)
			t.candidates[id] = false
		}
	}
	var models []driftline.ModelName
	if newest := e.registry.Newest().Sequence; newest != t.champions { // aliases move by lines of the ledger
		t.champions, models = newest, slices.Collect(maps.Keys(t.schedules))
	}
	t.mu.Unlock()
	for _, id := range idle {
		e.work.Go(func() { e.seeToCandidate(e.background, id) })
	}
	for _, model := range models {
		if ctx.Err() != nil {
			return
		}
		e.logged(ctx, model, e.lookForChampion(model))
	}
}

// seeToCandidate takes the candidate of a run one step further.
func (e *Engine) seeToCandidate(ctx context.Context, id driftline.TrainingID) {
	e.seeToRun(ctx, id, e.training.candidates, e.nextOfCandidate, "a candidate is not seen to; it is again")
}

// seeToRun takes one step with a run, which leaves waiting when it is done. What cannot be done now is tried
// again at the next look.
func (e *Engine) seeToRun(ctx context.Context, id driftline.TrainingID, waiting map[driftline.TrainingID]bool,
	step func(context.Context, driftline.TrainingID) (done bool, err error), failed string) {
	done, err := step(ctx, id)
	if err != nil && ctx.Err() == nil {
		e.log.Error(failed, "run", string(id), "error", err)
	}
	e.training.mu.Lock()
	defer e.training.mu.Unlock()
	if done {
		delete(waiting, id)
	} else {
		waiting[id] = true
	}
}

func (e *Engine) nextOfCandidate(ctx context.Context, id driftline.TrainingID) (done bool, err error) {
	run, err := e.Training(id)
	if err != nil {
		return driftline.CodeOf(err) == driftline.NotFound, err
	}
	p, err := e.registry.PolicyVersion(run.Model, run.Policy)
	if err != nil {
		return true, err
	}
	switch run.Next {
	case driftline.NextEvaluate:
		return e.evaluateRun(ctx, p, &run)
	case driftline.NextRollOut:
		return e.rollOut(ctx, p, &run)
	case driftline.NextAwait:
		return e.awaitRollout(&run)
	}
	return true, nil
}

// evaluateRun holds the candidate of a run against the gate of its policy.
func (e *Engine) evaluateRun(ctx context.Context, p *driftline.Policy, run *driftline.TrainingRun) (bool, error) {
	if p.Evaluation.Dataset == (driftline.Ref{}) {
		return false, e.noteCandidate(run.ID, driftline.NextRollOut, "", "not evaluated: the policy has no gate")
	}
	evaluation, err := e.patientlyEvaluate(ctx, run)
	if err := e.reached(stepCandidateEvaluated); err != nil {
		return false, err
	}
	switch code := driftline.CodeOf(err); {
	case err != nil && (ctx.Err() != nil || code == driftline.Exhausted || code == driftline.Internal):
		return false, err
	case err != nil:
		return true, e.rejectRun(run.ID, "it could not be evaluated: "+shownError(err))
	case evaluation.Outcome == driftline.EvaluationPassed || evaluation.Outcome == driftline.EvaluationWarned:
		return false, e.noteCandidate(run.ID, driftline.NextRollOut, "", fmt.Sprintf("its evaluation %s", evaluation.Outcome))
	}
	return true, e.rejectRun(run.ID, failedChecks(evaluation))
}

// How long the model servers of a candidate may take to answer at all, in real time: they load what was made a moment ago.
const (
	modelServerPatience  = 15 * time.Minute
	firstModelServerWait = 100 * time.Millisecond
	mostModelServerWait  = 10 * time.Second
)

// patientlyEvaluate evaluates the candidate of a run, again for as long as something is away that may come back.
func (e *Engine) patientlyEvaluate(ctx context.Context, run *driftline.TrainingRun) (*driftline.Evaluation, error) {
	began := time.Now()
	for wait := firstModelServerWait; ; wait = min(2*wait, mostModelServerWait) {
		found, err := e.EvaluateCandidate(ctx, run.Model, run.Candidate)
		if driftline.CodeOf(err) != driftline.Unavailable || time.Since(began) > modelServerPatience {
			return found, err
		}
		e.log.Warn("a candidate cannot be evaluated yet", "run", string(run.ID), "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// failedChecks says in a sentence why a candidate gets no traffic.
func failedChecks(evaluation *driftline.Evaluation) string {
	text := "its evaluation came to: " + string(evaluation.Outcome)
	for _, check := range evaluation.Checks {
		if check.Outcome == driftline.EvaluationFailed || check.Outcome == driftline.EvaluationIdentical {
			text += fmt.Sprintf("; %s: %s", check.Check, check.Message)
		}
	}
	return text
}

// rollOut begins the rollout of a run's candidate. A model without a champion has its first.
func (e *Engine) rollOut(ctx context.Context, p *driftline.Policy, run *driftline.TrainingRun) (bool, error) {
	if e.championOf(run.Model) == 0 {
		move := driftline.AliasMove{Version: run.Candidate, By: "policy", Reason: fmt.Sprintf("first champion, made by %s", run.ID), Expect: new(0)}
		if _, err := e.registry.MoveAlias(run.Model, championAlias, move); err != nil {
			return driftline.CodeOf(err) == driftline.FailedPrecondition, err
		}
		return true, e.noteCandidate(run.ID, driftline.NextDone, "", "it is the first champion")
	}
	started, err := e.StartRollout(ctx, driftline.RolloutRequest{
		Model: run.Model, Version: strconv.Itoa(run.Candidate), Plan: &p.Rollout, Notices: p.Notices,
		Policy: p.Version, By: "policy", Reason: fmt.Sprintf("made by %s", run.ID),
	})
	if err := e.reached(stepCandidateRolledOut); err != nil {
		return false, err
	}
	switch code := driftline.CodeOf(err); {
	case err != nil && (code == driftline.Unavailable || code == driftline.Internal):
		return false, err
	case err != nil:
		return true, e.noteCandidate(run.ID, driftline.NextDone, "", "it is not rolled out: "+shownError(err))
	case started.Admission == driftline.RolloutQueued:
		return false, e.noteCandidate(run.ID, driftline.NextAwait, "", fmt.Sprintf("its rollout waits for the end of %s", started.Rollout.ID))
	}
	return false, e.noteCandidate(run.ID, driftline.NextAwait, started.Rollout.ID, fmt.Sprintf("rollout %s began", started.Rollout.ID))
}

// awaitRollout takes in how the rollout of a run's candidate ended.
func (e *Engine) awaitRollout(run *driftline.TrainingRun) (bool, error) {
	for _, r := range e.registry.Rollouts(run.Model) {
		if r.Candidate != run.Candidate || r.Created.Before(run.Ended) || run.Rollout != "" && r.ID != run.Rollout {
			continue
		}
		switch r.Phase {
		case driftline.RolloutPromoted:
			return true, e.noteCandidate(run.ID, driftline.NextDone, r.ID, "it is champion")
		case driftline.RolloutSuperseded:
			return true, e.noteCandidate(run.ID, driftline.NextDone, r.ID, "a newer candidate took its place")
		case driftline.RolloutRolledBack, driftline.RolloutFailed:
			return true, e.rejectRun(run.ID, fmt.Sprintf("rollout %s: %s", r.ID, r.Reason))
		}
		if run.Rollout == "" {
			return false, e.noteCandidate(run.ID, driftline.NextAwait, r.ID, fmt.Sprintf("rollout %s began", r.ID))
		}
		return false, nil
	}
	return false, nil
}

// noteCandidate writes down what is next for the candidate of a run, and what became of it.
func (e *Engine) noteCandidate(id driftline.TrainingID, next driftline.TrainingNext, rollout driftline.RolloutID, note string) error {
	return e.changeCandidate(id, func(_ *driftline.Policy, s driftline.PolicyState, run *driftline.TrainingRun, _ time.Time) driftline.PolicyState {
		run.Next, run.Note = next, note
		if rollout != "" {
			run.Rollout = rollout
		}
		return s
	})
}

// rejectRun says that the candidate of a run came to nothing.
func (e *Engine) rejectRun(id driftline.TrainingID, reason string) error {
	return e.changeCandidate(id, func(p *driftline.Policy, s driftline.PolicyState, run *driftline.TrainingRun, now time.Time) driftline.PolicyState {
		after := trigger.Reject(p, s, id, run.Data, reason, now)
		run.State, run.Reason, run.Next, run.Note = driftline.TrainingRejected, reason, driftline.NextDone, ""
		return after
	})
}

// changeCandidate changes a run that succeeded, which the state has for as long as it is the
// last one.
func (e *Engine) changeCandidate(id driftline.TrainingID, change func(*driftline.Policy, driftline.PolicyState, *driftline.TrainingRun, time.Time) driftline.PolicyState) error {
	_, err := e.changeTraining(id, func(p *driftline.Policy, s driftline.PolicyState, now time.Time) (*trainingStep, error) {
		run, err := e.Training(id)
		if err != nil {
			return nil, err
		}
		before := run.State
		after := change(p, s, &run, now)
		after.Sequence++
		step := &trainingStep{after: after, action: string(run.Next)}
		if run.State != before {
			step.action = string(run.State)
		}
		if after.Last != nil && after.Last.ID == id {
			step.after.Last = &run
		} else {
			step.also = []driftline.TrainingRun{run}
		}
		return step, nil
	})
	return err
}

// championOf is the version that answers, 0 if there is none.
func (e *Engine) championOf(model driftline.ModelName) int {
	v, err := e.registry.ModelVersion(model, championAlias)
	if err != nil {
		return 0
	}
	return v.Version
}

// lookForChampion has every trigger listen again when a model has another champion.
func (e *Engine) lookForChampion(model driftline.ModelName) error {
	champion := e.championOf(model)
	if state, _ := e.training.known(model); state.Champion == champion {
		return nil
	}
	defer e.training.turns.lock(string(model))()
	p, err := e.registry.Policy(model)
	if err != nil {
		return err
	}
	before, err := e.policyState(model)
	if err != nil {
		return err
	}
	after := before
	if before.Champion != 0 || before.Runs > 0 {
		after = trigger.Promoted(before)
	}
	after.Champion = champion
	return e.recordTraining(&trainingStep{policy: p, before: before, after: after, action: "champion"})
}
