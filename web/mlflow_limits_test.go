package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// protocolOfMLflow are the endpoints that MLflow's client needs: all of them, whatever is called by which
// version.
const protocolOfMLflow = `
	POST /mlflow/experiments/create
	GET /mlflow/experiments/get
	GET /mlflow/experiments/get-by-name
	POST /mlflow/experiments/search
	POST /mlflow/experiments/delete
	POST /mlflow/experiments/restore
	POST /mlflow/experiments/update
	POST /mlflow/experiments/set-experiment-tag
	POST /mlflow/experiments/delete-experiment-tag
	POST /mlflow/runs/create
	POST /mlflow/runs/update
	GET /mlflow/runs/get
	POST /mlflow/runs/search
	POST /mlflow/runs/delete
	POST /mlflow/runs/restore
	POST /mlflow/runs/log-metric
	POST /mlflow/runs/log-batch
	POST /mlflow/runs/log-parameter
	POST /mlflow/runs/set-tag
	POST /mlflow/runs/delete-tag
	POST /mlflow/runs/log-inputs
	POST /mlflow/runs/outputs
	POST /mlflow/runs/log-model
	GET /mlflow/metrics/get-history
	GET /mlflow/artifacts/list
	GET /mlflow-artifacts/artifacts
	GET /mlflow-artifacts/artifacts/x
	PUT /mlflow-artifacts/artifacts/x
	DELETE /mlflow-artifacts/artifacts/x
	POST /mlflow/logged-models
	GET /mlflow/logged-models/x
	PATCH /mlflow/logged-models/x
	DELETE /mlflow/logged-models/x
	POST /mlflow/logged-models/search
	PATCH /mlflow/logged-models/x/tags
	DELETE /mlflow/logged-models/x/tags/y
	POST /mlflow/logged-models/x/params
	POST /mlflow/registered-models/create
	POST /mlflow/registered-models/rename
	PATCH /mlflow/registered-models/update
	DELETE /mlflow/registered-models/delete
	GET /mlflow/registered-models/get
	GET /mlflow/registered-models/search
	POST /mlflow/registered-models/get-latest-versions
	GET /mlflow/registered-models/get-latest-versions
	POST /mlflow/registered-models/set-tag
	DELETE /mlflow/registered-models/delete-tag
	POST /mlflow/registered-models/alias
	DELETE /mlflow/registered-models/alias
	GET /mlflow/registered-models/alias
	POST /mlflow/model-versions/create
	PATCH /mlflow/model-versions/update
	POST /mlflow/model-versions/transition-stage
	DELETE /mlflow/model-versions/delete
	GET /mlflow/model-versions/get
	GET /mlflow/model-versions/search
	GET /mlflow/model-versions/get-download-uri
	POST /mlflow/model-versions/set-tag
	DELETE /mlflow/model-versions/delete-tag`

// Each is there for programs and for browsers; what it is asked here makes no sense to most of them.
func TestMLflowHasEveryEndpoint(t *testing.T) {
	s := newSite(t)
	endpoints := strings.Split(strings.TrimSpace(protocolOfMLflow), "\n")
	if n := len(endpoints); n != 59 {
		t.Errorf("the list has %d endpoints", n)
	}
	for _, endpoint := range endpoints {
		method, path, _ := strings.Cut(strings.TrimSpace(endpoint), " ")
		for _, prefix := range []string{"/api/2.0", "/ajax-api/2.0"} {
			w := s.ask(method, prefix+path, "{}")
			if w.Code == 405 || w.Code >= 500 || strings.Contains(w.Body.String(), "ENDPOINT_NOT_FOUND") {
				t.Errorf("%s %s%s: %d %.200s", method, prefix, path, w.Code, w.Body)
			}
		}
	}
}

