package engine

import (
	"context"
	"time"
)

// breathEvery is how often runs that stopped breathing are looked for: how late they may
// be found, beside the span that each promised.
const breathEvery = 5 * time.Second

// heartbeatLoop ends the runs that promised signs of life and stopped giving them.
func (e *Engine) heartbeatLoop(ctx context.Context) {
	for range rounds(ctx, breathEvery, nil) {
		lost, err := e.registry.EndLostRuns()
		for _, id := range lost {
			e.log.Warn("a run stopped breathing and was ended as lost", "run", id)
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error("runs that stopped breathing could not be ended", "error", err)
		}
	}
}
