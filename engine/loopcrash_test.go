package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// death is a death of the process at the n-th of some steps, which any goroutine may reach. Nothing
// happens after it until the folder is opened again.
type death struct {
	steps []string
	at    int

	mu      sync.Mutex
	reached []string
	died    bool
}

func (d *death) arm(e *engine.Engine) {
	e.FailWhen(func(step string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.died {
			return errCrash
		}
		if !slices.Contains(d.steps, step) {
			return nil
		}
		if d.reached = append(d.reached, step); len(d.reached) == d.at {
			d.died = true
			return errCrash
		}
		return nil
	})
}

// restart opens the folder again if the process has died.
func (d *death) restart(l *looped) bool {
	l.t.Helper()
	d.mu.Lock()
	died := d.died
	d.mu.Unlock()
	if !died {
		return false
	}
	l.Reopen()
	d.mu.Lock()
	d.died = false
	d.mu.Unlock()
	return true
}

// lives takes one request through training, gate and rollout to its end, and goes on after a death where
// it was. It returns how often the process died.
func (l *looped) lives(d *death) (deaths int) {
	l.t.Helper()
	ctx := context.Background()
	d.arm(l.Engine)
	version, reported := 0, false
	for range 1500 {
		if d.restart(l) {
			deaths++
		}
		answer, err := l.ask("k")
		if err != nil {
			continue
		}
		l.look()
		run, err := l.Engine.Training(answer.Run.ID)
		if err != nil {
			continue
		}
		if hooks := l.trainer.got(); !reported && len(hooks) > 0 {
			if version == 0 {
				version = l.made("a second model", "good", "")
			}
			_, err := l.report(hooks[len(hooks)-1], driftline.TrainingResult{Succeeded: true, Candidate: version})
			reported = err == nil
			continue
		}
		if run.Next == driftline.NextDone {
			if d.restart(l) {
				deaths++
			}
			return deaths
		}
		if run.Rollout != "" {
			l.rolled.serve(300)
			l.Clock.Advance(time.Minute)
			_ = l.Engine.TendRollouts(ctx) // after a death it fails
		}
		time.Sleep(2 * time.Millisecond)
	}
	l.t.Fatalf("it comes to no end: %+v", l.runs())
	return deaths
}

// events are how many different notices arrive of each event.
func (l *looped) events() string {
	l.t.Helper()
	written, err := l.Engine.Notices("")
	if err != nil {
		l.t.Fatal(err)
	}
	count := map[driftline.PolicyEvent]int{}
	for id := range noticesOf(l.t, l.rolled, len(written)) {
		event, _, _ := strings.Cut(id, "-ops-")
		count[driftline.PolicyEvent(event)]++
	}
	var words []string
	for _, event := range slices.Sorted(maps.Keys(count)) {
		words = append(words, fmt.Sprint(event, " ", count[event]))
	}
	return strings.Join(words, ", ")
}

