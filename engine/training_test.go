package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

var spineSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	{Name: "late", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
}, nil)

const spineRows = `[
	{"origin": "JFK", "event_timestamp": "2013-06-01T10:30:00Z", "late": true},
	{"origin": "JFK", "event_timestamp": "2013-06-01T10:30:00Z", "late": false},
	{"origin": null, "event_timestamp": "2013-06-01T10:30:00Z", "late": true},
	{"origin": "LGA", "event_timestamp": null, "late": null},
	{"origin": "LGA", "event_timestamp": "2013-06-01T10:30:00Z", "late": null}]`

func newWeatherWithRows(t *testing.T) *testenv.Env {
	env := newWeather(t)
	env.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "created": "2013-06-01T12:00:00Z", "temp": 20.5, "wind": 7},
		{"origin": "LGA", "event_timestamp": "2013-06-01T09:00:00Z", "created": "2013-06-01T09:00:00Z", "temp": null, "wind": 3}]`)
	return env
}

// train asks for a training set and returns its rows as text, one line each.
func train(t *testing.T, env *testenv.Env, req driftline.HistoricalRequest) (string, driftline.HistoricalReport) {
	t.Helper()
	set, err := env.Engine.Historical(context.Background(), req, env.Rows(spineSchema, spineRows))
	if err != nil {
		t.Fatal(err)
	}
	return text(t, set.Batches), set.Report()
}

func text(t testing.TB, rows driftline.Batches) string {
	t.Helper()
	var out strings.Builder
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			for _, col := range b.Columns() {
				fmt.Fprintf(&out, "%s ", col.ValueStr(i))
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

func weatherRequest() driftline.HistoricalRequest {
	var req driftline.HistoricalRequest
	req.Projections = []driftline.Projection{{View: "weather"}}
	return req
}

const joined = `JFK 2013-06-01T10:30:00Z true 20.5 7 
JFK 2013-06-01T10:30:00Z false 20.5 7 
(null) 2013-06-01T10:30:00Z true (null) (null) 
LGA (null) (null) (null) (null) 
LGA 2013-06-01T10:30:00Z (null) (null) 3 
`

func TestATrainingSetReportsWhatItIsMadeOf(t *testing.T) {
	env := newWeatherWithRows(t)
	got, report := train(t, env, weatherRequest())
	if got != joined {
		t.Errorf("rows:\n%s\nwant:\n%s", got, joined)
	}
	if report.Rows != 5 || len(report.Pins) != 1 || report.Pins[0].Through == 0 || report.SQL == "" {
		t.Errorf("report = %+v", report)
	}
	temp, wind := report.Columns[0], report.Columns[1]
	if temp.Nulls != 3 || temp.NotYetKnown != 2 || wind.Nulls != 2 || wind.NotYetKnown != 2 {
		t.Errorf("columns = %+v", report.Columns)
	}
	known := weatherRequest()
	known.KnownAt = true
	if got, _ := train(t, env, known); strings.Contains(got, "20.5") {
		t.Errorf("known_at used a row that was created later:\n%s", got)
	}
}

func TestADatasetIsAVersionOfItsOwn(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.SaveAs = "late_departure"
	got, first := train(t, env, req)
	if got != joined {
		t.Errorf("rows:\n%s\nwant:\n%s", got, joined)
	}
	if first.Dataset == nil || first.Dataset.Version != 1 || first.Dataset.Report.Rows != 5 {
		t.Fatalf("dataset = %+v", first.Dataset)
	}
	_, second := train(t, env, req)
	if second.Dataset.Version != 2 || second.Dataset.ContentHash != first.Dataset.ContentHash {
		t.Errorf("the same rows again: %+v, want version 2 and hash %s", second.Dataset, first.Dataset.ContentHash)
	}
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:15:00Z", "created": null, "temp": 1, "wind": 1}]`)
	_, third := train(t, env, req)
	if third.Dataset.ContentHash == first.Dataset.ContentHash {
		t.Error("other rows have the same content hash")
	}
	env.Reopen()
	rows, err := env.Engine.ReadDataset(context.Background(), "late_departure", 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, rows); got != joined {
		t.Errorf("version 1 read again:\n%s\nwant:\n%s", got, joined)
	}
	if _, err := env.Engine.ReadDataset(context.Background(), "late_departure", 9); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a version that does not exist: %v", err)
	}
}

