package engine_test

import (
	"context"
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

// airports writes a row for each of n airports an hour ago, half of them in files.
func airports(t *testing.T, env *testenv.Env, n int) {
	rows := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf(`{"origin": "A%03d", "event_timestamp": "2013-05-31T23:00:00Z", "created": "2013-05-31T23:00:00Z", "temp": %d}`, i, i))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	env.Ingest("weather", rows(0, n/2))
	flush(t, env)
	env.Ingest("weather", rows(n/2, n))
}

func checkWeather(t *testing.T, env *testenv.Env) driftline.ViewCheck {
	t.Helper()
	report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{"weather"}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return report.Views[0]
}

func TestCheckFindsNoDifferenceWhereThereIsNone(t *testing.T) {
	env := newWeather(t)
	if got := checkWeather(t, env); got.Skipped != "it has no rows" {
		t.Errorf("%+v", got)
	}
	airports(t, env, 40)
	got := checkWeather(t, env)
	if got.Differences != 0 || got.Entities != 40 || got.Values < 40*4 {
		t.Errorf("%+v, want every airport at several times, and no difference", got)
	}
	env.Reopen()
	last, ok := env.Engine.Registry().Checked("weather")
	if !ok || last.Values != got.Values || last.Examples != nil {
		t.Errorf("the ledger has %+v, want the check without examples", last)
	}
	if text, err := sqlText(t, env, "SELECT view, differences FROM meta.checks"); err != nil || text != "view differences\nweather 0" {
		t.Errorf("%s, %v", text, err)
	}
}

// Whichever store is at fault, the check names what it found.
func TestCheckCatchesAFaultInEitherStore(t *testing.T) {
	const row = `[{"origin": %q, "event_timestamp": "2013-05-31T23:00:00Z", "created": "2013-05-31T23:00:00Z", "temp": 99}]`
	for _, c := range []struct {
		fault   string
		inject  func(env *testenv.Env) error
		example string
	}{
		{"an online value is another", func(env *testenv.Env) error {
			view, err := env.Engine.Registry().View("weather")
			if err != nil {
				return err
			}
			return env.Engine.PutOnlineOnly("weather", env.Rows(view.Schema(), fmt.Sprintf(row, "A007")))
		}, "map[origin:A007] weather__temp: 99 online, 7 offline"},
		{"an entity is online only", func(env *testenv.Env) error {
			view, err := env.Engine.Registry().View("weather")
			if err != nil {
				return err
			}
			return env.Engine.PutOnlineOnly("weather", env.Rows(view.Schema(), fmt.Sprintf(row, "A007x")))
		}, "map[origin:A007x] weather__temp: 99 online, (null) offline"},
		{"online rows are lost", func(env *testenv.Env) error { return env.Engine.LoseOnline("weather") },
			"weather__temp: (null) online"},
		{"rows of the log are lost", func(env *testenv.Env) error {
			env.Engine.LoseLog("weather")
			return nil
		}, "(null) offline"},
		{"files are lost", func(env *testenv.Env) error {
			if err := env.Engine.ForgetSnapshots(context.Background(), "weather"); err != nil {
				return err
			}
			env.Reopen()
			return nil
		}, "(null) offline"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			env := newWeather(t)
			airports(t, env, 40)
			if err := c.inject(env); err != nil {
				t.Fatal(err)
			}
			got := checkWeather(t, env)
			var examples []string
			for _, d := range got.Examples {
				examples = append(examples, fmt.Sprintf("%v %s: %s online, %s offline", d.Entity, d.Feature, d.Online, d.Offline))
			}
			if got.Differences == 0 || !strings.Contains(strings.Join(examples, "\n"), c.example) {
				t.Errorf("%d differences, want one like %q:\n%s", got.Differences, c.example, strings.Join(examples, "\n"))
			}
		})
	}
}

