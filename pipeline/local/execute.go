package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/pipeline"
)

// graceful is how long a program has to end after it was asked to.
const graceful = 5 * time.Second

// takeLock makes sure that no earlier run is at work. Its programs hold the lock as well, so that it
// is free only once all of them are gone.
func (r *runner) takeLock() error {
	f, err := os.OpenFile(filepath.Join(r.folder, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return unwritable(r.folder, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		at, _ := io.ReadAll(io.LimitReader(f, 1<<10)) // for the message only
		return driftline.Errorf(driftline.Unavailable, "pipeline %q is running already%s", r.graph.Pipeline.Name, at).
			WithHint("wait until it has ended; if it was killed, programs that it started may be left: kill -- -GROUP ends them")
	}
	r.lock = f
	return nil
}

// noteGroup says in the lock which process groups hold it, for whoever finds it taken.
func (r *runner) noteGroup(group int, runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.groups = slices.DeleteFunc(r.groups, func(g int) bool { return g == group })
	if runs {
		r.groups = append(r.groups, group)
	}
	text := ""
	for _, g := range r.groups {
		text += fmt.Sprintf(", process group %d", g)
	}
	if r.lock.Truncate(0) == nil {
		_, _ = r.lock.WriteAt([]byte(text), 0) // it is a hint
	}
}

// execute runs a step's program in a process group of its own, and kills the group when the step's
// time is over or ctx ends.
func (r *runner) execute(ctx context.Context, step *pipeline.Step, before int) pipeline.Attempt {
	timed, cancel := context.WithTimeout(ctx, time.Duration(step.Timeout))
	defer cancel()
	mode := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if before == 0 {
		mode |= os.O_TRUNC
	}
	log, err := os.OpenFile(filepath.Join(r.folder, "logs", step.Name+".log"), mode, 0o644)
	if err != nil {
		return pipeline.Attempt{Exit: -1, Reason: unwritable(r.folder, err).Error()}
	}
	defer log.Close()
	lines := &lineWriter{step: step.Name, to: r.opts.Output, log: log}
	argv := step.Argv()
	command := exec.Command(argv[0], argv[1:]...)
	command.Dir, command.Env = r.opts.Folder, r.environ(step)
	command.Stdout, command.Stderr = lines, lines
	command.ExtraFiles = []*os.File{r.lock}
	command.SysProcAttr = ownGroup()
	err = r.start(timed, command)
	lines.end()
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		return pipeline.Attempt{Exit: -1, Reason: "the run was ended"}
	case timed.Err() != nil:
		return pipeline.Attempt{Exit: -1, Reason: fmt.Sprintf("it took longer than %s", time.Duration(step.Timeout))}
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return pipeline.Attempt{Exit: exit.ExitCode(), Reason: fmt.Sprintf("exit code %d", exit.ExitCode())}
	case err != nil:
		return pipeline.Attempt{Exit: -1, Reason: err.Error()}
	}
	return pipeline.Attempt{}
}

// start runs a command to its end. The goroutine keeps its thread: on Linux a program dies with the thread
// that started it.
func (r *runner) start(ctx context.Context, command *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.WaitDelay = graceful
	if err := command.Start(); err != nil {
		return err
	}
	r.noteGroup(command.Process.Pid, true)
	defer r.noteGroup(command.Process.Pid, false)
	over := make(chan struct{})
	var guard sync.WaitGroup
	guard.Go(func() {
		select {
		case <-over:
		case <-ctx.Done():
			end(command.Process.Pid, over)
		}
	})
	err := command.Wait()
	close(over)
	guard.Wait()
	killGroup(command.Process.Pid) // what the program left behind
	return err
}

// end asks a process group to end, and kills it if it does not.
func end(group int, over <-chan struct{}) {
	_ = syscall.Kill(-group, syscall.SIGTERM) // it may be gone already
	timer := time.NewTimer(graceful)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
		killGroup(group)
	}
}

func killGroup(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) } // it may be gone already

// environ is the caller's, with what the pipeline and the step set.
func (r *runner) environ(step *pipeline.Step) []string {
	set := environment(r.opts.Environ)
	maps.Copy(set, r.graph.Pipeline.Environment)
	maps.Copy(set, step.Environment)
	set["DRIFTLINE_PIPELINE"], set["DRIFTLINE_STEP"] = r.graph.Pipeline.Name, step.Name
	list := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		list = append(list, name+"="+set[name])
	}
	return list
}

// lineWriter writes to the log as it comes, and hands lines on.
type lineWriter struct {
	step string
	to   func(step, line string)
	log  io.Writer

	mu   sync.Mutex
	rest []byte
}

const longestLine = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.log.Write(p); err != nil {
		return 0, err
	}
	if w.to == nil {
		return len(p), nil
	}
	w.rest = append(w.rest, p...)
	for {
		at := bytes.IndexByte(w.rest, '\n')
		if at < 0 && len(w.rest) < longestLine {
			return len(p), nil
		}
		if at < 0 {
			at = len(w.rest) - 1
		}
		w.to(w.step, string(bytes.TrimRight(w.rest[:at+1], "\r\n")))
		w.rest = w.rest[at+1:]
	}
}

// end hands on what no line end followed.
func (w *lineWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.to != nil && len(w.rest) > 0 {
		w.to(w.step, string(w.rest))
	}
	w.rest = nil
}
