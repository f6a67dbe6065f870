package trigger_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/trigger"
)

// TestRandomHistories does at random whatever can happen to a model's training, with restarts in
// between, and holds it against rules that know nothing of how it is decided.
func TestRandomHistories(t *testing.T) {
	var began, suppressed, stale int
	for seed := range uint64(1000) {
		h := newHistory(seed)
		for range 80 {
			if err := h.happen(); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(h.log, "\n"))
			}
		}
		began, suppressed, stale = began+len(h.begun), suppressed+h.suppressed, stale+h.stale
	}
	if began < 1000 || suppressed < 1000 || stale < 100 {
		t.Errorf("the histories are dull: %d runs began, %d causes were suppressed, %d tokens stale", began, suppressed, stale)
	}
}

// history is a policy, what an engine keeps, and everything that ever happened.
type history struct {
	random *rand.Rand
	policy driftline.Policy
	state  driftline.PolicyState
	now    time.Time

	runs       map[string]driftline.TrainingID // by fingerprint
	begun      []time.Time
	tokens     []uint64 // that were given out, ever
	ended      map[driftline.TrainingID]time.Time
	suppressed int
	stale      int
	log        []string
}

func newHistory(seed uint64) *history {
	random := rand.New(rand.NewPCG(seed, 1))
	cooldown := driftline.Duration(random.IntN(8)) * driftline.Duration(time.Hour)
	return &history{
		random: random, now: parse("2026-01-15T00:00"), runs: map[string]driftline.TrainingID{}, ended: map[driftline.TrainingID]time.Time{},
		policy: driftline.Policy{Model: "m", Version: 1, Training: &driftline.TrainingJob{Command: []string{"train"}},
			Pacing: driftline.Pacing{Cooldown: &cooldown, Budget: 1 + random.IntN(5)}},
		state: driftline.PolicyState{Model: "m"},
	}
}

func (h *history) happen() error {
	before := h.state
	h.now = h.now.Add(time.Duration(h.random.IntN(90)) * time.Minute)
	var err error
	switch n := h.random.IntN(12); {
	case n < 5:
		err = h.fire()
	case n < 7:
		err = h.claim()
	case n < 10:
		err = h.report()
	case n == 10:
		h.state, _ = trigger.Expire(&h.policy, h.state, h.now)
		h.log = append(h.log, "expire")
	case h.random.IntN(3) == 0 && h.state.Last != nil:
		h.state = trigger.Reject(&h.policy, h.state, h.state.Last.ID, "", "bad", h.now)
		h.log = append(h.log, "reject")
	default:
		h.state = trigger.Promoted(h.state)
	}
	if err != nil {
		return err
	}
	return h.rules(&before)
}

func (h *history) fire() error {
	kind := []driftline.TriggerKind{driftline.TriggerData, driftline.TriggerTime, driftline.TriggerRequest}[h.random.IntN(3)]
	cause := driftline.Cause{Trigger: "t", Kind: kind, Bucket: fmt.Sprint(h.random.IntN(40)), Time: h.now}
	print, data := trigger.Fingerprint("m", &cause), fmt.Sprint(h.random.IntN(6))
	old := h.state
	state, d := trigger.Fire(&h.policy, h.state, cause, h.runs[print], data, h.now)
	h.state = state
	h.log = append(h.log, fmt.Sprintf("%s fire %s %s: %s", h.now.Format("02 15:04"), kind, cause.Bucket, d.Outcome))
	prior, known := h.runs[print]
	switch {
	case known != (d.Outcome == trigger.Duplicate), known && d.Run.ID != prior:
		return fmt.Errorf("seen before: %v, and it is %s", known, d.Outcome)
	case d.Outcome == trigger.Suppressed:
		h.suppressed++
		why := d.Suppression
		if !why.Next.IsZero() {
			if _, again := trigger.Fire(&h.policy, old, cause, "", "new", why.Next); again.Suppression != nil && again.Suppression.Reason == why.Reason {
				return fmt.Errorf("suppressed for %s until %s, and then again", why.Reason, why.Next)
			}
		}
		return nil
	}
	if d.Remember {
		h.runs[print] = d.Run.ID
	}
	return nil
}

