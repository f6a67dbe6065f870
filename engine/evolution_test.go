package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// withRain is weather with one feature more.
func withRain() driftline.Definitions {
	view := weather.FeatureViews[0]
	view.Features = append(slices.Clone(view.Features), driftline.Field{Name: "rain", Type: driftline.Float64})
	return driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}}
}

const rainyRow = `[{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "temp": 2, "rain": 0.5}]`

func rainOf(t *testing.T, env *testenv.Env) string {
	t.Helper()
	rows, err := env.Engine.SQL(context.Background(), "SELECT temp, rain FROM features.weather ORDER BY event_timestamp, temp", nil)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, rows)
}

// TestAViewIsReadableBeforeTheFirstRowWithItsNewFeature reads history whose newest
// snapshot was committed before the feature was added.
func TestAViewIsReadableBeforeTheFirstRowWithItsNewFeature(t *testing.T) {
	env := newWeather(t)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	if n := countRows(t, env.Engine, "weather"); n != 1 {
		t.Fatalf("%d rows", n)
	}
	env.Apply(withRain())
	if n := countRows(t, env.Engine, "weather"); n != 1 {
		t.Errorf("%d rows after the view has grown", n)
	}
	if got := rainOf(t, env); got != "1 (null) \n" {
		t.Errorf("rows = %q", got)
	}
}

// TestAFlushKeepsAFeatureThatItsCallerDoesNotKnow flushes for a reader that resolved
// the view before the feature was added, and meets a row that has it.
func TestAFlushKeepsAFeatureThatItsCallerDoesNotKnow(t *testing.T) {
	env := newWeather(t)
	before, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	env.Apply(withRain())
	env.Ingest("weather", rainyRow)
	if err := env.Engine.Flush(context.Background(), before); err != nil {
		t.Fatal(err)
	}
	if got := rainOf(t, env); got != "2 0.5 \n" {
		t.Errorf("rows = %q", got)
	}
}

// TestAViewMayGrowBetweenAWriteAndItsRecovery adds a feature while a bulk write has
// committed its snapshot and not yet brought its rows online.
func TestAViewMayGrowBetweenAWriteAndItsRecovery(t *testing.T) {
	env := newWeather(t)
	env.Engine.SetSmallRows(10)
	env.Engine.FailAt("snapshot committed", errCrash)
	if _, err := env.Engine.Ingest(context.Background(), "weather", "key", bulkRows(t, env, 300)); !errors.Is(err, errCrash) {
		t.Fatalf("the write did not reach the step: %v", err)
	}
	env.Apply(withRain())
	env.Reopen()
	if got := onlineTemp(t, env, "LGA", at(99)); got != "299 PRESENT" {
		t.Errorf("online = %s", got)
	}
	if n := countRows(t, env.Engine, "weather"); n != 300 {
		t.Errorf("%d rows", n)
	}
}
