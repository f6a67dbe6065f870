package gateway_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// asking is a request and what came of it.
type asking struct {
	path, body string
	id         string
	answer     *httptest.ResponseRecorder
}

// together sends the requests so that the server of version 1 may join them: while it holds an
// earlier one back, which it answers after them. most is how many rows leave at once.
func (s *stand) together(server driftline.ModelServer, most int, requests []asking) {
	s.T.Helper()
	server.URL, server.MaxBatch = s.models[1].URL, most
	server.BatchDelay = cmp.Or(server.BatchDelay, driftline.Duration(driftline.MostBatchDelay))
	server.Features, server.Timeout = &driftline.FeatureSet{Service: "delay_model"}, driftline.Duration(time.Minute)
	s.serveAt(1, server)
	model := s.models[1]
	arrived, hold := make(chan struct{}), make(chan struct{})
	answers := model.instead.Load()
	first := true // only the first request sees this handler
	var once sync.Mutex
	model.does(func(w http.ResponseWriter, r *http.Request) {
		once.Lock()
		is := first
		first = false
		once.Unlock()
		if is {
			close(arrived)
			<-hold
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body := model.body.Load().(string)
		r.Body = io.NopCloser(strings.NewReader(body))
		if answers != nil {
			(*answers)(w, r)
			return
		}
		model.answer(w, r, []byte(body))
	})
	var callers sync.WaitGroup
	callers.Go(func() { s.post(infer, whole) })
	<-arrived
	var asked sync.WaitGroup
	for i := range requests {
		asked.Go(func() {
			requests[i].answer = s.post(requests[i].path, requests[i].body, "X-Prediction-Id: "+requests[i].id)
		})
	}
	asked.Wait()
	close(hold)
	callers.Wait()
}

// TestRequestsAreJoined: the server gets one request for the rows of four, and each caller its own
// answer, under its own ID, in the form of its protocol, and its own line in the log.
func TestRequestsAreJoined(t *testing.T) {
	entities := func(airport string) string { return `{"entities":{"airport":[` + airport + `]}}` }
	for _, protocol := range driftline.ModelProtocols {
		t.Run(string(protocol), func(t *testing.T) {
			s := newStand(t, nil)
			requests := []asking{
				{path: infer, body: entities(`"JFK"`), id: "a"},
				{path: infer, body: entities(`"LGA"`), id: "b"},
				{path: infer, body: entities(`"LGA","JFK"`), id: "c"},
			}
			want := [][]float64{{1000.465}, {1000.5}, {1000.5, 1000.465}}
			s.together(driftline.ModelServer{Protocol: protocol}, 4, requests)
			if n := s.models[1].asked.Load(); n != 2 {
				t.Errorf("the server was asked %d times, want twice: the one before, and all others at once", n)
			}
			for i, r := range requests {
				got := predictions(t, r.path, r.answer.Body.Bytes())
				if !slices.EqualFunc(got, want[i], func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) || r.answer.Header().Get("x-prediction-id") != r.id {
					t.Errorf("%s: %s, want %v", r.id, r.answer.Body, want[i])
				}
			}
			s.logged(5)
			for id, score := range map[string]string{"a": "1000.465", "b": "1000.5", "c-0": "1000.5", "c-1": "1000.465"} {
				if row := s.row(id); row["score"] != score || row["status"] != "200" {
					t.Errorf("%s is logged as %v, want score %s", id, row, score)
				}
			}
		})
	}
}

// TestRecordsStayRecords: what MLflow wrote as a list of objects is a list of objects for each.
func TestRecordsStayRecords(t *testing.T) {
	s := newStand(t, nil)
	s.models[1].does(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Split struct{ Data [][]float64 } `json:"dataframe_split"`
		}
		_ = json.NewDecoder(r.Body).Decode(&request)
		var records []string
		for _, row := range request.Split.Data {
			records = append(records, fmt.Sprintf(`{"late": %g, "by": [1, {"x": 2}]}`, row[0]))
		}
		_, _ = io.WriteString(w, `{"predictions": [`+strings.Join(records, ", ")+`]}`)
	})
	requests := []asking{{path: invoke, body: `{"entities":{"airport":["JFK"]}}`, id: "a"}, {path: invoke, body: `{"entities":{"airport":["LGA"]}}`, id: "b"}}
	s.together(driftline.ModelServer{Protocol: driftline.ProtocolMLflow}, 2, requests)
	for i, want := range []string{`{"predictions":[{"late": 39.5, "by": [1, {"x": 2}]}]}`, `{"predictions":[{"late": 41, "by": [1, {"x": 2}]}]}`} {
		if got := requests[i].answer.Body.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestOneRefusedInputIsNobodyElses: the server refuses a batch for one row in it. The others
// are answered, and the failure of a server is that of all.
func TestOneRefusedInputIsNobodyElses(t *testing.T) {
	s := newStand(t, nil)
	model := s.models[1]
	model.does(func(w http.ResponseWriter, r *http.Request) {
		body := model.body.Load().(string)
		if strings.Contains(body, "666") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		model.answer(w, r, []byte(body))
	})
	column := func(temp string) string {
		return `{"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[` + temp + `]},{"name":"gusts","shape":[1],"datatype":"INT64","data":[10]}]}`
	}
	requests := []asking{{path: infer, body: column("50"), id: "a"}, {path: infer, body: column("666"), id: "b"}}
	s.together(driftline.ModelServer{}, 2, requests)
	if a, b := requests[0].answer.Code, requests[1].answer.Code; a != http.StatusOK || b != http.StatusBadRequest {
		t.Errorf("statuses %d and %d, want 200 and 400: %s", a, b, requests[0].answer.Body)
	}

	model.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	requests = []asking{{path: infer, body: column("50"), id: "c"}, {path: infer, body: column("51"), id: "d"}}
	s.together(driftline.ModelServer{}, 2, requests)
	for _, r := range requests {
		if r.answer.Code != http.StatusBadGateway {
			t.Errorf("%s: %d, want 502", r.id, r.answer.Code)
		}
	}
}

// TestWhatDoesNotJoin: requests of other columns or with parameters of their own are sent as they
// are, and a request that comes alone waits for nobody.
func TestWhatDoesNotJoin(t *testing.T) {
	s := newStand(t, nil)
	s.serveAt(1, driftline.ModelServer{URL: s.models[1].URL, MaxBatch: 8, BatchDelay: driftline.Duration(driftline.MostBatchDelay)})
	if w := s.post(infer, whole); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	other := `{"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[50]},{"name":"gusts","shape":[1],"datatype":"INT64","data":[1]},{"name":"hour","shape":[1],"datatype":"INT64","data":[9]}]}`
	tuned := strings.Replace(whole, `{"inputs"`, `{"parameters":{"top":1},"inputs"`, 1)
	requests := []asking{{path: infer, body: whole, id: "a"}, {path: infer, body: other, id: "b"}, {path: infer, body: tuned, id: "c"}, {path: infer, body: whole, id: "d"}}
	s.models[1].asked.Store(0)
	s.together(driftline.ModelServer{BatchDelay: driftline.Duration(time.Millisecond)}, 1+len(requests), requests)
	if n := s.models[1].asked.Load(); n < 4 {
		t.Errorf("the server was asked %d times, want at least 4: the one before, and one for each kind", n)
	}
	for _, r := range requests {
		if r.answer.Code != http.StatusOK {
			t.Errorf("%s: %d %s", r.id, r.answer.Code, r.answer.Body)
		}
	}
}
