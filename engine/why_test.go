package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// delays are weather by airport and hour, and a log of what a model made of it.
var delays = driftline.Definitions{
	Entities: []driftline.Entity{
		{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}},
		{Name: "prediction", JoinKeys: []driftline.Field{{Name: "prediction_id", Type: driftline.String}}},
	},
	FeatureViews: []driftline.FeatureView{
		{Name: "weather", Entities: []driftline.EntityName{"airport"}, CreatedTimestamp: "created",
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Float64}}},
		{Name: "delay_predictions", Entities: []driftline.EntityName{"prediction"}, Predictions: &driftline.PredictionLog{},
			Features: []driftline.Field{{Name: "model", Type: driftline.String}, {Name: "model_version", Type: driftline.Int64},
				{Name: "airport", Type: driftline.String}, {Name: "temp", Type: driftline.Float64}, {Name: "delay", Type: driftline.Float64}}},
	},
}

const whyRows = 40_000 // of the training set; the benchmark has two million

// weatherRows are a row an hour of each of 100 airports, in which one value may be another.
func weatherRows(env *testenv.Env, n, changed int, value float64) driftline.Batches {
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		env.T.Fatal(err)
	}
	b := array.NewRecordBuilder(env.Mem, view.Schema())
	defer b.Release()
	for i := range n {
		at := arrow.Timestamp(int64(1_370_000_000+3600*(i/100)) * 1e6)
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("A%02d", i%100))
		b.Field(1).(*array.TimestampBuilder).Append(at)
		b.Field(2).(*array.TimestampBuilder).Append(at)
		temp := float64(i)
		if i == changed {
			temp = value
		}
		b.Field(3).(*array.Float64Builder).Append(temp)
		b.Field(4).(*array.Float64Builder).Append(7)
	}
	rows := b.NewRecordBatch()
	env.T.Cleanup(rows.Release)
	return driftline.BatchesOf(view.Schema(), rows)
}

// trainedOn makes weather, a training set of all its rows, a run and a model version.
func trainedOn(t *testing.T, changed int, value float64) (*testenv.Env, *driftline.Dataset, *driftline.ModelVersion) {
	t.Helper()
	return trainedOnMany(t, whyRows, changed, value)
}

