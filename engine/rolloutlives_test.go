package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// lived is a life of a rollout that goes on after a crash where it was, as an operator would. All that is done is asked
// for again until it is done.
type lived struct {
	*rolled
	t       *testing.T
	crash   *crash
	crashes int
	begun   []driftline.RolloutID
}

// do does something that may end with the process, and does it again then. f looks first whether it is done.
func (l *lived) do(f func() error) {
	l.t.Helper()
	for range 3 {
		err := f()
		if l.crash.restart(l.rolled) {
			l.crashes++
			continue
		}
		if err == nil {
			return
		}
		l.t.Fatal(err)
	}
}

// begin starts a rollout, of a policy's version or a person's.
func (l *lived) begin(version, policy int, plan *driftline.RolloutPlan) {
	l.t.Helper()
	id := driftline.RolloutID(fmt.Sprintf("late-%d", 1+len(l.Engine.Registry().Rollouts(late))))
	l.do(func() error {
		if _, err := l.Engine.Registry().Rollout(id); err == nil {
			return nil // it began, and the answer was lost
		}
		_, err := l.Engine.StartRollout(context.Background(), driftline.RolloutRequest{Model: late, Version: fmt.Sprint(version), Plan: plan, Policy: policy,
			Notices: []driftline.PolicyNotice{{Channels: []string{"ops"}}}})
		return err
	})
	l.begun = append(l.begun, id)
}

// is the rollout that began last.
func (l *lived) is() driftline.RolloutStatus { return l.status(l.begun[len(l.begun)-1]) }

// pass lets a minute pass, with requests in it.
func (l *lived) pass(requests int) {
	l.t.Helper()
	l.serve(requests)
	l.Clock.Advance(time.Minute)
	l.do(func() error { return l.Engine.TendRollouts(context.Background()) })
}

// until lets minutes pass until the rollout is as wanted.
func (l *lived) until(requests int, want func(driftline.RolloutStatus) bool) {
	l.t.Helper()
	for range 40 {
		if want(l.is()) {
			return
		}
		l.pass(requests)
	}
	s := l.is()
	verdict, _ := json.Marshal(s.Verdict) // it says what it waits for
	l.t.Fatalf("it is %s (%s): %s", s.Title(), s.Reason, verdict)
}

func (l *lived) to(phase driftline.RolloutPhase) {
	l.t.Helper()
	l.until(300, func(s driftline.RolloutStatus) bool { return s.Phase == phase })
}

// act has a person do something, unless that is done.
func (l *lived) act(action driftline.RolloutAction, done func(driftline.RolloutStatus) bool) {
	l.t.Helper()
	l.do(func() error {
		if done(l.is()) {
			return nil
		}
		_, err := l.rolled.act(l.is().ID, action, driftline.RolloutCommand{Reason: "because"})
		return err
	})
}

// in reports whether a rollout is in one of some phases.
func in(phases ...driftline.RolloutPhase) func(driftline.RolloutStatus) bool {
	return func(s driftline.RolloutStatus) bool { return slices.Contains(phases, s.Phase) }
}

// breaks has the server of the candidate fail for good. Who reports that is told nothing of what becomes of it.
func (l *lived) breaks() {
	l.t.Helper()
	l.do(func() error {
		l.Engine.ReportModelServer(late, l.is().Candidate, errors.New("its circuit is open"))
		if s := l.is(); !l.crash.died && !s.Phase.Ended() {
			return fmt.Errorf("it is %s", s.Phase)
		}
		return nil
	})
}

// back has a person return to the champion before.
func (l *lived) back() {
	l.t.Helper()
	l.act(driftline.RolloutRollback, in(driftline.RolloutRollingBack, driftline.RolloutRolledBack))
	l.to(driftline.RolloutRolledBack)
}

