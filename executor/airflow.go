package executor

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/driftline/driftline"
)

// dagRun is the body of POST /api/v2/dags/{dag_id}/dagRuns of Apache Airflow 3, which refuses
// other keys. logical_date must be there, and is null: a date would forbid a second run of it.
type dagRun struct {
	DagRunID    string         `json:"dag_run_id"`
	LogicalDate *string        `json:"logical_date"`
	Conf        map[string]any `json:"conf"`
	Note        string         `json:"note"`
}

// airflow triggers a DAG run whose ID is the training run's, and waits for its end. That it
// exists is success: it was triggered before.
func (x *Executor) airflow(ctx context.Context, job *Job, told map[string]string) (Outcome, string, error) {
	spec := job.Spec.Airflow
	token, err := x.secret(spec.Secret)
	if err != nil {
		return Failed, "", err
	}
	runs := strings.TrimRight(spec.URL, "/") + "/api/v2/dags/" + url.PathEscape(spec.DAG) + "/dagRuns"
	header := bearer(token)
	got, err := x.send(ctx, request{
		method: http.MethodPost, url: runs, key: string(job.Run), what: "Airflow", header: header,
		body: dagRun{
			DagRunID: string(job.Run), Note: "started by Driftline for model " + string(job.Model),
			Conf: map[string]any{"driftline": told, "parameters": job.Spec.Parameters},
		},
	})
	if err != nil {
		return Failed, "", err
	}
	if got.status/100 != 2 && got.status != http.StatusConflict {
		return Failed, "", airflowError(spec.DAG, got)
	}
	return x.watchDAG(ctx, job, runs+"/"+url.PathEscape(string(job.Run)), header)
}

// watchDAG waits until a DAG run has ended.
func (x *Executor) watchDAG(ctx context.Context, job *Job, at string, header func([]byte) http.Header) (Outcome, string, error) {
	for {
		got, err := x.send(ctx, request{method: http.MethodGet, url: at, key: string(job.Run), what: "Airflow", header: header})
		if err != nil {
			return Failed, "", err
		}
		if got.status/100 != 2 {
			return Failed, "", airflowError(job.Spec.Airflow.DAG, got)
		}
		var run struct {
			State string `json:"state"`
		}
		if err := json.Unmarshal(got.body, &run); err != nil {
			return Failed, "", driftline.Errorf(driftline.FailedPrecondition, "what Airflow says of the DAG run is not JSON")
		}
		switch run.State {
		case "success":
			return Succeeded, "", nil
		case "failed":
			return Failed, "the DAG run failed", nil
		}
		if err := pause(ctx, x.config.Poll); err != nil {
			return Failed, "", err
		}
	}
}

func airflowError(dag string, got *answer) error {
	said := got.said("detail")
	switch got.status {
	case http.StatusNotFound:
		return driftline.Errorf(driftline.FailedPrecondition, "Airflow knows no DAG %q: %s", dag, said).WithHint("deploy it, or name another one")
	case http.StatusUnauthorized, http.StatusForbidden:
		return driftline.Errorf(driftline.Permission, "Airflow refuses DAG %q (%d): %s", dag, got.status, said).
			WithHint("name a secret that holds a token of a user who may trigger it")
	}
	return driftline.Errorf(driftline.FailedPrecondition, "Airflow answers %d for DAG %q: %s", got.status, dag, said)
}

func bearer(token string) func([]byte) http.Header {
	return func([]byte) http.Header {
		h := http.Header{"Accept": {"application/json"}}
		if token != "" {
			h.Set("Authorization", "Bearer "+token)
		}
		return h
	}
}
