package engine

import (
	"context"
	"time"

	"github.com/driftline/driftline"
)

// expirySlack is how long online rows outlive their TTL, so that a read of a moment ago
// still finds them. Later, such a read is answered offline.
const expirySlack = time.Hour

// expireOnline removes online rows that are older than their view's TTL. What they said
// stays in the files.
func (e *Engine) expireOnline(ctx context.Context) error {
	views := e.registry.Views()
	before := map[driftline.ViewName]int64{}
	for _, v := range views {
		if v.TTL > 0 && v.Source == nil && e.checkHealthy(v.Name) == nil {
			before[v.Name] = e.now().Add(-expirySlack - time.Duration(v.TTL)).UnixMicro()
		}
	}
	if len(before) == 0 {
		return nil
	}
	found, err := e.online.Expire(ctx, views, before)
	if found > 0 {
		e.log.Info("online rows expired", "rows", found)
	}
	return err
}

// mendServing makes what is kept online of a view what its definition asks for.
func (e *Engine) mendServing(ctx context.Context, name driftline.ViewName) error {
	if err := e.mendOnline(ctx, name); err != nil {
		return err
	}
	return e.mendHistory(ctx, name)
}

// mendOnline rebuilds the online rows of a view that cannot answer a read of now: the TTL
// was longer, or a rebuild was not finished, when rows went.
func (e *Engine) mendOnline(ctx context.Context, name driftline.ViewName) error {
	view, err := e.registry.View(name)
	if err != nil || view.Source != nil || e.checkHealthy(name) != nil {
		return err
	}
	if short, err := e.online.Short(view, e.now().UnixMicro()); err != nil || !short {
		return err
	}
	defer e.tables.lock(viewTable(name).String())()
	return e.rebuildOnline(ctx, name)
}
