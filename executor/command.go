package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/driftline/driftline"
)

const (
	graceTime = 5 * time.Second // between SIGTERM and SIGKILL
	drainTime = 2 * time.Second // for the last output of a program that has ended
)

// inherited are the variables of the server's environment that a program needs to start. The
// others may be secrets.
var inherited = []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// command runs a program in a process group of its own until it ends, or ctx does.
func (x *Executor) command(ctx context.Context, job *Job, told map[string]string) (Outcome, string, error) {
	if !x.config.Commands {
		return Failed, "", driftline.Errorf(driftline.Permission, "this server runs no commands: whoever may apply a policy could do what it can").
			WithHint("start it with driftline serve --allow-commands, or let a webhook, Airflow or Kubernetes train")
	}
	log, err := openLog(job.Log)
	if err != nil {
		return Failed, "", err
	}
	defer log.Close() // what it could not write is of no more use
	c := exec.Command(job.Spec.Command[0], job.Spec.Command[1:]...)
	processes, marks := newMark(), job.Log+marksSuffix
	if err := processes.write(marks); err != nil {
		return Failed, "", err
	}
	defer os.Remove(marks) // what it is for is over; if it stays, nothing has the mark any more
	c.Dir, c.Env = x.config.Folder, append(environ(told), processes.environ())
	if c.Dir == "" {
		c.Dir = filepath.Dir(job.Log)
	}
	c.Stdout, c.Stderr, c.WaitDelay = log, log, drainTime
	ended, err := startGroup(c, x.config.Memory)
	if err != nil {
		return Failed, "", driftline.Errorf(driftline.FailedPrecondition, "command %q cannot be started: %w", job.Spec.Command[0], withoutPath(err)).
			WithHint("commands begin in the folder that the settings name, with the PATH of the server")
	}
	processes.begun(c.Process.Pid)
	if err := processes.write(marks); err != nil {
		signalGroup(c, true)
		<-ended
		return Failed, "", err
	}
	err = awaitGroup(ctx, c, ended)
	processes.end()
	switch {
	case ctx.Err() != nil:
		return Failed, "it was stopped", ctx.Err()
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return Succeeded, "", nil
	}
	detail := fmt.Sprintf("command %q ended with %s", job.Spec.Command[0], c.ProcessState)
	if last := log.lastLine(); last != "" {
		detail += ": " + last
	}
	return Failed, detail, nil
}

// awaitGroup waits for the program. When ctx ends, and when the program has ended, it ends what
// is left of the group.
func awaitGroup(ctx context.Context, c *exec.Cmd, ended <-chan error) error {
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		signalGroup(c, false)
		timer := time.NewTimer(graceTime)
		defer timer.Stop()
		select {
		case err = <-ended:
		case <-timer.C:
			signalGroup(c, true)
			err = <-ended
		}
	}
	signalGroup(c, true)
	return err
}

// environ is the environment of a program, in a fixed order.
func environ(told map[string]string) []string {
	var env []string
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		env = append(env, name+"="+told[name])
	}
	return env
}

// withoutPath is an error that names no path of the server.
func withoutPath(err error) error {
	var about *os.PathError
	if errors.As(err, &about) {
		return about.Err
	}
	var looked *exec.Error
	if errors.As(err, &looked) {
		return looked.Err
	}
	return err
}
