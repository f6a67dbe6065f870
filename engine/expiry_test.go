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
	env.Clock.Set(at(26))
	if err := env.Engine.ExpireOnline(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := onlineTemp(t, env, "JFK", at(1)); got != "1.5 PRESENT" {
		t.Errorf("at one o'clock: %s", got)
	}

	// A longer TTL makes it count again, from what the files say.
	view.TTL = driftline.Duration(24 * time.Hour)
	env.Apply(driftline.Definitions{FeatureViews: []driftline.FeatureView{view}})
	if got := onlineTemp(t, env, "JFK", at(3)); got != "1.5 PRESENT" {
		t.Errorf("with a longer TTL: %s", got)
	}
}

// A row is known for as long again as it counts, and a day at least: whether upkeep has
// removed it makes no difference to what is said of it.
func TestWhatIsSaidOfAnExpiredRowDependsOnItsAgeAlone(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 24 * time.Hour, 30 * time.Hour} {
		env := testenv.New(t)
		view := weather.FeatureViews[0]
		view.TTL = driftline.Duration(ttl)
		env.Apply(driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{view}})
		env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "`+minute(0)+`", "temp": 1.5}]`)
		forgotten := ttl + max(ttl, 24*time.Hour)
		look := func(when string) {
			for age, want := range map[time.Duration]string{
				ttl:                          "1.5 PRESENT",
				ttl + time.Microsecond:       "(null) OUTSIDE_MAX_AGE",
				forgotten:                    "(null) OUTSIDE_MAX_AGE",
				forgotten + time.Microsecond: "(null) NOT_FOUND",
				forgotten + 100*24*time.Hour: "(null) NOT_FOUND",
			} {
				if got := onlineTemp(t, env, "JFK", at(0).Add(age)); got != want {
					t.Errorf("TTL %s, age %s, %s: %s, want %s", ttl, age, when, got, want)
				}
			}
		}
		for _, age := range []time.Duration{0, ttl + 1, forgotten, forgotten + time.Microsecond, 500 * time.Hour} {
			env.Clock.Set(at(0).Add(age))
			if err := env.Engine.ExpireOnline(context.Background()); err != nil {
				t.Fatal(err)
			}
			look("after upkeep at " + age.String())
		}
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
