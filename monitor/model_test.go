package monitor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

// TestRandomHistories compares the machine with rules that are written down another way:
// over the whole history, for random rules, outcomes and deeds.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(2000) {
		h := newHistory(seed)
		for range 60 {
			if err := h.step(); err != nil {
				t.Fatalf("seed %d, %v\nrule %+v\nhistory %v", seed, err, h.m.Alert, h.log)
			}
		}
	}
}

// history is a monitor with all that ever happened to it.
type history struct {
	random *rand.Rand
	m      driftline.Monitor
	now    time.Time
	state  driftline.MonitorState
	alert  driftline.Alert

	episode []driftline.PaneOutcome // that said something, since the last episode ended
	open    bool
	raised  int
	told    map[string]driftline.AlertState // channel of the alert → what it heard last
	log     []string
}

func newHistory(seed uint64) *history {
	h := &history{random: rand.New(rand.NewPCG(seed, 0)), now: parse("2026-01-01 00:00"), told: map[string]driftline.AlertState{}}
	of := 1 + h.random.IntN(4)
	h.m = driftline.Monitor{
		Name: "m", Window: driftline.Span{Clock: time.Hour}, Created: h.now.Add(time.Duration(h.random.IntN(5)) * time.Hour),
		Alert: driftline.AlertRule{Drifted: 1 + h.random.IntN(of), Of: of, Clear: 1 + h.random.IntN(3), Channels: []string{"a", "b"}[:h.random.IntN(3)]},
	}
	h.state = driftline.MonitorState{Phase: driftline.PhaseOK}
	return h
}

func (h *history) step() error {
	h.now = h.now.Add(time.Hour)
	until := h.now.Add(time.Duration(1+h.random.IntN(6)) * time.Hour)
	switch n := h.random.IntN(20); {
	case n == 0:
		h.log = append(h.log, "quiet")
		h.state.SnoozedUntil = until
		return nil
	case n == 1:
		h.log = append(h.log, "ack")
		return h.deed(monitor.Acknowledge(h.alert, driftline.AlertChange{By: "ann"}, h.now))
	case n == 2:
		h.log = append(h.log, "snooze")
		return h.deed(monitor.Snooze(h.alert, driftline.AlertChange{Until: until}, h.now))
	case n == 3:
		h.log = append(h.log, "resolve")
		done, err := monitor.Resolve(h.state, h.alert, driftline.AlertChange{}, h.now)
		if (err == nil) != h.open {
			return fmt.Errorf("resolve: %v while open is %v", err, h.open)
		}
		if err != nil {
			return nil
		}
		return h.taken(done, true)
	}
	outcomes := []driftline.PaneOutcome{driftline.PaneDrift, driftline.PaneDrift, driftline.PaneSame, driftline.PaneSame, driftline.PaneUnsure, driftline.PaneFailed}
	pane := driftline.MonitorPane{Start: h.now.Add(-time.Hour), End: h.now, Due: h.now, Outcome: outcomes[h.random.IntN(len(outcomes))]}
	h.log = append(h.log, string(pane.Outcome))
	var open *driftline.Alert
	if h.open {
		open = &h.alert
	}
	ends := h.follow(pane.Outcome)
	return h.taken(monitor.Decide(&h.m, h.state, open, &pane, h.now), ends)
}

// follow takes an outcome into the history, and reports whether it ends the episode.
func (h *history) follow(o driftline.PaneOutcome) (ends bool) {
	if o != driftline.PaneDrift && o != driftline.PaneSame {
		return false
	}
	h.episode = append(h.episode, o)
	rule := h.m.Alert
	if !h.open {
		count := 0
		for _, past := range h.episode[max(0, len(h.episode)-rule.Of):] {
			if past == driftline.PaneDrift {
				count++
			}
		}
		if o == driftline.PaneDrift && count >= rule.Drifted {
			h.open, h.raised = true, h.raised+1
			h.told = map[string]driftline.AlertState{}
		}
		return false
	}
	last := h.episode[max(0, len(h.episode)-rule.Clear):]
	return len(last) == rule.Clear && !slices.Contains(last, driftline.PaneDrift)
}

func (h *history) deed(alert driftline.Alert, err error) error {
	if (err == nil) != h.open {
		return fmt.Errorf("deed: %v while open is %v", err, h.open)
	}
	if err == nil {
		h.alert = alert
	}
	return nil
}

// taken compares a decision with the history.
func (h *history) taken(d monitor.Decision, ends bool) error {
	if d.Alert != nil {
		h.alert = *d.Alert
	}
	quiet := h.now.Before(h.state.SnoozedUntil) || h.now.Before(h.m.Created)
	for _, tell := range d.Tell {
		switch heard := h.told[tell.Channel]; {
		case tell.Kind == driftline.AlertResolved && heard != driftline.AlertFiring:
			return fmt.Errorf("%s hears of the end of what it never heard of", tell.Channel)
		case tell.Kind == driftline.AlertFiring && quiet:
			return fmt.Errorf("%s is told in a quiet time", tell.Channel)
		case tell.Kind == driftline.AlertFiring && !h.alert.Acknowledged.IsZero():
			return fmt.Errorf("%s is told of an acknowledged alert", tell.Channel)
		}
		h.told[tell.Channel] = tell.Kind
	}
	loud := d.Alert != nil && !ends && !quiet && h.alert.Acknowledged.IsZero() && !h.now.Before(h.alert.SnoozedUntil)
	if loud && len(h.told) != len(h.m.Alert.Channels) {
		return fmt.Errorf("only %v are told", h.told)
	}
	if ends {
		h.open, h.episode = false, nil
		for channel, heard := range h.told {
			if heard != driftline.AlertResolved {
				return fmt.Errorf("%s is not told of the end", channel)
			}
		}
	}
	h.state = d.State
	switch {
	case h.state.Alerts != h.raised:
		return fmt.Errorf("%d alerts, want %d", h.state.Alerts, h.raised)
	case (h.state.Phase == driftline.PhaseFiring) != h.open, (h.state.Alert != "") != h.open, h.raised > 0 && (h.alert.State == driftline.AlertFiring) != h.open:
		return fmt.Errorf("phase %s, alert %q %s, want open %v", h.state.Phase, h.state.Alert, h.alert.State, h.open)
	}
	return nil
}
