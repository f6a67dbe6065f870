package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/testenv"
)

const (
	evaluatedRows = 600
	atOnce        = 256 // rows of one request
)

var evaluatedSchema = arrow.NewSchema([]arrow.Field{
	{Name: "airport", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	{Name: "late", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "hour", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
}, nil)

// evaluated is a model of two versions, of which the first is champion, and dataset/frozen@1: its label is whether temp,
// which is looked up, is above 50. A server that answers temp/100 is always right.
type evaluated struct {
	*testenv.Env
	scorer  *gateway.Scorer
	servers map[int]*httptest.Server
	asked   atomic.Int64 // requests
	largest atomic.Int64 // rows of one
	names   atomic.Pointer[[]string]
	answers map[int]func(temp float64) any
	instead atomic.Pointer[func(version int, w http.ResponseWriter, inputs map[string][]any) bool]
}

func newEvaluated(t *testing.T, signature string) *evaluated {
	t.Helper()
	s := &evaluated{scorer: gateway.NewScorer(nil), servers: map[int]*httptest.Server{}}
	right := func(temp float64) any { return temp / 100 }
	s.answers = map[int]func(float64) any{1: right, 2: right}
	t.Cleanup(s.scorer.Close)
	s.Env = testenv.NewWith(t, func(o *engine.Options) { o.RolloutEvery, o.TriggersEvery, o.Score = -1, -1, s.scorer.Score })
	s.Apply(driftline.Definitions{
		Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{Name: "weather", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "gusts", Type: driftline.Int64}}}},
	})
	rows, spine := make([]map[string]any, evaluatedRows), make([]map[string]any, evaluatedRows)
	for i := range rows {
		temp := float64(i*37%100) + 0.5
		at := time.Date(2013, 4, 1, i, 0, 0, 0, time.UTC).Format(time.RFC3339)
		rows[i] = map[string]any{"airport": "JFK", "event_timestamp": at, "temp": temp, "gusts": nil}
		spine[i] = map[string]any{"airport": "JFK", "event_timestamp": at, "late": temp > 50, "hour": i % 24}
	}
	s.Ingest("weather", jsonOf(rows))
	req := driftline.HistoricalRequest{SaveAs: "frozen"}
	req.Projections = []driftline.Projection{{View: "weather"}}
	set, err := s.Engine.Historical(t.Context(), req, s.Rows(evaluatedSchema, jsonOf(spine)))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
	}
	for version := 1; version <= 2; version++ {
		run, err := s.Engine.Registry().CreateRun(driftline.RunSpec{Experiment: "e"})
		if err != nil {
			t.Fatal(err)
		}
		content := signature
		if signature == "" {
			content = "flavors: {}\n"
		}
		if _, err := s.Engine.PutArtifact(t.Context(), run.ID, "model/MLmodel", strings.NewReader(fmt.Sprintf("%s# version %d\n", content, version))); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Engine.RegisterModel(t.Context(), driftline.ModelSpec{Model: late, Run: run.ID, Artifact: "model"}, true); err != nil {
			t.Fatal(err)
		}
		s.servers[version] = httptest.NewServer(s.handler(version))
		t.Cleanup(s.servers[version].Close)
		s.serve(version, driftline.ModelServer{URL: s.servers[version].URL})
	}
	if _, err := s.Engine.Registry().MoveAlias(late, driftline.AliasChampion, driftline.AliasMove{Version: 1}); err != nil {
		t.Fatal(err)
	}
	return s
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func (s *evaluated) serve(version int, server driftline.ModelServer) {
	s.T.Helper()
	if _, err := s.Engine.Registry().SetModelServer(late, fmt.Sprint(version), driftline.ModelServerChange{Server: &server}); err != nil {
		s.T.Fatal(err)
	}
}

// handler is an OIP server of one version.
func (s *evaluated) handler(version int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request struct {
			Inputs []struct {
				Name  string `json:"name"`
				Shape []int  `json:"shape"`
				Data  []any  `json:"data"`
			} `json:"inputs"`
		}
		if err := json.Unmarshal(body, &request); err != nil || len(request.Inputs) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		inputs, names := map[string][]any{}, []string{}
		for _, in := range request.Inputs {
			inputs[in.Name], names = in.Data, append(names, in.Name)
		}
		s.names.Store(&names)
		s.asked.Add(1)
		rows := request.Inputs[0].Shape[0]
		s.largest.Store(max(s.largest.Load(), int64(rows)))
		if instead := s.instead.Load(); instead != nil && (*instead)(version, w, inputs) {
			return
		}
		data := make([]any, rows)
		for i := range data {
			temp, _ := inputs["temp"][i].(float64)
			data[i] = s.answers[version](temp)
		}
		answer(w, "late", data)
	}
}

