package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

var errCrash = errors.New("crash")

// TestACrashBetweenAnyTwoStepsIsMended stops a bulk write at each step, opens the
// folder again, and finds one of two states: all of the write or none of it. Sending
// the write again with its key then gives the same state from either.
func TestACrashBetweenAnyTwoStepsIsMended(t *testing.T) {
	for _, step := range engine.Steps {
		t.Run(step, func(t *testing.T) {
			env := newWeather(t)
			env.Engine.SetSmallRows(0)
			env.Ingest("weather", `[{"origin": "EWR", "event_timestamp": "2013-05-31T00:00:00Z", "temp": -1}]`)
			ctx := context.Background()
			env.Engine.SetSmallRows(10)
			rows := bulkRows(t, env, 300)
			env.Engine.FailAt(step, errCrash)
			if _, err := env.Engine.Ingest(ctx, "weather", "key", rows); !errors.Is(err, errCrash) {
				t.Fatalf("the write did not reach the step: %v", err)
			}
			env.Reopen()
			status, err := env.Engine.ViewStatus(ctx, "weather")
			if err != nil {
				t.Fatal(err)
			}
			if done := step == "snapshot committed" || step == "rows online"; done != (status.Rows == 301) || !done != (status.Rows == 1) {
				t.Errorf("%d rows after the crash", status.Rows)
			}
			env.Engine.SetSmallRows(10)
			again, err := env.Engine.Ingest(ctx, "weather", "key", rows)
			if err != nil || again.Rows != 300 || again.Snapshot == 0 {
				t.Fatalf("again: %+v, %v", again, err)
			}
			if status, err = env.Engine.ViewStatus(ctx, "weather"); err != nil || status.Rows != 301 {
				t.Errorf("%d rows in the end, %v", status.Rows, err)
			}
			if got := onlineTemp(t, env, "LGA", at(99)); got != "299 PRESENT" {
				t.Errorf("online = %s", got)
			}
			if err := env.Engine.Registry().Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestACrashWhileFlushingLosesAndRepeatsNothing does the same for the flush of the ingest log.
func TestACrashWhileFlushingLosesAndRepeatsNothing(t *testing.T) {
	for _, step := range engine.Steps[1:] {
		t.Run(step, func(t *testing.T) {
			env := newWeather(t)
			for range 3 {
				env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
			}
			env.Engine.FailAt(step, errCrash)
			view, err := env.Engine.Registry().View("weather")
			if err != nil {
				t.Fatal(err)
			}
			if err := env.Engine.Flush(context.Background(), view); !errors.Is(err, errCrash) {
				t.Fatalf("the flush did not reach the step: %v", err)
			}
			if n := countRows(t, env.Engine, "weather"); n != 3 {
				t.Errorf("%d rows before the restart, want 3", n)
			}
			env.Reopen()
			if n := countRows(t, env.Engine, "weather"); n != 3 {
				t.Errorf("%d rows, want 3", n)
			}
			env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "temp": 2}]`)
			if n := countRows(t, env.Engine, "weather"); n != 4 {
				t.Errorf("%d rows, want 4", n)
			}
			if got := onlineTemp(t, env, "JFK", at(11)); got != "2 PRESENT" {
				t.Errorf("online = %s", got)
			}
		})
	}
}

func countRows(t *testing.T, e *engine.Engine, view driftline.ViewName) int64 {
	t.Helper()
	rows, err := e.ReadView(context.Background(), view)
	if err != nil {
		t.Fatal(err)
	}
	batches, n, err := rows.Collect()
	driftline.ReleaseAll(batches)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func open(t *testing.T, dir string) (*engine.Engine, error) {
	t.Helper()
	e, err := engine.Open(context.Background(), dir, nil)
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

// TestRowsAfterARecoveryComeAfterTheRowsItFinished writes a row of the same entity and
// time as one that recovery brought online: the later write wins, and its sequence is its own.
func TestRowsAfterARecoveryComeAfterTheRowsItFinished(t *testing.T) {
	env := newWeather(t)
	env.Engine.SetSmallRows(10)
	env.Engine.FailAt("snapshot committed", errCrash)
	if _, err := env.Engine.Ingest(context.Background(), "weather", "key", bulkRows(t, env, 300)); !errors.Is(err, errCrash) {
		t.Fatalf("the write did not reach the step: %v", err)
	}
	env.Reopen()
	result := env.Ingest("weather", `[{"origin": "LGA", "event_timestamp": "2013-06-05T03:00:00Z", "temp": -7}]`)
	if result.Sequence <= 300 {
		t.Errorf("sequence %d was given out before", result.Sequence)
	}
	if got := onlineTemp(t, env, "LGA", at(99)); got != "-7 PRESENT" {
		t.Errorf("online = %s", got)
	}
}

// TestACommitWhoseAnswerIsLostKeepsItsFiles has the table's commit fail after it took
// effect, as when the disk fails between a rename and its fsync.
func TestACommitWhoseAnswerIsLostKeepsItsFiles(t *testing.T) {
	env := newWeather(t)
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Engine.WriteWithLostAnswer(context.Background(), view, bulkRows(t, env, 300)); err != nil {
		t.Errorf("the write is there, and said: %v", err)
	}
	env.Reopen()
	if n := countRows(t, env.Engine, "weather"); n != 300 {
		t.Errorf("%d rows", n)
	}
	if got := onlineTemp(t, env, "LGA", at(99)); got != "299 PRESENT" {
		t.Errorf("online = %s", got)
	}
}
