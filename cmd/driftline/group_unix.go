//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// setGroup starts a program in a group of its own, all of which ends with it: a server may
// have workers.
func setGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
}
