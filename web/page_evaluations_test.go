package web_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

const frozenWind = `{
  "entities": [{"name": "strip", "join_keys": [{"name": "runway", "type": "string"}]}],
  "feature_views": [{"name": "gust", "entities": ["strip"], "features": [{"name": "speed", "type": "float64"}, {"name": "sky", "type": "string"}]}]
}`

const windGate = `"gate": {"dataset": "dataset/frozen", "task": "classification", "metric": "roc_auc", "label": "fast", "segments": [{"name": "sky", "expression": "sky"}],
  "segment_rows": 50, "floors": {"roc_auc": 0.6}, "calibration": 1, "replications": 100}`

// candidates makes a champion and two candidates, and evaluates the latter: a good one, and one whose
// scores say nothing.
func (s *site) candidates(t testing.TB) {
	t.Helper()
	s.mustAsk(t, "POST", "/api/v1/apply", frozenWind)
	rows := make([]string, 400)
	for i := range rows {
		sky := []string{"clear", "<b>bold</b>"}[i%2]
		rows[i] = fmt.Sprintf(`{"runway": "r%d", "event_timestamp": "2013-01-31T12:00:00Z", "speed": %f, "sky": %q}`, i, 50+40*math.Sin(float64(i)), sky)
	}
	s.Ingest("gust", "["+strings.Join(rows, ",")+"]")
	req := driftline.HistoricalRequest{SaveAs: "frozen", Spine: &driftline.SpineSource{SQL: "SELECT runway, event_timestamp, speed > 50 AS fast, speed / 100 AS good, sin(speed * 1000) / 2 + 0.5 AS noise FROM features.gust"}}
	req.Features = []string{"gust:sky"}
	set, err := s.Engine.Historical(t.Context(), req, driftline.Batches{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "wind"}`)
	for i, column := range []string{"good", "good", "noise"} {
		s.mustAsk(t, "PUT", fmt.Sprintf("/api/v1/runs/wind-1/artifacts/model%d", i), column+fmt.Sprint(i))
		s.mustAsk(t, "POST", "/api/v1/models/wind/versions", fmt.Sprintf(`{"run": "wind-1", "artifact": "model%d"}`, i))
	}
	s.mustAsk(t, "PUT", "/api/v1/models/wind/aliases/champion", `{"version": 1}`)
	for version, column := range []string{2: "good", 3: "noise"} {
		if column != "" {
			s.mustAsk(t, "POST", fmt.Sprintf("/api/v1/models/wind/versions/%d/evaluations", version), fmt.Sprintf(
				`{%s, "by": "<b>bold</b>", "predictions": {"table": {"ref": "dataset/frozen"}, "score": %q}, "champion_predictions": {"table": {"ref": "dataset/frozen"}, "score": "good"}}`, windGate, column))
		}
	}
}

func TestEvaluationsAreMadeListedAndShown(t *testing.T) {
	s := newSite(t)
	s.candidates(t)
	var all struct{ Evaluations []driftline.Evaluation }
	if err := json.Unmarshal([]byte(s.mustAsk(t, "GET", "/api/v1/models/wind/evaluations", "")), &all); err != nil || len(all.Evaluations) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if failed, passed := all.Evaluations[0], all.Evaluations[1]; failed.ID != "wind-2" || failed.Outcome != driftline.EvaluationFailed || passed.Outcome != driftline.EvaluationPassed || passed.By != "<b>bold</b>" {
		t.Errorf("%+v", all)
	}
	one := s.mustAsk(t, "GET", "/api/v1/evaluations/wind-2", "")
	for form, want := range map[string]string{
		"html": "The gate is closed: ", "markdown": "## The gate is closed: ", "junit": `<testsuites name="driftline gate"`,
	} {
		if got := s.mustAsk(t, "POST", "/api/v1/evaluations/report?format="+form, one); !strings.Contains(got, want) || form != "junit" && strings.Contains(got, "<b>bold") {
			t.Errorf("%s does not say %s:\n%s", form, want, got)
		}
	}
	for _, page := range []struct{ path, want string }{
		{"/models/wind", `<a href="/evaluations/wind-2">wind-2</a>`},
		{"/models/wind", `<span class="mark mark-failed">evaluation</span>`},
		{"/evaluations/wind-1", `<h1>The gate is open</h1>`},
		{"/evaluations/wind-2", `<h1>The gate is closed: 3 checks failed</h1>`},
		{"/evaluations/wind-2", `<svg class="differences"`},
		{"/evaluations/wind-2", `<line class="reach worse"`},
		{"/evaluations/wind-2", `<svg class="reliability"`},
		{"/evaluations/wind-2", `<a class="ref" href="/datasets/frozen/1">dataset/frozen@1</a>`},
		{"/lineage?ref=evaluation/wind-2", `model/wind@3`},
	} {
		body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html")
		if !strings.Contains(body, page.want) {
			t.Errorf("%s does not show %s:\n%s", page.path, page.want, body)
		}
		if strings.Contains(body, "<b>bold") {
			t.Errorf("%s lets names through as markup", page.path)
		}
	}
	if body := s.mustAsk(t, "GET", "/models/wind?filter=failed", "", "Accept: text/html"); !strings.Contains(body, "/evaluations/wind-2") || strings.Contains(body, "/evaluations/wind-1") {
		t.Errorf("the evaluations that failed are:\n%s", body)
	}
	body := s.mustAsk(t, "GET", "/models/wind?sort=version&order=asc", "", "Accept: text/html")
	if first, second := strings.Index(body, "/evaluations/wind-1"), strings.Index(body, "/evaluations/wind-2"); first < 0 || second < first {
		t.Errorf("the first version first, they are:\n%s", body)
	}
	for target, want := range map[string]int{
		"GET /evaluations/wind-9":                           http.StatusNotFound,
		"GET /api/v1/evaluations/wind-9":                    http.StatusNotFound,
		"GET /api/v1/models/wind/evaluations?limit=0":       http.StatusUnprocessableEntity,
		"GET /api/v1/models/gale/evaluations":               http.StatusNotFound,
		"POST /api/v1/models/wind/versions/9/evaluations":   http.StatusNotFound,
		"POST /api/v1/models/wind/versions/2/evaluations":   http.StatusPreconditionFailed,
		"POST /api/v1/evaluations/report?format=powerpoint": http.StatusBadRequest,
	} {
		method, path, _ := strings.Cut(target, " ")
		if w := s.ask(method, path, "{}"); w.Code != want {
			t.Errorf("%s: status %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
}
