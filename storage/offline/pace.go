package offline

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// Pace bounds how many bytes a second background work reads and writes: all work together
// that is given it. A nil Pace bounds nothing. It may be used concurrently.
type Pace struct {
	bytesPerSecond int64

	mu  sync.Mutex
	due time.Time // when what was moved so far is paid for
}

// NewPace is the pace of so many bytes a second, nil if that is 0 or less.
func NewPace(bytesPerSecond int64) *Pace {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &Pace{bytesPerSecond: bytesPerSecond}
}

// moved waits until n bytes more than before are paid for, or the context ends. A pause
// is not made up for later: after it the disk is as busy with others as it was before.
func (p *Pace) moved(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.bytesPerSecond) * float64(time.Second)))
	paid := time.NewTimer(time.Until(p.due))
	p.mu.Unlock()
	defer paid.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-paid.C:
		return nil
	}
}

// pacedFile is a file that is read at a pace.
type pacedFile struct {
	*os.File
	ctx  context.Context
	pace *Pace
}

func (f *pacedFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if stopped := f.pace.moved(f.ctx, n); stopped != nil {
		return n, stopped
	}
	return n, err
}

// pacedWriter writes to another writer at a pace.
type pacedWriter struct {
	ctx  context.Context
	pace *Pace
	out  io.Writer
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.pace.moved(w.ctx, n)
}
