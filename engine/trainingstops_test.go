package engine_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/executor"
)

// elsewhere answers as the APIs of Airflow and of Kubernetes do, for what a training run asks of them.
// What it has been asked to run goes on for ever.
type elsewhere struct {
	mu     sync.Mutex
	states map[string]string // by the name of the DAG run or of the Job
	told   int               // to stop something
}

func (x *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := path.Base(r.URL.Path)
	switch r.Method {
	case http.MethodPost:
		var asked struct {
			DAGRun   string `json:"dag_run_id"`
			Metadata struct{ Name string }
		}
		_ = json.NewDecoder(r.Body).Decode(&asked) // the test sees what is missing
		name = asked.DAGRun + asked.Metadata.Name
		if x.states[name] != "" {
			w.WriteHeader(http.StatusConflict)
			return
		}
		x.states[name] = "running"
	case http.MethodPatch:
		x.states[name], x.told = "failed", x.told+1
	case http.MethodDelete:
		x.states[name], x.told = "", x.told+1
	}
	if x.states[name] == "" && r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"state": x.states[name], "status": map[string]any{}})
}

func (x *elsewhere) all() (running, told int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, state := range x.states {
		if state == "running" {
			running++
		}
	}
	return running, x.told
}

// A job that nobody wants any more is stopped where it runs: after it was cancelled, lost its policy or
// was too late, and though the server dies before or after it says so.
func TestAJobThatNobodyWantsIsStopped(t *testing.T) {
	for _, kind := range []string{"airflow", "kubernetes"} {
		for _, why := range []string{"cancelled", "policy deleted", "too late", "dies before", "dies after"} {
			t.Run(kind+" "+why, func(t *testing.T) {
				x := &elsewhere{states: map[string]string{}}
				server := httptest.NewServer(x)
				t.Cleanup(server.Close)
				s := newSchooledWith(t, func(o *engine.Options) {
					o.Jobs = executor.New(executor.Config{AllowPrivate: true, Poll: 5 * time.Millisecond, Kubernetes: executor.Kubernetes{URL: server.URL}})
				})
				s.policy(func(p *driftline.Policy) {
					p.Training = &driftline.TrainingJob{Airflow: &driftline.AirflowJob{URL: server.URL, DAG: "train"}}
					if kind == "kubernetes" {
						p.Training = &driftline.TrainingJob{Kubernetes: &driftline.KubernetesJob{Image: "trainer"}}
					}
				})
				run := s.mustAsk("a")
				s.patiently(func() bool { s.look(); running, _ := x.all(); return running == 1 })
				switch why {
				case "policy deleted":
					if _, err := s.Engine.DeletePolicy("late", "ann", ""); err != nil {
						t.Fatal(err)
					}
				case "too late":
					s.Clock.Advance(2 * time.Hour)
					s.look()
				case "dies before":
					s.Engine.FailAt("training recorded", errors.New("crash"))
					fallthrough
				case "dies after":
					if why == "dies after" {
						s.Engine.FailAt("training stopped", errors.New("crash"))
					}
					fallthrough
				default:
					if _, err := s.Engine.CancelTraining(run.ID, "ann", ""); (err != nil) != (why == "dies before") {
						t.Fatal(err)
					}
				}
				if why == "dies after" {
					s.patiently(func() bool { s.look(); _, told := x.all(); return told == 1 })
				}
				if strings.HasPrefix(why, "dies") {
					s.Reopen()
				}
				s.patiently(func() bool {
					s.look()
					s.Clock.Advance(time.Minute)
					found, err := s.Engine.Training(run.ID)
					return err == nil && found.Note != ""
				})
				running, told := x.all()
				found, err := s.Engine.Training(run.ID)
				if err != nil || running != 0 || told != 1 && !(why == "dies after" && kind == "kubernetes" && told == 2) {
					t.Errorf("%d go on, told %d times: %+v, %v", running, told, found, err)
				}
				want := driftline.TrainingCancelled
				if why == "too late" {
					want = driftline.TrainingTimedOut
				}
				if found.State != want {
					t.Errorf("it is %s", found.State)
				}
				s.Reopen()
				s.Clock.Advance(time.Hour)
				for range 3 {
					s.look()
				}
				if _, again := x.all(); again != told {
					t.Errorf("told again: %d times", again)
				}
			})
		}
	}
}

// patiently waits until something has come about.
func (s *schooled) patiently(done func() bool) {
	s.t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(3 * time.Millisecond)
	}
	s.t.Fatal("it never comes")
}
