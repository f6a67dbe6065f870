package engine

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// checkPolicies refuses policies that name channels which the server has not. What the
// registry knows it checks itself.
func (e *Engine) checkPolicies(policies []driftline.Policy) error {
	for i := range policies {
		if err := e.checkPolicy(&policies[i]); err != nil {
			var failure *driftline.Error
			if !errors.As(err, &failure) {
				return err
			}
			about := *failure
			about.Code = driftline.Invalid
			about.Message = fmt.Sprintf("policy %q: %s", policies[i].Model, failure.Message)
			return about.WithRef(driftline.PolicyRef(policies[i].Model, 0))
		}
	}
	return nil
}

func (e *Engine) checkPolicy(p *driftline.Policy) error {
	for i, notice := range p.Notices {
		for j, channel := range notice.Channels {
			if err := e.outbox.channels.Check(channel); err != nil {
				return driftline.Errorf(driftline.Invalid, "notices[%d].channels[%d]: %w", i, j, err)
			}
		}
	}
	return nil
}

// Policies returns the policies that hold and where they stand, by model.
func (e *Engine) Policies() ([]driftline.PolicyStatus, error) {
	all := []driftline.PolicyStatus{}
	for _, p := range e.registry.Policies() {
		status, err := e.policyStatus(p)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// Policy returns a model's policy and where it stands.
func (e *Engine) Policy(model driftline.ModelName) (driftline.PolicyStatus, error) {
	p, err := e.registry.Policy(model)
	if err != nil {
		return driftline.PolicyStatus{}, err
	}
	return e.policyStatus(p)
}

func (e *Engine) policyStatus(p *driftline.Policy) (driftline.PolicyStatus, error) {
	status := driftline.PolicyStatus{Policy: *p}
	state, err := e.policyState(p.Model)
	if err != nil {
		return status, err
	}
	schedule, err := trigger.Compile(p)
	if err != nil {
		return status, err
	}
	now := e.now()
	status.State, status.Next = state, schedule.Next(&state, e.training.opened, now)
	if eligible := trigger.NextEligible(p, &state, now); eligible.After(now) {
		status.Eligible = eligible
	}
	return status, nil
}

// policyState is where the training of a model stands; the state of one of which nothing was
// written down yet is empty. It is shared: whoever changes it does so in a copy, as package
// trigger does.
func (e *Engine) policyState(model driftline.ModelName) (driftline.PolicyState, error) {
	if state, known := e.training.known(model); known {
		return state, nil
	}
	return driftline.PolicyState{Model: model}, nil
}

// loadTraining reads where the training of each model stands.
func (e *Engine) loadTraining() error {
	for pair, err := range e.kv.ScanPrefix(trainingKey(policyStates, "")) {
		if err != nil {
			return err
		}
		var state driftline.PolicyState
		if err := json.Unmarshal(pair.Value, &state); err != nil {
			return driftline.Errorf(driftline.DataLoss, "where the training of model %q stands is not readable", pair.Key[2:]).
				WithHint("restore the data folder from a backup")
		}
		e.training.states[state.Model] = state
	}
	for pair, err := range e.kv.ScanPrefix(trainingKey(candidatesDue, "")) {
		if err != nil {
			return err
		}
		e.training.candidates[driftline.TrainingID(pair.Key[2:])] = true
	}
	for pair, err := range e.kv.ScanPrefix(trainingKey(stopsDue, "")) {
		if err != nil {
			return err
		}
		e.training.stops[driftline.TrainingID(pair.Key[2:])] = true
	}
	return nil
}

// DeletePolicy takes a model's policy away: runs that wait are cancelled, and the report of one
// that is under way will be refused. Its definitions stay readable.
func (e *Engine) DeletePolicy(model driftline.ModelName, by, reason string) ([]driftline.TrainingRun, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	defer e.training.turns.lock(string(model))()
	p, err := e.registry.Policy(model)
	if err != nil {
		return nil, err
	}
	before, err := e.policyState(model)
	if err != nil {
		return nil, err
	}
	after, cancelled := trigger.Delete(before, e.now().UTC())
	step := &trainingStep{policy: p, before: before, after: after, action: "policy deleted", by: by}
	encoded, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	for i := range cancelled {
		if err := e.addTraining(tx, step, &cancelled[i]); err != nil {
			return nil, err
		}
	}
	if _, err := tx.DeletePolicy(model, by, reason); err != nil {
		return nil, err
	}
	tx.Batch().Set(policyStateKey(model), encoded)
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	e.training.know(after)
	e.rememberStops(cancelled)
	e.training.stopUnwanted(&after)
	e.policiesChanged()
	return cancelled, nil
}