// trainedOnMany is trainedOn with so many rows.
func trainedOnMany(t testing.TB, n, changed int, value float64) (*testenv.Env, *driftline.Dataset, *driftline.ModelVersion) {
	t.Helper()
	env := testenv.New(t)
	env.Apply(delays)
	ctx := context.Background()
	if _, err := env.Engine.Ingest(ctx, "weather", "all", weatherRows(env, n, changed, value)); err != nil {
		t.Fatal(err)
	}
	req := features("weather:temp", "weather:wind")
	req.Spine, req.SaveAs = &driftline.SpineSource{SQL: "SELECT airport, event_timestamp, temp > 100 AS late FROM features.weather"}, "delays"
	dataset := save(t, env, req, driftline.Batches{})
	reg := env.Engine.Registry()
	run, err := reg.CreateRun(driftline.RunSpec{Experiment: "delays", Inputs: []driftline.Ref{dataset.Ref()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.PutArtifact(ctx, run.ID, "model.bin", strings.NewReader("weights")); err != nil {
		t.Fatal(err)
	}
	model, err := reg.RegisterModel(driftline.ModelSpec{Model: "delay", Run: run.ID, Artifact: "model.bin"})
	if err != nil {
		t.Fatal(err)
	}
	env.Ingest("delay_predictions", `[
		{"prediction_id": "p-1", "event_timestamp": "2013-05-31T15:00:00Z", "model": "delay", "model_version": 1, "airport": "A17", "temp": 317, "delay": 12.5},
		{"prediction_id": "p-2", "event_timestamp": "2013-05-31T15:00:00Z", "model": "delay", "model_version": 1, "airport": "A17", "temp": 3.5, "delay": 2},
		{"prediction_id": "p-3", "event_timestamp": "2013-05-31T15:00:00Z", "model": "delay", "model_version": 9, "airport": "A17", "temp": 3.5, "delay": 2}]`)
	return env, dataset, model
}

func why(t *testing.T, env *testenv.Env, prediction string) *driftline.PredictionTrace {
	t.Helper()
	trace, err := env.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: prediction})
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// fileOfTrace checks that a row is in one of the files of its dataset.
func fileOfTrace(t *testing.T, d *driftline.TracedDataset, row driftline.TracedRow) {
	t.Helper()
	for _, f := range d.Files {
		if f.File == row.File {
			if row.FileRow >= f.Rows {
				t.Errorf("row %d of a file of %d rows", row.FileRow, f.Rows)
			}
			return
		}
	}
	t.Errorf("file %s is none of the dataset's", row.File)
}

func TestAPredictionLeadsToTheRowsItsModelWasTrainedOn(t *testing.T) {
	env, dataset, model := trainedOn(t, -1, 0)
	trace := why(t, env, "p-1")
	if trace.Log != "delay_predictions" || trace.Model != model.Ref() || trace.Run != driftline.RunRef(model.Run) ||
		trace.SHA256 != model.Artifact.SHA256 || len(trace.Datasets) != 1 || len(trace.Notes) != 0 {
		t.Fatalf("trace = %+v", trace)
	}
	d := trace.Datasets[0]
	if d.Dataset != dataset.Ref() || d.ContentHash != dataset.ContentHash || d.Rows != whyRows || d.SameEntity != whyRows/100 || len(d.Examples) != 5 {
		t.Errorf("dataset = %+v", d)
	}
	var rows int64
	for _, f := range d.Files {
		rows += f.Rows
	}
	if rows != whyRows || len(d.Sources) != 1 || len(d.Sources[0].Files) == 0 {
		t.Errorf("%d rows in its files, sources %+v", rows, d.Sources)
	}
	for _, row := range d.Examples {
		fileOfTrace(t, &d, row)
		if row.Values["airport"] != "A17" || len(row.Sources) != 1 || row.Sources[0].View != "weather" {
			t.Errorf("row %+v", row)
		}
	}
	temp, wind := trace.Features[0], trace.Features[1]
	if temp.Name != "temp" || !temp.Logged || temp.Differs || *temp.Served != "317" || *temp.Offline != "317" || *temp.Known != "317" || temp.Source == nil {
		t.Errorf("temp = %+v", temp)
	}
	if wind.Logged || wind.Differs || *wind.Offline != "7" {
		t.Errorf("wind = %+v", wind)
	}
	if other := why(t, env, "p-2"); !other.Features[0].Differs {
		t.Errorf("served 3.5, offline 317, and no difference: %+v", other.Features[0])
	}
}

// TestFeaturesOfSeveralDatasetsAreToldOnce: a model that learned from two sets with the same features was served them once.
func TestFeaturesOfSeveralDatasetsAreToldOnce(t *testing.T) {
	env, first, _ := trainedOn(t, -1, 0)
	req := features("weather:temp", "weather:wind")
	req.Spine, req.SaveAs = &driftline.SpineSource{SQL: "SELECT airport, event_timestamp, late FROM datasets.delays LIMIT 500"}, "since"
	second := save(t, env, req, driftline.Batches{})
	reg := env.Engine.Registry()
	run, err := reg.CreateRun(driftline.RunSpec{Experiment: "delays", Inputs: []driftline.Ref{first.Ref(), second.Ref()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.PutArtifact(t.Context(), run.ID, "model.bin", strings.NewReader("other weights")); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.RegisterModel(driftline.ModelSpec{Model: "delay", Run: run.ID, Artifact: "model.bin"}); err != nil {
		t.Fatal(err)
	}
	env.Ingest("delay_predictions", `[{"prediction_id": "p-4", "event_timestamp": "2013-05-31T15:00:00Z", "model": "delay", "model_version": 2, "airport": "A17", "temp": 317, "delay": 1}]`)
	trace := why(t, env, "p-4")
	if len(trace.Datasets) != 2 || len(trace.Features) != 2 || trace.Features[0].Name != "temp" || trace.Features[1].Name != "wind" || trace.Features[0].Source == nil {
		t.Errorf("%d datasets, features %+v", len(trace.Datasets), trace.Features)
	}
}

func TestOneChangedRowChangesTheTrace(t *testing.T) {
	const changed = 17 // the first hour of A17
	before, was, _ := trainedOn(t, -1, 0)
	after, is, _ := trainedOn(t, changed, 1e6)
	if was.ContentHash == is.ContentHash {
		t.Error("one other value of 40,000 rows, and the content hash is the same")
	}
	a, b := why(t, before, "p-1").Datasets[0], why(t, after, "p-1").Datasets[0]
	if a.ContentHash == b.ContentHash || a.Files[0].File == b.Files[0].File || a.Sources[0].Files[0].File == b.Sources[0].Files[0].File {
		t.Errorf("the trace does not tell the two apart: %+v and %+v", a, b)
	}
	differing := 0
	for i := range a.Examples {
		if a.Examples[i].Values["temp"] != b.Examples[i].Values["temp"] {
			differing++
			if b.Examples[i].Values["temp"] != "1e+06" || a.Examples[i].Sources[0].Row != b.Examples[i].Sources[0].Row {
				t.Errorf("row %+v became %+v", a.Examples[i], b.Examples[i])
			}
		}
	}
	if differing != 1 {
		t.Errorf("%d rows of the entity differ, want the one that was changed", differing)
	}
}

func TestWhyASourceRowIsTheOneThatTheJoinTook(t *testing.T) {
	env, _, _ := trainedOn(t, -1, 0)
	served := why(t, env, "p-1").Features[0].Source
	// The same airport and hour again: written down later, but true as of the hour before.
	env.Ingest("weather", `[{"airport": "A17", "event_timestamp": "2013-05-31T14:33:20Z", "created": "2013-06-05T00:00:00Z", "temp": -4, "wind": 1}]`)
	view, err := env.Engine.Registry().View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Engine.Flush(context.Background(), view); err != nil {
		t.Fatal(err)
	}
	f := why(t, env, "p-1").Features[0]
	if f.Source == nil || *f.Source == *served || *f.Offline != "-4" || *f.Known != "317" || f.Differs {
		t.Errorf("after a late row: %+v (was in %+v)", f, served)
	}
}

func TestWhyOfWhatIsNotKnown(t *testing.T) {
	env, _, _ := trainedOn(t, -1, 0)
	trace := why(t, env, "p-3")
	if len(trace.Datasets) != 0 || len(trace.Notes) != 1 || !strings.Contains(trace.Notes[0], "9") {
		t.Errorf("a version that is not there: %+v", trace)
	}
	for ask, want := range map[driftline.PredictionQuery]driftline.Code{
		{}:                                     driftline.Invalid,
		{Prediction: "p-1", Rows: 101}:         driftline.Invalid,
		{Prediction: "p-1", Log: "weather"}:    driftline.FailedPrecondition,
		{Prediction: "p-1", Log: "wether"}:     driftline.NotFound,
		{Prediction: "p' OR 1=1 --"}:           driftline.NotFound,
		{Prediction: strings.Repeat("p", 1e6)}: driftline.Invalid,
	} {
		if _, err := env.Engine.Why(context.Background(), ask); driftline.CodeOf(err) != want {
			t.Errorf("%.60v: %v, want %v", ask, err, want)
		}
	}
	if _, err := testenv.New(t).Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: "p"}); driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("without any log: %v", err)
	}
}

func TestLineageIsWalkedBySQL(t *testing.T) {
	env, _, _ := trainedOn(t, -1, 0)
	rows, err := env.Engine.SQL(context.Background(), `
		WITH RECURSIVE up(ref, hops) AS (
			SELECT 'model/delay@1', 0
			UNION
			SELECT to_ref, hops + 1 FROM meta.lineage_edges JOIN up ON from_ref = ref WHERE hops < 8
		) SELECT DISTINCT ref FROM up WHERE ref NOT LIKE '%@%' OR ref LIKE '%@1' ORDER BY ref`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, rows), "dataset/delays@1 \nentity/airport \nmodel/delay@1 \nrun/delays-1 \nview/weather \n"; !strings.HasPrefix(strings.ReplaceAll(got, "\n\n", "\n"), "artifact/") || !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s", got)
	}
	columns, err := env.Engine.SQL(context.Background(), `SELECT from_ref FROM meta.column_lineage WHERE to_ref = 'feature/weather:temp'`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, columns); got != "column/datasets.delays_v1:temp \n" {
		t.Errorf("what is made from the feature: %s", got)
	}
}

func TestAnErasureNamesTheModelsThatSawTheRows(t *testing.T) {
	env, _, _ := trainedOn(t, -1, 0)
	if _, err := env.Engine.Registry().MoveAlias("delay", "champion", driftline.AliasMove{Version: 1}); err != nil {
		t.Fatal(err)
	}
	done, err := env.Engine.Erase(context.Background(), driftline.ErasureRequest{Entity: "airport", Keys: map[string]string{"airport": "A17"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Affects) != 1 || done.Affects[0].String() != "model/delay@1 (@champion)" {
		t.Errorf("affects %v", done.Affects)
	}
	if _, err := env.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: "p-1"}); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a prediction of who was erased: %v", err)
	}
	env.Ingest("delay_predictions", `[{"prediction_id": "p-4", "event_timestamp": "2013-06-30T15:00:00Z", "model": "delay", "model_version": 1, "airport": "A17", "temp": 3.5, "delay": 2}]`)
	trace := why(t, env, "p-4")
	if len(trace.Datasets) != 1 || trace.Datasets[0].SameEntity != 0 || len(trace.Notes) == 0 {
		t.Errorf("after the erasure: %+v", trace)
	}
}

// BenchmarkWhy follows a prediction to the rows of its entity among two million.
func BenchmarkWhy(b *testing.B) {
	env, _, _ := trainedOnMany(b, 2_000_000, -1, 0)
	for b.Loop() {
		trace, err := env.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: "p-1"})
		if err != nil {
			b.Fatal(err)
		}
		if d := trace.Datasets[0]; d.SameEntity != 20_000 || len(d.Examples) != 5 || len(d.Examples[4].Sources) != 1 {
			b.Fatalf("trace = %+v", d)
		}
	}
}
