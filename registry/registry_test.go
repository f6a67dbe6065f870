package registry_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is where every test's clock stands still unless it is moved.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *registry.Registry {
	t.Helper()
	r, _ := openWithKeys(t)
	return r
}

func openWithKeys(t *testing.T) (*registry.Registry, *kv.DB) {
	t.Helper()
	db, err := kv.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return reopen(t, db), db
}

func reopen(t *testing.T, db *kv.DB) *registry.Registry {
	t.Helper()
	r, err := registry.Open(db, &registry.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flights are definitions that the tests begin with.
func flights() driftline.Definitions {
	return driftline.Definitions{
		Entities: []driftline.Entity{
			{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}},
			{Name: "carrier", JoinKeys: []driftline.Field{{Name: "carrier", Type: driftline.String}}},
		},
		FeatureViews: []driftline.FeatureView{{
			Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features:         []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Float64}},
			CreatedTimestamp: "created",
			TTL:              driftline.Duration(3 * time.Hour),
		}, {
			Name: "carrier_performance", Entities: []driftline.EntityName{"carrier"},
			Features: []driftline.Field{{Name: "mean_delay", Type: driftline.Float64}},
		}},
		FeatureServices: []driftline.FeatureService{{
			Name:        "delay_model",
			Projections: []driftline.Projection{{View: "weather"}, {View: "carrier_performance", Features: []string{"mean_delay"}}},
		}},
	}
}

func openFlights(t *testing.T) *registry.Registry {
	t.Helper()
	r := open(t)
	must(t)(r.Apply(flights()))
	return r
}

// must fails the test on an error of a call whose value does not matter.
func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantError fails unless err has the code and its text, hint included, holds each of words.
func wantError(t *testing.T, err error, code driftline.Code, words ...string) {
	t.Helper()
	if driftline.CodeOf(err) != code {
		t.Fatalf("error is %v (%s), want %s", err, driftline.CodeOf(err), code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func artifact(path string, content byte) driftline.Artifact {
	return driftline.Artifact{Path: path, Size: 1, SHA256: strings.Repeat(fmt.Sprintf("%02x", content), 32)}
}

// logged is an artifact as it is listed: with the time of its line.
func logged(a driftline.Artifact) driftline.Artifact {
	a.Time = noon
	return a
}

// story records one of everything: rows, snapshots, a dataset, a run, a model with an alias.
func story(t *testing.T, r *registry.Registry) {
	t.Helper()
	tx := r.Begin()
	defer tx.Discard()
	steps := []func() error{
		func() error { return tx.AddIngest(driftline.IngestResult{View: "weather", Rows: 26115, Sequence: 1}) },
		func() error {
			return tx.AddSnapshot(registry.Snapshot{Table: "features.weather", ID: 71, Rows: 26115, Files: []registry.File{{Hash: "f1", Rows: 26115, Bytes: 9}}})
		},
		func() error {
			return tx.AddSnapshot(registry.Snapshot{Table: "datasets.late_v1", ID: 72, Rows: 10, Files: []registry.File{{Hash: "f2", Rows: 10, Bytes: 5}}})
		},
		func() error {
			_, err := tx.AddDataset(driftline.Dataset{
				Name: "late", Snapshot: 72, ContentHash: strings.Repeat("ab", 32),
				Request: driftline.HistoricalRequest{FeatureSet: driftline.FeatureSet{Service: "delay_model"}},
				Report:  driftline.HistoricalReport{Rows: 10, Pins: []driftline.Pin{{View: "weather", Snapshot: 71}}},
			})
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{{Kind: driftline.KindDataset, Name: "late"}}}))
	if err := r.AddArtifact(nil, "e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "late", Run: "e-1", Artifact: "model.bin"}))
	must(t)(r.MoveAlias("late", "champion", driftline.AliasMove{Version: 1}))
}

func ref(t *testing.T, s string) driftline.Ref {
	t.Helper()
	parsed, err := driftline.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestReadersCannotChangeTheFolds(t *testing.T) {
	r := openFlights(t)
	story(t, r)
	must(t)(r.LogRun("e-1", driftline.RunLog{Params: map[string]string{"a": "1"}, Tags: map[string]string{"b": "2"}}))
	snapshot := func() string {
		view, _ := r.View("weather")
		run, _ := r.Run("e-1")
		models := r.Models()
		text, err := json.Marshal([]any{r.Entities(), view, r.Services(), run, models, r.Datasets(), r.Snapshots("")})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := snapshot()
	view, _ := r.View("weather")
	view.Features[0].Name, view.JoinKeys[0].Name, view.Entities[0] = "x", "x", "x"
	service, _ := r.Service("delay_model")
	service.Projections[0].Features[0] = "x"
	resolution, _ := r.Resolve(driftline.FeatureSet{Service: "delay_model"})
	resolved := resolution.Reads
	resolved[0].Features[0], resolved[0].View.Features[0].Name = "x", "x"
	entity, _ := r.Entity("airport")
	entity.JoinKeys[0].Name = "x"
	run, _ := r.Run("e-1")
	run.Params["a"], run.Tags["b"], run.Inputs[0].Name, run.Artifacts[0].Path = "x", "x", "x", "x"
	r.Models()[0].Aliases["champion"] = 7
	dataset, _ := r.Dataset("late", 0)
	dataset.Report.Pins[0].View = "x"
	r.Snapshots("features.weather")[0].Files[0].Hash = "x"
	if after := snapshot(); after != before {
		t.Errorf("state was\n%s\nis\n%s", before, after)
	}
}
