package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
	"github.com/driftline/driftline/registry"
)

const (
	// monitorEvery is how often the clock is asked whether panes are due.
	monitorEvery = time.Second

	// panesAtOnce is how many panes of a monitor are evaluated before others get a turn.
	panesAtOnce = 16

	// paneAttempts is how often a pane is tried, for want of memory or workers, before it
	// counts as failed.
	paneAttempts = 5
)

// The steps of an evaluation between which a crash is tried.
const (
	stepPaneCompared = "pane compared"
	stepPaneDecided  = "pane decided"
	stepPaneRecorded = "pane recorded"
)

// watches are the monitors as the scheduler sees them.
type watches struct {
	turns  keyedMutex // by monitor: one evaluation at a time
	opened time.Time  // since when panes could be evaluated
	wake   chan struct{}

	mu   sync.Mutex // guards seen
	seen map[driftline.MonitorName]*watch
}

// watch is what is worked out of a monitor once. It is for one definition and one state.
type watch struct {
	of       *driftline.Monitor
	through  time.Time
	schedule *monitor.Schedule
	next     monitor.Pane // the first that was not evaluated, due or not
	attempts int          // of next
	looked   atomic.Int64 // the newest early look at next
}

// monitorLoop evaluates panes as they become due, until the engine closes.
func (e *Engine) monitorLoop(ctx context.Context) {
	for range rounds(ctx, monitorEvery, e.watches.wake) {
		for _, m := range e.registry.Monitors() {
			if ctx.Err() != nil {
				return
			}
			if _, err := e.evaluateDue(ctx, m, panesAtOnce); err != nil && ctx.Err() == nil {
				e.log.Error("a pane could not be evaluated; it is tried again", "monitor", m.Name, "error", err)
			}
		}
		if err := e.flushResultsIfLarge(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("drift results stay in the log", "error", err)
		}
	}
}

// watchOf returns what is known of a monitor in a state.
func (e *Engine) watchOf(m *driftline.Monitor, state *driftline.MonitorState) (*watch, error) {
	e.watches.mu.Lock()
	defer e.watches.mu.Unlock()
	known := e.watches.seen[m.Name]
	if known != nil && known.of == m && known.through.Equal(state.Through) {
		return known, nil
	}
	schedule, err := monitor.NewSchedule(m)
	if err != nil {
		return nil, err
	}
	known = &watch{of: m, through: state.Through, schedule: schedule, next: schedule.Next(state.Through)}
	e.watches.seen[m.Name] = known
	return known, nil
}

// evaluateDue evaluates the panes of a monitor that are due, limit of them at most, and then
// looks at the one that is open, if it is time for that.
func (e *Engine) evaluateDue(ctx context.Context, m *driftline.Monitor, limit int) ([]driftline.MonitorPane, error) {
	state, err := e.registry.MonitorState(m.Name)
	if err != nil || m.Disabled || state.Paused {
		return nil, err
	}
	w, err := e.watchOf(m, &state)
	if err != nil || !e.isDue(w, &state) {
		return nil, err
	}
	defer e.watches.turns.lock(string(m.Name))()
	if state, err = e.registry.MonitorState(m.Name); err != nil {
		return nil, err
	}
	var done []driftline.MonitorPane
	if e.isDecidedClosed(w, &state) {
		closed, err := e.closeDecided(ctx, w, &state)
		if err != nil || closed == nil {
			return nil, err
		}
		done = append(done, *closed)
	}
	up := e.watches.opened
	if state.Resumed.After(up) {
		up = state.Resumed
	}
	for _, pane := range w.schedule.Due(state.Through, up, e.now(), limit) {
		w, err := e.watchOf(m, &state)
		if err != nil {
			return done, err
		}
		evaluated, after, err := e.evaluate(ctx, w, pane, state)
		if err != nil {
			return done, err
		}
		if evaluated == nil {
			return done, nil // somebody changed the monitor: look again
		}
		done, state = append(done, *evaluated), after
	}
	early, err := e.lookEarly(ctx, m, state)
	if early != nil {
		done = append(done, *early)
	}
	return done, err
}

// isDue reports whether there is anything to do for a monitor now.
func (e *Engine) isDue(w *watch, state *driftline.MonitorState) bool {
	closed := !w.next.Due.After(e.now()) && !w.schedule.Over(w.next)
	return closed || e.isDecidedClosed(w, state) || int64(w.schedule.Look(w.next, e.now()).Number) > w.looked.Load()
}

