package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// twoViews is weather, and another view of the same airports.
func twoViews() driftline.Definitions {
	other := weather.FeatureViews[0]
	other.Name = "runways"
	return driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{weather.FeatureViews[0], other}}
}

// TestADamagedTableStopsNoOtherView damages the metadata of one table while the server
// is down: it opens, says what is damaged whenever that view is used, and serves the other.
func TestADamagedTableStopsNoOtherView(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	env.Apply(twoViews())
	row := `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`
	for _, view := range []driftline.ViewName{"weather", "runways"} {
		env.Ingest(view, row)
		v, err := env.Engine.Registry().View(view)
		if err != nil {
			t.Fatal(err)
		}
		if err := env.Engine.Flush(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := env.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	metadata, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "features", "weather", "metadata", "*.metadata.json"))
	if err != nil || len(metadata) == 0 {
		t.Fatalf("no metadata: %v", err)
	}
	for _, path := range metadata {
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env.Reopen()
	if n := countRows(t, env.Engine, "runways"); n != 1 {
		t.Errorf("the healthy view has %d rows", n)
	}
	env.Ingest("runways", row)
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	_, written := env.Engine.Ingest(ctx, "weather", "", env.Rows(view.Schema(), row))
	_, read := env.Engine.ReadView(ctx, "weather")
	_, selected := env.Engine.SQL(ctx, "SELECT * FROM features.weather", nil)
	for what, err := range map[string]error{"write": written, "read": read, "SQL": selected} {
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), "weather") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if status, err := env.Engine.ViewStatus(ctx, "weather"); err != nil || status.Damaged == nil {
		t.Errorf("status %+v, %v", status, err)
	}
	if quarantined := env.Engine.Quarantined(); len(quarantined) != 1 || quarantined["weather"] == nil {
		t.Errorf("in quarantine: %v", quarantined)
	}
}

// TestADamagedLogEntryOrIntentStopsNoOtherView does the same with what is in kv.
func TestADamagedLogEntryOrIntentStopsNoOtherView(t *testing.T) {
	for _, what := range []string{"log entry", "intent"} {
		t.Run(what, func(t *testing.T) {
			env := newWeather(t)
			env.Apply(twoViews())
			row := `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`
			env.Ingest("runways", row)
			env.Ingest("weather", row)
			if what == "intent" {
				env.Engine.FailAt("snapshot committed", errCrash)
				view, err := env.Engine.Registry().View("weather")
				if err != nil {
					t.Fatal(err)
				}
				_ = env.Engine.Flush(context.Background(), view)
			}
			if n := env.Engine.Damage(t, what); n != 1 {
				t.Fatalf("%d records damaged", n)
			}
			env.Reopen()
			if n := countRows(t, env.Engine, "runways"); n != 1 {
				t.Errorf("the healthy view has %d rows", n)
			}
			if _, err := env.Engine.ReadView(context.Background(), "weather"); driftline.CodeOf(err) != driftline.DataLoss {
				t.Errorf("the damaged view: %v", err)
			}
		})
	}
}
