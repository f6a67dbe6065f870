package rollout_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
)

// watched is a rollout in its canary, whose candidate fails ratio times as often as a champion that fails
// two times in a hundred.
type watched struct {
	state  rollout.State
	random *rand.Rand
	now    time.Time
	served int
	asked  int // requests of the candidate
}

// look serves requests and lets the rollout look at them.
func (w *watched) look(t *testing.T, requests int, ratio float64) {
	t.Helper()
	router, err := routing.New(w.state.Route)
	if err != nil {
		t.Fatal(err)
	}
	const minute = driftline.Duration(time.Minute)
	event := rollout.Event{Kind: rollout.Tick, Elapsed: minute, Observations: make([]rollout.Observation, 0, requests)}
	for range requests {
		w.served++
		d := router.Decide(strconv.Itoa(w.served))
		o := rollout.Observation{Route: d.Route, Arm: d.Arm, Answer: rollout.Answer{Latency: time.Duration(w.random.ExpFloat64() * 1e7), Score: w.random.Float64()}}
		share := 0.02
		if d.Arm == driftline.ArmCandidate {
			w.asked++
			share *= ratio
		}
		if w.random.Float64() < share {
			o.Answer.Fault = driftline.FaultError
		}
		event.Observations = append(event.Observations, o)
	}
	w.step(t, event)
}

func (w *watched) step(t *testing.T, e rollout.Event) {
	t.Helper()
	w.now = w.now.Add(time.Minute)
	var err error
	if w.state, _, err = rollout.Step(w.state, e, w.now); err != nil {
		t.Fatal(err)
	}
}

// watch begins a rollout of the defaults (errors and latency guarded, alpha 1 %) that stays at 20 %.
func watch(t *testing.T, seed uint64) *watched {
	t.Helper()
	w := &watched{random: rand.New(rand.NewPCG(seed, 25)), now: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)}
	plan := driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: 20, MinRequests: 1 << 30}}, OnInconclusive: driftline.InconclusiveHold}
	spec := rollout.Spec{ID: driftline.RolloutID(fmt.Sprint("m-", seed)), Model: "m", Champion: 1, Candidate: 2, Policy: 1, Plan: plan}
	state, _, err := rollout.Start(spec, w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.state = state
	w.step(t, rollout.Event{Kind: rollout.Loaded})
	w.look(t, 1100, 1)
	if w.state.Phase != driftline.RolloutCanary {
		t.Fatalf("it is %s", w.state.Phase)
	}
	w.asked = 0
	return w
}

// A25: of 500 candidates that are as good as their champion, looked at 20 times each, one in a hundred at most is
// rolled back as worse.
func TestEquallyGoodCandidatesAreHardlyEverRolledBack(t *testing.T) {
	const seeds, looks = 500, 20
	worse, asked := 0, 0
	for seed := range uint64(seeds) {
		w := watch(t, seed)
		for look := 0; look < looks && !w.state.Phase.Ended(); look++ {
			w.look(t, 100, 1)
		}
		asked += w.asked
		if w.state.Phase == driftline.RolloutRolledBack && w.state.Cause == driftline.CauseWorse {
			worse++
		}
	}
	if worse > seeds/100 || asked < seeds*looks*18 {
		t.Errorf("%d of %d were rolled back as worse, after %d requests of all candidates", worse, seeds, asked)
	}
}

// A24: of fifty that fail ten times as often all are found, half of them within 200 requests.
func TestTenTimesTheErrorsAreFound(t *testing.T) {
	const seeds = 50
	soon := 0
	for seed := range uint64(seeds) {
		w := watch(t, seed)
		for look := 0; look < 40 && !w.state.Phase.Ended(); look++ {
			w.look(t, 100, 10)
		}
		if w.state.Cause != driftline.CauseWorse || w.state.Verdict.EValue < w.state.Verdict.Threshold {
			t.Errorf("seed %d: it is %s (%s), %+v", seed, w.state.Phase, w.state.Cause, w.state.Verdict)
		}
		if w.asked <= 200 {
			soon++
		}
	}
	if 2*soon < seeds {
		t.Errorf("%d of %d were found within 200 requests", soon, seeds)
	}
}
