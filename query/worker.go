package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/driftline/driftline"
)

// worker is a process that runs SELECTs of users, one at a time. Its database is opened
// for one query and closed after it. Any failure but a text that does not bind ends the
// process; another takes its place.
type worker struct {
	cmd     *exec.Cmd
	in      *os.File // to it
	out     *bufio.Reader
	outFile *os.File
	stderr  *lastLines
	limits  string // what the kernel keeps it from

	// prepared is the fingerprint of the SELECT that it told the columns of, and whose database
	// it has kept; "" for none. It is its caller's, and while it is idle the pool's.
	prepared string

	patience *patience // with the request that it has; its caller's

	dead  chan struct{} // closed when it is gone
	state *os.ProcessState
	kill  sync.Once
	why   error // of the kill: what its caller is told; set before it
	mu    sync.Mutex
}

// startTime is what a new process may take until it is ready.
const startTime = 30 * time.Second

// startWorker starts a process and waits until it has locked itself in.
func startWorker(opts SQLOptions, threads int) (_ *worker, err error) {
	w := &worker{dead: make(chan struct{}), stderr: &lastLines{}}
	started := make(chan error)
	onThread(func() { w.live(opts, started) })
	if err := <-started; err != nil {
		return nil, driftline.Errorf(driftline.Unavailable, "a process for SQL cannot be started: %w", hidden{err}).
			WithHint("try again; if it stays, the server's machine is out of processes or memory")
	}
	defer func() {
		if err != nil {
			w.end(nil)
			<-w.dead
			err = driftline.Errorf(driftline.Unavailable, "a process for SQL did not start: %w", hidden{fmt.Errorf("%w: %s", err, w.stderr)}).
				WithHint("try again; if it stays, see the log of the server")
		}
	}()
	timer := time.AfterFunc(startTime, func() { w.end(nil) })
	defer timer.Stop()
	settings := workerSettings{MemoryBytes: opts.MemoryBytes, Threads: threads}
	if err := writeGob(w.in, frameSettings, settings); err != nil {
		return nil, err
	}
	kind, payload, err := readFrame(w.out)
	if err != nil {
		return nil, err
	}
	if kind != frameReady {
		return nil, errFrame
	}
	w.limits += ", " + printableASCII(payload)
	return w, limitProcess(w.cmd.Process.Pid, opts.MemoryBytes, cpuSeconds)
}

func printableASCII(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(text[:min(len(text), 64)]))
}

// live starts the process and stays until it is gone. It has its thread to itself,
// because the process inherits what the thread may do and dies when the thread does.
func (w *worker) live(opts SQLOptions, started chan<- error) {
	defer close(w.dead)
	w.limits = confineThread(opts.Readable, opts.Command[0])
	err := w.start(opts.Command)
	started <- err
	if err != nil {
		return
	}
	_ = w.cmd.Wait() // the state says it
	w.state = w.cmd.ProcessState
	w.in.Close()
}

func (w *worker) start(command []string) error {
	childIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer childIn.Close()
	out, childOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	defer childOut.Close()
	w.cmd = &exec.Cmd{
		Path: command[0], Args: command,
		Env:   []string{"TZ=UTC", "GOTRACEBACK=single", "MALLOC_ARENA_MAX=2"},
		Stdin: childIn, Stdout: childOut, Stderr: w.stderr, SysProcAttr: procAttr(),
	}
	if path, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		w.cmd.Env = append(w.cmd.Env, "LD_LIBRARY_PATH="+path)
	}
	if err := w.cmd.Start(); err != nil {
		return errors.Join(err, in.Close(), out.Close())
	}
	w.in, w.outFile, w.out = in, out, bufio.NewReaderSize(out, 256<<10)
	return nil
}

// end kills the process. Its caller, if it has one, is told why; nil means that
// what the process left behind says it. It may be called at any time, the first counts.
func (w *worker) end(why error) {
	w.kill.Do(func() {
		w.mu.Lock()
		w.why = why
		w.mu.Unlock()
		_ = w.cmd.Process.Kill() // it may be gone
		w.outFile.Close()        // ends a read under way
	})
}

// failure explains why the conversation broke off.
func (w *worker) failure(err error) error {
	var ours *driftline.Error
	if errors.As(err, &ours) {
		w.end(nil)
		return err
	}
	w.end(nil)
	w.mu.Lock()
	why := w.why
	w.mu.Unlock()
	if why != nil {
		return why
	}
	<-w.dead
	return w.died(err)
}

// died is the error of a process that ended by itself. What it wrote to stderr is for
// the log.
func (w *worker) died(err error) error {
	cause := hidden{fmt.Errorf("%w; %v: %s", err, w.state, w.stderr)}
	status, _ := w.state.Sys().(syscall.WaitStatus)
	switch text := w.stderr.String(); {
	case status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return stopped(context.DeadlineExceeded)
	case outOfMemory(text):
		return driftline.Errorf(driftline.Exhausted, "the query needed more memory than it may use, and was ended: %w", cause).
			WithHint("ask for fewer rows or columns")
	}
	if status.Signaled() && status.Signal() == syscall.SIGKILL { // not by us: failure knows that
		return driftline.Errorf(driftline.Unavailable, "the process that the query ran in was killed: %w", errKilled).WithHint("try again")
	}
	return driftline.Errorf(driftline.Internal, "the query ended the process that it ran in; nothing else was touched: %w", cause).
		WithHint("write the query in another way, or with fewer rows")
}

