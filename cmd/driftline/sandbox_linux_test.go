package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// childrenOf lists the processes that a process started.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}

// TestWorkersDieAloneAndWithTheServer kills the processes that run SELECTs, and finds
// the server answering; then it kills the server, and finds none of them left.
func TestWorkersDieAloneAndWithTheServer(t *testing.T) {
	server := startVictim(t, t.TempDir())
	defer server.kill()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, server.url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() error { return selectAll(ctx, c, "SELECT count(*) FROM meta.views") }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		workers := childrenOf(t, server.cmd.Process.Pid)
		if len(workers) == 0 {
			t.Fatal("SELECTs run in no process of their own")
		}
		for _, worker := range workers {
			if err := syscall.Kill(worker, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				t.Fatal(err)
			}
		}
		for failures := 0; ; failures++ {
			err := ask() // who has a dying worker is told, and nobody else
			if err == nil {
				break
			}
			if failures > len(workers) {
				t.Fatalf("after %d failures: %v", failures, err)
			}
		}
	}
	workers := childrenOf(t, server.cmd.Process.Pid)
	server.kill()
	for _, worker := range workers {
		for tries := 0; syscall.Kill(worker, 0) == nil; tries++ {
			if state, err := os.ReadFile("/proc/" + strconv.Itoa(worker) + "/stat"); err != nil || strings.Contains(string(state), ") Z ") {
				break // dead, and not collected by whoever inherited it
			}
			if tries == 1000 {
				t.Fatalf("process %d outlived its server", worker)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// attacks on a server by way of SQL: some that are refused, and more that are let in and end
// at a limit.
var attacks = []string{
	"select 1; drop table meta.views",
	"copy (select 1) to 'copy.csv'",
	"select * from read_text('/etc/passwd')",
	"select repeat('x', 4000000000)",
	"select 1" + strings.Repeat("+1", 1<<20), // longer than a text may be
	"select 1" + strings.Repeat(" union all select 1", 3000),
	"select 1 where true" + strings.Repeat(" and true", 7000),
	"select " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000),
	"select sum(hash(a.range * b.range)) from range(1000000) a, range(1000000) b",
	"with recursive r as (select 1 x union all select x + 1 from r) select count(*) from r",
	"select a.range, repeat('x', 100) from range(1000000) a, range(1000000) b",
	"select repeat('x', 1000000) from range(1000000)",
	"select list(a.range) from range(1000000) a, range(1000) b group by b.range",
	"select string_agg(repeat('x', 1000000), '') from range(1000000)",
	"select a.range from range(1000000) a, range(1000) b order by hash(a.range + b.range) limit 10000000",
	"select count(distinct repeat('x', 1000) || a.range) from range(1000000) a, range(1000) b",
	"select max(a.range) over (partition by hash(a.range * b.range)) from range(1000000) a, range(1000) b",
}

// roomForAttacks is how much larger a server may become while it is attacked: what it holds
// for the callers that are answered, of whom some get gigabytes, and what the collector of Go
// has not given back.
const roomForAttacks = 250 << 20

// TestTheServerOutlivesEveryAttack attacks a server from several sides at once, again and
// again: the same process answers afterwards, and was never much larger than before.
func TestTheServerOutlivesEveryAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the deadlines of its queries")
	}
	server := startVictim(t, t.TempDir(), "--sql-timeout", "2s", "--sql-memory", "256", "--sql-workers", "2")
	defer server.kill()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, server.url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := selectAll(ctx, c, "SELECT count(*) FROM meta.views"); err != nil {
		t.Fatal(err)
	}
	pid := server.cmd.Process.Pid
	before := memoryOf(t, pid, "VmRSS")
	for range 3 {
		var callers errgroup.Group
		callers.SetLimit(4) // more than there are workers: some wait
		for _, attack := range attacks {
			callers.Go(func() error {
				err := selectAll(ctx, c, attack)
				if driftline.CodeOf(err) == driftline.Unavailable {
					t.Errorf("%.60s: %v", attack, err)
				}
				return nil
			})
		}
		_ = callers.Wait()
		if err := selectAll(ctx, c, "SELECT count(*) FROM meta.views"); err != nil {
			t.Fatalf("after the attacks: %v", err)
		}
	}
	peak := memoryOf(t, pid, "VmHWM")
	t.Logf("%d MiB before, at most %d MiB", before>>20, peak>>20)
	if peak > before+roomForAttacks {
		t.Errorf("the server took %d MiB under attack, and %d MiB before", peak>>20, before>>20)
	}
}

// selectAll reads the answer to a SELECT to its end.
func selectAll(ctx context.Context, c *client.Client, text string) error {
	rows, err := c.SQL(ctx, text)
	if err != nil {
		return err
	}
	return drain(rows)
}

// memoryOf reads a figure of /proc/PID/status, in bytes.
func memoryOf(t *testing.T, pid int, figure string) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == figure+":" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("process %d does not say its %s", pid, figure)
	return 0
}
