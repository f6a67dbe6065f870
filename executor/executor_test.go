package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv("EXECUTOR_TEST_SERVER"); folder != "" {
		serveOneCommand(folder)
	}
	goleak.VerifyTestMain(m)
}

func jobOf(t *testing.T, spec driftline.TrainingJob) *Job {
	t.Helper()
	return &Job{
		Run: "late-7", Model: "late", Token: 42, Spec: &spec, Timeout: time.Hour,
		Environment: map[string]string{"DRIFTLINE_TRAINING_RUN": "late-7"}, Log: filepath.Join(t.TempDir(), "logs", "late-7.log"),
	}
}

func run(t *testing.T, c Config, job *Job) (Outcome, string, error) {
	t.Helper()
	c.Poll = time.Millisecond
	x := New(c)
	x.firstWait = time.Millisecond
	return x.Run(t.Context(), job)
}

func shell(script string) driftline.TrainingJob {
	return driftline.TrainingJob{Command: []string{"/bin/sh", "-c", script}}
}

func TestACommandIsToldWhatItNeedsAndNothingElse(t *testing.T) {
	t.Setenv("SERVER_SECRET", "s3cret")
	job := jobOf(t, shell("env; pwd"))
	outcome, detail, err := run(t, Config{Commands: true, Folder: "/", Environment: map[string]string{"DRIFTLINE_SERVER": "http://here"}}, job)
	log, readErr := os.ReadFile(job.Log)
	if outcome != Succeeded || err != nil || readErr != nil {
		t.Fatalf("%s %q %v %v", outcome, detail, err, readErr)
	}
	for _, want := range []string{"DRIFTLINE_TRAINING_RUN=late-7\n", "DRIFTLINE_SERVER=http://here\n", "PATH="} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if strings.Contains(string(log), "s3cret") {
		t.Errorf("the server's environment is handed on:\n%s", log)
	}
}

func TestACommandThatFailsSaysWhy(t *testing.T) {
	outcome, detail, err := run(t, Config{Commands: true}, jobOf(t, shell("echo begin; echo no such column >&2; exit 3")))
	if outcome != Failed || err != nil || detail != `command "/bin/sh" ended with exit status 3: no such column` {
		t.Errorf("%s %q %v", outcome, detail, err)
	}
	for name, job := range map[string]driftline.TrainingJob{
		"missing":   {Command: []string{"/nowhere/train"}},
		"forbidden": shell("true"),
	} {
		outcome, _, err := run(t, Config{Commands: name == "missing"}, jobOf(t, job))
		if outcome != Failed || err == nil || strings.Contains(err.Error(), "fork/exec") {
			t.Errorf("%s: %s %v", name, outcome, err)
		}
	}
}

// A job that is ended leaves none of its processes, though they do not listen.
func TestTheWholeGroupEnds(t *testing.T) {
	job := jobOf(t, shell(`trap '' TERM; (trap '' TERM; echo $$ > children; exec sleep 600) & sleep 600 & echo $! > child; echo ready; wait`))
	folder := t.TempDir()
	x := New(Config{Commands: true, Folder: folder})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := x.Run(ctx, job)
		done <- err
	}()
	var pid int
	for pid == 0 {
		text, _ := os.ReadFile(filepath.Join(folder, "child"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a job that was stopped is no success")
	}
	for syscall.Kill(pid, 0) == nil { // it is ended, and then reaped by whoever adopts it
		if state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err != nil || strings.Contains(string(state), ") Z ") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	job := jobOf(t, shell(`echo first; i=0; while [ $i -lt 300 ]; do printf '%08192d\n' $i; i=$((i+1)); done; echo last`))
	if outcome, _, err := run(t, Config{Commands: true}, job); outcome != Succeeded || err != nil {
		t.Fatal(outcome, err)
	}
	log, err := os.ReadFile(job.Log)
	if err != nil || len(log) > keptHead+keptTail+100 || !strings.HasPrefix(string(log), "first\n") || !strings.HasSuffix(string(log), "last\n") ||
		!strings.Contains(string(log), "bytes are left out") {
		t.Errorf("%d bytes, %v", len(log), err)
	}
}

// other is another system: it answers each request with the next of its answers, and the last
// one again and again.
type other struct {
	mu       sync.Mutex
	answers  []string // "status body"
	requests []received
}

type received struct {
	method, path, query string
	header              http.Header
	body                string
}

func (o *other) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = append(o.requests, received{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, string(body)})
	answer := o.answers[0]
	if len(o.answers) > 1 {
		o.answers = o.answers[1:]
	}
	status, text, _ := strings.Cut(answer, " ")
	code, _ := strconv.Atoi(status)
	if code/100 == 3 {
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
	}
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}

func answering(t *testing.T, answers ...string) (*other, string) {
	t.Helper()
	o := &other{answers: answers}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	return o, s.URL
}

// A14: a webhook that fails four times is asked again, with the same key and the same body.
func TestAWebhookIsRetriedAndSigned(t *testing.T) {
	o, url := answering(t, "500", "503", "429", "500", "200 {}")
	job := jobOf(t, driftline.TrainingJob{Webhook: &driftline.WebhookJob{URL: url + "/T0KEN", Secret: "hook"}, Parameters: map[string]string{"depth": "6"}})
	outcome, _, err := run(t, Config{AllowPrivate: true, Secrets: map[string]string{"hook": "s3cret"}}, job)
	if outcome != Handed || err != nil || len(o.requests) != 5 {
		t.Fatalf("%s %v after %d requests", outcome, err, len(o.requests))
	}
	for _, r := range o.requests {
		seconds, _, _ := strings.Cut(strings.TrimPrefix(r.header.Get(outbound.SignatureHeader), "t="), ",")
		unix, _ := strconv.ParseInt(seconds, 10, 64)
		if r.header.Get("Idempotency-Key") != "late-7" || r.body != o.requests[0].body ||
			outbound.Sign([]byte("s3cret"), time.Unix(unix, 0), []byte(r.body)) != r.header.Get(outbound.SignatureHeader) {
			t.Errorf("%+v", r)
		}
	}
	var body hookBody
	if err := json.Unmarshal([]byte(o.requests[0].body), &body); err != nil || body.Token != 42 || body.Parameters["depth"] != "6" || body.Environment["DRIFTLINE_TRAINING_RUN"] != "late-7" {
		t.Errorf("%+v, %v", body, err)
	}
}

// Waits double up to a minute, less up to half of them, which is another part for each run.
func TestWaitsGrowAndAreNotAlike(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		whole := min(time.Minute, time.Second<<min(attempt-1, 6))
		different := map[time.Duration]bool{}
		for run := range 50 {
			wait := backoff(firstWait, fmt.Sprint("late-", run), attempt)
			if wait > whole || wait < whole/2 {
				t.Fatalf("after attempt %d it waits %s, want %s to %s", attempt, wait, whole/2, whole)
			}
			different[wait] = true
		}
		if len(different) < 50 {
			t.Errorf("after attempt %d 50 runs wait %d different times", attempt, len(different))
		}
	}
}

