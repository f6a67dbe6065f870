package engine

import (
	"context"
	"errors"
	"time"

	"github.com/driftline/driftline"
)

// leastRemembered is how long online rows outlive a short TTL: values of a feed that is down
// since yesterday are too old, and not unknown.
const leastRemembered = 24 * time.Hour

// rememberedFor is the age, in microseconds, up to which a row of a view with a TTL is known
// online: as long again as it counts, and a day at least. A read finds a row of an age
// between the TTL and this OUTSIDE_MAX_AGE, and NOT_FOUND one that is older, whether upkeep
// has removed it yet or not: what a read says depends on times alone.
func rememberedFor(ttl driftline.Duration) int64 {
	return ttl.Microseconds() + max(ttl.Microseconds(), leastRemembered.Microseconds())
}

// expireOnline removes online rows that are older than their view's TTL. What they said
// stays in the files.
func (e *Engine) expireOnline(ctx context.Context) error {
	views := e.registry.Views()
	before := map[driftline.ViewName]int64{}
	for _, v := range views {
		if v.TTL > 0 && v.Source == nil && e.checkHealthy(v.Name) == nil {
			before[v.Name] = e.now().UnixMicro() - rememberedFor(v.TTL)
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

// mendServing makes what is kept online of a view what its definition asks for. It can be
// stopped: reads are then answered offline until it is called again.
func (e *Engine) mendServing(ctx context.Context, name driftline.ViewName) error {
	err := e.mendOnline(ctx, name)
	if err == nil {
		err = e.mendHistory(ctx, name)
	}
	if err != nil && ctx.Err() != nil {
		return driftline.Errorf(driftline.Deadline, "view %q: bringing its rows online was stopped: %w", name, context.Cause(ctx)).
			WithRef(driftline.ViewRef(name)).
			WithHint("its definition stands and reads are answered offline; upkeep finishes it, or: driftline materialize --rebuild %s", name)
	}
	return err
}

// mendAll is [Engine.mendServing] of all views.
func (e *Engine) mendAll(ctx context.Context) error {
	var failed error
	for _, view := range e.registry.Views() {
		failed = errors.Join(failed, e.isolate(view.Name, e.mendServing(ctx, view.Name)))
	}
	return failed
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
	return e.rebuildOnline(ctx, name, e.logProgress(name))
}
