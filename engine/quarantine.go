package engine

import (
	"maps"
	"sync"

	"github.com/driftline/driftline"
)

// quarantine is the views whose table, log or unfinished writes were found damaged when
// the folder was opened. They are neither read nor written, and the others are served.
type quarantine struct {
	mu    sync.RWMutex
	views map[driftline.ViewName]error
}

// Quarantined returns the views that are not served because something of them is
// damaged, and what it is.
func (e *Engine) Quarantined() map[driftline.ViewName]error {
	e.quarantine.mu.RLock()
	defer e.quarantine.mu.RUnlock()
	return maps.Clone(e.quarantine.views)
}

// isolate puts a view into quarantine if err says that something of it is damaged.
// Any other error is returned.
func (e *Engine) isolate(view driftline.ViewName, err error) error {
	if driftline.CodeOf(err) != driftline.DataLoss {
		return err
	}
	e.log.Error("a view is not served: something of it is damaged", "view", view, "error", err)
	e.quarantine.mu.Lock()
	defer e.quarantine.mu.Unlock()
	if e.quarantine.views == nil {
		e.quarantine.views = map[driftline.ViewName]error{}
	}
	if e.quarantine.views[view] == nil {
		e.quarantine.views[view] = err
	}
	return nil
}

// checkHealthy refuses to read or write a view that is in quarantine.
func (e *Engine) checkHealthy(view driftline.ViewName) error {
	e.quarantine.mu.RLock()
	defer e.quarantine.mu.RUnlock()
	cause := e.quarantine.views[view]
	if cause == nil {
		return nil
	}
	return driftline.Errorf(driftline.DataLoss, "view %q is not served: %w", view, cause).
		WithRef(driftline.ViewRef(view)).
		WithHint("restore the folder of table %s, or the whole data folder, from a backup and restart the server; other views are served", viewTable(view))
}
