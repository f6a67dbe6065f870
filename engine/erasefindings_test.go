package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/notify"
)

// newWatchedVisits is an engine whose monitor has found that one person makes all the
// difference: in the categories of a column, in a segment, in a slice and at the end of a range.
func newWatchedVisits(t *testing.T) *testenv.Env {
	t.Helper()
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: filepath.Join(t.TempDir(), "notices")}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.NewWith(t, func(o *engine.Options) { o.Channels = channels })
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "person", JoinKeys: []driftline.Field{{Name: "person", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "visits", Entities: []driftline.EntityName{"person"},
			Features: []driftline.Field{{Name: "city", Type: driftline.String}, {Name: "spent", Type: driftline.Float64}}}},
	})
	env.Ingest("visits", visitsOf(0, false))
	env.Clock.Set(watchedDay.Add(time.Hour))
	margin := 0.1
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{{
		Name: "visits_hourly", Source: driftline.MonitorSource{Ref: driftline.ViewRef("visits")},
		Reference: driftline.MonitorReference{From: watchedDay, To: watchedDay.Add(time.Hour)},
		Window:    driftline.Span{Clock: time.Hour}, Tests: driftline.DriftOptions{Margin: &margin},
		Segments: []driftline.Segment{{Name: "who", Expression: "person"}, {Expression: "spent > 50"}},
		Alert:    driftline.AlertRule{Channels: []string{"ops"}},
	}}})
	env.Ingest("visits", visitsOf(1, true))
	env.Clock.Set(watchedDay.Add(2 * time.Hour))
	panes, err := env.Engine.RunMonitor(context.Background(), "visits_hourly", driftline.MonitorRun{})
	if err != nil || len(panes) != 1 || panes[0].Outcome != driftline.PaneDrift {
		t.Fatalf("%+v, %v", panes, err)
	}
	return env
}

// visitsOf are the visits of an hour: 600 of three people, and of the marker, who is like
// them, or 200 of a marker who is not.
func visitsOf(hour int, withMarker bool) string {
	var rows []string
	add := func(i int, person, city string, spent float64) {
		at := watchedDay.Add(time.Duration(hour)*time.Hour + time.Duration(i)*time.Second)
		rows = append(rows, fmt.Sprintf(`{"person": %q, "event_timestamp": %q, "city": %q, "spent": %g}`, person, at.Format(time.RFC3339), city, spent))
	}
	for i := range 600 {
		add(i, []string{"ann", "ben", "cem"}[i%3], []string{"Rome", "Oslo"}[i/3%2], float64(i*37%101))
	}
	for i := range 200 {
		switch {
		case withMarker:
			add(600+i, marker, marker+" street", 1000+float64(i))
		case i < 100:
			add(600+i, marker, "Rome", float64(i))
		}
	}
	return "[" + strings.Join(rows, ",") + "]"
}

// findings is all that is known of what the monitor found, as text.
func findings(t *testing.T, env *testenv.Env) string {
	t.Helper()
	report, err := env.Engine.MonitorPane(context.Background(), "visits_hourly", watchedDay.Add(90*time.Minute), 0)
	if err != nil {
		t.Fatal(err)
	}
	alert, err := env.Engine.Alert("visits_hourly-1")
	if err != nil {
		t.Fatal(err)
	}
	notices, err := env.Engine.Notices("")
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal([]any{report, alert, notices})
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// checkFindings: what only the person had is nowhere, and what others have too stays, with
// all numbers.
func checkFindings(t *testing.T, env *testenv.Env) {
	t.Helper()
	found := findings(t, env)
	for text, want := range map[string]bool{
		marker: false, "1199": false, "who=(erased)": true, "who=ann": true, "spent \\u003e 50=true": true, `"Rome"`: true, `"(erased)"`: true,
	} {
		if strings.Contains(found, text) != want {
			t.Errorf("the findings have %q: %v, want %v\n%s", text, !want, want, found)
		}
	}
	report, err := env.Engine.MonitorPane(context.Background(), "visits_hourly", watchedDay.Add(90*time.Minute), 0)
	if err != nil || report.Pane.Rows != 800 || len(report.Reports) != 1+4+2 {
		t.Fatalf("%+v, %v", report.Pane, err)
	}
	whole := report.Reports[0].Report
	city := whole.Columns[slices.IndexFunc(whole.Columns, func(c driftline.ColumnDrift) bool { return c.Column == "city" })]
	if city.Verdict != driftline.Drift || !(city.Effect > 0.3) || len(city.Histogram.Current) != 3 || slices.Max(city.Histogram.Current) != 300 {
		t.Errorf("city is now %+v", city)
	}
}

func TestErasureTakesNamesOutOfFindings(t *testing.T) {
	env := newWatchedVisits(t)
	ctx := context.Background()
	for _, text := range []string{marker, "who=" + marker, "1199", "worst where"} {
		if found := findings(t, env); !strings.Contains(found, text) {
			t.Fatalf("%q is nowhere to begin with: %s", text, found)
		}
	}
	done, err := env.Engine.Erase(ctx, eraseMarker())
	if err != nil || done.Findings != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkFindings(t, env)
	env.Reopen()
	if err := env.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range filesWith(t, env.Dir, marker) {
		t.Errorf("%s still has the marker", path)
	}
	env.Reopen()
	checkFindings(t, env)
	if n := rowsOfSQL(t, env, "SELECT 1 FROM meta.drift_results WHERE segment = 'who=(erased)'"); n != 2 {
		t.Errorf("%d results of the segment, want one for each column", n)
	}
	if again, err := env.Engine.Erase(ctx, eraseMarker()); err != nil || again.Findings != 0 {
		t.Errorf("erasing again answered %+v, %v", again, err)
	}
}

// Findings of other tables, and of people who are like others, stay as they are.
func TestErasureLeavesFindingsThatNameNobody(t *testing.T) {
	env := newWatchedVisits(t)
	before := findings(t, env)
	done, err := env.Engine.Erase(context.Background(), driftline.ErasureRequest{Entity: "person", Keys: map[string]string{"person": "ben"}})
	if err != nil {
		t.Fatal(err)
	}
	after := strings.ReplaceAll(findings(t, env), "who=(erased)", "who=ben")
	if done.Findings != 1 || before != after {
		at := 0
		for at < min(len(before), len(after)) && before[at] == after[at] {
			at++
		}
		t.Errorf("%+v: before\n%.300s\nafter\n%.300s", done, before[at:], after[at:])
	}
}

func TestErasureOfFindingsSurvivesACrash(t *testing.T) {
	for _, step := range engine.FindingsSteps {
		t.Run(step, func(t *testing.T) {
			env := newWatchedVisits(t)
			crash := errors.New("crash")
			env.Engine.FailAt(step, crash)
			if _, err := env.Engine.Erase(context.Background(), eraseMarker()); !errors.Is(err, crash) {
				t.Fatalf("the erasure ended with %v", err)
			}
			env.Reopen()
			checkFindings(t, env)
		})
	}
}
