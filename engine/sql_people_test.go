package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/query"
)

// eachSandbox runs a test with SELECTs in worker processes, and in the process itself.
func eachSandbox(t *testing.T, test func(t *testing.T, env *testenv.Env)) {
	t.Run("workers", func(t *testing.T) {
		test(t, testenv.NewWith(t, func(opts *engine.Options) {
			var err error
			if opts.SQL.Command, err = query.WorkerCommand(); err != nil {
				t.Fatal(err)
			}
			opts.SQL.Workers = 1 // the hardest for SELECTs inside of SELECTs
		}))
	})
	t.Run("in process", func(t *testing.T) { test(t, testenv.New(t)) })
}

// sqlText answers a SELECT as text: the names, and a line for each row.
func sqlText(t *testing.T, env *testenv.Env, sql string) (string, error) {
	t.Helper()
	rows, err := env.Engine.SQL(context.Background(), sql, nil)
	if err != nil {
		return "", err
	}
	var names []string
	for _, f := range rows.Schema.Fields() {
		names = append(names, f.Name)
	}
	lines := []string{strings.Join(names, " ")}
	for batch, err := range rows.All {
		if err != nil {
			return "", err
		}
		for i := range int(batch.NumRows()) {
			var cells []string
			for _, column := range batch.Columns() {
				cells = append(cells, column.ValueStr(i))
			}
			lines = append(lines, strings.Join(cells, " "))
		}
	}
	return strings.Join(lines, "\n"), nil
}

