package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const guarded = `{
  "entities": [{"name": "strip", "join_keys": [{"name": "runway", "type": "string"}]}],
  "feature_views": [{"name": "gust", "entities": ["strip"], "features": [{"name": "speed", "type": "float64"}, {"name": "sky", "type": "string"}]}],
  "validations": [{"name": "wind_is_fine", "description": "The <b>bold</b> wind", "table": "view/gust", "owner": "weather-desk", "checks": [
    {"check": "rows", "min": 1},
    {"check": "range", "column": "speed", "min": 0, "max": 150},
    {"check": "values", "column": "sky", "values": ["clear", "rain", "snow", "<b>bold</b>"], "severity": "warning"}]},
   {"name": "never", "table": "view/gust", "checks": [{"check": "rows", "min": 1}]}]
}`

// guard has a set of checks pass twice, and then fail, because of wind that is too fast.
func (s *site) guard(t testing.TB) {
	t.Helper()
	s.mustAsk(t, "POST", "/api/v1/apply", guarded)
	s.Ingest("gust", windOf(0, 40, 0))
	for range 2 {
		s.mustAsk(t, "POST", "/api/v1/validations/wind_is_fine/run", "{}")
	}
	s.Ingest("gust", strings.ReplaceAll(windOf(1, 40, 60), `"snow"`, `"hail"`))
	s.mustAsk(t, "POST", "/api/v1/validations/wind_is_fine/run", "{}")
}

// guardedPages are the pages of sets of checks, each with what it must show.
var guardedPages = []struct{ path, want string }{
	{"/validations", `<a href="/validations/wind_is_fine">wind_is_fine</a>`},
	{"/validations", `<span class="mark mark-failed">failed</span><span class="quiet under">1 failed, 1 warned</span>`},
	{"/validations", `<span class="mark mark-never-checked">never checked</span>`},
	{"/validations", `<title>run 3, 2013-01-31 16:00: 1 of 3 checks failed</title>`},
	{"/validations/wind_is_fine", `<th scope="colgroup" colspan="3">Jan 31</th>`},
	{"/validations/wind_is_fine", `<h2 id="run">Run 3 <span class="mark mark-failed">failed</span></h2>`},
	{"/validations/wind_is_fine", `speed from 0 to 150, run 3, 2013-01-31 16:00: failed, 4 of 80 out of range (5 %)`},
	{"/validations/wind_is_fine", `<td class="heat-warned chosen">`},
	{"/validations/wind_is_fine", `<td>hail</td>`},
	{"/validations/wind_is_fine?run=2", `<h2 id="run">Run 2 <span class="mark mark-passed">passed</span></h2>`},
	{"/validations/wind_is_fine?before=3", `colspan="2">Jan 31</th>`},
	{"/validations/never", `driftline validate never --junit checks.xml`},
	{"/lineage?ref=validation/wind_is_fine@1", `view/gust`},
}

func TestValidationPagesShowHowItWent(t *testing.T) {
	s := newSite(t)
	s.guard(t)
	for _, page := range guardedPages {
		body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html")
		if !strings.Contains(body, page.want) {
			t.Errorf("%s does not show %s:\n%s", page.path, page.want, body)
		}
		if strings.Contains(body, "<b>bold") {
			t.Errorf("%s lets names through as markup", page.path)
		}
	}
	for path, want := range map[string]int{
		"/validations/wind":                 http.StatusNotFound,
		"/validations/wind_is_fine?run=9":   http.StatusNotFound,
		"/validations/wind_is_fine?run=one": http.StatusUnprocessableEntity,
	} {
		w := s.ask("GET", path, "", "Accept: text/html")
		if w.Code != want || !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s: status %d, want a page with %d: %s", path, w.Code, want, w.Body)
		}
	}
}

