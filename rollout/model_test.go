package rollout_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
)

// TestRandomHistories does at random whatever can happen to a rollout, restarts in between,
// and holds each step against rules that know nothing of how the machine is built.
func TestRandomHistories(t *testing.T) {
	reached := map[driftline.RolloutPhase]int{}
	for seed := range uint64(250) {
		h, err := newHistory(seed)
		for range 50 {
			if err == nil {
				err = h.happen()
				reached[h.state.Phase]++
			}
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(h.log, "\n"))
		}
	}
	if len(reached) != 11 {
		t.Errorf("only these phases were reached: %v", reached)
	}
}

// history is a rollout, the alias that others see, and everything that ever happened.
type history struct {
	*world
	alias   int
	queue   []rollout.Effect // alias moves, in their order, not yet tried
	ids     map[string]bool
	dealt   map[uint64]driftline.ArmCounts // by route, of observations that are evidence
	foreign bool                           // somebody else moved the alias
	log     []string
}

func newHistory(seed uint64) (*history, error) {
	random := rand.New(rand.NewPCG(seed, 7))
	plan := driftline.RolloutPlan{
		Baseline: 50, Stages: []driftline.CanaryStage{{Weight: 20, MinDuration: driftline.Duration(5 * time.Minute), MinRequests: 100}, {Weight: 50}},
		Bake:           driftline.BakeStage{Duration: driftline.Duration(2 * time.Hour)},
		OnInconclusive: []driftline.Inconclusive{driftline.InconclusiveRollback, driftline.InconclusiveHold, driftline.InconclusivePromote}[random.IntN(3)],
	}
	if random.IntN(2) == 0 {
		plan.Shadow = &driftline.ShadowStage{Mirror: 50, MinRequests: 50, MinDuration: driftline.Duration(time.Minute)}
	}
	if random.IntN(3) == 0 {
		plan.Stages[0].ManualApproval = true
	}
	spec := rollout.Spec{ID: "m-1", Model: "m", Champion: 1, Candidate: 2, Policy: 1, Plan: plan}
	if random.IntN(5) == 0 {
		spec.Champion = 0
		spec.Plan.Guards = []driftline.Guard{{Kind: driftline.GuardErrors, Limit: 0.2}}
	}
	w, effects, err := newWorld(spec, seed)
	if err != nil {
		return nil, err
	}
	h := &history{world: w, alias: spec.Champion, ids: map[string]bool{}, dealt: map[uint64]driftline.ArmCounts{}}
	return h, h.effects(effects)
}

// happen does one thing.
func (h *history) happen() error {
	if h.random.IntN(8) == 0 {
		return h.restart()
	}
	if h.random.IntN(4) > 0 && len(h.queue) > 0 {
		return h.apply()
	}
	e := h.anything()
	before, err := json.Marshal(h.state)
	if err != nil {
		return err
	}
	old := h.state
	for _, o := range e.Observations {
		if o.Answer.Fault != driftline.FaultOurs && !old.Phase.Ended() {
			counts := h.dealt[o.Route]
			if o.Arm == driftline.ArmCandidate {
				counts.Candidate++
			} else {
				counts.Champion++
			}
			h.dealt[o.Route] = counts
		}
	}
	h.log = append(h.log, fmt.Sprintf("%s %+v", h.now.Format("15:04"), rollout.Event{Kind: e.Kind, By: e.By, Version: e.Version, Force: e.Force, Blind: e.Blind, Reason: e.Reason}))
	again, _, _ := rollout.Step(old, e, h.now)
	effects, failed := h.step(e)
	after, err := json.Marshal(h.state)
	if err != nil {
		return err
	}
	if twice, _ := json.Marshal(again); string(twice) != string(after) {
		return fmt.Errorf("the same step led to another state")
	}
	if unchanged, _ := json.Marshal(old); string(unchanged) != string(before) {
		return fmt.Errorf("the step changed the state that it was given")
	}
	if failed != nil && (string(before) != string(after) || len(effects) > 0) {
		return fmt.Errorf("%v, and yet the state changed", failed)
	}
	h.log = append(h.log, fmt.Sprintf("      %d: %s, alias %d, %v", h.state.Sequence, h.state.Title(), h.alias, failed))
	if err := h.stepRules(&old, &e, failed); err != nil {
		return err
	}
	return h.effects(effects)
}