func answer(w http.ResponseWriter, name string, data []any) {
	fmt.Fprintf(w, `{"outputs":[{"name":%q,"shape":[%d],"datatype":"FP64","data":%s}]}`, name, len(data), jsonOf(data))
}

func (s *evaluated) gate() *driftline.EvaluationGate {
	return &driftline.EvaluationGate{Dataset: driftline.DatasetRef("frozen", 1), Task: driftline.TaskClassification, Metric: "roc_auc", Label: "late", Replications: 50, Seed: 3}
}

func (s *evaluated) evaluate(change func(*driftline.EvaluationRequest)) (*driftline.Evaluation, error) {
	req := driftline.EvaluationRequest{Gate: s.gate()}
	if change != nil {
		change(&req)
	}
	return s.Engine.Evaluate(s.T.Context(), late, "2", req)
}

func outcomeOf(e *driftline.Evaluation, kind driftline.EvaluationKind) driftline.EvaluationCheck {
	at := slices.IndexFunc(e.Checks, func(c driftline.EvaluationCheck) bool { return c.Check == kind })
	return e.Checks[at]
}

// TestTheServersOfBothAreAsked: nobody logged predictions, so the gate gets them from who gives them in production.
func TestTheServersOfBothAreAsked(t *testing.T) {
	s := newEvaluated(t, "")
	found, err := s.evaluate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if found.Outcome != driftline.EvaluationPassed || found.Rows != evaluatedRows || found.Labels != evaluatedRows {
		t.Fatalf("%+v", found)
	}
	if check := outcomeOf(found, driftline.EvaluateMetric); check.Candidate.Value != 1 || check.Champion.Value != 1 {
		t.Errorf("%s", check.Message)
	}
	if used := found.Predictions; used.From != "model/late@2 at "+s.servers[2].URL || used.Match != "keys" || len(used.Hash) != 64 || used.Hash != found.ChampionPredictions.Hash {
		t.Errorf("evidence: %+v, %+v", found.Predictions, found.ChampionPredictions)
	}
	if names := *s.names.Load(); !slices.Equal(names, []string{"hour", "temp", "gusts"}) {
		t.Errorf("it was given %v; want neither key, time nor label", names)
	}
	if got, want := s.asked.Load(), int64(2*3); got != want || s.largest.Load() != atOnce {
		t.Errorf("%d requests of %d rows at most, want %d of %d", got, s.largest.Load(), want, atOnce)
	}
	again, err := s.evaluate(nil)
	if err != nil || again.Predictions.Hash != found.Predictions.Hash {
		t.Errorf("asked again: %+v, %v", again, err)
	}

	// What was given with the request comes before.
	s.asked.Store(0)
	scored := &driftline.PredictionSource{Table: driftline.DriftSource{SQL: "SELECT airport, event_timestamp, temp AS score FROM datasets.frozen"}}
	if found, err = s.evaluate(func(r *driftline.EvaluationRequest) { r.Predictions, r.ChampionPredictions = scored, scored }); err != nil || s.asked.Load() != 0 {
		t.Errorf("%d requests for predictions that were given; %+v, %v", s.asked.Load(), found, err)
	}
	worse := func(temp float64) any { return math.Mod(temp*7, 10) / 10 }
	s.answers[2] = worse
	if found, err = s.evaluate(nil); err != nil || outcomeOf(found, driftline.EvaluateMetric).Outcome != driftline.EvaluationFailed {
		t.Errorf("a worse candidate: %+v, %v", found, err)
	}
}

