package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// registered returns a registry in which model late has versions 1 to n of run e-1.
func registered(t *testing.T, n int) *registry.Registry {
	t.Helper()
	r := trained(t)
	for range n {
		must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	}
	return r
}

func TestAModelCanBeThereBeforeItsVersions(t *testing.T) {
	r := trained(t)
	_, err := r.CreateModelVersion(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"})
	wantError(t, err, driftline.NotFound, `model "late" does not exist`)
	model, err := r.CreateModel(driftline.RegisteredModelSpec{Name: "late", Description: "Late departures", Tags: map[string]string{"team": "ops"}, By: "ada"})
	if err != nil || model.Versions != 0 || model.Newest != nil || model.Description != "Late departures" || model.By != "ada" {
		t.Fatalf("model %+v, %v", model, err)
	}
	_, err = r.CreateModel(driftline.RegisteredModelSpec{Name: "late"})
	wantError(t, err, driftline.AlreadyExists, `model "late" already exists`)
	_, err = r.ModelVersion("late", "")
	wantError(t, err, driftline.NotFound, "has no version yet")
	version, err := r.CreateModelVersion(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"})
	if err != nil || version.Version != 1 || version.Stage != driftline.StageNone || version.Status != driftline.ModelReady || version.Line == 0 {
		t.Fatalf("version %+v, %v", version, err)
	}

	empty := ""
	model, err = r.ChangeModel("late", driftline.ModelChange{Description: &empty, Tags: map[string]string{"a": "1"}, RemoveTags: []string{"team", "never"}})
	if err != nil || model.Description != "" || len(model.Tags) != 1 || model.Tags["a"] != "1" || model.Newest.Version != 1 {
		t.Fatalf("changed to %+v, %v", model, err)
	}
	before := r.Newest()
	must(t)(r.ChangeModel("late", driftline.ModelChange{Description: &empty, Tags: map[string]string{"a": "1"}, RemoveTags: []string{"team"}}))
	must(t)(r.ChangeModelVersion("late", "1", driftline.ModelChange{RemoveTags: []string{"x"}}))
	if r.Newest() != before {
		t.Error("changes that change nothing wrote lines")
	}
}

// Names that people would take for one another are refused, with the name that there is.
func TestModelNamesThatLookAlike(t *testing.T) {
	r := trained(t)
	must(t)(r.CreateModel(driftline.RegisteredModelSpec{Name: "Caf\u00e9 1"}))
	for _, c := range []struct {
		name driftline.ModelName
		code driftline.Code
		says string
	}{
		{"Cafe\u0301 1", driftline.Invalid, "NFD"},
		{"caf\u00e9 1", driftline.AlreadyExists, `"Café 1" already exists`},
		{"CAF\u00c9 1", driftline.AlreadyExists, "case or form only"},
		{"Caf\u00e9 \u2460", driftline.AlreadyExists, "case or form only"}, // ①
		{"Caf\u00e9\u200b1", driftline.Invalid, "cannot be seen"},
		{" late", driftline.Invalid, "space"},
		{"a%2Fb", driftline.Invalid, "%"},
		{"a/b", driftline.Invalid, "/"},
		{"a:b", driftline.Invalid, ":"},
		{"a\\b", driftline.Invalid, "\\"},
		{"..", driftline.Invalid, "folder"},
		{"a\x00b", driftline.Invalid, "cannot be seen"},
		{"\xff", driftline.Invalid, "UTF-8"},
		{driftline.ModelName(strings.Repeat("x", 1<<20)), driftline.Invalid, "too long"},
	} {
		_, err := r.CreateModel(driftline.RegisteredModelSpec{Name: c.name})
		wantError(t, err, c.code, c.says)
		_, err = r.RegisterModel(driftline.ModelSpec{Model: c.name, Run: "e-1", Artifact: "model.bin"})
		wantError(t, err, c.code, c.says)
		if _, err = r.RenameModel("Caf\u00e9 1", c.name, ""); c.code == driftline.Invalid {
			wantError(t, err, c.code, c.says)
		} else if err != nil {
			t.Errorf("a model may be renamed to another form of its own name: %v", err)
		} else {
			must(t)(r.RenameModel(c.name, "Caf\u00e9 1", ""))
		}
	}
	must(t)(r.CreateModel(driftline.RegisteredModelSpec{Name: "late (v2) + [beta]"}))
}

func TestARenamedModelKeepsEverything(t *testing.T) {
	r := registered(t, 2)
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1, Reason: "first"}))
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2, Reason: "better"}))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{driftline.ModelRef("late", 2)}}))
	must(t)(r.CreateModel(driftline.RegisteredModelSpec{Name: "taken"}))
	_, err := r.RenameModel("late", "taken", "")
	wantError(t, err, driftline.AlreadyExists, `"taken" already exists`)
	_, err = r.RenameModel("gone", "x", "")
	wantError(t, err, driftline.NotFound, `"gone"`)

	model, err := r.RenameModel("late", "delays", "ada")
	if err != nil || model.Name != "delays" || model.Versions != 2 || model.Newest.Model != "delays" || model.Aliases["champion"] != 2 {
		t.Fatalf("renamed to %+v, %v", model, err)
	}
	_, err = r.Model("late")
	wantError(t, err, driftline.NotFound, `"late"`)
	history, err := r.AliasHistory("delays", "champion")
	if err != nil || len(history) != 2 || history[1].Reason != "better" {
		t.Errorf("history %+v, %v", history, err)
	}
	files, err := r.Artifacts(driftline.ModelRef("delays", 1), "")
	if err != nil || len(files) != 1 || files[0].Path != "model.bin" {
		t.Errorf("files %v, %v", files, err)
	}
	for _, name := range []driftline.ModelName{"delays", "late"} { // lineage understands the old name
		lineage, err := r.Lineage(driftline.ModelRef(name, 2), driftline.Down, 0)
		if err != nil || lineage.Root != driftline.ModelRef("delays", 2) || len(lineage.Nodes) != 3 || lineage.Nodes[0].Facts["version"] != "2" { // it, its alias and a run that used it
			t.Errorf("%s: lineage %+v, %v", name, lineage, err)
		}
	}

	// The old name counts on, so that late@1 and late@2 are what they were.
	version, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"})
	if err != nil || version.Version != 3 {
		t.Errorf("the next model of the name has version %+v, %v, want 3", version, err)
	}
	_, err = r.RenameModel("delays", "late", "")
	wantError(t, err, driftline.AlreadyExists, `"late" already exists`)
	if err := r.DeleteModel("late", "", ""); err != nil {
		t.Fatal(err)
	}
	_, err = r.RenameModel("delays", "late", "")
	wantError(t, err, driftline.AlreadyExists, "before it was deleted")
}

