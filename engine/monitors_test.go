package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/notify"
)

// watchedDay is the first day of June, of which the tests' hours are.
var watchedDay = time.Date(2013, 6, 1, 0, 0, 0, 0, time.UTC)

// newWatched is an engine with a view, whose hours 0 to 5 have rows, of which those of the
// fourth hour drift, and the path of the file that its channel "ops" writes.
func newWatched(t *testing.T) (*testenv.Env, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "notices.jsonl")
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: file}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.NewWith(t, func(o *engine.Options) { o.Channels = channels })
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "sky", Type: driftline.String}},
		}},
	})
	for hour := range 6 {
		shift := 0.0
		if hour == 4 {
			shift = 100
		}
		env.Ingest("weather", hourOf(hour, 400, shift))
	}
	return env, file
}

// hourOf are rows of an hour: temperatures that are the same in each, moved by shift.
func hourOf(hour, rows int, shift float64) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		at := watchedDay.Add(time.Duration(hour)*time.Hour + time.Duration(i)*time.Second)
		fmt.Fprintf(&b, `{"origin": %q, "event_timestamp": %q, "temp": %g, "sky": %q}`,
			[]string{"EWR", "JFK"}[i%2], at.Format(time.RFC3339), float64(i*37%101)+shift, []string{"clear", "rain", "snow"}[i%3])
	}
	return b.String() + "]"
}

func watchHourly() driftline.Monitor {
	margin := 0.3 // 400 rows say of effects that large that they are not there
	return driftline.Monitor{
		Name: "hourly", Source: driftline.MonitorSource{Ref: driftline.ViewRef("weather")},
		Reference: driftline.MonitorReference{From: watchedDay, To: watchedDay.Add(2 * time.Hour)},
		Window:    driftline.Span{Clock: time.Hour}, Grace: driftline.Duration(10 * time.Minute),
		Segments: []driftline.Segment{{Name: "sky is clear", Expression: "sky = 'clear'"}},
		Tests:    driftline.DriftOptions{Margin: &margin},
		Alert:    driftline.AlertRule{Channels: []string{"ops"}},
	}
}

func watch(t *testing.T, env *testenv.Env) {
	t.Helper()
	env.Clock.Set(watchedDay.Add(2 * time.Hour))
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{watchHourly()}})
}

// run evaluates what is due at a time, and says what the panes came to, the oldest first.
func run(t *testing.T, env *testenv.Env, at time.Time) string {
	t.Helper()
	env.Clock.Set(at)
	if _, err := env.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{}); err != nil {
		t.Fatal(err)
	}
	return panesOf(t, env)
}

func panesOf(t *testing.T, env *testenv.Env) string {
	t.Helper()
	panes, err := env.Engine.MonitorPanes(context.Background(), "hourly", time.Time{}, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range panes {
		out = append([]string{fmt.Sprintf("%d:%s/%d", p.Start.Hour(), p.Outcome, p.Evaluation)}, out...)
	}
	return strings.Join(out, " ")
}

func TestPanesAreEvaluatedWhenTheyClose(t *testing.T) {
	env, file := newWatched(t)
	watch(t, env)
	if got := run(t, env, watchedDay.Add(3*time.Hour+9*time.Minute)); got != "" {
		t.Errorf("before its grace is over: %s", got)
	}
	if got, want := run(t, env, watchedDay.Add(6*time.Hour+10*time.Minute)), "2:same/1 3:same/1 4:drift/1 5:same/1"; got != want {
		t.Errorf("panes %s, want %s", got, want)
	}
	alerts, err := env.Engine.Alerts("hourly", "")
	if err != nil || len(alerts) != 1 || alerts[0].State != driftline.AlertResolved || alerts[0].Panes != 1 {
		t.Fatalf("%+v, %v", alerts, err)
	}
	if len(alerts[0].Columns) == 0 || alerts[0].Columns[0].Column != "temp" {
		t.Errorf("columns %+v", alerts[0].Columns)
	}
	if got := delivered(t, env, file, 2); got[0].Kind != driftline.AlertFiring || got[1].Kind != driftline.AlertResolved || got[0].ID == got[1].ID {
		t.Errorf("notices %+v", got)
	}

	report, err := env.Engine.MonitorPane(context.Background(), "hourly", watchedDay.Add(4*time.Hour+time.Minute), 0)
	if err != nil || len(report.Reports) != 3 || report.Reports[0].Report.Columns[0].Column != "temp" {
		t.Fatalf("%+v, %v", report, err)
	}
	if report.Reports[1].Segment != "sky is clear=false" || report.Reports[2].Segment != "sky is clear=true" {
		t.Errorf("segments %q, %q", report.Reports[1].Segment, report.Reports[2].Segment)
	}
}

// TestAnOpenPaneIsLookedAtEarly: drift that is certain raises its alert before the pane
// closes. When it does, its other rows are compared too, once, and no alert changes.
func TestAnOpenPaneIsLookedAtEarly(t *testing.T) {
	env, _ := newWatched(t)
	env.Clock.Set(watchedDay.Add(2 * time.Hour))
	m := watchHourly()
	m.Early = driftline.Duration(5 * time.Minute)
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}})
	at := func(hour, minute int) time.Time {
		return watchedDay.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	if got := run(t, env, at(3, 19)); got != "2:same/1" {
		t.Fatalf("before the first look at an hour that does not drift, and after it: %s", got)
	}
	if got := run(t, env, at(4, 14)); got != "2:same/1 3:same/1" {
		t.Fatalf("before the first look: %s", got)
	}
	if got := run(t, env, at(4, 21)); got != "2:same/1 3:same/1 4:drift/1" {
		t.Fatalf("after two looks: %s", got)
	}
	panes, err := env.Engine.MonitorPanes(context.Background(), "hourly", time.Time{}, 1, false)
	if err != nil || !panes[0].Early.Equal(at(4, 10)) || panes[0].Rows != 400 {
		t.Errorf("%+v, %v", panes, err)
	}
	alerts, err := env.Engine.Alerts("hourly", driftline.AlertFiring)
	if err != nil || len(alerts) != 1 || !alerts[0].To.Equal(at(5, 0)) {
		t.Fatalf("%+v, %v", alerts, err)
	}
	env.Reopen()
	if got := run(t, env, at(5, 9)); got != "2:same/1 3:same/1 4:drift/1" {
		t.Errorf("before it closes: %s", got)
	}
	if got := run(t, env, at(5, 10)); got != "2:same/1 3:same/1 4:drift/2 4:drift/1" {
		t.Errorf("when it closes: %s", got)
	}
	if got := run(t, env, at(6, 11)); got != "2:same/1 3:same/1 4:drift/2 4:drift/1 5:same/1" {
		t.Errorf("afterwards: %s", got)
	}
	if alerts, err = env.Engine.Alerts("hourly", ""); err != nil || len(alerts) != 1 || alerts[0].State != driftline.AlertResolved || alerts[0].Panes != 1 {
		t.Errorf("%+v, %v", alerts, err)
	}
}

