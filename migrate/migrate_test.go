package migrate_test

import (
	"bytes"
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

	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
	"github.com/driftline/driftline/migrate"
	"github.com/driftline/driftline/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const api = "/api/2.0/mlflow/"

// tracking is a server of ours, which speaks the protocol that is read and the one that is written.
type tracking struct {
	testing.TB
	url string

	written atomic.Int64
	wrote   func(n int64) // is told after each request that may change something
}

func newTracking(t testing.TB) *tracking {
	t.Helper()
	env := testenv.NewWith(t, func(o *engine.Options) { o.RolloutEvery = -1 })
	handler := web.New(env.Engine, &web.Options{Version: "v0.1.0"}).Handler()
	s := &tracking{TB: t, wrote: func(int64) {}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/search") {
			s.wrote(s.written.Add(1))
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// ask sends JSON and decodes what is answered.
func (s *tracking) ask(method, path, body string) (answer map[string]any) {
	s.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		s.Fatalf("%s %s: status %d, error %v: %s", method, path, w.StatusCode, err, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil && len(bytes.TrimSpace(text)) > 0 {
		s.Fatalf("%s %s answers %q: %v", method, path, text, err)
	}
	return answer
}

// fill makes three runs, one of them deleted, a file, and a model with an alias and a stage.
func (s *tracking) fill() (runs []string) {
	s.Helper()
	experiment := s.ask("POST", api+"experiments/create", `{"name": "flights"}`)["experiment_id"]
	for i, status := range []string{"FINISHED", "FAILED", "KILLED"} {
		made := s.ask("POST", api+"runs/create", fmt.Sprintf(`{"experiment_id": %q, "run_name": "run %d", "start_time": %d}`, experiment, i, 1_700_000_000_000+i))
		id := made["run"].(map[string]any)["info"].(map[string]any)["run_id"].(string)
		s.ask("POST", api+"runs/log-batch", fmt.Sprintf(`{"run_id": %q, "params": [{"key": "depth", "value": "%d"}], "tags": [{"key": "team", "value": "ops"}],
			"metrics": [{"key": "auc", "value": 0.%d, "timestamp": 1700000000500, "step": 0}, {"key": "auc", "value": 0.8, "timestamp": 1700000000600, "step": 1}]}`, id, i, i+1))
		s.ask("PUT", "/api/2.0/mlflow-artifacts/artifacts/"+fmt.Sprint(experiment)+"/"+id+"/artifacts/notes/a.txt", "a note")
		s.ask("POST", api+"runs/update", fmt.Sprintf(`{"run_id": %q, "status": %q, "end_time": 1700000001000}`, id, status))
		runs = append(runs, id)
	}
	s.ask("POST", api+"runs/delete", fmt.Sprintf(`{"run_id": %q}`, runs[2]))
	s.ask("POST", api+"registered-models/create", `{"name": "delay"}`)
	s.ask("POST", api+"model-versions/create", fmt.Sprintf(`{"name": "delay", "source": "runs:/%s/notes", "run_id": %q}`, runs[0], runs[0]))
	s.ask("POST", api+"registered-models/alias", `{"name": "delay", "alias": "champion", "version": "1"}`)
	s.ask("POST", api+"model-versions/transition-stage", `{"name": "delay", "version": "1", "stage": "Staging", "archive_existing_versions": false}`)
	return runs
}

// tells is what a server says of runs and of the model, without the marks of an import.
func (s *tracking) tells(runs []string) string {
	s.Helper()
	var told strings.Builder
	for _, id := range runs {
		run := s.ask("GET", api+"runs/get?run_id="+id, "")["run"].(map[string]any)
		info, data := run["info"].(map[string]any), run["data"].(map[string]any)
		fmt.Fprintln(&told, info["run_name"], info["status"], info["start_time"], info["end_time"], info["lifecycle_stage"], data["params"])
		fmt.Fprintln(&told, s.ask("GET", api+"metrics/get-history?metric_key=auc&run_id="+id, "")["metrics"])
		fmt.Fprintln(&told, s.ask("GET", api+"artifacts/list?path=notes&run_id="+id, "")["files"])
	}
	version := s.ask("GET", api+"registered-models/alias?name=delay&alias=champion", "")["model_version"].(map[string]any)
	fmt.Fprintln(&told, version["version"], version["run_id"], version["current_stage"])
	return told.String()
}

// A copy that was stopped after any of its writes is completed by the next one.
func TestACopyThatWasStoppedAfterAnyWriteIsCompleted(t *testing.T) {
	from := newTracking(t)
	runs := from.fill()
	want := from.tells(runs)
	whole := newTracking(t)
	copyAll(t, from, whole)
	if got := whole.tells(runs); got != want {
		t.Fatalf("here\n%s\nthere\n%s", got, want)
	}
	for last := range whole.written.Load() {
		t.Run(fmt.Sprintf("write %d", last+1), func(t *testing.T) {
			to := newTracking(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			to.wrote = func(n int64) {
				if n == last+1 {
					stop()
				}
			}
			if _, err := migration(from, to).Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v of a copy that was stopped", err)
			}
			copyAll(t, from, to)
			if got := to.tells(runs); got != want {
				t.Errorf("here\n%s\nthere\n%s", got, want)
			}
		})
	}
}

func migration(from, to *tracking) *migrate.Migration {
	return &migrate.Migration{From: &migrate.Server{URL: from.url}, To: &migrate.Server{URL: to.url}}
}

func copyAll(t *testing.T, from, to *tracking) {
	t.Helper()
	report, err := migration(from, to).Run(t.Context())
	if err != nil || !report.Complete() {
		t.Fatalf("report %+v, error %v", report, err)
	}
}