// isDecidedClosed reports whether a pane that was decided early has closed.
func (e *Engine) isDecidedClosed(w *watch, state *driftline.MonitorState) bool {
	return !state.Decided.IsZero() && !e.now().Before(state.Decided.Add(time.Duration(w.of.Grace)))
}

// lookEarly looks at the pane that is open. Drift that is certain by now decides it; what
// else it finds leaves no trace.
func (e *Engine) lookEarly(ctx context.Context, m *driftline.Monitor, state driftline.MonitorState) (*driftline.MonitorPane, error) {
	w, err := e.watchOf(m, &state)
	if err != nil {
		return nil, err
	}
	look := w.schedule.Look(w.next, e.now())
	if int64(look.Number) <= w.looked.Load() {
		return nil, nil
	}
	found, err := e.comparePane(ctx, w, w.next, look)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.looked.Store(int64(look.Number))
	if err != nil {
		e.log.Warn("an open pane could not be looked at; it is when it closes", "monitor", m.Name, "pane", w.next.Start, "error", err)
		return nil, nil
	}
	if found.pane.Outcome != driftline.PaneDrift {
		return nil, nil
	}
	pane, _, err := e.record(w, found, state)
	return pane, err
}

// evaluate compares one pane that is due and records what it came to.
func (e *Engine) evaluate(ctx context.Context, w *watch, pane monitor.Pane, before driftline.MonitorState) (*driftline.MonitorPane, driftline.MonitorState, error) {
	found, err := e.comparePane(ctx, w, pane, monitor.Look{})
	if err != nil {
		if ctx.Err() != nil {
			return nil, before, ctx.Err()
		}
		if code := driftline.CodeOf(err); (code == driftline.Exhausted || code == driftline.Unavailable) && w.attempts+1 < paneAttempts {
			w.attempts++
			return nil, before, err
		}
		found = e.failedPane(w.of, pane, err)
	}
	return e.record(w, found, before)
}

// failedPane is what is recorded of a pane that could not be compared.
func (e *Engine) failedPane(m *driftline.Monitor, pane monitor.Pane, err error) *comparedPane {
	e.log.Error("a pane could not be compared", "monitor", m.Name, "pane", pane.Start, "error", err)
	found := &comparedPane{pane: newPane(m, pane)}
	found.pane.Outcome, found.pane.Error = driftline.PaneFailed, shownError(err)
	return found
}

// record writes down what a pane came to, with everything that follows from it, in one
// transaction. The pane is nil if the monitor changed meanwhile: then nothing was recorded.
func (e *Engine) record(w *watch, found *comparedPane, before driftline.MonitorState) (*driftline.MonitorPane, driftline.MonitorState, error) {
	if err := e.reached(stepPaneCompared); err != nil {
		return nil, before, err
	}
	found.pane.Evaluated, found.pane.Evaluation = e.now().UTC().Truncate(time.Microsecond), 1

	e.results.recording.Lock() // the log of results is in the order of the ledger
	defer e.results.recording.Unlock()
	tx := e.registry.Begin()
	defer tx.Discard()
	unchanged, err := stillWatched(tx, w.of, before)
	if err != nil || !unchanged {
		return nil, before, err
	}
	var open *driftline.Alert
	if before.Alert != "" {
		alert, err := tx.Alert(before.Alert)
		if err == nil {
			err = e.describe(&alert)
		}
		if err != nil {
			return nil, before, err
		}
		open = &alert
	}
	decision := monitor.Decide(w.of, before, open, &found.pane, tx.Time())
	if !found.pane.Early.IsZero() {
		decision.State.Decided = found.pane.End
	}
	found.pane.Phase = decision.State.Phase
	if decision.Alert != nil {
		found.pane.Alert = decision.Alert.ID
	}
	line, err := tx.AddEvaluation(found.pane, &decision.State, found.inputs)
	if err != nil {
		return nil, before, err
	}
	found.pane.Sequence = line.Sequence
	if decision.Alert != nil && found.pane.Outcome == driftline.PaneDrift {
		decision.Alert.Pane = line.Sequence
	}
	if err := e.recordPane(tx, found); err != nil {
		return nil, before, err
	}
	if err := e.recordDecision(tx, w.of, decision, alertAction(open, decision.Alert)); err != nil {
		return nil, before, err
	}
	if err := e.reached(stepPaneDecided); err != nil {
		return nil, before, err
	}
	if err := tx.Commit(); err != nil {
		return nil, before, err
	}
	e.results.add(found)
	e.noticed(decision)
	if err := e.reached(stepPaneRecorded); err != nil {
		return nil, before, err
	}
	return &found.pane, decision.State, nil
}