func (h *history) claim() error {
	state, run := trigger.Claim(&h.policy, h.state, "x", fmt.Sprint(h.random.IntN(6)), h.now)
	h.state = state
	if run == nil {
		return nil
	}
	h.log = append(h.log, fmt.Sprintf("%s claim %s, token %d", h.now.Format("02 15:04"), run.ID, run.Lease.Token))
	for _, token := range h.tokens {
		if token >= run.Lease.Token {
			return fmt.Errorf("token %d after %d", run.Lease.Token, token)
		}
	}
	h.tokens = append(h.tokens, run.Lease.Token)
	if run.Attempts > 1 {
		return nil
	}
	h.begun = append(h.begun, h.now)
	for _, cause := range run.Causes {
		if cause.Kind == driftline.TriggerRequest {
			return nil
		}
	}
	for id, end := range h.ended {
		if h.now.Before(end.Add(time.Duration(*h.policy.Pacing.Cooldown))) {
			return fmt.Errorf("%s began in the cooldown of %s", run.ID, id)
		}
	}
	return nil
}

// report says something under the newest token, or under an older one.
func (h *history) report() error {
	if len(h.tokens) == 0 {
		return nil
	}
	i := len(h.tokens) - 1 - h.random.IntN(min(3, len(h.tokens)))
	token := h.tokens[i]
	id := driftline.TrainingID(fmt.Sprintf("m-%d", max(1, h.state.Runs-h.random.IntN(2))))
	result := driftline.TrainingResult{Succeeded: h.random.IntN(2) == 0, Candidate: 1 + h.random.IntN(2), Error: "boom"}
	run := h.state.Active
	fits := run != nil && run.ID == id && run.Lease != nil && run.Lease.Token == token
	before, _ := json.Marshal(h.state)
	state, changed, err := trigger.Finish(&h.policy, h.state, id, token, result, h.now)
	h.state = state
	h.log = append(h.log, fmt.Sprintf("%s finish %s, token %d: %v, %v", h.now.Format("02 15:04"), id, token, changed, err))
	after, _ := json.Marshal(h.state)
	switch {
	case fits != changed:
		return fmt.Errorf("it fits: %v, and it was taken in: %v", fits, changed)
	case !changed && string(before) != string(after):
		return fmt.Errorf("what was refused changed the state")
	case err != nil && driftline.CodeOf(err) != driftline.Conflict:
		return err
	}
	if err != nil {
		h.stale++
	}
	return nil
}

// rules hold of every state.
func (h *history) rules(before *driftline.PolicyState) error {
	s := &h.state
	recent := 0
	for _, t := range h.begun {
		if h.now.Before(t.Add(24 * time.Hour)) {
			recent++
		}
	}
	switch {
	case s.Active == nil && s.Queued != nil:
		return fmt.Errorf("a run follows none")
	case s.Active != nil && s.Active.State.Ended(), s.Queued != nil && s.Queued.State != driftline.TrainingQueued, s.Last != nil && !s.Last.State.Ended():
		return fmt.Errorf("a run is where it does not belong")
	case s.Active != nil && (s.Active.State == driftline.TrainingRunning) != (s.Active.Lease != nil):
		return fmt.Errorf("a run goes on without a lease, or waits with one")
	case s.Sequence < before.Sequence:
		return fmt.Errorf("sequence %d after %d", s.Sequence, before.Sequence)
	case recent > h.policy.Pacing.Budget:
		return fmt.Errorf("%d runs began within a day, the budget is %d", recent, h.policy.Pacing.Budget)
	}
	if s.Last != nil {
		h.ended[s.Last.ID] = s.Last.Ended
	}
	kept, _ := json.Marshal(h.state)
	h.state = driftline.PolicyState{}
	return json.Unmarshal(kept, &h.state)
}

