package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/trigger"
)

const (
	// policiesAtOnce is how many policies that are due are dealt with in one look.
	policiesAtOnce = 1000
)

// training is what the engine knows of the training of models beside what is stored.
type training struct {
	turns  keyedMutex // by model: one decision at a time
	opened time.Time  // since when triggers could be looked at
	wake   chan struct{}
	jobs   *executor.Executor
	counts sourceCounts

	mu         sync.Mutex // guards the rest
	changed    bool       // policies were applied or deleted since the last look
	agenda     *trigger.Agenda
	schedules  map[driftline.ModelName]*trigger.Schedule
	states     map[driftline.ModelName]driftline.PolicyState
	dirty      map[driftline.ModelName]bool // whose state changed since the agenda was told
	running    map[driftline.TrainingID]*execution
	candidates map[driftline.TrainingID]bool // of runs that succeeded, which are to be seen to
	stops      map[driftline.TrainingID]bool // jobs that other systems are to stop; false while one is told
	looked     map[string]time.Time          // when something was looked at that is dear to look at
	champions  uint64                        // the ledger's end when champions were last looked for
}

func newTraining(opened time.Time, jobs *executor.Executor) training {
	if jobs == nil {
		jobs = executor.New(executor.Config{})
	}
	return training{
		opened: opened, wake: make(chan struct{}, 1), jobs: jobs, changed: true,
		agenda:    trigger.NewAgenda(opened),
		schedules: map[driftline.ModelName]*trigger.Schedule{}, states: map[driftline.ModelName]driftline.PolicyState{},
		dirty: map[driftline.ModelName]bool{}, running: map[driftline.TrainingID]*execution{},
		candidates: map[driftline.TrainingID]bool{}, stops: map[driftline.TrainingID]bool{}, looked: map[string]time.Time{},
	}
}

func (t *training) known(model driftline.ModelName) (driftline.PolicyState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state, ok := t.states[model]
	return state, ok
}

// know takes in a state that was written down.
func (t *training) know(state driftline.PolicyState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states[state.Model], t.dirty[state.Model] = state, true
	if last := state.Last; last != nil && last.Next != "" && last.Next != driftline.NextDone {
		t.candidates[last.ID] = true
	}
}

func (e *Engine) wakeTraining() {
	select {
	case e.training.wake <- struct{}{}:
	default:
	}
}

// policiesChanged has the next look read the policies again.
func (e *Engine) policiesChanged() {
	e.training.mu.Lock()
	e.training.changed = true
	e.training.mu.Unlock()
	e.wakeTraining()
}

// trainingLoop looks at policies until the engine closes.
func (e *Engine) trainingLoop(ctx context.Context, every time.Duration) {
	for range rounds(ctx, every, e.training.wake) {
		e.LookAtPolicies(ctx)
	}
}

// LookAtPolicies deals with the policies that are due, with what the triggers of the others look
// at, and with candidates. What goes wrong is in the server's log, and tried again.
func (e *Engine) LookAtPolicies(ctx context.Context) {
	now := e.now()
	for _, model := range e.duePolicies(now) {
		if ctx.Err() != nil {
			return
		}
		e.logged(ctx, model, e.advance(model))
	}
	for _, s := range e.watchful() {
		if ctx.Err() != nil {
			return
		}
		e.logged(ctx, s.Policy().Model, e.look(ctx, s))
	}
	e.seeToCandidates(ctx)
	e.seeToStops()
	for _, model := range e.duePolicies(e.now()) { // what was just decided may begin at once
		if ctx.Err() != nil {
			return
		}
		e.logged(ctx, model, e.advance(model))
	}
}

func (e *Engine) logged(ctx context.Context, model driftline.ModelName, err error) {
	if err != nil && ctx.Err() == nil {
		e.log.Error("a policy could not be looked at; it is again", "model", model, "error", err)
	}
}

// duePolicies tells the agenda what changed, and returns the models that are due.
func (e *Engine) duePolicies(now time.Time) []driftline.ModelName {
	t := &e.training
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed {
		t.changed = false
		e.readPolicies()
	}
	for model := range t.dirty {
		if s := t.schedules[model]; s != nil {
			state := t.states[model]
			t.agenda.Set(s, &state, now)
		}
	}
	clear(t.dirty)
	due := t.agenda.Due(now, policiesAtOnce)
	for _, model := range due {
		t.dirty[model] = true // it comes again after the next Set of it
	}
	return due
}

// readPolicies compiles policies that are new, and forgets those that are gone. The caller holds
// the training's lock.
func (e *Engine) readPolicies() {
	t := &e.training
	gone := maps.Clone(t.schedules)
	for _, p := range e.registry.Policies() {
		delete(gone, p.Model)
		if old := t.schedules[p.Model]; old != nil && old.Policy() == p {
			continue
		}
		s, err := trigger.Compile(p)
		if err != nil { // it was compiled when it was applied
			e.log.Error("a policy makes no sense any more", "policy", p.Ref().String(), "error", err)
			continue
		}
		t.schedules[p.Model], t.dirty[p.Model] = s, true
		if _, ok := t.states[p.Model]; !ok {
			t.states[p.Model] = driftline.PolicyState{Model: p.Model}
		}
	}
	for model := range gone {
		delete(t.schedules, model)
		t.agenda.Remove(model)
	}
}

