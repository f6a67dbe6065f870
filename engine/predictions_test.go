package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// withModel is an engine with a registered model, two versions of it.
func withModel(t *testing.T) *testenv.Env {
	t.Helper()
	env := testenv.New(t)
	for range 2 {
		if _, err := env.Engine.RegisterModel(context.Background(), driftline.ModelSpec{Model: "late", Source: "s3://bucket/late"}, true); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

func score(x float64) *float64 { return &x }

// aPrediction is number i of a model that is asked each second.
func aPrediction(env *testenv.Env, i int) driftline.PredictionRecord {
	return driftline.PredictionRecord{ID: fmt.Sprintf("p-%d", i), Model: "late", Version: 1, Arm: driftline.ArmChampion, Status: 200,
		Time: env.Clock.Now().Add(time.Duration(i) * time.Second), Latency: driftline.Duration(3 * time.Millisecond),
		Entity: map[string]any{"origin": "EWR"}, Features: map[string]any{"temp": float64(i), "gust": nil, "sunny": i%2 == 0},
		Output: json.RawMessage(`[0.25]`), Prediction: 0.0, Score: score(0.25)}
}

func logNow(t *testing.T, env *testenv.Env, records ...driftline.PredictionRecord) {
	t.Helper()
	if _, err := env.Engine.LogPredictionsDurably(context.Background(), records); err != nil {
		t.Fatal(err)
	}
}

// selected is the answer of a SELECT, a row a line.
func selected(t *testing.T, env *testenv.Env, text string) string {
	t.Helper()
	rows, err := env.Engine.SQL(context.Background(), text, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			var cells []string
			for _, c := range b.Columns() {
				cells = append(cells, strings.Clone(c.ValueStr(i))) // the batch is gone soon
			}
			lines = append(lines, strings.Join(cells, " "))
		}
	}
	return strings.Join(lines, "\n")
}

// TestPredictionLog: a model that nobody declared a log for has one after its first prediction,
// with a column for each feature, and more as they come.
func TestPredictionLog(t *testing.T) {
	env := withModel(t)
	logNow(t, env, aPrediction(env, 1), aPrediction(env, 2))
	other := aPrediction(env, 3)
	other.Version, other.Fault, other.Status, other.Score, other.Prediction, other.Output = 2, driftline.FaultTimeout, 504, nil, nil, nil
	other.Features = map[string]any{"temp": "warm", "pressure": json.Number("1013"), "tags": []any{"a"}, "score": 7.5, "not a column": true}
	other.Mirror = &driftline.MirrorAnswer{Version: 1, Score: score(0.5), Differs: true}
	other.Values = map[string]float64{"loss": 0.5}
	logNow(t, env, other)
	got := selected(t, env, `SELECT prediction_id, model, model_version, status, arm, fault, latency_ms, prediction, score, output, entity, origin,
		temp, sunny, pressure, features, reported, mirror_version, mirror_score, mirror_differs FROM features.late_predictions ORDER BY event_timestamp`)
	want := `p-1 late 1 200 champion (null) 3 0 0.25 [0.25] {"origin":"EWR"} EWR 1 false (null) {"gust":null} (null) (null) (null) (null)
p-2 late 1 200 champion (null) 3 0 0.25 [0.25] {"origin":"EWR"} EWR 2 true (null) {"gust":null} (null) (null) (null) (null)
p-3 late 2 504 champion timeout 3 (null) (null) (null) {"origin":"EWR"} EWR (null) (null) 1013 {"not a column":true,"score":7.5,"tags":["a"],"temp":"warm"} {"loss":0.5} 1 0.5 true`
	if got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
	status, err := env.Engine.PredictionLog("late")
	if err != nil || status.Counts.Served != 3 || status.Counts.Logged != 3 || status.Log != "late_predictions" {
		t.Errorf("%+v, %v", status, err)
	}
	trace, err := env.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: "p-2"})
	if err != nil || trace.Model.String() != "model/late@1" || trace.Values["temp"] != "2" {
		t.Errorf("why: %+v, %v", trace, err)
	}
}