// What is as long as the reference's limit is kept; one more is refused, and not as something to be
// sent again.
func TestMLflowLimits(t *testing.T) {
	s := newSite(t)
	const at = "/api/2.0/mlflow/"
	id := func(answer, key string) string {
		_, after, _ := strings.Cut(answer, `"`+key+`":"`)
		value, _, _ := strings.Cut(after, `"`)
		return value
	}
	experiment := id(s.mustAsk(t, "POST", at+"experiments/create", `{"name": "limits"}`), "experiment_id")
	s.mustAsk(t, "POST", at+"registered-models/create", `{"name": "limits"}`)
	made := 0
	newRun := func() string {
		return id(s.mustAsk(t, "POST", at+"runs/create", `{"experiment_id": "`+experiment+`"}`), "run_id")
	}
	s.mustAsk(t, "POST", at+"model-versions/create", `{"name": "limits", "source": "s3://bucket/model"}`)
	text := func(n int) string { return strings.Repeat("é", n) } // characters count, and not bytes
	list := func(n int, item func(int) any) []any {
		items := make([]any, n)
		for i := range items {
			items[i] = item(i)
		}
		return items
	}
	type fields = map[string]any
	metric := func(i int) any { return fields{"key": fmt.Sprint("m", i), "value": 1, "timestamp": 1, "step": i} }
	pair := func(i int) any { return fields{"key": fmt.Sprint("p", i), "value": "x"} }
	dataset := func(of fields) []any {
		whole := fields{"name": "d", "digest": "1", "source_type": "local", "source": "x"}
		for key, value := range of {
			whole[key] = value
		}
		return []any{fields{"dataset": whole}}
	}
	inputTag := func(key, value string) []any {
		inputs := dataset(nil)
		inputs[0].(fields)["tags"] = []any{fields{"key": key, "value": value}}
		return inputs
	}
	run := func(of fields) fields { of["run_id"] = newRun(); return of }
	for _, c := range []struct {
		what   string
		target string
		most   int
		body   func(n int) fields
	}{
		{"key of a metric", "runs/log-metric", 250, func(n int) fields { return run(fields{"key": text(n), "value": 1, "timestamp": 1}) }},
		{"key of a param", "runs/log-parameter", 250, func(n int) fields { return run(fields{"key": text(n), "value": "x"}) }},
		{"value of a param", "runs/log-parameter", 6000, func(n int) fields { return run(fields{"key": "p", "value": text(n)}) }},
		{"key of a tag", "runs/set-tag", 250, func(n int) fields { return run(fields{"key": text(n), "value": "x"}) }},
		{"value of a tag", "runs/set-tag", 8000, func(n int) fields { return run(fields{"key": "t", "value": text(n)}) }},
		{"metrics of a batch", "runs/log-batch", 1000, func(n int) fields { return run(fields{"metrics": list(n, metric)}) }},
		{"params of a batch", "runs/log-batch", 100, func(n int) fields { return run(fields{"params": list(n, pair)}) }},
		{"tags of a batch", "runs/log-batch", 100, func(n int) fields { return run(fields{"tags": list(n, pair)}) }},
		{"a batch", "runs/log-batch", 1000, func(n int) fields {
			return run(fields{"metrics": list(n-200, metric), "params": list(100, pair), "tags": list(100, pair)})
		}},
		{"value of a param of a batch", "runs/log-batch", 6000, func(n int) fields {
			return run(fields{"params": []any{fields{"key": "p", "value": text(n)}}})
		}},
		{"datasets", "runs/log-inputs", 1000, func(n int) fields {
			return run(fields{"datasets": list(n, func(i int) any { return dataset(fields{"name": fmt.Sprint(i)})[0] })})
		}},
		{"name of a dataset", "runs/log-inputs", 500, func(n int) fields { return run(fields{"datasets": dataset(fields{"name": text(n)})}) }},
		{"digest of a dataset", "runs/log-inputs", 36, func(n int) fields { return run(fields{"datasets": dataset(fields{"digest": text(n)})}) }},
		{"source of a dataset", "runs/log-inputs", 65_535, func(n int) fields { return run(fields{"datasets": dataset(fields{"source": text(n)})}) }},
		{"schema of a dataset", "runs/log-inputs", 1_048_575, func(n int) fields {
			return run(fields{"datasets": dataset(fields{"schema": strings.Repeat("x", n)})})
		}},
		{"profile of a dataset", "runs/log-inputs", 16_777_215, func(n int) fields {
			return run(fields{"datasets": dataset(fields{"profile": strings.Repeat("x", n)})})
		}},
		{"key of an input's tag", "runs/log-inputs", 255, func(n int) fields { return run(fields{"datasets": inputTag(text(n), "x")}) }},
		{"value of an input's tag", "runs/log-inputs", 500, func(n int) fields { return run(fields{"datasets": inputTag("k", text(n))}) }},
		{"name of an experiment", "experiments/create", 500, func(n int) fields { return fields{"name": text(n)} }},
		{"artifact location", "experiments/create", 2048, func(n int) fields {
			made++
			return fields{"name": fmt.Sprint("at ", made), "artifact_location": "s3://bucket/" + strings.Repeat("x", n-12)}
		}},
		{"key of an experiment's tag", "experiments/set-experiment-tag", 250, func(n int) fields { return fields{"experiment_id": experiment, "key": text(n), "value": "x"} }},
		{"value of an experiment's tag", "experiments/set-experiment-tag", 20_000, func(n int) fields { return fields{"experiment_id": experiment, "key": "t", "value": text(n)} }},
		{"key of a model's tag", "registered-models/set-tag", 250, func(n int) fields { return fields{"name": "limits", "key": text(n), "value": "x"} }},
		{"value of a model's tag", "registered-models/set-tag", 100_000, func(n int) fields { return fields{"name": "limits", "key": "t", "value": text(n)} }},
		{"value of a version's tag", "model-versions/set-tag", 100_000, func(n int) fields { return fields{"name": "limits", "version": "1", "key": "t", "value": text(n)} }},
		{"alias", "registered-models/alias", 255, func(n int) fields {
			return fields{"name": "limits", "alias": strings.Repeat("a", n), "version": "1"}
		}},
		{"runs of a page", "runs/search", 50_000, func(n int) fields { return fields{"experiment_ids": []any{experiment}, "max_results": n} }},
		{"experiments of a page", "experiments/search", 50_000, func(n int) fields { return fields{"max_results": n} }},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, n := range []int{c.most, c.most + 1} {
				body, err := json.Marshal(c.body(n))
				if err != nil {
					t.Fatal(err)
				}
				w := s.ask("POST", at+c.target, string(body))
				if n == c.most {
					if w.Code != 200 {
						t.Errorf("%d: %d %.300s", n, w.Code, w.Body)
					}
					continue
				}
				checkMLflowFailure(t, fmt.Sprint(n), w)
				if !strings.Contains(w.Body.String(), "INVALID_PARAMETER_VALUE") {
					t.Errorf("%d: %.300s", n, w.Body)
				}
			}
		})
	}
	for target, most := range map[string]int{"registered-models/search": 1000, "model-versions/search": 200_000} {
		s.mustAsk(t, "GET", fmt.Sprintf("%s%s?max_results=%d", at, target, most), "")
		checkMLflowFailure(t, target, s.ask("GET", fmt.Sprintf("%s%s?max_results=%d", at, target, most+1), ""))
	}
	for name, good := range map[string]bool{"a b": true, "ä:b": true, "a/b": true, "../a": false, "a//b": false, "/a": false, ".": false, "a;b": false, "a\u0000": false} {
		body, err := json.Marshal(run(fields{"key": name, "value": "x"}))
		if err != nil {
			t.Fatal(err)
		}
		if w := s.ask("POST", at+"runs/log-parameter", string(body)); good != (w.Code == 200) {
			t.Errorf("param %q: %d %s", name, w.Code, w.Body)
		}
	}
	for alias, good := range map[string]bool{"champion": true, "v7": false, "V12": false, "latest": false, "a;b": false, "véga": true, "_next": true, "-1": true} {
		body, err := json.Marshal(fields{"name": "limits", "alias": alias, "version": "1"})
		if err != nil {
			t.Fatal(err)
		}
		if w := s.ask("POST", at+"registered-models/alias", string(body)); good != (w.Code == 200) {
			t.Errorf("alias %q: %d %s", alias, w.Code, w.Body)
		}
	}
}
