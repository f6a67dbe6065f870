package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Decision is what an outcome, or a person, changes. Alert is nil where it changes none.
type Decision struct {
	State driftline.MonitorState
	Alert *driftline.Alert
	Tell  []Telling
}

// Telling says that a channel is to be told something of the decision's alert.
type Telling struct {
	Channel string
	Kind    driftline.AlertState
}

// Decide takes the outcome of a pane into account. open is the alert that state names, or
// nil; pane is the first evaluation of a pane that ended after state.Through.
func Decide(m *driftline.Monitor, state driftline.MonitorState, open *driftline.Alert, pane *driftline.MonitorPane, now time.Time) Decision {
	rule := m.Alert.Completed()
	d := Decision{State: state}
	d.State.Monitor, d.State.Through, d.State.Last = m.Name, pane.End, pane.Outcome
	d.State.Panes++
	d.State.Failures, d.State.Error = 0, ""
	if pane.Outcome == driftline.PaneFailed {
		d.State.Failures, d.State.Error = state.Failures+1, pane.Error
	}
	if pane.Outcome == driftline.PaneDrift || pane.Outcome == driftline.PaneSame {
		outcomes := append(slices.Clone(state.Outcomes), pane.Outcome)
		d.State.Outcomes = outcomes[max(0, len(outcomes)-max(rule.Of, rule.Clear)):]
	}
	switch {
	case open != nil:
		d.goOn(m, rule, *open, pane, now)
	case pane.Outcome == driftline.PaneDrift && drifted(d.State.Outcomes, rule.Of) >= rule.Drifted:
		d.raise(m, rule, pane, now)
	case drifted(d.State.Outcomes, rule.Of) > 0:
		d.State.Phase = driftline.PhasePending
	default:
		d.State.Phase = driftline.PhaseOK
	}
	return d
}

// drifted counts the drifted ones of the last n outcomes.
func drifted(outcomes []driftline.PaneOutcome, n int) (count int) {
	for _, o := range outcomes[max(0, len(outcomes)-n):] {
		if o == driftline.PaneDrift {
			count++
		}
	}
	return count
}

func (d *Decision) raise(m *driftline.Monitor, rule driftline.AlertRule, pane *driftline.MonitorPane, now time.Time) {
	d.State.Alerts++
	alert := driftline.Alert{
		ID:      driftline.AlertID(fmt.Sprintf("%s-%d", m.Name, d.State.Alerts)),
		Monitor: m.Name, Version: m.Version, Severity: rule.Severity, State: driftline.AlertFiring,
		Raised: now, From: pane.Start,
	}
	d.State.Phase, d.State.Alert = driftline.PhaseFiring, alert.ID
	d.drifts(m, alert, pane, now)
}

// goOn is an outcome while an alert is open.
func (d *Decision) goOn(m *driftline.Monitor, rule driftline.AlertRule, alert driftline.Alert, pane *driftline.MonitorPane, now time.Time) {
	if pane.Outcome == driftline.PaneDrift {
		d.drifts(m, alert, pane, now)
		return
	}
	n := len(d.State.Outcomes)
	if pane.Outcome == driftline.PaneSame && n >= rule.Clear && drifted(d.State.Outcomes, rule.Clear) == 0 {
		d.resolve(alert, now)
	}
}

// drifts adds a drifted pane to an open alert, and tells those who are to be told.
func (d *Decision) drifts(m *driftline.Monitor, alert driftline.Alert, pane *driftline.MonitorPane, now time.Time) {
	alert.Panes++
	alert.To, alert.Summary = pane.End, Summary(pane)
	alert.Columns, alert.Slices = slices.Clone(pane.Columns), slices.Clone(pane.Slices)
	told := len(alert.Channels) > 0
	again := !alert.SnoozedUntil.IsZero() && !now.Before(alert.SnoozedUntil)
	if again {
		alert.SnoozedUntil = time.Time{}
	}
	quiet := pane.Due.Before(m.Created) || now.Before(d.State.SnoozedUntil) ||
		now.Before(alert.SnoozedUntil) || !alert.Acknowledged.IsZero()
	if !quiet && (!told || again) {
		if !told {
			alert.Channels = slices.Clone(m.Alert.Channels)
		}
		d.tell(alert.Channels, driftline.AlertFiring)
	}
	d.Alert = &alert
}

