package registry

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// trainingChanged is the body of training.changed: the run as it then is, without what its
// causes, reasons and notes say, which may quote values: the ledger never forgets.
type trainingChanged struct {
	Action string                `json:"action"`
	By     string                `json:"by,omitempty"`
	Run    driftline.TrainingRun `json:"run"`
}

// triggerSuppressed is the body of trigger.suppressed, likewise.
type triggerSuppressed struct {
	Suppression driftline.Suppression `json:"suppression"`
}

// AddTraining records what became of a training run, with what it was made from.
func (tx *Tx) AddTraining(action, by string, run driftline.TrainingRun) (Line, error) {
	inputs := []driftline.Ref{driftline.PolicyRef(run.Model, run.Policy)}
	for _, cause := range run.Causes {
		alert := driftline.AlertRef(driftline.AlertID(cause.Bucket))
		if cause.Kind == driftline.TriggerDrift && tx.r.head.alerts[driftline.AlertID(cause.Bucket)] != nil {
			inputs = append(inputs, alert)
		}
	}
	if run.Dataset != (driftline.Ref{}) {
		inputs = append(inputs, run.Dataset)
	}
	run.Causes, run.Reason, run.Note, run.Lease = plainCauses(run.Causes), "", "", nil
	return tx.add(TrainingChanged, run.Ref(), distinct(inputs), trainingChanged{action, by, run})
}

// TrainingChange is what a line says of a training run. Follows is set once it is about what
// becomes of the version that the run made, and not about the run.
type TrainingChange struct {
	Action  string
	Run     driftline.TrainingRun
	Follows bool
}

// TrainingStep reads a TrainingChanged line.
func TrainingStep(line *Line) (TrainingChange, error) {
	changed, err := body[trainingChanged](line)
	if err != nil {
		return TrainingChange{}, err
	}
	switch changed.Action {
	case "champion", string(driftline.TrainingRejected), string(driftline.NextEvaluate), string(driftline.NextRollOut),
		string(driftline.NextAwait), string(driftline.NextDone):
		return TrainingChange{changed.Action, changed.Run, true}, nil
	}
	return TrainingChange{changed.Action, changed.Run, false}, nil
}

func plainCauses(causes []driftline.Cause) []driftline.Cause {
	plain := slices.Clone(causes)
	for i := range plain {
		plain[i].Summary = ""
	}
	return plain
}

// AddSuppression records that a cause led to no training run.
func (tx *Tx) AddSuppression(p *driftline.Policy, s driftline.Suppression) (Line, error) {
	s.Detail, s.Cause.Summary = "", ""
	return tx.add(TriggerSuppressed, p.Ref(), nil, triggerSuppressed{s})
}

func foldTraining(_ *state, line *Line) ([]effect, error) {
	changed, err := body[trainingChanged](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.TrainingID]*driftline.TrainingRun { return s.trainings }
	return []effect{put(table, changed.Run.ID, &changed.Run)}, nil
}

func (s *state) training(id driftline.TrainingID) (*driftline.TrainingRun, error) {
	if run := s.trainings[id]; run != nil {
		return run, nil
	}
	return nil, unknown("training run", id, slices.Collect(maps.Keys(s.trainings)), "driftline train MODEL begins one").WithRef(driftline.TrainingRef(clip(id)))
}

// Training returns what the ledger knows of a training run: all but what people wrote. The
// caller must not change it.
func (r *Registry) Training(id driftline.TrainingID) (found *driftline.TrainingRun, err error) {
	r.read(func(s *state) { found, err = s.training(id) })
	return found, err
}

func (s *state) trainingFacts(ref driftline.Ref) map[string]string {
	run := s.trainings[driftline.TrainingID(ref.Name)]
	if run == nil {
		return nil
	}
	return map[string]string{"state": string(run.State), "model": string(run.Model)}
}
