package web

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// freshness answers how new a view's newest row is. A snapshot never changes, so
// its answer is kept until the view has another one.
type freshness struct {
	engine *engine.Engine
	mu     sync.Mutex
	known  map[driftline.ViewName]knownNewest
}

type knownNewest struct {
	snapshot  driftline.SnapshotID
	unflushed int
	newest    time.Time
}

func newFreshness(e *engine.Engine) *freshness {
	return &freshness{engine: e, known: map[driftline.ViewName]knownNewest{}}
}

// newest is the greatest event time of the view; zero if it has no rows, or if
// it could not be found in a moment.
func (f *freshness) newest(ctx context.Context, view *driftline.FeatureView, status engine.ViewStatus) time.Time {
	f.mu.Lock()
	known, ok := f.known[view.Name]
	f.mu.Unlock()
	if ok && known.snapshot == status.Snapshot && known.unflushed == status.Unflushed {
		return known.newest
	}
	if status.Snapshot == 0 && status.Unflushed == 0 {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, picturePatience)
	defer cancel()
	rows, err := numbers(ctx, f.engine, fmt.Sprintf("SELECT epoch_us(max(%s))::BIGINT FROM features.%s",
		quoteName(view.EventTimestamp), quoteName(string(view.Name.Exactly()))))
	if err != nil || len(rows) != 1 || math.IsNaN(float64(rows[0][0])) {
		return time.Time{}
	}
	found := knownNewest{status.Snapshot, status.Unflushed, time.UnixMicro(int64(rows[0][0])).UTC()}
	f.mu.Lock()
	f.known[view.Name] = found
	f.mu.Unlock()
	return found.newest
}

// flushed is newest without reading while writes are still in the log: each of them
// changes the answer, and a scrape should not read a view for each.
func (f *freshness) flushed(ctx context.Context, view *driftline.FeatureView, status engine.ViewStatus) time.Time {
	if status.Unflushed == 0 {
		return f.newest(ctx, view, status)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[view.Name].newest
}
