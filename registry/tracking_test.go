package registry_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

func TestRunsAreNumberedByExperiment(t *testing.T) {
	r := open(t)
	var ids []string
	for _, experiment := range []driftline.ExperimentName{"Late Departure", "late departure", "Late Departure", "überflug 2", "a.b", "..a"} {
		run, err := r.CreateRun(driftline.RunSpec{Experiment: experiment})
		if err != nil {
			ids = append(ids, string(driftline.CodeOf(err)))
			continue
		}
		ids = append(ids, string(run.ID))
	}
	want := []string{"late-departure-1", "late-departure-2", "late-departure-3", "überflug-2-1", "a-b-1", "invalid"}
	if !slices.Equal(ids, want) {
		t.Errorf("ids are %v, want %v", ids, want)
	}
	page, err := r.Runs("Late Departure", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if runs := page.Runs; len(runs) != 2 || page.Next != "" || runs[0].ID != "late-departure-3" || runs[1].ID != "late-departure-1" {
		t.Errorf("runs of the experiment are %v, want 3 and 1, newest first", runs)
	}
	_, err = r.Runs("Late Departur", "", 0)
	wantError(t, err, driftline.NotFound, `did you mean "Late Departure"?`)
}

// Whatever happens to the runs that were listed, a list goes on with those that were not, each once.
func TestAListOfRunsIsGoneOnWith(t *testing.T) {
	r := open(t)
	var want []driftline.RunID
	for range 7 {
		run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, run.ID)
	}
	slices.Reverse(want)
	must(t)(r.DeleteRun(want[2]))
	want = slices.Delete(want, 2, 3)
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []driftline.RunID
		for after := ""; ; {
			page, err := r.Runs("e", after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for i := range page.Runs {
				got = append(got, page.Runs[i].ID)
			}
			if after = page.Next; after == "" {
				break
			}
			if len(page.Runs) != limit {
				t.Errorf("a page of %d runs goes on, want %d runs", len(page.Runs), limit)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d have %v, want %v", limit, got, want)
		}
	}
	first, err := r.Runs("", "", 2)
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.DeleteRun(want[1]))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	if next, err := r.Runs("", first.Next, 1); err != nil || len(next.Runs) != 1 || next.Runs[0].ID != want[2] {
		t.Errorf("after %v comes %v, %v, want %s", want[:2], next.Runs, err, want[2])
	}
	for _, place := range []string{"1", "e-1", "1.", ".1", "1.-1", "1.1.1"} {
		_, err := r.Runs("e", place, 1)
		wantError(t, err, driftline.Invalid, "no place in a list of runs")
	}
}

// A request that was repeated because its answer was lost starts no second run, not even if both come at
// once, or after a restart.
func TestARepeatedRequestStartsOneRun(t *testing.T) {
	r, db := openWithKeys(t)
	spec := driftline.RunSpec{Experiment: "e", Params: map[string]string{"depth": "6"}}
	var started sync.WaitGroup
	ids := make([]driftline.RunID, 8)
	for i := range ids {
		started.Go(func() {
			run, err := r.CreateRunOnce("key", spec)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = run.ID
		})
	}
	started.Wait()
	must(t)(r.LogRun("e-1", driftline.RunLog{Params: map[string]string{"lr": "0.1"}}))
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		before := r.Newest()
		again, err := r.CreateRunOnce("key", spec)
		if err != nil || again.ID != "e-1" || again.Params["lr"] != "0.1" || r.Newest() != before {
			t.Errorf("the request again: %v, %v", again, err)
		}
		other := spec
		other.Params = map[string]string{"depth": "7"}
		_, err = r.CreateRunOnce("key", other)
		wantError(t, err, driftline.Conflict, `the idempotency key "key" belongs to another request, which started run "e-1"`)
	}
	if compact := slices.Compact(ids); len(compact) != 1 || compact[0] != "e-1" {
		t.Errorf("runs %v were started, want one", ids)
	}
	_, err := r.CreateRunOnce(strings.Repeat("k", 256), spec)
	wantError(t, err, driftline.Invalid, "idempotency key")
}

