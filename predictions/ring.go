package predictions

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// Limits bound what a ring holds.
type Limits struct {
	Rows  int
	Bytes int64 // as [Size] counts them
}

// DefaultLimits of a log: some seconds of a busy model.
var DefaultLimits = Limits{Rows: 1 << 16, Bytes: 64 << 20}

// Reason says why a record was dropped.
type Reason string

// The reasons.
const (
	Full    Reason = "full"    // the ring was, and this was the oldest, or there was no room for it at all
	Sampled Reason = "sampled" // by [driftline.Sample], since the ring was full
	Gone    Reason = "gone"    // whoever offered it did not wait for room any longer
	Refused Reason = "refused" // the log's view does not take it
	Closed  Reason = "closed"  // the server stopped and could not write it any more
)

// Reasons lists all of them.
var Reasons = []Reason{Full, Sampled, Gone, Refused, Closed}

// Ring holds records that wait to be written. One goroutine takes them out, batch by batch,
// and any number put them in.
type Ring struct {
	limits Limits

	mu       sync.Mutex
	waiting  []entry // from head on
	head     int
	bytes    int64  // of all that is held
	flight   *Batch // that was taken and is not settled; nil if none is
	counts   driftline.LogCounts
	seen     recent
	closed   bool
	burst    int           // how many came, and waited, since a sample was first needed
	urgent   bool          // somebody waits for what is in it
	changed  chan struct{} // a token: there may be something to take
	released chan struct{} // closed, and replaced, when room is made
}

type entry struct {
	record  driftline.PredictionRecord
	bytes   int64
	hash    uint64    // by which it is known again
	tickets []*Ticket // of those who wait for it
}

func (e *entry) wait(t *Ticket) {
	if t != nil {
		t.left++
		e.tickets = append(e.tickets, t)
	}
}

func (e *entry) settle(err error) {
	for _, t := range e.tickets {
		settle(t, err)
	}
}

// NewRing returns an empty ring.
func NewRing(limits Limits) *Ring {
	return &Ring{limits: limits, changed: make(chan struct{}, 1), released: make(chan struct{}),
		counts: driftline.LogCounts{Dropped: map[string]int64{}}}
}

// Ticket is what somebody waits for: that records are written.
type Ticket struct {
	left int // guarded by the ring's mu, as err
	err  error
	done chan struct{}
}

// Wait returns when all records are durable, or one of them never will be.
func (t *Ticket) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Offer puts records in, as far as the policy lets it, and counts those that it drops. It
// keeps the records: what they hold must not change afterwards. It returns those that it was
// not offered before, and, with wait set, a ticket to wait for: also for records that were
// offered twice and are still being written. An error means that the ring was closed, and that
// none was counted.
func (r *Ring) Offer(ctx context.Context, records []driftline.PredictionRecord, overflow driftline.LogOverflow, wait bool) (fresh []driftline.PredictionRecord, ticket *Ticket, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, driftline.Errorf(driftline.Unavailable, "the server is stopping").WithHint("try again when it is up")
	}
	if wait {
		ticket = &Ticket{left: 1, done: make(chan struct{})} // 1: until all were offered
		r.urgent = true
	}
	fresh = records
	for i := range records {
		hash, before := r.seen.meet(&records[i])
		if before != never {
			fresh = without(fresh, records, i)
		}
		if before == kept {
			r.counts.Duplicates++
			if wait {
				r.attach(ticket)
			}
			continue
		}
		if before == never {
			r.counts.Served++
		} else {
			r.counts.Dropped[string(r.seen.reason(hash))]-- // it is offered once more, and is still one
		}
		e := entry{record: records[i], bytes: Size(&records[i]), hash: hash}
		e.wait(ticket)
		switch reason := r.admit(ctx, &e, overflow); reason {
		case "":
			r.waiting = append(r.waiting, e)
			r.bytes += e.bytes
		case taken:
		default:
			r.drop(e, reason)
		}
	}
	settle(ticket, nil)
	r.signal()
	return fresh, ticket, nil
}

// without is records so far but for number i. It copies when it leaves out the first.
func without(fresh, records []driftline.PredictionRecord, i int) []driftline.PredictionRecord {
	skipped := len(records) - len(fresh)
	if skipped == 0 {
		fresh = append(make([]driftline.PredictionRecord, 0, len(records)-1), records[:i]...)
		return append(fresh, records[i+1:]...)
	}
	at := i - skipped
	return append(fresh[:at], fresh[at+1:]...)
}

