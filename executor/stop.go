package executor

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/driftline/driftline"
)

// Remote reports whether a job runs in a system that can be told to stop it.
func Remote(spec *driftline.TrainingJob) bool { return spec.Airflow != nil || spec.Kubernetes != nil }

// Stop has another system stop a job that nobody wants any more, and says in a sentence what became
// of it. A job that has ended, and one that is not there, are as they should be. It tries for as
// long as ctx lives and the other side is away.
func (x *Executor) Stop(ctx context.Context, job *Job) (string, error) {
	switch {
	case job.Spec.Airflow != nil:
		return x.stopDAG(ctx, job)
	case job.Spec.Kubernetes != nil:
		return x.deleteJob(ctx, job)
	}
	return "", nil
}

// stopDAG sets the state of a DAG run to failed, which ends its tasks. One that has ended keeps its state.
func (x *Executor) stopDAG(ctx context.Context, job *Job) (string, error) {
	spec := job.Spec.Airflow
	token, err := x.secret(spec.Secret)
	if err != nil {
		return "", err
	}
	at := strings.TrimRight(spec.URL, "/") + "/api/v2/dags/" + url.PathEscape(spec.DAG) + "/dagRuns/" + url.PathEscape(string(job.Run))
	ask := request{method: http.MethodGet, url: at, key: string(job.Run), what: "Airflow", header: bearer(token)}
	got, err := x.send(ctx, ask)
	if err != nil {
		return "", err
	}
	if got.status == http.StatusNotFound {
		return "Airflow has no such DAG run", nil
	}
	if got.status/100 != 2 {
		return "", airflowError(spec.DAG, got)
	}
	var run struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal(got.body, &run); err != nil {
		return "", driftline.Errorf(driftline.FailedPrecondition, "what Airflow says of the DAG run is not JSON")
	}
	if run.State == "success" || run.State == "failed" {
		return "the DAG run had ended with " + run.State, nil
	}
	ask.method, ask.url, ask.body = http.MethodPatch, at+"?update_mask=state", map[string]string{"state": "failed"}
	if got, err = x.send(ctx, ask); err != nil {
		return "", err
	}
	if got.status/100 != 2 && got.status != http.StatusNotFound {
		return "", airflowError(spec.DAG, got)
	}
	return "the DAG run was stopped", nil
}

// deleteJob deletes a Job, and in the background its pods.
func (x *Executor) deleteJob(ctx context.Context, job *Job) (string, error) {
	if x.config.Kubernetes.URL == "" {
		return "", driftline.Errorf(driftline.FailedPrecondition, "the server's settings name no Kubernetes cluster")
	}
	got, err := x.send(ctx, request{
		method: http.MethodDelete, url: x.jobsOf(job.Spec.Kubernetes) + "/" + jobName(job.Run), key: string(job.Run), what: "Kubernetes",
		header: bearer(x.config.Kubernetes.Token),
		body:   map[string]string{"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"},
	})
	if err != nil {
		return "", err
	}
	switch {
	case got.status == http.StatusNotFound:
		return "the cluster has no such Job", nil
	case got.status/100 != 2:
		return "", kubernetesError(got)
	}
	return "the Job was deleted", nil
}