func applyWeather(env *testenv.Env) {
	env.Apply(weather)
	env.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "created": "2013-06-01T12:00:00Z", "temp": 20.5, "wind": 7},
		{"origin": "JFK", "event_timestamp": "2013-06-01T08:00:00Z", "created": "2013-06-01T08:00:00Z", "temp": 18, "wind": 5},
		{"origin": "LGA", "event_timestamp": "2013-06-01T09:00:00Z", "created": "2013-06-01T09:00:00Z", "temp": null, "wind": 3}]`)
}

func TestTablesForPeople(t *testing.T) {
	eachSandbox(t, func(t *testing.T, env *testenv.Env) {
		applyWeather(env)
		env.Ingest("weather", `[{"origin": "LGA", "event_timestamp": "2013-06-01T09:00:00Z", "created": "2013-06-01T09:00:00Z", "temp": 1, "wind": 4}]`)
		for _, c := range []struct{ sql, want string }{
			{"SELECT origin, wind FROM FEATURES.Weather ORDER BY ALL", "origin wind\nJFK 5\nJFK 7\nLGA 3\nLGA 4"},
			{"SELECT origin, temp, wind FROM features.weather_latest ORDER BY origin", "origin temp wind\nJFK 20.5 7\nLGA 1 4"},
			{"SELECT count(*) n FROM META.Views", "n\n1"},
			{`SELECT schema, name FROM meta.tables WHERE name LIKE 'weather%' ORDER BY ALL`, "schema name\nfeatures weather\nfeatures weather_latest"},
			{`SELECT name, type FROM meta.columns WHERE "table" = 'weather' ORDER BY position`,
				"name type\norigin utf8\nevent_timestamp timestamp[us, tz=UTC]\ncreated timestamp[us, tz=UTC]\ntemp float64\nwind int64"},
		} {
			got, err := sqlText(t, env, c.sql)
			if err != nil || got != c.want {
				t.Errorf("%s: %v\n%s\nwant\n%s", c.sql, err, got, c.want)
			}
		}
		if plan, err := sqlText(t, env, "EXPLAIN SELECT origin FROM features.weather WHERE temp > 20"); err != nil ||
			!strings.HasPrefix(plan, "explain_key explain_value\nphysical_plan ") || strings.Contains(plan, env.Dir) {
			t.Errorf("EXPLAIN: %v\n%s", err, plan)
		}
		for _, c := range []struct{ sql, want string }{
			{"SELECT tem FROM features.weather", `column "tem" does not exist; did you mean "temp"`},
			{"SELECT * FROM weather", `table "weather" does not exist; did you mean "features.weather"?`},
			{"SELECT * FROM features.wether", `did you mean "weather"?`},
			{"SELECT * FROM things.weather", `SELECT * FROM meta.tables lists them`},
			{"SELECT * FROM meta.views AT (VERSION => 1)", `AT is for features.* only`},
			{"SELECT * FROM features.weather AT (VERSION => 'gold')", `gold`},
			{"SELECT * FROM features.weather AT (TIMESTAMP => '2000-01-01')", `had no rows then; its 4 rows were written later`},
		} {
			if _, err := sqlText(t, env, c.sql); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v\nwant %s", c.sql, err, c.want)
			}
		}
	})
}

func TestAViewCalledLatestIsItself(t *testing.T) {
	env := newWeatherWithRows(t)
	defs := weather
	defs.FeatureViews = append([]driftline.FeatureView(nil), weather.FeatureViews...)
	other := defs.FeatureViews[0]
	other.Name = "weather_latest"
	defs.FeatureViews = append(defs.FeatureViews, other)
	env.Apply(defs)
	if got, err := sqlText(t, env, "SELECT count(*) n FROM features.weather_latest"); err != nil || got != "n\n0" {
		t.Errorf("%q, %v; want no rows, as the view of that name has none", got, err)
	}
}

func TestEarlierStates(t *testing.T) {
	eachSandbox(t, func(t *testing.T, env *testenv.Env) {
		applyWeather(env)
		if _, err := sqlText(t, env, "SELECT * FROM features.weather"); err != nil { // flushes, if need be
			t.Fatal(err)
		}
		view, err := env.Engine.Registry().View("weather")
		if err != nil {
			t.Fatal(err)
		}
		if err := env.Engine.Flush(context.Background(), view); err != nil {
			t.Fatal(err)
		}
		first, err := sqlText(t, env, "SELECT max(snapshot_id) FROM meta.snapshots")
		if err != nil {
			t.Fatal(err)
		}
		_, id, _ := strings.Cut(first, "\n")
		between := env.Clock.Now().Add(time.Hour)
		env.Clock.Set(between.Add(time.Hour))
		env.Ingest("weather", `[{"origin": "EWR", "event_timestamp": "2013-06-01T09:00:00Z", "created": "2013-06-01T09:00:00Z", "temp": 1, "wind": 1}]`)
		for _, c := range []struct{ from, want string }{
			{"features.weather", "4"},
			{"features.weather AT (VERSION => " + id + ")", "3"},
			{fmt.Sprintf("features.weather AT (TIMESTAMP => TIMESTAMP '%s')", between.Format("2006-01-02 15:04:05")), "3"},
			{"features.weather AT (TIMESTAMP => '2013-06-01 01:59:59')", "3"}, // a second before the row in the log
			{"features.weather AT (TIMESTAMP => '2013-06-01 02:00:00')", "4"}, // now
			{"features.weather AT (TIMESTAMP => '2999-01-01')", "4"},
			{"features.weather AT (TIMESTAMP => now())", "4"},
			{"features.weather AT (TIMESTAMP => current_timestamp)", "4"},
			{"features.weather_latest AT (TIMESTAMP => now())", "3"},
			{fmt.Sprintf("features.weather_latest AT (VERSION => %s)", id), "2"},
			{fmt.Sprintf("(SELECT * FROM features.weather EXCEPT SELECT * FROM features.weather AS old AT (VERSION => %s))", id), "1"},
		} {
			if got, err := sqlText(t, env, "SELECT count(*) n FROM "+c.from); err != nil || got != "n\n"+c.want {
				t.Errorf("%s: %q, %v; want %s rows", c.from, got, err, c.want)
			}
		}
	})
}

func TestPointInTimeInSQL(t *testing.T) {
	eachSandbox(t, func(t *testing.T, env *testenv.Env) {
		applyWeather(env)
		const flights = `(SELECT * FROM (VALUES ('JFK', TIMESTAMPTZ '2013-06-01 10:30:00Z', true),
			('JFK', TIMESTAMPTZ '2013-06-01 09:00:00Z', false), ('LGA', TIMESTAMPTZ '2013-06-01 10:30:00Z', true)) f(origin, event_timestamp, late))`
		for _, c := range []struct{ sql, want string }{
			{"SELECT origin, late, temp FROM point_in_time(" + flights + ", features => ['weather:temp']) ORDER BY ALL",
				"origin late temp\nJFK false 18\nJFK true 20.5\nLGA true (null)"},
			{"SELECT temp, weather_lag_2h__temp AS before FROM point_in_time(" + flights + ", features => ['weather:temp', 'weather:temp@2h']) ORDER BY ALL",
				"temp before\n18 (null)\n20.5 18\n(null) (null)"},
			{"SELECT temp FROM point_in_time(" + flights + ", features => ['weather:temp'], known_at => true) ORDER BY ALL",
				"temp\n18\n18\n(null)"},
			{"SELECT late, avg(p.weather__wind) w FROM point_in_time(" + flights + ", features => ['weather:wind'], full_feature_names => true) p GROUP BY late ORDER BY late",
				"late w\nfalse 5\ntrue 5"},
			{"WITH s AS (SELECT * FROM point_in_time(" + flights + ", features => ['weather:temp'])) SELECT count(*) n FROM s JOIN features.weather w USING (origin)", "n\n5"},
			{"SELECT count(*) n FROM point_in_time((SELECT origin, event_timestamp FROM features.weather), features => ['weather:wind']) a, " +
				"point_in_time((SELECT origin, created AS at FROM features.weather), features => ['weather:wind'], event_timestamp => 'at') b", "n\n9"},
		} {
			got, err := sqlText(t, env, c.sql)
			if err != nil || got != c.want {
				t.Errorf("%s: %v\n%s\nwant\n%s", c.sql, err, got, c.want)
			}
		}
		schema, err := env.Engine.SQLSchema(context.Background(), "SELECT * FROM point_in_time("+flights+", features => ['weather:temp'])")
		if err != nil || schema.NumFields() != 4 || schema.Field(3).Name != "temp" {
			t.Errorf("schema %v, %v", schema, err)
		}
		for _, c := range []struct{ sql, want string }{
			{"SELECT * FROM point_in_time(" + flights + ", features => ['weather:tmp'])", `point_in_time: `},
			{"SELECT * FROM point_in_time((SELECT 1 AS origin), features => ['weather:temp'])", `point_in_time: `},
			{"SELECT * FROM point_in_time((SELECT * FROM features.wether), features => ['weather:temp'])", `did you mean "weather"?`},
			{"SELECT * FROM point_in_time((SELECT a.b FROM c), feature => ['weather:temp'])", `did you mean "features"?`},
			{"SELECT * FROM point_in_time((SELECT origin, created FROM features.weather), features => ['weather:temp'])", "add event_timestamp => 'created', or"},
			{"SELECT * FROM point_in_time((SELECT origin FROM features.weather), features => ['weather:temp'])", "add event_timestamp => 'column', or"},
			{"SELECT * FROM point_in_time(" + flights + ", features => ['weather:temp'], event_timestamp => 'at')", `no column "at"`},
			{"SELECT * FROM point_in_time(" + flights + ", features => ['weather:temp@soon'])", "write it like weather:temp@1h"},
			{"SELECT * FROM point_in_time(" + flights + ", features => ['here=weather:temp'])", "declare a feature service"},
			{"SELECT * FROM point_in_time(" + flights + ")", "features => ['view:feature', 'view:feature@1h', …]"},
		} {
			if _, err := sqlText(t, env, c.sql); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v\nwant %s", c.sql, err, c.want)
			}
		}
	})
}