// stillWatched reports whether a monitor is as it was when a pane of it was compared.
func stillWatched(tx *registry.Tx, m *driftline.Monitor, before driftline.MonitorState) (bool, error) {
	now, err := tx.Monitor(m.Name)
	if err != nil {
		return false, err
	}
	state, err := tx.MonitorState(m.Name)
	return now == m && state.Through.Equal(before.Through) && state.Alert == before.Alert &&
		state.Paused == before.Paused && state.SnoozedUntil.Equal(before.SnoozedUntil), err
}

// alertAction says in a word what a decision did to an alert.
func alertAction(open, now *driftline.Alert) string {
	switch {
	case open == nil:
		return "raised"
	case now != nil && now.State == driftline.AlertResolved:
		return "resolved"
	}
	return "drifted again"
}

// recordDecision adds to a transaction what a decision changes besides the monitor's state.
func (e *Engine) recordDecision(tx *registry.Tx, m *driftline.Monitor, d monitor.Decision, action string) error {
	if d.Alert == nil {
		return nil
	}
	line, err := tx.ChangeAlert(action, *d.Alert)
	if err != nil {
		return err
	}
	return e.addNotices(tx, m, line.Sequence, d)
}

// shownError is what users may see of a failure.
func shownError(err error) string {
	var shown *driftline.Error
	if errors.As(err, &shown) && shown.Code != driftline.Internal {
		return shown.Error()
	}
	return "internal error; the server's log names the cause"
}

// Monitors returns every monitor and where it stands, by name.
func (e *Engine) Monitors() ([]driftline.MonitorStatus, error) {
	all := []driftline.MonitorStatus{}
	for _, m := range e.registry.Monitors() {
		status, err := e.monitorStatus(m)
		if err != nil {
			return nil, err
		}
		all = append(all, status)
	}
	return all, nil
}

// Monitor returns one monitor and where it stands.
func (e *Engine) Monitor(name driftline.MonitorName) (driftline.MonitorStatus, error) {
	m, err := e.registry.Monitor(name)
	if err != nil {
		return driftline.MonitorStatus{}, err
	}
	return e.monitorStatus(m)
}

func (e *Engine) monitorStatus(m *driftline.Monitor) (driftline.MonitorStatus, error) {
	status := driftline.MonitorStatus{Monitor: *m}
	var err error
	if status.State, err = e.registry.MonitorState(m.Name); err != nil {
		return status, err
	}
	w, err := e.watchOf(m, &status.State)
	if err != nil {
		return status, err
	}
	if !m.Disabled && !status.State.Paused {
		if open, ok := w.schedule.Open(status.State.Through, e.now()); ok {
			status.Next = open.Due
		}
	}
	if status.State.Failures > 0 {
		last, err := e.storedPanes(m.Name, time.Time{}, 1)
		if err != nil {
			return status, err
		}
		for _, record := range last {
			status.State.Error = record.Pane.Error
		}
	}
	return status, nil
}

// RunMonitor evaluates the panes of a monitor that are due now, or one pane again. Of a
// pane that is evaluated again the result is recorded beside the first one, and no alert changes.
func (e *Engine) RunMonitor(ctx context.Context, name driftline.MonitorName, run driftline.MonitorRun) ([]driftline.MonitorPane, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	m, err := e.registry.Monitor(name)
	if err != nil {
		return nil, err
	}
	if !run.Pane.IsZero() {
		return e.evaluateAgain(ctx, m, run.Pane)
	}
	if state, err := e.registry.MonitorState(name); err != nil || state.Paused || m.Disabled {
		if err == nil {
			err = driftline.Errorf(driftline.FailedPrecondition, "monitor %q is paused or disabled", name).WithRef(m.Ref()).
				WithHint("driftline monitor resume %s, or enable it", name)
		}
		return nil, err
	}
	all := []driftline.MonitorPane{}
	for {
		done, err := e.evaluateDue(ctx, m, panesAtOnce)
		all = append(all, done...)
		if err != nil || len(done) == 0 {
			return all, err
		}
	}
}

