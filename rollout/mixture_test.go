package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
)

func mixing(kind driftline.Mixture, with ...driftline.VersionShare) *driftline.MixturePlan {
	return &driftline.MixturePlan{With: with, Kind: kind}
}

// An arm that several versions share is one arm: it grows and shrinks as a whole, its shares change by compare
// and swap, and it is champion as it was tested.
func TestAnArmThatVersionsShare(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	spec := rollout.Spec{ID: "m-1", Model: "m", Candidate: 3, Champion: 2, Plan: driftline.RolloutPlan{
		Stages: []driftline.CanaryStage{{Weight: 10}}, Mixture: mixing(driftline.MixtureChoose, driftline.VersionShare{Version: 1, Share: 20}, driftline.VersionShare{Share: 30}),
	}}
	s, _, err := rollout.Start(spec, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []driftline.VersionShare{{Version: 3, Share: 50}, {Version: 1, Share: 20}, {Version: 2, Share: 30}}
	arm := func(s rollout.State, name driftline.Arm, weight float64, want []driftline.VersionShare) {
		t.Helper()
		for _, a := range s.Route.Arms {
			if a.Arm == name {
				if a.Weight != weight || a.Mixture != driftline.MixtureChoose || len(a.Versions) != len(want) || a.Versions[0] != want[0] || a.Versions[1] != want[1] || a.Versions[2] != want[2] {
					t.Errorf("%+v", a)
				}
				return
			}
		}
		t.Errorf("no arm %s: %+v", name, s.Route)
	}
	step := func(e rollout.Event) error {
		now = now.Add(time.Minute)
		next, _, err := rollout.Step(s, e, now)
		if err == nil {
			s = next
		}
		return err
	}
	arm(s, driftline.ArmCandidate, 0, want)
	shares := []driftline.VersionShare{{Version: 3, Share: 10}, {Version: 1, Share: 60}, {Version: 2, Share: 30}}
	reweigh := func(expect uint64, shares []driftline.VersionShare) error {
		return step(rollout.Event{Kind: rollout.Reweigh, Expect: &expect, Shares: shares, Through: now, Reason: "brier"})
	}
	if err := reweigh(s.Sequence, shares); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("while it is pending: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(step(rollout.Event{Kind: rollout.Loaded}))
	must(step(rollout.Event{Kind: rollout.Tick, Observations: baseline(1000)}))
	if s.Phase != driftline.RolloutCanary {
		t.Fatalf("it is %s: %s", s.Phase, s.Reason)
	}
	arm(s, driftline.ArmCandidate, 10, want)
	before, segments := s.Sequence, len(s.Evidence.Segments)
	for what, bad := range map[string]error{
		"of another state": reweigh(before-1, shares), "of other versions": reweigh(before, want[:2]),
		"that add up to more": reweigh(before, []driftline.VersionShare{{Version: 3, Share: 50}, {Version: 1, Share: 60}, {Version: 2, Share: 30}}),
	} {
		if bad == nil {
			t.Errorf("shares %s were taken", what)
		}
	}
	must(reweigh(before, shares))
	arm(s, driftline.ArmCandidate, 10, shares)
	if s.Sequence != before+1 || s.Route.Sequence != s.Sequence || len(s.Evidence.Segments) != segments+1 {
		t.Errorf("at %d, route %d, %d segments", s.Sequence, s.Route.Sequence, len(s.Evidence.Segments))
	}
	must(step(rollout.Event{Kind: rollout.Promote, Force: true, Reason: "because"}))
	must(step(rollout.Event{Kind: rollout.Applied, Effect: s.Open[0].ID}))
	arm(s, driftline.ArmCandidate, 95, shares)
	must(step(rollout.Event{Kind: rollout.Promote, Force: true, Reason: "because"}))
	if s.Phase != driftline.RolloutPromoted {
		t.Fatalf("it is %s", s.Phase)
	}
	arm(s, driftline.ArmChampion, 100, shares)
}

// baseline are requests of the champion.
func baseline(n int) (all []rollout.Observation) {
	for range n {
		all = append(all, rollout.Observation{Arm: driftline.ArmChampion, Answer: rollout.Answer{Latency: time.Millisecond, Score: 0.5}})
	}
	return all
}

func TestMixturesThatMakeNoSense(t *testing.T) {
	share := func(version int, percent float64) driftline.VersionShare {
		return driftline.VersionShare{Version: version, Share: percent}
	}
	loss := mixing(driftline.MixtureChoose, share(1, 10))
	loss.Reweigh = &driftline.Reweighing{Loss: "roc_auc"}
	for want, plan := range map[string]*driftline.MixturePlan{
		"rollout.mixture.with is missing":                                      mixing(""),
		"rollout.mixture.kind":                                                 mixing("blend", share(1, 10)),
		"rollout.mixture.with[0].share":                                        mixing("", share(1, -1)),
		"rollout.mixture.with leaves the candidate nothing":                    mixing("", share(1, 60), share(2, 40)),
		"rollout.mixture.with[0].version: version 3 is in the mixture already": mixing("", share(3, 10)),
		"rollout.mixture.with[1].version: version 2 is in the mixture already": mixing("", share(2, 10), share(0, 10)),
		"rollout.mixture.reweigh.loss":                                         loss,
	} {
		_, _, err := rollout.Start(rollout.Spec{ID: "m-1", Model: "m", Candidate: 3, Champion: 2, Plan: driftline.RolloutPlan{Mixture: plan}}, time.Now())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if _, _, err := rollout.Start(rollout.Spec{ID: "m-1", Model: "m", Candidate: 1, Plan: driftline.RolloutPlan{Mixture: mixing("", share(0, 10)), Guards: []driftline.Guard{{Kind: driftline.GuardErrors, Limit: 0.1}}}}, time.Now()); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("without a champion: %v", err)
	}
}