// watchful are the policies with triggers that look at more than the clock.
func (e *Engine) watchful() (found []*trigger.Schedule) {
	t := &e.training
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.schedules {
		if slices.ContainsFunc(s.Policy().Triggers, func(one driftline.Trigger) bool { return one.Time == nil }) {
			found = append(found, s)
		}
	}
	return found
}

func (e *Engine) scheduleOf(model driftline.ModelName) *trigger.Schedule {
	e.training.mu.Lock()
	defer e.training.mu.Unlock()
	return e.training.schedules[model]
}

// advance does what time asks for: slots of cron expressions, runs that are late, runs that
// may begin.
func (e *Engine) advance(model driftline.ModelName) error {
	s := e.scheduleOf(model)
	if s == nil {
		return nil
	}
	defer e.training.turns.lock(string(model))()
	p, now := s.Policy(), e.now().UTC()
	before, err := e.policyState(model)
	if err != nil {
		return err
	}
	slots, state := s.Due(before, e.training.opened, now)
	var causes []driftline.Cause
	for _, slot := range slots {
		causes = append(causes, slot.Cause(now))
	}
	if _, err := e.fire(p, before, state, causes...); err != nil {
		return err
	}
	if err := e.expireTraining(p, now); err != nil {
		return err
	}
	return e.claim(p, now)
}

// expireTraining ends a run that is late, and keeps the lease of one that this server executes.
func (e *Engine) expireTraining(p *driftline.Policy, now time.Time) error {
	before, err := e.policyState(p.Model)
	if err != nil {
		return err
	}
	run := before.Active
	if run == nil || run.State != driftline.TrainingRunning || run.Lease == nil {
		return nil
	}
	step := &trainingStep{policy: p, before: before}
	if e.training.executes(run) && now.Before(run.Deadline) {
		if run.Lease.Expires.Sub(now) > leaseLeft {
			return nil
		}
		if step.after, err = trigger.Beat(before, run.ID, run.Lease.Token, now); err != nil {
			return err
		}
		return e.recordTraining(step)
	}
	after, changed := trigger.Expire(p, before, now)
	if !changed {
		return nil
	}
	step.after = after
	if err := e.recordTraining(step); err != nil {
		return err
	}
	e.training.stopUnwanted(&after)
	return nil
}

// leaseLeft is how much of a lease is left when it is renewed.
const leaseLeft = 5 * time.Second

// look sees what the triggers of a policy look at besides the clock.
func (e *Engine) look(ctx context.Context, s *trigger.Schedule) error {
	p := s.Policy()
	if p.Disabled {
		return nil
	}
	defer e.training.turns.lock(string(p.Model))()
	for i := range p.Triggers {
		t := &p.Triggers[i]
		before, err := e.policyState(p.Model)
		if err != nil {
			return err
		}
		state, causes, few, err := e.see(ctx, p, t, before)
		if err != nil {
			return fmt.Errorf("trigger %s: %w", t.Name, err)
		}
		if len(causes) == 0 && few == nil && sameTrigger(before.Triggers[t.Name], state.Triggers[t.Name]) {
			continue
		}
		if _, err := e.fireAll(p, before, state, few, causes...); err != nil {
			return err
		}
	}
	return nil
}

// sameTrigger reports whether a look has left what a trigger remembers as it was: most looks do.
func sameTrigger(a, b driftline.TriggerState) bool {
	return a.Disarmed == b.Disarmed && a.Windows == b.Windows && a.Through.Equal(b.Through) && a.Fewest == b.Fewest && a.Counted == b.Counted &&
		len(a.Seen) == len(b.Seen) && len(a.Metrics) == len(b.Metrics) && a.Dropped == b.Dropped
}

// see is what one trigger makes of what there is. few says that too little of it was labelled.
func (e *Engine) see(ctx context.Context, p *driftline.Policy, t *driftline.Trigger, state driftline.PolicyState) (after driftline.PolicyState, causes []driftline.Cause, few *driftline.Suppression, err error) {
	switch t.Kind() {
	case driftline.TriggerDrift:
		if t.Drift.ByAlert() {
			return state, e.alertCauses(p, t), nil, nil
		}
		after, causes, err = e.driftCauses(ctx, p, t, state)
		return after, causes, nil, err
	case driftline.TriggerFeatureVersion:
		after, causes = e.versionCauses(t, state)
		return after, causes, nil, nil
	case driftline.TriggerData:
		after, causes, err = e.dataCauses(ctx, t, state)
		return after, causes, nil, err
	case driftline.TriggerPerformance:
		return e.performanceCauses(ctx, p, t, state)
	}
	return state, nil, nil, nil
}

