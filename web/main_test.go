package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a whole server over a fresh data folder, in the afternoon of 2013-01-31.
type site struct {
	*testenv.Env
	server *web.Server
}

func newSite(t testing.TB) *site {
	t.Helper()
	env := testenv.NewWith(t, func(o *engine.Options) { o.RolloutEvery = -1 })
	env.Clock.Set(time.Date(2013, 1, 31, 16, 0, 0, 0, time.UTC))
	models := gateway.New(env.Engine, nil)
	t.Cleanup(models.Close)
	return &site{Env: env, server: web.New(env.Engine, &web.Options{Version: "v0.1.0", FlightAddress: "127.0.0.1:8815", Gateway: models})}
}

// ask sends one request. header holds "Name: value" lines.
func (s *site) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8816"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	return w
}

// mustAsk is ask for the preparation of a test.
func (s *site) mustAsk(t testing.TB, method, target, body string, header ...string) string {
	t.Helper()
	w := s.ask(method, target, body, header...)
	answer, _ := io.ReadAll(w.Body)
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s: status %d: %s", method, target, w.Code, answer)
	}
	return string(answer)
}

const definitions = `{
  "entities": [{"name": "airport", "description": "An airport, by its IATA code", "join_keys": [{"name": "airport", "type": "string"}]}],
  "feature_views": [{"name": "weather", "description": "Hourly observations", "entities": ["airport"], "ttl": "3h", "owner": "weather-desk", "tags": {"source": "noaa"},
    "features": [{"name": "temp", "type": "float64", "description": "Temperature (°F)"}, {"name": "gusts", "type": "int64"}, {"name": "sky", "type": "string"}, {"name": "raw", "type": "bytes"}, {"name": "seen", "type": "timestamp"}]}],
  "feature_services": [{"name": "delay_model", "projections": [{"view": "weather", "features": ["temp"]}]}]
}`

const observations = `{"push_source_name": "weather", "df": {
  "airport": ["JFK", "JFK", "EWR", "LGA"],
  "event_timestamp": ["2013-01-31T14:00:00Z", "2013-01-31 15:00:00", "2013-01-31T15:30:00.123456Z", "2013-01-31T09:00:00Z"],
  "temp": [39.02, 40, null, 41.5],
  "gusts": [7.0, 9007199254740993, 1, null],
  "sky": ["clear", "", "söt 🌧", "fog"],
  "raw": ["AAH/", null, "", "AA=="],
  "seen": ["2013-01-31T15:00:00Z", null, "1969-12-31T23:59:58.5Z", null]}}`

// stock registers the catalogue of the tests and writes its rows.
func (s *site) stock(t testing.TB) {
	t.Helper()
	s.mustAsk(t, "POST", "/api/v1/apply", definitions)
	s.mustAsk(t, "POST", "/push", observations)
}
