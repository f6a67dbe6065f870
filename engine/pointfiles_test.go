package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/storage/kv"
)

// tracked is an engine beside what its runs must have: the history of each metric as a set.
type tracked struct {
	*testenv.Env
	want map[driftline.RunID]map[string]map[wantedPoint]bool
}

// wantedPoint is a point as its bits, so that NaN is itself and -0 is not +0.
type wantedPoint struct {
	step, time int64
	value      uint64
}

func (p wantedPoint) compare(o wantedPoint) int {
	order := func(bits uint64) uint64 {
		if bits>>63 != 0 {
			return ^bits
		}
		return bits | 1<<63
	}
	return cmp.Or(cmp.Compare(p.step, o.step), cmp.Compare(p.time, o.time), cmp.Compare(order(p.value), order(o.value)))
}

func wanted(m driftline.Metric) wantedPoint {
	value := float64(m.Value)
	if math.IsNaN(value) {
		value = math.NaN()
	}
	return wantedPoint{m.Step, m.Time.UnixMicro(), math.Float64bits(value)}
}

func newTracked(t *testing.T) *tracked {
	return &tracked{testenv.New(t), map[driftline.RunID]map[string]map[wantedPoint]bool{}}
}

func (e *tracked) start(id driftline.RunID) {
	e.T.Helper()
	if _, err := e.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e", ID: id}); err != nil {
		e.T.Fatal(err)
	}
	e.want[id] = map[string]map[wantedPoint]bool{}
}

func (e *tracked) log(id driftline.RunID, points ...driftline.Metric) {
	e.T.Helper()
	if err := e.Engine.Registry().LogAnyRun(id, driftline.RunLog{Metrics: points}); err != nil {
		e.T.Fatal(err)
	}
	for _, p := range points {
		if e.want[id][p.Key] == nil {
			e.want[id][p.Key] = map[wantedPoint]bool{}
		}
		e.want[id][p.Key][wanted(p)] = true
	}
}

func (e *tracked) finish(id driftline.RunID) {
	e.T.Helper()
	if _, err := e.Engine.Registry().FinishRun(id, driftline.RunFinished); err != nil {
		e.T.Fatal(err)
	}
}

// remove removes a run for good.
func (e *tracked) remove(id driftline.RunID) error {
	e.T.Helper()
	if _, err := e.Engine.Registry().DeleteRun(id); err != nil {
		e.T.Fatal(err)
	}
	_, err := e.Engine.CleanUp(context.Background(), driftline.RunCleanup{Runs: []driftline.RunID{id}})
	delete(e.want, id)
	return err
}

// move moves points into files.
func (e *tracked) move(all bool) int64 {
	e.T.Helper()
	moved, err := e.Engine.MovePoints(context.Background(), all)
	if err != nil {
		e.T.Fatal(err)
	}
	return moved
}

// histories are those of all metrics, one after the other.
func (e *tracked) histories() (all []string) {
	for _, id := range slices.Sorted(maps.Keys(e.want)) {
		for _, key := range slices.Sorted(maps.Keys(e.want[id])) {
			for _, p := range slices.SortedFunc(maps.Keys(e.want[id][key]), wantedPoint.compare) {
				all = append(all, fmt.Sprint(id, " ", key, " ", p))
			}
		}
	}
	return all
}