// TestNoiseFiresAsRarelyAsPromised: thirty days of windows of four hours in which nothing gets worse.
func TestNoiseFiresAsRarelyAsPromised(t *testing.T) {
	const seeds, alpha = 500, 0.05
	watched := driftline.Trigger{Name: "fell", Performance: &driftline.PerformanceTrigger{Metric: "accuracy", Alpha: alpha, Fall: 0.001}}
	fired := 0
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 2))
		state, now := driftline.PolicyState{}, parse("2026-01-15T00:00")
		for range 30 * 6 {
			now = now.Add(4 * time.Hour)
			var cause *driftline.Cause
			window := driftline.MetricWindow{End: now, Value: 0.8 + 0.02*random.NormFloat64(), Error: 0.02, Labels: 400}
			state, cause, _ = trigger.Performance(&watched, state, window, trigger.Reference{Value: 0.8, Higher: true}, now)
			if cause != nil {
				fired++
				break
			}
		}
	}
	if most := int(seeds*alpha + 2.576*math.Sqrt(seeds*alpha*(1-alpha))); fired > most {
		t.Errorf("%d of %d fired, at most %d may", fired, seeds, most)
	}
}

// TestAFallIsFoundAfterAGoodMonth, and within a day or two.
func TestAFallIsFoundAfterAGoodMonth(t *testing.T) {
	watched := driftline.Trigger{Name: "fell", Performance: &driftline.PerformanceTrigger{Metric: "accuracy"}}
	random := rand.New(rand.NewPCG(3, 3))
	state, now := driftline.PolicyState{}, parse("2026-01-15T00:00")
	for hour := range 32 * 24 {
		now = now.Add(time.Hour)
		value := 0.8
		if hour >= 30*24 {
			value = 0.74
		}
		var cause *driftline.Cause
		var reading trigger.Reading
		window := driftline.MetricWindow{End: now, Value: value + 0.02*random.NormFloat64(), Error: 0.02, Labels: 400}
		state, cause, reading = trigger.Performance(&watched, state, window, trigger.Reference{Value: 0.8, Error: 0.002, Higher: true}, now)
		if cause != nil {
			since := reading.Since.Sub(parse("2026-02-14T00:00"))
			if hour < 30*24 || since < -6*time.Hour || since > 6*time.Hour || math.Abs(reading.Fall-0.075) > 0.02 {
				t.Errorf("fired in hour %d: %s, since %s", hour, reading.Text, reading.Since)
			}
			return
		}
	}
	t.Error("the fall was not found")
}

// TestAgenda gives each policy when it is due, the longest due first.
func TestAgenda(t *testing.T) {
	now := parse("2026-01-15T00:00")
	agenda := trigger.NewAgenda(now)
	if !agenda.Next().IsZero() || agenda.Due(now, 9) != nil {
		t.Error("an empty agenda has something due")
	}
	schedules := map[driftline.ModelName]*trigger.Schedule{}
	for model, cron := range map[driftline.ModelName]string{"a": "30 * * * *", "b": "15 * * * *", "c": "0 0 * * *", "d": ""} {
		p := &driftline.Policy{Model: model, Created: now}
		if cron != "" {
			p.Triggers = []driftline.Trigger{{Name: "t", Time: &driftline.TimeTrigger{Cron: cron}}}
		}
		s, err := trigger.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		schedules[model] = s
		agenda.Set(s, &driftline.PolicyState{}, now)
	}
	if next := agenda.Next(); !next.Equal(now.Add(15 * time.Minute)) {
		t.Errorf("next %s", next)
	}
	if got := fmt.Sprint(agenda.Due(now.Add(14*time.Minute), 9), agenda.Due(now.Add(30*time.Minute), 1), agenda.Due(now.Add(30*time.Minute), 9), agenda.Due(now.Add(30*time.Minute), 9)); got != "[] [b] [a] []" {
		t.Errorf("due: %s", got)
	}
	// A run that waits, and then one that is executed, are due too.
	waiting := driftline.PolicyState{Active: &driftline.TrainingRun{State: driftline.TrainingQueued, Created: now, NotBefore: now.Add(time.Hour)}}
	agenda.Set(schedules["d"], &waiting, now)
	agenda.Remove("c")
	agenda.Remove("c")
	if next := agenda.Next(); !next.Equal(now.Add(time.Hour)) {
		t.Errorf("a run may begin at %s", next)
	}
	running := driftline.PolicyState{Active: &driftline.TrainingRun{State: driftline.TrainingRunning, Deadline: now.Add(time.Hour), Lease: &driftline.Lease{Expires: now.Add(time.Minute)}}}
	agenda.Set(schedules["d"], &running, now)
	if got := fmt.Sprint(agenda.Due(now.Add(time.Minute), 9)); got != "[d]" || !agenda.Next().IsZero() {
		t.Errorf("due: %s, next %s", got, agenda.Next())
	}
}

