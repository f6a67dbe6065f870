package kv

import (
	"os"
	"syscall"
)

// datasync makes what was written into a file of settled size survive power loss, and
// leaves its times to the kernel. To write those, fsync makes the file system's journal
// commit, and whoever writes to the file meanwhile waits for that.
func datasync(file *os.File) error {
	for {
		if err := syscall.Fdatasync(int(file.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
