package monitor_test

import (
	"math"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/monitor"
)

func TestLevels(t *testing.T) {
	const day = 24 * time.Hour
	hourly := driftline.Span{Clock: time.Hour}
	segments := []driftline.Segment{{Expression: "origin"}, {Expression: "carrier"}}
	budget := &driftline.AlarmBudget{Alarms: 1, Per: driftline.Duration(30 * day)}
	for _, c := range []struct {
		name string
		m    driftline.Monitor
		want float64
	}{
		{"without a budget, alpha", driftline.Monitor{Window: hourly}, 0.05},
		{"hourly", driftline.Monitor{Window: hourly, Budget: budget}, 1.0 / 720},
		{"daily", driftline.Monitor{Window: driftline.Span{Days: 1}, Budget: budget}, 1.0 / 30},
		{"never above alpha", driftline.Monitor{Window: driftline.Span{Days: 7}, Budget: budget}, 0.05},
		{"a day that is looked at every hour", driftline.Monitor{Window: driftline.Span{Days: 1}, Budget: budget,
			Schedule: driftline.MonitorSchedule{Cron: "@hourly"}}, 1.0 / 720},
		{"shared by all rows and two segments", driftline.Monitor{Window: hourly, Budget: budget, Segments: segments}, 1.0 / 720 / 3},
		{"shared with the columns together", driftline.Monitor{Window: hourly, Budget: budget,
			Tests: driftline.DriftOptions{Multivariate: []string{"mmd"}}}, 1.0 / 720 / 2},
	} {
		c.m.Created = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		schedule, err := monitor.NewSchedule(&c.m)
		if err != nil {
			t.Fatal(err)
		}
		if got := schedule.Level(&c.m, 0.05, schedule.Next(time.Time{})); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: level %v, want %v", c.name, got, c.want)
		}
	}
}

// The levels of a month's panes sum up to the budget, also where days have 23 and 25 hours.
func TestLevelsOfAYearSumUpToTheBudget(t *testing.T) {
	m := &driftline.Monitor{Window: driftline.Span{Days: 1}, Budget: &driftline.AlarmBudget{Alarms: 1, Per: driftline.Duration(30 * 24 * time.Hour)},
		Schedule: driftline.MonitorSchedule{TimeZone: "Europe/Berlin"}, Created: time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)}
	schedule, err := monitor.NewSchedule(m)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	pane := schedule.Next(time.Time{})
	for range 365 {
		sum += schedule.Level(m, 1, pane)
		pane = schedule.Next(pane.End)
	}
	if math.Abs(sum-365.0/30) > 1e-9 {
		t.Errorf("levels sum up to %v, want %v", sum, 365.0/30)
	}
}
