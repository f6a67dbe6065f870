package query

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// admission shares the memory of a DB among the requests that run at the same time. Who
// comes first is let in first, so that no request, however big, waits for ever.
type admission struct {
	total   int64
	waiting int           // how many may wait
	patient time.Duration // how long each may

	mu    sync.Mutex
	free  int64
	queue list.List // of *waiter
}

// waiter is a request that waits for memory.
type waiter struct {
	bytes    int64
	admitted chan struct{} // closed with the memory taken
}

func newAdmission(total int64, waiting int, patient time.Duration) *admission {
	return &admission{total: total, free: total, waiting: waiting, patient: patient}
}

// admit waits until bytes of the memory are free, or all of it if bytes is more, and takes
// them. release, which may be called twice, gives them back. It fails with Exhausted if
// too many requests wait already or the wait takes too long.
func (a *admission) admit(ctx context.Context, bytes int64) (release func(), err error) {
	bytes = min(bytes, a.total)
	give := sync.OnceFunc(func() { a.give(bytes) })
	w, err := a.enter(bytes)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return give, nil
	}
	late := time.NewTimer(a.patient)
	defer late.Stop()
	select {
	case <-w.value().admitted:
		return give, nil
	case <-ctx.Done():
		err = stopped(ctx.Err())
	case <-late.C:
		err = a.exhausted("none was free in " + a.patient.String())
	}
	if !a.leave(w) { // it was admitted just now
		give()
	}
	return nil, err
}

// more takes memory that a request needs while it runs, if it is free now. It does not wait:
// two requests that have memory and wait for more could do so for ever.
func (a *admission) more(bytes int64) (release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes > a.free {
		return nil, driftline.Errorf(driftline.Exhausted, "the events that one entity's windows are computed from need %d MiB more than queries have left", bytes>>20).
			WithHint("ask for fewer times of one entity in a request, for shorter windows, or give the server more memory")
	}
	a.free -= bytes
	return sync.OnceFunc(func() { a.give(bytes) }), nil
}

// place is a waiter's place in the queue.
type place struct{ *list.Element }

func (p *place) value() *waiter { return p.Value.(*waiter) }

// enter takes the memory if it is free and nobody waits, and otherwise returns a place in
// the queue.
func (a *admission) enter(bytes int64) (*place, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue.Len() == 0 && a.free >= bytes {
		a.free -= bytes
		return nil, nil
	}
	if a.queue.Len() >= a.waiting {
		return nil, a.exhausted("too many requests wait for it")
	}
	return &place{a.queue.PushBack(&waiter{bytes: bytes, admitted: make(chan struct{})})}, nil
}

func (a *admission) exhausted(why string) error {
	return driftline.Errorf(driftline.Exhausted, "the memory for queries is used up: %s", why).
		WithHint("try again in a few seconds, or send fewer requests at a time")
}

// leave takes a waiter out of the queue, and returns false if it was admitted already.
func (a *admission) leave(p *place) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-p.value().admitted:
		return false
	default:
	}
	a.queue.Remove(p.Element)
	a.letIn()
	return true
}

func (a *admission) give(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free += bytes
	a.letIn()
}

// letIn admits from the front of the queue as many as there is memory for.
func (a *admission) letIn() {
	for front := a.queue.Front(); front != nil; front = a.queue.Front() {
		w := front.Value.(*waiter)
		if w.bytes > a.free {
			return
		}
		a.free -= w.bytes
		a.queue.Remove(front)
		close(w.admitted)
	}
}

// Requests beyond those that fit wait, so many and so long, before they are refused.
const (
	mostWaiting = 64
	longestWait = 30 * time.Second
)

// admit waits for a share of the memory that all queries of db have together. The caller
// releases it.
func (db *DB) admit(ctx context.Context, bytes int64) (release func(), err error) {
	return db.memory.admit(ctx, bytes)
}

// sharesOfMemory is how many requests run at the same time if each takes its share.
const sharesOfMemory = 4

// requestBytes is the share of one request.
func (o *Options) requestBytes() int64 { return o.MemoryBytes / sharesOfMemory }
