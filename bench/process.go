package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTime is how long a process gets to end after it was asked to.
const stopTime = 20 * time.Second

// command is exec.CommandContext for processes that may have children: they share
// a process group, which is asked to end when ctx does, and killed after stopTime.
// A group of its own also keeps the terminal's Ctrl-C from reaching them first.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = stopTime
	return c
}

// killGroup ends what is left of a process's group.
func killGroup(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }

// usage is what a process has taken so far.
type usage struct {
	peakMemory int64 // bytes resident
	cpu        time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("%d MiB peak memory, %.1f s CPU", u.peakMemory>>20, u.cpu.Seconds())
}

// processUsage reads /proc, and is zero on other systems.
func processUsage(pid int) usage {
	stat, _ := os.ReadFile(processFile(pid, "stat"))
	return usage{peakMemory: memoryOf(pid, "VmHWM"), cpu: cpuTime(string(stat))}
}

func processFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// memoryOf reads a size of /proc/PID/status: VmHWM (peak), VmRSS (now), or RssAnon,
// which is without the pages of files, which the kernel can take back at any time.
func memoryOf(pid int, size string) int64 {
	kilobytes, _, _ := strings.Cut(procValue(processFile(pid, "status"), size), " ")
	value, _ := strconv.ParseInt(kilobytes, 10, 64)
	return value << 10
}

// cpuTime is the sum of utime and stime, fields 14 and 15 of /proc/PID/stat.
func cpuTime(stat string) time.Duration { return ticks(stat, 14) + ticks(stat, 15) }

// ticks reads a field of /proc/PID/stat that counts ticks of 10 ms.
func ticks(stat string, field int) time.Duration {
	n, _ := strconv.ParseInt(statField(stat, field), 10, 64)
	return time.Duration(n) * 10 * time.Millisecond
}

// statField returns a field from the third on, or "". The name of the process, field
// 2, may hold spaces and brackets.
func statField(stat string, number int) string {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) <= number-3 {
		return ""
	}
	return fields[number-3]
}

// descendants are the processes that a process has started, and those that these have.
func descendants(pid int) (found []int) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, _ := os.ReadFile(file) // a process that has just ended has none
		parent, _ := strconv.Atoi(statField(string(stat), 4))
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		children[parent] = append(children[parent], child)
	}
	for next := children[pid]; len(next) > 0; next = next[1:] {
		found = append(found, next[0])
		next = append(next, children[next[0]]...)
	}
	return found
}

// treeMemory is what a process and its descendants have in memory now.
func treeMemory(pid int) int64 {
	total := memoryOf(pid, "VmRSS")
	for _, child := range descendants(pid) {
		total += memoryOf(child, "VmRSS")
	}
	return total
}

// treeCPU is the CPU time of a process, its descendants and those of its children
// that have ended.
func treeCPU(pid int) time.Duration {
	stat, _ := os.ReadFile(processFile(pid, "stat"))
	total := cpuTime(string(stat)) + ticks(string(stat), 16) + ticks(string(stat), 17)
	for _, child := range descendants(pid) {
		total += processUsage(child).cpu
	}
	return total
}

// memoryPeak is the most memory that a process took while it was watched.
type memoryPeak struct {
	resident  int64 // of the process, files that it has mapped included, and of its children
	anonymous int64 // of the process, without the pages of files
}

// memoryWatch looks at a process a few times a second. The process's own peak is the
// kernel's and misses nothing; that of its children is of the moments looked at.
type memoryWatch struct {
	pid      int
	ended    chan struct{}
	looking  sync.WaitGroup
	found    memoryPeak
	children int64
}

// memoryTick is long enough that looking takes under 1 % of a core.
const memoryTick = 200 * time.Millisecond

// watchMemory begins a new peak, where the kernel lets it.
func watchMemory(pid int) *memoryWatch {
	_ = os.WriteFile(processFile(pid, "clear_refs"), []byte("5"), 0) // "5" resets VmHWM
	w := &memoryWatch{pid: pid, ended: make(chan struct{})}
	w.looking.Go(func() {
		tick := time.NewTicker(memoryTick)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-w.ended:
				return
			case <-tick.C:
			}
		}
	})
	return w
}

func (w *memoryWatch) look() {
	w.found.anonymous = max(w.found.anonymous, memoryOf(w.pid, "RssAnon"))
	var children int64
	for _, child := range descendants(w.pid) {
		children += memoryOf(child, "VmRSS")
	}
	w.children = max(w.children, children)
}

// stop ends the watch. The process must still run.
func (w *memoryWatch) stop() memoryPeak {
	close(w.ended)
	w.looking.Wait()
	w.found.resident = memoryOf(w.pid, "VmHWM") + w.children
	return w.found
}