// TestPredictionsSentAgain: a record that was sent twice is one row.
func TestPredictionsSentAgain(t *testing.T) {
	env := withModel(t)
	for range 3 {
		logNow(t, env, aPrediction(env, 1))
	}
	if n := selected(t, env, "SELECT count(*) FROM features.late_predictions"); n != "1" {
		t.Errorf("%s rows", n)
	}
}

// TestPredictionsRefused: what is no prediction is refused whole, and says what is wrong.
func TestPredictionsRefused(t *testing.T) {
	env := withModel(t)
	bad := map[string]func(*driftline.PredictionRecord){
		"names no model":       func(r *driftline.PredictionRecord) { r.Model = "" },
		"model_version is -1":  func(r *driftline.PredictionRecord) { r.Version = -1 },
		"arm \"chamipon\"":     func(r *driftline.PredictionRecord) { r.Arm = "chamipon" },
		"fault \"broken\"":     func(r *driftline.PredictionRecord) { r.Fault = "broken" },
		"its id has 5000":      func(r *driftline.PredictionRecord) { r.ID = strings.Repeat("x", 5000) },
		"latency is -1":        func(r *driftline.PredictionRecord) { r.Latency = -1 },
		"time is of the year ": func(r *driftline.PredictionRecord) { r.Time = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
	}
	for text, change := range bad {
		record := aPrediction(env, 2)
		change(&record)
		err := env.Engine.LogPredictions(context.Background(), []driftline.PredictionRecord{aPrediction(env, 1), record})
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	record := aPrediction(env, 1)
	record.Model = "early"
	if err := env.Engine.LogPredictions(context.Background(), []driftline.PredictionRecord{record}); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a model that is not there: %v", err)
	}
	if _, err := env.Engine.PredictionLog("late"); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("there is a log: %v", err)
	}
}

