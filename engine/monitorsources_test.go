package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// delaysOf is a SELECT of 400 rows a day from Monday, 2013-06-03 on. On Saturdays values are
// moved by 2, and from the day with the number moved on by 2 more, where where is true.
func delaysOf(moved int, where string) string {
	return fmt.Sprintf(`
	WITH drawn AS (
		SELECT i // 400 AS day, hash(i) AS h, hash(i + 1000000) AS g,
			TIMESTAMPTZ '2013-06-03 00:00:00+00' + to_seconds(i // 400 * 86400 + i %% 400 * 200) AS seen
		FROM range(24000) r(i)
	), named AS (
		SELECT *, 'c' || h %% 4 AS carrier, 'o' || g %% 3 AS origin, (h // 7) %% 24 AS hour FROM drawn
	)
	SELECT seen, carrier, origin, hour,
		((h // 100) %% 1000 + (g // 100) %% 1000) / 500.0 + CASE WHEN day %% 7 = 5 THEN 2 ELSE 0 END
			+ CASE WHEN day >= %d AND %s THEN 2 ELSE 0 END AS delay
	FROM named`, moved, where)
}

// dayOf is the day with the number n.
func dayOf(n int) time.Time { return time.Date(2013, 6, 3+n, 0, 0, 0, 0, time.UTC) }

func watchDaily(sql string, reference driftline.MonitorReference) driftline.Monitor {
	margin := 0.2
	return driftline.Monitor{Name: "daily", Source: driftline.MonitorSource{SQL: sql, TimeColumn: "seen"}, Reference: reference,
		Window: driftline.Span{Days: 1}, Start: dayOf(28), Tests: driftline.DriftOptions{Margin: &margin, Columns: []string{"delay"}},
	}
}

