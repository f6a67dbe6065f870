package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
	"github.com/driftline/driftline/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const late = driftline.ModelName("late")

// stand is a server with a gateway, and a model of two versions whose features are the
// weather at an airport and the hour that the request brings. Version 1 is champion.
type stand struct {
	*testenv.Env
	gateway *gateway.Gateway
	handler http.Handler
	models  map[int]*modelServer
}

const modelFile = `signature:
  inputs: '[{"type": "double", "name": "temp"}, {"type": "long", "name": "gusts"}, {"type": "long", "name": "hour", "required": false}]'
  outputs: '[{"type": "double"}]'
`

func newStand(t testing.TB, options *gateway.Options) *stand {
	t.Helper()
	env := testenv.NewWith(t, func(o *engine.Options) { o.RolloutEvery = -1 })
	s := &stand{Env: env, models: map[int]*modelServer{}}
	env.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "gusts", Type: driftline.Int64}}}},
		FeatureServices: []driftline.FeatureService{{Name: "delay_model", Projections: []driftline.Projection{{View: "weather"}}}},
	})
	env.Ingest("weather", `[{"airport": "JFK", "event_timestamp": "2013-05-31T15:00:00Z", "temp": 39.5, "gusts": 7},
		{"airport": "LGA", "event_timestamp": "2013-05-31T15:00:00Z", "temp": 41, "gusts": 9}]`)
	for version := 1; version <= 2; version++ {
		run, err := env.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.PutArtifact(context.Background(), run.ID, "model/MLmodel", strings.NewReader(modelFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Engine.RegisterModel(context.Background(), driftline.ModelSpec{Model: late, Run: run.ID, Artifact: "model"}, true); err != nil {
			t.Fatal(err)
		}
		s.models[version] = serveModel(t, version)
		s.serveAt(version, driftline.ModelServer{URL: s.models[version].URL, Timeout: driftline.Duration(2 * time.Second),
			Features: &driftline.FeatureSet{Service: "delay_model"}})
	}
	if _, err := env.Engine.Registry().MoveAlias(late, driftline.AliasChampion, driftline.AliasMove{Version: 1}); err != nil {
		t.Fatal(err)
	}
	s.gateway = gateway.New(env.Engine, options)
	t.Cleanup(s.gateway.Close)
	s.handler = web.New(env.Engine, &web.Options{Gateway: s.gateway}).Handler()
	return s
}

func (s *stand) serveAt(version int, server driftline.ModelServer) {
	s.T.Helper()
	if _, err := s.Engine.Registry().SetModelServer(late, fmt.Sprint(version), driftline.ModelServerChange{Server: &server}); err != nil {
		s.T.Fatal(err)
	}
}

// modelServer is an honest model server of both protocols: its prediction is the sum of what a row has
// (text counts its length), over 100, plus 1000 times its version. What it
// does instead is a test's to say.
type modelServer struct {
	*httptest.Server
	version int
	asked   atomic.Int64
	body    atomic.Value // of the last request
	instead atomic.Pointer[func(http.ResponseWriter, *http.Request)]
}

func serveModel(t testing.TB, version int) *modelServer {
	m := &modelServer{version: version}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

// does says what the server does instead of answering; nil answers again.
func (m *modelServer) does(f func(http.ResponseWriter, *http.Request)) {
	if f == nil {
		m.instead.Store(nil)
		return
	}
	m.instead.Store(&f)
}

// says makes a server answer with a body.
func (m *modelServer) says(status int, body string) {
	m.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) })
}

func (m *modelServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		return // ready, with an empty body, as many servers say it
	}
	m.asked.Add(1)
	body, _ := io.ReadAll(r.Body)
	m.body.Store(string(body))
	if instead := m.instead.Load(); instead != nil {
		(*instead)(w, r)
		return
	}
	m.answer(w, r, body)
}

func (m *modelServer) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	var request struct {
		ID     string `json:"id"`
		Inputs []struct {
			Shape []int `json:"shape"`
			Data  []any `json:"data"`
		} `json:"inputs"`
		Split struct{ Data [][]any } `json:"dataframe_split"`
	}
	if strings.HasSuffix(r.URL.Path, "/invocations") {
		_ = json.Unmarshal(body, &request) // a test that sends nonsense sees an empty answer
		sums := make([]float64, len(request.Split.Data))
		for i, row := range request.Split.Data {
			sums[i] = m.predict(row)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": sums})
		return
	}
	if err := json.Unmarshal(body, &request); err != nil || len(request.Inputs) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error": "no inputs\nstack trace"}`)
		return
	}
	sums := make([]float64, request.Inputs[0].Shape[0])
	for i := range sums {
		var row []any
		for _, in := range request.Inputs {
			row = append(row, in.Data[i])
		}
		sums[i] = m.predict(row)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"model_name": "late", "id": request.ID, "outputs": []any{
		map[string]any{"name": "predict", "shape": []int{len(sums)}, "datatype": "FP64", "data": sums}}})
}

