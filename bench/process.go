package main

import (
	"context"
	"os/exec"
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
