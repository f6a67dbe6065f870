package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/trigger"
)

// leaseOwner is who has the leases of runs: one server at a time has the folder open.
const leaseOwner = "server"

// TrainingTag is the tag by which a version says of which training run it is, for jobs that
// only register what they made. They set it to DRIFTLINE_TRAINING_TAG of their environment, see [Engine.provedTag].
const TrainingTag = "driftline.training_run"

// execution is a run that this server executes.
type execution struct {
	token  uint64
	cancel context.CancelFunc
}

// executes reports whether this server is at work on a run, under its present lease.
func (t *training) executes(run *driftline.TrainingRun) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.running[run.ID]
	return x != nil && run.Lease != nil && x.token == run.Lease.Token
}

// stopUnwanted ends the executions of a model's runs that have come to an end without having
// said so: cancelled ones and those that are late.
func (t *training) stopUnwanted(state *driftline.PolicyState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, x := range t.running {
		model, _, err := cutTraining(id)
		if err != nil || model != state.Model {
			continue
		}
		wanted := state.Active != nil && state.Active.ID == id
		reported := state.Last != nil && state.Last.ID == id && state.Last.Result != ""
		if !wanted && !reported {
			x.cancel()
		}
	}
}

// claim begins the active run of a model, if it waits and may begin. The caller holds the
// model's turn.
func (e *Engine) claim(newest *driftline.Policy, now time.Time) error {
	before, err := e.policyState(newest.Model)
	if err != nil || before.Active == nil || before.Active.State != driftline.TrainingQueued {
		return err
	}
	p, err := e.registry.PolicyVersion(newest.Model, before.Active.Policy) // a run keeps the version that it began under
	if err != nil {
		return err
	}
	data, err := e.trainingData(p)
	if err != nil {
		return err
	}
	after, run := trigger.Claim(p, before, leaseOwner, data, now)
	if sameState(&before, &after) {
		return nil
	}
	if err := e.recordTraining(&trainingStep{policy: newest, before: before, after: after}); err != nil {
		return err
	}
	if run == nil {
		return nil
	}
	if err := e.reached(stepTrainingClaimed); err != nil {
		return err
	}
	e.startTraining(p, *run)
	return nil
}

// startTraining has a goroutine execute a run, until it is late or the engine closes.
func (e *Engine) startTraining(p *driftline.Policy, run driftline.TrainingRun) {
	ctx, cancel := context.WithTimeout(e.background, run.Deadline.Sub(e.now()))
	x := &execution{token: run.Lease.Token, cancel: cancel}
	e.training.mu.Lock()
	e.training.running[run.ID] = x
	e.training.mu.Unlock()
	e.work.Go(func() {
		defer func() {
			cancel()
			e.training.mu.Lock()
			if e.training.running[run.ID] == x {
				delete(e.training.running, run.ID)
			}
			e.training.mu.Unlock()
			e.wakeTraining()
		}()
		e.train(ctx, p, run)
	})
}

// train executes a run: it makes its dataset, hands the job over, and waits for its end.
func (e *Engine) train(ctx context.Context, p *driftline.Policy, run driftline.TrainingRun) {
	token := run.Lease.Token
	prepared, err := e.prepareTraining(ctx, p, run)
	if err != nil {
		e.settleTraining(ctx, &run, token, driftline.TrainingResult{Error: shownError(err)})
		return
	}
	secret, err := e.trainingSecret(run.ID, token)
	if err != nil {
		e.settleTraining(ctx, &run, token, driftline.TrainingResult{Error: shownError(err)})
		return
	}
	outcome, detail, err := e.training.jobs.Run(ctx, e.jobOf(p, &prepared, token, secret))
	if crash := e.reached(stepTrainingStarted); crash != nil {
		return
	}
	switch {
	case ctx.Err() != nil:
		return // the server stops, the run is late, or nobody wants it: the state says which
	case err != nil:
		e.settleTraining(ctx, &run, token, driftline.TrainingResult{Error: shownError(err)})
	case outcome == executor.Failed:
		e.settleTraining(ctx, &run, token, driftline.TrainingResult{Error: detail})
	case outcome == executor.Handed:
		e.awaitReport(ctx, run.ID)
	default:
		e.settleTraining(ctx, &run, token, e.registeredBy(&prepared))
	}
}

// awaitReport keeps a run as one that this server executes, until it has ended.
func (e *Engine) awaitReport(ctx context.Context, id driftline.TrainingID) {
	for range rounds(ctx, time.Second, nil) {
		model, _, err := cutTraining(id)
		if err != nil {
			return
		}
		if state, _ := e.training.known(model); state.Active == nil || state.Active.ID != id {
			return
		}
	}
}

// settleTraining ends a run whose job has ended without having reported. A job that had
// reported, or that is no longer the run's, has the last word.
func (e *Engine) settleTraining(ctx context.Context, run *driftline.TrainingRun, token uint64, result driftline.TrainingResult) {
	_, err := e.ReportTraining(run.ID, driftline.TrainingReport{Token: token, TrainingResult: result})
	if err != nil && ctx.Err() == nil && driftline.CodeOf(err) != driftline.Conflict {
		e.log.Error("how a training run ended is not written down; it times out", "run", run.ID, "error", err)
	}
}

