package registry_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func TestAnExperimentsLife(t *testing.T) {
	r, db := openWithKeys(t)
	e, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "/Users/me/late", Tags: map[string]string{"team": "ops"}})
	if err != nil {
		t.Fatal(err)
	}
	run, err := r.CreateRun(driftline.RunSpec{ExperimentID: e.ID, ID: "f00", User: "me", Started: noon.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(r.RenameExperiment(e.ID, "late"))
	must(t)(r.TagExperiment(e.ID, map[string]string{"stage": "draft", "team": "ops"}))
	must(t)(r.UntagExperiment(e.ID, "team"))
	must(t)(r.DeleteExperiment(e.ID))
	_, err = r.CreateExperiment(driftline.ExperimentSpec{Name: "late"})
	wantError(t, err, driftline.AlreadyExists, "already exists", "restore it")
	_, err = r.CreateRun(driftline.RunSpec{Experiment: "late"})
	wantError(t, err, driftline.FailedPrecondition, "must be in the 'active' state")
	_, err = r.TagExperiment(e.ID, map[string]string{"a": "b"})
	wantError(t, err, driftline.FailedPrecondition, "'active' state")
	wantError(t, r.LogAnyRun(run.ID, driftline.RunLog{Tags: map[string]string{"a": "b"}}), driftline.FailedPrecondition, "Current state is deleted")
	_, err = r.DeleteExperiment(e.ID)
	wantError(t, err, driftline.NotFound, "No active experiment")
	must(t)(r.RestoreExperiment(e.ID))
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		got, err := r.ExperimentNamed("late")
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != "1" || got.Deleted || got.Runs != 1 || len(got.Tags) != 1 || got.Tags["stage"] != "draft" || !got.Last.Equal(noon.Add(-time.Hour)) {
			t.Errorf("experiment is %+v", got)
		}
		if run, err := r.Run("f00"); err != nil || run.Experiment != "late" || run.ExperimentID != "1" || run.User != "me" || run.Deleted {
			t.Errorf("run is %+v, %v", run, err)
		}
		_, err = r.ExperimentNamed("/Users/me/late")
		wantError(t, err, driftline.NotFound)
	}
}

func TestNamesThatLookAlikeAreOne(t *testing.T) {
	r := open(t)
	must(t)(r.CreateExperiment(driftline.ExperimentSpec{Name: "\u00fcberflug"}))
	_, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "u\u0308berflug"})
	wantError(t, err, driftline.AlreadyExists, "its id is 1")
	run, err := r.CreateRun(driftline.RunSpec{Experiment: "u\u0308berflug"})
	if err != nil || run.ExperimentID != "1" {
		t.Errorf("run is %+v, %v", run, err)
	}
}

func TestExperimentsRefuseWhatTheyCannotKeep(t *testing.T) {
	r := open(t)
	for _, name := range []driftline.ExperimentName{"", "  ", "a\x00b", "a\nb", "\xff", driftline.ExperimentName(strings.Repeat("x", 501)), "Default"} {
		_, err := r.CreateExperiment(driftline.ExperimentSpec{Name: name})
		if code := driftline.CodeOf(err); code != driftline.Invalid && code != driftline.AlreadyExists || len(err.Error()) > 400 {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	for _, location := range []string{
		"s3://b/../x", "mlflow-artifacts:/../..", "http:///#/../../etc", "http:///;/../", "http://h/%2e%2e", "file:///x?/../../etc", `C:\windows`, "s3://b/a\x00",
		"runs:/abc", "models:/m/1", strings.Repeat("s", 2049),
	} {
		_, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "x", ArtifactLocation: location})
		wantError(t, err, driftline.Invalid, "artifact location")
	}
	must(t)(r.CreateExperiment(driftline.ExperimentSpec{Name: "x", ArtifactLocation: "s3://bucket/folder"}))
	_, err := r.Experiment("7")
	wantError(t, err, driftline.NotFound, "No Experiment with id=7 exists")
}

