package web_test

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/web"
	"github.com/driftline/driftline/web/mlflow"
)

// mlflowError is how every failure of MLflow's protocol looks.
type mlflowError struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// repeated are the statuses after which MLflow's client asks again, for four minutes.
var repeated = map[int]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}

// checkMLflowFailure checks that an answer is a failure that the client can read, and
// does not ask for again.
func checkMLflowFailure(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	var failure mlflowError
	if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || failure.Code == "" || failure.Message == "" {
		t.Errorf("%s: answer is no error of MLflow: %d %s", what, w.Code, w.Body)
	}
	if w.Code < 400 || repeated[w.Code] {
		t.Errorf("%s: status %d", what, w.Code)
	}
}

var pathVariable = regexp.MustCompile(`\{[^}]*\}`)

// Whatever comes in at any endpoint, the client gets an error of its own shape, and none
// that it would repeat.
func TestMLflowEveryEndpointRefusesInItsShape(t *testing.T) {
	s := newSite(t)
	bodies := map[string]string{
		"no JSON":             `{"name": `,
		"a list":              `[1, 2]`,
		"text":                `"text"`,
		"bytes":               "{\"name\": \"\xff\"}",
		"nothing":             `{}`,
		"a deep one":          strings.Repeat(`{"a":`, 20_000),
		"wrong types":         `{"name": [], "run_id": {}, "experiment_id": 1.5, "max_results": "x", "key": 3, "version": {}}`,
		"more than its limit": `{"name": "` + strings.Repeat("x", 65<<20) + `"}`,
	}
	for _, e := range mlflow.New(s.Engine).Endpoints() {
		if e.Asks == nil || e.Method == "GET" {
			continue
		}
		for _, pattern := range e.Patterns() {
			target := pathVariable.ReplaceAllString(pattern, "x")
			for name, body := range bodies {
				w := s.ask(e.Method, target, body)
				if name == "nothing" && w.Code == 200 {
					continue // nothing is required of it
				}
				if name == "bytes" || name == "wrong types" || name == "nothing" || w.Code != 200 {
					checkMLflowFailure(t, e.Method+" "+target+" with "+name, w)
				} else {
					t.Errorf("%s %s with %s: status 200: %s", e.Method, target, name, w.Body)
				}
			}
			if e.Method == "POST" || e.Method == "PUT" {
				checkMLflowFailure(t, target+" with text/plain", s.ask(e.Method, target, `{}`, "Content-Type: text/plain"))
			}
			checkMLflowFailure(t, target+" from another site", s.ask(e.Method, target, `{}`, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"))
			checkMLflowFailure(t, target+" for another host", s.ask(e.Method, target, `{}`, "Host: evil.example"))
		}
	}
}

func TestMLflowAnswersForWhatIsNotThere(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{"/api/2.0/mlflow/nothing", "/ajax-api/2.0/mlflow/nothing", "/ajax-api/3.0/mlflow/traces/search", "/api/2.0/mlflow/nothing/"} {
		w := s.ask("POST", target, `{}`, "Accept: text/html")
		checkMLflowFailure(t, target, w)
		if !strings.Contains(w.Body.String(), "ENDPOINT_NOT_FOUND") && w.Code != 405 {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func TestMLflowHasACodeForEachOfOurs(t *testing.T) {
	for _, code := range driftline.Codes {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/api/2.0/mlflow/runs/create", nil)
		r.Pattern = "POST /api/2.0/mlflow/runs/create"
		web.WriteError(w, r, driftline.Errorf(code, "no"))
		var failure mlflowError
		if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || failure.Code == "" || w.Code < 400 {
			t.Errorf("%s: %d %s", code, w.Code, w.Body)
		}
		passing := code == driftline.Exhausted || code == driftline.Deadline || code == driftline.Unavailable || code == driftline.Internal
		if repeated[w.Code] != passing {
			t.Errorf("%s: status %d, and the client would repeat it: %v", code, w.Code, repeated[w.Code])
		}
	}
}

// The client decides by these three what it can expect of the server.
func TestMLflowServerSaysWhatItIs(t *testing.T) {
	s := newSite(t)
	for target, want := range map[string]string{
		"/health":                     "OK",
		"/version":                    mlflow.Version,
		"/api/3.0/mlflow/server-info": `{"store_type":"SqlStore","workspaces_enabled":false}` + "\n",
	} {
		if got := s.mustAsk(t, "GET", target, ""); got != want {
			t.Errorf("%s is %q, want %q", target, got, want)
		}
	}
}
