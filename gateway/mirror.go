package gateway

import (
	"context"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/routing"
)

// mirrors sends requests to an arm that does not answer them, once those that do have
// answered. What finds no room is dropped, counted, and logged without.
type mirrors struct {
	gateway *Gateway
	queue   chan *entry
	workers sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	mu     sync.RWMutex // guards closed, and queue from being sent to when it is
	closed bool
	bytes  int64 // of what waits, under mu's write lock by take
	limit  int64
	room   sync.Mutex
}

func newMirrors(g *Gateway, workers int) *mirrors {
	m := &mirrors{gateway: g, queue: make(chan *entry, workers*mirrorQueue), limit: g.options.MaxHeld / 4}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for range workers {
		m.workers.Go(m.work)
	}
	return m
}

// take has a request mirrored, if there is room. Never waits.
func (m *mirrors) take(e *entry) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	size := int64(len(e.call.request.Body))
	if m.closed || !m.reserve(size) {
		m.gateway.metrics.dropped(e)
		return false
	}
	select {
	case m.queue <- e:
		return true
	default:
		m.reserve(-size)
		m.gateway.metrics.dropped(e)
		return false
	}
}

// reserve takes room for bytes, or gives it back.
func (m *mirrors) reserve(size int64) bool {
	m.room.Lock()
	defer m.room.Unlock()
	if size > 0 && m.bytes+size > m.limit {
		return false
	}
	m.bytes += size
	return true
}

func (m *mirrors) work() {
	for e := range m.queue {
		m.one(e)
		m.reserve(-int64(len(e.call.request.Body)))
	}
}

func (m *mirrors) one(e *entry) {
	o := m.ask(e)
	if o == nil {
		m.gateway.metrics.dropped(e)
	} else {
		m.gateway.metrics.mirrored(e, o)
	}
	m.gateway.write(m.ctx, e, o)
}

// ask asks the other arm; nil if the gateway closes before it has answered.
func (m *mirrors) ask(e *entry) *outcome {
	if m.ctx.Err() != nil {
		return nil
	}
	other := routing.Decision{Version: e.decision.Mirror[0].Version}
	if len(e.decision.Mirror) > 1 {
		other.Versions = e.decision.Mirror
	}
	o, _, err := m.gateway.answer(m.ctx, e.call, other)
	if err != nil { // the request does not fit this version, and fitted the other
		o = failed(driftline.FaultRejected, "%v", err)
	}
	if m.ctx.Err() != nil && o.fault != "" {
		return nil
	}
	return &o
}

// close ends what is under way, and logs it and what waits without an answer.
func (m *mirrors) close() {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return
	}
	m.cancel()
	close(m.queue)
	m.workers.Wait()
}
