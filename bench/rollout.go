package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
	"github.com/driftline/driftline/trigger"
)

// What rules say of simulated canaries. Ours is the whole state machine, with the plan that
// there is without one (errors and latency guarded, alpha 1 %) and requests that the router
// deals; the others are rules that people use, on the same streams:
//
//	z-test at every look   the shares of errors differ, one-sided at a nominal 1 %
//	five strikes           the candidate's share of errors since the last look was above 3 %, for the fifth time
//
// Each looks after every 2,000 requests, about 100 of them the candidate's.

var rolloutParts = []part{
	{"equal", "candidates that are as good as the champion, or better: who rolls them back", false, equalCanaries},
	{"worse", "candidates that fail more often: who finds it, and after how many requests", false, worseCanaries},
	{"whole", "rollouts of equal candidates from their start to the end of the bake", false, wholeRollouts},
	{"scheduler", "ten thousand policies: the start, and a tick", false, schedulerSpeed},
}

const (
	baseErrors  = 0.02
	perLook     = 2000
	mostLooks   = 200 // 20,000 requests of the candidate
	lookEvery   = 5 * time.Minute
	ruleZ       = "z-test at every look"
	ruleStrikes = "five strikes"
)

// canary is a rollout in its first stage, and what other rules know of the same requests.
type canary struct {
	state  rollout.State
	now    time.Time
	random *rand.Rand
	served int

	requests, errors [2]int         // of champion and candidate
	strikes          int            // looks at which the candidate's errors were above 3 %
	found            map[string]int // rule → requests of the candidate until it rolled back
	safe             int            // likewise, until ours called it safe; 0 if it did not
}

// newCanary is a rollout of a plan, with a baseline, about to serve its first request.
func newCanary(plan driftline.RolloutPlan, seed uint64) (*canary, error) {
	c := &canary{now: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC), random: rand.New(rand.NewPCG(seed, 0)), found: map[string]int{}}
	id := driftline.RolloutID(fmt.Sprintf("m-%d", seed))
	state, _, err := rollout.Start(rollout.Spec{ID: id, Model: "m", Champion: 1, Candidate: 2, Policy: 1, Plan: plan}, c.now)
	if err != nil {
		return nil, err
	}
	c.state = state
	if err := c.step(rollout.Event{Kind: rollout.Loaded}); err != nil {
		return nil, err
	}
	return c, c.look(1100, 1)
}

func (c *canary) step(e rollout.Event) (err error) {
	c.state, _, err = rollout.Step(c.state, e, c.now)
	return err
}

// look serves requests, of which the candidate's fail ratio times as often as the champion's,
// and lets all rules look.
func (c *canary) look(n int, ratio float64) error {
	c.now = c.now.Add(lookEvery)
	before := [2]int{c.requests[1], c.errors[1]}
	seen, err := c.serve(n, ratio)
	if err != nil {
		return err
	}
	if err := c.step(rollout.Event{Kind: rollout.Tick, Elapsed: driftline.Duration(lookEvery), Observations: seen}); err != nil {
		return err
	}
	if c.state.Phase == driftline.RolloutRolledBack {
		c.find("ours", c.state.Cause == driftline.CauseWorse)
	}
	if v := c.state.Verdict; v != nil && v.Outcome == driftline.VerdictSafe && c.safe == 0 {
		c.safe = c.requests[1]
	}
	c.find(ruleZ, c.zTest())
	if now, errors := c.requests[1]-before[0], c.errors[1]-before[1]; now > 0 && float64(errors)/float64(now) > 0.03 {
		c.strikes++
	}
	c.find(ruleStrikes, c.strikes >= 5)
	return nil
}

func (c *canary) find(rule string, alarm bool) {
	if alarm && c.found[rule] == 0 {
		c.found[rule] = c.requests[1]
	}
}

