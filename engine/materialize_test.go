package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// targeted has one int64 feature, and a created timestamp.
func targeted(name driftline.ViewName) driftline.Definitions {
	return driftline.Definitions{Entities: weather.Entities, FeatureViews: []driftline.FeatureView{{
		Name: name, Entities: []driftline.EntityName{"airport"}, CreatedTimestamp: "created",
		Features: []driftline.Field{{Name: "value", Type: driftline.Int64}},
	}}}
}

func ingestTo(env *testenv.Env, view driftline.ViewName, target driftline.Target, key string, events ...event) (driftline.IngestResult, error) {
	env.T.Helper()
	v, err := env.Engine.Registry().View(view)
	if err != nil {
		env.T.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		texts = append(texts, e.json())
	}
	return env.Engine.IngestTo(context.Background(), view, target, key, env.Rows(v.Schema(), "["+strings.Join(texts, ",")+"]"))
}

func mustIngestTo(env *testenv.Env, view driftline.ViewName, target driftline.Target, events ...event) {
	env.T.Helper()
	if _, err := ingestTo(env, view, target, "", events...); err != nil {
		env.T.Fatal(err)
	}
}

// materialize runs a job to its end. A start before 0 makes it incremental.
func materialize(env *testenv.Env, view driftline.ViewName, start, end int64) driftline.Materialization {
	env.T.Helper()
	req := driftline.MaterializationRequest{Views: []driftline.ViewName{view}, End: minuteTime(end), Incremental: start < 0}
	if start >= 0 {
		req.Start = minuteTime(start)
	}
	ctx := context.Background()
	job, err := env.Engine.Materialize(ctx, req)
	if err == nil {
		job, err = env.Engine.Materialized(ctx, job.ID)
	}
	if err != nil {
		env.T.Fatal(err)
	}
	return job
}

// flushLog moves a view's rows from the ingest log to files.
func flushLog(env *testenv.Env, name driftline.ViewName) {
	env.T.Helper()
	view, err := env.Engine.Registry().View(name)
	if err == nil {
		err = env.Engine.Flush(context.Background(), view)
	}
	if err != nil {
		env.T.Fatal(err)
	}
}

func minuteTime(m int64) time.Time { return at(0).Add(time.Duration(m) * time.Minute) }

// incremental is the start of a materialization of all that is not online yet.
const incremental = -1

// ever is a time after all rows of the tests.
const ever = 1 << 20

func served(t *testing.T, env *testenv.Env, view driftline.ViewName, keys ...string) string {
	t.Helper()
	v, err := env.Engine.Registry().View(view)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(onlineValues(t, env, v, keys, ever), " ")
}

func trained(t *testing.T, env *testenv.Env, view driftline.ViewName, keys ...string) string {
	t.Helper()
	return trainedAt(t, env, view, ever, keys...)
}

func trainedAt(t *testing.T, env *testenv.Env, view driftline.ViewName, now int64, keys ...string) string {
	t.Helper()
	v, err := env.Engine.Registry().View(view)
	if err != nil {
		t.Fatal(err)
	}
	var spine []string
	for _, k := range keys {
		spine = append(spine, fmt.Sprintf(`{"origin": %q, "event_timestamp": %q}`, k, minute(now)))
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}}, nil)
	return strings.Join(historicalValues(t, env, v, env.Rows(schema, "["+strings.Join(spine, ",")+"]")), " ")
}

func row(key string, event_, value int64) event {
	return event{key: key, event: event_, created: noCreated, value: value}
}

