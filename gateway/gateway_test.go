package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway"
)

const (
	infer  = "/v2/models/late/infer"
	invoke = "/models/late/invocations"
	whole  = `{"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[50]},{"name":"gusts","shape":[1],"datatype":"INT64","data":[10]}]}`
)

// TestFeaturesAreLookedUp: a request brings what it has, in either protocol, and the model gets
// what it takes, in the protocol of its server.
func TestFeaturesAreLookedUp(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		want             []float64
	}{
		{"whole", infer, whole, []float64{1000.6}},
		{"entities", infer, `{"entities":{"airport":["JFK","LGA"]}}`, []float64{1000.465, 1000.5}},
		{"entities and another column", infer, `{"entities":{"airport":["JFK"]},"inputs":[{"name":"hour","shape":[1],"datatype":"INT64","data":[100]}]}`, []float64{1001.465}},
		{"keys as an input", infer, `{"inputs":[{"name":"airport","shape":[1],"datatype":"BYTES","data":["JFK"]}]}`, []float64{1000.465}},
		{"what would be if", infer, `{"entities":{"airport":["JFK"]},"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[100]}]}`, []float64{1001.07}},
		{"nobody knows the airport", infer, `{"entities":{"airport":["XYZ"]}}`, []float64{1000}},
		{"records", invoke, `{"dataframe_records":[{"airport":"JFK","hour":100},{"airport":"LGA","hour":0}]}`, []float64{1001.465, 1000.5}},
		{"split", invoke, `{"dataframe_split":{"columns":["temp","gusts"],"data":[[50,10],[0,1]]}}`, []float64{1000.6, 1000.01}},
		{"entities, as MLflow", invoke, `{"entities":{"airport":["LGA"]}}`, []float64{1000.5}},
	} {
		for _, protocol := range driftline.ModelProtocols {
			t.Run(c.name+" to "+string(protocol), func(t *testing.T) {
				s := newStand(t, nil)
				s.serveAt(1, driftline.ModelServer{URL: s.models[1].URL, Protocol: protocol, Features: &driftline.FeatureSet{Service: "delay_model"}})
				w := s.post(c.path, c.body)
				if w.Code != http.StatusOK {
					t.Fatalf("%d %s; the model got %v", w.Code, w.Body, s.models[1].body.Load())
				}
				if w.Header().Get("x-model-version") != "1" || w.Header().Get("x-arm") != "champion" || w.Header().Get("x-prediction-id") == "" {
					t.Errorf("headers %v", w.Header())
				}
				got := predictions(t, c.path, w.Body.Bytes())
				if len(got) != len(c.want) {
					t.Fatalf("predictions %v, want %v", got, c.want)
				}
				for i := range got {
					if math.Abs(got[i]-c.want[i]) > 1e-9 {
						t.Errorf("predictions %v, want %v; the model got %v", got, c.want, s.models[1].body.Load())
					}
				}
			})
		}
	}
}

func predictions(t *testing.T, path string, body []byte) []float64 {
	t.Helper()
	var answer struct {
		Model       string    `json:"model_name"`
		Version     string    `json:"model_version"`
		Predictions []float64 `json:"predictions"`
		Outputs     []struct{ Data []float64 }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if path == infer {
		if answer.Model != "late" || answer.Version != "1" || len(answer.Outputs) != 1 {
			t.Fatalf("answer %s", body)
		}
		return answer.Outputs[0].Data
	}
	return answer.Predictions
}

// Each row is one prediction in the log, with what it was made of, by the ID that the caller got.
func TestEachRowIsLogged(t *testing.T) {
	s := newStand(t, nil)
	one := s.post(infer, `{"id":"42","entities":{"airport":["JFK"]},"inputs":[{"name":"hour","shape":[1],"datatype":"INT64","data":[7]}]}`)
	s.post(invoke, `{"entities":{"airport":["JFK","LGA"]}}`, "X-Prediction-Id: mine", "X-Driftline-Key: ann")
	if !strings.Contains(one.Body.String(), `"id":"42"`) {
		t.Errorf("the request's id is not echoed: %s", one.Body)
	}
	if counts := s.logged(3); counts.Served != 3 || counts.Logged != 3 {
		t.Fatalf("%+v, want 3 logged", counts)
	}
	check := func(id string, want map[string]string) {
		row := s.row(id)
		for column, value := range want {
			if row[column] != value {
				t.Errorf("%s: %s is %q, want %q: %v", id, column, row[column], value, row)
			}
		}
	}
	check(one.Header().Get("x-prediction-id"), map[string]string{"airport": "JFK", "temp": "39.5", "gusts": "7", "status": "200", "arm": "champion", "model_version": "1", "score": "1000.535"})
	check("mine-0", map[string]string{"airport": "JFK", "temp": "39.5", "score": "1000.465"})
	check("mine-1", map[string]string{"airport": "LGA", "temp": "41", "score": "1000.5"})
}

// canary is a plan that gives the candidate a share at once.
func canary(weight float64, fallback bool) *driftline.RolloutPlan {
	return &driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: weight}}, Fallback: &fallback}
}

