package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// gcPace says how much garbage may gather before Go collects it. Go's own rule, as much as
// there is that lives, is wrong for a server with a small heap: it collects many times a
// second while it answers small requests. As much as would be right then is wrong for a
// server that has little to do, for it is never given back. So it goes by time: where
// collections come fast, more may gather before the next one, and less where they are rare.
type gcPace struct {
	mu      sync.Mutex
	allowed int64     // bytes of garbage
	last    time.Time // when was collected
	fixed   bool      // allowed stays
	stopped bool
	before  int // the percentage that it had
}

// The limits of the garbage, and when there is too little and too much of it.
const (
	leastGarbage = 12 << 20
	mostGarbage  = 256 << 20
	leastHeap    = 4 << 20 // that Go sees where less is alive
	tooSoon      = time.Second / 2
	tooRare      = 5 * time.Second
)

// startGCPace begins with the least garbage, and stays there until [gcPace.release]: much
// that is allocated while a data folder is opened is no sign of much work. It does nothing
// if GOGC says what to do.
func startGCPace() *gcPace {
	p := &gcPace{allowed: leastGarbage, last: time.Now(), fixed: true, before: -1}
	if os.Getenv("GOGC") != "" {
		p.stopped = true
		return p
	}
	p.before = debug.SetGCPercent(percentFor(leastGarbage, liveHeap()))
	p.arm()
	return p
}

// release lets the garbage follow the work.
func (p *gcPace) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed = false
}

// stop gives Go its own rule back.
func (p *gcPace) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.stopped = true
		debug.SetGCPercent(p.before)
	}
}

// collected is called after each collection.
func (p *gcPace) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	now, live := time.Now(), liveHeap()
	if !p.fixed {
		p.allowed = nextGarbage(p.allowed, live, now.Sub(p.last))
	}
	p.last = now
	debug.SetGCPercent(percentFor(p.allowed, live))
	p.arm()
}

// nextGarbage is how much may gather before the next collection, if so much was allowed
// before the one that came now.
func nextGarbage(allowed, live int64, since time.Duration) int64 {
	switch {
	case since < tooSoon:
		allowed *= 2
	case since > tooRare:
		allowed /= 2
	}
	return min(max(allowed, leastGarbage, live/4), max(mostGarbage, live))
}

func percentFor(garbage, live int64) int {
	return int(max(100*garbage/max(live, leastHeap), 1))
}

// arm has collected called after the next collection: then nothing refers to the watch.
func (p *gcPace) arm() {
	watch := &gcWatch{pace: p}
	runtime.SetFinalizer(watch, func(w *gcWatch) { w.pace.collected() })
}

// gcWatch is an object of its own, with a pointer: small ones without share their memory.
type gcWatch struct {
	pace *gcPace
	_    [4]uint64
}

// liveHeap is how much lived at the last collection, in bytes.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