// evaluateAgain compares the pane that was closed and has t in it once more.
func (e *Engine) evaluateAgain(ctx context.Context, m *driftline.Monitor, t time.Time) ([]driftline.MonitorPane, error) {
	defer e.watches.turns.lock(string(m.Name))()
	first, err := e.closedPane(m.Name, t)
	if err != nil {
		return nil, err
	}
	state, err := e.registry.MonitorState(m.Name)
	if err != nil {
		return nil, err
	}
	w, err := e.watchOf(m, &state)
	if err != nil {
		return nil, err
	}
	found, err := e.comparePane(ctx, w, monitor.Pane{Start: first.Start, End: first.End, Due: first.Due}, monitor.Look{})
	if err != nil {
		return nil, err
	}
	pane, err := e.recordAgain(found, nil)
	if err != nil {
		return nil, err
	}
	return []driftline.MonitorPane{*pane}, nil
}

// closeDecided evaluates a pane again that was decided early and has closed, with all of
// its rows. No alert changes. It is nil if somebody else did it meanwhile.
func (e *Engine) closeDecided(ctx context.Context, w *watch, state *driftline.MonitorState) (*driftline.MonitorPane, error) {
	first, err := e.closedPane(w.of.Name, state.Decided.Add(-time.Microsecond))
	if err != nil {
		return nil, err
	}
	pane := monitor.Pane{Start: first.Start, End: first.End, Due: first.Due}
	found, err := e.comparePane(ctx, w, pane, monitor.Look{})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		found = e.failedPane(w.of, pane, err)
	}
	return e.recordAgain(found, state)
}

// recordAgain writes a further evaluation of a pane down, beside the first. decided is the
// state of a monitor whose pane that was decided early is closed by it, or nil; then the pane
// is nil if it was closed before.
func (e *Engine) recordAgain(found *comparedPane, decided *driftline.MonitorState) (*driftline.MonitorPane, error) {
	e.results.recording.Lock()
	defer e.results.recording.Unlock()
	tx := e.registry.Begin()
	defer tx.Discard()
	if decided != nil {
		now, err := tx.MonitorState(found.pane.Monitor)
		if err != nil || !now.Decided.Equal(decided.Decided) {
			return nil, err
		}
		now.Decided = time.Time{}
		*decided = now
	}
	var err error
	found.pane.Evaluated = e.now().UTC().Truncate(time.Microsecond)
	if found.pane.Evaluation, err = e.evaluations(found.pane.Monitor, found.pane.End); err != nil {
		return nil, err
	}
	found.pane.Evaluation++
	line, err := tx.AddEvaluation(found.pane, decided, found.inputs)
	if err != nil {
		return nil, err
	}
	found.pane.Sequence = line.Sequence
	if err := e.recordPane(tx, found); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	e.results.add(found)
	return &found.pane, nil
}

// PauseMonitor keeps panes from being evaluated until the monitor is resumed.
func (e *Engine) PauseMonitor(name driftline.MonitorName) (driftline.MonitorStatus, error) {
	return e.changeMonitor(name, "paused", func(s *driftline.MonitorState, _ time.Time) error {
		s.Paused = true
		return nil
	})
}

// ResumeMonitor goes on with a paused monitor. What becomes of the panes that closed
// meanwhile, its schedule says.
func (e *Engine) ResumeMonitor(name driftline.MonitorName) (driftline.MonitorStatus, error) {
	defer e.wakeMonitors()
	return e.changeMonitor(name, "resumed", func(s *driftline.MonitorState, now time.Time) error {
		if s.Paused {
			s.Paused, s.Resumed = false, now
		}
		return nil
	})
}

// SnoozeMonitor keeps quiet about new alerts of a monitor until a time; the zero time ends that.
func (e *Engine) SnoozeMonitor(name driftline.MonitorName, until time.Time) (driftline.MonitorStatus, error) {
	return e.changeMonitor(name, "snoozed", func(s *driftline.MonitorState, now time.Time) error {
		if !until.IsZero() {
			if err := monitor.CheckSnooze(until, now); err != nil {
				return err
			}
		}
		s.SnoozedUntil = until.UTC()
		return nil
	})
}

