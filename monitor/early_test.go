package monitor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

func TestEarlyLooksAreAtFixedTimes(t *testing.T) {
	at := func(clock string) time.Time {
		parsed, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 3, 1, parsed.Hour(), parsed.Minute(), 0, 0, time.UTC)
	}
	m := &driftline.Monitor{Window: driftline.Span{Clock: time.Hour}, Early: driftline.Duration(20 * time.Minute), Grace: driftline.Duration(5 * time.Minute),
		Created: at("08:00"), End: at("12:00")}
	schedule, err := monitor.NewSchedule(m)
	if err != nil {
		t.Fatal(err)
	}
	pane := monitor.Pane{Start: at("09:00"), End: at("10:00"), Due: at("10:05")}
	for now, want := range map[string]int{"08:30": 0, "09:00": 0, "09:24": 0, "09:25": 1, "09:44": 1, "09:45": 2, "10:04": 2, "10:05": 0, "11:00": 0} {
		look := schedule.Look(pane, at(now))
		if look.Number != want || want > 0 && (look.Of != 2 || !look.Until.Equal(pane.Start.Add(time.Duration(want)*20*time.Minute))) {
			t.Errorf("at %s: %+v, want look %d of 2", now, look, want)
		}
	}
	if look := schedule.Look(monitor.Pane{Start: at("12:00"), End: at("13:00"), Due: at("13:05")}, at("12:50")); look.Number != 0 {
		t.Errorf("a pane after the end is looked at: %+v", look)
	}
}

func TestEarlyLooksThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		m    driftline.Monitor
		says string
	}{
		{driftline.Monitor{Window: driftline.Span{Clock: time.Hour}, Early: driftline.Duration(time.Hour)}, "less than the window, 1h"},
		{driftline.Monitor{Window: driftline.Span{Clock: time.Hour}, Early: driftline.Duration(-time.Hour)}, "a second at least"},
		{driftline.Monitor{Window: driftline.Span{Days: 1}, Early: driftline.Duration(time.Second)}, "more than 10000 times"},
		{driftline.Monitor{Window: driftline.Span{Days: 1}, Early: driftline.Duration(time.Hour), Schedule: driftline.MonitorSchedule{Cron: "@daily"}}, "has a cron"},
	} {
		if _, err := monitor.NewSchedule(&c.m); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.m, err, c.says)
		}
	}
}