// A ledger of a time when a run named its experiment only, and an experiment was no more
// than that name.
func TestLedgersFromBeforeExperimentsOpen(t *testing.T) {
	r, db := openWithKeys(t)
	for _, line := range []struct {
		kind registry.Kind
		ref  driftline.Ref
		body string
	}{
		{registry.RunCreated, driftline.RunRef("late-1"), `{"experiment":"late","name":"first","params":{"lr":"0.1"}}`},
		{registry.RunLogged, driftline.RunRef("late-1"), `{"params":{"depth":"3"},"tags":{"a":"b"}}`},
		{registry.RunFinished, driftline.RunRef("late-1"), `{"status":"FINISHED"}`},
		{registry.RunCreated, driftline.RunRef("a-b-1"), `{"experiment":"a b"}`},
		{registry.RunCreated, driftline.RunRef("late-2"), `{"experiment":"late"}`},
	} {
		tx := r.Begin()
		if _, err := tx.Append(registry.Line{Kind: line.kind, Ref: line.ref, Body: json.RawMessage(line.body)}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	r = reopen(t, db)
	var got []string
	for _, e := range r.Experiments() {
		got = append(got, fmt.Sprint(e.ID, " ", e.Name, " ", e.Runs))
	}
	if want := []string{"0 Default 0", "2 a b 1", "1 late 2"}; !slices.Equal(got, want) {
		t.Errorf("experiments are %q, want %q", got, want)
	}
	run, err := r.Run("late-1")
	if err != nil || run.Name != "first" || run.Params["lr"] != "0.1" || run.Params["depth"] != "3" || run.Tags["a"] != "b" || run.Status != driftline.RunFinished || run.Ended.IsZero() {
		t.Errorf("run is %+v, %v", run, err)
	}
	next, err := r.CreateRun(driftline.RunSpec{Experiment: "late"})
	if err != nil || next.ID != "late-3" {
		t.Errorf("the next run is %+v, %v", next, err)
	}
}

func TestRunsOfMLflowGoOnAfterTheirEnd(t *testing.T) {
	r := open(t)
	must(t)(r.CreateRun(driftline.RunSpec{ID: "f00", ExperimentID: "0"}))
	_, err := r.CreateRun(driftline.RunSpec{ID: "f00", ExperimentID: "0"})
	wantError(t, err, driftline.AlreadyExists, `run "f00" exists`)
	must(t)(r.ChangeRun("f00", driftline.RunChange{Status: driftline.RunFinished, Ended: noon, Name: "done"}))
	before := r.Newest()
	must(t)(r.ChangeRun("f00", driftline.RunChange{Status: driftline.RunFinished, Ended: noon, Name: "done"}))
	if r.Newest() != before {
		t.Error("the same change again wrote a line")
	}
	if err := r.LogAnyRun("f00", driftline.RunLog{Tags: map[string]string{"a": "1", "b": "2"}, Metrics: []driftline.Metric{{Key: "m", Value: 1}}}); err != nil {
		t.Fatal(err)
	}
	must(t)(r.UntagRun("f00", "a"))
	_, err = r.UntagRun("f00", "a")
	wantError(t, err, driftline.NotFound, "No tag with name: a")
	must(t)(r.ChangeRun("f00", driftline.RunChange{Status: driftline.RunRunning}))
	must(t)(r.DeleteRun("f00"))
	must(t)(r.DeleteRun("f00"))
	_, err = r.ChangeRun("f00", driftline.RunChange{Name: "x"})
	wantError(t, err, driftline.FailedPrecondition, "deleted")
	run, err := r.RestoreRun("f00")
	if err != nil || run.Status != driftline.RunRunning || run.Name != "done" || run.Tags["b"] != "2" || len(run.Tags) != 1 || run.Metrics["m"] != 1 {
		t.Errorf("run is %+v, %v", run, err)
	}
	_, err = r.ChangeRun("f00", driftline.RunChange{Status: "DONE"})
	wantError(t, err, driftline.Invalid, `"DONE"`)
}

// Data that many runs of an experiment read is described once, in the ledger too.
func TestRunsShareWhatTheySayOfData(t *testing.T) {
	r, db := openWithKeys(t)
	iris := driftline.DatasetInput{Name: "iris", Digest: "abc", SourceType: "local", Source: "{}", Profile: strings.Repeat("p", 1000)}
	for _, id := range []driftline.RunID{"a", "b"} {
		must(t)(r.CreateRun(driftline.RunSpec{ID: id, ExperimentID: "0"}))
		of := iris
		of.Tags = map[string]string{"context": string(id)}
		entry := driftline.RunLog{Datasets: []driftline.DatasetInput{of, of}, ModelInputs: []string{"m-1"}, ModelOutputs: []driftline.ModelOutput{{Model: "m-2", Step: 3}}}
		for range 2 {
			if err := r.LogAnyRun(id, entry); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		for _, id := range []driftline.RunID{"a", "b"} {
			run, err := r.Run(id)
			if err != nil {
				t.Fatal(err)
			}
			if len(run.Datasets) != 1 || run.Datasets[0].Profile != iris.Profile || run.Datasets[0].Tags["context"] != string(id) ||
				!slices.Equal(run.ModelInputs, []string{"m-1"}) || !slices.Equal(run.ModelOutputs, []driftline.ModelOutput{{Model: "m-2", Step: 3}}) {
				t.Errorf("run is %+v", run)
			}
		}
	}
	size := 0
	for line, err := range r.Lines(1) {
		if err != nil {
			t.Fatal(err)
		}
		size += len(line.Body)
	}
	if size > 2000 {
		t.Errorf("the bodies of the ledger have %d bytes: the profile is there twice", size)
	}
}

// Points come in blocks and one by one, in any order and more than once; the history is
// the set of them, in order.
func TestHistoriesAreTheSetOfTheirPoints(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.CreateRun(driftline.RunSpec{ID: "f00", ExperimentID: "0"}))
	random := newRandom(t)
	want := map[string]bool{}
	for range 60 {
		var points []driftline.Metric
		for range 1 + random.IntN(40) {
			points = append(points, driftline.Metric{
				Key: []string{"a", "b"}[random.IntN(2)], Value: driftline.Number(random.IntN(3)), Step: int64(random.IntN(50) - 10),
				Time: noon.Add(time.Duration(random.IntN(3)) * time.Second),
			})
		}
		for _, p := range points {
			want[fmt.Sprint(p)] = true
		}
		if err := r.LogAnyRun("f00", driftline.RunLog{Metrics: points}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		got := map[string]bool{}
		for _, key := range []string{"a", "b"} {
			history := collect(t, r, "f00", key)
			inOrder := slices.IsSortedFunc(history, func(x, y driftline.Metric) int {
				return slices.Compare([]float64{float64(x.Step), float64(x.Time.Unix()), float64(x.Value)}, []float64{float64(y.Step), float64(y.Time.Unix()), float64(y.Value)})
			})
			if !inOrder {
				t.Errorf("history of %s is not in order: %v", key, history)
			}
			for _, p := range history {
				if got[fmt.Sprint(p)] {
					t.Errorf("%v is there twice", p)
				}
				got[fmt.Sprint(p)] = true
			}
			last := history[len(history)-1]
			if run, err := r.Run("f00"); err != nil || run.Metrics[key] != last.Value {
				t.Errorf("last value of %s is %v, want %v (%v)", key, run.Metrics[key], last.Value, err)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d points, want %d", len(got), len(want))
		}
	}
}

func TestMetricsOfModelsAreKept(t *testing.T) {
	r, db := openWithKeys(t)
	must(t)(r.CreateRun(driftline.RunSpec{ID: "f00", ExperimentID: "0"}))
	points := []driftline.Metric{
		{Key: "acc", Value: 0.9, Time: noon, Model: "m-1", Dataset: "iris", Digest: "abc"},
		{Key: "acc", Value: 0.8, Time: noon, Model: "m-1"},
		{Key: "loss", Value: 1, Time: noon},
	}
	for range 2 {
		if err := r.LogAnyRun("f00", driftline.RunLog{Metrics: points}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*registry.Registry{r, reopen(t, db)} {
		got := r.ModelMetrics("m-1")
		if len(got) != 2 || got[1].Dataset != "iris" || got[1].Digest != "abc" || got[1].Value != 0.9 || got[1].Run != "f00" || got[0].Value != 0.8 {
			t.Errorf("metrics of the model are %+v", got)
		}
	}
}