func TestAWriteGoesWhereItIsFor(t *testing.T) {
	for _, small := range []int64{100, 0} { // 0: offline and both by the bulk path
		t.Run(fmt.Sprint("small=", small), func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(targeted("v"))
			env.Engine.SetSmallRows(small)
			mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1), row("B", 1, 1))
			mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 2, 2), row("C", 1, 2))
			mustIngestTo(env, "v", driftline.OnlineOnly, row("B", 2, 3), row("D", 1, 3))
			check := func(when string) {
				t.Helper()
				if got, want := served(t, env, "v", "A", "B", "C", "D"), "1 3 (null) 3"; got != want {
					t.Errorf("%s: served %s, want %s", when, got, want)
				}
				if got, want := trained(t, env, "v", "A", "B", "C", "D"), "2 1 2 (null)"; got != want {
					t.Errorf("%s: trained on %s, want %s", when, got, want)
				}
				status, err := env.Engine.ViewStatus(context.Background(), "v")
				if err != nil || status.Held != 2 || status.OnlineOnly != 2 {
					t.Errorf("%s: %d rows held, %d written online only, %v; want 2 and 2", when, status.Held, status.OnlineOnly, err)
				}
				if got := onlineOnlyKeys(t, env, "v"); !slices.Equal(got, []string{"B", "D"}) {
					t.Errorf("%s: online only are %v", when, got)
				}
			}
			check("at once")
			flushLog(env, "v")
			check("flushed")
			env.Reopen()
			check("opened again")

			materialize(env, "v", incremental, ever)
			if got := served(t, env, "v", "A", "B", "C", "D"); got != "2 3 2 3" {
				t.Errorf("materialized: served %s", got)
			}
			// The same moment, written to both stores: the mark is gone.
			mustIngestTo(env, "v", driftline.BothStores, row("B", 2, 3), row("D", 1, 3))
			if got := trained(t, env, "v", "A", "B", "C", "D"); got != "2 3 2 3" {
				t.Errorf("trained on %s", got)
			}
			if got := onlineOnlyKeys(t, env, "v"); got != nil {
				t.Errorf("online only are %v", got)
			}
		})
	}
}

func onlineOnlyKeys(t *testing.T, env *testenv.Env, view driftline.ViewName) (keys []string) {
	t.Helper()
	for b, err := range env.Engine.OnlineOnly(view) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			keys = append(keys, b.Column(0).ValueStr(i))
		}
	}
	return keys
}

// TestMaterializedLikeFeast has the cases in which Feast's end-to-end test and its issues
// put materialize and materialize-incremental.
func TestMaterializedLikeFeast(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	offline := func(events ...event) { mustIngestTo(env, "v", driftline.OfflineOnly, events...) }
	expect := func(when, want string) {
		t.Helper()
		if got := served(t, env, "v", "1", "2", "3"); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	offline(row("1", 10, 1), row("3", 10, 4), row("3", 20, 5))
	expect("before", "(null) (null) (null)")
	materialize(env, "v", 0, 15)
	expect("a range of times", "1 (null) 4")
	materialize(env, "v", incremental, 25)
	expect("the rest up to a time", "1 (null) 5")

	offline(row("3", 12, 99)) // an older row after a newer one
	materialize(env, "v", incremental, 26)
	expect("a newer value stays", "1 (null) 5")

	offline(row("2", 3, 7)) // late: its time was materialized long ago
	materialize(env, "v", incremental, 27)
	expect("a late row is not missed", "1 7 5")

	offline(row("1", 30, 8))
	materialize(env, "v", incremental, ever) // an end in the future
	offline(row("1", 40, 9))
	expect("before the next", "8 7 5")
	materialize(env, "v", incremental, 50)
	expect("after an end in the future", "9 7 5")

	offline(row("1", 60, 10))
	materialize(env, "v", 60, 60)
	expect("both ends are inclusive", "10 7 5")

	var intervals []string
	for line, err := range env.Engine.Registry().Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Kind == "view.materialized" {
			intervals = append(intervals, string(line.Body))
		}
	}
	if len(intervals) != 7 || !strings.Contains(intervals[0], `"start_ts":"`+minute(0)) || !strings.Contains(intervals[0], `"end_ts":"`+minute(15)) {
		t.Errorf("intervals in the ledger: %v", intervals)
	}
}

// targetHistory is what a random history wrote. Values number the rows, so that they say
// which of two equals was written later, whenever it went online.
type targetHistory struct {
	offline, online, held []event
	written               int64
	log                   []string
}