// TestEachSideHasItsSource: the candidate's server is asked now, and held against what the champion said in production, from
// its prediction log, on the same rows: neither has to come from where the other does.
func TestEachSideHasItsSource(t *testing.T) {
	s := newEvaluated(t, "")
	var records []driftline.PredictionRecord
	for i := range evaluatedRows {
		score := float64(i*37%100)/100 + 0.005
		records = append(records, driftline.PredictionRecord{ID: fmt.Sprint("p-", i), Model: late, Version: 1, Status: 200, Prediction: score, Score: &score,
			Time: time.Date(2013, 4, 1, i, 0, 0, 0, time.UTC), Entity: map[string]any{"airport": "JFK"}})
	}
	slices.Reverse(records) // rows are found by their keys and times
	if _, err := s.Engine.LogPredictionsDurably(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	logged := func(version int) *driftline.PredictionSource {
		return &driftline.PredictionSource{Table: driftline.DriftSource{SQL: fmt.Sprintf("SELECT airport, event_timestamp, score FROM predictions.late WHERE model_version = %d", version)}}
	}
	found, err := s.evaluate(func(r *driftline.EvaluationRequest) { r.ChampionPredictions = logged(1) })
	if err != nil || found.Outcome != driftline.EvaluationPassed {
		t.Fatalf("%+v, %v", found, err)
	}
	if s.asked.Load() != 3 || found.Predictions.From != "model/late@2 at "+s.servers[2].URL || found.ChampionPredictions.Match != "keys" || found.ChampionPredictions.From == found.Predictions.From {
		t.Errorf("%d requests; evidence: %+v, %+v", s.asked.Load(), found.Predictions, found.ChampionPredictions)
	}
	s.answers[2] = func(temp float64) any { return math.Mod(temp*7, 10) / 10 }
	if found, err = s.evaluate(func(r *driftline.EvaluationRequest) { r.ChampionPredictions = logged(1) }); err != nil || outcomeOf(found, driftline.EvaluateMetric).Outcome != driftline.EvaluationFailed {
		t.Errorf("a worse candidate: %+v, %v", found, err)
	}
	// A version that predicted nothing has no score for any row, which is no pass.
	if found, err = s.evaluate(func(r *driftline.EvaluationRequest) { r.ChampionPredictions = logged(7) }); err == nil && found.Outcome == driftline.EvaluationPassed {
		t.Errorf("held against nothing: %+v", found)
	}
}

// TestAnswersAreClassesOrScores: only what is one is taken for it.
func TestAnswersAreClassesOrScores(t *testing.T) {
	s := newEvaluated(t, "")
	class := func(temp float64) any {
		if temp > 50 {
			return 1
		}
		return 0
	}
	s.answers[1], s.answers[2] = class, class
	found, err := s.evaluate(nil)
	if check := outcomeOf(found, driftline.EvaluateData); err != nil || check.Outcome != driftline.EvaluationFailed || !strings.Contains(check.Message, "roc_auc needs scores") {
		t.Errorf("%+v, %v", found, err)
	}
	found, err = s.evaluate(func(r *driftline.EvaluationRequest) { r.Gate.Metric = "accuracy" })
	if err != nil || outcomeOf(found, driftline.EvaluateMetric).Outcome != driftline.EvaluationPassed {
		t.Errorf("%+v, %v", found, err)
	}
	two := func(_ int, w http.ResponseWriter, inputs map[string][]any) bool {
		data := []any{}
		for _, temp := range inputs["temp"] {
			data = append(data, 1-temp.(float64)/100, temp.(float64)/100)
		}
		fmt.Fprintf(w, `{"outputs":[{"name":"late","shape":[%d,2],"datatype":"FP64","data":%s}]}`, len(data)/2, jsonOf(data))
		return true
	}
	s.instead.Store(&two)
	found, err = s.evaluate(func(r *driftline.EvaluationRequest) { r.Gate.Floors = map[string]float64{"accuracy": 0.99} })
	if err != nil || found.Outcome != driftline.EvaluationPassed {
		t.Errorf("probabilities of both classes: %+v, %v", found, err)
	}
}

// TestASignatureSaysWhatIsAsked: its columns are given, in its order, and what the dataset has not is an error.
func TestASignatureSaysWhatIsAsked(t *testing.T) {
	s := newEvaluated(t, `signature:
  inputs: '[{"type": "double", "name": "temp"}, {"type": "long", "name": "hour"}, {"type": "long", "name": "absent", "required": false}]'
  outputs: '[{"type": "double"}]'
`)
	found, err := s.evaluate(nil)
	if err != nil || found.Outcome != driftline.EvaluationPassed || !slices.Equal(*s.names.Load(), []string{"temp", "hour"}) {
		t.Errorf("it was given %v; %+v, %v", *s.names.Load(), found, err)
	}
	wrong := newEvaluated(t, "signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"visib\"}]'\n  outputs: '[{\"type\": \"double\"}]'\n")
	_, err = wrong.evaluate(nil)
	wantError(t, err, driftline.FailedPrecondition, `model/late@2 takes "visib", and dataset/frozen@1 has no such column`)
}

// TestAMatrixHasAnOrder: which nobody guesses.
func TestAMatrixHasAnOrder(t *testing.T) {
	s := newEvaluated(t, "")
	matrix := func(_ int, w http.ResponseWriter, inputs map[string][]any) bool {
		data := inputs["x"]
		temps := []any{}
		for i := 0; i < len(data); i += 2 {
			temps = append(temps, data[i].(float64)/100)
		}
		answer(w, "late", temps)
		return true
	}
	s.instead.Store(&matrix)
	for version, server := range s.servers {
		s.serve(version, driftline.ModelServer{URL: server.URL, Tensor: "x"})
	}
	_, err := s.evaluate(nil)
	wantError(t, err, driftline.FailedPrecondition, "model/late@2 takes a matrix")
	found, err := s.evaluate(func(r *driftline.EvaluationRequest) { r.Gate.Inputs = []string{"temp", "hour"} })
	if err != nil || outcomeOf(found, driftline.EvaluateMetric).Candidate.Value != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func wantError(t *testing.T, err error, code driftline.Code, says string) {
	t.Helper()
	if err == nil || driftline.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v\nwant %s: … %s …", driftline.CodeOf(err), err, code, says)
	}
}

// TestWhatAServerMayNotAnswer names the version, the rows and what is wrong.
func TestWhatAServerMayNotAnswer(t *testing.T) {
	s := newEvaluated(t, "")
	for _, c := range []struct {
		name string
		does func(w http.ResponseWriter, inputs map[string][]any)
		code driftline.Code
		says string
	}{
		{"fewer rows", func(w http.ResponseWriter, in map[string][]any) { answer(w, "late", in["temp"][1:]) }, driftline.FailedPrecondition,
			`rows 0 to 255: model/late@2 gave no answer (empty): output "late" has 255 rows, 256 were asked for`},
		{"more rows", func(w http.ResponseWriter, in map[string][]any) { answer(w, "late", append(in["temp"], 1)) }, driftline.FailedPrecondition, "has 257 rows, only 256 were asked for"},
		{"another shape", func(w http.ResponseWriter, in map[string][]any) {
			fmt.Fprintf(w, `{"outputs":[{"name":"late","shape":[%d,7],"datatype":"FP64","data":%s}]}`, len(in["temp"]), jsonOf(in["temp"]))
		}, driftline.FailedPrecondition, "has another number of values than its shape says"},
		{"NaN", func(w http.ResponseWriter, in map[string][]any) {
			_, _ = io.WriteString(w, strings.Replace(fmt.Sprintf(`{"outputs":[{"name":"late","shape":[%d],"datatype":"FP64","data":%s}]}`, len(in["temp"]), jsonOf(in["temp"])), "37.5", "NaN", 1))
		}, driftline.FailedPrecondition, `model/late@2 gave no answer (not_finite): output "late" has NaN`},
		{"nonsense", func(w http.ResponseWriter, _ map[string][]any) { _, _ = io.WriteString(w, "<html>") }, driftline.FailedPrecondition, "its answer cannot be read"},
		{"an error", func(w http.ResponseWriter, _ map[string][]any) { w.WriteHeader(500) }, driftline.FailedPrecondition, "its server answered 500"},
		{"refused", func(w http.ResponseWriter, _ map[string][]any) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error": "hour is no feature"}`)
		}, driftline.FailedPrecondition, "its server refused the input (400): hour is no feature"},
		{"a proxy before one that is gone", func(w http.ResponseWriter, _ map[string][]any) { w.WriteHeader(502) }, driftline.Unavailable, "its server answered 502"},
	} {
		instead := func(version int, w http.ResponseWriter, inputs map[string][]any) bool {
			if version == 2 {
				c.does(w, inputs)
			}
			return version == 2
		}
		s.instead.Store(&instead)
		if _, err := s.evaluate(nil); err == nil || driftline.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s: %v\nwant %s: %s", c.name, driftline.CodeOf(err), err, c.code, c.says)
		}
	}
	s.instead.Store(nil)
	if all, err := s.Engine.Evaluations(late, 0, 0, 10); err != nil || len(all) != 0 {
		t.Errorf("of what could not be evaluated there are %d evaluations, %v", len(all), err)
	}
	s.serve(2, driftline.ModelServer{URL: "http://10.1.2.3:9"})
	_, err := s.evaluate(nil)
	wantError(t, err, driftline.Permission, "private network")
	s.servers[1].Close()
	s.serve(2, driftline.ModelServer{URL: s.servers[2].URL})
	_, err = s.evaluate(nil)
	wantError(t, err, driftline.Unavailable, "model/late@1 gave no answer (error): its server cannot be reached")
}

