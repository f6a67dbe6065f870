package query

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sys/unix"

	"github.com/driftline/driftline"
)

// tryArgument makes the test binary try what a worker that was taken over would.
const tryArgument = "__try-to-escape"

// tryToEscape does what a worker does to itself, tries, and says what it could do.
func tryToEscape() {
	limits := filterSystemCalls()
	attempts := []struct {
		name string
		try  func() error
	}{
		{"read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
		{"list /", func() error { _, err := os.ReadDir("/"); return err }},
		{"read the server's memory", func() error { _, err := os.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid())); return err }},
		{"read the server's environment", func() error { _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid())); return err }},
		{"write beside the tables", func() error { return os.WriteFile(os.Args[2]+"/written", nil, 0o600) }},
		{"remove a table's file", func() error { return os.Remove(os.Args[2] + "/readable") }},
		{"open a table's file for writing", func() error { _, err := os.OpenFile(os.Args[2]+"/readable", os.O_RDWR, 0); return err }},
		{"make a TCP connection", func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err }},
		{"listen", func() error { _, err := net.Listen("unix", "@escape"); return err }},
		{"start a program", func() error { return exec.Command("/bin/true").Run() }},
		{"kill the server", func() error { return syscall.Kill(os.Getppid(), 0) }},
	}
	for _, a := range attempts {
		if err := a.try(); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
			fmt.Fprintf(os.Stderr, "[%s: %v]", a.name, err)
		}
	}
	if _, err := os.ReadFile(os.Args[2] + "/readable"); err != nil {
		fmt.Fprintf(os.Stderr, "[a table's file: %v]", err)
	}
	fmt.Fprintf(os.Stderr, "[tried, under %s]", limits)
	os.Exit(1)
}

func TestNothingEscapes(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	readable := t.TempDir()
	if err := os.WriteFile(readable+"/readable", []byte("rows"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = startWorker(SQLOptions{Command: []string{program, tryArgument, readable}, Readable: []string{readable}}.withDefaults(), 1)
	said := causes(err)
	if !strings.Contains(said, "under seccomp]") {
		t.Skipf("this kernel cannot confine: %s", said)
	}
	if !strings.Contains(said, "\"EOF: [tried, under seccomp]\"") && !strings.Contains(said, "broken pipe: [tried, under seccomp]\"") {
		t.Errorf("a worker could do more than it should: %s", said)
	}
}

func escapeIfAsked() {
	if len(os.Args) == 3 && os.Args[1] == tryArgument {
		tryToEscape()
	}
}

// TestALongQueryYields checks that its worker leaves the processors to others, and that no
// other query runs in it later.
func TestALongQueryYields(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() {
		_, err := db.Select(ctx, &Select{text: "select sum(hash(a.range * b.range)) from range(1000000) a, range(1000000) b"}, nil, nil)
		running <- err
	}()
	var worker int
	until(t, func() bool {
		db.workers.mu.Lock()
		defer db.workers.mu.Unlock()
		for w := range db.workers.all {
			if found := priorities(w); len(found) == 1 && found[20-yieldingNiceness] > 0 {
				worker = w.cmd.Process.Pid
				return true
			}
		}
		return false
	})
	cancel()
	<-running
	until(t, func() bool {
		db.workers.mu.Lock()
		defer db.workers.mu.Unlock()
		for w := range db.workers.all {
			if w.cmd.Process.Pid == worker {
				return false
			}
		}
		return true
	})
}

// priorities counts the threads of a worker by their priority: of the kernel, 20 less the niceness.
func priorities(w *worker) map[int]int {
	counted := map[int]int{}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", w.cmd.Process.Pid))
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		if priority, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil {
			counted[priority]++
		}
	}
	return counted
}

// TestAShortQueryDoesNotYield checks that a worker starts as its server runs, and stays so
// through queries that need little, however long they wait: on a busy machine, one that did
// not would never be ready.
func TestAShortQueryDoesNotYield(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	ours, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, release, err := db.workers.acquire(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer release(false)
	asServer := func(when string) {
		if found := priorities(w); len(found) != 1 || found[ours] == 0 {
			t.Errorf("%s: priorities %v of its threads, want all %d", when, found, ours)
		}
	}
	asServer("started")
	const allowed = 20 * time.Millisecond
	used, patience := processorTime(w.cmd.Process.Pid), newPatience(w.cmd.Process.Pid, allowed, 1, nil)
	time.Sleep(3 * allowed) // in which it waits for a request
	if used = processorTime(w.cmd.Process.Pid) - used; patience.end() && used < allowed {
		t.Errorf("a worker yields that has used %s of the processors", used)
	}
	if used < allowed {
		asServer("after a wait")
	}
}

// A worker leaves the processors to online reads from their first one on, be that before its request or later, and
// serves the next request too.
func TestAWorkerYieldsToOnlineReads(t *testing.T) {
	var read atomic.Bool
	db := openWorkers(t, SQLOptions{Workers: 1, WasReadOnline: read.Load})
	for _, before := range []bool{false, true, true} {
		w, release, err := db.workers.acquire(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		if !before && priorities(w)[20-besideOnlineNiceness] > 0 {
			t.Error("it yields to online reads where there are none")
		}
		read.Store(true)
		until(t, func() bool { found := priorities(w); return len(found) == 1 && found[20-besideOnlineNiceness] > 0 })
		release(false)
		select {
		case <-w.dead:
			t.Error("a worker that yielded to online reads was ended")
		default:
		}
	}
}

// The worker of a large answer leaves the processors to those whom the answer gives way to, however
// little of them it has used.
func TestTheWorkerOfAnAnswerThatGivesWayYields(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1, SinceServed: func() time.Duration { return 0 }})
	db.workers.others.perSecond = 1 << 30
	a, err := db.workers.ask(context.Background(), sandbox{text: "select i from range(4000000) t(i)"}, false)
	if err != nil {
		t.Fatal(err)
	}
	a.worker.patience.mu.Lock()
	a.worker.patience.until = time.Hour
	a.worker.patience.mu.Unlock()
	var bytes, largest int64
	a.rows(a.schema, func(batch arrow.RecordBatch, err error) bool {
		if err != nil {
			t.Error(err)
			return false
		}
		size := driftline.BatchBytes(batch)
		bytes, largest = bytes+size, max(largest, size)
		yields := priorities(a.worker)[20-yieldingNiceness] > 0
		early, late := bytes <= ungivenBytes+patientBytes, bytes-size >= ungivenBytes+patientBytes+givenPieceBytes
		if early && yields || late && !yields {
			t.Errorf("after %d bytes: it yields: %t", bytes, yields)
			return false
		}
		return true
	})
	if bytes < 32_000_000 || largest > givenPieceBytes {
		t.Errorf("%d bytes in batches of up to %d", bytes, largest)
	}
	<-a.worker.dead // nobody else is served by it
}

// A query that is over soon enough leaves its worker to the next one, and one that
// yields does not.
func TestAWorkerThatYieldedServesNobodyElse(t *testing.T) {
	db := openWorkers(t, SQLOptions{Workers: 1})
	a, err := db.workers.ask(context.Background(), sandbox{text: "select 1 a"}, false)
	if err != nil {
		t.Fatal(err)
	}
	w := a.worker
	release := a.release
	a.release = func(tired bool) {
		patience := newPatience(w.cmd.Process.Pid, 0, 1, nil)
		until(t, func() bool { return priorities(w)[20-yieldingNiceness] > 0 })
		release(patience.end() || tired)
	}
	a.rows(a.schema, func(arrow.RecordBatch, error) bool { return true })
	<-w.dead
}