func TestVersionNumbersAreNeverUsedTwice(t *testing.T) {
	r := registered(t, 3)
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 3}))
	must(t)(r.MoveAlias("late", "backup", driftline.AliasMove{Version: 1}))
	if err := r.DeleteModelVersion("late", "champion", "ada", "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err := r.ModelVersion("late", "3")
	wantError(t, err, driftline.NotFound, "no version 3")
	_, err = r.ModelVersion("late", "champion")
	wantError(t, err, driftline.NotFound, "champion")
	model, err := r.Model("late")
	if err != nil || model.Versions != 2 || model.Newest.Version != 2 || len(model.Aliases) != 1 {
		t.Errorf("model %+v, %v", model, err)
	}
	history, _ := r.AliasHistory("late", "champion")
	if last := history[len(history)-1]; last.From != 3 || last.To != 0 || last.Reason != "leaked" || last.By != "ada" {
		t.Errorf("history ends with %+v", last)
	}
	next, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"})
	if err != nil || next.Version != 4 {
		t.Errorf("next is %+v, %v, want 4", next, err)
	}
	_, err = r.ModelVersion("late", "3")
	wantError(t, err, driftline.NotFound, "was deleted")

	if err := r.DeleteModel("late", "ada", "replaced"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Model("late")
	wantError(t, err, driftline.NotFound, "was deleted on")
	if history, err = r.AliasHistory("late", ""); err != nil || len(history) != 4 {
		t.Errorf("the history of a deleted model is %+v, %v", history, err)
	}
	next, err = r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"})
	if err != nil || next.Version != 5 {
		t.Errorf("next after the deletion is %+v, %v, want 5", next, err)
	}
	if used, err := r.ArtifactUsed(artifact("model.bin", 1).SHA256); err != nil || !used {
		t.Errorf("the bytes are used: %v, %v", used, err)
	}
}

func TestAliasAtATime(t *testing.T) {
	clock := noon
	_, db := openWithKeys(t)
	r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	if err := r.AddArtifact(nil, "e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	}
	for i, move := range []driftline.AliasMove{
		{Version: 1, By: "ada", Reason: "first"},
		{Version: 2, By: "bob", Reason: "AUC 0.8", Evidence: []driftline.Ref{driftline.RunRef("e-1")}},
		{Version: 0, By: "bob"},
		{Version: 3},
	} {
		clock = noon.Add(time.Duration(i+1) * time.Hour)
		must(t)(r.MoveAlias("late", "champion", move))
	}
	for at, want := range map[time.Duration]int{60: 1, 90: 1, 119: 1, 120: 2, 179: 2, 240: 3, 9999: 3} {
		change, err := r.AliasAt("late", "champion", noon.Add(at*time.Minute))
		if err != nil || change.To != want {
			t.Errorf("after %d minutes it was at %+v, %v, want %d", at, change, err, want)
		}
		if want == 2 && (change.By != "bob" || change.Reason != "AUC 0.8" || !slices.Equal(change.Evidence, []driftline.Ref{driftline.RunRef("e-1")}) || !change.Until.Equal(noon.Add(3*time.Hour))) {
			t.Errorf("move is %+v", change)
		}
	}
	for _, at := range []time.Duration{59, 180, 200} {
		_, err := r.AliasAt("late", "champion", noon.Add(at*time.Minute))
		wantError(t, err, driftline.NotFound, "pointed at no version")
	}
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1, Evidence: []driftline.Ref{driftline.RunRef("e-77")}})
	wantError(t, err, driftline.NotFound, "e-77")
}

