package executor

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// The Airflow here is none: it answers as its REST API does. A run that goes on is set to failed, one
// that has ended is left as it is.
func TestADAGRunIsStopped(t *testing.T) {
	settings := Config{AllowPrivate: true, Secrets: map[string]string{"airflow": "t0ken"}}
	for _, c := range []struct {
		answers []string
		asked   string
		said    string
		code    driftline.Code
	}{
		{[]string{`200 {"state": "running"}`, "200 {}"}, "GET PATCH", "the DAG run was stopped", ""},
		{[]string{`200 {"state": "queued"}`, "404 {}"}, "GET PATCH", "the DAG run was stopped", ""},
		{[]string{`200 {"state": "success"}`}, "GET", "the DAG run had ended with success", ""},
		{[]string{`404 {"detail": "no such run"}`}, "GET", "Airflow has no such DAG run", ""},
		{[]string{`403 {"detail": "no"}`}, "GET", "", driftline.Permission},
		{[]string{`200 {"state": "running"}`, `422 {"detail": "state"}`}, "GET PATCH", "", driftline.FailedPrecondition},
	} {
		o, address := answering(t, c.answers...)
		said, err := New(settings).Stop(t.Context(), jobOf(t, driftline.TrainingJob{Airflow: &driftline.AirflowJob{URL: address + "/", DAG: "train late", Secret: "airflow"}}))
		var asked []string
		for _, r := range o.requests {
			asked = append(asked, r.method)
			if r.path != "/api/v2/dags/train%20late/dagRuns/late-7" || r.header.Get("Authorization") != "Bearer t0ken" {
				t.Errorf("%+v", r)
			}
			if r.method == "PATCH" && (r.body != `{"state":"failed"}` || r.query != "update_mask=state") {
				t.Errorf("%+v", r)
			}
		}
		if said != c.said || driftline.CodeOf(err) != c.code || strings.Join(asked, " ") != c.asked {
			t.Errorf("%v: asked %v, said %q, %v", c.answers, asked, said, err)
		}
	}
}

// The cluster here is no cluster: it answers as the API of one does.
func TestAJobIsDeleted(t *testing.T) {
	for answer, want := range map[string]string{
		`200 {"kind": "Status", "status": "Success"}`: "the Job was deleted", `404 {"reason": "NotFound"}`: "the cluster has no such Job", `403 {"message": "forbidden"}`: "",
	} {
		o, address := answering(t, answer)
		spec := driftline.TrainingJob{Kubernetes: &driftline.KubernetesJob{Image: "trainer:3", Namespace: "ml"}}
		said, err := New(Config{AllowPrivate: true, Kubernetes: Kubernetes{URL: address, Token: "t0ken"}}).Stop(t.Context(), jobOf(t, spec))
		if said != want || (err == nil) != (want != "") || len(o.requests) != 1 {
			t.Fatalf("%s: %q, %v, %+v", answer, said, err, o.requests)
		}
		r := o.requests[0]
		path, _ := url.JoinPath("/apis/batch/v1/namespaces/ml/jobs", jobName("late-7"))
		var options map[string]string
		if err := json.Unmarshal([]byte(r.body), &options); err != nil || r.method != "DELETE" || r.path != path || options["propagationPolicy"] != "Background" || options["kind"] != "DeleteOptions" {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
