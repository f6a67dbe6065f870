package durable

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// Relay passes bytes through stages, such as a hash and a file, one behind the other and each on a
// goroutine of its own: a core that computes a hash is not one that waits for the disk. Every
// stage is given all bytes, in their order, in pieces that it must not keep.
//
// Buffers of [HugeBytes] and more are of huge pages, where the system has them: a disk that is given four
// megabytes in two pieces does them at once, and in two hundred and fifty it may take several times as long.
//
// After a stage has failed none is given more. A relay belongs to one goroutine, which calls
// [Relay.Close] in every case.
type Relay struct {
	size, left int         // of a buffer; buffers that may still be made
	give       []func()    // give back the buffers that are not Go's memory
	filling    []byte      // nil if there is none
	filled     chan []byte // to the first stage
	free       chan []byte // from the last one
	ended      chan struct{}
	broken     atomic.Bool
	first      sync.Once
	err        error // of the stage that failed first
	closed     bool
}

// NewRelay begins a relay with buffers of that size, of which it makes so many at most, and not
// before it needs them.
func NewRelay(buffers, size int, stages ...func([]byte) error) *Relay {
	r := &Relay{
		size: size, left: buffers,
		filled: make(chan []byte, buffers), free: make(chan []byte, buffers), ended: make(chan struct{}),
	}
	in := r.filled
	for _, stage := range stages {
		out := make(chan []byte, buffers)
		go r.pass(in, out, stage)
		in = out
	}
	go func() {
		defer close(r.ended)
		for part := range in {
			r.free <- part[:0]
		}
	}()
	return r
}

// pass is a stage. No send waits: there are no more buffers than a channel has room for.
func (r *Relay) pass(in <-chan []byte, out chan<- []byte, stage func([]byte) error) {
	defer close(out)
	for part := range in {
		if !r.broken.Load() {
			if err := stage(part); err != nil {
				r.first.Do(func() { r.err = err })
				r.broken.Store(true)
			}
		}
		out <- part
	}
}

// Write copies p, which is the caller's again then. It never fails: what is written after a stage has
// failed is lost, and Close says why.
func (r *Relay) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		buffer := r.buffer()
		n := copy(buffer[len(buffer):cap(buffer)], rest)
		r.fill(buffer[:len(buffer)+n])
		rest = rest[n:]
	}
	return len(p), nil
}

// ReadFrom reads from until it ends, or until a stage has failed: nobody needs the rest then. Its
// error is that of from; Close says the stage's.
func (r *Relay) ReadFrom(from io.Reader) (total int64, err error) {
	for err == nil && !r.broken.Load() {
		buffer := r.buffer()
		var n int
		n, err = from.Read(buffer[len(buffer):cap(buffer)])
		r.fill(buffer[:len(buffer)+n])
		total += int64(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return total, err
}

// buffer is the one to be filled.
func (r *Relay) buffer() []byte {
	switch {
	case r.filling != nil:
	case r.left > 0 && len(r.free) == 0:
		r.filling, r.left = r.newBuffer(), r.left-1
	default:
		r.filling = <-r.free
	}
	return r.filling
}

func (r *Relay) newBuffer() []byte {
	if r.size >= HugeBytes {
		if buffer, give := hugeBuffer(r.size); buffer != nil {
			r.give = append(r.give, give)
			return buffer[:0]
		}
	}
	return make([]byte, 0, r.size)
}

// fill sends a buffer on if it is full.
func (r *Relay) fill(buffer []byte) {
	r.filling = buffer
	if len(buffer) == cap(buffer) {
		r.filled <- buffer
		r.filling = nil
	}
}

// Close waits until all bytes have passed all stages, and returns the error of the first that failed.
func (r *Relay) Close() error {
	if !r.closed {
		r.closed = true
		if len(r.filling) > 0 {
			r.filled <- r.filling
		}
		close(r.filled)
		<-r.ended
		r.filling = nil
		for _, give := range r.give {
			give()
		}
	}
	return r.err
}