func TestRollbackGoesBackStepByStep(t *testing.T) {
	r := registered(t, 4)
	at := func() int {
		v, err := r.ModelVersion("late", "champion")
		if err != nil {
			return 0
		}
		return v.Version
	}
	_, err := r.RollbackAlias("late", "champion", driftline.AliasRollback{})
	wantError(t, err, driftline.NotFound, "champion")
	for _, v := range []int{1, 2, 3, 4} {
		must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: v}))
	}
	three := 3
	_, err = r.RollbackAlias("late", "champion", driftline.AliasRollback{Expect: &three})
	wantError(t, err, driftline.Conflict, "is at version 4, not at version 3")
	must(t)(r.RollbackAlias("late", "champion", driftline.AliasRollback{By: "ada", Reason: "errors"}))
	if at() != 3 {
		t.Fatalf("rolled back to %d, want 3", at())
	}
	if err := r.DeleteModelVersion("late", "2", "", ""); err != nil {
		t.Fatal(err)
	}
	must(t)(r.RollbackAlias("late", "champion", driftline.AliasRollback{}))
	if at() != 1 {
		t.Fatalf("rolled back to %d, want 1: version 2 is deleted", at())
	}
	_, err = r.RollbackAlias("late", "champion", driftline.AliasRollback{})
	wantError(t, err, driftline.FailedPrecondition, "no other version before")
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 4}))
	must(t)(r.RollbackAlias("late", "champion", driftline.AliasRollback{}))
	if at() != 1 {
		t.Fatalf("rolled back to %d, want 1", at())
	}
	// An alias that was taken away comes back.
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 0}))
	must(t)(r.RollbackAlias("late", "champion", driftline.AliasRollback{}))
	if at() != 1 {
		t.Fatalf("rolled back to %d, want 1", at())
	}
	history, _ := r.AliasHistory("late", "champion")
	if change := history[4]; !change.Rollback || change.By != "ada" || change.Reason != "errors" || change.From != 4 || change.To != 3 {
		t.Errorf("the rollback is in the history as %+v", change)
	}
}

