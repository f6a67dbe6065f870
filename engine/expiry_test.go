package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

func TestOnlineRowsExpireAndThePastIsAnsweredOffline(t *testing.T) {
	env := testenv.New(t)
	view := weather.FeatureViews[0]
	view.TTL = driftline.Duration(time.Hour)
	env.Apply(driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}})
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "`+minute(0)+`", "temp": 1.5}]`)
	env.Clock.Set(at(3))
	if err := env.Engine.ExpireOnline(context.Background()); err != nil {
		t.Fatal(err)
	}
	for when, want := range map[int]string{3: "(null) NOT_FOUND", 1: "1.5 PRESENT"} {
		if got := onlineTemp(t, env, "JFK", at(when)); got != want {
			t.Errorf("at %d o'clock: %s, want %s", when, got, want)
		}
	}

	// A longer TTL makes it count again, from what the files say.
	view.TTL = driftline.Duration(24 * time.Hour)
	env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{view}})
	if got := onlineTemp(t, env, "JFK", at(3)); got != "1.5 PRESENT" {
		t.Errorf("with a longer TTL: %s", got)
	}
}

func TestARebuildThatWasInterruptedIsFinishedWhenTheFolderIsOpened(t *testing.T) {
	env := testenv.New(t)
	env.Apply(weather)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "`+minute(0)+`", "temp": 1.5}]`)
	lost := errors.New("died")
	env.Engine.FailAt("online rows removed", lost)
	if err := env.Engine.RebuildOnline(context.Background(), "weather"); !errors.Is(err, lost) {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		if got := onlineTemp(t, env, "JFK", at(0)); got != "1.5 PRESENT" {
			t.Errorf("%s the restart: %s", when, got)
		}
		env.Reopen()
	}
}