// TestASlowServerEndsWithItsTimeout, and not with the evaluation's patience.
func TestASlowServerEndsWithItsTimeout(t *testing.T) {
	s := newEvaluated(t, "")
	hold := make(chan struct{})
	slow := func(version int, _ http.ResponseWriter, _ map[string][]any) bool { <-hold; return true }
	s.instead.Store(&slow)
	defer close(hold)
	s.serve(2, driftline.ModelServer{URL: s.servers[2].URL, Timeout: driftline.Duration(50 * time.Millisecond)})
	_, err := s.evaluate(nil)
	wantError(t, err, driftline.Unavailable, "model/late@2 gave no answer (timeout)")
}

// TestAnswersAreTimed: single rows, of predictions that were given too.
func TestAnswersAreTimed(t *testing.T) {
	s := newEvaluated(t, "")
	for limit, want := range map[time.Duration]driftline.EvaluationOutcome{time.Hour: driftline.EvaluationPassed, time.Nanosecond: driftline.EvaluationFailed} {
		s.asked.Store(0)
		found, err := s.evaluate(func(r *driftline.EvaluationRequest) { r.Gate.Latency = driftline.Duration(limit) })
		if err != nil {
			t.Fatal(err)
		}
		check := outcomeOf(found, driftline.EvaluateLatency)
		if check.Outcome != want || !strings.HasPrefix(check.Message, "95 % of 100 answers came within ") {
			t.Errorf("within %s: %s: %s", limit, check.Outcome, check.Message)
		}
		if got, want := s.asked.Load(), int64(2*3+105); got != want {
			t.Errorf("%d requests, want %d: the champion has no limit", got, want)
		}
	}
	slow := func(version int, _ http.ResponseWriter, inputs map[string][]any) bool {
		if version == 2 && len(inputs["temp"]) == 1 {
			time.Sleep(20 * time.Millisecond)
		}
		return false
	}
	s.instead.Store(&slow)
	scored := &driftline.PredictionSource{Table: driftline.DriftSource{SQL: "SELECT airport, event_timestamp, temp AS score FROM datasets.frozen"}}
	found, err := s.evaluate(func(r *driftline.EvaluationRequest) {
		r.Gate.LatencyRatio, r.Predictions, r.ChampionPredictions = 1.01, scored, scored
	})
	if err != nil || outcomeOf(found, driftline.EvaluateLatency).Outcome != driftline.EvaluationFailed {
		t.Errorf("20 ms more than the champion: %+v, %v", found, err)
	}
}

