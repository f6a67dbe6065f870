package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
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
	kilobytes, _, _ := strings.Cut(procValue("/proc/meminfo", "MemTotal"), " ")
	memory, _ := strconv.ParseInt(kilobytes, 10, 64)
	describe := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	describe.Dir = root
	version, _ := describe.Output()
	return machine{
		CPU: procValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), MemoryBytes: memory << 10,
		Kernel: strings.TrimSpace(string(kernel)), Go: runtime.Version(), Driftline: strings.TrimSpace(string(version)),
		Peers: map[string]string{}, Quick: quick, Measured: time.Now().UTC().Truncate(time.Second),
		Load: machineLoad(),
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

// machineLoad is how many processes wanted a core over the last minute.
func machineLoad() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return firstField(string(load))
}

// same tells whether numbers of both may stand in one table.
func (m machine) same(other machine) bool {
	return m.CPU == other.CPU && m.Cores == other.Cores && m.MemoryBytes == other.MemoryBytes && m.Quick == other.Quick
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