// resolve ends an alert, and tells those who were told that it was raised.
func (d *Decision) resolve(alert driftline.Alert, now time.Time) {
	alert.State, alert.Resolved = driftline.AlertResolved, now
	d.tell(alert.Channels, driftline.AlertResolved)
	d.Alert = &alert
	d.State.Alert, d.State.Phase, d.State.Outcomes = "", driftline.PhaseOK, nil
}

func (d *Decision) tell(channels []string, kind driftline.AlertState) {
	for _, channel := range channels {
		d.Tell = append(d.Tell, Telling{channel, kind})
	}
}

// Summary says in one sentence what drifted in a pane.
func Summary(pane *driftline.MonitorPane) string {
	what := fmt.Sprintf("%d of %d columns drifted", pane.Drifted, pane.Compared)
	if pane.Drifted == 0 { // by the test of all of them
		what = "the columns together drifted, and none alone,"
	}
	text := fmt.Sprintf("%s from %s to %s", what, pane.Start.UTC().Format(time.RFC3339), pane.End.UTC().Format(time.RFC3339))
	if len(pane.Columns) == 0 {
		return text
	}
	most := pane.Columns[0]
	text += fmt.Sprintf("; most of all %s (effect %.3g)", most.Column, float64(most.Effect))
	if most.Segment != "" {
		text += " where " + most.Segment
	}
	if len(pane.Slices) > 0 {
		text += "; worst where " + strings.Join(pane.Slices[0].Conditions, " and ")
	}
	return text
}

// Acknowledge says that somebody looks after an alert: nobody else is told of it any more.
func Acknowledge(alert driftline.Alert, change driftline.AlertChange, now time.Time) (driftline.Alert, error) {
	if err := checkOpen(&alert); err != nil {
		return alert, err
	}
	if alert.Acknowledged.IsZero() {
		alert.Acknowledged = now
	}
	alert.AcknowledgedBy, alert.Comment = change.By, cmp.Or(change.Comment, alert.Comment)
	return alert, nil
}

// Snooze keeps quiet about an alert until a time. If panes still drift then, it is told again.
func Snooze(alert driftline.Alert, change driftline.AlertChange, now time.Time) (driftline.Alert, error) {
	if err := checkOpen(&alert); err != nil {
		return alert, err
	}
	if err := CheckSnooze(change.Until, now); err != nil {
		return alert, err
	}
	alert.SnoozedUntil, alert.Comment = change.Until.UTC(), cmp.Or(change.Comment, alert.Comment)
	return alert, nil
}

// CheckSnooze refuses the end of a snooze that has passed.
func CheckSnooze(until, now time.Time) error {
	if until.After(now) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "the snooze ends at %s, which has passed", until.UTC().Format(time.RFC3339)).
		WithHint("choose a later time")
}

// Resolve ends an alert by hand. The next pane that drifts begins another episode.
func Resolve(state driftline.MonitorState, alert driftline.Alert, change driftline.AlertChange, now time.Time) (Decision, error) {
	if err := checkOpen(&alert); err != nil {
		return Decision{}, err
	}
	alert.ResolvedBy, alert.Comment = change.By, cmp.Or(change.Comment, alert.Comment)
	if alert.ResolvedBy == "" {
		alert.ResolvedBy = "somebody"
	}
	d := Decision{State: state}
	d.resolve(alert, now)
	return d, nil
}

func checkOpen(alert *driftline.Alert) error {
	if alert.State == driftline.AlertFiring {
		return nil
	}
	return driftline.Errorf(driftline.FailedPrecondition, "alert %q is resolved", alert.ID).WithRef(alert.Ref()).
		WithHint("driftline alert list shows those that are open")
}
