package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

const weatherTable = "features.weather"

// pieces writes n files of weather, each with one row of JFK.
func pieces(env *testenv.Env, n int) {
	env.Engine.SetSmallRows(0)
	for i := range n {
		env.Ingest("weather", fmt.Sprintf(`[{"origin": "JFK", "event_timestamp": "2013-06-01T%02d:00:00Z", "temp": %d}]`, i, i))
	}
	env.Engine.SetSmallRows(1000)
}

func snapshotsOf(t *testing.T, env *testenv.Env) []driftline.Snapshot {
	t.Helper()
	snapshots, err := env.Engine.Snapshots(context.Background(), weatherTable)
	if err != nil {
		t.Fatal(err)
	}
	return snapshots
}

func TestCompactionMergesFilesAndChangesNoRow(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	pieces(env, 12)
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T12:00:00Z", "temp": 12}]`) // in the log
	before, err := env.Engine.ReadView(ctx, "weather")
	if err != nil {
		t.Fatal(err)
	}
	done, err := env.Engine.Compact(ctx, weatherTable)
	if err != nil || done.Flushed != 1 || done.Compacted < 12 || done.Into == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	status, err := env.Engine.ViewStatus(ctx, "weather")
	if err != nil || status.Files > 2 || status.Rows != 13 {
		t.Errorf("%+v, %v", status, err)
	}
	newest := snapshotsOf(t, env)
	if last := newest[len(newest)-1]; last.Cause != "compaction" || newest[0].Cause != "write" {
		t.Errorf("the newest snapshot is %+v", last)
	}
	if got := onlineTemp(t, env, "JFK", at(12)); got != "12 PRESENT" {
		t.Errorf("online = %s", got)
	}
	if got := onlineTemp(t, env, "JFK", at(5)); got != "5 PRESENT" {
		t.Errorf("in the past = %s", got)
	}
	batches, n, err := before.Collect() // a reader that began before
	driftline.ReleaseAll(batches)
	if err != nil || n != 13 {
		t.Errorf("a reader that began before sees %d rows, %v", n, err)
	}
	if done, err := env.Engine.Compact(ctx, weatherTable); err != nil || done.Compacted != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
}

// Two compactions of one snapshot merge the same files. The one that comes second changes
// nothing, whatever was written in between, and leaves no file behind.
func TestTheSecondOfTwoEqualCompactionsChangesNothing(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	pieces(env, 6)
	env.Engine.AtFirst("files staged", func() {
		if _, err := env.Engine.Compact(ctx, weatherTable); err != nil {
			t.Error(err)
		}
		pieces(env, 2)
	})
	if done, err := env.Engine.Compact(ctx, weatherTable); err != nil || done.Compacted != 0 {
		t.Errorf("the second compaction: %+v, %v", done, err)
	}
	if n := countRows(t, env.Engine, "weather"); n != 8 {
		t.Errorf("%d rows, want all 8 that were acknowledged", n)
	}
	stored, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "features", "weather", "data", "*.parquet"))
	if err != nil || len(stored) != 9 { // six, what they were merged into, and two
		t.Errorf("%d files are stored, %v", len(stored), err)
	}
}

// A query of an earlier snapshot that has begun is answered, even if the snapshot expires.
func TestATimeTravelOutlivesItsSnapshot(t *testing.T) {
	env := newWeather(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pieces(env, 4)
	old := snapshotsOf(t, env)[3]
	if _, err := env.Engine.Compact(ctx, weatherTable); err != nil {
		t.Fatal(err)
	}
	rows, err := env.Engine.SQL(ctx, fmt.Sprintf("SELECT count(*) FROM features.weather AT (VERSION => %d)", old.ID), nil)
	if err != nil {
		t.Fatal(err)
	}
	expired, err := env.Engine.Expire(ctx, weatherTable, driftline.Retention{Last: 1})
	if err != nil || expired.Expired == 0 {
		t.Fatalf("%+v, %v", expired, err)
	}
	if got := text(t, rows); got != "4 \n" {
		t.Errorf("the query answered %q", got)
	}
}

func TestACrashWhileCompactingIsMended(t *testing.T) {
	for _, step := range []string{"files staged", "intent written", "snapshot committed", "rows online"} {
		t.Run(step, func(t *testing.T) {
			env := newWeather(t)
			pieces(env, 6)
			env.Engine.FailAt(step, errCrash)
			if _, err := env.Engine.Compact(context.Background(), weatherTable); !errors.Is(err, errCrash) {
				t.Fatalf("the compaction did not reach the step: %v", err)
			}
			if n := countRows(t, env.Engine, "weather"); n != 6 {
				t.Errorf("%d rows before the restart", n)
			}
			env.Reopen()
			if n := countRows(t, env.Engine, "weather"); n != 6 {
				t.Errorf("%d rows after the restart", n)
			}
			if _, err := env.Engine.Compact(context.Background(), weatherTable); err != nil {
				t.Fatal(err)
			}
			if status, err := env.Engine.ViewStatus(context.Background(), "weather"); err != nil || status.Files != 1 || status.Rows != 6 {
				t.Errorf("in the end: %+v, %v", status, err)
			}
		})
	}
}

func TestExpiryKeepsWhatADatasetOrATagNeeds(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	pieces(env, 3)
	req := weatherRequest()
	req.SaveAs = "pinned"
	train(t, env, req)
	pieces(env, 3)
	tagged := snapshotsOf(t, env)[4]
	if err := env.Engine.TagSnapshot(ctx, weatherTable, "before_the_storm", tagged.ID); err != nil {
		t.Fatal(err)
	}
	pieces(env, 1)
	done, err := env.Engine.Expire(ctx, weatherTable, driftline.Retention{Last: 1})
	if err != nil || done.Expired != 4 {
		t.Fatalf("%+v, %v", done, err)
	}
	var kept []string
	for _, s := range snapshotsOf(t, env) {
		kept = append(kept, fmt.Sprintf("%d %v %d", s.Rows, s.Tags, len(s.Pins)))
	}
	if want := []string{"3 [] 1", "5 [before_the_storm] 0", "7 [] 0"}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	if _, err := env.Engine.Expire(ctx, weatherTable, driftline.Retention{}); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("keeping nothing: %v", err)
	}
	diff, err := env.Engine.DiffSnapshots(ctx, weatherTable, tagged.ID, snapshotsOf(t, env)[2].ID)
	if err != nil || diff.RowsAdded != 2 || diff.RowsRemoved != 0 || diff.EventTimes == nil || !diff.EventTimes.Start.Equal(at(0)) {
		t.Errorf("%+v, %v", diff, err)
	}
}