// TestServedIsWhatWasMaterialized writes random histories to the three targets, with
// materializations, compactions, bulk writes and restarts in between, and compares both
// stores with a loop over what was written.
func TestServedIsWhatWasMaterialized(t *testing.T) {
	env := testenv.New(t)
	random := rand.New(rand.NewPCG(4, 2013))
	for n := range histories / 2 {
		name := driftline.ViewName(fmt.Sprintf("view_%d", n))
		env.Apply(targeted(name))
		var h targetHistory
		for range 2 + random.IntN(14) {
			h.step(env, name, random)
		}
		slices.SortFunc(h.online, func(a, b event) int { return int(a.value - b.value) })
		for _, key := range []string{"A", "B", "C", "D"} {
			if got, want := served(t, env, name, key), oracle(h.online, key, ever, 0, false); got != want {
				t.Errorf("history %d: served %s = %s, want %s", n, key, got, want)
			}
			if got, want := trained(t, env, name, key), oracle(h.offline, key, ever, 0, false); got != want {
				t.Errorf("history %d: trained %s = %s, want %s", n, key, got, want)
			}
		}
		status, err := env.Engine.ViewStatus(context.Background(), name)
		if err != nil || status.Held < int64(len(h.held)) {
			t.Errorf("history %d: %d rows are held back at most, want %d: %v", n, status.Held, len(h.held), err)
		}
		if t.Failed() {
			t.Fatalf("%s", strings.Join(h.log, "\n"))
		}
	}
}

// step does one random thing to a view.
func (h *targetHistory) step(env *testenv.Env, view driftline.ViewName, random *rand.Rand) {
	env.Engine.SetSmallRows([]int64{0, 10}[random.IntN(2)])
	var rows []event
	for range 1 + random.IntN(3) {
		rows = append(rows, event{key: string(rune('A' + random.IntN(3))), event: random.Int64N(6), created: random.Int64N(3), value: h.written})
		h.written++
	}
	switch random.IntN(12) {
	case 0, 1, 2:
		mustIngestTo(env, view, driftline.BothStores, rows...)
		h.offline, h.online = append(h.offline, rows...), append(h.online, rows...)
		h.did("both %v", rows)
	case 3, 4, 5, 6:
		mustIngestTo(env, view, driftline.OfflineOnly, rows...)
		h.offline, h.held = append(h.offline, rows...), append(h.held, rows...)
		h.did("offline %v", rows)
	case 7:
		mustIngestTo(env, view, driftline.OnlineOnly, rows...)
		h.online = append(h.online, rows...)
		h.did("online %v", rows)
	case 8, 9:
		h.materialize(env, view, random)
	case 10:
		flushLog(env, view)
		if _, err := env.Engine.Compact(context.Background(), "features."+string(view)); err != nil {
			env.T.Fatal(err)
		}
		h.did("compact")
	default:
		env.Reopen()
		h.did("reopen")
	}
}

func (h *targetHistory) did(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *targetHistory) materialize(env *testenv.Env, view driftline.ViewName, random *rand.Rand) {
	from, to := random.Int64N(6), random.Int64N(6)
	if from > to {
		from = incremental
	}
	materialize(env, view, from, to)
	h.did("materialize %d to %d", from, to)
	var held []event
	for _, e := range h.held {
		if from <= e.event && e.event <= to {
			h.online = append(h.online, e)
		} else {
			held = append(held, e)
		}
	}
	h.held = held
}

// jobOf starts a materialization of all that is held back of v, and does not wait.
func jobOf(t *testing.T, env *testenv.Env, force bool) (driftline.Materialization, error) {
	t.Helper()
	return env.Engine.Materialize(context.Background(), driftline.MaterializationRequest{
		Views: []driftline.ViewName{"v"}, End: minuteTime(ever), Incremental: true, Force: force,
	})
}

// heldUp is an engine whose materialization of v, of one row, waits at its last step.
func heldUp(t *testing.T) (env *testenv.Env, job driftline.Materialization, goOn chan error) {
	t.Helper()
	env = testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 1, 1))
	reached, goOn := make(chan struct{}), make(chan error, 1)
	env.Engine.FailWith("rows materialized", func() error {
		close(reached)
		return <-goOn
	})
	job, err := jobOf(t, env, false)
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	env.Engine.FailWith("", nil)
	return env, job, goOn
}

