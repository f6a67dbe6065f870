package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// heads knows, of each view, the newest snapshot of its table, the entries of its ingest
// log that are in no file of that snapshot, and which of all these rows are held back from
// serving. They change in one step, so whoever looks sees every acknowledged row once: also
// while a flush moves rows from the log into files.
type heads struct {
	mu    sync.Mutex
	views map[driftline.ViewName]*head
}

// head is what there is of one view.
type head struct {
	snapshot offline.Snapshot
	exists   bool // whether there is a snapshot
	log      []logEntry
	bytes    int // of log
	rows     int // of log
	held     []*heldRows

	rebuilds int // of the online rows, since the start
}

// logEntry is an entry of a view's ingest log. It never changes.
type logEntry struct {
	first uint64 // sequence of its first row
	last  uint64 // of its last row
	raw   []byte
}

// of returns the head of a view as it is now. The caller must not change it.
func (h *heads) of(view driftline.ViewName) head {
	h.mu.Lock()
	defer h.mu.Unlock()
	if found := h.views[view]; found != nil {
		return *found
	}
	return head{}
}

func (h *heads) get(view driftline.ViewName) *head {
	found := h.views[view]
	if found == nil {
		found = &head{}
		h.views[view] = found
	}
	return found
}

// logged adds an entry that is durable, and returns what the log is then. held is set if
// its rows are held back.
func (h *heads) logged(view driftline.ViewName, entry logEntry, held *heldRows) (bytes, rows int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.get(view)
	if held != nil {
		of.hold(held)
	}
	if n := len(of.log); n == 0 || of.log[n-1].first < entry.first {
		of.log = append(of.log, entry) // readers see the part that was there when they looked
	} else {
		at, _ := slices.BinarySearchFunc(of.log, entry.first, func(e logEntry, first uint64) int { return cmp.Compare(e.first, first) })
		of.log = slices.Insert(slices.Clone(of.log), at, entry)
	}
	of.bytes += len(entry.raw)
	of.rows += entry.rows()
	return of.bytes, of.rows
}

// hold adds rows to those that are held back, or puts them in the place of those that
// begin as they do. Readers keep the list that was there when they looked.
func (h *head) hold(held *heldRows) {
	if n := len(h.held); n == 0 || h.held[n-1].first < held.first {
		h.held = append(h.held, held)
		return
	}
	at, found := slices.BinarySearchFunc(h.held, held.first, func(r *heldRows, first uint64) int { return cmp.Compare(r.first, first) })
	h.held = slices.Clone(h.held)
	if found {
		h.held[at] = held
		return
	}
	h.held = slices.Insert(h.held, at, held)
}

// heldRows counts the rows that are held back, those that were materialized in part too.
func (h *head) heldRows() (rows int64) {
	for _, held := range h.held {
		rows += held.rows()
	}
	return rows
}

// materialized puts what is left of the rows that were held back in their place.
func (h *heads) materialized(view driftline.ViewName, held []*heldRows) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.get(view).held = held
}

// rebuilt says that all online rows of a view were made anew.
func (h *heads) rebuilt(view driftline.ViewName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.get(view).rebuilds++
}

func (e *logEntry) rows() int { return int(e.last - e.first + 1) }

// committed puts a snapshot in the place of the one before, and takes the entries that
// are in its files off the log. held are those of its rows that are held back and were in
// no log.
func (h *heads) committed(view driftline.ViewName, snapshot offline.Snapshot, flushed []uint64, held ...*heldRows) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.get(view)
	of.snapshot, of.exists = snapshot, true
	for _, rows := range held {
		of.hold(rows)
	}
	if len(flushed) == 0 {
		return
	}
	left := make([]logEntry, 0, max(0, len(of.log)-len(flushed)))
	of.bytes, of.rows = 0, 0
	for _, entry := range of.log {
		if _, gone := slices.BinarySearch(flushed, entry.first); !gone {
			left = append(left, entry)
			of.bytes += len(entry.raw)
			of.rows += entry.rows()
		}
	}
	of.log = left
}

// loadHeld reads which rows are held back: recover has to know, and may add to it.
func (e *Engine) loadHeld() error {
	for _, view := range e.registry.Views() {
		held, err := e.storedHeldRows(view.Name)
		if err := e.isolate(view.Name, err); err != nil {
			return err
		}
		e.heads.materialized(view.Name, held)
	}
	return nil
}

// loadHeads reads the newest snapshots, and the log entries that the last process left.
func (e *Engine) loadHeads(ctx context.Context) error {
	for _, view := range e.registry.Views() {
		if view.Source != nil || e.checkHealthy(view.Name) != nil {
			continue
		}
		if err := e.isolate(view.Name, e.loadHead(ctx, view.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) loadHead(ctx context.Context, view driftline.ViewName) error {
	snapshot, ok, err := e.offline.Current(ctx, viewTable(view))
	if err != nil {
		return err
	}
	entries, err := e.storedEntries(view)
	if err != nil {
		return err
	}
	held, err := e.storedHeldRows(view)
	if err != nil {
		return err
	}
	if ok {
		e.heads.committed(view, snapshot, nil)
	}
	e.heads.materialized(view, held)
	for _, entry := range entries {
		e.heads.logged(view, entry, nil)
	}
	return nil
}

// storedEntries reads a view's ingest log from kv.
func (e *Engine) storedEntries(view driftline.ViewName) ([]logEntry, error) {
	var entries []logEntry
	prefix := logPrefix(view)
	for pair, err := range e.kv.ScanPrefix(prefix) {
		if err != nil {
			return nil, err
		}
		if len(pair.Key) != len(prefix)+8 {
			return nil, damagedEntry("its key has the wrong length")
		}
		entry := logEntry{first: binary.BigEndian.Uint64(pair.Key[len(prefix):]), raw: slices.Clone(pair.Value)}
		rows, err := e.countEntry(entry.raw)
		if err != nil {
			return nil, inView(err, view)
		}
		entry.last = entry.first + uint64(rows) - 1
		entries = append(entries, entry)
	}
	return entries, nil
}

// countEntry checks an entry and counts its rows.
func (e *Engine) countEntry(raw []byte) (rows int, err error) {
	if isOwnEntry(raw) {
		_, rows, _, err = openEntry(raw)
		return rows, err
	}
	for b, err := range streamed(e, raw) {
		if err != nil {
			return 0, err
		}
		rows += int(b.NumRows())
	}
	return rows, nil
}