func TestARollbackTakesRowsBackInBothStores(t *testing.T) {
	for _, step := range []string{"", "intent written", "snapshot committed", "rows online"} {
		t.Run(cmp.Or(step, "no crash"), func(t *testing.T) {
			env := newWeather(t)
			ctx := context.Background()
			pieces(env, 2)
			good := snapshotsOf(t, env)[1]
			pieces(env, 4)
			env.Ingest("weather", `[{"origin": "LGA", "event_timestamp": "2013-06-01T03:00:00Z", "temp": 99}]`) // in the log
			if step != "" {
				flush(t, env)
				env.Engine.FailAt(step, errCrash)
			}
			_, err := env.Engine.Rollback(ctx, weatherTable, good.ID)
			if (step == "") != (err == nil) {
				t.Fatal(err)
			}
			rows, temp, lga := int64(2), "1 PRESENT", "(null) NOT_FOUND"
			if step == "intent written" { // it never happened
				rows, temp, lga = 7, "3 PRESENT", "99 PRESENT"
			}
			env.Reopen()
			if n := countRows(t, env.Engine, "weather"); n != rows {
				t.Errorf("%d rows, want %d", n, rows)
			}
			if got := onlineTemp(t, env, "JFK", at(3)); got != temp {
				t.Errorf("online = %s, want %s", got, temp)
			}
			if got := onlineTemp(t, env, "LGA", at(3)); got != lga {
				t.Errorf("an entity that is gone = %s, want %s", got, lga)
			}
			env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T02:00:00Z", "temp": -2}]`)
			if rows == 2 {
				if got := onlineTemp(t, env, "JFK", at(3)); got != "-2 PRESENT" {
					t.Errorf("after another write: %s", got)
				}
			}
			if err := env.Engine.Registry().Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A rollback whose end fails, on a full disk say, is finished when the folder is opened
// again. What was written in the meantime stays.
func TestARollbackThatIsFinishedLateKeepsLaterRows(t *testing.T) {
	env := newWeather(t)
	pieces(env, 2)
	good := snapshotsOf(t, env)[1]
	pieces(env, 4)
	env.Engine.FailAt("snapshot committed", errCrash)
	if _, err := env.Engine.Rollback(context.Background(), weatherTable, good.ID); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	env.Engine.FailAt("", nil)
	env.Ingest("weather", `[{"origin": "LGA", "event_timestamp": "2013-06-01T03:00:00Z", "temp": 99}]`)
	flush(t, env)
	env.Reopen()
	if got := onlineTemp(t, env, "LGA", at(3)); got != "99 PRESENT" {
		t.Errorf("a row that was written after the rollback: %s", got)
	}
	if got := onlineTemp(t, env, "JFK", at(3)); got != "1 PRESENT" {
		t.Errorf("an entity that was rolled back: %s", got)
	}
}

func flush(t *testing.T, env *testenv.Env) {
	t.Helper()
	view, err := env.Engine.Registry().View("weather")
	if err == nil {
		err = env.Engine.Flush(context.Background(), view)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestUpkeepOfWhatIsNotThereSaysSo(t *testing.T) {
	env := newWeather(t)
	ctx := context.Background()
	pieces(env, 1)
	for what, err := range map[string]error{
		"an unknown table":    second(env.Engine.Snapshots(ctx, "features.wether")),
		"an unknown snapshot": second(env.Engine.Rollback(ctx, weatherTable, 7)),
	} {
		if driftline.CodeOf(err) != driftline.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
