package registry

import "github.com/driftline/driftline"

// enqueue remembers what to show once tx is durable, and moves the ledger's end
// behind it. The caller holds sequencing, so pending is in the order of the log.
func (r *Registry) enqueue(tx *Tx) uint64 {
	r.commits++
	r.tail, r.tailTime = tx.tail, tx.time
	r.published.Lock()
	defer r.published.Unlock()
	r.pending = append(r.pending, commit{
		number: r.commits, tail: tx.tail, lines: tx.lines, effects: tx.effects, points: tx.points,
	})
	return r.commits
}

// publish shows readers every transaction up to that number. They are all
// durable, because the log that made the last of them durable holds the others before it.
func (r *Registry) publish(number uint64) error {
	r.published.Lock()
	defer r.published.Unlock()
	if r.failed != nil {
		return r.failed
	}
	for len(r.pending) > 0 && r.pending[0].number <= number {
		r.show(r.pending[0])
		r.pending[0] = commit{}
		r.pending = r.pending[1:]
	}
	r.progress.Broadcast()
	return nil
}

// awaitShown waits until readers see every transaction up to that number.
func (r *Registry) awaitShown(number uint64) error {
	r.published.Lock()
	defer r.published.Unlock()
	for r.shown < number && r.failed == nil {
		r.progress.Wait()
	}
	return r.failed
}

func (r *Registry) show(c commit) {
	r.hidePoints(c.lines)
	for _, e := range c.effects {
		e(r.durable)
	}
	for i := range c.lines {
		r.graph.add(&c.lines[i])
		if defines(c.lines[i].Kind) {
			r.definitions.Add(1)
		}
		if changesColumns(c.lines[i].Kind) {
			r.columns.Store(nil)
		}
		if answers(c.lines[i].Kind) {
			r.answering.Add(1)
		}
	}
	r.showPoints(c.points)
	r.newest, r.shown = c.tail, c.number
}

// defines reports whether lines of a kind change the definitions of the catalogue.
func defines(kind Kind) bool {
	return kind == EntityApplied || kind == ViewApplied || kind == OnDemandApplied || kind == ViewSwitched || kind == ServiceApplied
}

// answers reports whether lines of a kind can change which version answers for a model.
func answers(kind Kind) bool {
	switch kind {
	case AliasMoved, VersionStaged, VersionDeleted, ModelDeleted, ModelRenamed:
		return true
	}
	return false
}

// fail ends writing: after a failed commit nobody knows which lines the disk holds.
func (r *Registry) fail(cause error) error {
	r.published.Lock()
	defer r.published.Unlock()
	if r.failed == nil {
		r.failed = driftline.Errorf(driftline.Unavailable, "the ledger could not be written: %w", cause).
			WithHint("free disk space or repair the disk, then restart the server")
	}
	r.progress.Broadcast()
	return r.failed
}

func (r *Registry) failure() error {
	r.published.RLock()
	defer r.published.RUnlock()
	return r.failed
}
