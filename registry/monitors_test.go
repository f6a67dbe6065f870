package registry_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// watched is a monitor of flights that can be applied.
func watched() driftline.Monitor {
	return driftline.Monitor{
		Name:      "weather_daily",
		Source:    driftline.MonitorSource{Ref: driftline.ViewRef("weather")},
		Reference: driftline.MonitorReference{Moving: driftline.Span{Days: 28}},
		Window:    driftline.Span{Days: 1},
		Segments:  []driftline.Segment{{Expression: "airport"}},
		Alert:     driftline.AlertRule{Channels: []string{"ops"}},
	}
}

func TestAMonitorHasVersions(t *testing.T) {
	r := openFlights(t)
	defs := driftline.Definitions{Monitors: []driftline.Monitor{watched()}}
	changes, err := r.Apply(defs)
	if err != nil || describe(changes) != "create monitor/weather_daily@1\n" {
		t.Fatalf("%v, %v", changes, err)
	}
	m, err := r.Monitor("weather_daily")
	if err != nil || m.Version != 1 || m.Source.TimeColumn != "event_timestamp" || m.Created.IsZero() {
		t.Fatalf("%+v, %v", m, err)
	}
	if changes, err = r.Apply(defs); err != nil || changes[0].Action != driftline.ChangeNone {
		t.Fatalf("again: %v, %v", changes, err)
	}
	defs.Monitors[0].Window, defs.Monitors[0].Grace = driftline.Span{Clock: time.Hour}, driftline.Duration(time.Minute)
	changes, err = r.Apply(defs)
	if err != nil || describe(changes) != "update monitor/weather_daily@2 window: 1d → 1h, grace: 0s → 1m0s\n" {
		t.Fatalf("%v, %v", describe(changes), err)
	}
	versions, err := r.MonitorVersions("weather_daily")
	if err != nil || len(versions) != 2 || versions[0].Window != (driftline.Span{Days: 1}) || !versions[1].Created.Equal(versions[0].Created) {
		t.Errorf("%+v, %v", versions, err)
	}
	lineage, err := r.Lineage(driftline.MonitorRef("weather_daily", 0), driftline.Up, 1)
	if err != nil || lineage.Root != driftline.MonitorRef("weather_daily", 2) || len(lineage.Edges) != 1 || lineage.Edges[0].Kind != "watches" {
		t.Errorf("%+v, %v", lineage, err)
	}
}

func TestMonitorsThatCanNeverWorkAreRefused(t *testing.T) {
	r := openFlights(t)
	for _, c := range []struct {
		change func(*driftline.Monitor)
		code   driftline.Code
		words  string
	}{
		{func(m *driftline.Monitor) { m.Name = "Daily" }, driftline.Invalid, "monitor name"},
		{func(m *driftline.Monitor) { m.Source.SQL = "SELECT 1" }, driftline.Invalid, "source needs either"},
		{func(m *driftline.Monitor) { m.Source.Ref = driftline.ViewRef("wether") }, driftline.NotFound, `did you mean "weather"?`},
		{func(m *driftline.Monitor) { m.Source.Ref = driftline.RunRef("a-1") }, driftline.Invalid, "not a table"},
		{func(m *driftline.Monitor) { m.Source = driftline.MonitorSource{SQL: "SELECT 1"} }, driftline.Invalid, "time_column is missing"},
		{func(m *driftline.Monitor) { m.Reference.SameWeekday = 4 }, driftline.Invalid, "reference has 2"},
		{func(m *driftline.Monitor) { m.Reference = driftline.MonitorReference{} }, driftline.Invalid, "reference has 0"},
		{func(m *driftline.Monitor) { m.Reference = driftline.MonitorReference{From: noon} }, driftline.Invalid, "reference.from"},
		{func(m *driftline.Monitor) {
			m.Reference, m.Window = driftline.MonitorReference{SameWeekday: 4}, driftline.Span{Months: 1}
		}, driftline.Invalid, "a day at most"},
		{func(m *driftline.Monitor) {
			m.Reference = driftline.MonitorReference{Ref: driftline.DatasetRef("none", 1)}
		}, driftline.NotFound, "none"},
		{func(m *driftline.Monitor) { m.Window = driftline.Span{} }, driftline.Invalid, "window is missing"},
		{func(m *driftline.Monitor) { m.Schedule.Cron = "every day" }, driftline.Invalid, "schedule.cron"},
		{func(m *driftline.Monitor) { m.Schedule.TimeZone = "Mars/Olympus" }, driftline.Invalid, "time_zone"},
		{func(m *driftline.Monitor) { m.Segments[0].Expression = "" }, driftline.Invalid, "has no expression"},
		{func(m *driftline.Monitor) { m.Segments = append(m.Segments, m.Segments[0]) }, driftline.Invalid, "given twice"},
		{func(m *driftline.Monitor) { m.Alert.Drifted, m.Alert.Of = 3, 2 }, driftline.Invalid, "3 of 2"},
		{func(m *driftline.Monitor) { m.Alert.Severity = "warn" }, driftline.NotFound, `"warn" does not exist`},
		{func(m *driftline.Monitor) { m.Alert.Channels = []string{"ops", "ops"} }, driftline.Invalid, "listed twice"},
		{func(m *driftline.Monitor) { m.Budget = &driftline.AlarmBudget{Alarms: -1, Per: 1} }, driftline.Invalid, "budget"},
	} {
		m := watched()
		m.Segments, m.Alert.Channels = slices.Clone(m.Segments), slices.Clone(m.Alert.Channels)
		c.change(&m)
		_, err := r.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}})
		wantError(t, err, c.code, c.words)
		if err != nil && m.Name != "Daily" && !strings.HasPrefix(err.Error(), `monitor "weather_daily": `) {
			t.Errorf("error %q does not begin with the monitor", err)
		}
	}
	if len(r.Monitors()) != 0 {
		t.Error("a refused monitor was registered")
	}
}

// TestTheLedgerKeepsNoValues: what an evaluation found in the data is not in the ledger,
// which never forgets.
func TestTheLedgerKeepsNoValues(t *testing.T) {
	r := openFlights(t)
	must(t)(r.Apply(driftline.Definitions{Monitors: []driftline.Monitor{watched()}}))
	columns := []driftline.DriftColumn{{Segment: "airport=SECRET", Column: "temp"}}
	tx := r.Begin()
	defer tx.Discard()
	state, err := tx.MonitorState("weather_daily")
	must(t)(nil, err)
	state.Error = "SECRET is not a number"
	pane := driftline.MonitorPane{Monitor: "weather_daily", Version: 1, Columns: columns, Error: state.Error}
	must(t)(tx.AddEvaluation(pane, &state, nil))
	must(t)(tx.ChangeAlert("raised", driftline.Alert{ID: "weather_daily-1", Monitor: "weather_daily", Version: 1, Summary: "SECRET", Columns: columns}))
	must(t)(nil, tx.Commit())
	for line, err := range r.Lines(1) {
		if err != nil || strings.Contains(string(line.Body), "SECRET") {
			t.Errorf("line %d: %s, %v", line.Sequence, line.Body, err)
		}
	}
	if len(pane.Columns) != 1 {
		t.Error("the caller's pane was changed")
	}
}