// evaluated applies a monitor, evaluates its panes up to the day with that number, and
// returns them, the oldest first.
func evaluated(t *testing.T, env *testenv.Env, m driftline.Monitor, until int) []driftline.MonitorPane {
	t.Helper()
	env.Clock.Set(dayOf(28))
	env.Apply(driftline.Definitions{Monitors: []driftline.Monitor{m}})
	env.Clock.Set(dayOf(until))
	if _, err := env.Engine.RunMonitor(context.Background(), m.Name, driftline.MonitorRun{}); err != nil {
		t.Fatal(err)
	}
	panes, err := env.Engine.MonitorPanes(context.Background(), m.Name, time.Time{}, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(panes)-1; i < j; i, j = i+1, j-1 {
		panes[i], panes[j] = panes[j], panes[i]
	}
	return panes
}

// outcomesOf is a letter for each pane: d for drift, s for same, and - for the rest.
func outcomesOf(panes []driftline.MonitorPane) string {
	var out strings.Builder
	for _, p := range panes {
		switch p.Outcome {
		case driftline.PaneDrift:
			out.WriteByte('d')
		case driftline.PaneSame:
			out.WriteByte('s')
		default:
			out.WriteByte('-')
		}
	}
	return out.String()
}

// saveDaily keeps the first five days as a dataset.
func saveDaily(t *testing.T, env *testenv.Env) *driftline.Dataset {
	t.Helper()
	env.Apply(driftline.Definitions{
		Entities:     []driftline.Entity{{Name: "carrier", JoinKeys: []driftline.Field{{Name: "carrier", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "carriers", Entities: []driftline.EntityName{"carrier"}, Features: []driftline.Field{{Name: "fleet", Type: driftline.Int64}}}},
	})
	return save(t, env, driftline.HistoricalRequest{SaveAs: "first_days", FeatureSet: driftline.FeatureSet{Features: []string{"carriers:fleet"}},
		Spine: &driftline.SpineSource{SQL: "SELECT seen AS event_timestamp, * EXCLUDE (seen) FROM (" + delaysOf(99, "true") + ") WHERE seen < TIMESTAMPTZ '2013-06-08 00:00:00+00'"}}, driftline.Batches{})
}

// Each reference finds what it is for: Saturdays differ from the days before them, and not
// from other Saturdays.
func TestPanesAreComparedWithTheirReference(t *testing.T) {
	env := testenv.New(t)
	dataset := saveDaily(t, env)
	for _, c := range []struct {
		name      string
		reference driftline.MonitorReference
		want      string // Monday to Sunday, and the same once more, moved
		rows      int64  // of the first pane's reference
		about     string
	}{
		{"the same weekday", driftline.MonitorReference{SameWeekday: 3}, "sssssss" + "ddddddd", 3 * 400, "the same Monday of the last 3 weeks"},
		{"the weeks before, less a day", driftline.MonitorReference{Moving: driftline.Span{Days: 14}, Gap: driftline.Span{Days: 1}},
			"sssssds" + "ddddddd", 14 * 400, "2013-06-16T00:00:00Z to 2013-06-30T00:00:00Z"},
		{"a fixed window", driftline.MonitorReference{From: dayOf(0), To: dayOf(5)}, "sssssds" + "ddddddd", 5 * 400, "2013-06-03T00:00:00Z to 2013-06-08T00:00:00Z"},
		{"a version of a dataset", driftline.MonitorReference{Ref: driftline.DatasetRef("first_days", dataset.Version)}, "sssssds" + "ddddddd", 5 * 400, "dataset/first_days@1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := env
			if c.reference.Ref == (driftline.Ref{}) {
				env = testenv.New(t)
			}
			panes := evaluated(t, env, watchDaily(delaysOf(35, "true"), c.reference), 42)
			if got := outcomesOf(panes); got != c.want {
				t.Errorf("outcomes %s, want %s", got, c.want)
			}
			if p := panes[0]; p.Rows != 400 || p.ReferenceRows != c.rows || p.Reference != c.about {
				t.Errorf("%d rows beside %d of %q, want 400 beside %d of %q", p.Rows, p.ReferenceRows, p.Reference, c.rows, c.about)
			}
		})
	}
}

// A monitor that is over evaluates the panes up to its end, and has no next one.
func TestAMonitorEnds(t *testing.T) {
	env := testenv.New(t)
	m := watchDaily(delaysOf(99, "true"), driftline.MonitorReference{SameWeekday: 2})
	m.End = dayOf(31).Add(12 * time.Hour)
	if got := outcomesOf(evaluated(t, env, m, 40)); got != "sss" {
		t.Errorf("outcomes %s, want those of three days", got)
	}
	status, err := env.Engine.Monitor("daily")
	if err != nil || !status.Next.IsZero() || status.State.Phase != driftline.PhaseOK {
		t.Errorf("%+v, %v", status, err)
	}
	m.End = time.Time{}
	if got := outcomesOf(evaluated(t, env, m, 34)); got != "ssssss" {
		t.Errorf("after its end was taken away: %s", got)
	}
	m.Start, m.End = dayOf(40), dayOf(40)
	_, err = env.Engine.Apply(context.Background(), driftline.Definitions{Monitors: []driftline.Monitor{m}})
	if err == nil || !strings.Contains(err.Error(), "end 2013-07-13T00:00:00Z is not after start") {
		t.Errorf("%v", err)
	}
}

// Only the flights of one carrier from one origin are late: the alert says so.
func TestAnAlertNamesTheWorstSlices(t *testing.T) {
	env := testenv.New(t)
	m := watchDaily(delaysOf(30, "carrier = 'c1' AND origin = 'o2'"), driftline.MonitorReference{Moving: driftline.Span{Days: 14}, Gap: driftline.Span{Days: 7}})
	m.Tests.Margin = nil
	m.Window = driftline.Span{Days: 7} // from Monday, the day 28
	panes := evaluated(t, env, m, 36)
	if got := outcomesOf(panes); got != "d" {
		t.Fatalf("outcomes %s", got)
	}
	worst := panes[0].Slices
	if len(worst) == 0 {
		t.Fatal("no slice is named")
	}
	s := worst[0]
	if strings.Join(s.Conditions, " and ") != "carrier = c1 and origin = o2" || s.Column != "delay" || !strings.HasPrefix(s.Change, "delay > ") {
		t.Errorf("the worst slice is %+v", s)
	}
	if !(s.QValue < 1e-6) || !(s.After > s.Before+0.3) || !(s.Excess.Low > 0.2) {
		t.Errorf("its evidence is %+v", s)
	}
	rows, err := env.Engine.SQL(context.Background(), fmt.Sprintf("SELECT count(*) FROM (%s) WHERE seen >= TIMESTAMPTZ '%s' AND seen < TIMESTAMPTZ '%s' AND %s", m.Source.SQL,
		panes[0].Start.Format(time.RFC3339), panes[0].End.Format(time.RFC3339), s.Where), nil)
	if err != nil {
		t.Fatal(err)
	}
	batches, _, err := rows.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(batches)
	if n := batches[0].Column(0).(*array.Int64).Value(0); n != s.Rows {
		t.Errorf("%q selects %d rows, the slice has %d", s.Where, n, s.Rows)
	}

	alerts, err := env.Engine.Alerts("daily", driftline.AlertFiring)
	if err != nil || len(alerts) != 1 || len(alerts[0].Slices) != len(worst) || !strings.HasSuffix(alerts[0].Summary, "; worst where carrier = c1 and origin = o2") {
		t.Errorf("%+v, %v", alerts, err)
	}
	if _, err := env.Engine.Apply(context.Background(), driftline.Definitions{Monitors: []driftline.Monitor{off(m)}}); err != nil {
		t.Fatal(err)
	}
	again, err := env.Engine.RunMonitor(context.Background(), "daily", driftline.MonitorRun{Pane: panes[0].Start})
	if err != nil || len(again[0].Slices) != 0 {
		t.Errorf("slices that nobody wants: %+v, %v", again, err)
	}
}

func off(m driftline.Monitor) driftline.Monitor {
	m.Slices.Off = true
	return m
}

// Where all rows drift alike, no rows are worse than others, and no more are named than
// chance allows, though many are searched.
func TestSlicesOfAnEvenDriftAreSeldomNamed(t *testing.T) {
	env := testenv.New(t)
	panes := evaluated(t, env, watchDaily(delaysOf(28, "true"), driftline.MonitorReference{From: dayOf(0), To: dayOf(5)}), 58)
	named := 0
	for _, p := range panes {
		if p.Outcome != driftline.PaneDrift {
			t.Errorf("%s is %s", p.Start, p.Outcome)
		}
		if len(p.Slices) > 0 {
			named++
		}
	}
	if len(panes) != 30 || named > 5 { // 1.5 are expected, and more than 5 have a chance of 0.3 %
		t.Errorf("slices are named in %d of %d panes", named, len(panes))
	}
}
