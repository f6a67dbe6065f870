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