func TestStages(t *testing.T) {
	r := registered(t, 3)
	move := func(version string, stage driftline.ModelStage, archive bool) {
		t.Helper()
		must(t)(r.MoveStage("late", version, driftline.StageMove{Stage: stage, ArchiveExisting: archive, By: "ada"}))
	}
	move("1", "production", false) // in any case
	move("2", driftline.StageProduction, false)
	move("3", driftline.StageProduction, true)
	versions, _ := r.ModelVersions("late")
	got := ""
	for _, v := range versions {
		got += fmt.Sprintf("%d %s; ", v.Version, v.Stage)
	}
	if got != "1 Archived; 2 Archived; 3 Production; " {
		t.Errorf("stages are %s", got)
	}
	move("1", driftline.StageStaging, false)
	latest, err := r.LatestVersions("late", nil)
	got = ""
	for _, v := range latest {
		got += fmt.Sprintf("%s %d; ", v.Stage, v.Version)
	}
	if err != nil || got != "Staging 1; Production 3; Archived 2; " {
		t.Errorf("latest are %s, %v", got, err)
	}
	history, _ := r.StageHistory("late")
	if len(history) != 6 || history[3].Version != 1 || history[3].To != driftline.StageArchived || history[3].Reason != "version 3 came in its place" {
		t.Errorf("history is %+v", history)
	}
	none := driftline.StageNone
	_, err = r.MoveStage("late", "3", driftline.StageMove{Stage: driftline.StageStaging, Expect: &none})
	wantError(t, err, driftline.Conflict, "is in stage Production, not None")
	_, err = r.MoveStage("late", "3", driftline.StageMove{Stage: "Live"})
	wantError(t, err, driftline.Invalid, `"Live"`)
	_, err = r.MoveStage("late", "3", driftline.StageMove{Stage: driftline.StageArchived, ArchiveExisting: true})
	wantError(t, err, driftline.Invalid, "Staging or Production")
	before := r.Newest()
	move("3", driftline.StageProduction, true)
	if r.Newest() != before {
		t.Error("a move to where it is wrote a line")
	}
}

func TestGatesHoldAliasesAndStages(t *testing.T) {
	r := registered(t, 2)
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1}))
	must(t)(r.SetModelGate("late", driftline.ModelGate{Alias: "champion", Checks: []string{"auc", "drift", "auc"}, Approvals: 1}, "ada", "audit"))
	must(t)(r.SetModelGate("late", driftline.ModelGate{Stage: "production", Checks: []string{"auc"}}, "", ""))

	_, err := r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2})
	wantError(t, err, driftline.FailedPrecondition, `version 2 may not come to alias champion: check "auc" was not made, check "drift" was not made, 0 of 1 approvals`)
	must(t)(r.AddModelCheck("late", "2", driftline.ModelCheck{Name: "auc", Passed: true, Summary: "0.81", Evidence: []driftline.Ref{driftline.RunRef("e-1")}}))
	must(t)(r.AddModelCheck("late", "2", driftline.ModelCheck{Name: "drift"}))
	must(t)(r.AddModelApproval("late", "2", driftline.ModelApproval{Alias: "champion", Decision: driftline.ApprovalRequested, By: "ada"}))
	_, err = r.AddModelApproval("late", "2", driftline.ModelApproval{Alias: "champion", Decision: driftline.ApprovalGiven, By: "ada"})
	wantError(t, err, driftline.Permission, `"ada"`)
	must(t)(r.AddModelApproval("late", "2", driftline.ModelApproval{Alias: "champion", Decision: driftline.ApprovalGiven, By: "bob"}))
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2})
	wantError(t, err, driftline.FailedPrecondition, `check "drift" failed on`)
	must(t)(r.AddModelCheck("late", "2", driftline.ModelCheck{Name: "drift", Passed: true}))
	must(t)(r.AddModelApproval("late", "2", driftline.ModelApproval{Alias: "champion", Decision: driftline.ApprovalRefused, By: "eve", Reason: "wait"}))
	_, err = r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2})
	wantError(t, err, driftline.FailedPrecondition, "eve refused it")
	must(t)(r.AddModelApproval("late", "2", driftline.ModelApproval{Alias: "champion", Decision: driftline.ApprovalGiven, By: "eve"}))
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 2}))
	history, _ := r.AliasHistory("late", "champion")
	if last := history[len(history)-1]; !slices.Equal(last.Checks, []string{"auc", "drift"}) {
		t.Errorf("the move names the checks %v", last.Checks)
	}
	must(t)(r.RollbackAlias("late", "champion", driftline.AliasRollback{})) // version 1 never passed, and was there

	must(t)(r.MoveStage("late", "2", driftline.StageMove{Stage: driftline.StageProduction}))
	_, err = r.MoveStage("late", "1", driftline.StageMove{Stage: driftline.StageProduction})
	wantError(t, err, driftline.FailedPrecondition, `stage Production: check "auc" was not made`)
	model, _ := r.Model("late")
	if len(model.Gates) != 2 || model.Gates[0].Target() != "alias champion" || len(model.Gates[0].Checks) != 2 {
		t.Errorf("gates are %+v", model.Gates)
	}
	must(t)(r.SetModelGate("late", driftline.ModelGate{Stage: driftline.StageProduction}, "", ""))
	must(t)(r.MoveStage("late", "1", driftline.StageMove{Stage: driftline.StageProduction}))
	for _, gate := range []driftline.ModelGate{{}, {Alias: "a", Stage: driftline.StageStaging}, {Alias: "7"}, {Stage: "x"}, {Alias: "a", Approvals: -1}} {
		_, err := r.SetModelGate("late", gate, "", "")
		if err == nil {
			t.Errorf("gate %+v was accepted", gate)
		}
	}
}

