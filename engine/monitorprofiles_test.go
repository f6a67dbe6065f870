package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// hourWindow is the kept profile of an hour of the monitor.
func hourWindow(hour int) driftline.ProfileWindow {
	start := watchedDay.Add(time.Duration(hour) * time.Hour)
	return driftline.ProfileWindow{Source: "monitor/hourly", Start: start, End: start.Add(time.Hour)}
}

// comparedHours says how two hours compare by what is kept of them.
func comparedHours(t *testing.T, env *testenv.Env, reference, current int) string {
	t.Helper()
	margin := 0.3
	report, err := env.Engine.CompareProfiles(t.Context(), driftline.ProfileComparison{
		Reference: hourWindow(reference), Current: hourWindow(current), DriftOptions: driftline.DriftOptions{Margin: &margin},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range report.Columns {
		out = append(out, fmt.Sprintf("%s %s %v", c.Column, c.Verdict, c.Statistic))
	}
	return strings.Join(out, ", ")
}

func TestPanesAreComparedWithoutTheirRows(t *testing.T) {
	env, _ := newWatched(t)
	watch(t, env)
	run(t, env, watchedDay.Add(6*time.Hour+10*time.Minute))
	panes, err := env.Engine.Profiles(t.Context(), driftline.ProfileWindow{Source: "monitor/hourly"})
	if err != nil || len(panes) != 4 || panes[0].Rows != 400 || panes[0].Columns != 2 {
		t.Fatalf("%+v, %v", panes, err)
	}
	same := "sky same 0, temp same 0"
	if got := comparedHours(t, env, 2, 5); got != same && got != "temp same 0, sky same 0" {
		t.Errorf("hour 5 against hour 2: %s", got)
	}
	if got := comparedHours(t, env, 3, 4); !strings.HasPrefix(got, "temp drift 0.9") {
		t.Errorf("hour 4 against hour 3: %s", got)
	}
	for query, want := range map[string]string{
		"SELECT hour(pane_start), rows, columns, \"table\" FROM meta.profiles WHERE source = 'monitor/hourly' ORDER BY pane_start": "" +
			"2 400 2 view/weather; 3 400 2 view/weather; 4 400 2 view/weather; 5 400 2 view/weather",
		"SELECT \"column\", kind, rows, nulls, min, max, most_frequent, most_frequent_rows FROM meta.profile_columns WHERE hour(pane_start) >= 4 ORDER BY pane_start, \"column\"": "" +
			"sky categorical 400 0 (null) (null) clear 134; temp numeric 400 0 100 200 (null) (null); " +
			"sky categorical 400 0 (null) (null) clear 134; temp numeric 400 0 0 100 (null) (null)",
		"SELECT bool_and(median_low <= mean + 5 AND mean - 5 <= median_high AND std_dev > 20) FROM meta.profile_columns WHERE kind = 'numeric'": "true",
	} {
		if got := rowsAsText(t, env, query); got != want {
			t.Errorf("%s:\n got %s\nwant %s", query, got, want)
		}
	}
}

// rowsAsText runs a SELECT, and says what it came to.
func rowsAsText(t *testing.T, env *testenv.Env, query string) string {
	t.Helper()
	rows, err := env.Engine.SQL(t.Context(), query, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for batch, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(batch.NumRows()) {
			var cells []string
			for _, column := range batch.Columns() {
				cells = append(cells, column.ValueStr(row))
			}
			out = append(out, strings.Join(cells, " "))
		}
	}
	return strings.Join(out, "; ")
}

func TestAPaneThatIsEvaluatedAgainIsProfiledAgain(t *testing.T) {
	env, _ := newWatched(t)
	watch(t, env)
	run(t, env, watchedDay.Add(4*time.Hour+10*time.Minute))
	env.Ingest("weather", strings.ReplaceAll(hourOf(2, 100, 0), "EWR", "LGA"))
	if _, err := env.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{Pane: watchedDay.Add(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	p, err := env.Engine.ProfileOf(t.Context(), hourWindow(2))
	if err != nil || p.Rows != 500 || p.Panes != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A monitor keeps the profiles of as many panes as it says, the newest ones.
func TestAMonitorKeepsAsManyProfilesAsItSays(t *testing.T) {
	env, _ := newWatched(t)
	m := watchHourly()
	m.KeepProfiles = 2
	env.Clock.Set(watchedDay.Add(2 * time.Hour))
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}})
	kept := func() (hours []int) {
		t.Helper()
		panes, err := env.Engine.Profiles(t.Context(), driftline.ProfileWindow{Source: "monitor/hourly"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range panes {
			hours = append(hours, p.Start.Hour())
		}
		return hours
	}
	run(t, env, watchedDay.Add(6*time.Hour+10*time.Minute))
	if got := kept(); !slices.Equal(got, []int{4, 5}) {
		t.Errorf("of four panes the profiles of hours %v are kept", got)
	}
	m.KeepProfiles = driftline.MostKeptProfiles + 1
	_, err := env.Engine.Apply(t.Context(), driftline.Definitions{Monitors: []driftline.Monitor{m}})
	if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), "keep_profiles is 100001, want 1 to 100000 panes") {
		t.Errorf("%v", err)
	}
}
