package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// peer is a Python class in a process of its own, which answers lines of JSON with
// lines of JSON. It is asked once to prepare, any number of times to run, and ends
// with its stdin.
//
//	→ {"do":"prepare","config":{…}}   ← {"versions":{"duckdb":"1.4.1"}}  or {"missing":"duckdb"}
//	→ {"do":"run","check":true}       ← {"value":1.25,"rows":100000,"checksum":"…","numbers":["0x1p-3"]}
//	                                  ← {"error":"…"} instead of either
type peer struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	replies *bufio.Reader
	limit   *peerLimit
	gaveUp  *unfinished // set once the limit has ended the process
}

// peerSpec says which class, and what it is told.
type peerSpec struct {
	name   string // as tables show it
	module string // in bench/peers, without .py
	venv   string // that has what it imports, if it is one of its own
	config any    // as JSON to the class
	limit  *peerLimit
}

// peerLimit is what a peer may take to prepare, or for one run; a peer that takes more is ended.
type peerLimit struct {
	time   time.Duration
	memory int64 // bytes resident, of all its processes
}

// unfinished is the end of a peer that took more than it might.
type unfinished struct {
	after  time.Duration
	reason string // "no end within 300 s"
}

func (e *unfinished) Error() string { return e.reason }

type peerReply struct {
	Versions map[string]string `json:"versions"`
	Missing  string            `json:"missing"`
	Error    string            `json:"error"`
	Value    float64           `json:"value"`
	answer
}

// missingModule means that the peer is not installed.
type missingModule struct{ module string }

func (e *missingModule) Error() string {
	return fmt.Sprintf("Python module %s is not installed (make bench-peers)", e.module)
}

// comparePeer starts the peer, compares and stops it. A peer that is not installed
// is skipped.
func (b *bench) comparePeer(ctx context.Context, w workload, ours side, spec peerSpec) error {
	p, err := b.startPeer(ctx, spec)
	var missing *missingModule
	if errors.As(err, &missing) {
		b.skip(w, spec.name, missing.Error())
		return nil
	}
	if gaveUp := (*unfinished)(nil); errors.As(err, &gaveUp) {
		return b.compareUnfinished(ctx, w, ours, spec.name, gaveUp)
	}
	if err != nil {
		return fmt.Errorf("%s, %s: %w", w.name, spec.name, err)
	}
	return errors.Join(b.compare(ctx, w, ours, p.side(spec.name)), p.stop())
}

// comparePeers compares with one peer after the other.
func (b *bench) comparePeers(ctx context.Context, w workload, ours side, specs ...peerSpec) error {
	for _, spec := range specs {
		if err := b.comparePeer(ctx, w, ours, spec); err != nil {
			return err
		}
	}
	return nil
}

// startPeer tries the interpreters in turn until one has what the peer imports.
func (b *bench) startPeer(ctx context.Context, spec peerSpec) (*peer, error) {
	err := error(&missingModule{"any: there is no virtual environment"})
	for _, python := range b.interpreters(spec.venv) {
		var p *peer
		p, err = b.startPeerWith(ctx, python, spec)
		var missing *missingModule
		if err == nil || !errors.As(err, &missing) {
			return p, err
		}
	}
	return nil, err
}

func (b *bench) interpreters(own string) (found []string) {
	venvs := []string{".venv-peers", ".venv"}
	if own != "" {
		venvs = []string{own}
	}
	for _, venv := range venvs {
		python := filepath.Join(b.root, venv, "bin", "python")
		if _, err := os.Stat(python); err == nil {
			found = append(found, python)
		}
	}
	return found
}

func (b *bench) startPeerWith(ctx context.Context, python string, spec peerSpec) (*peer, error) {
	p := &peer{limit: spec.limit, process: command(ctx, python, filepath.Join(b.root, "bench", "peers", "protocol.py"), spec.module)}
	p.process.Dir = b.dir
	p.process.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore")
	p.process.Stderr = os.Stderr
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.replies = bufio.NewReader(stdout)
	if p.stdin, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	reply, err := p.askWithin(map[string]any{"do": "prepare", "config": spec.config})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	maps.Copy(b.machine.Peers, reply.Versions)
	return p, nil
}

// ask sends one line and waits for its answer. When the context of the process
// ends so does the process, and with it the wait.
func (p *peer) ask(question any) (peerReply, error) {
	var reply peerReply
	if err := json.NewEncoder(p.stdin).Encode(question); err != nil {
		return reply, fmt.Errorf("the peer is gone: %w", err)
	}
	line, err := p.replies.ReadBytes('\n')
	if err != nil {
		return reply, fmt.Errorf("the peer ended without an answer: %w", err)
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return reply, fmt.Errorf("the peer's answer %.80q: %w", line, err)
	}
	if reply.Missing != "" {
		return reply, &missingModule{reply.Missing}
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// run asks for one run. Other fields of the question, if any, are the peer's own.
func (p *peer) run(_ context.Context, check bool) (measured, error) {
	reply, err := p.askWithin(map[string]any{"do": "run", "check": check})
	return measured{value: reply.Value, answer: reply.answer}, err
}

// askWithin is ask within the peer's limit; the error is then an [unfinished].
func (p *peer) askWithin(question any) (peerReply, error) {
	started := time.Now()
	release := p.enforceLimit()
	reply, err := p.ask(question)
	release()
	if p.limit != nil && err != nil && outOfMemory.MatchString(err.Error()) {
		p.gaveUp = &unfinished{after: time.Since(started), reason: "out of memory"}
	}
	if p.gaveUp != nil {
		return reply, p.gaveUp
	}
	return reply, err
}

// outOfMemory is what Python and DuckDB call it.
var outOfMemory = regexp.MustCompile(`MemoryError|OutOfMemoryException|Out of Memory`)

// enforceLimit ends the peer if it takes too much before release is called.
func (p *peer) enforceLimit() (release func()) {
	if p.limit == nil {
		return func() {}
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { p.gaveUp = p.limit.watch(p.process.Process.Pid, done) })
	return func() {
		close(done)
		watching.Wait()
	}
}

// watch kills the process's group and says why, or returns nil once done is closed.
func (l peerLimit) watch(pid int, done <-chan struct{}) *unfinished {
	started := time.Now()
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		reason := ""
		if time.Since(started) > l.time {
			reason = fmt.Sprintf("no end within %.0f s", l.time.Seconds())
		}
		if l.memory > 0 && treeMemory(pid) > l.memory {
			reason = fmt.Sprintf("ended at %d GB", l.memory/1e9)
		}
		if reason != "" {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			return &unfinished{after: time.Since(started), reason: reason}
		}
	}
}

func (p *peer) side(name string) side { return side{name: name, run: p.run} }

// stop ends the peer and all processes that it started.
func (p *peer) stop() error {
	_ = p.stdin.Close()
	timer := time.AfterFunc(stopTime, func() { killGroup(p.process) })
	defer timer.Stop()
	err := p.process.Wait()
	killGroup(p.process)
	if p.gaveUp != nil {
		return nil // it was killed
	}
	return err
}