func TestAVersionKnowsWhatItWasMadeFrom(t *testing.T) {
	r := openFlights(t)
	ingested := ingest(t, r)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{ingested}, Params: map[string]string{"depth": "6"},
		Tags: map[string]string{"mlflow.source.git.commit": "abc123", "mlflow.source.name": "train.py"}}))
	must(t)(r.LogRun("e-1", driftline.RunLog{Metrics: []driftline.Metric{{Key: "auc", Value: 0.8}}}))
	for _, path := range []string{"model/MLmodel", "model/data/model.pkl", "other"} {
		if err := r.AddArtifact(nil, "e-1", artifact(path, byte(len(path)))); err != nil {
			t.Fatal(err)
		}
	}
	version, err := r.RegisterModel(driftline.ModelSpec{Model: "late", Source: "runs:/e-1/model"})
	if err != nil {
		t.Fatal(err)
	}
	if o := version.Origin; o == nil || o.Commit != "abc123" || o.Code != "train.py" || o.Params["depth"] != "6" || o.Metrics["auc"] != 0.8 ||
		len(o.Datasets) != 1 || o.Datasets[0].ContentHash != "c0ffee" || o.Datasets[0].Rows != 10 || len(o.Snapshots) != 1 || version.Run != "e-1" {
		t.Errorf("origin is %+v", version.Origin)
	}
	if version.Artifact.Path != "model" || len(version.Files) != 2 || version.Files[0].Path != "MLmodel" || version.Files[1].Path != "data/model.pkl" ||
		version.Artifact.Size != version.Files[0].Size+version.Files[1].Size || len(version.Artifact.SHA256) != 64 {
		t.Errorf("artifact is %+v with %+v", version.Artifact, version.Files)
	}
	copied, err := r.RegisterModel(driftline.ModelSpec{Model: "production", Source: "models:/late/1"})
	if err != nil || copied.Artifact.SHA256 != version.Artifact.SHA256 || copied.Run != "e-1" || copied.Origin == nil || copied.Origin.Commit != "abc123" {
		t.Errorf("copy is %+v, %v", copied, err)
	}
	if err := r.DeleteModel("late", "", ""); err != nil {
		t.Fatal(err)
	}
	files, err := r.Artifacts(driftline.ModelRef("production", 1), "")
	if err != nil || len(files) != 2 {
		t.Errorf("the copy has the files %v, %v", files, err)
	}
}

