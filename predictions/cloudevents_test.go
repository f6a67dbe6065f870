package predictions_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
)

func headers(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[strings.ToLower(pairs[i])] = pairs[i+1]
	}
	return func(name string) string { return all[strings.ToLower(name)] }
}

// kserve are the headers that KServe's logger sends.
func kserve(kind, id, at string) func(string) string {
	return headers("Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Type", "org.kubeflow.serving.inference."+kind,
		"Ce-Source", "http://localhost:9081/", "Ce-Time", at, "Ce-Inferenceservicename", "late", "Ce-Namespace", "default", "Ce-Component", "predictor", "Ce-Endpoint", "canary")
}

func decoded(t *testing.T, header func(string) string, body string) []predictions.Event {
	t.Helper()
	events, err := predictions.DecodeEvents(header, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestEventsOfKServe(t *testing.T) {
	cases := map[string]struct{ request, response, want string }{
		"objects": {`{"instances":[{"temp":1.5,"sky":"clear"},{"temp":2}]}`, `{"predictions":[0,1]}`,
			`i/0 {"sky":"clear","temp":1.5} 0 - | i/1 {"temp":2} 1 -`},
		"lists":   {`{"instances":[[1,2]]}`, `{"predictions":[{"class":"late","probability":0.75}]}`, `i {"input_0":1,"input_1":2} late 0.75`},
		"tensors": {`{"inputs":[{"name":"temp","shape":[2],"datatype":"FP64","data":[1,2]},{"name":"w","shape":[2,2],"datatype":"FP64","data":[1,2,3,4]}]}`, `{"outputs":[{"name":"y","shape":[2,1],"datatype":"FP64","data":[[5],[6]]},{"name":"score","shape":[2],"datatype":"FP64","data":[0.5,0.25]}]}`, `i/0 {"temp":1,"w_0":1,"w_1":2} <nil> 0.5 | i/1 {"temp":2,"w_0":3,"w_1":4} <nil> 0.25`},
		"one tensor": {`{"inputs":[{"name":"temp","shape":[1],"datatype":"FP64","data":[1]}]}`, `{"outputs":[{"name":"y","shape":[1],"datatype":"FP64","data":[7]}]}`,
			`i {"temp":1} 7 -`},
	}
	for name, c := range cases {
		request := decoded(t, kserve("request", "i", "2013-06-01T12:00:00Z"), c.request)[0]
		response := decoded(t, kserve("response", "i", "2013-06-01T12:00:00.25Z"), c.response)[0]
		records, err := predictions.Records("late", &request, &response)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, r := range records {
			score := "-"
			if r.Score != nil {
				score = fmt.Sprint(*r.Score)
			}
			got = append(got, fmt.Sprintf("%s %s %v %s", r.ID, predictions.EntityText(r.Features), r.Prediction, score))
			if r.Arm != driftline.ArmCandidate || r.Latency != driftline.Duration(250*time.Millisecond) || r.Fault != "" || r.Dealt() {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if text := strings.Join(got, " | "); text != c.want {
			t.Errorf("%s: %s\nwant %s", name, text, c.want)
		}
		alone, err := predictions.Records("late", &request, nil)
		if err != nil || alone[0].Fault != driftline.FaultEmpty {
			t.Errorf("%s: a request without an answer: %+v, %v", name, alone, err)
		}
	}
}

func TestEventsStructured(t *testing.T) {
	one := `{"specversion":"1.0","id":"a","source":"s","type":"org.kubeflow.serving.inference.request","modelversion":"3","data":{"instances":[{"x":1}]}}`
	two := `{"specversion":"1.0","id":"b","source":"s","type":"org.kubeflow.serving.inference.response","data_base64":"eyJwcmVkaWN0aW9ucyI6WzFdfQ=="}`
	if got := decoded(t, headers("Content-Type", "application/cloudevents+json; charset=utf-8"), one); len(got) != 1 || got[0].ID != "a" || got[0].Version != 3 || string(got[0].Data) != `{"instances":[{"x":1}]}` {
		t.Errorf("%+v", got)
	}
	if got := decoded(t, headers("Content-Type", "application/cloudevents-batch+json"), "["+one+","+two+"]"); len(got) != 2 || string(got[1].Data) != `{"predictions":[1]}` {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		`{`: "not the JSON", `{} {}`: "more than one", `{"specversion":"0.3"}`: `specversion is "0.3"`, `{"specversion":"1.0"}`: "id has 0 bytes",
		`{"specversion":"1.0","id":"a"}`:                           "no source",
		`{"specversion":"1.0","id":"a","source":"s","type":"x"}`:   `type is "x"`,
		`{"specversion":"1.0","id":7,"source":"s","type":"x"}`:     "attribute id of the event is 7",
		strings.Replace(one, `"id":"a"`, `"id":"a","time":"x"`, 1): `time is "x"`,
		strings.Replace(two, "eyJ", "!!!", 1):                      "not base64",
		strings.Replace(one, `"3"`, `"-3"`, 1):                     `modelversion is "-3"`,
	} {
		_, err := predictions.DecodeEvents(headers("Content-Type", "application/cloudevents+json"), []byte(text))
		if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestPairs: the halves of an inference find each other in any order, once; what waits for too
// long, or is too much, is let go, the oldest first.
func TestPairs(t *testing.T) {
	var p predictions.Pairs
	now := time.Unix(0, 0)
	event := func(id, kind string) *predictions.Event { return &predictions.Event{ID: id, Type: kind} }
	if _, _, ok := p.Add(event("a", predictions.RequestEvent), now); ok {
		t.Error("one half is a pair")
	}
	if _, _, ok := p.Add(event("a", predictions.RequestEvent), now); ok {
		t.Error("one half sent twice is a pair")
	}
	request, response, ok := p.Add(event("a", predictions.ResponseEvent), now)
	if !ok || request.Type != predictions.RequestEvent || response.Type != predictions.ResponseEvent {
		t.Errorf("%v %v %v", request, response, ok)
	}
	p.Add(event("b", predictions.ResponseEvent), now)
	p.Add(event("c", predictions.RequestEvent), now.Add(20*time.Second))
	if alone := p.Expired(now.Add(31*time.Second), false); len(alone) != 1 || alone[0].ID != "b" {
		t.Errorf("%v", alone)
	}
	if request, _, ok := p.Add(event("b", predictions.RequestEvent), now); ok {
		t.Errorf("%v has a partner that was let go", request)
	}
	if alone := p.Expired(now, true); len(alone) != 2 || alone[0].ID != "c" || alone[1].ID != "b" {
		t.Errorf("%v", alone)
	}
	for i := range 20_005 {
		p.Add(event(fmt.Sprint(i), predictions.RequestEvent), now)
	}
	if alone := p.Expired(now, false); len(alone) != 5 || alone[0].ID != "0" {
		t.Errorf("%d are let go", len(alone))
	}
}

// FuzzEvents: whatever comes is read or refused, and what is read can be logged.
func FuzzEvents(f *testing.F) {
	f.Add("application/cloudevents+json", `{"specversion":"1.0","id":"a","source":"s","type":"org.kubeflow.serving.inference.request","data":{"instances":[[1,2]]}}`)
	f.Add("application/cloudevents-batch+json", `[{"specversion":"1.0","id":"a","source":"s","type":"org.kubeflow.serving.inference.response","data":{"outputs":[{"name":"y","shape":[2,1],"data":[[1],[2]]}]}}]`)
	f.Add("application/json", `{"inputs":[{"name":"x","shape":[9007199254740993],"data":[1]}]}`)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		header := headers("Content-Type", contentType, "Ce-Specversion", "1.0", "Ce-Id", "i", "Ce-Source", "s", "Ce-Type", predictions.RequestEvent)
		events, err := predictions.DecodeEvents(header, []byte(body))
		if err != nil {
			if driftline.CodeOf(err) != driftline.Invalid {
				t.Fatal(err)
			}
			return
		}
		for i := range events {
			for _, pair := range [][2]*predictions.Event{{&events[i], nil}, {nil, &events[i]}, {&events[i], &events[i]}} {
				records, err := predictions.Records("late", pair[0], pair[1])
				if err != nil && driftline.CodeOf(err) != driftline.Invalid {
					t.Fatal(err)
				}
				for _, r := range records {
					if r.ID == "" || len(r.Output) > 0 && !json.Valid(r.Output) {
						t.Fatalf("%+v", r)
					}
				}
			}
		}
	})
}