// errKilled marks the end of a process that somebody else killed.
var errKilled = errors.New("killed from outside")

// tries is how often a query begins whose process is killed from outside. Those that
// waited for work may all have been killed at once.
const tries = 2 * warm

// again tries once more where the process was killed: nothing has come of the try before.
func again[T any](try func() (T, error)) (answer T, err error) {
	for range tries {
		if answer, err = try(); !errors.Is(err, errKilled) {
			break
		}
	}
	return answer, err
}

func outOfMemory(stderr string) bool {
	for _, sign := range []string{"out of memory", "bad_alloc", "cannot allocate memory", "Out of Memory", "failed to create new OS thread"} {
		if strings.Contains(stderr, sign) {
			return true
		}
	}
	return false
}

// parse asks for the parse of a text.
func (w *worker) parse(ctx context.Context, text string, limit time.Duration) (_ *Select, tired bool, err error) {
	defer w.watch(ctx, limit+grace)()
	if err := writeGob(w.in, frameRequest, request{Parse: true, Text: text, Time: limit}); err != nil {
		return nil, true, w.failure(err)
	}
	kind, payload, err := readFrame(w.out)
	if err != nil {
		return nil, true, w.failure(err)
	}
	switch kind {
	case frameParsed:
		var parsed selectOnWire
		if err := json.Unmarshal(payload, &parsed); err != nil {
			return nil, true, w.failure(err)
		}
		sel, err := parsed.unpack()
		return sel, err != nil, err
	case frameFailed:
		err, tired := failed(payload)
		return nil, tired, err
	}
	return nil, true, w.failure(errFrame)
}

// failed reads what a worker says went wrong.
func failed(payload []byte) (err error, tired bool) {
	var failure wireFailure
	if json.Unmarshal(payload, &failure) != nil || failure.Error.Code == "" {
		return driftline.Errorf(driftline.Internal, "the query failed"), true
	}
	return &failure.Error, failure.Tired
}

// grace is what a worker gets to end a query itself, after its time.
const grace = time.Second

// watch ends the process when ctx ends or the time is over. The function returned ends
// the watch.
func (w *worker) watch(ctx context.Context, limit time.Duration) (unwatch func()) {
	detach := context.AfterFunc(ctx, func() { w.end(stopped(context.Cause(ctx))) })
	timer := time.AfterFunc(limit, func() { w.end(stopped(context.DeadlineExceeded)) })
	return func() { detach(); timer.Stop() }
}

// patience is how long others are as patient with a request as with any other: until the process
// has used so much of the processors, or somebody says that it is over. From then on the process
// leaves the processors to them. To those who read online it does so from the first of them on, as all
// other workers do, so that no SELECT is nicer than another one for having come before it.
type patience struct {
	pid     int
	allowed time.Duration
	until   time.Duration // of its processor time
	threads int
	online  func() bool // whether somebody has read online; nil if nobody does

	mu       sync.Mutex
	timer    *time.Timer
	beside   bool // those who read online
	yielding bool
	ended    bool
}

func newPatience(pid int, allowed time.Duration, threads int, online func() bool) *patience {
	p := &patience{pid: pid, allowed: allowed, until: processorTime(pid) + allowed, threads: max(threads, 1), online: online}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookBeside()
	p.timer = time.AfterFunc(p.soonest(allowed), p.look)
	return p
}

// soonest is when so much more processor time can be used.
func (p *patience) soonest(left time.Duration) time.Duration {
	return max(left/time.Duration(p.threads), p.allowed/10)
}

func (p *patience) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.yielding {
		return
	}
	p.lookBeside()
	if left := p.until - processorTime(p.pid); left > 0 {
		p.timer.Reset(p.soonest(left))
		return
	}
	p.yieldNow()
}

func (p *patience) lookBeside() {
	if !p.beside && p.online != nil && p.online() {
		p.beside = true
		yieldToOnline(p.pid)
	}
}

// yield ends it early.
func (p *patience) yield() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.yielding {
		p.yieldNow()
	}
}

func (p *patience) yieldNow() {
	yieldProcessors(p.pid)
	p.yielding = true
}

// end is the end of the request. It reports whether the process yields.
func (p *patience) end() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
	return p.yielding
}

// lastLines keeps the end of what is written to it.
type lastLines struct {
	mu   sync.Mutex
	text []byte
}

const lastBytes = 8 << 10

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[max(0, len(p)-lastBytes):]...)
	l.text = l.text[max(0, len(l.text)-lastBytes):]
	return len(p), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.TrimSpace(l.text))
}