// attach makes a ticket wait for all that is held.
func (r *Ring) attach(t *Ticket) {
	for i := r.head; i < len(r.waiting); i++ {
		r.waiting[i].wait(t)
	}
	if r.flight != nil {
		for i := range r.flight.entries {
			r.flight.entries[i].wait(t)
		}
	}
}

// admit makes room for an entry, or says why there is none.
func (r *Ring) admit(ctx context.Context, e *entry, overflow driftline.LogOverflow) Reason {
	switch {
	case e.bytes > r.limits.Bytes:
		return Full
	case overflow == driftline.Sample:
		return r.sample(e)
	case overflow == driftline.Block:
		return r.await(ctx, e.bytes)
	}
	for !r.fits(e.bytes) {
		if r.head == len(r.waiting) { // what is left is being written
			return Full
		}
		r.drop(r.pop(), Full)
	}
	return ""
}

func (r *Ring) held() int {
	n := len(r.waiting) - r.head
	if r.flight != nil {
		n += len(r.flight.entries)
	}
	return n
}

func (r *Ring) fits(bytes int64) bool {
	return r.held() < r.limits.Rows && r.bytes+bytes <= r.limits.Bytes
}

// sample admits all while there is room. Then what waits becomes an even sample of all that
// came since: the new one takes the place of one drawn at random, or none.
func (r *Ring) sample(e *entry) Reason {
	if r.fits(e.bytes) {
		r.burst = 0
		return ""
	}
	waiting := r.waiting[r.head:]
	r.burst = max(r.burst, len(waiting)) + 1
	at := rand.IntN(r.burst)
	if at >= len(waiting) || r.bytes-waiting[at].bytes+e.bytes > r.limits.Bytes {
		return Sampled
	}
	old := waiting[at]
	r.bytes += e.bytes - old.bytes
	waiting[at] = *e
	r.drop(old, Sampled)
	return taken
}

// taken says that an entry has its place already.
const taken Reason = "taken"

// await waits for room.
func (r *Ring) await(ctx context.Context, bytes int64) Reason {
	for !r.fits(bytes) {
		if r.closed {
			return Closed
		}
		released := r.released
		r.signal()
		r.mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil && !r.fits(bytes) {
			return Gone
		}
	}
	return ""
}

func (r *Ring) pop() entry {
	e := r.waiting[r.head]
	r.waiting[r.head] = entry{}
	r.head++
	if r.head == len(r.waiting) {
		r.waiting, r.head = r.waiting[:0], 0
	} else if r.head > len(r.waiting)/2 { // amortized: each entry is moved at most once per pop
		n := copy(r.waiting, r.waiting[r.head:])
		clear(r.waiting[n:])
		r.waiting, r.head = r.waiting[:n], 0
	}
	r.bytes -= e.bytes
	return e
}

func (r *Ring) drop(e entry, reason Reason) {
	r.counts.Dropped[string(reason)]++
	r.seen.dropped(e.hash, reason)
	e.settle(driftline.Errorf(driftline.Exhausted, "a prediction was not logged: %s", because[reason]).
		WithHint("driftline predictions MODEL counts what was dropped; log less, or let the log block"))
}

var because = map[Reason]string{
	Full:    "the log is written more slowly than predictions come",
	Sampled: "the log is full, and keeps a sample of what comes",
	Gone:    "the caller did not wait for room in the log",
	Refused: "the log's feature view does not take it",
	Closed:  "the server is stopping",
}

// settle tells a ticket that one of its records is written, or never will be.
func settle(t *Ticket, err error) {
	if t == nil {
		return
	}
	if t.err == nil {
		t.err = err
	}
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

func (r *Ring) signal() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Batch is records that were taken, until Logged or Dropped settles them.
type Batch struct {
	Records []driftline.PredictionRecord
	ring    *Ring
	entries []entry
}

// Take waits for records and takes at most rows and about bytes of them: after linger, or sooner
// if there are so many or somebody waits for them. It returns nil once the ring is closed
// and empty.
func (r *Ring) Take(rows int, bytes int64, linger time.Duration) *Batch {
	for {
		r.mu.Lock()
		if n := len(r.waiting) - r.head; n > 0 {
			if linger > 0 && !r.urgent && !r.closed && n < rows && r.bytes < bytes && !r.crowded() {
				r.mu.Unlock()
				r.pause(linger)
				linger = 0
				continue
			}
			batch := r.take(min(n, rows), bytes)
			r.mu.Unlock()
			return batch
		}
		closed := r.closed
		r.mu.Unlock()
		if closed {
			return nil
		}
		<-r.changed
	}
}

// crowded reports whether there is too little room to let records gather.
func (r *Ring) crowded() bool {
	return r.held() >= r.limits.Rows/4 || r.bytes >= r.limits.Bytes/4
}

// pause waits until more cannot be wanted: for the time, or until the ring has much or is closed.
func (r *Ring) pause(linger time.Duration) {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-r.changed:
			r.mu.Lock()
			enough := r.urgent || r.closed || r.crowded()
			r.mu.Unlock()
			if enough {
				return
			}
		}
	}
}

