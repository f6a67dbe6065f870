package query

import (
	"sync"
	"sync/atomic"
	"time"
)

// A large answer is work for the server too, which passes it on, and for whoever reads it, both as
// nice as those who serve. So one goes at full speed up to unpacedBytes, and then at a pace that leaves
// them the processors.
const (
	unpacedBytes   = 64 << 20
	bytesPerSecond = 256 << 20
)

// While others are served, answers give way to them: beyond the first bytes of each, all of them
// together go at a pace that others hardly notice, and in pieces so small that none of them keeps
// a processor for long.
const (
	ungivenBytes        = 2 << 20
	givenBytesPerSecond = 8 << 20 // for each processor
	givenPieceBytes     = 128 << 10
	patientBytes        = 8 << 20 // of one that gives way are made as all requests are; see [patience]
)

// How long somebody who was served is taken to be about to ask again. Who reads online now and then
// leaves the time between to large answers; a SELECT may run for all of its second.
const (
	sinceOnline = 100 * time.Millisecond
	sinceSelect = time.Second
)

// others are those who are served besides a large answer, and the pace of all such answers
// together while there are some.
type others struct {
	sinceServed func() time.Duration // without SELECTs; nil if nobody knows
	perSecond   float64

	lastSelect atomic.Pointer[time.Time] // when one began

	mu   sync.Mutex
	next time.Time // when what was let go so far has had its time
}

// newOthers is for so many processors, of which Go may have been told that there are more.
func newOthers(sinceServed func() time.Duration, processors int) *others {
	return &others{sinceServed: sinceServed, perSecond: float64(givenBytesPerSecond * processors)}
}

// selects notes that a SELECT of somebody begins.
func (o *others) selects(now time.Time) { o.lastSelect.Store(&now) }

// served reports whether others than an answer that began at that time are served.
func (o *others) served(now, began time.Time) bool {
	if o.sinceServed != nil && o.sinceServed() < sinceOnline {
		return true
	}
	last := o.lastSelect.Load()
	return last != nil && last.After(began) && now.Sub(*last) < sinceSelect
}

// piece is how many bytes of an answer that began at that time are sent at once.
func (o *others) piece(now, began time.Time) int64 {
	if o.served(now, began) {
		return givenPieceBytes
	}
	return batchBytes
}

// rest is how long to wait before so many more bytes are sent.
func (o *others) rest(now time.Time, bytes int64) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next.Before(now) {
		o.next = now
	}
	due := o.next
	o.next = due.Add(time.Duration(float64(bytes) / o.perSecond * float64(time.Second)))
	return due.Sub(now)
}

// answerPace is how far an answer is.
type answerPace struct {
	others *others
	began  time.Time
	sent   int64
	given  int64     // of these gave way
	paced  time.Time // when the bytes beyond unpacedBytes began
}

// rest is how long to wait before so many more bytes are sent.
func (p *answerPace) rest(now time.Time, bytes int64) (wait time.Duration) {
	before := p.sent
	p.sent += bytes
	if before >= ungivenBytes && p.others.served(now, p.began) {
		wait = p.others.rest(now, bytes)
		p.given += bytes
	}
	if before < unpacedBytes {
		p.paced = now
		return wait
	}
	due := p.paced.Add(time.Duration(float64(before-unpacedBytes) / bytesPerSecond * float64(time.Second)))
	return max(due.Sub(now), wait)
}
