package offline

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
)

const (
	// behindBytes is how much is handed over at a time: large enough that a system call
	// for it and waking another goroutine cost nothing beside it.
	behindBytes   = 1 << 20
	behindBuffers = 3 // one is filled, one is written, one waits
)

// behind writes a file and computes its hash behind the back of whoever makes it, on
// another core if there is one. What it is given it copies. After an error it takes all
// that comes and writes nothing more; finish says what it was.
type behind struct {
	filling []byte
	full    chan []byte
	free    chan []byte
	written chan written
}

// written is what became of a file.
type written struct {
	hash  string // the file's name, see [File]
	bytes int64
	err   error
}

// writeBehind begins to write to out. The caller calls finish in every case.
func writeBehind(out io.Writer) *behind {
	b := &behind{full: make(chan []byte, behindBuffers), free: make(chan []byte, behindBuffers), written: make(chan written, 1)}
	for range behindBuffers {
		b.free <- make([]byte, 0, behindBytes)
	}
	b.filling = <-b.free
	go func() { b.written <- b.drain(out) }()
	return b
}

func (b *behind) drain(out io.Writer) (w written) {
	hash := sha256.New()
	for part := range b.full {
		if w.err == nil {
			_, w.err = out.Write(part)
			hash.Write(part)
			w.bytes += int64(len(part))
		}
		b.free <- part[:0]
	}
	w.hash = hex.EncodeToString(hash.Sum(nil)[:hashBytes])
	return w
}

// Write never fails: see finish.
func (b *behind) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(b.filling[len(b.filling):cap(b.filling)], rest)
		b.filling, rest = b.filling[:len(b.filling)+n], rest[n:]
		if len(b.filling) == cap(b.filling) {
			b.full <- b.filling
			b.filling = <-b.free
		}
	}
	return len(p), nil
}

// finish waits until all is written. Nothing may be written after it.
func (b *behind) finish() written {
	b.full <- b.filling
	close(b.full)
	return <-b.written
}