func (r *Ring) take(rows int, bytes int64) *Batch {
	b := &Batch{ring: r, Records: make([]driftline.PredictionRecord, 0, rows), entries: make([]entry, 0, rows)}
	var size int64
	for len(b.entries) < rows && (size == 0 || size < bytes) && r.head < len(r.waiting) {
		e := r.pop()
		r.bytes += e.bytes // it is still held
		size += e.bytes
		b.entries, b.Records = append(b.entries, e), append(b.Records, e.record)
	}
	r.flight = b
	if r.head == len(r.waiting) {
		r.urgent = false
	}
	return b
}

// Logged settles a batch whose records are durable.
func (b *Batch) Logged() {
	b.settle(func(e entry) {
		b.ring.counts.Logged++
		e.settle(nil)
	})
}

// Dropped settles a batch whose records cannot be written.
func (b *Batch) Dropped(reason Reason) {
	b.settle(func(e entry) { b.ring.drop(e, reason) })
}

func (b *Batch) settle(each func(entry)) {
	r := b.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range b.entries {
		r.bytes -= e.bytes
		each(e)
	}
	b.entries, r.flight = nil, nil
	close(r.released)
	r.released = make(chan struct{})
}

// Close lets nothing more in. What is in the ring can still be taken.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.signal()
	close(r.released)
	r.released = make(chan struct{})
}

// Counts returns what became of all records so far.
func (r *Ring) Counts() driftline.LogCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Waiting, c.WaitingBytes = int64(r.held()), r.bytes
	c.Dropped = make(map[string]int64, len(r.counts.Dropped))
	for reason, n := range r.counts.Dropped {
		c.Dropped[reason] = n
	}
	return c
}

// Direct counts rows that were written past the ring, by somebody who waited for it.
func (r *Ring) Direct(rows int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Served += rows
	r.counts.Logged += rows
}

var seed = maphash.MakeSeed()

// remembered is how many records a log knows again, at least.
const remembered = 1 << 17

// recent knows the records of a while again, by a hash of ID and time. Two records of one hash
// are so rare (once in 10^14) that they are taken for one.
type recent struct{ young, old map[uint64]fate }

// fate is what became of a record.
type fate uint8

// It is waiting or logged, or, from dropped on, was dropped for the reason of that number.
const (
	never fate = iota
	kept
	firstDropped
)

// meet notes that a record is offered, and returns what became of it before.
func (s *recent) meet(r *driftline.PredictionRecord) (hash uint64, before fate) {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(r.ID)
	maphash.WriteComparable(&h, r.Time.UnixMicro())
	hash = h.Sum64()
	if before = s.of(hash); before == kept {
		return hash, before
	}
	if s.young == nil || len(s.young) >= remembered {
		s.young, s.old = map[uint64]fate{}, s.young
	}
	if before == never {
		s.young[hash] = kept
	}
	return hash, before
}

func (s *recent) of(hash uint64) fate {
	if f, ok := s.young[hash]; ok {
		return f
	}
	return s.old[hash]
}

func (s *recent) set(hash uint64, f fate) {
	if _, ok := s.old[hash]; ok {
		s.old[hash] = f
	} else if s.young != nil {
		s.young[hash] = f
	}
}

func (s *recent) dropped(hash uint64, reason Reason) {
	s.set(hash, firstDropped+fate(slices.Index(Reasons, reason)))
}

// reason is why a record was dropped, which is then forgotten: it is kept from now on.
func (s *recent) reason(hash uint64) Reason {
	reason := Reasons[s.of(hash)-firstDropped]
	s.set(hash, kept)
	return reason
}

// Size is about how many bytes of memory a record takes.
func Size(r *driftline.PredictionRecord) int64 {
	const fixed, each = 400, 48
	n := fixed + len(r.ID) + len(r.Key) + len(r.Output) + bytesOf(r.Entity) + bytesOf(r.Features)
	return int64(n + each*(len(r.Entity)+len(r.Features)+len(r.Values)))
}
