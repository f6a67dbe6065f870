package executor

import (
	"context"
	"hash/fnv"
	"net/http"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// Config is what the operator of a server says of jobs.
type Config struct {
	// Commands lets policies run programs of this machine: whoever may apply a policy can then
	// do what the server's user can.
	Commands bool
	Folder   string // commands begin in it; their log's folder if ""
	Memory   int64  // bytes of address space that each process of a command may have; 0: any

	Secrets      map[string]string // by the names that policies know them by
	AllowPrivate bool              // lets jobs reach hosts of this machine and of private networks

	Kubernetes Kubernetes

	// Environment is what each job is told besides what it is about: addresses of the server,
	// and a token if it has one.
	Environment map[string]string

	// Poll is how often a job that runs elsewhere is asked how it is; 15 seconds if 0.
	Poll time.Duration
}

// Kubernetes is the cluster whose API creates Jobs.
type Kubernetes struct {
	URL   string // of the API server
	Token string
}

// Job is an attempt at a training run.
type Job struct {
	Run   driftline.TrainingID
	Model driftline.ModelName
	Token uint64 // of the attempt's lease
	Spec  *driftline.TrainingJob

	// Environment is what the job is told: names and values.
	Environment map[string]string

	Timeout time.Duration // from now
	Log     string        // path of the file that a command's output goes to
}

// Outcome is how a job ended, as far as it can be seen from here.
type Outcome string

// The outcomes.
const (
	Handed    Outcome = "handed" // over; it says itself how it ends
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
)

// Executor starts jobs. It is safe for concurrent use.
type Executor struct {
	config    Config
	client    *http.Client
	firstWait time.Duration // between two attempts at a request
}

// New returns an executor.
func New(config Config) *Executor {
	if config.Poll == 0 {
		config.Poll = 15 * time.Second
	}
	return &Executor{config: config, client: outbound.Client(config.AllowPrivate), firstWait: firstWait}
}

// requestTime is how long one request to another system may take.
const requestTime = 30 * time.Second

// Local reports whether a job runs on this machine, and so ends with the server.
func Local(spec *driftline.TrainingJob) bool { return len(spec.Command) > 0 }

// Run hands a job over and waits until it has ended, which a command does in time, and what
// runs elsewhere until ctx ends. detail says in a sentence why it failed.
func (x *Executor) Run(ctx context.Context, job *Job) (outcome Outcome, detail string, err error) {
	told := map[string]string{}
	for _, from := range []map[string]string{x.config.Environment, job.Environment} {
		for name, value := range from {
			told[name] = value
		}
	}
	switch {
	case len(job.Spec.Command) > 0:
		return x.command(ctx, job, told)
	case job.Spec.Webhook != nil:
		return x.webhook(ctx, job, told)
	case job.Spec.Airflow != nil:
		return x.airflow(ctx, job, told)
	case job.Spec.Kubernetes != nil:
		return x.kubernetes(ctx, job, told)
	}
	return Failed, "", driftline.Errorf(driftline.Invalid, "the training job says neither command, webhook, airflow nor kubernetes")
}

// secret returns the secret of that name; "" has none.
func (x *Executor) secret(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if value, ok := x.config.Secrets[name]; ok {
		return value, nil
	}
	return "", driftline.Errorf(driftline.FailedPrecondition, "the server's settings have no secret %q", name).
		WithHint("add it below secrets: in the file that driftline serve --training reads")
}

// Waits between attempts at one request: 1 s, 2 s, 4 s … a minute, each less up to half of it.
const (
	firstWait = time.Second
	mostWait  = time.Minute
)

// backoff is how long to wait after the attempt-th attempt, if it is first after the first. It is a
// pure function, so that two servers that fail together do not try together, and a test knows it.
func backoff(first time.Duration, key string, attempt int) time.Duration {
	wait := min(mostWait, first<<min(attempt-1, 6))
	h := fnv.New64a()
	_, _ = h.Write([]byte(key + "#" + strconv.Itoa(attempt))) // never fails
	part := float64(h.Sum64()>>11) / (1 << 53)
	return wait - time.Duration(part*float64(wait)/2)
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