// lives are ways that a rollout can go. After each version 1 is champion, as it was before.
var lives = []struct {
	name string
	live func(l *lived)
}{
	{"it becomes champion, and a person takes it back", func(l *lived) {
		l.begin(2, 0, brisk())
		l.to(driftline.RolloutCanary)
		l.act(driftline.RolloutPause, in(driftline.RolloutPaused))
		l.act(driftline.RolloutResume, in(driftline.RolloutCanary))
		l.until(300, func(s driftline.RolloutStatus) bool { return s.Waiting == "approval" })
		l.act(driftline.RolloutApprove, func(s driftline.RolloutStatus) bool { return s.Waiting != "approval" })
		l.to(driftline.RolloutBaking)
		l.to(driftline.RolloutPromoted)
		l.back()
	}},
	{"it is seen in shadow, and is worse once it answers", func(l *lived) {
		plan := brisk()
		plan.Shadow = &driftline.ShadowStage{Mirror: 50, MinDuration: driftline.Duration(time.Minute), MinRequests: 20}
		l.fails[1], l.fails[2] = 0, 0 // or it takes ten thousand pairs to tell
		l.begin(2, 0, plan)
		l.to(driftline.RolloutShadow)
		l.to(driftline.RolloutCanary)
		l.fails[2] = 0.7
		l.to(driftline.RolloutRolledBack)
	}},
	{"it is promoted out of its shadow, and worse in its bake", func(l *lived) {
		plan := brisk()
		plan.Shadow = &driftline.ShadowStage{Mirror: 50}
		l.begin(2, 0, plan)
		l.to(driftline.RolloutShadow)
		l.act(driftline.RolloutPromote, in(driftline.RolloutPromoting, driftline.RolloutBaking))
		l.to(driftline.RolloutBaking)
		l.fails[2] = 0.7
		l.to(driftline.RolloutRolledBack)
	}},
	{"it is promoted by a person, who takes it back", func(l *lived) {
		l.begin(2, 0, brisk())
		l.to(driftline.RolloutCanary)
		l.act(driftline.RolloutPromote, in(driftline.RolloutPromoting, driftline.RolloutBaking))
		l.to(driftline.RolloutBaking)
		l.back()
	}},
	{"it is broken before it begins", func(l *lived) {
		l.begin(2, 0, brisk())
		l.breaks()
	}},
	{"it breaks as a canary", func(l *lived) {
		l.begin(2, 0, brisk())
		l.to(driftline.RolloutCanary)
		l.breaks()
	}},
	{"it is given up while it is paused", func(l *lived) {
		l.begin(2, 0, brisk())
		l.to(driftline.RolloutCanary)
		l.act(driftline.RolloutPause, in(driftline.RolloutPaused))
		l.act(driftline.RolloutAbort, in(driftline.RolloutRolledBack))
	}},
	{"a newer one takes its place, and is given up before it begins", func(l *lived) {
		newModel(l.t, l.Env, late, 2) // a policy does not try again what it took back
		versions, err := l.Engine.Registry().ModelVersions(late)
		if err != nil {
			l.t.Fatal(err)
		}
		l.begin(len(versions)-1, 1, brisk())
		l.to(driftline.RolloutCanary)
		l.begin(len(versions), 1, brisk())
		l.act(driftline.RolloutAbort, in(driftline.RolloutRolledBack))
	}},
	{"nobody asks it anything", func(l *lived) {
		plan := brisk()
		plan.Stages[0].MaxDuration = driftline.Duration(3 * time.Minute)
		l.begin(2, 0, plan)
		l.to(driftline.RolloutCanary)
		l.until(0, in(driftline.RolloutRolledBack))
	}},
	{"somebody makes another version champion", func(l *lived) {
		l.chosen = 1 // after the life before
		l.begin(2, 0, brisk())
		l.to(driftline.RolloutCanary)
		l.chosen = 3
		champion(l.t, l.Env, late, l.chosen)
		l.until(300, in(driftline.RolloutRolledBack))
		l.chosen = 1
		champion(l.t, l.Env, late, l.chosen)
	}},
}

