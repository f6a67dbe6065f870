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
	ask := func() error {
		rows, err := c.SQL(ctx, "SELECT count(*) FROM meta.views")
		if err != nil {
			return err
		}
		for _, err := range rows.All {
			if err != nil {
				return err
			}
		}
		return nil
	}
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
