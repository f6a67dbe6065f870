package engine

import (
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/rollout"
)

// ObserveRollout tells a model's rollout, if there is one, what became of a request that its
// route dealt. It never waits for a disk or a decision.
func (e *Engine) ObserveRollout(model driftline.ModelName, o rollout.Observation) {}