func TestADatasetSaysHowToMakeItAgain(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.SaveAs, req.KnownAt, req.Strict = "careful", true, true
	want, report := train(t, env, req)
	env.Reopen()
	saved, err := env.Engine.Registry().Dataset("careful", report.Dataset.Version)
	if err != nil {
		t.Fatal(err)
	}
	if saved.Request.SaveAs != "" {
		t.Errorf("the request would save again, as %q", saved.Request.SaveAs)
	}
	if got, _ := train(t, env, saved.Request); got != want {
		t.Errorf("asked again:\n%s\nwant:\n%s", got, want)
	}
	req.KnownAt, req.Strict = false, false
	if plain, _ := train(t, env, req); plain == want {
		t.Error("the options make no difference here, so this test cannot fail")
	}
}

func TestAServiceIsOneNameForTrainingAndServing(t *testing.T) {
	env := newWeatherWithRows(t)
	env.Apply(driftline.Definitions{FeatureServices: []driftline.FeatureService{{Name: "delay_model", Projections: []driftline.Projection{
		{View: "weather", Features: []string{"temp"}},
		{View: "weather", Features: []string{"temp"}, Role: "again"},
	}}}})
	var req driftline.HistoricalRequest
	req.Service = "delay_model"
	set, err := env.Engine.Historical(context.Background(), req, env.Rows(spineSchema, `[]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(set.Batches.Schema.Field(3).Name, " ", set.Batches.Schema.Field(4).Name); got != "temp again__temp" {
		t.Errorf("columns %s", got)
	}
	if got := text(t, set.Batches); got != "" {
		t.Errorf("a spine without rows gave %s", got)
	}
}

// track makes an experiment with a run.
func track(t *testing.T, env *testenv.Env) {
	t.Helper()
	r := env.Engine.Registry()
	e, err := r.CreateExperiment(driftline.ExperimentSpec{Name: "late", Tags: map[string]string{"team": "ops"}})
	if err != nil {
		t.Fatal(err)
	}
	run, err := r.CreateRun(driftline.RunSpec{ExperimentID: e.ID, Name: "first", Params: map[string]string{"depth": "6"}})
	if err != nil {
		t.Fatal(err)
	}
	err = r.LogAnyRun(run.ID, driftline.RunLog{
		Metrics:  []driftline.Metric{{Key: "auc", Value: 0.5, Step: 2}, {Key: "auc", Value: 0.7, Step: 3}},
		Datasets: []driftline.DatasetInput{{Name: "iris", Digest: "abc", Tags: map[string]string{"mlflow.data.context": "training"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSQLSeesViewsDatasetsAndMeta(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.SaveAs = "late_departure"
	train(t, env, req)
	track(t, env)
	for _, c := range []struct{ sql, want string }{
		{`SELECT origin, temp FROM features.weather ORDER BY origin`, "JFK 20.5 \nLGA (null) \n"},
		{`SELECT count(*) FROM datasets.late_departure`, "5 \n"},
		{`SELECT count(*) FROM datasets."late_departure@1" WHERE late`, "2 \n"},
		{`SELECT v.name, f.name FROM meta.views v JOIN meta.features f ON f.view = v.name ORDER BY 2`, "weather temp \nweather wind \n"},
		{`SELECT name, version, rows FROM meta.datasets`, "late_departure 1 5 \n"},
		{`SELECT count(*) > 3 FROM meta.ledger`, "true \n"},
		{`SELECT e.name, r.name, r.lifecycle_stage, m.value, m.step, p.value FROM meta.runs r JOIN meta.experiments e USING (experiment_id)
			JOIN meta.metrics m ON m.run_id = r.run_id JOIN meta.params p ON p.run_id = r.run_id`, "late first active 0.7 3 6 \n"},
		{`SELECT key, step, value FROM meta.metric_history h JOIN meta.runs USING (run_id) ORDER BY step`, "auc 2 0.5 \nauc 3 0.7 \n"},
		{`SELECT experiment_id, name, lifecycle_stage, runs FROM meta.experiments ORDER BY 1`, "0 Default active 0 \n1 late active 1 \n"},
		{`SELECT key, value FROM meta.experiment_tags`, "team ops \n"},
		{`SELECT name, digest, context FROM meta.run_datasets`, "iris abc training \n"},
	} {
		rows, err := env.Engine.SQL(context.Background(), c.sql, nil)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if got := text(t, rows); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.sql, got, c.want)
		}
	}
	for _, c := range []struct {
		sql, want string
		code      driftline.Code
	}{
		{`SELECT * FROM features.wether`, `did you mean "weather"`, driftline.NotFound},
		{`SELECT * FROM weather`, `did you mean "features.weather"?`, driftline.NotFound},
		{`SELECT tmp FROM features.weather`, `tmp`, driftline.Invalid},
		{`SELECT * FROM datasets."late_departure@x"`, `no version number`, driftline.Invalid},
		{`SELECT * FROM meta.run`, `did you mean "meta.runs"`, driftline.NotFound},
	} {
		_, err := env.Engine.SQL(context.Background(), c.sql, nil)
		if driftline.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %s with %s", c.sql, err, c.code, c.want)
		}
	}
}

func TestTablesListsWhatSQLCanRead(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.SaveAs = "late_departure"
	train(t, env, req)
	tables, err := env.Engine.Tables(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		sql := fmt.Sprintf("SELECT * FROM %s.%q LIMIT 0", table.Schema, table.Name)
		schema, err := env.Engine.SQLSchema(context.Background(), sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		for i, f := range schema.Fields() {
			if want := table.Columns.Field(i); f.Name != want.Name || !arrow.TypeEqual(f.Type, want.Type) {
				t.Errorf("%s.%s: column %d is %s %s, want %s %s", table.Schema, table.Name, i, f.Name, f.Type, want.Name, want.Type)
			}
		}
	}
}

func TestArtifactsAreKeptOnceAndChecked(t *testing.T) {
	env := testenv.New(t)
	ctx := context.Background()
	run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "late departure"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := env.Engine.PutArtifact(ctx, run.ID, "model/model.bin", strings.NewReader("weights"))
	if err != nil || a.Size != 7 {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := env.Engine.PutArtifact(ctx, run.ID, "copy.bin", strings.NewReader("weights")); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadDir(filepath.Join(env.Dir, "artifacts"))
	if err != nil || len(stored) != 1 {
		t.Errorf("%d files for one content, %v", len(stored), err)
	}
	r, _, err := env.Engine.OpenArtifact(ctx, run.ID, "model/model.bin")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if r.Close(); err != nil || !bytes.Equal(content, []byte("weights")) {
		t.Errorf("%q, %v", content, err)
	}
	for _, path := range []string{"../x", "/etc/passwd", "a//b", "", "a\x00b", `a\b`, "."} {
		if _, err := env.Engine.PutArtifact(ctx, run.ID, path, strings.NewReader("x")); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("path %q: %v", path, err)
		}
	}
	if err := os.WriteFile(filepath.Join(env.Dir, "artifacts", a.SHA256), []byte("weighty"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := env.Engine.OpenArtifact(ctx, run.ID, "model/model.bin"); driftline.CodeOf(err) != driftline.DataLoss {
		t.Errorf("damaged content: %v", err)
	}
}

func TestTheDataFolderGuardsItself(t *testing.T) {
	env := testenv.New(t)
	t.Run("held by another engine", func(t *testing.T) {
		if _, err := open(t, env.Dir); driftline.CodeOf(err) != driftline.Unavailable {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("made by a newer version", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("99\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, dir); driftline.CodeOf(err) != driftline.FailedPrecondition {
			t.Errorf("error = %v", err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("the refused folder holds %v (%v), want FORMAT alone", entries, err)
		}
	})
	t.Run("made by an older version", func(t *testing.T) {
		old := testenv.New(t)
		path := filepath.Join(old.Dir, "FORMAT")
		if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		old.Reopen()
		if mark, err := os.ReadFile(path); err != nil || string(mark) != "4\n" {
			t.Errorf("the folder is marked %q (%v) after it was taken over, want 4", mark, err)
		}
	})
	t.Run("not a folder", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, path); driftline.CodeOf(err) != driftline.FailedPrecondition {
			t.Errorf("error = %v", err)
		}
	})
}
