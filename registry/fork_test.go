package registry_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func points(t *testing.T, r *registry.Registry, id driftline.RunID, key string) []string {
	t.Helper()
	var found []string
	for p, err := range r.Metrics(id, key) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprintf("%d=%v", p.Step, float64(p.Value)))
	}
	return found
}

// A fork begins as the other run was at a step, and then they go their own ways.
func TestForksBeginWhereTheOtherRunWas(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: "a", Params: map[string]string{"lr": "0.1", "depth": "3"}}))
	var log driftline.RunLog
	for step := range int64(5) {
		log.Metrics = append(log.Metrics, driftline.Metric{Key: "loss", Value: driftline.Number(10 - step), Step: step, Time: noon})
	}
	log.Metrics = append(log.Metrics, driftline.Metric{Key: "late", Value: 1, Step: 4, Time: noon})
	must(t)(r.LogRun("a", log))
	fork, err := r.CreateRun(driftline.RunSpec{ID: "b", Params: map[string]string{"lr": "0.2"}, Fork: &driftline.RunFork{Run: "a", Step: 2}})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.LogRun("b", driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 1, Step: 3, Time: noon}}}))
	must(t)(r.LogRun("a", driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 9.5, Step: 1, Time: noon}}}))
	check := func(r *registry.Registry) {
		t.Helper()
		if got, want := points(t, r, "b", "loss"), []string{"0=10", "1=9", "2=8", "3=1"}; !slices.Equal(got, want) {
			t.Errorf("the fork has %v, want %v", got, want)
		}
		run, err := r.Run("b")
		if err != nil {
			t.Fatal(err)
		}
		if run.Params["lr"] != "0.2" || run.Params["depth"] != "3" || run.Experiment != "e" || len(run.Metrics) != 1 {
			t.Errorf("the fork is %+v", run)
		}
		if run.Fork == nil || *run.Fork != (driftline.RunFork{Run: "a", Step: 2}) || !slices.Equal(run.Inputs, []driftline.Ref{driftline.RunRef("a")}) {
			t.Errorf("the fork comes from %v, inputs %v", run.Fork, run.Inputs)
		}
	}
	if fork.Metrics["loss"] != 8 {
		t.Errorf("the last value of the fork is %v, want that of the step", fork.Metrics["loss"])
	}
	check(r)
	check(reopen(t, db))
	must(t)(r.DeleteRun("a"))
	_, err = r.CreateRun(driftline.RunSpec{Fork: &driftline.RunFork{Run: "a"}})
	wantError(t, err, driftline.FailedPrecondition, "deleted")
	_, err = r.CreateRun(driftline.RunSpec{Fork: &driftline.RunFork{Run: "nobody"}})
	wantError(t, err, driftline.NotFound, "nobody")
}