func TestParamsAreSetOnceAndLogsAreAllOrNothing(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Params: map[string]string{"lr": "0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	before := r.Newest()
	must(t)(r.LogRun(run.ID, driftline.RunLog{Params: map[string]string{"lr": "0.1"}}))
	if r.Newest() != before {
		t.Error("the same value again wrote a line")
	}
	_, err = r.LogRun(run.ID, driftline.RunLog{
		Params:  map[string]string{"depth": "3", "lr": "0.2"},
		Tags:    map[string]string{"note": "x"},
		Metrics: []driftline.Metric{{Key: "auc", Value: 1}},
	})
	wantError(t, err, driftline.Conflict, `param "lr" is "0.1"`, `"0.2"`)
	got, err := r.Run(run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Params) != 1 || got.Tags != nil || got.Metrics != nil {
		t.Errorf("a refused log left %v %v %v", got.Params, got.Tags, got.Metrics)
	}
	logged, err := r.LogRun(run.ID, driftline.RunLog{Params: map[string]string{"depth": "3"}, Tags: map[string]string{"note": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if logged.Params["depth"] != "3" || logged.Params["lr"] != "0.1" || logged.Tags["note"] != "x" {
		t.Errorf("run is %+v", logged)
	}
}

func TestFinishedRunsDoNotChange(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.FinishRun(run.ID, driftline.RunRunning)
	wantError(t, err, driftline.Invalid, "RUNNING", "FINISHED")
	must(t)(r.FinishRun(run.ID, driftline.RunFinished))
	again, err := r.FinishRun(run.ID, driftline.RunFinished)
	if err != nil || again.Status != driftline.RunFinished || !again.Ended.Equal(noon) {
		t.Errorf("finishing twice: %+v, %v", again, err)
	}
	_, err = r.FinishRun(run.ID, driftline.RunFailed)
	wantError(t, err, driftline.FailedPrecondition, "FINISHED since 2026-03-01T12:00:00Z")
	_, err = r.LogRun(run.ID, driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: 1}}})
	wantError(t, err, driftline.FailedPrecondition, "FINISHED")
	err = r.AddArtifact(nil, run.ID, artifact("model.bin", 1))
	wantError(t, err, driftline.FailedPrecondition, "FINISHED")
	_, err = r.Run("e-2")
	wantError(t, err, driftline.NotFound, `did you mean "e-1"?`)
	if history := collect(t, r, run.ID, "auc"); history != nil {
		t.Errorf("refused points were kept: %v", history)
	}
}

func collect(t *testing.T, r *registry.Registry, id driftline.RunID, metric string) []driftline.Metric {
	t.Helper()
	var history []driftline.Metric
	for m, err := range r.Metrics(id, metric) {
		if driftline.CodeOf(err) == driftline.NotFound {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, m)
	}
	return history
}

func TestMetricHistoryIsOrderedExactAndIdempotent(t *testing.T) {
	r, db := openWithKeys(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	number := func(f float64) driftline.Number { return driftline.Number(f) }
	log := driftline.RunLog{Metrics: []driftline.Metric{
		{Key: "loss", Value: number(math.NaN()), Step: 3},
		{Key: "loss", Value: 0.5, Step: 1},
		{Key: "loss", Value: number(math.Inf(-1)), Step: 2},
		{Key: "loss", Value: number(math.Copysign(0, -1)), Step: math.MinInt64},
		{Key: "loss", Value: 7, Step: 1, Time: noon.Add(-time.Hour)},
		{Key: "loss\x7f", Value: 1}, // refused below, then removed
		{Key: "loss/val", Value: 9},
	}}
	_, err = r.LogRun(run.ID, log)
	wantError(t, err, driftline.Invalid, "metric key")
	log.Metrics = slices.Delete(log.Metrics, 5, 6)
	for range 2 { // a retry changes nothing
		must(t)(r.LogRun(run.ID, log))
	}
	want := "-9223372036854775808:-0 1:7 1:0.5 2:-Inf 3:NaN "
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		got := ""
		for _, m := range collect(t, r, run.ID, "loss") {
			got += fmt.Sprintf("%d:%v ", m.Step, m.Value)
		}
		if got != want {
			t.Errorf("history is %s want %s", got, want)
		}
		last, err := r.Run(run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !math.IsNaN(float64(last.Metrics["loss"])) || last.Metrics["loss/val"] != 9 || len(last.Metrics) != 2 {
			t.Errorf("last values are %v", last.Metrics)
		}
	}
	for _, err := range r.Metrics(run.ID, "los") {
		wantError(t, err, driftline.NotFound, `did you mean "loss"?`)
	}
}

// All points together are the histories of all metrics of all runs, one after the other.
func TestEachPointIsEveryHistory(t *testing.T) {
	r := open(t)
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{"a", "a/b", "ab", "loss", "loss 2", "z"}
	want := map[driftline.RunID]map[string][]driftline.Metric{}
	for _, id := range []driftline.RunID{"b", "a", "a-1", "ab"} {
		must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: id}))
		for range 6 { // blocks that overlap, single points, and points that are there already
			var log driftline.RunLog
			for range 1 + random.IntN(12) {
				log.Metrics = append(log.Metrics, driftline.Metric{
					Key: keys[random.IntN(len(keys))], Step: int64(random.IntN(5) - 2), Value: driftline.Number(random.IntN(3)), Time: time.UnixMilli(int64(random.IntN(2))),
				})
			}
			must(t)(r.LogRun(id, log))
		}
		want[id] = map[string][]driftline.Metric{}
		run, err := r.Run(id)
		if err != nil {
			t.Fatal(err)
		}
		for key := range run.Metrics {
			for p, err := range r.Metrics(id, key) {
				if err != nil {
					t.Fatal(err)
				}
				want[id][key] = append(want[id][key], p)
			}
		}
	}
	var got []registry.RunMetric
	for p, err := range r.EachPoint() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	var all []registry.RunMetric
	for _, id := range slices.Sorted(maps.Keys(want)) {
		for _, key := range slices.Sorted(maps.Keys(want[id])) {
			for _, p := range want[id][key] {
				all = append(all, registry.RunMetric{Run: id, Metric: p})
			}
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("got %d points, want %d:\n%v\n%v", len(got), len(all), got, all)
	}
	n := 0
	for range r.EachPoint() {
		if n++; n == 3 {
			break
		}
	}
}

