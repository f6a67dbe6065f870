package engine

import (
	"context"

	"github.com/driftline/driftline/openlineage"
)

// TellLineage sends what was not told of yet, as the loop does.
func (e *Engine) TellLineage(ctx context.Context, sink *openlineage.Sink) error {
	return e.tellLineage(ctx, sink)
}
