package flight

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// leastHeld is the least part that is sent from where it lies; smaller ones are
	// cheaper to copy.
	leastHeld = 4 << 10

	// gatheredBytes wait at most on one connection while as many are written.
	gatheredBytes = 1 << 20

	// Room for what is copied is made anew when it is full, each time twice as much.
	leastRoom, mostRoom = 4 << 10, 256 << 10

	// lastWords is how long a connection that is closed may take to send what waits,
	// such as why it is closed.
	lastWords = time.Second
)

// gatheringListener makes wires of its connections.
type gatheringListener struct {
	net.Listener
	lender  *lender
	senders *sync.WaitGroup
}

func (l gatheringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := newWire(conn, l.lender)
	l.senders.Go(w.send)
	return w, nil
}

// wire is a connection that gathers what gRPC writes to it, and sends all of it with one
// call, the large parts from where they lie. gRPC's own buffer does the first, but
// copies everything, which costs as much as the kernel's work.
//
// The memory of an argument of Write is the caller's again when Write returns. So what is
// sent later is copied, unless it is memory that was lent: that is ours, nobody changes
// it, and the wire holds the loan. This is true whatever gRPC does with its buffers.
type wire struct {
	net.Conn
	lender *lender

	mu       sync.Mutex
	changed  sync.Cond
	gathered gathered // waits for the sender
	closed   bool
	err      error // of the sender: nothing more can be sent
}

func newWire(conn net.Conn, lender *lender) *wire {
	w := &wire{Conn: conn, lender: lender}
	w.changed.L = &w.mu
	return w
}

// Write takes what is to be sent. It waits while there is much of it already. An error
// is of what was written before.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && !w.closed && w.gathered.bytes >= gatheredBytes {
		w.changed.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.closed {
		return 0, net.ErrClosed
	}
	var held *loan
	if len(p) >= leastHeld {
		held = w.lender.hold(p)
	}
	w.gathered.add(p, held)
	w.changed.Broadcast()
	return len(p), nil
}

// send writes what is gathered until the wire is closed and nothing waits. Then it
// closes the connection.
func (w *wire) send() {
	defer w.Conn.Close()
	var out gathered
	for w.next(&out) {
		parts := out.all()
		_, err := parts.WriteTo(w.Conn)
		out.clear()
		if err != nil {
			w.fail(err)
		}
	}
}

// next waits for something to send and exchanges it with out, which is empty. It
// returns false at the end.
func (w *wire) next(out *gathered) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.gathered.bytes == 0 && !w.closed {
		w.changed.Wait()
	}
	*out, w.gathered = w.gathered, *out
	w.changed.Broadcast()
	return out.bytes > 0
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.gathered.clear()
	w.changed.Broadcast()
}

// Close ends reading at once, and the connection when what waits is sent, or the other
// side does not take it.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
	now := time.Now()
	return errors.Join(w.SetReadDeadline(now), w.SetWriteDeadline(now.Add(lastWords)))
}

// gathered is what is written with one call.
type gathered struct {
	parts net.Buffers
	small []byte // has room for parts that are copied
	begin int    // in small: of what is not yet a part
	held  []*loan
	bytes int
}

// add appends p. The loan is what p is part of; nil if p must be copied.
func (g *gathered) add(p []byte, held *loan) {
	g.bytes += len(p)
	if held != nil {
		g.cut()
		g.parts, g.held = append(g.parts, p), append(g.held, held)
		return
	}
	if len(p) > cap(g.small)-len(g.small) {
		g.cut()
		room := min(max(leastRoom, 2*cap(g.small)), mostRoom)
		g.small, g.begin = make([]byte, 0, max(room, len(p))), 0
	}
	g.small = append(g.small, p...)
}

// cut makes a part of what was copied since the last.
func (g *gathered) cut() {
	if end := len(g.small); end > g.begin {
		g.parts, g.begin = append(g.parts, g.small[g.begin:end]), end
	}
}

// all returns the parts. Writing them consumes the result, and not g.
func (g *gathered) all() net.Buffers {
	g.cut()
	return g.parts
}

// clear ends the holds and leaves the memory for the next.
func (g *gathered) clear() {
	for _, held := range g.held {
		held.drop()
	}
	clear(g.parts)
	clear(g.held)
	*g = gathered{parts: g.parts[:0], small: g.small[:0], held: g.held[:0]}
}
