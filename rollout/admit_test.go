package rollout_test

import (
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
)

// TestAdmit: one rollout of a model at a time, and nothing is tried again by itself.
func TestAdmit(t *testing.T) {
	at := func(phase driftline.RolloutPhase, plan driftline.RolloutPlan) *driftline.Rollout {
		return &driftline.Rollout{ID: "m-1", Model: "m", Candidate: 2, Champion: 1, Phase: phase, Plan: plan.Completed(),
			Moved: phase == driftline.RolloutBaking, Reason: "worse by errors"}
	}
	queue := driftline.RolloutPlan{OnCandidate: driftline.CandidateQueues}
	byPolicy, byPerson := rollout.Spec{Model: "m", Candidate: 3, Policy: 1}, rollout.Spec{Model: "m", Candidate: 3}
	again := rollout.Spec{Model: "m", Candidate: 2, Policy: 1}
	for _, c := range []struct {
		name   string
		active *driftline.Rollout
		past   *driftline.Rollout
		spec   rollout.Spec
		want   rollout.Admission
		err    string
	}{
		{name: "nothing under way", spec: byPolicy, want: rollout.Admitted},
		{name: "an ended one", active: at(driftline.RolloutPromoted, queue), spec: byPerson, want: rollout.Admitted},
		{name: "a newer candidate", active: at(driftline.RolloutCanary, driftline.RolloutPlan{}), spec: byPolicy, want: rollout.Supersedes},
		{name: "a newer candidate that waits", active: at(driftline.RolloutCanary, queue), spec: byPolicy, want: rollout.Queues},
		{name: "while the last one bakes", active: at(driftline.RolloutBaking, driftline.RolloutPlan{}), spec: byPolicy, want: rollout.Queues},
		{name: "while the alias moves", active: at(driftline.RolloutPromoting, driftline.RolloutPlan{}), spec: byPolicy, want: rollout.Queues},
		{name: "a person beside it", active: at(driftline.RolloutCanary, driftline.RolloutPlan{}), spec: byPerson,
			err: `model "m" has rollout m-1 of version 2 under way (canary 5 %); wait for it, or abort it: driftline rollout abort m-1`},
		{name: "again by itself", past: at(driftline.RolloutRolledBack, queue), spec: again,
			err: `version 2 of model "m" was rolled back in rollout m-1: worse by errors; a person can start it again: driftline rollout start m@2`},
		{name: "again by a person", past: at(driftline.RolloutRolledBack, queue), spec: rollout.Spec{Model: "m", Candidate: 2}, want: rollout.Admitted},
		{name: "another one after it", past: at(driftline.RolloutRolledBack, queue), spec: byPolicy, want: rollout.Admitted},
	} {
		var past []driftline.Rollout
		if c.past != nil {
			past = append(past, *c.past)
		}
		got, err := rollout.Admit(c.active, past, &c.spec)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %q, %v; want %q, %s", c.name, got, err, c.want, c.err)
		}
	}
	for _, spec := range []rollout.Spec{{ID: "m-1", Candidate: 1, Champion: 1}, {ID: "m-1", Candidate: 0}, {ID: "m-1", Candidate: 2, Champion: -1}, {Candidate: 2}} {
		if _, effects, err := rollout.Start(spec, time.Time{}); err == nil || effects != nil {
			t.Errorf("%+v is started", spec)
		}
	}
}
