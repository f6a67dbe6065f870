package engine

import (
	"github.com/driftline/driftline"
)

// The tables of meta about rollouts.

func rolloutRows(e *Engine, add func(...any)) error {
	all, err := e.Rollouts("")
	if err != nil {
		return err
	}
	for i := range all {
		r := &all[i]
		outcome, eValue, _, needs, _ := verdictValues(r.Verdict)
		add(string(r.ID), string(r.Model), int64(r.Candidate), versionOrNull(r.Champion), versionOrNull(r.Policy), string(r.Phase),
			int64(r.Stage), r.Route.Weight(driftline.ArmCandidate), int64(r.Sequence), string(r.Cause), r.Reason, r.By, r.Waiting,
			r.Created, r.Entered, r.Ended, outcome, eValue, needs)
	}
	return nil
}

func rolloutTransitionRows(e *Engine, add func(...any)) error {
	for _, known := range e.registry.Rollouts("") {
		changes, err := e.RolloutHistory(known.ID)
		if err != nil {
			return err
		}
		for i := range changes {
			c := &changes[i]
			outcome, eValue, threshold, needs, requests := verdictValues(c.Verdict)
			add(string(c.Rollout), int64(c.Sequence), c.Time, string(c.From), string(c.To), int64(c.Stage), c.Weight, string(c.Cause), c.Reason, c.By,
				outcome, eValue, threshold, requests.champion, requests.candidate, needs)
		}
	}
	return nil
}

type requestValues struct{ champion, candidate any }

// verdictValues are the columns of a verdict; null where there is none.
func verdictValues(v *driftline.RolloutVerdict) (outcome, eValue, threshold, needs any, requests requestValues) {
	if v == nil {
		return nil, nil, nil, nil, requests
	}
	requests = requestValues{v.Requests.Champion, v.Requests.Candidate}
	return string(v.Outcome), float64(v.EValue), float64(v.Threshold), v.Needs, requests
}