// delivered waits until the file has so many notices.
func delivered(t *testing.T, env *testenv.Env, file string, want int) []driftline.Notice {
	t.Helper()
	for range 600 {
		if notices := noticesIn(t, file); len(notices) >= want {
			return notices
		}
		time.Sleep(50 * time.Millisecond)
	}
	pending, err := env.Engine.Notices("")
	t.Fatalf("not delivered: %+v, %v", pending, err)
	return nil
}

func noticesIn(t *testing.T, file string) (notices []driftline.Notice) {
	t.Helper()
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var n driftline.Notice
		if err := json.Unmarshal(lines.Bytes(), &n); err == nil { // the last line may be half written
			notices = append(notices, n)
		}
	}
	return notices
}

// TestACrashBetweenAnyTwoStepsOfAnEvaluation: a pane is evaluated, and its alert raised and
// told, exactly once, wherever the process dies.
func TestACrashBetweenAnyTwoStepsOfAnEvaluation(t *testing.T) {
	for _, step := range engine.EvaluationSteps {
		t.Run(step, func(t *testing.T) {
			env, file := newWatched(t)
			watch(t, env)
			var reached atomic.Bool // by the background, or by what follows
			crash := func() error {
				reached.Store(true)
				return errCrash
			}
			if slices.Contains(engine.EvaluationSteps[3:], step) {
				env.Engine.FailWith(step, crash)
				run(t, env, watchedDay.Add(4*time.Hour+30*time.Minute))
				if err := env.Engine.FlushResults(context.Background()); err != nil && !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
			} else {
				run(t, env, watchedDay.Add(4*time.Hour+30*time.Minute))
				env.Engine.FailWith(step, crash)
				env.Clock.Set(watchedDay.Add(6*time.Hour + 30*time.Minute))
				_, err := env.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{})
				if !errors.Is(err, errCrash) {
					t.Fatalf("the evaluation did not reach the step: %v", err)
				}
			}
			if !reached.Load() {
				t.Fatal("the step was not reached")
			}
			env.Reopen()
			if got, want := run(t, env, watchedDay.Add(6*time.Hour+30*time.Minute)), "2:same/1 3:same/1 4:drift/1 5:same/1"; got != want {
				t.Errorf("panes %s, want %s", got, want)
			}
			if alerts, err := env.Engine.Alerts("", ""); err != nil || len(alerts) != 1 {
				t.Errorf("alerts %+v, %v", alerts, err)
			}
			delivered(t, env, file, 2)
			if n := rowsOfSQL(t, env, "SELECT DISTINCT pane_start, segment, \"column\" FROM meta.drift_results"); n != 4*3*2 {
				t.Errorf("%d results", n)
			}
			if n := rowsOfSQL(t, env, "SELECT 1 FROM meta.drift_results"); n != 4*3*2 {
				t.Errorf("%d results with repetitions", n)
			}
			if err := env.Engine.FlushResults(context.Background()); err != nil {
				t.Error(err)
			}
			if n := rowsOfSQL(t, env, "SELECT 1 FROM meta.drift_results"); n != 4*3*2 {
				t.Errorf("%d results after a flush", n)
			}
			if err := env.Engine.Registry().Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

func rowsOfSQL(t *testing.T, env *testenv.Env, text string) int64 {
	t.Helper()
	rows, err := env.Engine.SQL(context.Background(), text, nil)
	if err != nil {
		t.Fatal(err)
	}
	batches, n, err := rows.Collect()
	driftline.ReleaseAll(batches)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLateRowsAreCountedAndThePaneEvaluatedAgain(t *testing.T) {
	env, _ := newWatched(t)
	watch(t, env)
	run(t, env, watchedDay.Add(4*time.Hour+30*time.Minute))
	env.Ingest("weather", strings.ReplaceAll(hourOf(3, 300, 500), `:0`, `:3`))
	panes, err := env.Engine.MonitorPanes(context.Background(), "hourly", time.Time{}, 10, true)
	if err != nil || panes[0].Late == nil || *panes[0].Late != 300 || panes[1].Late == nil || *panes[1].Late != 0 {
		t.Fatalf("%+v, %v", panes, err)
	}
	again, err := env.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{Pane: watchedDay.Add(3 * time.Hour)})
	if err != nil || len(again) != 1 || again[0].Evaluation != 2 || again[0].Outcome != driftline.PaneDrift {
		t.Fatalf("%+v, %v", again, err)
	}
	if alerts, err := env.Engine.Alerts("", ""); err != nil || len(alerts) != 0 {
		t.Errorf("a pane that was closed raised an alert: %+v, %v", alerts, err)
	}
	first, err := env.Engine.MonitorPane(context.Background(), "hourly", watchedDay.Add(3*time.Hour), 1)
	if err != nil || first.Pane.Outcome != driftline.PaneSame {
		t.Errorf("the first evaluation is %+v, %v", first.Pane, err)
	}
}

func TestAPausedMonitorCatchesUp(t *testing.T) {
	env, _ := newWatched(t)
	watch(t, env)
	if status, err := env.Engine.PauseMonitor("hourly"); err != nil || !status.State.Paused || !status.Next.IsZero() {
		t.Fatalf("%+v, %v", status, err)
	}
	env.Clock.Set(watchedDay.Add(4*time.Hour + 30*time.Minute))
	if _, err := env.Engine.RunMonitor(context.Background(), "hourly", driftline.MonitorRun{}); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("a paused monitor runs: %v", err)
	}
	if _, err := env.Engine.ResumeMonitor("hourly"); err != nil {
		t.Fatal(err)
	}
	if got := run(t, env, watchedDay.Add(4*time.Hour+30*time.Minute)); got != "2:same/1 3:same/1" {
		t.Errorf("panes %s", got)
	}
}

func TestMonitorsInSQL(t *testing.T) {
	env, _ := newWatched(t)
	watch(t, env)
	run(t, env, watchedDay.Add(5*time.Hour+30*time.Minute))
	rows, err := env.Engine.SQL(context.Background(), "SELECT m.phase, a.state, count(*) FROM meta.monitors m JOIN meta.alerts a ON a.monitor = m.name JOIN meta.monitor_panes p ON p.monitor = m.name GROUP BY ALL", nil)
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(b.Column(0).(*array.String).Value(0), b.Column(1).(*array.String).Value(0), b.Column(2)); got != "firingfiring[3]" && got != "firing firing [3]" {
			t.Errorf("%s", got)
		}
	}
}

func TestMonitorsThatThisServerCannotServeAreRefused(t *testing.T) {
	env, _ := newWatched(t)
	for _, change := range []func(*driftline.Monitor){
		func(m *driftline.Monitor) { m.Alert.Channels = []string{"opps"} },
		func(m *driftline.Monitor) { m.Tests.Alpha = 2 },
		func(m *driftline.Monitor) { m.Start = watchedDay.AddDate(-30, 0, 0) },
		func(m *driftline.Monitor) {
			m.Source = driftline.MonitorSource{SQL: "SELECT temp FROM features.weather", TimeColumn: "time"}
		},
		func(m *driftline.Monitor) {
			m.Source = driftline.MonitorSource{SQL: "DROP TABLE features.weather", TimeColumn: "time"}
		},
	} {
		m := watchHourly()
		change(&m)
		_, err := env.Engine.Apply(context.Background(), driftline.Definitions{Monitors: []driftline.Monitor{m}})
		if err == nil || !strings.HasPrefix(err.Error(), `monitor "hourly": `) {
			t.Errorf("%+v: %v", m, err)
		}
	}
}