func TestArtifactPaths(t *testing.T) {
	for _, path := range []string{"model.joblib", "model/model.joblib", "ünïcode/Größe 1.png", "a..b/...", "50%.csv", "a%20b%", "C#; is it?.txt", "ab:c", strings.Repeat("a", 500)} {
		if err := registry.CheckArtifactPath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{
		"", ".", "..", "../x", "a/../b", "a/..", "/etc/passwd", "//etc", "a//b", "a/", "./a", `a\b`, `..\x`,
		"a\x00b", "a\nb", "a\u0085b", "\xff", strings.Repeat("a", 501),
		"%2e%2e/x", "a/%2E%2e/x", "%252e%252e%252fx", "%25252e%25252e/x", "..%2fx", "..%5cx", "a%00b", "%2%0952e%2%0952e/x", "a%2f%2fb", "C:windows", "c:/x",
	} {
		wantError(t, registry.CheckArtifactPath(path), driftline.Invalid, "artifact path")
	}
}

func TestArtifactsAreReplacedByPath(t *testing.T) {
	r := open(t)
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []driftline.Artifact{artifact("b", 1), artifact("a", 2), artifact("b", 3), artifact("b", 3)} {
		if err := r.AddArtifact(nil, run.ID, a); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := r.Run(run.ID)
	if want := []driftline.Artifact{logged(artifact("a", 2)), logged(artifact("b", 3))}; !slices.Equal(got.Artifacts, want) {
		t.Errorf("artifacts are %v, want %v", got.Artifacts, want)
	}
	bad := artifact("a", 2)
	bad.SHA256 = strings.ToUpper(strings.Repeat("ab", 32))
	wantError(t, r.AddArtifact(nil, run.ID, bad), driftline.Invalid, "sha256")
}

func TestRunInputsMustExistAndAreResolved(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	run, err := r.Run("e-1")
	if err != nil {
		t.Fatal(err)
	}
	if want := []driftline.Ref{driftline.DatasetRef("late", 1)}; !slices.Equal(run.Inputs, want) {
		t.Errorf("inputs are %v, want %v", run.Inputs, want)
	}
	_, err = r.LogRun("e-1", driftline.RunLog{Inputs: []driftline.Ref{{Kind: driftline.KindDataset, Name: "lat"}}})
	wantError(t, err, driftline.NotFound, `did you mean "late"?`)
	logged, err := r.LogRun("e-1", driftline.RunLog{Inputs: []driftline.Ref{ref(t, "model/late@champion"), ref(t, "dataset/late")}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []driftline.Ref{driftline.DatasetRef("late", 1), driftline.ModelRef("late", 1)}; !slices.Equal(logged.Inputs, want) {
		t.Errorf("inputs are %v, want %v", logged.Inputs, want)
	}
}

func BenchmarkLogThousandPoints(b *testing.B) {
	db, err := kv.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r, err := registry.Open(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "e"})
	if err != nil {
		b.Fatal(err)
	}
	log := driftline.RunLog{Metrics: make([]driftline.Metric, 1000)}
	step := int64(0)
	for b.Loop() {
		for i := range log.Metrics {
			step++
			log.Metrics[i] = driftline.Metric{Key: "loss", Value: 0.5, Step: step}
		}
		if _, err := r.LogRun(run.ID, log); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(step)/b.Elapsed().Seconds(), "points/s")
}

func TestExperimentsAndArtifactsAreListed(t *testing.T) {
	r := trained(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "a"}))
	got := ""
	for _, e := range r.Experiments() {
		got += fmt.Sprint(e.ID, " ", e.Name, " ", e.Runs, " ", e.Last.Equal(noon), "; ")
	}
	if want := "0 Default 0 false; 2 a 1 true; 1 e 2 true; "; got != want {
		t.Errorf("experiments are %s, want %s", got, want)
	}
	if a, err := r.Artifact("e-1", "model.bin"); err != nil || a != logged(artifact("model.bin", 1)) {
		t.Errorf("artifact is %v, %v", a, err)
	}
	_, err := r.Artifact("e-1", "model.bim")
	wantError(t, err, driftline.NotFound, `did you mean "model.bin"?`)
	_, err = r.Artifact("e-2", "model.bin")
	wantError(t, err, driftline.NotFound, "none yet")
	_, err = r.Artifact("e-3", "model.bin")
	wantError(t, err, driftline.NotFound, `run "e-3" does not exist`)
}

func TestRunsRefuseWhatTheyCannotKeep(t *testing.T) {
	r := open(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	long := strings.Repeat("k", 251)
	tooMany := map[string]string{}
	for i := range 1001 {
		tooMany[fmt.Sprint(i)] = ""
	}
	for name, log := range map[string]driftline.RunLog{
		"empty param key":     {Params: map[string]string{"": "1"}},
		"long tag key":        {Tags: map[string]string{long: "1"}},
		"NUL in a key":        {Tags: map[string]string{"a\x00": "1"}},
		"key is not UTF-8":    {Params: map[string]string{"\xff": "1"}},
		"value is not UTF-8":  {Params: map[string]string{"a": "\xff"}},
		"value too long":      {Tags: map[string]string{"a": strings.Repeat("v", 64<<10+1)}},
		"too many":            {Params: tooMany},
		"long metric key":     {Metrics: []driftline.Metric{{Key: long}}},
		"metric without name": {Metrics: []driftline.Metric{{Value: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.Newest()
			_, err := r.LogRun("e-1", log)
			wantError(t, err, driftline.Invalid)
			if len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if r.Newest() != before {
				t.Error("something was written")
			}
		})
	}
	_, err := r.CreateRun(driftline.RunSpec{Experiment: "e", Name: "\xff"})
	wantError(t, err, driftline.Invalid, "run name")
	_, err = r.Run(driftline.RunID(strings.Repeat("x", 1<<20)))
	wantError(t, err, driftline.NotFound, "xxx…")
	if len(err.Error()) > 400 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

// TestABareRunIsARunWithoutWhatItLogged compares each field of the two.
func TestABareRunIsARunWithoutWhatItLogged(t *testing.T) {
	r := open(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: "a", Name: "first", User: "ann", Tags: map[string]string{"k": "v"}}))
	must(t)(r.LogRun("a", driftline.RunLog{Params: map[string]string{"depth": "3"}, Metrics: []driftline.Metric{{Key: "loss", Step: 2, Value: 1, Time: time.UnixMilli(5)}}}))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: "b"}))
	var want []*driftline.Run
	for run, err := range r.EachRun("") {
		if err != nil {
			t.Fatal(err)
		}
		run.Params, run.Tags, run.Inputs, run.ModelInputs, run.ModelOutputs, run.Last, run.Metrics, run.LastStep, run.Datasets = nil, nil, nil, nil, nil, nil, nil, 0, nil
		want = append(want, run)
	}
	var got []*driftline.Run
	for run, err := range r.EachBareRun("") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, run)
	}
	if len(got) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Keys are remembered for a day at least, and are not kept for ever: not in a registry that ran all the time, and not in one
// that was opened again.
func TestTheKeyOfARunIsForgottenAfterDays(t *testing.T) {
	c := openClocked(t)
	spec := driftline.RunSpec{Experiment: "e"}
	start := func(key string) driftline.RunID {
		t.Helper()
		run, err := c.CreateRunOnce(key, spec)
		if err != nil {
			t.Fatal(err)
		}
		return run.ID
	}
	first := start("first")
	for day := range 4 {
		c.now = c.now.Add(23 * time.Hour)
		if day == 0 && start("first") != first {
			t.Error("a key was forgotten within a day")
		}
		start(fmt.Sprint("day ", day))
	}
	again := start("first")
	if again == first {
		t.Error("a key is remembered four days later")
	}
	c.reopen(t)
	if got := start("first"); got != again {
		t.Errorf("after a restart the key means %s, and meant %s", got, again)
	}
	if got := start("day 2"); got != "e-4" {
		t.Errorf("after a restart the key of the last day means %s", got)
	}
}
