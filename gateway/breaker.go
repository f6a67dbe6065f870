package gateway

import (
	"sync"
	"time"
)

// A circuit opens after tripAfter failures in a row, for firstOpen and then twice as long
// each time, and lets one request through to see.
const (
	tripAfter = 5
	firstOpen = time.Second
	mostOpen  = 30 * time.Second
)

// breaker keeps requests from a server that does not answer. Failures are those to reach it:
// one that answers nonsense at once keeps nobody waiting.
type breaker struct {
	mu       sync.Mutex
	failures int           // in a row
	until    time.Time     // it is open; zero while it is closed
	open     time.Duration // how long it was open last
	probing  bool
}

// allow reports whether a request may go out. One that may is followed by settle.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true
	case b.probing || now.Before(b.until):
		return false
	}
	b.probing = true
	return true
}

// settle takes what became of a request, and reports whether the circuit opened or closed by it.
func (b *breaker) settle(now time.Time, ok bool) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, probe := !b.until.IsZero(), b.probing
	b.probing = false
	switch {
	case ok:
		b.failures, b.until, b.open = 0, time.Time{}, 0
		return was
	case was && !probe: // it went out before the circuit opened
		return false
	}
	if b.failures++; !was && b.failures < tripAfter {
		return false
	}
	b.open = min(mostOpen, max(firstOpen, 2*b.open))
	b.until = now.Add(b.open)
	return !was
}

// isOpen reports whether requests are kept back.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero()
}