// A17: what is away is asked again until it is there.
func TestAirflowThatIsAwayIsAskedAgain(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.Addr().String()
	port.Close()
	x := New(Config{AllowPrivate: true, Poll: time.Millisecond, Secrets: map[string]string{"airflow": "t0ken"}})
	x.firstWait = time.Millisecond
	ended := make(chan string, 1)
	go func() {
		outcome, _, err := x.Run(t.Context(), jobOf(t, driftline.TrainingJob{Airflow: &driftline.AirflowJob{URL: "http://" + address, DAG: "late", Secret: "airflow"}}))
		ended <- fmt.Sprint(outcome, " ", err)
	}()
	select {
	case said := <-ended:
		t.Fatalf("it gave up on what is away: %s", said)
	case <-time.After(20 * time.Millisecond): // some attempts, all refused
	}
	if port, err = net.Listen("tcp", address); err != nil {
		t.Skipf("somebody else took the port: %v", err)
	}
	o := &other{answers: []string{`200 {"dag_run_id": "late-7", "state": "queued"}`, `200 {"state": "success"}`}}
	s := &httptest.Server{Listener: port, Config: &http.Server{Handler: o}}
	s.Start()
	defer s.Close()
	if said := <-ended; said != "succeeded <nil>" {
		t.Errorf("it ended %s", said)
	}
}

// A45: what may not be reached is not, and no error says where it is.
func TestWebhooksReachNothingPrivate(t *testing.T) {
	o, url := answering(t, "302")
	for name, c := range map[string]Config{"private": {}, "redirect": {AllowPrivate: true}} {
		before := len(o.requests)
		outcome, _, err := run(t, c, jobOf(t, driftline.TrainingJob{Webhook: &driftline.WebhookJob{URL: url + "/T0KEN"}}))
		if outcome != Failed || err == nil || strings.Contains(err.Error(), "T0KEN") || (name == "private") != (len(o.requests) == before) {
			t.Errorf("%s: %s %v", name, outcome, err)
		}
	}
	_, _, err := run(t, Config{AllowPrivate: true}, jobOf(t, driftline.TrainingJob{Webhook: &driftline.WebhookJob{URL: url, Secret: "none"}}))
	if driftline.CodeOf(err) != driftline.FailedPrecondition {
		t.Errorf("%v", err)
	}
}