// turns are all ways from one phase to another that a rollout of a model with a champion has. Pauses are
// tried in one phase, and a promotion that somebody forestalls, which has no phase to be seen in, in none.
var turns = []string{
	"→pending", "pending→shadow", "pending→canary", "pending→failed", "pending→rolled_back",
	"shadow→canary", "shadow→promoting",
	"canary→canary", "canary→paused", "paused→canary", "paused→rolled_back", "canary→promoting", "canary→rolled_back", "canary→superseded",
	"promoting→baking", "baking→promoted", "baking→rolling_back", "promoted→rolling_back", "rolling_back→rolled_back",
}

// TestACrashAtEveryStepOfARollout is A23: it kills the process at each step of each life, once each, checks what is there after the
// restart, and compares how it goes on and whom it tells with the same life without crashes.
func TestACrashAtEveryStepOfARollout(t *testing.T) {
	taken, died := map[string]bool{}, map[string]bool{}
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			r := newRolled(t, 20)
			quiet := r.lives(t, &crash{at: -1}, life.live)
			path, told := quiet.path(), quiet.told()
			for _, turn := range quiet.turns() {
				taken[turn] = true
			}
			at := 1
			for ; ; at++ {
				l := r.lives(t, &crash{at: at}, life.live)
				if l.crashes == 0 {
					break // it had no such step
				}
				if l.crashes > 1 || l.path() != path || l.told() != told {
					t.Errorf("killed at step %d it died %d times, went %s\nand told of %s\nwithout a crash it went %s\nand told of %s", at, l.crashes, l.path(), l.told(), path, told)
				}
				died[l.crash.step] = true
			}
			if at < quiet.crash.reached/2 {
				t.Errorf("it died at %d steps, and has %d without a crash", at-1, quiet.crash.reached)
			}
			r.allCame(t)
			if err := r.Engine.Registry().Verify(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, step := range engine.RolloutSteps {
		if !died[step] {
			t.Errorf("no life ended at %q", step)
		}
	}
	for _, turn := range turns {
		if !taken[turn] {
			t.Errorf("no life has the turn %s", turn)
		}
	}
}

// lives takes a rollout through a life.
func (r *rolled) lives(t *testing.T, c *crash, live func(*lived)) *lived {
	t.Helper()
	for version := range r.fails {
		r.fails[version] = 0.02
	}
	r.chosen = 0
	l := &lived{rolled: r, t: t, crash: c}
	c.arm(r.Engine)
	live(l)
	r.Engine.FailWhen(nil)
	r.legal()
	if at, _ := r.Engine.Registry().Champion(late); at != 1 {
		t.Fatalf("version %d is champion after it", at)
	}
	return l
}

// path is how the rollouts of a life went from phase to phase.
func (l *lived) path() string {
	l.t.Helper()
	var paths []string
	for _, id := range l.begun {
		paths = append(paths, l.rolled.path(id))
	}
	return strings.Join(paths, "; ")
}

// turns are the ways from phase to phase that its rollouts took.
func (l *lived) turns() (all []string) {
	l.t.Helper()
	for _, id := range l.begun {
		history, err := l.Engine.RolloutHistory(id)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, c := range history {
			all = append(all, fmt.Sprintf("%s→%s", c.From, c.To))
		}
	}
	return all
}

// told are the events that people are told of, each as often as there is a notice of another ID.
func (l *lived) told() string {
	l.t.Helper()
	written, err := l.Engine.Notices("")
	if err != nil {
		l.t.Fatal(err)
	}
	events := map[string]string{}
	for _, n := range written {
		if n.Happening != nil && slices.Contains(l.begun, driftline.RolloutID(n.Ref().Name)) {
			events[n.ID] = string(n.Happening.Event)
		}
	}
	return strings.Join(slices.Sorted(maps.Values(events)), ", ")
}

// allCame fails unless all notices that were written arrive, and nothing else.
func (r *rolled) allCame(t *testing.T) {
	t.Helper()
	written, err := r.Engine.Notices("")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, n := range written {
		want[n.ID] = true
	}
	if seen := noticesOf(t, r, len(want)); !slices.Equal(slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("notices %v came, and %v were written", slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(want)))
	}
}
