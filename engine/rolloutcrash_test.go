package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// brisk is a plan that a few requests decide.
func brisk() *driftline.RolloutPlan {
	negligible, minute := 0.2, driftline.Duration(time.Minute)
	return &driftline.RolloutPlan{
		Stages: []driftline.CanaryStage{{Weight: 20, MinDuration: minute, MinRequests: 20}, {Weight: 50, MinDuration: minute, MinRequests: 20, ManualApproval: true}},
		Guards: []driftline.Guard{{Kind: driftline.GuardErrors, Negligible: &negligible, Margin: 4}},
		Bake:   driftline.BakeStage{Duration: 3 * minute},
	}
}

// crash is a death of the process at the n-th step of its rollouts. What happens in
// the background has no caller that sees it, so it is noted.
type crash struct {
	at, reached int
	step        string // at which it died
	died        bool
}

func (c *crash) arm(e *engine.Engine) {
	e.FailWhen(func(step string) error {
		if c.died { // nothing happens after it
			return errCrash
		}
		if !slices.Contains(engine.RolloutSteps, step) {
			return nil
		}
		if c.reached++; c.reached == c.at {
			c.died, c.step = true, step
			return errCrash
		}
		return nil
	})
}

// restart opens the folder again if the process has died.
func (c *crash) restart(r *rolled) bool {
	r.T.Helper()
	if !c.died {
		return false
	}
	c.died = false
	r.Reopen()
	r.legal()
	return true
}

// legal checks that what is kept of a rollout, the ledger, the route and the champion's alias
// are of one step.
func (r *rolled) legal() {
	r.T.Helper()
	for _, known := range r.Engine.Registry().Rollouts(late) {
		s := r.status(known.ID)
		if s.Sequence != known.Sequence || s.Phase != known.Phase || s.Route.Sequence != known.Route.Sequence {
			r.T.Errorf("kept is %s at %d, the ledger says %s at %d", s.Phase, s.Sequence, known.Phase, known.Sequence)
		}
		history, err := r.Engine.RolloutHistory(known.ID)
		if err != nil {
			r.T.Fatal(err)
		}
		if last := history[len(history)-1]; last.To != s.Phase || s.Phase != driftline.RolloutPaused && last.Weight != s.Route.Weight(driftline.ArmCandidate) {
			r.T.Errorf("rollout %s is %s with %g %%, its last change is to %s with %g %%", known.ID, s.Phase, s.Route.Weight(driftline.ArmCandidate), last.To, last.Weight)
		}
		for i, c := range history[1:] {
			if c.From != history[i].To || c.Sequence <= history[i].Sequence {
				r.T.Errorf("the history of %s is not one line: %s to %s after %s", known.ID, c.From, c.To, history[i].To)
			}
		}
	}
	if all := r.Engine.Registry().Rollouts(late); len(all) > 0 {
		want := all[0].Champion
		if all[0].Moved {
			want = all[0].Candidate
		}
		if at, _ := r.Engine.Registry().Champion(late); at != want && at != r.chosen {
			r.T.Errorf("version %d is champion, and rollout %s (%s) says %d", at, all[0].ID, all[0].Phase, want)
		}
	}
	r.sound()
}