func (m *modelServer) predict(row []any) float64 {
	sum := 0.0
	for _, v := range row {
		switch v := v.(type) {
		case float64:
			sum += v
		case string:
			sum += float64(len(v))
		}
	}
	return sum/100 + 1000*float64(m.version)
}

// post sends a request through the whole server. header holds "Name: value" lines.
func (s *stand) post(path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8816"
	r.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *stand) get(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8816"
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// roll starts a rollout of version 2 and brings it to its first stage that has traffic.
func (s *stand) roll(plan *driftline.RolloutPlan) driftline.RolloutStatus {
	s.T.Helper()
	started, err := s.Engine.StartRollout(context.Background(), driftline.RolloutRequest{Model: late, Version: "2", Plan: plan, By: "ann"})
	if err != nil {
		s.T.Fatal(err)
	}
	s.Engine.ReportModelServer(late, 2, nil)
	const enough = 1100 // for the baseline
	for range 3 {
		router := s.router()
		for i := range enough {
			d := router.Decide(fmt.Sprint("baseline", i))
			s.Engine.ObserveRollout(late, rollout.Observation{Route: d.Route, Arm: d.Arm, Answer: rollout.Answer{Latency: time.Duration(1+i%100) * time.Second, Score: 1}})
		}
		s.tend()
		status, err := s.Engine.RolloutStatus(started.Rollout.ID)
		if err != nil {
			s.T.Fatal(err)
		}
		if status.Phase != driftline.RolloutPending {
			return status
		}
	}
	s.T.Fatal("the rollout does not begin")
	return driftline.RolloutStatus{}
}

func (s *stand) tend() {
	s.T.Helper()
	s.Clock.Advance(time.Minute)
	if err := s.Engine.TendRollouts(context.Background()); err != nil {
		s.T.Fatal(err)
	}
}

// keysOf returns keys that the route deals to an arm.
func (s *stand) keysOf(arm driftline.Arm, n int) []string {
	s.T.Helper()
	router := s.router()
	var keys []string
	for i := 0; len(keys) < n && i < 1_000_000; i++ {
		if key := fmt.Sprint("key", i); router.Decide(key).Arm == arm {
			keys = append(keys, key)
		}
	}
	return keys
}

// logged waits until so many predictions are in the log or counted as dropped.
func (s *stand) logged(want int64) driftline.LogCounts {
	s.T.Helper()
	var counts driftline.LogCounts
	for range 600 {
		status, err := s.Engine.PredictionLog(late)
		if err == nil {
			if counts = status.Counts; counts.Logged+counts.AllDropped() >= want {
				return counts
			}
		} else if driftline.CodeOf(err) != driftline.NotFound {
			s.T.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.T.Fatalf("%+v, want %d predictions", counts, want)
	return counts
}

// row returns what the log has of a prediction.
func (s *stand) row(id string) map[string]string {
	s.T.Helper()
	var trace *driftline.PredictionTrace
	err := errors.New("not asked")
	for range 200 {
		if trace, err = s.Engine.Why(context.Background(), driftline.PredictionQuery{Prediction: id}); err == nil {
			return trace.Values
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.T.Fatal(err)
	return nil
}

func (s *stand) router() *routing.Router {
	s.T.Helper()
	router, err := s.Engine.Router(late)
	if err != nil {
		s.T.Fatal(err)
	}
	return router
}

// newServer serves the stand on a port.
func newServer(t testing.TB, s *stand) *httptest.Server {
	server := httptest.NewServer(s.handler)
	t.Cleanup(func() { server.Close(); http.DefaultClient.CloseIdleConnections() })
	return server
}

// newRequest is a request that can be cancelled, of the prediction "hung-up".
func newRequest(t *testing.T, server *httptest.Server, body string) (*http.Request, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+infer, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Prediction-Id", "hung-up")
	return request, cancel
}
