package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// A TTL is the same rule in both stores, from the moment on at which it is applied.
func TestATTLChangesBothStoresAtOnce(t *testing.T) {
	env := testenv.New(t)
	view := targeted("v").FeatureViews[0]
	env.Apply(targeted("v"))
	env.Ingest("v", `[{"origin": "A", "event_timestamp": "`+minute(0)+`", "created": null, "value": 1}]`)
	for _, ttl := range []int64{0, 5, 10, 9, 11, 0} {
		view.TTL = driftline.Duration(time.Duration(ttl) * time.Minute)
		env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{view}})
		for now := range int64(14) {
			want := "1"
			if ttl > 0 && now > ttl {
				want = "(null)"
			}
			if got := onlineValues(t, env, &view, []string{"A"}, now)[0]; got != want {
				t.Errorf("ttl %d: online at %d is %s, want %s", ttl, now, got, want)
			}
			if got := trainedAt(t, env, "v", now, "A"); got != want {
				t.Errorf("ttl %d: offline at %d is %s, want %s", ttl, now, got, want)
			}
		}
	}
}

// While online rows are made anew, a reader of many entities sees all of them, before, while
// and after: those of the newest snapshot and of the log, and those that are online only.
func TestARebuildIsNeverSeenHalfDone(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	keys, values := []string{}, []string{}
	var rows []event
	for i := range 50 {
		key := fmt.Sprintf("K%02d", i)
		keys, values = append(keys, key), append(values, fmt.Sprint(i))
		rows = append(rows, row(key, 1, int64(i)))
	}
	mustIngestTo(env, "v", driftline.BothStores, rows[:20]...)
	flushLog(env, "v")
	mustIngestTo(env, "v", driftline.BothStores, rows[20:40]...)
	mustIngestTo(env, "v", driftline.OnlineOnly, rows[40:]...)
	want := strings.Join(values, " ")
	looks := 0
	look := func() {
		looks++
		if got := served(t, env, "v", keys...); got != want {
			t.Errorf("look %d: %s", looks, got)
		}
	}
	look()
	env.Engine.AtFirst("online rows removed", look)
	if err := env.Engine.RebuildOnline(context.Background(), "v"); err != nil {
		t.Fatal(err)
	}
	if look(); looks != 3 {
		t.Errorf("%d looks, want one in between", looks)
	}
}