// serve deals requests. Those of an ended rollout are dealt as they were before, so that the
// other rules see the stream to its end.
func (c *canary) serve(n int, ratio float64) (seen []rollout.Observation, err error) {
	route := c.state.Route
	if c.state.Phase.Ended() {
		route = driftline.Route{Salt: string(c.state.ID), Arms: []driftline.RouteArm{
			{Arm: driftline.ArmChampion, Weight: 95, Versions: []driftline.VersionShare{{Version: 1}}},
			{Arm: driftline.ArmCandidate, Weight: 5, Versions: []driftline.VersionShare{{Version: 2}}},
		}}
	}
	router, err := routing.New(route)
	if err != nil {
		return nil, err
	}
	for range n {
		c.served++
		d := router.Decide(strconv.Itoa(c.served))
		o := rollout.Observation{Route: d.Route, Arm: d.Arm, Answer: rollout.Answer{Latency: time.Duration(c.random.ExpFloat64() * 1e7), Score: c.random.Float64()}}
		arm, rate := 0, baseErrors
		if d.Arm == driftline.ArmCandidate {
			arm, rate = 1, baseErrors*ratio
		}
		c.requests[arm]++
		if c.random.Float64() < rate {
			c.errors[arm]++
			o.Answer.Fault = driftline.FaultError
		}
		seen = append(seen, o)
	}
	return seen, nil
}

func (c *canary) zTest() bool {
	n, m := float64(c.requests[0]), float64(c.requests[1])
	if m == 0 {
		return false
	}
	p := float64(c.errors[0]+c.errors[1]) / (n + m)
	z := (float64(c.errors[1])/m - float64(c.errors[0])/n) / math.Sqrt(p*(1-p)*(1/n+1/m))
	return z > 2.326
}

// oneStage keeps the candidate at 5 % for as long as it is watched.
var oneStage = driftline.RolloutPlan{
	Stages: []driftline.CanaryStage{{Weight: 5, MinRequests: math.MaxInt32}}, OnInconclusive: driftline.InconclusiveHold,
}