// check compares every way in which points are read with what they must be.
func (e *tracked) check() {
	e.T.Helper()
	want, r := e.histories(), e.Engine.Registry()
	var one, each []string
	for _, id := range slices.Sorted(maps.Keys(e.want)) {
		for _, key := range slices.Sorted(maps.Keys(e.want[id])) {
			for m, err := range r.Metrics(id, key) {
				if err != nil {
					e.T.Fatal(err)
				}
				one = append(one, fmt.Sprint(id, " ", key, " ", wanted(m)))
			}
		}
	}
	for p, err := range r.EachPoint() {
		if err != nil {
			e.T.Fatal(err)
		}
		each = append(each, fmt.Sprint(p.Run, " ", p.Key, " ", wanted(p.Metric)))
	}
	for name, got := range map[string][]string{"metric by metric": one, "all together": each} {
		if !slices.Equal(got, want) {
			e.T.Fatalf("%s there are %d points, want %d:\n%s\nwant\n%s", name, len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// fsck closes the engine, and wants nothing to be wrong with its folder.
func (e *tracked) fsck() {
	e.T.Helper()
	if err := e.Engine.Close(); err != nil {
		e.T.Fatal(err)
	}
	report, err := engine.Fsck(e.Dir, false)
	if err != nil || report.Problems != 0 || report.Points != int64(len(e.histories())) {
		e.T.Fatalf("fsck says %+v, %v, want %d points", report, err, len(e.histories()))
	}
	e.Reopen()
}

// pointFiles are the data files of the table of points.
func pointFiles(t *testing.T, env *testenv.Env) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(env.Dir, "warehouse", "meta", "metric_history", "data", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sec(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

// Points go into files run by run, once a run has ended, is old or has very many, and are read as before.
func TestPointsMoveIntoFilesWhenTheirRunsAreDue(t *testing.T) {
	e := newTracked(t)
	for _, id := range []driftline.RunID{"ended", "long", "young"} {
		e.start(id)
		e.log(id, driftline.Metric{Key: "loss", Value: 1, Step: 1, Time: sec(1)}, driftline.Metric{Key: "loss", Value: 0.5, Step: 2, Time: sec(2)},
			driftline.Metric{Key: "auc", Value: driftline.Number(math.NaN()), Time: sec(3)})
	}
	if moved := e.move(false); moved != 0 || len(pointFiles(t, e.Env)) != 0 {
		t.Errorf("%d points moved while all runs are young", moved)
	}
	many := make([]driftline.Metric, 70_000)
	for i := range many {
		many[i] = driftline.Metric{Key: "tick", Value: driftline.Number(i), Step: int64(i), Time: sec(i)}
	}
	e.log("long", many...)
	e.finish("ended")
	if moved := e.move(false); moved != 70_003+3 {
		t.Errorf("%d points moved, want those of the run that ended and of the long one", moved)
	}
	e.check()
	e.Clock.Advance(25 * time.Hour)
	if moved := e.move(false); moved != 3 {
		t.Errorf("%d points moved, want those of the run that has become old", moved)
	}
	e.log("ended", driftline.Metric{Key: "loss", Value: 0.75, Step: 1, Time: sec(9)}, driftline.Metric{Key: "late", Value: 1, Time: sec(9)})
	e.check()
	e.Reopen()
	e.check()
	e.fsck()
	fork, err := e.Engine.Registry().CreateRun(driftline.RunSpec{Fork: &driftline.RunFork{Run: "long", Step: 2}})
	if err != nil || fork.Metrics["tick"] != 2 || fork.Metrics["loss"] != 0.5 || len(fork.Metrics) != 3 {
		t.Errorf("a fork of a run whose points are in files has %v, %v", fork.Metrics, err)
	}
	if n := rowsOfSQL(t, e.Env, "SELECT 1 FROM meta.metric_history WHERE run_id = 'ended'"); n != 5 {
		t.Errorf("SQL reads %d points of the run that ended, want 5", n)
	}
}

// TestACrashWhilePointsMoveKeepsEachOnce stops a move at each step, and what was done of it by then stands.
func TestACrashWhilePointsMoveKeepsEachOnce(t *testing.T) {
	for _, step := range engine.PointSteps {
		t.Run(step, func(t *testing.T) {
			e := newTracked(t)
			e.start("r")
			e.log("r", driftline.Metric{Key: "loss", Value: 1, Step: 1, Time: sec(1)}, driftline.Metric{Key: "loss", Value: 2, Step: 2, Time: sec(1)})
			e.Engine.FailAt(step, errCrash)
			if _, err := e.Engine.MovePoints(context.Background(), true); !errors.Is(err, errCrash) {
				t.Fatalf("the step was not reached: %v", err)
			}
			e.check()
			e.Reopen()
			e.check()
			e.log("r", driftline.Metric{Key: "loss", Value: 2, Step: 2, Time: sec(1)}, driftline.Metric{Key: "loss", Value: 3, Step: 3, Time: sec(1)})
			e.move(true)
			e.check()
			rows := int64(0)
			for _, s := range snapshotsOfTable(t, e.Env, "meta.metric_history") {
				rows = s.Rows
			}
			if rows != 3 {
				t.Errorf("the table has %d rows, want each point once", rows)
			}
			e.fsck()
		})
	}
}

// A run that is removed for good is in no file any more, also if the process dies in between, and
// nobody sees its points from the moment on that it is gone.
func TestRemovedRunsAreTakenOutOfFiles(t *testing.T) {
	const gone = driftline.RunID("Zq7-remove-me-91x")
	folder := func(e *tracked) string { return filepath.Join(e.Dir, "warehouse", "meta") }
	begin := func(t *testing.T) *tracked {
		e := newTracked(t)
		for _, id := range []driftline.RunID{"a", gone, "z"} {
			e.start(id)
			e.log(id, driftline.Metric{Key: "loss", Value: 1, Step: 1, Time: sec(1)}, driftline.Metric{Key: "loss", Value: 2, Step: 2, Time: sec(1)})
		}
		e.move(true)
		e.log(gone, driftline.Metric{Key: "late", Value: 1, Time: sec(1)})
		if len(filesWith(t, folder(e), string(gone))) == 0 {
			t.Fatal("the run is in no file to begin with")
		}
		return e
	}
	t.Run("at once", func(t *testing.T) {
		e := begin(t)
		if err := e.remove(gone); err != nil {
			t.Fatal(err)
		}
		e.check()
		if left := filesWith(t, folder(e), string(gone)); len(left) > 0 {
			t.Errorf("the run is still in %v", left)
		}
		e.fsck()
		e.check()
	})
	for _, step := range []string{engine.StepPointsErased, "only the ledger knows"} {
		t.Run("after a death: "+step, func(t *testing.T) {
			e := begin(t)
			if step == engine.StepPointsErased {
				e.Engine.FailAt(step, errCrash)
				if err := e.remove(gone); !errors.Is(err, errCrash) {
					t.Fatalf("the step was not reached: %v", err)
				}
			} else { // only the ledger knows of it yet
				if _, err := e.Engine.Registry().DeleteRun(gone); err != nil {
					t.Fatal(err)
				}
				if _, err := e.Engine.Registry().CleanUp(context.Background(), driftline.RunCleanup{}); err != nil {
					t.Fatal(err)
				}
				delete(e.want, gone)
			}
			e.check()
			e.Reopen()
			e.check()
			if left := filesWith(t, folder(e), string(gone)); len(left) > 0 {
				t.Errorf("the run is still in %v", left)
			}
			e.fsck()
		})
	}
	t.Run("while its points move", func(t *testing.T) {
		e := begin(t)
		e.start("quick")
		e.log("quick", driftline.Metric{Key: "loss", Value: 1, Time: sec(1)})
		removed := make(chan error)
		e.Engine.AtFirst(engine.PointSteps[0], func() {
			go func() { removed <- e.remove("quick") }()
			for { // until it is gone, and its points are about to be in a file
				if _, err := e.Engine.Registry().Run("quick"); driftline.CodeOf(err) == driftline.NotFound {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		e.move(true)
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		e.check()
		e.fsck()
		if n := rowsOfStored(t, e.Env, "quick"); n != 0 {
			t.Errorf("%d rows of the run are in files", n)
		}
	})
}

// Whoever reads while points move, files are merged and runs are removed sees each point once, all the time.
func TestReadersSeeEveryPointWhilePointsMove(t *testing.T) {
	e := newTracked(t)
	const points = 2000
	steps := make([]driftline.Metric, points)
	for i := range steps {
		steps[i] = driftline.Metric{Key: "loss", Value: driftline.Number(i), Step: int64(i), Time: sec(i)}
	}
	read := func(rows int, key string, err error) {
		if err != nil || rows != points {
			t.Errorf("of %s %d points are read, want %d: %v", key, rows, points, err)
		}
	}
	var readers sync.WaitGroup
	started := make(chan driftline.RunID, 100)
	for range 2 {
		readers.Go(func() {
			for id := range started {
				for range 8 {
					n, failed := 0, error(nil)
					for _, err := range e.Engine.Registry().Metrics(id, "loss") {
						failed = errors.Join(failed, err)
						n++
					}
					read(n, string(id), failed)
				}
				seen, failed := map[driftline.RunID]int{}, error(nil)
				for p, err := range e.Engine.Registry().EachPoint() {
					failed = errors.Join(failed, err)
					seen[p.Run]++
				}
				read(seen[id], "all of "+string(id), failed)
			}
		})
	}
	for i := range 8 {
		id, brief := driftline.RunID(fmt.Sprint("r", i)), driftline.RunID(fmt.Sprint("brief", i))
		for _, run := range []driftline.RunID{id, brief} {
			e.start(run)
			e.log(run, steps...)
		}
		started <- id
		e.move(true)
		if err := e.remove(brief); err != nil {
			t.Error(err)
		}
		if _, err := e.Engine.Compact(context.Background(), "meta.metric_history"); err != nil {
			t.Error(err)
		}
	}
	close(started)
	readers.Wait()
	e.check()
}

// Where a file is damaged, its runs are an error that names it, and all others are read, logged and moved.
func TestADamagedFileOfPointsStopsItsRunsOnly(t *testing.T) {
	e := newTracked(t)
	e.start("a")
	e.start("b")
	e.log("a", driftline.Metric{Key: "loss", Value: 1, Step: 1, Time: sec(1)})
	e.move(true)
	damaged := pointFiles(t, e.Env)[0]
	e.log("b", driftline.Metric{Key: "loss", Value: 2, Step: 2, Time: sec(1)})
	e.move(true)
	if err := e.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(damaged, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Fsck(e.Dir, false); driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("fsck says %v", err)
	}
	e.Reopen()
	name := strings.TrimSuffix(filepath.Base(damaged), ".parquet")
	for _, err := range e.Engine.Registry().Metrics("a", "loss") {
		if driftline.CodeOf(err) != driftline.DataLoss || !strings.Contains(err.Error(), name) {
			t.Errorf("the run of the damaged file: %v", err)
		}
	}
	e.log("a", driftline.Metric{Key: "loss", Value: 3, Step: 3, Time: sec(1)})
	e.log("b", driftline.Metric{Key: "loss", Value: 3, Step: 3, Time: sec(1)})
	e.move(true)
	var steps []int64
	for m, err := range e.Engine.Registry().Metrics("b", "loss") {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, m.Step)
	}
	if !slices.Equal(steps, []int64{2, 3}) {
		t.Errorf("the other run has steps %v", steps)
	}
	if err := e.remove("a"); driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("removing the run of the damaged file for good: %v", err)
	}
	content[len(content)/2] ^= 1 // it is restored
	if err := os.WriteFile(damaged, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Reopen()
	if n := rowsOfStored(t, e.Env, "a"); n != 0 {
		t.Errorf("%d rows of the removed run are in files", n)
	}
	e.check()
}

// fsck finds what is noted wrongly of points in files, and mends it.
func TestFsckKnowsPointsInFiles(t *testing.T) {
	e := newTracked(t)
	e.start("a")
	e.log("a", driftline.Metric{Key: "loss", Value: 1, Step: 1, Time: sec(1)})
	e.move(true)
	if err := e.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	changeKeys(t, e.Dir, func(b *kv.Batch) {
		b.Delete([]byte("mfa\x00\x01"))
		b.Delete([]byte("mla\x00\x01loss\x00\x01"))
		b.Set([]byte("mlb\x00\x01loss\x00\x01"), nil)
	})
	found, err := engine.Fsck(e.Dir, false)
	if err != nil || found.Problems != 3 || found.Points != 1 {
		t.Errorf("a check says %+v, %v", found, err)
	}
	if mended, err := engine.Fsck(e.Dir, true); err != nil || !mended.Repaired {
		t.Errorf("a rebuild says %+v, %v", mended, err)
	}
	e.Reopen()
	e.check()
	e.fsck()
}

// TestPointsAreOneSetWhereverTheyAre does at random what can happen to points, with deaths in between.
func TestPointsAreOneSetWhereverTheyAre(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			e, random := newTracked(t), rand.New(rand.NewPCG(seed, 3))
			ids, next := []driftline.RunID{}, 0
			values := []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN()}
			for range 60 {
				if len(ids) < 3 {
					next++
					ids = append(ids, driftline.RunID(fmt.Sprint([]string{"a", "b", "a-b"}[random.IntN(3)], "-", next)))
					e.start(ids[len(ids)-1])
				}
				which := random.IntN(len(ids))
				switch random.IntN(10) {
				case 0:
					e.finish(ids[which])
				case 1, 2:
					e.move(random.IntN(2) == 0)
				case 3:
					if _, err := e.Engine.Compact(context.Background(), "meta.metric_history"); err != nil {
						t.Fatal(err)
					}
				case 4:
					e.Engine.FailAt(engine.PointSteps[random.IntN(len(engine.PointSteps))], errCrash)
					_, _ = e.Engine.MovePoints(context.Background(), true)
					e.Reopen()
				case 5:
					if random.IntN(3) == 0 {
						if err := e.remove(ids[which]); err != nil {
							t.Fatal(err)
						}
						ids = slices.Delete(ids, which, which+1)
					}
				default:
					points := make([]driftline.Metric, 1+random.IntN(12))
					for i := range points {
						points[i] = driftline.Metric{Key: []string{"a", "a/b", "b"}[random.IntN(3)], Step: int64(random.IntN(4) - 2),
							Time: sec(random.IntN(2)), Value: driftline.Number(values[random.IntN(len(values))])}
					}
					e.log(ids[which], points...)
				}
				e.check()
			}
			e.move(true)
			e.check()
			e.fsck()
		})
	}
}

// rowsOfStored counts the rows that the files themselves have of a run.
func rowsOfStored(t *testing.T, env *testenv.Env, run driftline.RunID) (rows int) {
	t.Helper()
	sequences, release := env.Engine.PointFiles()("", "")
	defer release()
	for _, sequence := range sequences {
		for part, err := range sequence {
			if err != nil {
				t.Fatal(err)
			}
			if part.Run == run {
				rows += len(part.Steps)
			}
		}
	}
	return rows
}

// changeKeys changes the key-value store of a folder that nobody has open.
func changeKeys(t *testing.T, dir string, change func(*kv.Batch)) {
	t.Helper()
	db, err := kv.Open(filepath.Join(dir, "kv"), nil)
	if err != nil {
		t.Fatal(err)
	}
	batch := db.NewBatch()
	change(batch)
	if err := errors.Join(batch.Commit(), batch.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
}
