package registry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func newRandom(testing.TB) *rand.Rand { return rand.New(rand.NewPCG(5, 6)) }

func TestSearchFindsWhatALoopFinds(t *testing.T) {
	r := open(t)
	random := newRandom(t)
	for i := range 200 {
		id := driftline.RunID(fmt.Sprintf("r%03d", i))
		must(t)(r.CreateRun(driftline.RunSpec{ID: id, Experiment: driftline.ExperimentName(fmt.Sprint("e", random.IntN(3))), Name: fmt.Sprint("n", random.IntN(5)),
			Params: map[string]string{"p": strconv.Itoa(random.IntN(4))}, Tags: map[string]string{"t": strings.Repeat("x", random.IntN(3))}}))
		if random.IntN(3) > 0 {
			must(t)(r.LogRun(id, driftline.RunLog{Metrics: []driftline.Metric{{Key: "m", Value: driftline.Number(random.IntN(10))}}}))
		}
		if random.IntN(5) == 0 {
			must(t)(r.DeleteRun(id))
		}
	}
	all := []driftline.ExperimentID{"1", "2", "3", "3", "99"}
	for _, c := range []struct {
		filter string
		stage  registry.Stage
		want   func(*driftline.Run) bool
	}{
		{"", registry.EveryStage, func(*driftline.Run) bool { return true }},
		{"", registry.ActiveStage, func(run *driftline.Run) bool { return !run.Deleted }},
		{"metrics.m > 4", registry.DeletedStage, func(run *driftline.Run) bool { return run.Deleted && run.Metrics["m"] > 4 }},
		{"params.p = '2' AND tags.t LIKE '_%'", registry.ActiveStage, func(run *driftline.Run) bool { return !run.Deleted && run.Params["p"] == "2" && run.Tags["t"] != "" }},
		{"run_name = 'n3' OR params.p >= 3", registry.EveryStage, func(run *driftline.Run) bool { return run.Name == "n3" || run.Params["p"] == "3" }},
		{"tags.`mlflow.runName` = 'n3'", registry.EveryStage, func(run *driftline.Run) bool { return run.Name == "n3" }},
		{"metrics.never > 0 OR params.never IS NOT NULL", registry.EveryStage, func(*driftline.Run) bool { return false }},
	} {
		var want []driftline.Run
		for run, err := range r.EachRun("") {
			if err != nil {
				t.Fatal(err)
			}
			if c.want(run) {
				want = append(want, *run)
			}
		}
		slices.SortFunc(want, func(a, b driftline.Run) int {
			x, okX := a.Metrics["m"]
			y, okY := b.Metrics["m"]
			switch {
			case okX != okY && okX:
				return -1
			case okX != okY:
				return 1
			case x != y:
				return int(y - x)
			}
			return strings.Compare(string(a.ID), string(b.ID)) // all started at the same time
		})
		var got []driftline.Run
		for more := true; more; {
			page, total, err := r.SearchRuns(all, registry.Search{Filter: c.filter, Stage: c.stage, OrderBy: []string{"metrics.m DESC"}, Offset: len(got), Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if more = len(page) == 7; total != len(want) {
				t.Fatalf("%q finds %d runs in all, want %d", c.filter, total, len(want))
			}
		}
		if ids(got) != ids(want) {
			t.Errorf("%q finds\n%s, want\n%s", c.filter, ids(got), ids(want))
		}
	}
	_, _, err := r.SearchRuns(all, registry.Search{Filter: "metrics.m >", Limit: 1})
	wantError(t, err, driftline.Invalid, "has no value")
	_, _, err = r.SearchRuns(all, registry.Search{OrderBy: []string{"m"}, Limit: 1})
	wantError(t, err, driftline.Invalid, "Invalid attribute key 'm'")
}

func ids(runs []driftline.Run) string {
	texts := make([]string, len(runs))
	for i := range runs {
		texts[i] = string(runs[i].ID)
	}
	return strings.Join(texts, " ")
}

// TestASearchSeesTheRunsOfOneTime searches while runs are made and written to: what a search finds is all that
// there was at some time, which is never before that of the search before it.
func TestASearchSeesTheRunsOfOneTime(t *testing.T) {
	r := open(t)
	const n = 1500 // more than a page holds
	name := func(i int) driftline.RunID { return driftline.RunID(fmt.Sprint("run-", i)) }
	write := func(i int) error {
		if _, err := r.CreateRun(driftline.RunSpec{ID: name(i), ExperimentID: "0", Started: time.UnixMilli(int64(1_600_000_000_000 + i))}); err != nil {
			return err
		}
		return r.LogAnyRun(name(i/2), driftline.RunLog{Metrics: []driftline.Metric{{Key: "m", Value: driftline.Number(i)}}, Tags: map[string]string{"touched": fmt.Sprint(i)}})
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			err = write(i)
		}
		ended <- err
	}()
	for before, writing := 0, true; writing; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		default:
		}
		found, total, err := r.SearchRuns([]driftline.ExperimentID{"0"}, registry.Search{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if total < before || total > 0 && found[0].ID != name(total-1) || !writing && total != n {
			t.Fatalf("after %d runs there are %d, the newest of which is %+v", before, total, found)
		}
		before = total
	}
}
