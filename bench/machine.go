package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// machine says where, when and with which versions numbers were measured. What
// cannot be found out is left empty.
type machine struct {
	CPU         string            `json:"cpu"`
	Cores       int               `json:"cores"`
	MemoryBytes int64             `json:"memory_bytes"`
	Kernel      string            `json:"kernel"`
	Go          string            `json:"go"`
	Driftline   string            `json:"driftline"` // git describe
	Peers       map[string]string `json:"peers"`     // versions by package
	Quick       bool              `json:"quick"`
	Measured    time.Time         `json:"measured"`
	Load        string            `json:"load"` // of the machine when the suite began: a busy one makes wide numbers
}

func describeMachine(ctx context.Context, root string, quick bool) machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	kilobytes, _, _ := strings.Cut(procValue("/proc/meminfo", "MemTotal"), " ")
	memory, _ := strconv.ParseInt(kilobytes, 10, 64)
	describe := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	describe.Dir = root
	version, _ := describe.Output()
	return machine{
		CPU: procValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), MemoryBytes: memory << 10,
		Kernel: strings.TrimSpace(string(kernel)), Go: runtime.Version(), Driftline: strings.TrimSpace(string(version)),
		Peers: map[string]string{}, Quick: quick, Measured: time.Now().UTC().Truncate(time.Second),
		Load: firstField(string(load)),
	}
}

func (m machine) summary() string {
	parts := []string{m.CPU, fmt.Sprintf("%d cores", m.Cores), fmt.Sprintf("%d GiB", (m.MemoryBytes+1<<29)>>30),
		"Linux " + m.Kernel, m.Go, "load " + m.Load}
	for _, name := range slices.Sorted(maps.Keys(m.Peers)) {
		parts = append(parts, name+" "+m.Peers[name])
	}
	if m.Quick {
		parts = append(parts, "quick")
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

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
	process := filepath.Join("/proc", strconv.Itoa(pid))
	kilobytes, _, _ := strings.Cut(procValue(filepath.Join(process, "status"), "VmHWM"), " ")
	peak, _ := strconv.ParseInt(kilobytes, 10, 64)
	stat, _ := os.ReadFile(filepath.Join(process, "stat"))
	return usage{peakMemory: peak << 10, cpu: cpuTime(string(stat))}
}

// cpuTime is the sum of utime and stime, fields 14 and 15 of /proc/PID/stat, in
// ticks of 10 ms. The name of the process, field 2, may hold spaces and brackets.
func cpuTime(stat string) time.Duration {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// procValue returns the value of the first line "key : value" of a file of /proc.
func procValue(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstField(s string) string {
	field, _, _ := strings.Cut(s, " ")
	return field
}
