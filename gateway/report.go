package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/driftline/driftline"
)

// reports tells rollouts how the servers of their candidates are. It does so from a goroutine of
// its own, because what it tells is written to disk.
type reports struct {
	gateway *Gateway
	moved   chan *backend
	cancel  context.CancelFunc
	worker  sync.WaitGroup
}

// lookEvery is how often candidates that wait to be loaded are asked whether they are ready.
const lookEvery = time.Second

func newReports(g *Gateway) *reports {
	const waiting = 256
	ctx, cancel := context.WithCancel(context.Background())
	r := &reports{gateway: g, moved: make(chan *backend, waiting), cancel: cancel}
	r.worker.Go(func() { r.work(ctx) })
	return r
}

// circuitMoved is called from requests, and does not wait: a circuit that moves again
// is reported again.
func (g *Gateway) circuitMoved(b *backend) {
	g.log.Warn("circuit of a model server", "model", b.ref.String(), "open", b.breaker.isOpen())
	select {
	case g.reports.moved <- b:
	default:
	}
}

func (r *reports) work(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-r.moved:
			r.circuit(b)
		case <-tick.C:
			r.look(ctx)
		}
	}
}

func (r *reports) circuit(b *backend) {
	var failure error
	if b.breaker.isOpen() {
		failure = driftline.Errorf(driftline.Unavailable, "its server failed %d times in a row", tripAfter)
	}
	if version, ok := b.number(); ok {
		r.gateway.engine.ReportModelServer(driftline.ModelName(b.ref.Name), version, failure)
	}
}

// look asks the servers of candidates that wait to be loaded. One that is not ready yet is
// no failure: its rollout has a deadline of its own.
func (r *reports) look(ctx context.Context) {
	for _, waits := range r.gateway.engine.Registry().Rollouts("") {
		if waits.Phase != driftline.RolloutPending {
			continue
		}
		t, err := r.gateway.target(ctx, waits.Model, waits.Candidate)
		if err == nil && t.backend.ready(ctx) == nil {
			r.gateway.engine.ReportModelServer(waits.Model, waits.Candidate, nil)
		}
	}
}

func (r *reports) close() {
	r.cancel()
	r.worker.Wait()
}