// ingest saves a dataset and returns its reference.
func ingest(t *testing.T, r *registry.Registry) driftline.Ref {
	t.Helper()
	tx := r.Begin()
	defer tx.Discard()
	if err := tx.AddSnapshot(registry.Snapshot{Table: "features.weather", ID: 71, Rows: 3}); err != nil {
		t.Fatal(err)
	}
	dataset, err := tx.AddDataset(driftline.Dataset{Name: "late", Snapshot: 5, ContentHash: "c0ffee",
		Report: driftline.HistoricalReport{Rows: 10, Pins: []driftline.Pin{{View: "weather", Snapshot: 71}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return dataset.Ref()
}

// What a source may be, and what each spelling of another place gets. No source is opened.
func TestSources(t *testing.T) {
	r := registered(t, 1)
	logged, err := r.CreateLoggedModel(driftline.LoggedModelSpec{ExperimentID: "1", Run: "e-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddArtifactTo(nil, logged.Ref(), artifact("MLmodel", 3)); err != nil {
		t.Fatal(err)
	}
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1}))
	first, err := r.ModelVersion("late", "1")
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprint(first.Line)
	for source, want := range map[string]driftline.ModelStatus{
		"runs:/e-1/model.bin":                         driftline.ModelReady,
		"mlflow-artifacts:/1/e-1/artifacts/model.bin": driftline.ModelReady,
		"models:/late/1":                              driftline.ModelReady,
		"models:/late@champion":                       driftline.ModelReady,
		"models:/late/latest":                         driftline.ModelReady,
		"models:/late/None":                           driftline.ModelReady,
		"models:/" + string(logged.ID):                driftline.ModelReady,
		"mlflow-artifacts:/1/models/" + string(logged.ID) + "/artifacts": driftline.ModelReady,
		"mlflow-artifacts:/versions/" + line:                             driftline.ModelReady,
		"s3://bucket/some path/model":                                    driftline.ModelExternal,
		"gs://bucket/model/":                                             driftline.ModelExternal,
		"dbfs:/models/1":                                                 driftline.ModelExternal,
		"runs:/0123456789abcdef/model":                                   driftline.ModelExternal, // of another tracking server
	} {
		version, err := r.RegisterModel(driftline.ModelSpec{Model: "copy", Source: source})
		if err != nil || version.Status != want || version.Source != source || (want == driftline.ModelReady) != (version.Artifact.SHA256 != "") {
			t.Errorf("%s: %+v, %v, want %s", source, version, err, want)
		}
	}
	for source, code := range map[string]driftline.Code{
		"runs:/e-1/nothing": driftline.NotFound, "models:/missing/1": driftline.NotFound, "models:/late/9": driftline.NotFound,
		"models:/late@nobody": driftline.NotFound, "models:/late/Staging": driftline.NotFound, "models:/m-" + strings.Repeat("0", 32): driftline.NotFound,
		"mlflow-artifacts:/versions/9999": driftline.NotFound, "mlflow-artifacts:/0/e-1/artifacts/model.bin": driftline.NotFound,
		"mlflow-artifacts:/1/0123456789abcdef/artifacts/model": driftline.NotFound,
		"models:/late": driftline.Invalid, "models:/": driftline.Invalid, "models:/late/x": driftline.Invalid, "models:late/1": driftline.Invalid,
		"mlflow-artifacts:/": driftline.Invalid, "mlflow-artifacts:/../../etc": driftline.Invalid,
		"file:///etc/passwd": driftline.Invalid, "file:/etc": driftline.Invalid, "file:etc": driftline.Invalid, "FILE:///etc": driftline.Invalid,
		"/etc/passwd": driftline.Invalid, "//etc/passwd": driftline.Invalid, "//proc/self/root/etc": driftline.Invalid, "./model": driftline.Invalid,
		"../../etc": driftline.Invalid, "model": driftline.Invalid, `C:\windows`: driftline.Invalid, "C:/windows": driftline.Invalid, `\\host\share`: driftline.Invalid,
		"ftp://evil/x": driftline.Invalid, "gopher://evil": driftline.Invalid, "http://169.254.169.254/latest": driftline.Invalid, "https://evil/": driftline.Invalid,
		"http:///#/../../../etc/": driftline.Invalid, "http:///;/../": driftline.Invalid, "file:///x?/../../etc": driftline.Invalid,
		"s3://b/../../x": driftline.Invalid, "s3://b/%2e%2e/x": driftline.Invalid, "s3://b/%252e%252e/x": driftline.Invalid, "s3://b/a#x": driftline.Invalid,
		"s3://b/a?x": driftline.Invalid, "s3://b/a;x": driftline.Invalid, `s3://b/..\x`: driftline.Invalid, "s3://b/..%5cx": driftline.Invalid, "s3://b/a%00": driftline.Invalid,
		"s3://b/a\x00": driftline.Invalid, "s3://b/a\n": driftline.Invalid, "dbfs:/a%3f/../../..": driftline.Invalid, "s3://b//x": driftline.Invalid,
		"runs:/e-1/../e-2/x": driftline.Invalid, "runs:/e-1/a%2Fb": driftline.Invalid, "runs://profile@host/e-1/x": driftline.Invalid,
		"mlflow-artifacts://evil:80/0/e-1/artifacts/model.bin": driftline.Invalid, "javascript:alert(1)": driftline.Invalid, "\xff": driftline.Invalid,
		"s3://" + strings.Repeat("x", 1<<20): driftline.Invalid, "s3://b/%2%0952e%2%0952e/x": driftline.Invalid,
	} {
		before := r.Newest()
		_, err := r.RegisterModel(driftline.ModelSpec{Model: "copy", Source: source})
		if driftline.CodeOf(err) != code {
			t.Errorf("%.80q: error is %v, want %s", source, err, code)
		}
		if r.Newest() != before {
			t.Errorf("%q wrote a line", source)
		}
	}
}

// A ledger that is older than the index of artifacts gets one when it is opened.
func TestALedgerWithoutAnIndexOfArtifactsGetsOne(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e"}))
	for i, path := range []string{"a", "model/x", "model/y", "a"} {
		if err := r.AddArtifact(nil, "e-1", artifact(path, byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model"}))
	want, err := r.Artifacts(driftline.RunRef("e-1"), "")
	if err != nil || len(want) != 3 {
		t.Fatal(want, err)
	}
	wipe := db.NewBatch()
	wipe.DeletePrefix([]byte{kv.ArtifactIndex})
	if err := wipe.Commit(); err != nil {
		t.Fatal(err)
	}
	_ = wipe.Close()
	r = reopen(t, db)
	got, err := r.Artifacts(driftline.RunRef("e-1"), "")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("index has %v, %v, want %v", got, err, want)
	}
	if files, err := r.Artifacts(driftline.ModelRef("late", 1), ""); err != nil || len(files) != 2 || files[0].Path != "x" {
		t.Errorf("version has %v, %v", files, err)
	}
}

func TestFoldersOfArtifacts(t *testing.T) {
	r := trained(t)
	run := driftline.RunRef("e-1")
	for _, path := range []string{"model.pkl", "model/MLmodel", "model/data/a", "model/data/b", "model-2/x", "plots/ä ö.png"} {
		if err := r.AddArtifact(nil, "e-1", artifact(path, byte(len(path)))); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(folder, after string, limit int) string {
		t.Helper()
		entries, err := r.ListArtifacts(run, folder, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key())
		}
		return strings.Join(keys, " ")
	}
	for _, c := range []struct {
		folder, after string
		limit         int
		want          string
	}{
		{"", "", 0, "model-2/ model.bin model.pkl model/ plots/"},
		{"", "", 2, "model-2/ model.bin"},
		{"", "model.bin", 2, "model.pkl model/"},
		{"", "model/", 0, "plots/"},
		{"", "model-2/", 1, "model.bin"},
		{"model", "", 0, "model/MLmodel model/data/"},
		{"model/data", "", 0, "model/data/a model/data/b"},
		{"model/MLmodel", "", 0, ""},
		{"mod", "", 0, ""},
		{"nothing", "", 0, ""},
	} {
		if got := listed(c.folder, c.after, c.limit); got != c.want {
			t.Errorf("folder %q after %q has %q, want %q", c.folder, c.after, got, c.want)
		}
	}
	wantError(t, r.AddArtifact(nil, "e-1", artifact("model", 1)), driftline.Conflict, "is a folder already")
	wantError(t, r.AddArtifact(nil, "e-1", artifact("model.pkl/x/y", 1)), driftline.Conflict, `"model.pkl" is a file already`)
	_, err := r.Artifact("e-1", "model/data")
	wantError(t, err, driftline.NotFound, "is a folder")
	_, err = r.Artifact("e-1", "modle.pkl")
	wantError(t, err, driftline.NotFound, `did you mean "model.pkl"?`)

	removed, err := r.RemoveArtifacts(run, "model", "ada", "wrong")
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if got := listed("", "", 0); got != "model-2/ model.bin model.pkl plots/" {
		t.Errorf("left is %q", got)
	}
	_, err = r.RemoveArtifacts(run, "model", "", "")
	wantError(t, err, driftline.NotFound, "model")
	_, err = r.RemoveArtifacts(driftline.ModelRef("late", 1), "", "", "")
	wantError(t, err, driftline.FailedPrecondition, "does not change")
	must(t)(r.FinishRun("e-1", driftline.RunFinished))
	wantError(t, r.AddArtifact(nil, "e-1", artifact("late", 1)), driftline.FailedPrecondition, "FINISHED")
	if err := r.AddArtifactTo(nil, run, artifact("late", 1)); err != nil {
		t.Errorf("MLflow's clients log to runs that have ended: %v", err)
	}
}
