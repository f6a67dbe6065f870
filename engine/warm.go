package engine

import (
	"context"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/online"
)

// coldViews are views whose histories got rows in bulk since upkeep last made their tiles:
// the first read of an entity with a million events would make them, in seconds.
type coldViews struct{ views sync.Map } // driftline.ViewName → struct{}

func (c *coldViews) add(name driftline.ViewName) { c.views.Store(name, struct{}{}) }

// warmWindows makes the tiles of views that have aggregations and are cold. Small writes
// need no such care: they remove a few tiles, which the next read makes again.
func (e *Engine) warmWindows(ctx context.Context) error {
	for _, view := range e.registry.Views() {
		if len(view.Aggregations) == 0 || e.checkHealthy(view.Name) != nil {
			continue
		}
		if _, cold := e.cold.views.LoadAndDelete(view.Name); !cold {
			continue
		}
		var names []string
		for _, f := range view.AggregatedFeatures() {
			names = append(names, f.Name)
		}
		aggregates, err := online.NewAggregates(&view, names)
		if err == nil {
			_, err = e.online.Warm(ctx, e.mem, aggregates, e.now().UnixMicro())
		}
		if err != nil {
			e.cold.add(view.Name) // again in the next round
			return err
		}
	}
	return nil
}