// A17: the body is one that Airflow 3 takes, 409 is success, and what cannot be is said.
func TestAirflow(t *testing.T) {
	airflow := func(url string) driftline.TrainingJob {
		return driftline.TrainingJob{Airflow: &driftline.AirflowJob{URL: url + "/", DAG: "train late", Secret: "airflow"}}
	}
	settings := Config{AllowPrivate: true, Secrets: map[string]string{"airflow": "t0ken"}}
	for name, first := range map[string]string{"new": `200 {"dag_run_id": "late-7", "state": "queued"}`, "there already": `409 {"detail": "DAGRun exists"}`} {
		o, url := answering(t, first, `200 {"state": "queued"}`, `200 {"state": "running"}`, `200 {"state": "success"}`)
		outcome, _, err := run(t, settings, jobOf(t, airflow(url)))
		if outcome != Succeeded || err != nil || len(o.requests) != 4 {
			t.Fatalf("%s: %s %v %d", name, outcome, err, len(o.requests))
		}
		r := o.requests[0]
		if r.method != "POST" || r.path != "/api/v2/dags/train%20late/dagRuns" || r.header.Get("Authorization") != "Bearer t0ken" ||
			o.requests[3].path != "/api/v2/dags/train%20late/dagRuns/late-7" {
			t.Errorf("%+v %+v", r, o.requests[3])
		}
		checkDAGRun(t, r.body)
	}
	for answer, want := range map[string]driftline.Code{
		`404 {"detail": "no such DAG"}`: driftline.FailedPrecondition, `403 {"detail": "no"}`: driftline.Permission, `422 {"detail": "logical_date"}`: driftline.FailedPrecondition,
	} {
		_, url := answering(t, answer)
		if outcome, _, err := run(t, settings, jobOf(t, airflow(url))); outcome != Failed || driftline.CodeOf(err) != want {
			t.Errorf("%s: %s %v", answer, outcome, err)
		}
	}
	_, url := answering(t, "200 {}", `200 {"state": "failed"}`)
	if outcome, detail, err := run(t, settings, jobOf(t, airflow(url))); outcome != Failed || detail == "" || err != nil {
		t.Errorf("%s %q %v", outcome, detail, err)
	}
}

// checkDAGRun holds a body against the schema of POST /api/v2/dags/{dag_id}/dagRuns, which
// refuses keys that it does not know, and wants logical_date, which may be null.
func checkDAGRun(t *testing.T, body string) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		t.Fatal(err)
	}
	if string(fields["logical_date"]) != "null" || string(fields["dag_run_id"]) != `"late-7"` {
		t.Errorf("%s", body)
	}
	known := map[string]byte{"dag_run_id": '"', "logical_date": 'n', "data_interval_start": '"', "data_interval_end": '"', "run_after": '"', "conf": '{', "note": '"'}
	for name, value := range fields {
		if kind, ok := known[name]; !ok || value[0] != kind {
			t.Errorf("field %s is %s", name, value)
		}
	}
}

// The cluster here is no cluster: it answers as the API of one does. What a Job does is not seen.
func TestKubernetesAgainstAServerThatAnswersLikeOne(t *testing.T) {
	spec := driftline.TrainingJob{Kubernetes: &driftline.KubernetesJob{Image: "trainer:3", Command: []string{"train"}}}
	for name, first := range map[string]string{"new": "201 {}", "there already": `409 {"reason": "AlreadyExists"}`} {
		o, url := answering(t, first, `200 {"status": {}}`, `200 {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}`)
		outcome, _, err := run(t, Config{AllowPrivate: true, Kubernetes: Kubernetes{URL: url, Token: "t0ken"}}, jobOf(t, spec))
		if outcome != Succeeded || err != nil {
			t.Fatalf("%s: %s %v", name, outcome, err)
		}
		var m manifest
		if err := json.Unmarshal([]byte(o.requests[0].body), &m); err != nil {
			t.Fatal(err)
		}
		c := m.Spec.Template.Spec.Containers[0]
		if o.requests[0].path != "/apis/batch/v1/namespaces/default/jobs" || m.APIVersion != "batch/v1" || m.Kind != "Job" ||
			m.Metadata.Name != jobName("late-7") || c.Image != "trainer:3" || c.Env[0] != (environment{"DRIFTLINE_TRAINING_RUN", "late-7"}) ||
			m.Spec.Template.Spec.RestartPolicy != "Never" || m.Spec.ActiveDeadlineSeconds != 3600 {
			t.Errorf("%+v\n%+v", o.requests[0], m)
		}
		if o.requests[2].path != "/apis/batch/v1/namespaces/default/jobs/"+jobName("late-7") {
			t.Errorf("%+v", o.requests[2])
		}
	}
	_, url := answering(t, "201 {}", `200 {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}`)
	outcome, detail, err := run(t, Config{AllowPrivate: true, Kubernetes: Kubernetes{URL: url}}, jobOf(t, spec))
	if outcome != Failed || detail != "the Job failed: DeadlineExceeded" || err != nil {
		t.Errorf("%s %q %v", outcome, detail, err)
	}
}

func TestNamesOfJobsAreThoseThatAClusterAccepts(t *testing.T) {
	seen := map[string]bool{}
	for _, run := range []driftline.TrainingID{"late-7", "Late-7", "späte Abflüge/1", driftline.TrainingID(strings.Repeat("x", 300)), "-", "ü"} {
		name := jobName(run)
		if len(name) > 63 || notOfNames.MatchString(strings.ReplaceAll(name, "-", "")) || strings.HasPrefix(name, "-") || seen[name] {
			t.Errorf("%q", name)
		}
		seen[name] = true
	}
}
