package local

import "syscall"

// ownGroup puts a program into a process group of its own, and has it die with us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
