package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
)

// batcher joins requests for one model server that come while another is under way, so that
// the server answers their rows at once. Where nothing is under way nothing waits: what
// batches is load, and a request that comes alone is as fast as without. Whoever begins a
// batch sends it, so that there is no goroutine to own.
type batcher struct {
	most  int           // rows
	delay time.Duration // that the first request of a batch waits at most

	mu        sync.Mutex
	underway  int
	gathering *batch // nil for none
}

// batch is requests on their way together. Once it was let go nothing is added to it.
type batch struct {
	target *target
	parts  []*part
	rows   int
	leaves chan struct{} // closed when it is let go
}

type part struct {
	request *wire.Request
	answer  chan outcome // of capacity 1
}

// ask asks the server of t for the rows of r, together with others if they come at the same time.
func (b *batcher) ask(ctx context.Context, t *target, id string, r *wire.Request) outcome {
	began := time.Now()
	mine, at, leads := b.join(t, r)
	if leads {
		b.send(ctx, id, at)
	}
	o := <-mine.answer
	if o.fault == driftline.FaultRejected && len(at.parts) > 1 { // somebody's input, and nobody else's affair
		o = t.askAlone(ctx, id, r)
	}
	o.took = time.Since(began)
	return o
}

// join puts a request into the batch that gathers, or begins one, which its caller then sends.
func (b *batcher) join(t *target, r *wire.Request) (mine *part, at *batch, leads bool) {
	mine = &part{r, make(chan outcome, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if at = b.gathering; at == nil || at.target != t || at.rows+r.Rows > b.most || !at.parts[0].request.Joins(r) {
		b.letGo(at)
		at, leads = &batch{target: t, leaves: make(chan struct{})}, true
		b.gathering = at
	}
	at.parts, at.rows = append(at.parts, mine), at.rows+r.Rows
	if b.underway == 0 || at.rows == b.most {
		b.letGo(at)
	}
	return mine, at, leads
}

// letGo lets a batch leave, if it has not left; b.mu is held.
func (b *batcher) letGo(at *batch) {
	if at == nil || b.gathering != at {
		return
	}
	b.gathering = nil
	b.underway++
	close(at.leaves)
}

// returned lets those who waited for a batch leave.
func (b *batcher) returned() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.underway--
	b.letGo(b.gathering)
}

// send waits until a batch leaves, and tells each of its requests what came of it: a panic too.
func (b *batcher) send(ctx context.Context, id string, at *batch) {
	patience := time.NewTimer(b.delay)
	defer patience.Stop()
	select {
	case <-at.leaves:
	case <-patience.C:
		b.mu.Lock()
		b.letGo(at)
		b.mu.Unlock()
	}
	defer b.returned()
	defer func() {
		for _, p := range at.parts {
			select {
			case p.answer <- failed(driftline.FaultOurs, "internal error"):
			default: // it has its answer
			}
		}
	}()
	if len(at.parts) == 1 {
		at.parts[0].answer <- at.target.askAlone(ctx, id, at.parts[0].request)
		return
	}
	requests := make([]*wire.Request, len(at.parts))
	for i, p := range at.parts {
		requests[i] = p.request
	}
	all, from := at.target.askAlone(ctx, id, wire.Join(requests)), 0
	for _, p := range at.parts {
		o := all
		if all.answer != nil {
			o.answer = all.answer.Part(from, p.request.Rows, at.rows)
		}
		from += p.request.Rows
		p.answer <- o
	}
}
