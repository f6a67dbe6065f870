package durable

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

const (
	// behindBytes is how much is written to a file before the disk is told to begin with it.
	behindBytes = 8 << 20

	// pastBytes is how much of a file is kept in the page cache if the rest goes past it.
	pastBytes = 32 << 20

	// blockBytes is what a piece that goes past the page cache is a multiple of: its length, its place
	// in the file and in memory.
	blockBytes = 4096
)

// behind is a file whose bytes begin their way to the disk while more are written, so that
// the fsync at the end of a large file has little left to wait for.
type behind struct {
	file           *os.File
	written, begun int64
	past           bool // what comes after pastBytes goes past the page cache
	direct         bool // that is how the file is open now
}

func (b *behind) Write(p []byte) (int, error) {
	b.setDirect(b.past && b.written >= pastBytes && isBlocks(p, b.written))
	n, err := b.file.Write(p)
	if b.direct && errors.Is(err, syscall.EINVAL) { // this disk wants larger blocks, or none
		b.past = false
		b.setDirect(false)
		var more int
		more, err = b.file.Write(p[n:])
		n += more
	}
	b.written += int64(n)
	if b.direct {
		b.begun = b.written
	}
	if b.written-b.begun >= behindBytes {
		beginWriteback(b.file, b.begun, b.written-b.begun)
		b.begun = b.written
	}
	return n, err
}

// setDirect lets writes go past the page cache or not. A file system that cannot is not asked again.
func (b *behind) setDirect(on bool) {
	if on == b.direct {
		return
	}
	if setDirect(b.file, on) {
		b.direct = on
	} else {
		b.past = false
	}
}

func isBlocks(p []byte, at int64) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return len(p) > 0 && (uint64(at)|uint64(len(p))|uint64(address))%blockBytes == 0
}