// Whoever the settings name hears once that a view begins to differ, and once that it agrees again.
func TestCheckTellsWhenAViewBeginsToDifferAndWhenItAgreesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices")
	channels, err := notify.Open(map[string]notify.Config{"ops": {Type: "file", Path: path}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	env := testenv.NewWith(t, func(o *engine.Options) { o.Channels, o.CheckChannels = channels, []string{"ops"} })
	env.Apply(weather)
	env.Apply(driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{{
		Name: "warmth", Sources: []driftline.Projection{{View: "weather"}},
		Features: []driftline.OnDemandFeature{{Name: "doubled", Expression: "temp * 2"}},
	}}})
	airports(t, env, 40)
	check := func() (differ int64) {
		report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return report.Differences()
	}
	told := func() (all []string) {
		t.Helper()
		notices, err := env.Engine.Notices("")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range notices {
			all = append(all, fmt.Sprintf("%s %s %s", n.Channel, n.Happening.Ref, n.Happening.Event))
		}
		slices.Sort(all)
		return all
	}
	if differ, got := check(), told(); differ != 0 || got != nil {
		t.Fatalf("%d values differ, and told was %v", differ, got)
	}
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Engine.PutOnlineOnly("weather", env.Rows(view.Schema(),
		`[{"origin": "A007", "event_timestamp": "2013-05-31T23:00:00Z", "created": "2013-05-31T23:00:00Z", "temp": 99}]`)); err != nil {
		t.Fatal(err)
	}
	want := []string{"ops view/warmth stores_differ", "ops view/weather stores_differ"}
	for range 2 { // it still differs: nobody is told again
		if differ, got := check(), told(); differ == 0 || !slices.Equal(got, want) {
			t.Fatalf("%d values differ, and told was %v, want %v", differ, got, want)
		}
	}
	if err := env.Engine.RebuildOnline(context.Background(), "weather"); err != nil {
		t.Fatal(err)
	}
	want = []string{"ops view/warmth stores_agree", want[0], "ops view/weather stores_agree", want[1]}
	if differ, got := check(), told(); differ != 0 || !slices.Equal(got, want) {
		t.Fatalf("%d values differ, and told was %v, want %v", differ, got, want)
	}
	var states []string
	events, _, err := env.Engine.EventsAfter(context.Background(), 0, driftline.EventFilter{Kinds: []string{"view"}}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if event.Ref == driftline.ViewRef("weather") {
			states = append(states, event.State)
		}
	}
	if got := strings.Join(states, " "); got != "agrees differs differs agrees" {
		t.Errorf("the events say %s", got)
	}
	if text, err := sqlText(t, env, "SELECT view, differences FROM meta.checks ORDER BY view"); err != nil || text != "view differences\nwarmth 0\nweather 0" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestCheckChannelsMustBeThere(t *testing.T) {
	_, err := engine.Open(context.Background(), t.TempDir(), &engine.Options{CheckChannels: []string{"opps"}})
	if driftline.CodeOf(err) != driftline.NotFound || !strings.Contains(err.Error(), `checks: channel "opps"`) {
		t.Errorf("got %v", err)
	}
}

func TestCheckRunsBesideWriters(t *testing.T) {
	env := newWeather(t)
	airports(t, env, 40)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			env.Ingest("weather", fmt.Sprintf(`[{"origin": "A%03d", "event_timestamp": "2013-05-31T23:%02d:00Z", "created": "2013-05-31T23:00:00Z", "temp": %d}]`, i%40, i%60, i))
		}
	}()
	for range 3 {
		if got := checkWeather(t, env); got.Differences != 0 {
			t.Errorf("%+v, want no difference: writes come in between, in both stores at once", got)
		}
	}
	<-done
}

func TestUpkeepChecksNowAndThen(t *testing.T) {
	env := newWeather(t)
	airports(t, env, 4)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{time.Minute, false}, {time.Hour, true}} {
		env.Clock.Set(env.Clock.Now().Add(c.after))
		if err := env.Engine.CheckIfDue(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, got := env.Engine.Registry().Checked("weather"); got != c.want {
			t.Errorf("after another %s: checked %v, want %v", c.after, got, c.want)
		}
	}
}