// anything is an event.
func (h *history) anything() rollout.Event {
	n := h.random.IntN(40)
	people := []rollout.EventKind{rollout.Pause, rollout.Resume, rollout.Resume, rollout.Abort, rollout.Promote, rollout.Rollback, rollout.Approve, rollout.Approve}
	switch {
	case n < len(people):
		e := rollout.Event{Kind: people[n], By: "ann", Force: h.random.IntN(2) == 0, Reason: []string{"", "because"}[h.random.IntN(2)]}
		if h.random.IntN(2) == 0 {
			expect := h.state.Sequence - uint64(h.random.IntN(2))
			e.Expect = &expect
		}
		return e
	case n == 10:
		return rollout.Event{Kind: rollout.Broken, Reason: "it hangs"}
	case n == 11:
		return rollout.Event{Kind: rollout.Newer, Version: 3}
	case n == 12 && h.random.IntN(2) == 0:
		h.alias, h.foreign = 1+h.random.IntN(9), true
		return rollout.Event{Kind: rollout.Moved, Version: h.alias, By: "bob"}
	case n == 13:
		return rollout.Event{Kind: rollout.Restored}
	case n < 18:
		return rollout.Event{Kind: rollout.Loaded}
	}
	return h.aTick()
}

func (h *history) aTick() rollout.Event {
	l := load{requests: h.random.IntN(600), champion: rates{0.05, 0.05}, candidate: rates{0.05, 0.05}}
	switch h.random.IntN(6) {
	case 0:
		l.candidate.error = 0.6
	case 1:
		l.candidate.slow = 0.6
	}
	every := time.Duration(1+h.random.IntN(20)) * time.Minute
	e := rollout.Event{Kind: rollout.Tick, Elapsed: driftline.Duration(every), Observations: h.serve(l)}
	for i := range e.Observations {
		if h.random.IntN(50) == 0 {
			e.Observations[i].Answer.Fault = driftline.FaultOurs
		}
	}
	h.now = h.now.Add(every)
	switch h.random.IntN(10) {
	case 0:
		h.now = h.now.Add(time.Duration(h.random.IntN(48)-24) * time.Hour)
	case 1:
		e.Blind = "the disk is full"
	case 2:
		e.Elapsed = 0 // a restart
	}
	return e
}

// restart keeps nothing but what was written down.
func (h *history) restart() error {
	kept, err := json.Marshal(h.state)
	if err != nil {
		return err
	}
	var read rollout.State
	if err := json.Unmarshal(kept, &read); err != nil {
		return err
	}
	again, err := json.Marshal(read)
	if err != nil {
		return err
	}
	if string(again) != string(kept) {
		return fmt.Errorf("a restart changed the state")
	}
	h.state = read
	h.log = append(h.log, "restart")
	return nil
}

// apply tries the first alias move that waits, by compare and swap.
func (h *history) apply() error {
	e := h.queue[0]
	h.queue = h.queue[1:]
	kind := rollout.Refused
	if h.alias == e.From || h.alias == e.Version {
		h.alias, kind = e.Version, rollout.Applied
	}
	effects, err := h.step(rollout.Event{Kind: kind, Effect: e.ID})
	h.log = append(h.log, fmt.Sprintf("%s %s: %d: %s, alias %d", kind, e.ID, h.state.Sequence, h.state.Title(), h.alias))
	if err != nil {
		return err
	}
	return h.effects(effects)
}

// effects looks at the effects of a step, and at the state after it.
func (h *history) effects(effects []rollout.Effect) error {
	for _, e := range effects {
		again := slices.ContainsFunc(h.state.Open, func(open rollout.Effect) bool { return open.ID == e.ID })
		if h.ids[e.ID] && !again {
			return fmt.Errorf("effect %s came twice", e.ID)
		}
		if e.Kind == rollout.EffectAlias && !h.ids[e.ID] {
			h.queue = append(h.queue, e)
		}
		h.ids[e.ID] = true
		if e.Kind == rollout.EffectRecord && e.Transition.Verdict != nil {
			made, _ := json.Marshal(rollout.Explain(&h.state.Plan, e.Transition))
			if recorded, _ := json.Marshal(e.Transition.Verdict); string(made) != string(recorded) {
				return fmt.Errorf("the verdict cannot be made again:\n%s\n%s", recorded, made)
			}
		}
	}
	return h.stateRules()
}