// A crash after the rows went online, and before that was written down, changes nothing:
// when the folder is open again the job goes on.
func TestAMaterializationSurvivesACrash(t *testing.T) {
	env, job, goOn := heldUp(t)
	copied := env.CopyFolder()
	goOn <- nil
	again := testenv.NewIn(t, copied)
	if state, err := again.Engine.Materialization(job.ID); err != nil || state.Started != job.Started {
		t.Fatalf("the job is gone: %+v, %v", state, err)
	}
	state, err := again.Engine.Materialized(context.Background(), job.ID)
	if err != nil || state.State != driftline.MaterializationDone || !slices.Equal(state.Done, job.Views) {
		t.Errorf("after the crash: %+v, %v", state, err)
	}
	if got := served(t, again, "v", "A"); got != "1" {
		t.Errorf("served %s", got)
	}
	if next, err := jobOf(t, again, false); err != nil || next.Total != 0 || next.ID == job.ID {
		t.Errorf("the next: %+v, %v", next, err)
	}
}

func TestAMaterializationThatFailsSaysSo(t *testing.T) {
	env, job, goOn := heldUp(t)
	goOn <- driftline.Errorf(driftline.DataLoss, "the disk is gone")
	state, err := env.Engine.Materialized(context.Background(), job.ID)
	if err == nil || state.State != driftline.MaterializationFailed || state.Error != "the disk is gone" {
		t.Errorf("%+v, %v", state, err)
	}
	env.Reopen()
	if state, err = env.Engine.Materialization(job.ID); err != nil || state.State != driftline.MaterializationFailed {
		t.Errorf("opened again: %+v, %v", state, err)
	}
	materialize(env, "v", incremental, ever)
	if got := served(t, env, "v", "A"); got != "1" {
		t.Errorf("served %s", got)
	}
}

func TestAViewIsMaterializedByOneJobAtATime(t *testing.T) {
	env, job, goOn := heldUp(t)
	if _, err := jobOf(t, env, false); driftline.CodeOf(err) != driftline.Conflict || !strings.Contains(err.Error(), "wait for "+job.ID) {
		t.Errorf("a second job: %v", err)
	}
	forced := make(chan driftline.Materialization)
	go func() {
		second, err := jobOf(t, env, true)
		if err != nil {
			t.Error(err)
		}
		forced <- second
	}()
	for { // until the first is told to end
		if state, _ := env.Engine.Materialization(job.ID); state.State != driftline.MaterializationRunning {
			t.Fatal("the first ended by itself")
		}
		if env.Engine.Cancelled(job.ID) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	goOn <- context.Canceled
	second := <-forced
	if state, err := env.Engine.Materialization(job.ID); err != nil || state.State != driftline.MaterializationCancelled {
		t.Errorf("the first: %+v, %v", state, err)
	}
	if state, err := env.Engine.Materialized(context.Background(), second.ID); err != nil || state.State != driftline.MaterializationDone {
		t.Errorf("the second: %+v, %v", state, err)
	}
	if all := env.Engine.Materializations(); len(all) != 2 || all[0].ID != second.ID {
		t.Errorf("jobs: %+v", all)
	}
}

func TestAKeyNamesAWriteWhereverItGoes(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	for _, target := range []driftline.Target{driftline.BothStores, driftline.OnlineOnly, driftline.OfflineOnly} {
		key := "key of " + string(target)
		first, err := ingestTo(env, "v", target, key, row("A", 1, 1))
		if err != nil {
			t.Fatal(err)
		}
		again, err := ingestTo(env, "v", target, key, row("A", 1, 1))
		if err != nil || !again.Duplicate || again.Sequence != first.Sequence || again.To != first.To {
			t.Errorf("%s again: %+v, %v; want %+v", target, again, err, first)
		}
		for _, other := range []driftline.Target{driftline.BothStores, driftline.OnlineOnly, driftline.OfflineOnly} {
			if _, err := ingestTo(env, "v", other, key, row("A", 1, 1)); (driftline.CodeOf(err) == driftline.Conflict) != (other != target) {
				t.Errorf("the key of %s for %s: %v", target, other, err)
			}
		}
	}
}

func TestAnErasureTakesRowsOfEitherStore(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.OnlineOnly, row("A", 1, 1), row("B", 1, 1))
	mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 2, 2), row("B", 2, 2))
	if _, err := env.Engine.Erase(context.Background(), driftline.ErasureRequest{Entity: "airport", Keys: map[string]string{"origin": "A"}}); err != nil {
		t.Fatal(err)
	}
	if got := served(t, env, "v", "A", "B"); got != "(null) 1" {
		t.Errorf("served %s", got)
	}
	materialize(env, "v", incremental, ever)
	if got := served(t, env, "v", "A", "B"); got != "(null) 2" {
		t.Errorf("materialized: served %s", got)
	}
}