// registeredBy is the result of a job that ended well and did not say what it made: the newest
// version that it registered with the run's tag. That its tracked run has the tag is not enough: everybody can
// register what a run logged.
func (e *Engine) registeredBy(run *driftline.TrainingRun) driftline.TrainingResult {
	none := driftline.TrainingResult{Error: fmt.Sprintf("the job ended without reporting, and registered no version of model %q with the tag %s of its environment", run.Model, TrainingTag)}
	versions, err := e.registry.ModelVersions(run.Model)
	if err != nil {
		return none
	}
	newest := 0
	for i := range versions {
		if versions[i].Tags[TrainingTag] == string(run.ID) {
			newest = max(newest, versions[i].Version)
		}
	}
	if newest == 0 {
		return none
	}
	return driftline.TrainingResult{Succeeded: true, Candidate: newest}
}

// prepareTraining makes a run's dataset and counts its policy's tables, once for each run: an
// attempt that follows a crash has the same.
func (e *Engine) prepareTraining(ctx context.Context, p *driftline.Policy, run driftline.TrainingRun) (driftline.TrainingRun, error) {
	if run.Sources != nil || run.Dataset != (driftline.Ref{}) {
		return run, nil
	}
	sources, err := e.sourcesOf(ctx, p)
	if err != nil {
		return run, err
	}
	var dataset driftline.Ref
	if p.Training.Dataset != "" {
		if dataset, err = e.makeDataset(ctx, p.Model, p.Training); err != nil {
			return run, fmt.Errorf("training.dataset: %w", err)
		}
	}
	if sources == nil && dataset == (driftline.Ref{}) {
		return run, nil
	}
	token := run.Lease.Token
	prepared, err := e.changeTraining(run.ID, func(_ *driftline.Policy, s driftline.PolicyState, now time.Time) (*trainingStep, error) {
		after, err := trigger.Beat(s, run.ID, token, now)
		if err != nil {
			return nil, err
		}
		after.Active.Dataset, after.Active.Sources = dataset, sources
		return &trainingStep{after: after, action: "prepared"}, nil
	})
	return prepared, err
}

// jobOf is a run as its executor gets it.
func (e *Engine) jobOf(p *driftline.Policy, run *driftline.TrainingRun, token uint64, secret string) *executor.Job {
	told := map[string]string{
		"DRIFTLINE_MODEL": string(run.Model), "DRIFTLINE_TRAINING_RUN": string(run.ID), "DRIFTLINE_TRAINING_TOKEN": strconv.FormatUint(token, 10),
		"DRIFTLINE_TRAINING_SECRET": secret, "DRIFTLINE_TRAINING_TAG": trainingClaim(run.ID, token, secret),
	}
	if run.Dataset != (driftline.Ref{}) {
		told["DRIFTLINE_DATASET"] = run.Dataset.String()
	}
	for name, value := range p.Training.Parameters {
		told["DRIFTLINE_PARAM_"+name] = value
	}
	return &executor.Job{
		Run: run.ID, Model: run.Model, Token: token, Spec: p.Training, Environment: told,
		Timeout: run.Deadline.Sub(e.now()), Log: e.trainingLog(run.ID),
	}
}

// trainingLog is the file that a command's output goes to.
func (e *Engine) trainingLog(id driftline.TrainingID) string {
	name := sha256.Sum256([]byte(id)) // names of models are no names of files
	return filepath.Join(e.dir, "training", hex.EncodeToString(name[:16])+".log")
}

// TrainingLog returns what the command of a run has written: the beginning as it comes, the end
// when it has ended. Jobs that run elsewhere keep their own.
func (e *Engine) TrainingLog(id driftline.TrainingID) ([]byte, error) {
	if _, err := e.Training(id); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(e.trainingLog(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, driftline.Errorf(driftline.NotFound, "training run %s has no log", id).WithRef(driftline.TrainingRef(id)).
			WithHint("commands have one once they began; what runs elsewhere keeps its own")
	}
	if err != nil {
		return nil, driftline.Errorf(driftline.Unavailable, "the log of training run %s cannot be read", id)
	}
	return text, nil
}

// endRemains ends the processes that training commands have left behind when the server was killed.
func (e *Engine) endRemains() error {
	ended, err := executor.EndRemains(filepath.Join(e.dir, "training"))
	if ended > 0 {
		e.log.Warn("processes of training commands outlived the server, and were ended", "processes", ended)
	}
	return err
}

// adoptTrainings takes up the runs that were under way when the server last stopped. A command
// ended with it, and gets another attempt; what runs elsewhere goes on under its lease, and is
// handed over again under the same name.
func (e *Engine) adoptTrainings(ctx context.Context) {
	for _, p := range e.registry.Policies() {
		e.logged(ctx, p.Model, e.adoptTraining(p))
	}
}

func (e *Engine) adoptTraining(newest *driftline.Policy) error {
	defer e.training.turns.lock(string(newest.Model))()
	before, err := e.policyState(newest.Model)
	if err != nil || before.Active == nil || before.Active.State != driftline.TrainingRunning {
		return err
	}
	p, err := e.registry.PolicyVersion(newest.Model, before.Active.Policy)
	if err != nil {
		return err
	}
	now := e.now().UTC()
	step := &trainingStep{policy: newest, before: before}
	lost := p.Training == nil || executor.Local(p.Training) || before.Active.Lease == nil || !now.Before(before.Active.Deadline)
	if !lost {
		if step.after, err = trigger.Beat(before, before.Active.ID, before.Active.Lease.Token, now); err != nil {
			return err
		}
		if err := e.recordTraining(step); err != nil {
			return err
		}
		e.startTraining(p, *step.after.Active)
		return nil
	}
	run := *before.Active
	run.Lease = nil
	state := before
	state.Active = &run
	step.after, _ = trigger.Expire(newest, state, now)
	return e.recordTraining(step)
}
