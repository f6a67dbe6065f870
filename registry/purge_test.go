package registry_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func cleanUp(t *testing.T, r *registry.Registry, req driftline.RunCleanup) driftline.RunsRemoved {
	t.Helper()
	removed, err := r.CleanUp(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

// What is removed for good leaves no point, file or place in a list, in this process and in
// the next; versions that were registered from it, and the ledger, keep what they have.
func TestRemovedRunsLeaveNothing(t *testing.T) {
	r, db := openWithKeys(t)
	for _, id := range []driftline.RunID{"kept", "gone"} {
		must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", ID: id}))
		must(t)(r.LogRun(id, driftline.RunLog{Metrics: []driftline.Metric{{Key: "loss", Value: 1, Step: 1}, {Key: "loss", Value: 2, Step: 2}, {Key: "auc", Value: 3}}}))
		artifact := driftline.Artifact{Path: "model.bin", Size: 1, SHA256: strings.Repeat(string("ab"[len(id)%2]), 64)}
		if err := r.AddArtifact(nil, id, artifact); err != nil {
			t.Fatal(err)
		}
	}
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "m", Run: "gone", Artifact: "model.bin"}))
	_, err := r.CleanUp(context.Background(), driftline.RunCleanup{Runs: []driftline.RunID{"gone"}})
	wantError(t, err, driftline.FailedPrecondition, "run/gone is not deleted")
	must(t)(r.DeleteRun("gone"))
	want := []driftline.RunID{"gone"}
	if found := cleanUp(t, r, driftline.RunCleanup{DryRun: true}); !slices.Equal(found.Runs, want) {
		t.Errorf("a dry run finds %v, want %v", found.Runs, want)
	}
	if got := points(t, r, "gone", "loss"); len(got) != 2 {
		t.Errorf("a dry run left the points %v", got)
	}
	if removed := cleanUp(t, r, driftline.RunCleanup{Reason: "old"}); !slices.Equal(removed.Runs, want) || len(removed.Experiments)+len(removed.LoggedModels) > 0 {
		t.Errorf("removed %+v, want %v", removed, want)
	}
	for name, r := range map[string]*registry.Registry{"this process": r, "the next": reopen(t, db)} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Run("gone")
			wantError(t, err, driftline.NotFound, "was removed for good")
			_, err = r.CreateRun(driftline.RunSpec{Experiment: "e", ID: "gone"})
			wantError(t, err, driftline.AlreadyExists, "its id is not used again")
			for p, err := range r.EachPoint() {
				if err != nil || p.Run != "kept" {
					t.Errorf("there is still %+v, %v", p, err)
				}
			}
			runs, _, err := r.SearchRuns([]driftline.ExperimentID{"1"}, registry.Search{Stage: registry.EveryStage, Limit: 9})
			if err != nil || len(runs) != 1 || runs[0].ID != "kept" || runs[0].Metrics["auc"] != 3 {
				t.Errorf("a search finds %v, %v", runs, err)
			}
			if e, err := r.Experiment("1"); err != nil || e.Runs != 1 {
				t.Errorf("the experiment is %+v, %v", e, err)
			}
			owners := map[string]int{}
			if err := r.EachArtifact(func(owner string, _ driftline.Artifact) { owners[strings.SplitN(owner, "/", 2)[0]]++ }); err != nil {
				t.Fatal(err)
			}
			if owners["run"] != 1 || owners["version"] != 1 {
				t.Errorf("files are owned by %v, want one run and the version", owners)
			}
		})
	}
}

func TestOnlyWhatIsOldEnoughIsRemoved(t *testing.T) {
	c := openClocked(t)
	for _, id := range []driftline.RunID{"old", "young", "alive"} {
		must(t)(c.CreateRun(driftline.RunSpec{Experiment: "e", ID: id}))
	}
	must(t)(c.DeleteRun("old"))
	c.now = c.now.Add(48 * time.Hour)
	must(t)(c.DeleteRun("young"))
	c.now = c.now.Add(time.Hour)
	day := driftline.Duration(24 * time.Hour)
	if removed := cleanUp(t, c.Registry, driftline.RunCleanup{OlderThan: day}); !slices.Equal(removed.Runs, []driftline.RunID{"old"}) {
		t.Errorf("removed %v", removed.Runs)
	}
	c.reopen(t)
	if removed := cleanUp(t, c.Registry, driftline.RunCleanup{OlderThan: day}); len(removed.Runs) > 0 {
		t.Errorf("removed %v too", removed.Runs)
	}
	_, err := c.CleanUp(context.Background(), driftline.RunCleanup{OlderThan: -1})
	wantError(t, err, driftline.Invalid, "negative")
}

// An experiment goes with all that is in it, and its name is free then.
func TestRemovedExperimentsFreeTheirNames(t *testing.T) {
	r, db := openWithKeys(t)
	e, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "e"})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.CreateRun(driftline.RunSpec{ExperimentID: e.ID, ID: "r"}))
	m, err := r.CreateLoggedModel(driftline.LoggedModelSpec{ExperimentID: e.ID, Run: "r", Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.DeleteExperiment(e.ID))
	removed := cleanUp(t, r, driftline.RunCleanup{Experiments: []driftline.ExperimentID{e.ID}})
	if !slices.Equal(removed.Experiments, []driftline.ExperimentID{e.ID}) || !slices.Equal(removed.Runs, []driftline.RunID{"r"}) ||
		!slices.Equal(removed.LoggedModels, []driftline.LoggedModelID{m.ID}) {
		t.Errorf("removed %+v", removed)
	}
	_, err = reopen(t, db).LoggedModel(m.ID)
	wantError(t, err, driftline.NotFound, "does not exist")
	again, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "e"})
	if err != nil || again.ID == e.ID {
		t.Errorf("the name's next experiment is %+v, %v", again, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	must(t)(r.CreateRun(driftline.RunSpec{ExperimentID: again.ID, ID: "r2"}))
	must(t)(r.DeleteRun("r2"))
	if _, err := r.CleanUp(ctx, driftline.RunCleanup{}); err == nil {
		t.Error("a cleanup that was stopped gave no error")
	}
	must(t)(r.RestoreRun("r2"))
}
