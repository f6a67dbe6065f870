package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestAPI runs conversations with a server, one per file:
//
//	POST /api/v1/plan header=(If-None-Match: x)
//	{body}
//	----
//	200
//	{answer}
//
// Hashes, snapshot ids and sequences depend on the build's libraries and are masked.
func TestAPI(t *testing.T) {
	datadriven.Walk(t, "testdata/api", func(t *testing.T, path string) {
		s := newSite(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "stock" {
				s.stock(t)
				return "ok\n"
			}
			return s.converse(t, d)
		})
	})
}

func (s *site) converse(t *testing.T, d *datadriven.TestData) string {
	target := d.CmdArgs[0].String()
	var header []string
	for _, arg := range d.CmdArgs[1:] {
		switch arg.Key {
		case "header":
			header = append(header, strings.Join(arg.Vals, ","))
		default:
			d.Fatalf(t, "unknown argument %s", arg.Key)
		}
	}
	w := s.ask(d.Cmd, target, d.Input, header...)
	body, err := io.ReadAll(w.Body)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d\n", w.Code)
	if allow := w.Header().Get("Allow"); allow != "" {
		fmt.Fprintf(&out, "Allow: %s\n", allow)
	}
	if w.Header().Get("Content-Type") != "application/json" {
		fmt.Fprintf(&out, "%s\n", w.Header().Get("Content-Type"))
	}
	out.Write(pretty(body))
	if !strings.HasSuffix(out.String(), "\n") {
		out.WriteByte('\n')
	}
	return mask(out.String())
}

func pretty(body []byte) []byte {
	var text string
	if json.Unmarshal(body, &text) == nil { // Feast's errors: JSON within a JSON string
		return append([]byte("string of "), pretty([]byte(text))...)
	}
	var out bytes.Buffer
	if json.Indent(&out, body, "", " ") != nil {
		return body
	}
	return out.Bytes()
}

var masked = []*regexp.Regexp{
	regexp.MustCompile(`"(snapshot|sequence)": \d+`),
	regexp.MustCompile(`"(content_hash)": "[^"]*"`),
}

func mask(text string) string {
	for _, pattern := range masked {
		text = pattern.ReplaceAllString(text, `"$1": …`)
	}
	return text
}

func TestOpenAPIDescribesEveryRouteAndNoOther(t *testing.T) {
	s := newSite(t)
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(s.mustAsk(t, "GET", "/api/v1/openapi.json", "")), &document); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, methods := range document.Paths {
		for method := range methods {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for _, route := range s.server.Routes() {
		if !described[route] {
			t.Errorf("%s is not described in openapi.json", route)
		}
		delete(described, route)
	}
	for route := range described {
		t.Errorf("openapi.json describes %s, which is no route", route)
	}
}

func TestArtifactsKeepTheirBytesAndAreNeverAPage(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/runs", `{"experiment": "late"}`)
	content := "<script>alert(1)</script>\x00\xff"
	s.mustAsk(t, "PUT", "/api/v1/runs/late-1/artifacts/report/über%20page.html", content, "Content-Type: text/html")
	w := s.ask("GET", "/api/v1/runs/late-1/artifacts/report/über%20page.html", "")
	if got := w.Body.String(); got != content {
		t.Errorf("artifact is %q, want %q", got, content)
	}
	for name, want := range map[string]string{
		"Content-Type":            "application/octet-stream",
		"Content-Disposition":     `attachment; filename="_ber page.html"`,
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "sandbox",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestMetricsCountRequestsAndRows(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	s.ask("GET", "/api/v1/feature-views/wether", "")
	text := s.mustAsk(t, "GET", "/metrics", "")
	for _, want := range []string{
		`driftline_http_requests_total{code="200",route="POST /push"} 1`,
		`driftline_http_requests_total{code="404",route="GET /api/v1/feature-views/{name}"} 1`,
		`driftline_http_request_duration_seconds_count{code="200",route="POST /push"} 1`,
		`driftline_ingested_rows_total 4`,
		`driftline_view_rows{view="weather"}`,
		`go_goroutines`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

func TestABodyOverTheLimitIsRefusedBeforeItIsDecoded(t *testing.T) {
	s := newSite(t)
	w := s.ask("POST", "/api/v1/runs", `{"experiment": "`+strings.Repeat("x", 2<<20)+`"}`)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413: %s", w.Code, w.Body)
	}
}

// A hostile body may be answered with any error, but never with a crash, and
// never with what is inside our process.
func FuzzOnlineRequest(f *testing.F) {
	s := newSite(f)
	s.stock(f)
	f.Add(`{"entities": {"airport": ["JFK"]}, "features": ["weather:temp"]}`)
	f.Add(`{"entities": {"airport": [null, {}, [1]]}, "feature_service": "delay_model", "at": "x"}`)
	f.Add(`{"entities": {"airport": ["JFK"], "airport": []}}`)
	f.Fuzz(func(t *testing.T, body string) {
		w := s.ask("POST", "/get-online-features", body)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer is not JSON: %s", w.Body)
		}
		if w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

func TestRequestsWithoutARouteAreOneMetric(t *testing.T) {
	s := newSite(t)
	for _, method := range []string{"GET", "X1", "X2"} {
		s.ask(method, "/nowhere", "")
	}
	text := s.mustAsk(t, "GET", "/metrics", "")
	if strings.Contains(text, "X1") || !strings.Contains(text, `driftline_http_requests_total{code="404",route="(no route)"} 3`) {
		t.Errorf("a method that a caller made up is a label:\n%s", text)
	}
}

func TestAViewWithoutEntitiesHasOneRow(t *testing.T) {
	s := newSite(t)
	s.mustAsk(t, "POST", "/api/v1/apply", `{"feature_views": [{"name": "rates", "features": [{"name": "rate", "type": "float64"}]}]}`)
	s.mustAsk(t, "POST", "/push", `{"push_source_name": "rates", "df": {"event_timestamp": ["2013-01-31T14:00:00Z"], "rate": [1.5]}}`)
	answer := s.mustAsk(t, "POST", "/get-online-features", `{"features": ["rates:rate"], "entities": {}}`)
	if !strings.Contains(answer, `"values":[1.5],"statuses":["PRESENT"]`) {
		t.Error(answer)
	}
}

func TestAPushedTimeIsKeptOrRefused(t *testing.T) {
	s := newSite(t)
	s.stock(t)
	w := s.ask("POST", "/push", `{"push_source_name": "weather", "df": {"airport": ["JFK"], "event_timestamp": ["2013-01-31T15:00:00.0000019Z"],
		"temp": [1], "gusts": [1], "sky": [""], "raw": [null], "seen": [null]}}`)
	if body := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, "row 0") || !strings.Contains(body, "microseconds") {
		t.Errorf("%d %s", w.Code, body)
	}
}