func TestTheButtonOfAValidation(t *testing.T) {
	s := newSite(t)
	s.guard(t)
	w := s.ask("POST", "/validations/wind_is_fine/run", "", "Accept: text/html", "Content-Type: application/x-www-form-urlencoded")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/validations/wind_is_fine?run=4#run" {
		t.Fatalf("status %d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	body := s.mustAsk(t, "GET", "/api/v1/validations/wind_is_fine/runs?limit=2", "")
	if strings.Count(body, `"run"`) != 2 || !strings.Contains(body, `"run": 4`) && !strings.Contains(body, `"run":4`) {
		t.Errorf("runs %s", body)
	}
	if w := s.ask("POST", "/validations/wind_is_fine/run", "", "Accept: text/html", "Sec-Fetch-Site: cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("another site's button: status %d", w.Code)
	}
}

// scored is a SELECT of 400 predictions a day whose model is worse in busy hours, of which
// there are many from the tenth day on.
func scored(days, busyFrom int) string {
	return fmt.Sprintf(`SELECT i %% 2 AS predicted, i * 7 %% 100 < CASE WHEN i // 400 >= %d THEN 80 ELSE 20 END AS busy,
		['JFK', 'EWR', '<b>bold</b>'][1 + i // 7 %% 3] AS airport,
		abs(i %% 2 - CASE WHEN busy THEN 0.45 ELSE 0.1 END) AS score,
		CASE WHEN i // 400 = 15 THEN NULL WHEN (i // 100 * 31 + i * 3) %% 20 < CASE WHEN busy THEN 9 ELSE 2 END THEN 1 - i %% 2 ELSE i %% 2 END AS late,
		TIMESTAMP '2013-01-01' + INTERVAL 1 DAY * (i // 400) AS at FROM range(%d) t(i)`, busyFrom, days*400)
}

func performanceAddress(values map[string]string) string {
	query := url.Values{}
	for name, value := range values {
		query.Set(name, value)
	}
	return "/performance?" + query.Encode()
}

var asked = performanceAddress(map[string]string{"source": scored(16, 10), "reference": scored(8, 99), "task": "classification",
	"prediction": "predicted", "score": "score", "label": "late", "time": "at"})

// measuredPages are pages of how a model does, each with what it must show.
var measuredPages = []struct{ path, want string }{
	{"/performance", `placeholder="dataset/scored, view/scored or a SELECT"`},
	{asked, `The model does worse: `},
	{asked, `because the inputs changed, busy most of all`},
	{asked, `aria-label="accuracy over 16 windows"`},
	{asked, `estimated without labels</title>`},
	{asked, `<th scope="row">inputs changed</th>`},
	{asked, `<th scope="row"><code>busy</code></th>`},
	{asked, `--label late --time at --html performance.html</code>`},
	{performanceAddress(map[string]string{"source": "dataset/nowhere", "task": "regression"}), `does not exist</p>`},
	{performanceAddress(map[string]string{"source": "what is this?"}), `is no table`},
}

func TestPerformancePage(t *testing.T) {
	s := newSite(t)
	for _, page := range measuredPages {
		body := s.mustAsk(t, "GET", page.path, "", "Accept: text/html")
		if !strings.Contains(body, page.want) {
			t.Errorf("%.80s does not show %s:\n%s", page.path, page.want, body)
		}
		if strings.Contains(body, "<b>bold") {
			t.Errorf("%.80s lets names through as markup", page.path)
		}
	}
	// What another site has a browser fetch runs nothing.
	body := s.mustAsk(t, "GET", asked, "", "Accept: text/html", "Sec-Fetch-Site: cross-site")
	if strings.Contains(body, "The model does worse") || !strings.Contains(body, "value=\"classification\"") && !strings.Contains(body, "<option selected>classification") {
		t.Errorf("another site measured a model:\n%s", body)
	}
}

func TestPerformanceReportForms(t *testing.T) {
	s := newSite(t)
	request := fmt.Sprintf(`{"source": {"sql": %q}, "reference": {"sql": %q}, "task": "classification", "prediction": "predicted", "score": "score", "label": "late", "time": "at"}`,
		strings.Join(strings.Fields(scored(16, 10)), " "), strings.Join(strings.Fields(scored(8, 99)), " "))
	found := s.mustAsk(t, "POST", "/api/v1/performance", request)
	for form, want := range map[string]string{
		"html": "<!doctype html>", "markdown": "## The model does worse", "junit": `<testsuites name="driftline performance"`,
	} {
		if text := s.mustAsk(t, "POST", "/api/v1/performance/report?format="+form, found); !strings.Contains(text, want) {
			t.Errorf("%s has no %q: %.300s", form, want, text)
		}
	}
}