// TestFaults is A27: whatever the candidate does wrong is a fault of its, and the caller has the
// champion's answer, or 502 and why.
func TestFaults(t *testing.T) {
	output := func(data string) string {
		return `{"outputs":[{"name":"predict","shape":[1],"datatype":"FP64","data":[` + data + `]}]}`
	}
	faults := []struct {
		fault  driftline.Fault
		status int // without a fallback
		text   string
		does   func(m *modelServer)
	}{
		{driftline.FaultNotFinite, 502, "has NaN", func(m *modelServer) { m.says(200, output("NaN")) }},
		{driftline.FaultNotFinite, 502, "has -Infinity", func(m *modelServer) { m.says(200, output("-Infinity")) }},
		{driftline.FaultEmpty, 502, "no values", func(m *modelServer) {
			m.says(200, `{"outputs":[{"name":"y","shape":[0],"datatype":"FP64","data":[]}]}`)
		}},
		{driftline.FaultEmpty, 502, "no output", func(m *modelServer) { m.says(200, `{"outputs":[]}`) }},
		{driftline.FaultSchema, 502, "cannot be read", func(m *modelServer) { m.says(200, "<html>") }},
		{driftline.FaultSchema, 502, "not double, as the signature says", func(m *modelServer) {
			m.says(200, `{"outputs":[{"name":"y","shape":[1],"datatype":"BYTES","data":["late"]}]}`)
		}},
		{driftline.FaultSchema, 502, "only 1 were asked for", func(m *modelServer) {
			m.says(200, `{"outputs":[{"name":"y","shape":[2],"datatype":"FP64","data":[1,2]}]}`)
		}},
		{driftline.FaultOversize, 502, "more than 4096 bytes", func(m *modelServer) { m.says(200, output(strings.Repeat("1", 5000))) }},
		{driftline.FaultOversize, 502, "more than 4096 bytes", func(m *modelServer) { // without a length
			m.does(func(w http.ResponseWriter, _ *http.Request) {
				for range 100 {
					_, _ = io.WriteString(w, strings.Repeat(" ", 100))
					w.(http.Flusher).Flush()
				}
			})
		}},
		{driftline.FaultTimeout, 502, "within 150ms", func(m *modelServer) {
			m.does(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}},
		{driftline.FaultError, 502, "answered 500", func(m *modelServer) { m.says(500, `{"error":"boom"}`) }},
		{driftline.FaultError, 502, "answered 302", func(m *modelServer) {
			m.does(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			})
		}},
		{driftline.FaultError, 502, "broke off", func(m *modelServer) {
			m.does(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}},
		{driftline.FaultRejected, 400, "refused the input (400): bad hour", func(m *modelServer) { m.says(400, `{"error":"bad hour\nTraceback: secret"}`) }},
	}
	for _, fallback := range []bool{true, false} {
		s := newStand(t, &gateway.Options{MaxAnswer: 4096})
		s.serveAt(2, driftline.ModelServer{URL: s.models[2].URL, Timeout: driftline.Duration(150 * time.Millisecond), Features: &driftline.FeatureSet{Service: "delay_model"}})
		s.roll(canary(50, fallback))
		keys := s.keysOf(driftline.ArmCandidate, len(faults))
		for i, f := range faults {
			f.does(s.models[2])
			w := s.post(infer, whole, "X-Driftline-Key: "+keys[i])
			name := fmt.Sprintf("%s (%s), fallback %v", f.fault, f.text, fallback)
			s.models[2].does(nil)
			if ok := s.post(infer, whole, "X-Driftline-Key: "+keys[i]); ok.Code != 200 || ok.Header().Get("x-model-version") != "2" {
				t.Fatalf("%s: the candidate answers again with %d %s", name, ok.Code, ok.Body) // and the circuit stays closed
			}
			row := s.row(w.Header().Get("x-prediction-id"))
			if row["fault"] != string(f.fault) {
				t.Errorf("%s: logged %v", name, row)
			}
			if fallback {
				if w.Code != 200 || w.Header().Get("x-model-version") != "1" || w.Header().Get("x-fallback-fault") != string(f.fault) || row["model_version"] != "1" {
					t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
				}
				continue
			}
			var failure struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || w.Code != f.status || !strings.Contains(failure.Error, string(f.fault)) || !strings.Contains(failure.Error, f.text) {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "secret") || row["status"] != strconv.Itoa(f.status) {
				t.Errorf("%s: %s, logged with status %s", name, w.Body, row["status"])
			}
		}
	}
}

// TestAHangingCandidateIsRolledBack is A28: requests in flight fall back, the circuit opens, the
// rollout hears of it and gives the candidate no more requests; the champion never waits.
func TestAHangingCandidateIsRolledBack(t *testing.T) {
	s := newStand(t, nil)
	s.serveAt(2, driftline.ModelServer{URL: s.models[2].URL, Timeout: driftline.Duration(100 * time.Millisecond), Features: &driftline.FeatureSet{Service: "delay_model"}})
	rolled := s.roll(canary(50, true))
	s.models[2].does(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	var done sync.WaitGroup
	for _, key := range s.keysOf(driftline.ArmCandidate, 20) {
		done.Go(func() {
			if w := s.post(infer, whole, "X-Driftline-Key: "+key); w.Code != 200 || w.Header().Get("x-model-version") != "1" || w.Header().Get("x-fallback-fault") == "" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		})
	}
	done.Wait()
	const more = 40 // of which the circuit lets one a second through, to see
	before := s.models[2].asked.Load()
	for range more {
		s.post("/v2/models/late/versions/2/infer", whole)
	}
	if asked := s.models[2].asked.Load() - before; asked >= more {
		t.Errorf("the candidate was asked %d times of %d although its circuit is open", asked, more)
	}
	for range 200 {
		status, err := s.Engine.RolloutStatus(rolled.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.Phase == driftline.RolloutRollingBack || status.Phase == driftline.RolloutRolledBack {
			if keys := s.keysOf(driftline.ArmCandidate, 1); len(keys) > 0 {
				t.Errorf("%s is still dealt to the candidate", keys[0])
			}
			return
		}
		s.tend()
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the rollout did not hear of it")
}

// TestAFullMirrorIsDropped is A29: while the shadow hangs, the champion answers all requests; each is
// mirrored or counted as dropped, and each is in the log.
func TestAFullMirrorIsDropped(t *testing.T) {
	s := newStand(t, &gateway.Options{Mirrors: 1})
	held := make(chan struct{})
	s.serveAt(2, driftline.ModelServer{URL: s.models[2].URL, Timeout: driftline.Duration(time.Minute), Features: &driftline.FeatureSet{Service: "delay_model"}})
	s.roll(&driftline.RolloutPlan{Shadow: &driftline.ShadowStage{Mirror: 50}})
	s.models[2].does(func(w http.ResponseWriter, _ *http.Request) {
		<-held
		_, _ = io.WriteString(w, `{"outputs":[{"name":"predict","shape":[1],"datatype":"FP64","data":[7]}]}`)
	})
	const requests = 120
	router, mirrored := s.router(), 0
	for i := range requests {
		key := fmt.Sprint("k", i)
		if len(router.Decide(key).Mirror) > 0 {
			mirrored++
		}
		w := s.post(infer, whole, "X-Driftline-Key: "+key, "X-Prediction-Id: "+key)
		if w.Code != 200 || w.Header().Get("x-model-version") != "1" || strings.Contains(w.Body.String(), "[7]") {
			t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	close(held) // all were answered while nobody answered the mirror
	if counts := s.logged(requests); counts.Served != requests {
		t.Errorf("%+v, want %d served", counts, requests)
	}
	text := s.get("/metrics").Body.String()
	answered, dropped := metric(t, text, `driftline_gateway_mirrored_total{model="late",outcome="answered"}`), metric(t, text, `driftline_gateway_mirrored_total{model="late",outcome="dropped"}`)
	if answered+dropped != mirrored || dropped == 0 || answered == 0 {
		t.Errorf("%d answered and %d dropped of %d", answered, dropped, mirrored)
	}
	const looked = 5 // of the first, for which there was room
	for i, compared := 0, 0; compared < looked; i++ {
		key := fmt.Sprint("k", i)
		if len(router.Decide(key).Mirror) == 0 {
			continue
		}
		compared++
		if row := s.row(key); row["mirror_version"] != "2" || row["mirror_score"] != "7" || row["mirror_differs"] != "true" || row["model_version"] != "1" {
			t.Errorf("row %v", row)
		}
	}
}

// A shadow that hangs keeps no server from ending: what it was asked is logged without it, and is no failure of its own.
func TestAHangingShadowKeepsNobodyFromClosing(t *testing.T) {
	s := newStand(t, &gateway.Options{Mirrors: 8})
	s.serveAt(2, driftline.ModelServer{URL: s.models[2].URL, Timeout: driftline.Duration(driftline.MostModelTimeout), Features: &driftline.FeatureSet{Service: "delay_model"}})
	rolled := s.roll(&driftline.RolloutPlan{Shadow: &driftline.ShadowStage{Mirror: 50}})
	arrived, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	s.models[2].does(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	const requests, mirrors = 40, 8
	for i := range requests {
		if w := s.post(infer, whole, fmt.Sprint("X-Driftline-Key: k", i), fmt.Sprint("X-Prediction-Id: k", i)); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	for range mirrors {
		<-arrived
	}
	s.gateway.Close()
	for range mirrors {
		<-ended
	}
	if counts := s.logged(requests); counts.Served != requests {
		t.Errorf("%+v, want %d served", counts, requests)
	}
	if status, err := s.Engine.RolloutStatus(rolled.ID); err != nil || status.Phase != driftline.RolloutShadow {
		t.Errorf("the rollout is %s (%s), %v", status.Phase, status.Reason, err)
	}
}

func metric(t *testing.T, text, name string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

// TestTheShareIsDealt is A22 through the gateway: who answers is who the route says, for each key,
// and no key leaves the candidate as its share grows.
func TestTheShareIsDealt(t *testing.T) {
	s := newStand(t, nil)
	s.roll(&driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: 5}, {Weight: 25}}})
	const requests = 3000
	router, candidates := s.router(), 0
	for i := range requests {
		key := fmt.Sprint("user-", i)
		w := s.post(infer, whole, "X-Driftline-Key: "+key)
		want := router.Decide(key)
		if w.Header().Get("x-arm") != string(want.Arm) || w.Header().Get("x-model-version") != strconv.Itoa(want.Version) {
			t.Fatalf("%s: %v, want %+v", key, w.Header(), want)
		}
		if want.Arm == driftline.ArmCandidate {
			candidates++
		}
	}
	if spread := 5 * math.Sqrt(requests*0.05*0.95); math.Abs(float64(candidates)-requests*0.05) > spread {
		t.Errorf("%d of %d requests were the candidate's, want 5 %%", candidates, requests)
	}
	if counts := s.logged(requests); counts.Served != requests {
		t.Errorf("%+v", counts)
	}
}

// Callers may ask for a version, and what they ask of is no evidence.
func TestPins(t *testing.T) {
	s := newStand(t, nil)
	for _, ask := range []func() (string, string, []string){
		func() (string, string, []string) { return "/v2/models/late/versions/2/infer", whole, nil },
		func() (string, string, []string) { return infer, whole, []string{"X-Model-Version: 2"} },
		func() (string, string, []string) {
			return infer, strings.Replace(whole, "{", `{"parameters":{"model_version":"2"},`, 1), nil
		},
		func() (string, string, []string) {
			return "/models/late/versions/2/invocations", `{"entities":{"airport":["JFK"]}}`, nil
		},
	} {
		path, body, header := ask()
		w := s.post(path, body, header...)
		if w.Code != 200 || w.Header().Get("x-model-version") != "2" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
		if row := s.row(w.Header().Get("x-prediction-id")); row["pinned"] != "true" {
			t.Errorf("%s: logged %v", path, row)
		}
	}
}

func TestMixtures(t *testing.T) {
	s := newStand(t, nil)
	share := func(version int, percent float64) driftline.VersionShare {
		return driftline.VersionShare{Version: version, Share: percent}
	}
	body := `{"dataframe_records":[{"airport":"JFK"},{"airport":"LGA"}]}`
	got, fault, err := s.gateway.Average(late, body, share(1, 25), share(2, 75))
	if want := `[1750.465,1750.5]`; err != nil || fault != "" || got != want {
		t.Errorf("the average is %s %s %v, want %s", got, fault, err, want)
	}
	s.models[2].says(500, "")
	if got, fault, err = s.gateway.Average(late, body, share(1, 25), share(2, 75)); err != nil || fault != driftline.FaultError || !strings.Contains(got, "version 2 of the mixture") {
		t.Errorf("with a broken half: %s %s %v", got, fault, err)
	}
}

// TestAMixtureInALiveRollout: the candidate's arm is shared by two versions, which are averaged, or of which
// each key has its own, by their shares.
func TestAMixtureInALiveRollout(t *testing.T) {
	for _, kind := range []driftline.Mixture{driftline.MixtureAverage, driftline.MixtureChoose} {
		t.Run(string(kind), func(t *testing.T) {
			s := newStand(t, nil)
			status := s.roll(&driftline.RolloutPlan{Stages: []driftline.CanaryStage{{Weight: 50}},
				Mixture: &driftline.MixturePlan{Kind: kind, With: []driftline.VersionShare{{Share: 25}}}})
			if len(status.Mixture) != 2 || status.Mixture[0] != (driftline.VersionShare{Version: 2, Share: 75}) {
				t.Fatalf("%+v", status.Mixture)
			}
			const requests = 800
			router, said, together := s.router(), map[float64]int{}, "" // the last that versions answered together
			for i := range requests {
				key := fmt.Sprint("user-", i)
				w := s.post("/models/late/invocations", `{"dataframe_records":[{"airport":"JFK"}]}`, "X-Driftline-Key: "+key)
				if want := router.Decide(key); w.Code != 200 || w.Header().Get("x-arm") != string(want.Arm) || w.Header().Get("x-model-version") != strconv.Itoa(want.Version) {
					t.Fatalf("%d %v, want %+v", w.Code, w.Header(), want)
				}
				if w.Header().Get("x-arm") == string(driftline.ArmCandidate) {
					var answer struct{ Predictions []float64 }
					if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Predictions) != 1 {
						t.Fatalf("%s: %v", w.Body, err)
					}
					said[answer.Predictions[0]]++
					together = w.Header().Get("x-prediction-id")
				}
			}
			s.logged(requests)
			if got := s.row(together)["reported"]; kind == driftline.MixtureAverage && got != `{"version_1":1000.465,"version_2":2000.465}` {
				t.Errorf("beside the average %q is logged of what each version said", got)
			} else if kind == driftline.MixtureChoose && got != "" {
				t.Errorf("beside the answer of one version %q is logged", got)
			}
			want := map[float64]float64{1750.465: requests / 2}
			if kind == driftline.MixtureChoose {
				want = map[float64]float64{2000.465: requests * 3 / 8, 1000.465: requests / 8}
			}
			if len(said) != len(want) {
				t.Errorf("it said %v, want %v", said, want)
			}
			for answer, n := range want {
				if math.Abs(float64(said[answer])-n) > 5*math.Sqrt(n) {
					t.Errorf("it said %v, want %v", said, want)
				}
			}
		})
	}
}

// A caller that hangs up does not end the model's work, which is logged with its whole latency.
func TestACallerThatHangsUp(t *testing.T) {
	s := newStand(t, nil)
	server := newServer(t, s)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.models[1].does(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, `{"outputs":[{"name":"predict","shape":[1],"datatype":"FP64","data":[7]}]}`)
	})
	request, cancel := newRequest(t, server, whole)
	done := make(chan struct{})
	go func() {
		defer close(done)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			t.Error("it was answered")
		}
	}()
	<-arrived
	cancel()
	<-done
	close(release)
	if counts := s.logged(1); counts.Served != 1 {
		t.Errorf("%+v", counts)
	}
	if row := s.row("hung-up"); row["fault"] != "" || row["score"] != "7" {
		t.Errorf("logged %v", row)
	}
}

// TestTheModelServerIsKilled: under load, each request is answered by the champion or by nobody, and
// each is logged.
func TestTheModelServerIsKilled(t *testing.T) {
	s := newStand(t, nil)
	s.roll(canary(50, true))
	const workers, each = 8, 60
	var done sync.WaitGroup
	var wrong atomic.Int64
	for worker := range workers {
		done.Go(func() {
			for i := range each {
				if worker == 0 && i == each/3 {
					s.models[2].CloseClientConnections()
					s.models[2].Listener.Close()
				}
				w := s.post(infer, whole, fmt.Sprintf("X-Driftline-Key: %d-%d", worker, i))
				if w.Code != 200 || w.Header().Get("x-model-version") == "1" && w.Header().Get("x-arm") != "champion" {
					wrong.Add(1)
					t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
				}
			}
		})
	}
	done.Wait()
	if counts := s.logged(workers * each); counts.Served != workers*each {
		t.Errorf("%+v, want %d served", counts, workers*each)
	}
}

// A request that is wrong is refused before anybody is asked, in the words of its protocol.
func TestBadRequests(t *testing.T) {
	s := newStand(t, nil)
	for _, c := range []struct {
		path, body, header string
		status             int
		text               string
	}{
		{"/v2/models/never/infer", whole, "", 404, `model \"never\" does not exist`},
		{"/v2/models/late/versions/9/infer", whole, "", 404, "has no version 9"},
		{"/v2/models/late/versions/newest/infer", whole, "", 404, "newest"},
		{infer, ``, "", 400, "the JSON ends early"},
		{infer, `null`, "", 400, "want"},
		{infer, "{\"inputs\":[{\"name\":\"\x80\"}]}", "", 400, "not UTF-8"},
		{infer, `{"entities":{"airpotr":["JFK"]}}`, "", 400, `join key \"airport\" is missing`},
		{infer, `{"entities":{"airport":[7]}}`, "", 400, `\"airport\" is 7 in row 0, want string`},
		{infer, `{"entities":{"airport":["JFK","LGA"]},"inputs":[{"name":"hour","shape":[1],"datatype":"INT64","data":[1]}]}`, "", 400, "1 rows"},
		{infer, `{"entities":{"airport":["JFK"]},"inputs":[{"name":"x","shape":[1,2],"datatype":"INT64","data":[1,2]}]}`, "", 400, "no columns of one value"},
		{infer, whole, "Content-Type: text/csv", 400, "want application/json"},
		{infer, whole, "Content-Type: application/json; charset=latin1", 400, "want application/json"},
		{infer, whole, "X-Driftline-Key: " + strings.Repeat("k", 2000), 400, "the key has 2000 bytes"},
		{infer, whole, "X-Prediction-Id: " + strings.Repeat("k", 2000), 400, "ID has 2000 bytes"},
		{invoke, `{}`, "", 400, "exactly one of"},
		{invoke, `{"dataframe_split":{"columns":["a"],"data":[[1]]},"instances":[1]}`, "", 400, "dataframe_split and instances"},
	} {
		var header []string
		if c.header != "" {
			header = append(header, c.header)
		}
		w := s.post(c.path, c.body, header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s %.60s %.30s: %d %s, want %d and %s", c.path, c.body, c.header, w.Code, w.Body, c.status, c.text)
		}
		field := "error"
		if c.path == invoke {
			field = "message"
		}
		var failure map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || failure[field] == "" {
			t.Errorf("%s: %s", c.path, w.Body)
		}
	}
	if n := s.models[1].asked.Load() + s.models[2].asked.Load(); n > 0 {
		t.Errorf("the models were asked %d times", n)
	}
	if w := s.post(infer, whole); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
	if counts := s.logged(1); counts.Served != 1 {
		t.Errorf("%+v: what was refused is no prediction", counts)
	}
}

// What is ours to do and is not done is our fault, in words that say what to do.
func TestOurOwnFaults(t *testing.T) {
	s := newStand(t, nil)
	if _, err := s.Engine.Registry().SetModelServer(late, "1", driftline.ModelServerChange{}); err != nil {
		t.Fatal(err)
	}
	w := s.post(infer, whole)
	if w.Code != 503 || !strings.Contains(w.Body.String(), "nobody said where model/late@1 is served (driftline models serve-at late@1 URL)") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if row := s.row(w.Header().Get("x-prediction-id")); row["fault"] != "ours" || row["status"] != "503" {
		t.Errorf("logged %v", row)
	}
	s.serveAt(1, driftline.ModelServer{URL: "http://10.1.2.3:80"})
	if w = s.post(infer, whole); w.Code != 503 || !strings.Contains(w.Body.String(), "private network") || strings.Contains(w.Body.String(), "10.1.2.3") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAddresses(t *testing.T) {
	for address, may := range map[string]bool{
		"127.0.0.1": true, "::1": true, "::ffff:127.0.0.1": true, "8.8.8.8": true,
		"10.1.2.3": false, "192.168.0.1": false, "169.254.169.254": false, "::ffff:10.1.2.3": false, "fe80::1": false, "0.0.0.0": false,
	} {
		if gateway.MayReach(address) != may {
			t.Errorf("%s may be reached: %v", address, !may)
		}
	}
	if !gateway.MayReach("10.1.2.3", "10.0.0.0/8") || gateway.MayReach("192.168.0.1", "10.0.0.0/8") {
		t.Error("an allowed network is not what may be reached")
	}
}

func TestHealthAndMetadata(t *testing.T) {
	s := newStand(t, nil)
	for path, want := range map[string]string{
		"/v2":                              `{"extensions":[],"name":"driftline","version":"dev"}`,
		"/v2/health/live":                  `{"live":true}`,
		"/v2/health/ready":                 `{"ready":true}`,
		"/v2/models/late/ready":            `{"ready":true}`,
		"/v2/models/late":                  `{"name":"late","versions":["1","2"],"platform":"driftline","inputs":[{"name":"temp","datatype":"FP64","shape":[-1]},{"name":"gusts","datatype":"INT64","shape":[-1]},{"name":"hour","datatype":"INT64","shape":[-1]}],"outputs":[{"name":"","datatype":"FP64","shape":[-1]}]}`,
		"/v2/models/late/versions/2":       `{"name":"late","versions":["1","2"],"platform":"driftline","inputs":[{"name":"temp","datatype":"FP64","shape":[-1]},{"name":"gusts","datatype":"INT64","shape":[-1]},{"name":"hour","datatype":"INT64","shape":[-1]}],"outputs":[{"name":"","datatype":"FP64","shape":[-1]}]}`,
		"/models/late/ping":                "\n",
		"/models/late/version":             "dev",
		"/v2/models/late/versions/2/ready": `{"ready":true}`,
	} {
		if w := s.get(path); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	s.models[1].Close()
	if w := s.get("/v2/models/late/ready"); w.Code != 503 {
		t.Errorf("of a server that is away: %d %s", w.Code, w.Body)
	}
	if w := s.get("/v2/models/never/ready"); w.Code != 404 {
		t.Errorf("of a model that is not there: %d %s", w.Code, w.Body)
	}
}
