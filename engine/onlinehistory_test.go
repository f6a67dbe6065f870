package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// readHistory returns the rows that a view keeps of some origins, one line each.
func readHistory(t *testing.T, env *testenv.Env, req driftline.HistoryRequest, origins ...string) []string {
	t.Helper()
	var rows []string
	for _, o := range origins {
		rows = append(rows, fmt.Sprintf(`{"origin": %q}`, o))
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	var lines []string
	for entities := range env.Rows(schema, "["+strings.Join(rows, ",")+"]").All {
		found, err := env.Engine.History(context.Background(), req, entities)
		if err != nil {
			t.Fatal(err)
		}
		lines = strings.Split(strings.TrimSpace(text(t, driftline.BatchesOf(found.Schema(), found))), "\n")
		found.Release()
	}
	return lines
}

func withHistory(history *driftline.History) driftline.Definitions {
	view := weather.FeatureViews[0]
	view.History = history
	return driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}}
}

func TestTheLastRowsOfAnEntityCanBeReadBack(t *testing.T) {
	env := testenv.New(t)
	env.Apply(withHistory(&driftline.History{Last: 3}))
	env.Clock.Set(at(12))
	env.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T08:00:00Z", "created": null, "temp": 1},
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "created": "2013-06-01T10:05:00Z", "temp": 3},
		{"origin": "EWR", "event_timestamp": "2013-06-01T10:00:00Z", "created": null, "temp": 9},
		{"origin": "JFK", "event_timestamp": "2013-06-01T23:00:00Z", "created": null, "temp": 4}]`)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T09:00:00Z", "created": null, "temp": 2}]`)
	req := driftline.HistoryRequest{View: "weather", Features: []string{"temp"}, Last: 2}
	want := []string{
		"JFK 2013-06-01T10:00:00Z 2013-06-01T10:05:00Z 3 ", "JFK 2013-06-01T09:00:00Z (null) 2 ",
		"EWR 2013-06-01T10:00:00Z (null) 9",
	}
	if got := readHistory(t, env, req, "JFK", "LGA", "EWR"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	req.At, req.Last = at(9), 0
	want = []string{"JFK 2013-06-01T09:00:00Z (null) 2 ", "JFK 2013-06-01T08:00:00Z (null) 1"}
	if got := readHistory(t, env, req, "JFK"); !slices.Equal(got, want) {
		t.Errorf("at 9 o'clock got\n%s", strings.Join(got, "\n"))
	}
}

func TestAViewWithoutHistorySaysSo(t *testing.T) {
	env := newWeather(t)
	for code, req := range map[driftline.Code]driftline.HistoryRequest{
		driftline.FailedPrecondition: {View: "weather"},
		driftline.NotFound:           {View: "wether"},
	} {
		if _, err := env.Engine.History(context.Background(), req, nil); driftline.CodeOf(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

// TestHistoryIsTheNewestRowsWhereverTheyCameFrom writes random rows through the small and
// the bulk path, with restarts, expiry, roll-backs and changes of what is kept in between,
// and compares what is read back with a loop over all rows.
func TestHistoryIsTheNewestRowsWhereverTheyCameFrom(t *testing.T) {
	env := testenv.New(t)
	random := rand.New(rand.NewPCG(4, 7))
	for n := range 12 {
		name := driftline.ViewName(fmt.Sprintf("kept_%d", n))
		view := driftline.FeatureView{
			Name: name, Entities: []driftline.EntityName{"airport"}, CreatedTimestamp: "created",
			Features: []driftline.Field{{Name: "value", Type: driftline.Int64}},
		}
		apply := func(last int) {
			view.History = nil
			if last > 0 {
				view.History = &driftline.History{Last: last}
			}
			env.Apply(driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}})
		}
		last := random.IntN(4)
		apply(last)
		env.Clock.Set(at(0).Add(3 * time.Hour)) // all rows are older than the slack
		var history []event
		for range 3 + random.IntN(4) {
			history = append(history, writeHistory(env, name, random)...)
			env.Clock.Set(at(0).Add(3 * time.Hour))
			switch random.IntN(5) {
			case 0:
				last = random.IntN(6)
				apply(last)
			case 1:
				if err := env.Engine.ExpireHistories(context.Background()); err != nil {
					t.Fatal(err)
				}
			case 2:
				env.Reopen()
			case 3:
				if err := env.Engine.RebuildOnline(context.Background(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
		last = 4
		apply(last)
		checkKept(t, env, name, history, last)
	}
}

func checkKept(t *testing.T, env *testenv.Env, view driftline.ViewName, history []event, last int) {
	t.Helper()
	for _, origin := range []string{"A", "B", "C"} {
		var rows []event
		for _, e := range history {
			if e.key == origin {
				rows = append(rows, e)
			}
		}
		slices.Reverse(rows) // of equal times the one written later comes first
		slices.SortStableFunc(rows, func(a, b event) int {
			return cmp.Or(cmp.Compare(b.event, a.event), cmp.Compare(b.created, a.created))
		})
		want := []string{}
		for _, e := range rows[:min(len(rows), last)] {
			created, value := "(null)", "(null)"
			if e.created != noCreated {
				created = minute(e.created)
			}
			if e.value >= 0 {
				value = fmt.Sprint(e.value)
			}
			want = append(want, strings.Join([]string{origin, minute(e.event), created, value}, " "))
		}
		got := readHistory(t, env, driftline.HistoryRequest{View: view, Last: last}, origin)
		if strings.Join(got, "\n") != strings.Join(want, " \n") {
			t.Fatalf("%s of %s: got\n%s\nwant\n%s", origin, view, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestAHistoryThatWasNotBuiltToItsEndIsBuiltWhenTheFolderIsOpened(t *testing.T) {
	env := testenv.New(t)
	env.Apply(weather)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T08:00:00Z", "created": null, "temp": 1}]`)
	env.Clock.Set(at(12))
	died := errors.New("died")
	env.Engine.FailAt("history removed", died)
	if _, err := env.Engine.Apply(context.Background(), withHistory(&driftline.History{Last: 3})); !errors.Is(err, died) {
		t.Fatal(err)
	}
	env.Reopen()
	got := readHistory(t, env, driftline.HistoryRequest{View: "weather", Features: []string{"temp"}}, "JFK")
	if want := []string{"JFK 2013-06-01T08:00:00Z (null) 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