// TestADeathAtEachStepOfTraining kills the process at each step that a run and its candidate go through, once
// each, and compares how it ends with a life without deaths.
func TestADeathAtEachStepOfTraining(t *testing.T) {
	quiet := newLooped(t, 51)
	none := &death{steps: engine.TrainingSteps, at: -1}
	quiet.lives(none)
	path, events := quiet.rolled.path("late-1"), quiet.events()
	for _, step := range engine.TrainingSteps {
		if step != "training stopped" && !slices.Contains(none.reached, step) {
			t.Errorf("a whole life does not reach %q: %v", step, none.reached)
		}
	}
	for at, step := range none.reached {
		t.Run(fmt.Sprint(at+1, " ", step), func(t *testing.T) {
			l := newLooped(t, 51)
			d := &death{steps: engine.TrainingSteps, at: at + 1}
			if deaths := l.lives(d); deaths != 1 {
				t.Fatalf("%d deaths", deaths)
			}
			runs := l.runs()
			if len(runs) != 1 || runs[0].State != driftline.TrainingSucceeded || runs[0].Attempts != 1 || runs[0].Note != "it is champion" {
				t.Errorf("%+v", runs)
			}
			for _, h := range l.trainer.got() {
				if h.Key != string(runs[0].ID) || h.Run != runs[0].ID {
					t.Errorf("the trainer got %+v", h)
				}
			}
			if got := l.rolled.path("late-1"); got != path {
				t.Errorf("it went %s\nwithout a death %s", got, path)
			}
			if got := l.events(); got != events {
				t.Errorf("told of %s\nwithout a death %s", got, events)
			}
			l.championIs(2)
			l.rolled.legal()
			if err := l.Engine.Registry().Verify(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Logf("%d steps", len(none.reached))
}

// whole is everything that happened to a model, and what must hold of it.
type whole struct {
	*looped
	random *rand.Rand
	keys   map[string]driftline.TrainingID
	ended  map[driftline.TrainingID]driftline.TrainingState
	tokens map[driftline.TrainingID]uint64 // the newest that the trainer got
	stale  int
	made   int
}

// TestRandomLivesOfTheWholeLoop does at random what can happen to a model from its triggers to its champion,
// with deaths at random steps in between, and holds what is kept against rules that know nothing of how it is
// decided.
func TestRandomLivesOfTheWholeLoop(t *testing.T) {
	deaths, champions, states := 0, map[int]bool{}, map[driftline.TrainingState]int{}
	stale := 0
	for seed := range uint64(4) {
		w := &whole{looped: newLooped(t, seed), random: rand.New(rand.NewPCG(seed, 61)), keys: map[string]driftline.TrainingID{},
			ended: map[driftline.TrainingID]driftline.TrainingState{}, tokens: map[driftline.TrainingID]uint64{}}
		w.policy(func(p *driftline.Policy) {
			zero, plan := driftline.Duration(0), brisk()
			plan.Stages[1].ManualApproval = false
			p.Triggers = []driftline.Trigger{eachHour(driftline.CatchUpLatest)}
			p.Pacing, p.Rollout, p.Evaluation = driftline.Pacing{Cooldown: &zero, Budget: 1000}, *plan, *frozenGate()
		})
		steps := slices.Concat(engine.TrainingSteps, engine.RolloutSteps)
		d := &death{steps: steps, at: 1 + w.random.IntN(30)}
		d.arm(w.Engine)
		for op := range 120 {
			w.happen()
			if d.restart(w.looped) {
				deaths++
				d = &death{steps: steps, at: 1 + w.random.IntN(60)}
				d.arm(w.Engine)
				w.rules(true)
			} else {
				w.rules(false)
			}
			if t.Failed() {
				t.Fatalf("seed %d, after operation %d", seed, op)
			}
			if at, err := w.Engine.Registry().Champion(late); err == nil {
				champions[at] = true
			}
		}
		if err := w.Engine.Registry().Verify(); err != nil {
			t.Error(err)
		}
		for _, run := range w.runs() {
			states[run.State]++
		}
		stale += w.stale
	}
	if deaths < 8 || len(champions) < 2 || stale == 0 || states[driftline.TrainingRejected] == 0 || states[driftline.TrainingSucceeded] == 0 || states[driftline.TrainingFailed] == 0 {
		t.Errorf("the lives are dull: %d deaths, champions %v, %d stale tokens, runs %v", deaths, champions, stale, states)
	}
	t.Logf("%d deaths, champions %v, %d stale tokens, runs %v", deaths, champions, stale, states)
}

func (w *whole) happen() {
	ctx := context.Background()
	switch n := w.random.IntN(20); {
	case n < 2:
		w.Clock.Advance(time.Duration(w.random.IntN(90)) * time.Minute)
	case n < 4:
		key := fmt.Sprint("k", w.random.IntN(40))
		if answer, err := w.ask(key); err == nil {
			if prior, ok := w.keys[key]; ok && prior != answer.Run.ID {
				w.t.Errorf("key %s was run %s, and is %s", key, prior, answer.Run.ID)
			}
			w.keys[key] = answer.Run.ID
		}
	case n < 8:
		w.report()
	case n == 8:
		if all := w.runs(); len(all) > 0 && w.random.IntN(4) == 0 {
			_, _ = w.Engine.CancelTraining(all[0].ID, "ann", "") // it may have ended
		}
	case n == 9 && w.random.IntN(3) == 0:
		if all := w.Engine.Registry().Rollouts(late); len(all) > 0 {
			action := driftline.RolloutActions[w.random.IntN(len(driftline.RolloutActions))]
			_, _ = w.rolled.act(all[0].ID, action, driftline.RolloutCommand{Reason: "because", Force: w.random.IntN(2) == 0})
		}
	default:
		for range 3 {
			w.rolled.serve(300)
			w.Clock.Advance(time.Minute)
			_ = w.Engine.TendRollouts(ctx)
		}
	}
	w.look()
	for range 1000 { // an evaluation takes its time, in which nothing else happens here
		last := w.runs()
		if len(last) == 0 || !slices.ContainsFunc(last[:min(2, len(last))], toBeEvaluated) {
			break
		}
		time.Sleep(2 * time.Millisecond)
		w.look()
	}
}

// toBeEvaluated reports whether the candidate of a run is to be held against the gate.
func toBeEvaluated(run driftline.TrainingRun) bool { return run.Next == driftline.NextEvaluate }

// report says something under the newest token of a run, or under an older one, or twice.
func (w *whole) report() {
	hooks := w.trainer.got()
	if len(hooks) == 0 {
		return
	}
	h := hooks[len(hooks)-1-w.random.IntN(min(2, len(hooks)))]
	run, err := w.Engine.Training(h.Run)
	if err != nil {
		return
	}
	result := driftline.TrainingResult{Error: "it does not converge"}
	current := run.State == driftline.TrainingRunning && run.Lease != nil && run.Lease.Token == h.Token
	if current && w.random.IntN(4) > 0 {
		w.made++
		column := []string{"good", "good", "poor"}[w.random.IntN(3)]
		version := w.looped.made(fmt.Sprint("model ", w.made), column, h.claim())
		w.rolled.fails[version] = []float64{0.02, 0.02, 0.7}[w.random.IntN(3)]
		result = driftline.TrainingResult{Succeeded: true, Candidate: version}
	}
	_, err = w.Engine.ReportTraining(h.Run, driftline.TrainingReport{Token: h.Token, TrainingResult: result})
	if driftline.CodeOf(err) == driftline.Conflict {
		w.stale++
		if after, e := w.Engine.Training(h.Run); current && e == nil && after.State == driftline.TrainingRunning {
			w.t.Errorf("a report under the token of run %s is refused: %v", h.Run, err)
		}
	}
}

// rules hold of whatever is kept, at any time. Right after a restart nothing is under way that could be
// half visible.
func (w *whole) rules(restarted bool) {
	w.t.Helper()
	status, err := w.Engine.Policy(late)
	if err != nil {
		w.t.Fatal(err)
	}
	s, going := &status.State, 0
	for _, run := range w.runs() {
		if !run.State.Ended() {
			going++
		}
		before, ended := w.ended[run.ID]
		if ended && before != run.State && !(before == driftline.TrainingSucceeded && run.State == driftline.TrainingRejected) {
			w.t.Errorf("run %s was %s, and is %s", run.ID, before, run.State)
		}
		if run.State.Ended() {
			w.ended[run.ID] = run.State
		}
	}
	switch {
	case going > 2:
		w.t.Errorf("%d runs go on", going)
	case s.Active == nil && s.Queued != nil:
		w.t.Error("a run follows none")
	case s.Active != nil && (s.Active.State == driftline.TrainingRunning) != (s.Active.Lease != nil):
		w.t.Errorf("a run goes on without a lease, or waits with one: %+v", s.Active)
	}
	for _, h := range w.trainer.got() {
		if h.Key != string(h.Run) {
			w.t.Errorf("run %s was asked for under the key %s", h.Run, h.Key)
		}
		w.tokens[h.Run] = max(w.tokens[h.Run], h.Token)
	}
	if restarted {
		for _, run := range []*driftline.TrainingRun{s.Active, s.Queued, s.Last} {
			if run == nil {
				continue
			}
			if kept, err := w.Engine.Training(run.ID); err != nil || kept.State != run.State || kept.Next != run.Next {
				w.t.Errorf("run %s is %s (%s) by itself, and %s (%s) in the state: %v", run.ID, kept.State, kept.Next, run.State, run.Next, err)
			}
		}
		w.rolled.legal()
	}
}