// noticesOf waits for so many different notices, and returns how often each came.
func noticesOf(t *testing.T, r *rolled, want int) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for range 600 {
		clear(seen)
		for _, n := range noticesIn(t, r.notices) {
			seen[n.ID]++
		}
		if len(seen) >= want {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return seen
}

// TestRandomLivesWithCrashes is A23: 200 random lives, each killed at a random step.
func TestRandomLivesWithCrashes(t *testing.T) {
	ctx := context.Background()
	var r *rolled
	crashes, phases := 0, map[driftline.RolloutPhase]int{}
	for seed := uint64(0); crashes < 200; seed++ {
		if seed%25 == 0 {
			r = newRolled(t, seed)
		}
		random := rand.New(rand.NewPCG(seed, 23))
		c := &crash{at: 1 + random.IntN(10)}
		r.fails[2] = []float64{0, 0.02, 0.7}[random.IntN(3)]
		c.arm(r.Engine)
		check := func(err error) {
			if c.restart(r) {
				crashes++
			} else if code := driftline.CodeOf(err); code != "" && code != driftline.Conflict && code != driftline.FailedPrecondition {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		candidate := 2
		if now, _ := r.Engine.Registry().Champion(late); now == 2 {
			candidate = 3
		}
		_, err := r.Engine.StartRollout(ctx, driftline.RolloutRequest{Model: late, Version: fmt.Sprint(candidate), Plan: brisk()})
		check(err)
		for range 12 {
			if all := r.Engine.Registry().Rollouts(late); len(all) > 0 && random.IntN(2) == 0 {
				action := driftline.RolloutActions[random.IntN(len(driftline.RolloutActions))]
				_, err := r.act(all[0].ID, action, driftline.RolloutCommand{Reason: "because", Force: random.IntN(2) == 0})
				check(err)
				phases[r.status(all[0].ID).Phase]++
				continue
			}
			r.serve(200)
			r.Clock.Advance(time.Minute)
			check(r.Engine.TendRollouts(ctx))
		}
		r.legal()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if err := r.Engine.Registry().Verify(); err != nil {
		t.Error(err)
	}
	for _, phase := range []driftline.RolloutPhase{driftline.RolloutCanary, driftline.RolloutBaking, driftline.RolloutPaused, driftline.RolloutPromoted, driftline.RolloutRolledBack} {
		if phases[phase] == 0 {
			t.Errorf("no life was ever %s: %v", phase, phases)
		}
	}
}

// TestWhatCannotBeWrittenHoldsARollout is A34.
func TestWhatCannotBeWrittenHoldsARollout(t *testing.T) {
	r := newRolled(t, 31)
	s := r.start(2, brisk())
	r.until(s.ID, driftline.RolloutCanary, 300)
	full := driftline.Errorf(driftline.Unavailable, "the disk is full")
	r.Engine.FailWhen(func(step string) error { return full })
	r.fails[2] = 1
	for range 5 {
		r.serve(300)
		r.Clock.Advance(time.Minute)
		if err := r.Engine.TendRollouts(context.Background()); !errors.Is(err, full) {
			t.Fatalf("it went on: %v", err)
		}
	}
	if got := r.status(s.ID); got.Phase != driftline.RolloutCanary || got.Blind == "" {
		t.Errorf("it is %s, blind %q", got.Phase, got.Blind)
	}
	r.Engine.FailWhen(nil)
	r.minutes(1, 300)
	if got := r.status(s.ID); got.Phase != driftline.RolloutCanary {
		t.Errorf("it concluded while it was blind: %s", got.Phase)
	}
	r.minutes(1, 300)
	if got := r.status(s.ID); got.Phase != driftline.RolloutRolledBack || got.Cause != driftline.CauseWorse {
		t.Errorf("it is %s (%s)", got.Phase, got.Cause)
	}
}

// TestOneOfManyCommandsWins is A37 for rollouts.
func TestOneOfManyCommandsWins(t *testing.T) {
	r := newRolled(t, 32)
	s := r.start(2, brisk())
	s = r.until(s.ID, driftline.RolloutCanary, 300)
	var wait sync.WaitGroup
	results := make([]error, 100)
	for i := range results {
		wait.Go(func() {
			action := []driftline.RolloutAction{driftline.RolloutPause, driftline.RolloutAbort, driftline.RolloutPromote}[i%3]
			_, results[i] = r.act(s.ID, action, driftline.RolloutCommand{Expect: &s.Sequence})
		})
	}
	wait.Wait()
	won := 0
	for _, err := range results {
		switch driftline.CodeOf(err) {
		case "":
			won++
		case driftline.Conflict:
		default:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
	r.legal()
}

// TestMoreRequestsThanThereIsRoomFor counts what it lost, to the last one.
func TestMoreRequestsThanThereIsRoomFor(t *testing.T) {
	r := newRolled(t, 33)
	s := r.start(2, brisk())
	r.until(s.ID, driftline.RolloutCanary, 300)
	r.serve(1<<16 + 123)
	r.minutes(1, 0)
	got := r.status(s.ID)
	if want := fmt.Sprintf("123 of %d requests came too fast to be counted", 1<<16+123); got.Blind != want {
		t.Errorf("blind %q, want %q", got.Blind, want)
	}
	if got.Phase != driftline.RolloutCanary || got.Verdict.Requests.Champion+got.Verdict.Requests.Candidate < 1<<16 {
		encoded, _ := json.Marshal(got.Verdict)
		t.Errorf("it is %s, counted %s", got.Phase, encoded)
	}
}