// canaries watches so many canaries of one ratio for so many looks, or until all rules have
// rolled it back.
func (b *bench) canaries(ctx context.Context, ratio float64, seeds, looks int) ([]*canary, error) {
	var all []*canary
	for seed := range uint64(seeds) {
		c, err := newCanary(oneStage, seed)
		if err != nil {
			return nil, err
		}
		c.requests, c.errors, c.strikes, c.found = [2]int{}, [2]int{}, 0, map[string]int{}
		for look := 0; look < looks && len(c.found) < 3; look++ {
			if err := c.look(perLook, ratio); err != nil {
				return nil, err
			}
		}
		all = append(all, c)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

func seeds(b *bench) int { return pick(b, 5, 500) }

func equalCanaries(ctx context.Context, b *bench) error {
	for _, ratio := range []float64{1, 0.8} {
		all, err := b.canaries(ctx, ratio, seeds(b), pick(b, 20, mostLooks))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%.1f %% of errors, champion 2 %% (%d times)", 100*baseErrors*ratio, len(all))
		for _, rule := range []string{ruleZ, ruleStrikes} {
			b.keepRates(name+", rolled back", "% of rollouts", foundShare(all, "ours"), rule, foundShare(all, rule))
		}
		b.keepAtMost(name+", rolled back", foundShare(all, "ours"), 1)
		var safe []float64
		for _, c := range all {
			if c.safe > 0 {
				safe = append(safe, float64(c.safe))
			}
		}
		b.progress("%s: called safe in %.1f %%, after %.0f requests of the candidate (median)", name, 100*float64(len(safe))/float64(len(all)), median(safe))
	}
	return nil
}

func worseCanaries(ctx context.Context, b *bench) error {
	limits := map[float64]float64{10: 200, 2: 1500}
	for _, ratio := range []float64{10, 5, 2, 1.5, 1.2} {
		all, err := b.canaries(ctx, ratio, pick(b, 5, map[bool]int{true: 500, false: 200}[ratio >= 2]), pick(b, 40, mostLooks))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%.1f %% of errors, champion 2 %% (%d times)", 100*baseErrors*ratio, len(all))
		for _, rule := range []string{ruleZ, ruleStrikes} {
			b.keepRates(name+", rolled back", "% of rollouts", foundShare(all, "ours"), rule, foundShare(all, rule))
			b.keepRates(name+", until then", "requests", medianFound(all, "ours"), rule, medianFound(all, rule))
		}
		if limit, ok := limits[ratio]; ok {
			b.keepLimit(workload{name: name + ", until then", unit: "requests"}, []float64{*medianFound(all, "ours")}, limit)
		}
	}
	return nil
}

// keepRates keeps what two rules came to. They are no answers that could be the same.
func (b *bench) keepRates(name, unit string, ours *float64, rule string, theirs *float64) {
	b.keep(row{Workload: name, Peer: rule, Unit: unit, Ours: ours, Theirs: theirs, SameAnswer: true, Pairs: 1, Uncompared: true})
}

// keepAtMost keeps a share that may be 0, beside the most that it may be. Above it the suite fails.
func (b *bench) keepAtMost(name string, share *float64, most float64) {
	b.keep(row{Workload: name, Peer: "at most " + figure(&most) + " %", Unit: "% of rollouts", Ours: share, Theirs: &most,
		SameAnswer: *share <= most, Pairs: 1, Uncompared: true})
}

// foundShare is the percentage of canaries that a rule rolled back.
func foundShare(all []*canary, rule string) *float64 {
	found := 0
	for _, c := range all {
		if c.found[rule] > 0 {
			found++
		}
	}
	return new(100 * float64(found) / float64(len(all)))
}

// medianFound is the median number of the candidate's requests until a rule rolled back, nil if
// it did not roll back half of the canaries.
func medianFound(all []*canary, rule string) *float64 {
	var requests []float64
	for _, c := range all {
		if c.found[rule] == 0 {
			requests = append(requests, math.Inf(1))
			continue
		}
		requests = append(requests, float64(c.found[rule]))
	}
	if m := median(requests); !math.IsInf(m, 0) {
		return &m
	}
	return nil
}

// wholeRollouts has the default plan, but for a bake of six hours: 5, 25 and 50 %, 5 % held back.
func wholeRollouts(ctx context.Context, b *bench) error {
	plan := driftline.RolloutPlan{Bake: driftline.BakeStage{Duration: driftline.Duration(6 * time.Hour)}}
	ends, n := map[driftline.RolloutCause]int{}, seeds(b)
	var canary []float64
	for seed := range uint64(n) {
		c, err := newCanary(plan, 10_000+seed)
		if err != nil {
			return err
		}
		for !c.state.Phase.Ended() && err == nil {
			if c.state.Phase == driftline.RolloutPromoting {
				canary = append(canary, float64(c.served))
				err = c.step(rollout.Event{Kind: rollout.Applied, Effect: c.state.Open[0].ID})
				continue
			}
			err = c.look(perLook/2, 1)
		}
		if err != nil {
			return err
		}
		ends[c.state.Cause]++
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	b.progress("whole rollouts ended: %v; promoted after %.0f requests (median)", ends, median(canary))
	share := func(n, of int) *float64 { return new(100 * float64(n) / float64(of)) }
	name := fmt.Sprintf("equal candidates, 2 %% of errors (%d times), ", n)
	b.keepAtMost(name+"rolled back as worse", share(ends[driftline.CauseWorse], n), 1)
	b.keepAtMost(name+"not promoted for good", share(n-ends[driftline.CauseBaked], n), 5)
	return nil
}

// schedulerSpeed reads ten thousand policies with their states, as a server that starts does,
// and looks at what is due.
func schedulerSpeed(ctx context.Context, b *bench) error {
	n := pick(b, 100, 10_000)
	now := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	for _, spread := range []bool{true, false} {
		stored, err := storedPolicies(n, now, spread)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s policies, due over the day", count(n))
		if !spread {
			name = fmt.Sprintf("%s policies, all due at once", count(n))
		}
		start := side{name: "Driftline", run: func(context.Context, bool) (measured, error) {
			began := time.Now()
			_, err := newAgenda(stored, now)
			return measured{value: time.Since(began).Seconds()}, err
		}}
		if err := b.within(ctx, workload{name: name + ", start", unit: "s"}, start, 5); err != nil {
			return err
		}
		tick := side{name: "Driftline", run: func(context.Context, bool) (measured, error) {
			a, err := newAgenda(stored, now)
			if err != nil {
				return measured{}, err
			}
			began := time.Now()
			a.tick(now.Add(61 * time.Minute))
			return measured{value: time.Since(began).Seconds() * 1000}, nil
		}}
		if err := b.within(ctx, workload{name: name + ", a tick", unit: "ms"}, tick, 50); err != nil {
			return err
		}
	}
	return nil
}

// storedPolicies are policies and their states as a store has them.
func storedPolicies(n int, now time.Time, spread bool) (stored [][2][]byte, err error) {
	zones := []string{"", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}
	for i := range n {
		cron := "0 * * * *"
		if spread {
			cron = fmt.Sprintf("%d %d * * *", i%60, i/60%24)
		}
		policy := driftline.Policy{Model: driftline.ModelName(fmt.Sprint("m", i)), Version: 1, Created: now,
			Training: &driftline.TrainingJob{Command: []string{"train"}},
			Triggers: []driftline.Trigger{{Name: "t", Time: &driftline.TimeTrigger{Cron: cron, TimeZone: zones[i%4]}}}}
		state := driftline.PolicyState{Model: policy.Model, Last: &driftline.TrainingRun{ID: "x-1", State: driftline.TrainingSucceeded, Ended: now.Add(-day)}}
		var pair [2][]byte
		if pair[0], err = json.Marshal(policy); err != nil {
			return nil, err
		}
		if pair[1], err = json.Marshal(state); err != nil {
			return nil, err
		}
		stored = append(stored, pair)
	}
	return stored, nil
}

const day = 24 * time.Hour

// agenda is what a scheduler holds.
type agenda struct {
	up        time.Time
	queue     *trigger.Agenda
	schedules map[driftline.ModelName]*trigger.Schedule
	states    map[driftline.ModelName]driftline.PolicyState
}

func newAgenda(stored [][2][]byte, now time.Time) (*agenda, error) {
	a := &agenda{now, trigger.NewAgenda(now), map[driftline.ModelName]*trigger.Schedule{}, map[driftline.ModelName]driftline.PolicyState{}}
	for _, pair := range stored {
		var policy driftline.Policy
		var state driftline.PolicyState
		if err := json.Unmarshal(pair[0], &policy); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(pair[1], &state); err != nil {
			return nil, err
		}
		schedule, err := trigger.Compile(&policy)
		if err != nil {
			return nil, err
		}
		a.schedules[policy.Model], a.states[policy.Model] = schedule, state
		a.queue.Set(schedule, &state, now)
	}
	return a, nil
}

// perTick is how many policies are looked at in one go; the next tick follows at once if more
// are due.
const perTick = 1000

// tick takes what is due into account, and begins runs.
func (a *agenda) tick(now time.Time) {
	for _, model := range a.queue.Due(now, perTick) {
		schedule := a.schedules[model]
		slots, state := schedule.Due(a.states[model], a.up, now)
		for _, slot := range slots {
			state, _ = trigger.Fire(schedule.Policy(), state, slot.Cause(now), "", "", now)
		}
		a.states[model] = state
		a.queue.Set(schedule, &state, now)
	}
}
