package query

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procAttr makes a worker a process group of its own, so that Ctrl-C at a terminal is
// the server's to handle, and ends it with the thread that started it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// onThread runs f on a thread that ends with it, and which is not the first of this
// process: that one never ends, and whatever looks at the process would see its limits.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread() // and never unlocks it, which ends the thread
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		done := make(chan struct{})
		onThread(func() { defer close(done); f() })
		<-done // until then nobody else gets the first thread
		runtime.UnlockOSThread()
	}()
}

// confineThread takes from the calling thread, and so from the process that it starts,
// every file but those below the given folders, which can be read, and what a program
// needs to start; and TCP. It says what it did. The thread must die afterwards: it
// cannot be freed again.
func confineThread(readable []string, program string) string {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 1 {
		return "no Landlock"
	}
	rules, err := newRuleset(int(abi))
	if err != nil {
		return "no Landlock"
	}
	defer unix.Close(rules)
	const read = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	const run = read | unix.LANDLOCK_ACCESS_FS_EXECUTE
	for _, dir := range readable {
		allowBelow(rules, dir, read)
	}
	for _, dir := range []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", program} {
		allowBelow(rules, dir, run)
	}
	// /proc is there because DuckDB dies without /proc/self/cgroup, and whose "self" is
	// not known before the process is. Landlock itself, with [dropCapabilities], keeps
	// memory and environment of processes outside from it.
	for _, dir := range []string{"/etc/ld.so.cache", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/proc"} {
		allowBelow(rules, dir, read)
	}
	dropCapabilities()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "no Landlock"
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return "no Landlock"
	}
	return fmt.Sprintf("Landlock %d", abi)
}

// dropCapabilities takes root's rights from the calling thread and the programs that it
// starts, but for that to read files of others, which Landlock narrows down. With them,
// Landlock would not keep a worker from the environment of its server.
func dropCapabilities() {
	if unix.Geteuid() != 0 {
		return
	}
	const noRoot = 1<<0 | 1<<1 // SECBIT_NOROOT, and its lock
	if unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0) != nil {
		return
	}
	const kept = 1 << unix.CAP_DAC_READ_SEARCH
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: kept, Permitted: kept, Inheritable: kept}}
	if unix.Capset(&header, &data[0]) == nil {
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_DAC_READ_SEARCH, 0, 0)
	}
}

// yieldingNiceness is that of a worker whose query takes long. Beside one process of the
// niceness that all others have, 0, it gets a seventieth of a processor.
const yieldingNiceness = 19

// besideOnlineNiceness is that of a worker that works on a server that is read online: beside one process of
// niceness 0 it gets a tenth of a processor.
const besideOnlineNiceness = 10

// nicerSlice is how long, in nanoseconds, a nicer worker keeps a processor from somebody who wakes up. The kernel
// lets what runs end its slice first, which is 1.4 ms on two processors, and so the p99 of online reads; 0.1 ms is its least.
const nicerSlice = 100_000

// yieldProcessors makes a worker leave the processors to others.
func yieldProcessors(pid int) { setNiceness(pid, yieldingNiceness) }

// yieldToOnline makes a worker leave the processors to online reads, as soon as they want them.
func yieldToOnline(pid int) { setNiceness(pid, besideOnlineNiceness) }

// setNiceness makes a worker nicer, and its slices short, which kernels before 6.12 do not heed. Both are each
// thread's own; threads that it starts from now on have those of the one that starts them. None but root can take
// it back.
func setNiceness(pid, niceness int) {
	threads, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task")) // none if it is gone
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Nice: int32(niceness), Runtime: nicerSlice}
		if unix.SchedSetAttr(id, &attr, 0) != nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, niceness)
		}
	}
}

// newRuleset handles everything that the kernel's version of Landlock knows: what is
// handled and not allowed is forbidden.
func newRuleset(abi int) (int, error) {
	bits := 13 // of version 1
	switch {
	case abi >= 5:
		bits = 16
	case abi >= 3:
		bits = 15
	case abi == 2:
		bits = 14
	}
	attr := struct{ fs, net, scoped uint64 }{fs: 1<<bits - 1}
	size := unsafe.Sizeof(attr.fs)
	if abi >= 4 {
		attr.net, size = 3, 2*size // bind and connect TCP
	}
	if abi >= 6 {
		attr.scoped, size = 3, unsafe.Sizeof(attr) // signals and abstract sockets of others
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// allowBelow leaves out what does not exist: it cannot be read anyway.
func allowBelow(rules int, path string, access uint64) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &^= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	runtime.KeepAlive(&beneath)
}

// limitProcess sets what the kernel lets a worker have beyond what it has at its
// start. The server does it from outside, so that nothing in the worker can be late.
func limitProcess(pid int, memoryBytes, cpuSeconds int64) error {
	size, data, err := processSize(pid)
	if err != nil {
		return err
	}
	// If the machine runs out of memory, a worker goes first.
	_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj"), []byte("1000"), 0)
	set := func(resource int, limit uint64) error {
		return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
	return errors.Join(
		set(unix.RLIMIT_DATA, data+uint64(memoryBytes)),
		set(unix.RLIMIT_AS, size+2*uint64(memoryBytes)+8<<30), // address space that is not memory: arenas, stacks
		set(unix.RLIMIT_CPU, uint64(cpuSeconds)),
		set(unix.RLIMIT_FSIZE, 0),
		set(unix.RLIMIT_CORE, 0),
		set(unix.RLIMIT_NOFILE, 4096),
	)
}

// processSize returns the address space and the private writable memory of a process.
func processSize(pid int) (size, data uint64, err error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			continue
		}
		kib, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmSize":
			size = kib << 10
		case "VmData":
			data = kib << 10
		}
	}
	return size, data, nil
}

// processorTime is what a process has used of the processors, all its threads together; 0 if
// it is gone.
func processorTime(pid int) time.Duration {
	const schedule = 2 // CPUCLOCK_SCHED: of a process by its ID, as clock_getcpuclockid(3) makes it
	var used unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|schedule), &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}

// usedCPU is the processor time of this process.
func usedCPU() (seconds int64) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Utime.Sec + usage.Stime.Sec
}
