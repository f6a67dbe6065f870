package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/openlineage"
)

func sinkTo(t *testing.T, address string) *openlineage.Sink {
	t.Helper()
	sink, err := openlineage.Open(openlineage.Settings{URL: address, APIKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// inOneLine is an event in a line.
func inOneLine(e *openlineage.Event) string {
	text := fmt.Sprintf("%s %s", e.Type, e.Job.Name)
	for _, d := range e.Inputs {
		text += " <" + d.Name
	}
	for _, d := range e.Outputs {
		text += " >" + d.Name
	}
	return text
}

var toldOfTraining = []string{
	"START dataset.delays <features.weather", "COMPLETE dataset.delays <features.weather >datasets.delays_v1",
	"START experiment.delays <datasets.delays_v1", "OTHER experiment.delays <datasets.delays_v1 >models.delay",
	"FAIL experiment.delays <datasets.delays_v1",
}

func TestWhatIsMadeIsToldOfInOpenLineage(t *testing.T) {
	env, dataset, model := trainedOn(t, -1, 0)
	if _, err := env.Engine.Registry().FinishRun(model.Run, driftline.RunFailed); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events")
	for range 2 { // the second time there is nothing new
		if err := env.Engine.TellLineage(context.Background(), sinkTo(t, "file:"+file)); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	var saved openlineage.Event
	for line := range strings.Lines(string(content)) {
		e, err := openlineage.Parse([]byte(line))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if told = append(told, inOneLine(e)); len(e.Outputs) > 0 && e.Job.Name == "dataset.delays" {
			saved = *e
		}
	}
	if !slices.Equal(told, toldOfTraining) {
		t.Fatalf("told is\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(toldOfTraining, "\n"))
	}
	out := saved.Outputs[0]
	rows, _ := out.Rows()
	from := out.ColumnLineage()["temp"]
	if rows != whyRows || out.Version() != fmt.Sprint(dataset.Snapshot) || len(from) != 1 || from[0].Name != "features.weather" || from[0].Field != "temp" {
		t.Errorf("the training set is told of as %s", out.Facets)
	}
	var quality struct {
		ColumnMetrics map[string]struct{ NullCount int64 }
	}
	if err := json.Unmarshal(out.Facets["dataQualityMetrics"], &quality); err != nil || len(quality.ColumnMetrics) != 5 {
		t.Errorf("quality is %s, %v", out.Facets["dataQualityMetrics"], err)
	}
	events, next, err := env.Engine.LineageEvents(context.Background(), 0, 10_000)
	if err != nil || len(events) != len(told) {
		t.Errorf("%d events are read, %v", len(events), err)
	}
	if more, _, _ := env.Engine.LineageEvents(context.Background(), next, 10_000); len(more) != 0 {
		t.Errorf("after the last line there are %d events", len(more))
	}
}

// A receiver that is away, or breaks down in the middle, gets every event in the end, in
// order; one that it refuses for good keeps no other waiting.
func TestAReceiverThatIsAwayIsWaitedFor(t *testing.T) {
	env, _, model := trainedOn(t, -1, 0)
	if _, err := env.Engine.Registry().FinishRun(model.Run, driftline.RunFailed); err != nil {
		t.Fatal(err)
	}
	var got []string
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, _ := io.ReadAll(r.Body)
		e, err := openlineage.Parse(body)
		switch {
		case err != nil || r.Header.Get("Authorization") != "Bearer k" || r.URL.Path != "/api/v1/lineage":
			t.Errorf("%s with %q: %v", r.URL, r.Header.Get("Authorization"), err)
		case asked == 2 || asked == 4:
			w.WriteHeader(http.StatusServiceUnavailable)
		case e.Type == openlineage.Other:
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			got = append(got, inOneLine(e))
		}
	}))
	defer server.Close()
	failures := 0
	for env.Engine.TellLineage(context.Background(), sinkTo(t, server.URL)) != nil {
		if failures++; failures > 5 {
			t.Fatal("it never ends")
		}
	}
	want := slices.DeleteFunc(slices.Clone(toldOfTraining), func(s string) bool { return strings.HasPrefix(s, "OTHER") })
	if failures != 2 || !slices.Equal(slices.Compact(got), want) {
		t.Errorf("after %d failures it got\n%s\nwant\n%s", failures, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEventsOfOtherSystemsJoinOurLineage(t *testing.T) {
	env, _, _ := trainedOn(t, -1, 0)
	event := `{"eventType": "COMPLETE", "eventTime": "2026-01-02T03:04:05Z", "producer": "https://example.com", "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
		"run": {"runId": "0190b5b2-33ee-7f2c-9f7f-000000000001"}, "job": {"namespace": "airflow", "name": "nightly"},
		"inputs": [{"namespace": "postgres://db", "name": "stations@eu"}],
		"outputs": [{"namespace": "driftline", "name": "features.weather", "facets": {"columnLineage": {"_producer": "https://example.com", "_schemaURL": "https://example.com",
			"fields": {"temp": {"inputFields": [{"namespace": "postgres://db", "name": "stations@eu", "field": "celsius"}]}}}}}]}`
	for i, want := range []bool{true, false} {
		if recorded, err := env.Engine.ReceiveLineage([]byte(event)); err != nil || recorded != want {
			t.Fatalf("time %d: recorded %t, %v", i, recorded, err)
		}
	}
	lineage := func(ref string, direction driftline.LineageDirection) string {
		t.Helper()
		parsed, err := driftline.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		found, err := env.Engine.Lineage(context.Background(), parsed, direction, 0)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, e := range found.Edges {
			fmt.Fprintf(&b, "%s %s %s\n", e.From, e.Kind, e.To)
		}
		return b.String()
	}
	up := lineage("prediction/p-1", driftline.Up)
	for _, want := range []string{"prediction/p-1 made by model/delay@1\n", "prediction/p-1 logged in view/delay_predictions\n",
		"view/weather written by job/airflow/nightly\n", "job/airflow/nightly read table/postgres://db/stations%40eu\n"} {
		if !strings.Contains(up, want) {
			t.Errorf("the lineage of a prediction has no %q:\n%s", want, up)
		}
	}
	if down := lineage("column/postgres://db/stations%40eu:celsius", driftline.Down); !strings.Contains(down, "run/delays-1 trained on dataset/delays@1\n") {
		t.Errorf("a column elsewhere leads to\n%s", down)
	}
	if _, err := env.Engine.Lineage(context.Background(), driftline.PredictionRef("p-9"), driftline.Up, 0); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("an unknown prediction: %v", err)
	}
	if recorded, err := env.Engine.ReceiveLineage([]byte(strings.Replace(event, "https://example.com", openlineage.Producer, 1))); err != nil || recorded {
		t.Errorf("what we said ourselves: %t, %v", recorded, err)
	}
}

// What a policy trains is told of from its start to its end, once, whatever becomes of the version.
func TestTrainingRunsAreToldOfInOpenLineage(t *testing.T) {
	s := newSchooled(t)
	s.succeed()
	failed := s.mustAsk("")
	if _, err := s.report(s.hooked(2), driftline.TrainingResult{Error: "no space on 10.0.0.7"}); err != nil {
		t.Fatal(err)
	}
	s.until(failed.ID, driftline.TrainingFailed)
	cancelled := s.mustAsk("")
	if _, err := s.Engine.CancelTraining(cancelled.ID, "ann", "not now"); err != nil {
		t.Fatal(err)
	}
	events, _, err := s.Engine.LineageEvents(context.Background(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	runs := map[string]bool{}
	for i := range events {
		if events[i].Job.Name != "training.late" {
			continue
		}
		told = append(told, inOneLine(&events[i]))
		runs[events[i].Run.ID] = true
		if text, _ := json.Marshal(events[i]); strings.Contains(string(text), "10.0.0.7") {
			t.Errorf("an event tells what the job wrote: %s", text)
		}
	}
	want := []string{
		"START training.late", "COMPLETE training.late >models.late",
		"START training.late", "FAIL training.late",
		"ABORT training.late",
	}
	if !slices.Equal(told, want) || len(runs) != 3 {
		t.Errorf("of %d runs is told\n%s\nwant\n%s", len(runs), strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}
