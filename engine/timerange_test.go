package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// reading is a row of one of the views of hourly, as the oracle keeps it.
type reading struct {
	airport string
	at      time.Time
	value   int
}

// asOf is the definition: of the readings of an airport that are not later than a time and not
// older than the age, 0 being any, the newest, and of equal ones that which was written last.
func asOf(readings []reading, airport string, at time.Time, age time.Duration) string {
	found := -1
	for i, r := range readings {
		if r.airport != airport || r.at.After(at) || age > 0 && r.at.Before(at.Add(-age)) {
			continue
		}
		if found < 0 || !r.at.Before(readings[found].at) {
			found = i
		}
	}
	if found < 0 {
		return "(null)"
	}
	return fmt.Sprint(readings[found].value)
}

// rangeOracle is what a range of time without a spine has, both bounds in it.
func rangeOracle(temps, winds []reading, start, end time.Time) string {
	var rows []string
	for _, r := range slices.Concat(temps, winds) {
		if r.at.Before(start) || r.at.After(end) {
			continue
		}
		rows = append(rows, fmt.Sprintf("%s %s %s %s \n", r.airport, r.at.Format(time.RFC3339),
			asOf(temps, r.airport, r.at, 2*time.Hour), asOf(winds, r.airport, r.at, 0)))
	}
	slices.Sort(rows)
	return strings.Join(slices.Compact(rows), "")
}

// Random rows of few airports and times, in the log, in files, in both, merged, and written anew:
// any range of them has what a loop over all rows finds.
func TestRangesOfTimeEqualTheOracle(t *testing.T) {
	ctx := context.Background()
	day := time.Date(2013, 6, 1, 0, 0, 0, 0, time.UTC)
	for seed := range uint64(4) {
		env := testenv.New(t)
		env.Apply(hourly)
		rng := rand.New(rand.NewPCG(seed, 26))
		write := func(view driftline.ViewName, feature string, kept []reading) []reading {
			var rows []string
			for range 1 + rng.IntN(12) {
				r := reading{[]string{"EWR", "JFK", "LGA"}[rng.IntN(3)], day.Add(time.Duration(rng.IntN(24)) * 30 * time.Minute), rng.IntN(1000)}
				kept = append(kept, r)
				rows = append(rows, fmt.Sprintf(`{"airport": %q, "event_timestamp": %q, %q: %d}`, r.airport, r.at.Format(time.RFC3339), feature, r.value))
			}
			env.Ingest(view, "["+strings.Join(rows, ",")+"]")
			return kept
		}
		maintain := map[string]func() error{
			"in the log": func() error { return nil },
			"in files":   func() error { return flushAll(ctx, env, "temps", "winds") },
			"merged": func() error {
				if err := flushAll(ctx, env, "temps", "winds"); err != nil {
					return err
				}
				_, err := env.Engine.Compact(ctx, "features.temps")
				return err
			},
		}
		var temps, winds []reading
		for _, state := range []string{"in the log", "in files", "in the log", "in files", "merged", "in the log"} {
			temps, winds = write("temps", "temp", temps), write("winds", "wind", winds)
			if err := maintain[state](); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				start := day.Add(time.Duration(rng.IntN(24)) * 30 * time.Minute)
				end := start.Add(time.Duration(rng.IntN(12)) * 30 * time.Minute)
				req := features("temps:temp", "winds:wind")
				req.Spine = &driftline.SpineSource{Range: &driftline.TimeRange{Start: start, End: end}}
				if got, want := ask(t, env, req), rangeOracle(temps, winds, start, end); got != want {
					t.Fatalf("seed %d, %s, %s to %s:\n%swant:\n%s", seed, state, start, end, got, want)
				}
			}
		}
	}
}

// flushAll moves the logs of views into files.
func flushAll(ctx context.Context, env *testenv.Env, views ...driftline.ViewName) error {
	for _, name := range views {
		view, err := env.Engine.Registry().View(name)
		if err != nil {
			return err
		}
		if err := env.Engine.Flush(ctx, view); err != nil {
			return err
		}
	}
	return nil
}