// TestPredictionLogConfig: what may not be kept never reaches the log, and what is too large
// is left out and counted.
func TestPredictionLogConfig(t *testing.T) {
	env := withModel(t)
	config := driftline.PredictionLog{Mode: driftline.Sync, Overflow: driftline.Block, Fields: []string{"temp", "origin", "note"}, MostBytes: 100}
	if _, err := env.Engine.ConfigurePredictionLog(context.Background(), "late", config); err != nil {
		t.Fatal(err)
	}
	small, large := aPrediction(env, 1), aPrediction(env, 2)
	small.Features["card_number"] = "4111"
	large.Output = json.RawMessage(`"` + strings.Repeat("x", 200) + `"`)
	large.Features = map[string]any{"note": strings.Repeat("y", 200)}
	if err := env.Engine.LogPredictions(context.Background(), []driftline.PredictionRecord{small, large}); err != nil {
		t.Fatal(err)
	}
	if _, ok := small.Features["card_number"]; !ok {
		t.Error("the caller's map was changed")
	}
	got := selected(t, env, "SELECT temp, output, features, origin FROM features.late_predictions ORDER BY event_timestamp")
	if want := "1 [0.25] (null) EWR\n(null) (null) (null) EWR"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	status, err := env.Engine.PredictionLog("late")
	if err != nil || status.Counts.Trimmed != 1 || status.Config.Mode != driftline.Sync || !slices.Equal(status.Config.Fields, config.Fields) {
		t.Errorf("%+v, %v", status, err)
	}
	view, err := env.Engine.Registry().View("late_predictions")
	if _, there := view.Feature("card_number"); err != nil || there {
		t.Errorf("the log has a column for what may not be kept: %v", err)
	}
	for _, bad := range []driftline.PredictionLog{{Mode: "soon"}, {Overflow: "explode"}, {MostBytes: -1}, {MostBytes: 1 << 30}, {Fields: []string{""}}} {
		if _, err := env.Engine.ConfigurePredictionLog(context.Background(), "late", bad); driftline.CodeOf(err) != driftline.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestPredictionsSurvive: what a durable call acknowledged is there after a kill, and what
// waited when the engine was closed is written.
func TestPredictionsSurvive(t *testing.T) {
	env := withModel(t)
	for i := range 20 {
		logNow(t, env, aPrediction(env, i))
	}
	killed := env.CopyFolder()
	for i := range 50 {
		if err := env.Engine.LogPredictions(context.Background(), []driftline.PredictionRecord{aPrediction(env, 100+i)}); err != nil {
			t.Fatal(err)
		}
	}
	env.Reopen()
	if n := selected(t, env, "SELECT count(*) FROM features.late_predictions"); n != "70" {
		t.Errorf("%s of 70 rows", n)
	}
	if err := os.RemoveAll(killed + "/kv/LOCK"); err != nil {
		t.Fatal(err)
	}
	after := testenv.NewIn(t, killed)
	if n := selected(t, after, "SELECT count(DISTINCT prediction_id) FROM features.late_predictions"); n != "20" {
		t.Errorf("%s of 20 rows after a kill", n)
	}
	logNow(t, after, aPrediction(after, 300))
	if err := after.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	if err := after.Engine.LogPredictions(context.Background(), []driftline.PredictionRecord{aPrediction(env, 1)}); driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("a closed engine says %v", err)
	}
}

// TestSlowStore: while nothing can be written, whoever serves does not wait, memory is bounded, and
// afterwards each prediction was logged or is counted as dropped.
func TestSlowStore(t *testing.T) {
	env := withModel(t)
	const most = 2000
	env.Engine.LimitPredictions(most, 8<<20)
	logNow(t, env, aPrediction(env, 0)) // the log is there
	release := env.Engine.HoldCommits()
	const batches, each = 400, 50
	for i := range batches {
		records := make([]driftline.PredictionRecord, each)
		for j := range records {
			records[j] = aPrediction(env, 1+i*each+j)
		}
		if err := env.Engine.LogPredictions(context.Background(), records); err != nil { // waits for ever if it waits for the store
			t.Fatal(err)
		}
		status, err := env.Engine.PredictionLog("late")
		if err != nil || status.Counts.Waiting > most || status.Counts.WaitingBytes > 8<<20 {
			t.Fatalf("%+v, %v", status, err)
		}
	}
	release()
	logNow(t, env, aPrediction(env, 1+batches*each)) // written after all others
	status, err := env.Engine.PredictionLog("late")
	c := status.Counts
	if err != nil || c.Served != 2+batches*each || c.Waiting != 0 || c.Logged+c.AllDropped() != c.Served || c.Dropped["full"] < batches*each-2*most {
		t.Errorf("%+v, %v", c, err)
	}
	if n := selected(t, env, "SELECT count(*) FROM features.late_predictions"); n != fmt.Sprint(c.Logged) {
		t.Errorf("%s rows, %d are said to be logged", n, c.Logged)
	}
}

// TestInferenceEvents: the halves of an inference find each other, and one that is alone when the
// engine closes is logged.
func TestInferenceEvents(t *testing.T) {
	env := withModel(t)
	header := func(kind, id string) func(string) string {
		all := http.Header{}
		for name, value := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "s",
			"Ce-Type": "org.kubeflow.serving.inference." + kind, "Ce-Modelversion": "2"} {
			all.Set(name, value)
		}
		return all.Get
	}
	send := func(kind, id, body string) {
		t.Helper()
		if _, err := env.Engine.LogEvents(context.Background(), "late", header(kind, id), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	send("response", "a", `{"predictions": [1]}`)
	send("request", "a", `{"instances": [{"temp": 1}]}`)
	send("request", "b", `{"instances": [{"temp": 2}]}`)
	env.Reopen() // closes it: what waits for its other half is logged without
	got := selected(t, env, "SELECT prediction_id, model_version, temp, prediction, fault FROM features.late_predictions ORDER BY prediction_id")
	if want := "a 2 1 1 (null)\nb 2 2 (null) empty"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
