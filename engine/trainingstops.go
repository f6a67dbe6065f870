package engine

import (
	"context"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/executor"
)

// The steps of stopping a job that nobody wants, between which a crash is tried.
const stepTrainingStopped = "training stopped" // the other system was told, and nobody wrote that down yet

const (
	stopEvery    = time.Minute    // how often another system is told again
	stopPatience = time.Minute    // for one time
	stopGiveUp   = 72 * time.Hour // after the end of the run
)

// mustStop reports whether another system is at work on a run that nobody wants any more: one that was
// cancelled, or is too late, after it was handed over.
func (e *Engine) mustStop(run *driftline.TrainingRun) bool {
	if run.State != driftline.TrainingCancelled && run.State != driftline.TrainingTimedOut || run.Attempts == 0 || run.Note != "" {
		return false
	}
	p, err := e.registry.PolicyVersion(run.Model, run.Policy)
	return err == nil && p.Training != nil && executor.Remote(p.Training)
}

// rememberStops notes which of the runs, whose end was written down, are to be stopped elsewhere.
func (e *Engine) rememberStops(runs []driftline.TrainingRun) {
	for i := range runs {
		if e.mustStop(&runs[i]) {
			e.training.mu.Lock()
			e.training.stops[runs[i].ID] = true
			e.training.mu.Unlock()
		}
	}
}

// seeToStops has other systems stop the jobs that nobody wants, once nobody here is at work on them.
func (e *Engine) seeToStops() {
	t := &e.training
	t.mu.Lock()
	var idle []driftline.TrainingID
	for id, waits := range t.stops {
		if waits && t.running[id] == nil {
			idle = append(idle, id)
		}
	}
	t.mu.Unlock()
	for _, id := range idle {
		if !t.mayLook("stop "+string(id), e.now(), stopEvery) {
			continue
		}
		t.mu.Lock()
		t.stops[id] = false
		t.mu.Unlock()
		e.work.Go(func() { e.seeToStop(e.background, id) })
	}
}

// seeToStop tells another system once, and writes down what came of it.
func (e *Engine) seeToStop(ctx context.Context, id driftline.TrainingID) {
	e.seeToRun(ctx, id, e.training.stops, e.stopTraining, "a job that nobody wants goes on elsewhere; it is stopped again")
}

func (e *Engine) stopTraining(ctx context.Context, id driftline.TrainingID) (done bool, err error) {
	run, err := e.Training(id)
	if err != nil {
		return driftline.CodeOf(err) == driftline.NotFound, err
	}
	p, err := e.registry.PolicyVersion(run.Model, run.Policy)
	if err != nil {
		return true, err
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	said, failure := e.training.jobs.Stop(ctx, &executor.Job{Run: id, Model: run.Model, Spec: p.Training})
	if err := e.reached(stepTrainingStopped); err != nil {
		return false, err
	}
	if failure != nil {
		if e.now().Sub(run.Ended) < stopGiveUp {
			return false, failure
		}
		said = "it could not be stopped: " + shownError(failure)
	}
	return true, e.noteStop(id, said)
}

// noteStop writes down what became of a job that nobody wanted.
func (e *Engine) noteStop(id driftline.TrainingID, said string) error {
	_, err := e.changeTraining(id, func(_ *driftline.Policy, s driftline.PolicyState, _ time.Time) (*trainingStep, error) {
		run, err := e.Training(id)
		if err != nil {
			return nil, err
		}
		run.Note = said
		step := &trainingStep{after: s, action: "stopped", stopped: id}
		step.after.Sequence++
		if last := s.Last; last != nil && last.ID == id {
			step.after.Last = &run
		} else {
			step.also = []driftline.TrainingRun{run}
		}
		return step, nil
	})
	return err
}