// A rollback leaves rows that are held back where they are: offline.
func TestARollbackMaterializesNothing(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1))
	mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 2, 2))
	flushLog(env, "v")
	ctx := context.Background()
	snapshots, err := env.Engine.Snapshots(ctx, "features.v")
	if err != nil {
		t.Fatal(err)
	}
	mustIngestTo(env, "v", driftline.BothStores, row("A", 3, 3))
	if _, err := env.Engine.Rollback(ctx, "features.v", snapshots[len(snapshots)-1].ID); err != nil {
		t.Fatal(err)
	}
	if got, want := served(t, env, "v", "A")+" "+trained(t, env, "v", "A"), "1 2"; got != want {
		t.Errorf("served and trained on %s, want %s", got, want)
	}
	materialize(env, "v", incremental, ever)
	if got := served(t, env, "v", "A"); got != "2" {
		t.Errorf("materialized: served %s", got)
	}
}

func TestWhatCannotBeMaterialized(t *testing.T) {
	env := testenv.New(t)
	defs := targeted("v")
	labels := defs.FeatureViews[0]
	labels.Name, labels.Horizon = "labels", driftline.Duration(time.Hour)
	defs.FeatureViews = append(defs.FeatureViews, labels)
	env.Apply(defs)
	for _, c := range []struct {
		req  driftline.MaterializationRequest
		want string
	}{
		{driftline.MaterializationRequest{}, "has no end"},
		{driftline.MaterializationRequest{Start: minuteTime(2), End: minuteTime(1)}, "is after its end"},
		{driftline.MaterializationRequest{Views: []driftline.ViewName{"w"}, End: minuteTime(1)}, `feature view "w" does not exist`},
		{driftline.MaterializationRequest{Views: []driftline.ViewName{"labels"}, End: minuteTime(1)}, "not served online"},
	} {
		if _, err := env.Engine.Materialize(context.Background(), c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.req, err, c.want)
		}
	}
	if _, err := ingestTo(env, "labels", driftline.OnlineOnly, "", row("A", 1, 1)); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("labels online: %v", err)
	}
	if job := func() driftline.Materialization {
		job, err := env.Engine.Materialize(context.Background(), driftline.MaterializationRequest{End: minuteTime(1)})
		if err != nil {
			t.Fatal(err)
		}
		return job
	}(); !slices.Equal(job.Views, []driftline.ViewName{"v"}) {
		t.Errorf("all views are %v", job.Views)
	}
}

// A check tells what differs because writes said so from what must not differ.
func TestACheckKnowsOfWritesToOneStore(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	env.Clock.Set(minuteTime(60))
	mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1), row("B", 1, 1), row("C", 1, 1))
	mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 2, 2))
	mustIngestTo(env, "v", driftline.OnlineOnly, row("B", 2, 3), row("D", 1, 3))
	check := func() driftline.ViewCheck {
		t.Helper()
		report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{"v"}})
		if err != nil {
			t.Fatal(err)
		}
		return report.Views[0]
	}
	if got := check(); got.Differences != 0 || got.OneStore == 0 {
		t.Errorf("%+v", got)
	}
	flushLog(env, "v")
	if got := check(); got.Differences != 0 || got.OneStore == 0 {
		t.Errorf("flushed: %+v", got)
	}
	if err := env.Engine.LoseOnline("v"); err != nil {
		t.Fatal(err)
	}
	if got := check(); got.Differences == 0 || got.Examples[0].Entity["origin"] != "C" {
		t.Errorf("a difference that nobody asked for is not found: %+v", got)
	}
}

// What files hold by their write sequences is known from manifests: those without a row that
// was held back are not read, and may even be gone.
func TestAMaterializationReadsOnlyFilesThatMayHaveItsRows(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1), row("B", 1, 2))
	flushLog(env, "v")
	old, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "features", "v", "data", "*.parquet"))
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	mustIngestTo(env, "v", driftline.OfflineOnly, row("B", 2, 3), row("C", 2, 4))
	flushLog(env, "v")
	if err := os.Remove(old[0]); err != nil {
		t.Fatal(err)
	}
	job := materialize(env, "v", -1, 5)
	if job.State != driftline.MaterializationDone || job.Rows != 2 {
		t.Errorf("%+v, want both rows", job)
	}
	if got := served(t, env, "v", "A", "B", "C"); got != "1 3 4" {
		t.Errorf("served: %s", got)
	}
}