// sinceOf is from when on a policy has a trigger.
func sinceOf(p *driftline.Policy, t *driftline.Trigger) time.Time {
	if t.Since.After(p.Created) {
		return t.Since
	}
	return p.Created
}

// alertCauses are the alerts of a trigger's monitor that fire, and were raised since there is
// the trigger.
func (e *Engine) alertCauses(p *driftline.Policy, t *driftline.Trigger) (causes []driftline.Cause) {
	state, err := e.registry.MonitorState(t.Drift.Monitor)
	if err != nil || state.Alert == "" {
		return nil
	}
	alert, err := e.registry.Alert(state.Alert)
	if err != nil || alert.State != driftline.AlertFiring || alert.Raised.Before(sinceOf(p, t)) {
		return nil
	}
	if alert.Summary == "" {
		alert.Summary = fmt.Sprintf("monitor %q raised alert %s", t.Drift.Monitor, alert.ID)
	}
	return []driftline.Cause{trigger.Alert(t, &alert, e.now().UTC())}
}

// driftCauses takes in the panes of a trigger's monitor that closed since the last look, and
// since there is the trigger.
func (e *Engine) driftCauses(ctx context.Context, p *driftline.Policy, t *driftline.Trigger, state driftline.PolicyState) (driftline.PolicyState, []driftline.Cause, error) {
	through := state.Triggers[t.Name].Through
	if since := sinceOf(p, t); through.Before(since) {
		through = since
	}
	watched, err := e.registry.MonitorState(t.Drift.Monitor)
	if err != nil || !watched.Through.After(through) {
		return state, nil, nil // also of a monitor that is gone
	}
	windows, err := e.driftWindows(ctx, t.Drift.Monitor, through)
	if err != nil {
		return state, nil, err
	}
	var causes []driftline.Cause
	for i := range windows {
		var cause *driftline.Cause
		if state, cause = trigger.Drift(t, state, &windows[i], e.now().UTC()); cause != nil {
			causes = append(causes, *cause)
		}
	}
	return state, causes, nil
}

// mostWindows bounds how many panes one look takes in.
const mostWindows = 200

// driftWindows are the panes of a monitor that end after a time and of which something can be
// said, the oldest first.
func (e *Engine) driftWindows(ctx context.Context, name driftline.MonitorName, after time.Time) ([]trigger.Window, error) {
	records, err := e.storedPanes(name, time.Time{}, mostWindows)
	if err != nil {
		return nil, err
	}
	var windows []trigger.Window
	for _, record := range slices.Backward(records) {
		pane := &record.Pane
		if !pane.End.After(after) || pane.Outcome != driftline.PaneDrift && pane.Outcome != driftline.PaneSame {
			continue
		}
		report := driftline.PaneReport{Pane: record.Pane, Reports: record.Reports}
		if err := e.addColumns(ctx, &report); err != nil {
			return nil, err
		}
		windows = append(windows, windowOf(&report))
	}
	return windows, nil
}

// windowOf is what a pane found over all of its rows.
func windowOf(report *driftline.PaneReport) trigger.Window {
	w := trigger.Window{Start: report.Pane.Start, End: report.Pane.End, Effects: map[string]float64{}}
	for _, segment := range report.Reports {
		if segment.Segment != "" {
			continue
		}
		for _, c := range segment.Report.Columns {
			if effect := float64(c.Effect); effect == effect {
				w.Effects[c.Column] = effect
			}
			if c.Verdict == driftline.Drift {
				w.Drifted = append(w.Drifted, c.Column)
			}
		}
	}
	return w
}

// versionCauses are the versions of views that a trigger's service uses now and did not when
// the trigger first looked.
func (e *Engine) versionCauses(t *driftline.Trigger, state driftline.PolicyState) (driftline.PolicyState, []driftline.Cause) {
	resolution, err := e.registry.Resolve(driftline.FeatureSet{Service: t.FeatureVersion.Service})
	if err != nil {
		return state, nil // the service is gone, or what it uses
	}
	seen := state.Triggers[t.Name].Seen
	var news []driftline.ViewName
	for _, read := range resolution.Reads {
		if !slices.Contains(seen, read.View.Name) && !slices.Contains(news, read.View.Name) {
			news = append(news, read.View.Name)
		}
	}
	if len(news) == 0 {
		return state, nil
	}
	var causes []driftline.Cause
	for _, view := range news {
		if len(seen) > 0 { // at first they are no news
			causes = append(causes, trigger.FeatureVersion(t, view, e.now().UTC()))
		}
	}
	state.Triggers = maps.Clone(state.Triggers)
	if state.Triggers == nil {
		state.Triggers = map[string]driftline.TriggerState{}
	}
	now := state.Triggers[t.Name]
	now.Seen = slices.Concat(seen, news)
	state.Triggers[t.Name] = now
	return state, causes
}