// BenchmarkAgenda is a server that starts with ten thousand policies, and its ticks.
func BenchmarkAgenda(b *testing.B) {
	now := parse("2026-01-15T00:00")
	policies := tenThousand(now)
	state := driftline.PolicyState{}
	fill := func() (*trigger.Agenda, map[driftline.ModelName]*trigger.Schedule) {
		agenda, schedules := trigger.NewAgenda(now), map[driftline.ModelName]*trigger.Schedule{}
		for i := range policies {
			s, err := trigger.Compile(&policies[i])
			if err != nil {
				b.Fatal(err)
			}
			schedules[policies[i].Model] = s
			agenda.Set(s, &state, now)
		}
		return agenda, schedules
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			fill()
		}
	})
	b.Run("tick", func(b *testing.B) {
		agenda, schedules := fill()
		states := map[driftline.ModelName]driftline.PolicyState{}
		at := now
		for b.Loop() {
			at = at.Add(time.Second)
			for _, model := range agenda.Due(at, 1000) {
				_, next := schedules[model].Due(states[model], now, at)
				states[model] = next
				agenda.Set(schedules[model], &next, at)
			}
		}
	})
}

func tenThousand(now time.Time) (policies []driftline.Policy) {
	zones := []string{"", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}
	for i := range 10_000 {
		policies = append(policies, driftline.Policy{Model: driftline.ModelName(fmt.Sprint("m", i)), Created: now, Triggers: []driftline.Trigger{
			{Name: "t", Time: &driftline.TimeTrigger{Cron: fmt.Sprintf("%d %d * * *", i%60, i%24), TimeZone: zones[i%4]}},
		}})
	}
	return policies
}

// A40: ten thousand policies, each with a time of day. The server is away from ten to one; whatever was due meanwhile is
// due when it is back, and of each policy one time is heard, and heard once.
func TestTenThousandPoliciesMissNothingOverARestart(t *testing.T) {
	const policies, most = 10_000, 500
	midnight := parse("2026-01-15T00:00")
	schedules, states := map[driftline.ModelName]*trigger.Schedule{}, map[driftline.ModelName]driftline.PolicyState{}
	for i := range policies {
		p := &driftline.Policy{Model: driftline.ModelName(fmt.Sprintf("m%05d", i)), Created: midnight.Add(-time.Second),
			Triggers: []driftline.Trigger{{Name: "daily", Time: &driftline.TimeTrigger{Cron: fmt.Sprintf("%d %d * * *", i%60, i/60%24)}}}}
		s, err := trigger.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		schedules[p.Model] = s
	}
	heard := map[driftline.ModelName][]time.Time{}
	look := func(agenda *trigger.Agenda, up, now time.Time) {
		for due := agenda.Due(now, most); len(due) > 0; due = agenda.Due(now, most) {
			for _, model := range due {
				slots, after := schedules[model].Due(states[model], up, now)
				for _, slot := range slots {
					heard[model] = append(heard[model], slot.Time)
				}
				states[model] = after
				agenda.Set(schedules[model], &after, now)
			}
		}
	}
	serve := func(from, to time.Time) {
		agenda := trigger.NewAgenda(from)
		for model, s := range schedules {
			state := states[model]
			agenda.Set(s, &state, from)
		}
		for now := from; !now.After(to); now = now.Add(time.Minute) {
			look(agenda, from, now)
		}
	}
	serve(midnight, midnight.Add(10*time.Hour))
	serve(midnight.Add(13*time.Hour), midnight.Add(24*time.Hour-time.Minute))
	for i := range policies {
		model := driftline.ModelName(fmt.Sprintf("m%05d", i))
		want := midnight.Add(time.Duration(i/60%24)*time.Hour + time.Duration(i%60)*time.Minute)
		if got := heard[model]; len(got) != 1 || !got[0].Equal(want) {
			t.Fatalf("%s was heard at %v, want %v", model, got, want)
		}
	}
}