func (e *Engine) changeMonitor(name driftline.MonitorName, action string, change func(*driftline.MonitorState, time.Time) error) (driftline.MonitorStatus, error) {
	if err := e.begin(); err != nil {
		return driftline.MonitorStatus{}, err
	}
	defer e.end()
	tx := e.registry.Begin()
	defer tx.Discard()
	state, err := tx.MonitorState(name)
	if err != nil {
		return driftline.MonitorStatus{}, err
	}
	if err := change(&state, tx.Time()); err != nil {
		return driftline.MonitorStatus{}, err
	}
	if err := errors.Join(tx.ChangeMonitor(action, state), tx.Commit()); err != nil {
		return driftline.MonitorStatus{}, err
	}
	return e.Monitor(name)
}

// Alerts returns the alerts of a monitor (all monitors if "") in a state (any if ""), the
// newest first.
func (e *Engine) Alerts(of driftline.MonitorName, state driftline.AlertState) ([]driftline.Alert, error) {
	if state != "" && state != driftline.AlertFiring && state != driftline.AlertResolved {
		return nil, driftline.Unknown("alert state", driftline.AlertState(fmt.Sprintf("%.80s", state)), []driftline.AlertState{driftline.AlertFiring, driftline.AlertResolved})
	}
	if of != "" {
		if _, err := e.registry.Monitor(of); err != nil {
			return nil, err
		}
	}
	alerts := slices.DeleteFunc(e.registry.Alerts(), func(a driftline.Alert) bool {
		return of != "" && a.Monitor != of || state != "" && a.State != state
	})
	for i := range alerts {
		if err := e.describe(&alerts[i]); err != nil {
			return nil, err
		}
	}
	return alerts, nil
}

// Alert returns one alert, with what could be done about it.
func (e *Engine) Alert(id driftline.AlertID) (driftline.Alert, error) {
	alert, err := e.registry.Alert(id)
	if err != nil {
		return alert, err
	}
	if err := e.describe(&alert); err != nil {
		return alert, err
	}
	alert.Remedies, err = e.remediesOf(&alert)
	return alert, err
}

// describe fills in what the ledger does not keep: it is in the pane.
func (e *Engine) describe(alert *driftline.Alert) error {
	record, err := e.storedPane(alert.Monitor, alert.To, 1)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	alert.Summary, alert.Columns, alert.Slices = monitor.Summary(&record.Pane), record.Pane.Columns, record.Pane.Slices
	return nil
}

// AcknowledgeAlert says that somebody looks after an alert.
func (e *Engine) AcknowledgeAlert(id driftline.AlertID, change driftline.AlertChange) (driftline.Alert, error) {
	return e.changeAlert(id, "acknowledged", func(tx *registry.Tx, alert driftline.Alert) (driftline.Alert, error) {
		return monitor.Acknowledge(alert, change, tx.Time())
	})
}

// SnoozeAlert keeps quiet about an alert until a time.
func (e *Engine) SnoozeAlert(id driftline.AlertID, change driftline.AlertChange) (driftline.Alert, error) {
	return e.changeAlert(id, "snoozed", func(tx *registry.Tx, alert driftline.Alert) (driftline.Alert, error) {
		return monitor.Snooze(alert, change, tx.Time())
	})
}

func (e *Engine) changeAlert(id driftline.AlertID, action string, change func(*registry.Tx, driftline.Alert) (driftline.Alert, error)) (driftline.Alert, error) {
	if err := e.begin(); err != nil {
		return driftline.Alert{}, err
	}
	defer e.end()
	tx := e.registry.Begin()
	defer tx.Discard()
	alert, err := tx.Alert(id)
	if err != nil {
		return alert, err
	}
	if alert, err = change(tx, alert); err != nil {
		return alert, err
	}
	if _, err := tx.ChangeAlert(action, alert); err != nil {
		return alert, err
	}
	if err := tx.Commit(); err != nil {
		return alert, err
	}
	return e.Alert(id)
}

// ResolveAlert ends an alert by hand. The next pane that drifts begins another one.
func (e *Engine) ResolveAlert(id driftline.AlertID, change driftline.AlertChange) (driftline.Alert, error) {
	if err := e.begin(); err != nil {
		return driftline.Alert{}, err
	}
	defer e.end()
	alert, err := e.Alert(id) // with its summary, which the notice tells
	if err != nil {
		return alert, err
	}
	decision, err := e.resolve(alert, change)
	if err != nil {
		return alert, err
	}
	e.noticed(decision)
	return e.Alert(id)
}

