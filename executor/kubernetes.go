package executor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// The part of batch/v1 that a training job needs.
type (
	manifest struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Metadata   metadata `json:"metadata"`
		Spec       jobSpec  `json:"spec"`
	}
	metadata struct {
		Name        string            `json:"name,omitempty"`
		Namespace   string            `json:"namespace,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	jobSpec struct {
		BackoffLimit            int         `json:"backoffLimit"` // 0: Driftline decides on further attempts
		ActiveDeadlineSeconds   int64       `json:"activeDeadlineSeconds"`
		TTLSecondsAfterFinished int64       `json:"ttlSecondsAfterFinished"`
		Template                podTemplate `json:"template"`
	}
	podTemplate struct {
		Metadata metadata `json:"metadata"`
		Spec     podSpec  `json:"spec"`
	}
	podSpec struct {
		RestartPolicy string      `json:"restartPolicy"`
		Containers    []container `json:"containers"`
	}
	container struct {
		Name    string        `json:"name"`
		Image   string        `json:"image"`
		Command []string      `json:"command,omitempty"`
		Env     []environment `json:"env,omitempty"`
	}
	environment struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// keepJob is how long the cluster keeps a Job that has ended, in seconds.
const keepJob = 24 * 3600

// kubernetes creates a Job whose name is made from the training run's ID, and waits for its
// end. That it exists is success: it was created before.
func (x *Executor) kubernetes(ctx context.Context, job *Job, told map[string]string) (Outcome, string, error) {
	if x.config.Kubernetes.URL == "" {
		return Failed, "", driftline.Errorf(driftline.FailedPrecondition, "the server's settings name no Kubernetes cluster").
			WithHint("say kubernetes: {url: …, token: …} in the file that driftline serve --training reads")
	}
	m := jobManifest(job, told)
	jobs := x.jobsOf(job.Spec.Kubernetes)
	header := bearer(x.config.Kubernetes.Token)
	got, err := x.send(ctx, request{method: http.MethodPost, url: jobs, key: string(job.Run), what: "Kubernetes", header: header, body: m})
	if err != nil {
		return Failed, "", err
	}
	if got.status/100 != 2 && got.status != http.StatusConflict {
		return Failed, "", kubernetesError(got)
	}
	return x.watchJob(ctx, job, jobs+"/"+m.Metadata.Name, header)
}

// jobsOf is the address of the Jobs of a namespace.
func (x *Executor) jobsOf(k *driftline.KubernetesJob) string {
	return strings.TrimRight(x.config.Kubernetes.URL, "/") + "/apis/batch/v1/namespaces/" + url.PathEscape(cmp.Or(k.Namespace, "default")) + "/jobs"
}

func jobManifest(job *Job, told map[string]string) *manifest {
	k := job.Spec.Kubernetes
	labels := map[string]string{"app.kubernetes.io/managed-by": "driftline"}
	c := container{Name: "train", Image: k.Image, Command: k.Command}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		c.Env = append(c.Env, environment{name, told[name]})
	}
	return &manifest{
		APIVersion: "batch/v1", Kind: "Job",
		Metadata: metadata{
			Name: jobName(job.Run), Namespace: cmp.Or(k.Namespace, "default"), Labels: labels,
			Annotations: map[string]string{"driftline/run": string(job.Run), "driftline/model": string(job.Model)},
		},
		Spec: jobSpec{
			ActiveDeadlineSeconds: max(1, int64(job.Timeout.Seconds())), TTLSecondsAfterFinished: keepJob,
			Template: podTemplate{Metadata: metadata{Labels: labels}, Spec: podSpec{RestartPolicy: "Never", Containers: []container{c}}},
		},
	}
}

var notOfNames = regexp.MustCompile(`[^a-z0-9]+`)

// jobName is a name that a cluster accepts, one for each run: what the run is called, as far
// as letters and length allow, and a hash of it.
func jobName(run driftline.TrainingID) string {
	sum := sha256.Sum256([]byte(run))
	words := strings.Trim(notOfNames.ReplaceAllString(strings.ToLower(string(run)), "-"), "-")
	if len(words) > 40 {
		words = strings.Trim(words[:40], "-")
	}
	return strings.Trim("driftline-"+words, "-") + "-" + hex.EncodeToString(sum[:5])
}

// watchJob waits until a Job has ended.
func (x *Executor) watchJob(ctx context.Context, job *Job, at string, header func([]byte) http.Header) (Outcome, string, error) {
	for {
		got, err := x.send(ctx, request{method: http.MethodGet, url: at, key: string(job.Run), what: "Kubernetes", header: header})
		if err != nil {
			return Failed, "", err
		}
		if got.status == http.StatusNotFound {
			return Failed, "somebody deleted the Job", nil
		}
		if got.status/100 != 2 {
			return Failed, "", kubernetesError(got)
		}
		var state struct {
			Status struct {
				Conditions []struct{ Type, Status, Reason, Message string } `json:"conditions"`
			} `json:"status"`
		}
		if err := json.Unmarshal(got.body, &state); err != nil {
			return Failed, "", driftline.Errorf(driftline.FailedPrecondition, "what Kubernetes says of the Job is not JSON")
		}
		for _, c := range state.Status.Conditions {
			switch {
			case c.Status != "True":
			case c.Type == "Complete":
				return Succeeded, "", nil
			case c.Type == "Failed":
				return Failed, strings.TrimSuffix("the Job failed: "+c.Reason+": "+c.Message, ": "), nil
			}
		}
		if err := pause(ctx, x.config.Poll); err != nil {
			return Failed, "", err
		}
	}
}

func kubernetesError(got *answer) error {
	code := driftline.FailedPrecondition
	if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden {
		code = driftline.Permission
	}
	return driftline.Errorf(code, "Kubernetes answers %d: %s", got.status, got.said("message")).
		WithHint("see that the namespace exists and that the token may create Jobs in it")
}
