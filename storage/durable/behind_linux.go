package durable

import (
	"os"
	"syscall"
)

const syncFileRangeWrite = 2 // SYNC_FILE_RANGE_WRITE: begin, and wait for nothing

// beginWriteback begins to write a part of a file to the disk. It is a hint: what fails is
// told by the fsync that follows, since this flag takes no error away from it.
func beginWriteback(file *os.File, from, length int64) {
	_ = syscall.SyncFileRange(int(file.Fd()), from, length, syncFileRangeWrite)
}

// setDirect reports whether writes to a file now go past the page cache, or through it, as told.
func setDirect(file *os.File, on bool) bool {
	flags, _, failed := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_GETFL, 0)
	if failed != 0 {
		return false
	}
	flags &^= syscall.O_DIRECT
	if on {
		flags |= syscall.O_DIRECT
	}
	_, _, failed = syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_SETFL, flags)
	return failed == 0
}