func rebuildServed(t *testing.T, env *testenv.Env, view driftline.ViewName) (driftline.Materialization, error) {
	t.Helper()
	job, err := env.Engine.Materialize(context.Background(), driftline.MaterializationRequest{Views: []driftline.ViewName{view}, Rebuild: true})
	if err != nil {
		return job, err
	}
	return env.Engine.Materialized(context.Background(), job.ID)
}

func TestARebuildBringsBackWhatIsLostOnline(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1), row("B", 1, 2))
	flushLog(env, "v")
	mustIngestTo(env, "v", driftline.BothStores, row("B", 2, 3))
	mustIngestTo(env, "v", driftline.OfflineOnly, row("A", 2, 4))
	if err := env.Engine.LoseOnline("v"); err != nil {
		t.Fatal(err)
	}
	if got := served(t, env, "v", "A", "B"); got != "(null) (null)" {
		t.Fatalf("lost, and served: %s", got)
	}
	job, err := rebuildServed(t, env, "v")
	if err != nil || job.Rows != 4 || job.Total != 4 || !slices.Equal(job.Done, []driftline.ViewName{"v"}) {
		t.Errorf("%+v, %v", job, err)
	}
	if got := served(t, env, "v", "A", "B"); got != "1 3" { // what was offline only stays so
		t.Errorf("served: %s", got)
	}
	for _, req := range []driftline.MaterializationRequest{
		{Rebuild: true}, {Rebuild: true, Views: []driftline.ViewName{"v"}, End: minuteTime(1)},
		{Rebuild: true, Views: []driftline.ViewName{"v"}, Incremental: true},
	} {
		if _, err := env.Engine.Materialize(context.Background(), req); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

// A rebuild that is cancelled leaves the view without online rows. Reads do not show it.
func TestACancelledRebuildIsAnsweredOfflineUntilUpkeep(t *testing.T) {
	env := testenv.New(t)
	env.Apply(targeted("v"))
	mustIngestTo(env, "v", driftline.BothStores, row("A", 1, 1), row("B", 1, 2))
	flushLog(env, "v")
	cancelled := make(chan struct{})
	env.Engine.AtFirst("online rows removed", func() {
		go func() {
			defer close(cancelled)
			if _, err := env.Engine.CancelMaterialization(context.Background(), "materialize-1"); err != nil {
				t.Error(err)
			}
		}()
		for !env.Engine.Cancelled("materialize-1") {
			time.Sleep(time.Millisecond)
		}
	})
	job, err := rebuildServed(t, env, "v")
	<-cancelled
	if err == nil || job.State != driftline.MaterializationCancelled {
		t.Fatalf("%+v, %v", job, err)
	}
	if got := served(t, env, "v", "A", "B"); got != "1 2" {
		t.Errorf("served after the cancelling: %s", got)
	}
	if err := env.Engine.MendAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := env.Engine.ForgetSnapshots(context.Background(), "v"); err != nil { // so that only the online rows can answer
		t.Fatal(err)
	}
	if got := served(t, env, "v", "A", "B"); got != "1 2" {
		t.Errorf("served after upkeep: %s", got)
	}
}

// manyRowed are a view that keeps a history and one with an aggregation, whose window has all
// rows of the tests.
func manyRowed(env *testenv.Env) {
	history, aggregations := targeted("h"), targeted("a")
	history.FeatureViews[0].History = &driftline.History{Last: 5}
	aggregations.FeatureViews[0].Aggregations = []driftline.Aggregation{{
		Column: "value", Function: driftline.Sum, Windows: []driftline.Duration{driftline.Duration(1000 * 24 * time.Hour)},
	}}
	env.Apply(history)
	env.Apply(aggregations)
}

// Rows of the online store alone would be part of values that no training set can have.
func TestOnlineOnlyWritesAreRefusedWhereValuesComeFromManyRows(t *testing.T) {
	env := testenv.New(t)
	manyRowed(env)
	for _, view := range []driftline.ViewName{"h", "a"} {
		_, err := ingestTo(env, view, driftline.OnlineOnly, "", row("A", 1, 1))
		var refused *driftline.Error
		if !errors.As(err, &refused) || refused.Code != driftline.FailedPrecondition || refused.Hint == "" || refused.Ref != driftline.ViewRef(view).String() {
			t.Errorf("%s: %v", view, err)
		}
		if got := served(t, env, view, "A"); got != "(null)" {
			t.Errorf("%s serves %s, want nothing to be written", view, got)
		}
	}
}

// Events that are written offline only are in training sets, and change no aggregate and no
// history that is served until they are materialized, whatever happens meanwhile.
func TestABackfillChangesNoServedValueUntilItIsMaterialized(t *testing.T) {
	for _, small := range []int64{100, 0} { // 0: by the bulk path
		t.Run(fmt.Sprint("small=", small), func(t *testing.T) {
			env := testenv.New(t)
			manyRowed(env)
			env.Engine.SetSmallRows(small)
			for _, view := range []driftline.ViewName{"h", "a"} {
				mustIngestTo(env, view, driftline.BothStores, row("A", 3, 1), row("B", 3, 2))
				served(t, env, view, "A", "B") // what reads keep is of before
				mustIngestTo(env, view, driftline.OfflineOnly, row("A", 1, 10), row("A", 2, 100), row("C", 1, 1000))
				mustIngestTo(env, view, driftline.BothStores, row("B", 4, 20))
			}
			check := func(when, aggregates, rows string) {
				t.Helper()
				if got := served(t, env, "a", "A", "B", "C"); got != aggregates {
					t.Errorf("%s: served %s, want %s", when, got, aggregates)
				}
				if got, want := trained(t, env, "a", "A", "B", "C"), "111 22 1000"; got != want {
					t.Errorf("%s: trained on %s, want %s", when, got, want)
				}
				if got := historyValues(t, env, "h", "A"); got != rows {
					t.Errorf("%s: the history has %s, want %s", when, got, rows)
				}
			}
			check("written", "1 22 (null)", "1")
			for _, view := range []driftline.ViewName{"h", "a"} {
				flushLog(env, view)
			}
			check("flushed", "1 22 (null)", "1")
			env.Reopen()
			check("opened again", "1 22 (null)", "1")
			for _, view := range []driftline.ViewName{"h", "a"} {
				rebuildView(env, view)
			}
			check("rebuilt", "1 22 (null)", "1")
			for _, view := range []driftline.ViewName{"h", "a"} {
				if job := materialize(env, view, 0, 1); job.Rows != 2 {
					t.Errorf("%s: %d rows were materialized", view, job.Rows)
				}
			}
			check("materialized in part", "11 22 1000", "1 10")
			for _, view := range []driftline.ViewName{"h", "a"} {
				materialize(env, view, incremental, ever)
			}
			check("materialized", "111 22 1000", "1 100 10")
			for _, view := range []driftline.ViewName{"h", "a"} {
				report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{view}})
				if err != nil || report.Differences() != 0 || report.Views[0].OneStore != 0 || report.Views[0].Values == 0 {
					t.Errorf("%s: the check found %+v, %v", view, report, err)
				}
			}
		})
	}
}

// historyValues are the values of an entity's history, newest first.
func historyValues(t *testing.T, env *testenv.Env, view driftline.ViewName, key string) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil)
	entities, _, err := array.RecordFromJSON(env.Mem, schema, strings.NewReader(fmt.Sprintf(`[{"origin": %q}]`, key)))
	if err != nil {
		t.Fatal(err)
	}
	defer entities.Release()
	found, err := env.Engine.History(context.Background(), driftline.HistoryRequest{View: view, At: minuteTime(ever)}, entities)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Release()
	return strings.Join(lastColumn(t, driftline.BatchesOf(found.Schema(), found)), " ")
}

// rebuildView makes the online rows of a view anew.
func rebuildView(env *testenv.Env, view driftline.ViewName) {
	env.T.Helper()
	ctx := context.Background()
	job, err := env.Engine.Materialize(ctx, driftline.MaterializationRequest{Views: []driftline.ViewName{view}, Rebuild: true})
	if err == nil {
		_, err = env.Engine.Materialized(ctx, job.ID)
	}
	if err != nil {
		env.T.Fatal(err)
	}
}
