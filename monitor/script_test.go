package monitor_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

// TestScripts runs the scripts in testdata: which panes are due, and what outcomes come to.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, s.run)
	})
}

// script is one monitor under test.
type script struct {
	t     *testing.T
	m     driftline.Monitor
	state driftline.MonitorState
	alert *driftline.Alert
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "monitor":
		return s.define(d)
	case "due":
		return s.due(d)
	case "outcomes":
		return s.outcomes(d)
	}
	t.Fatalf("no command %q", d.Cmd)
	return ""
}

// define reads key: value lines.
func (s *script) define(d *datadriven.TestData) string {
	m := driftline.Monitor{Name: "m", Created: parse("2026-01-15 00:00")}
	for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		var err error
		switch key {
		case "window":
			m.Window, err = driftline.ParseSpan(value)
		case "grace":
			m.Grace, err = driftline.ParseDuration(value)
		case "cron":
			m.Schedule.Cron = value
		case "zone":
			m.Schedule.TimeZone = value
		case "catch_up":
			m.Schedule.CatchUp = driftline.CatchUp(value)
		case "start":
			m.Start = parse(value)
		case "created":
			m.Created = parse(value)
		case "drifted":
			m.Alert.Drifted, err = strconv.Atoi(value)
		case "of":
			m.Alert.Of, err = strconv.Atoi(value)
		case "clear":
			m.Alert.Clear, err = strconv.Atoi(value)
		case "channels":
			m.Alert.Channels = strings.Fields(value)
		default:
			s.t.Fatalf("no field %q", key)
		}
		if err != nil {
			return err.Error()
		}
	}
	if _, err := monitor.NewSchedule(&m); err != nil {
		return err.Error()
	}
	*s = script{t: s.t, m: m, state: driftline.MonitorState{Phase: driftline.PhaseOK}}
	return ""
}

// due shows the panes that are due at a time, and takes them as evaluated. "up" is since
// when somebody could have evaluated them.
func (s *script) due(d *datadriven.TestData) string {
	schedule, err := monitor.NewSchedule(&s.m)
	if err != nil {
		return err.Error()
	}
	var at, up string
	d.ScanArgs(s.t, "at", &at)
	up = at
	if d.HasArg("up") {
		d.ScanArgs(s.t, "up", &up)
	}
	var out strings.Builder
	panes := schedule.Due(s.state.Through, parse(strings.ReplaceAll(up, "T", " ")), parse(strings.ReplaceAll(at, "T", " ")), 1000)
	for i, p := range panes {
		s.state.Through = p.End
		if len(panes) > 8 && i == 3 {
			fmt.Fprintf(&out, "… %d in all\n", len(panes))
		}
		if len(panes) <= 8 || i < 3 || i >= len(panes)-1 {
			fmt.Fprintf(&out, "%s – %s, due %s\n", show(p.Start), show(p.End), show(p.Due))
		}
	}
	if len(panes) == 0 {
		return fmt.Sprintf("none; next %s\n", show(schedule.Next(s.state.Through).Due))
	}
	return out.String()
}

// outcomes are words, one for each pane or deed, an hour apart: drift, same, unsure,
// failed; ack, resolve, snooze=3h, quiet=3h.
func (s *script) outcomes(d *datadriven.TestData) string {
	var out strings.Builder
	for _, word := range strings.Fields(d.Input) {
		s.step(word, &out)
	}
	return out.String()
}

func (s *script) step(word string, out *strings.Builder) {
	if s.state.Through.IsZero() {
		s.state.Through = s.m.Created
		if !s.m.Start.IsZero() {
			s.state.Through = s.m.Start
		}
	}
	now := s.state.Through.Add(time.Hour)
	verb, argument, _ := strings.Cut(word, "=")
	until, _ := driftline.ParseDuration(argument)
	change := driftline.AlertChange{By: "ann", Until: now.Add(time.Duration(until))}
	var done monitor.Decision
	var err error
	var changed driftline.Alert
	switch verb {
	case "quiet":
		s.state.SnoozedUntil = change.Until
		return
	case "ack":
		changed, err = monitor.Acknowledge(*s.alert, change, now)
	case "snooze":
		changed, err = monitor.Snooze(*s.alert, change, now)
	case "resolve":
		done, err = monitor.Resolve(s.state, *s.alert, change, now)
	default:
		pane := driftline.MonitorPane{Start: s.state.Through, End: now, Due: now, Outcome: outcome(verb), Error: "boom"}
		var open *driftline.Alert
		if s.alert != nil && s.alert.State == driftline.AlertFiring {
			open = s.alert
		}
		done = monitor.Decide(&s.m, s.state, open, &pane, now)
	}
	if err != nil {
		fmt.Fprintf(out, "%-8s %v\n", word, err)
		return
	}
	if verb == "ack" || verb == "snooze" {
		s.alert = &changed
		fmt.Fprintf(out, "%-8s %s\n", word, s.state.Phase)
		return
	}
	s.state = done.State
	if done.Alert != nil {
		s.alert = done.Alert
	}
	fmt.Fprintf(out, "%-8s %s", word, s.state.Phase)
	if done.Alert != nil {
		fmt.Fprintf(out, "; %s %s, %d panes", done.Alert.ID, done.Alert.State, done.Alert.Panes)
	}
	for _, tell := range done.Tell {
		fmt.Fprintf(out, "; tell %s %s", tell.Channel, tell.Kind)
	}
	out.WriteByte('\n')
}

func outcome(word string) driftline.PaneOutcome {
	if word == "unsure" {
		return driftline.PaneUnsure
	}
	return driftline.PaneOutcome(word)
}

const layout = "2006-01-02 15:04"

func parse(text string) time.Time {
	t, err := time.Parse(layout, text)
	if err != nil {
		panic(err)
	}
	return t
}

func show(t time.Time) string { return t.UTC().Format(layout) }
