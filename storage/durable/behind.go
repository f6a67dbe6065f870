package durable

import "os"

// behindBytes is how much is written to a file before the disk is told to begin with it.
const behindBytes = 8 << 20

// behind is a file whose bytes begin their way to the disk while more are written, so that
// the fsync at the end of a large file has little left to wait for.
type behind struct {
	file           *os.File
	written, begun int64
}

func (b *behind) Write(p []byte) (int, error) {
	n, err := b.file.Write(p)
	b.written += int64(n)
	if b.written-b.begun >= behindBytes {
		beginWriteback(b.file, b.begun, b.written-b.begun)
		b.begun = b.written
	}
	return n, err
}