// evaluateMLflow asks a server of the published mlflow package what it makes of a dataset.
func evaluateMLflow(t *testing.T, url string) {
	t.Helper()
	s := newEvaluated(t, "signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"temp\"}, {\"type\": \"long\", \"name\": \"gusts\"}]'\n  outputs: '[{\"type\": \"double\"}]'\n")
	for version := range s.servers {
		s.serve(version, driftline.ModelServer{URL: url, Protocol: driftline.ProtocolMLflow, Timeout: driftline.Duration(time.Minute)})
	}
	req := driftline.HistoricalRequest{SaveAs: "warm", Spine: &driftline.SpineSource{
		SQL: "SELECT airport, event_timestamp, hour AS gusts, temp, 2 * temp - 3 * hour + 7 AS truth FROM datasets.frozen"}}
	req.Projections = []driftline.Projection{{View: "weather", Features: []string{"temp"}, Role: "then"}}
	set, err := s.Engine.Historical(t.Context(), req, driftline.Batches{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.evaluate(func(r *driftline.EvaluationRequest) {
		*r.Gate = driftline.EvaluationGate{Dataset: driftline.DatasetRef("warm", 1), Task: driftline.TaskRegression, Metric: "rmse", Label: "truth",
			Keys: []string{"airport"}, Floors: map[string]float64{"rmse": 1e-6}, Latency: driftline.Duration(time.Minute), Replications: 50}
	})
	if err != nil || found.Outcome != driftline.EvaluationPassed || outcomeOf(found, driftline.EvaluateLatency).Outcome != driftline.EvaluationPassed {
		t.Errorf("%+v, %v", found, err)
	}
}