func TestCheckRefusesWhatItCannotDo(t *testing.T) {
	env := newWeather(t)
	for _, req := range []driftline.CheckRequest{{Entities: -1}, {Entities: 10_001}, {Views: []driftline.ViewName{"wether"}}} {
		if _, err := env.Engine.Check(context.Background(), req); err == nil || driftline.CodeOf(err) == driftline.Internal {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

// Features that are computed on demand are compared too, each with request data.
func TestCheckComparesFeaturesOnDemand(t *testing.T) {
	env := newWeather(t)
	env.Apply(driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{{
		Name:    "warmth",
		Sources: []driftline.Projection{{View: "weather"}},
		Request: []driftline.Field{{Name: "factor", Type: driftline.Float64}, {Name: "who", Type: driftline.String}},
		Features: []driftline.OnDemandFeature{
			{Name: "scaled", Expression: "temp * factor"}, {Name: "labelled", Expression: "who || ':' || CAST(temp AS VARCHAR)"},
		},
	}}})
	check := func() driftline.ViewCheck {
		report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{"warmth"}, Seed: 1})
		if err != nil || len(report.Views) != 1 {
			t.Fatal(report, err)
		}
		return report.Views[0]
	}
	if got := check(); got.View != "warmth" || got.Skipped != "no view that it reads has rows" {
		t.Errorf("%+v", got)
	}
	airports(t, env, 40)
	if got := check(); got.Differences != 0 || got.Entities != 40 || got.Values < 40*4*2 {
		t.Errorf("%+v, want every airport at several times, and no difference", got)
	}
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Engine.PutOnlineOnly("weather", env.Rows(view.Schema(),
		`[{"origin": "A007", "event_timestamp": "2013-05-31T23:00:00Z", "created": "2013-05-31T23:00:00Z", "temp": 99}]`)); err != nil {
		t.Fatal(err)
	}
	got := check()
	if got.Differences == 0 || !strings.HasPrefix(got.Examples[0].Feature, "warmth__") || got.Examples[0].Entity["origin"] != "A007" {
		t.Errorf("%+v, want what was put online to be found", got)
	}
}

// A fault in what windows are computed from is found in either store.
func TestCheckCatchesAFaultOfAggregates(t *testing.T) {
	const event = `[{"carrier": "UA", "event_timestamp": "2013-01-01T09:40:00Z", "created": "2013-01-01T09:45:00Z", "flight": %d, "delay": 30, "dest": "LAX"}]`
	view := func(env *testenv.Env) *driftline.FeatureView {
		v, err := env.Engine.Registry().View("departures")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		fault  string
		inject func(env *testenv.Env) error
		finds  bool
	}{
		{"none", func(*testenv.Env) error { return nil }, false},
		{"the history has an event too many", func(env *testenv.Env) error {
			return env.Engine.PutHistoryOnly("departures", env.Rows(view(env).Schema(), fmt.Sprintf(event, 9)))
		}, true},
		{"an event of the history is another", func(env *testenv.Env) error {
			return env.Engine.PutHistoryOnly("departures", env.Rows(view(env).Schema(), strings.NewReplacer("09:40", "09:30", `"delay": 30`, `"delay": 31`).Replace(fmt.Sprintf(event, 3))))
		}, true},
		{"events of the log are lost", func(env *testenv.Env) error {
			env.Engine.SetSmallRows(100)
			env.Ingest("departures", fmt.Sprintf(event, 5))
			env.Engine.LoseLog("departures")
			return nil
		}, true},
	} {
		t.Run(c.fault, func(t *testing.T) {
			env := testenv.New(t)
			env.Clock.Set(time.Date(2013, 1, 1, 10, 0, 0, 0, time.UTC))
			env.Apply(departures())
			departureRows(env, 0) // in files
			if err := c.inject(env); err != nil {
				t.Fatal(err)
			}
			report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{"departures"}, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			windows := 0
			for _, d := range report.Views[0].Examples {
				if strings.Contains(d.Feature, "_1h") || strings.Contains(d.Feature, "_1d") {
					windows++
				}
			}
			if found := report.Views[0].Differences > 0; found != c.finds || (windows > 0) != c.finds {
				t.Errorf("%+v", report.Views[0])
			}
		})
	}
}