// stateRules hold of every state.
func (h *history) stateRules() error {
	s := &h.state
	if len(s.Route.Arms) > 0 {
		if _, err := routing.New(s.Route); err != nil {
			return err
		}
	} else if s.Champion != 0 || s.Phase == driftline.RolloutBaking || s.Phase == driftline.RolloutPromoted {
		return fmt.Errorf("nobody answers")
	}
	for route, want := range h.dealt {
		var got driftline.ArmCounts
		for _, segment := range s.Evidence.Segments {
			if segment.Route == route {
				got.Candidate, got.Champion = got.Candidate+segment.Requests.Candidate, got.Champion+segment.Requests.Champion
			}
			if segment.Route == route && (segment.Share == 0 && segment.Requests.Candidate > 0) {
				return fmt.Errorf("evidence of the candidate where it had no share")
			}
		}
		if got != want {
			return fmt.Errorf("route %d: %+v are evidence, %+v were dealt", route, got, want)
		}
	}
	quiet := len(h.queue) == 0 && !h.foreign
	switch {
	case s.Phase == driftline.RolloutPromoted && quiet && h.alias != s.Candidate,
		(s.Phase == driftline.RolloutRolledBack || s.Phase == driftline.RolloutSuperseded || s.Phase == driftline.RolloutFailed) && quiet && h.alias != s.Champion:
		return fmt.Errorf("%s, and the alias is at %d", s.Phase, h.alias)
	case s.Phase.Ended() != !s.Ended.IsZero():
		return fmt.Errorf("%s ended %v", s.Phase, s.Ended)
	case s.Phase == driftline.RolloutRolledBack && len(s.Route.Arms) > 0 && (len(s.Route.Arms) != 1 || s.Route.Arms[0].Versions[0].Version != s.Champion):
		return fmt.Errorf("it is rolled back, and dealt %+v", s.Route.Arms)
	}
	return nil
}

// stepRules hold between two states.
func (h *history) stepRules(old *rollout.State, e *rollout.Event, failed error) error {
	s := &h.state
	command := slices.Contains([]rollout.EventKind{rollout.Pause, rollout.Resume, rollout.Abort, rollout.Promote, rollout.Rollback, rollout.Approve}, e.Kind)
	switch {
	case command && e.Expect != nil && *e.Expect != old.Sequence && driftline.CodeOf(failed) != driftline.Conflict:
		return fmt.Errorf("a stale command: %v", failed)
	case s.Sequence < old.Sequence, s.Phase != old.Phase && s.Sequence == old.Sequence:
		return fmt.Errorf("sequence %d after %d", s.Sequence, old.Sequence)
	case old.Phase.Ended() && s.Phase != old.Phase && !(old.Phase == driftline.RolloutPromoted && e.Kind == rollout.Rollback):
		return fmt.Errorf("what was %s is %s", old.Phase, s.Phase)
	case e.Blind != "" && s.Phase != old.Phase:
		return fmt.Errorf("blind, it went from %s to %s", old.Phase, s.Phase)
	case s.Stage > old.Stage+1:
		return fmt.Errorf("a stage was left out")
	case e.Kind == rollout.Tick && weight(s.Route) > weight(old.Route) && s.Cause == driftline.CauseSafe && s.Phase == driftline.RolloutCanary && s.Verdict.Outcome != driftline.VerdictSafe:
		return fmt.Errorf("more traffic without being safe")
	case e.Kind == rollout.Tick && jumped(old, s, e) && s.Phase != old.Phase && s.Cause != driftline.CauseWorse:
		return fmt.Errorf("the clock jumped, and it went from %s to %s: %s", old.Phase, s.Phase, s.Reason)
	case old.Phase == driftline.RolloutPaused && e.Kind == rollout.Tick && s.Phase != driftline.RolloutPaused && s.Cause != driftline.CauseWorse:
		return fmt.Errorf("a paused rollout went on: %s", s.Reason)
	}
	return nil
}

func jumped(old, s *rollout.State, e *rollout.Event) bool {
	off := s.Ticked.Sub(old.Ticked) - time.Duration(e.Elapsed)
	return !old.Ticked.IsZero() && (off > 5*time.Minute || off < -5*time.Minute)
}

func weight(r driftline.Route) float64 {
	for _, arm := range r.Arms {
		if arm.Arm == driftline.ArmCandidate {
			return arm.Weight
		}
	}
	return 0
}