func (e *Engine) resolve(described driftline.Alert, change driftline.AlertChange) (monitor.Decision, error) {
	tx := e.registry.Begin()
	defer tx.Discard()
	alert, err := tx.Alert(described.ID)
	if err != nil {
		return monitor.Decision{}, err
	}
	alert.Summary, alert.Columns, alert.Slices = described.Summary, described.Columns, described.Slices
	m, err := tx.Monitor(alert.Monitor)
	if err != nil {
		return monitor.Decision{}, err
	}
	state, err := tx.MonitorState(alert.Monitor)
	if err != nil {
		return monitor.Decision{}, err
	}
	decision, err := monitor.Resolve(state, alert, change, tx.Time())
	if err != nil {
		return decision, err
	}
	return decision, errors.Join(
		tx.ChangeMonitor("resolved", decision.State),
		e.recordDecision(tx, m, decision, "resolved"),
		tx.Commit(),
	)
}

func (e *Engine) wakeMonitors() {
	select {
	case e.watches.wake <- struct{}{}:
	default:
	}
}

// noticed wakes whoever delivers notices, if a decision has some.
func (e *Engine) noticed(d monitor.Decision) {
	if len(d.Tell) == 0 {
		return
	}
	select {
	case e.outbox.wake <- struct{}{}:
	default:
	}
}

// checkMonitors refuses monitors whose channels, tests or schedules this server cannot
// serve, and SQL that could never run. Tables that the same definitions bring are not there
// yet, so SQL over an unknown table is let through: its panes fail until it is.
func (e *Engine) checkMonitors(ctx context.Context, defs driftline.Definitions) error {
	for i := range defs.Monitors {
		m := defs.Monitors[i]
		if m.Created = e.now(); m.Start.IsZero() {
			m.Start = m.Created
		}
		err := e.checkMonitor(ctx, &m, defs.Presets)
		var failure *driftline.Error
		if errors.As(err, &failure) {
			about := *failure
			about.Message = fmt.Sprintf("monitor %q: %s", m.Name, failure.Message)
			return about.WithRef(driftline.MonitorRef(m.Name, 0))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) checkMonitor(ctx context.Context, m *driftline.Monitor, presets []driftline.Preset) error {
	for _, channel := range m.Alert.Channels {
		if err := e.outbox.channels.Check(channel); err != nil {
			return err
		}
	}
	rules, err := e.checkTests(m.Tests, presets)
	if err != nil {
		return err
	}
	if m.Budget != nil {
		if err := rules.checkBudget(); err != nil {
			return err
		}
	}
	if _, err := monitor.NewSchedule(m); err != nil {
		return err
	}
	if m.Source.SQL == "" {
		return nil
	}
	schema, err := e.SQLSchema(ctx, m.Source.SQL)
	if driftline.CodeOf(err) == driftline.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if !schema.HasField(m.Source.TimeColumn) {
		return driftline.Errorf(driftline.Invalid, "source.sql has no column %q", m.Source.TimeColumn).
			WithHint("add the time to the SELECT, or name another source.time_column")
	}
	return nil
}

// checkTests refuses rules that make no sense. presets are those that come with them.
func (e *Engine) checkTests(opts driftline.DriftOptions, presets []driftline.Preset) (rules, error) {
	if i := slices.IndexFunc(presets, func(p driftline.Preset) bool { return string(p.Name) == opts.Preset }); i >= 0 {
		opts.Preset, opts.Rules = "", &presets[i]
	} else if _, err := e.withPreset(&opts); err != nil {
		return rules{}, err
	}
	return newRules(opts)
}

// checkPresets refuses presets whose rules make no sense, or by which a monitor could not
// keep its budget.
func (e *Engine) checkPresets(presets []driftline.Preset) error {
	for i := range presets {
		if err := e.checkPreset(&presets[i]); err != nil {
			var failure *driftline.Error
			if errors.As(err, &failure) {
				return failure.WithRef(driftline.PresetRef(presets[i].Name, 0))
			}
			return err
		}
	}
	return nil
}

func (e *Engine) checkPreset(p *driftline.Preset) error {
	if err := CheckPreset(p); err != nil {
		return err
	}
	for _, m := range e.registry.Monitors() {
		if m.Budget == nil || m.Tests.Preset != string(p.Name) {
			continue
		}
		rules, err := e.checkTests(m.Tests, []driftline.Preset{*p})
		if err == nil {
			err = rules.checkBudget()
		}
		if err != nil {
			return driftline.Errorf(driftline.FailedPrecondition, "preset %q: monitor %q names it, whose %w", p.Name, m.Name, err)
		}
	}
	return nil
}
