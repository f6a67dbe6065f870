package executor

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// startGroup starts a program in a process group of its own, which dies with this process, and
// yields how it ended. memory bounds the address space of each of its processes, 0 does not.
func startGroup(c *exec.Cmd, memory int64) (ended <-chan error, err error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan error, 1)
	go func() {
		// The signal of a parent's death comes when the thread ends that started the program. It is not
		// unlocked, so that it ends with this: nobody but root could give it back its niceness.
		runtime.LockOSThread()
		yieldProcessors()
		if err := c.Start(); err != nil {
			started <- err
			return
		}
		limit(c.Process.Pid, memory)
		started <- nil
		done <- c.Wait()
	}()
	return done, <-started
}

// jobNiceness is that of a training command above its server's. Beside a server that is busy it gets a
// tenth of a processor; SELECTs that take long, which are nicer still, a ninth beside it.
const jobNiceness = 10

// yieldProcessors has this thread, and what it starts, leave the processors to who serves and to short
// SELECTs.
func yieldProcessors() {
	if priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil { // of the kernel, 20 less the niceness
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-priority+jobNiceness)
	}
}

// limit bounds what a process can use. One that has ended already needs no bounds.
func limit(pid int, memory int64) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	if memory > 0 {
		most := uint64(memory)
		_ = unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
}

// signalGroup asks the processes of a program's group to end, or ends them. A group that is
// gone is as it should be.
func signalGroup(c *exec.Cmd, now bool) {
	s := syscall.SIGTERM
	if now {
		s = syscall.SIGKILL
	}
	_ = syscall.Kill(-c.Process.Pid, s)
}
