package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// pushes gathers the small writes that come at the same time, so that they share one
// transaction: one ledger line and one log entry per view, and one fsync. The first
// writer of a group commits it for all; while a group is being committed the next one
// gathers. A writer brings its rows encoded, so little is done one behind the other.
type pushes struct {
	mu         sync.Mutex
	gathering  *pushGroup // nil: the next writer begins one
	newest     *pushGroup // of all
	committing sync.Mutex // held while a group is committed
}

// pushGroup is writes that are committed together, or not at all.
type pushGroup struct {
	members []*push
	bytes   int
	before  *pushGroup // the one that is committed before; nil for the first
	done    chan struct{}
	err     error
}

// push is one small write, checked and encoded.
type push struct {
	view    *writtenView
	target  driftline.Target
	rows    int
	events  eventSpan    // of the rows
	log     []byte       // the rows as they are in a log entry; nil if they are online only
	online  *online.Rows // and as they are in the online store; nil if they are offline only
	key     string       // idempotency key, or ""
	content string       // content hash, if there is a key
	placed  func()       // called when the write has its place among the others; nil if nobody asks

	result driftline.IngestResult
	stale  bool // the view changed before the group was committed: the write was left out
}

// groupBytes ends the gathering of a group.
const groupBytes = 8 << 20

// push commits a small write, together with those of other callers. An error is that of
// the whole group: what is wrong with one write only was found before.
func (e *Engine) push(p *push) error {
	q := &e.pushes
	q.mu.Lock()
	group, first := q.gathering, false
	if group == nil {
		group, first = &pushGroup{before: q.newest, done: make(chan struct{})}, true
		q.gathering, q.newest = group, group
	}
	group.members = append(group.members, p)
	if group.bytes += len(p.log); group.bytes >= groupBytes {
		q.gathering = nil
	}
	q.mu.Unlock()
	if p.placed != nil {
		p.placed()
	}
	if !first {
		<-group.done
		return group.err
	}
	if group.before != nil { // groups keep their order
		<-group.before.done
		group.before = nil
	}
	q.committing.Lock()
	q.mu.Lock()
	if q.gathering == group {
		q.gathering = nil
	}
	q.mu.Unlock()
	group.err = e.commitPushes(group.members)
	q.committing.Unlock()
	close(group.done)
	return group.err
}

// commitPushes writes the log entries, online rows, idempotency records and ledger lines
// of a group in one transaction, and then shows the rows to readers.
func (e *Engine) commitPushes(members []*push) error {
	tx := e.registry.Begin()
	defer tx.Discard()
	type part struct {
		view  *writtenView
		entry logEntry
		held  *heldRows
	}
	var parts []part
	for view, of := range byView(tx, members) {
		entry, held, err := e.addPushes(tx, view, of)
		if err != nil {
			return err
		}
		parts = append(parts, part{view, entry, held})
	}
	if len(parts) == 0 {
		return nil
	}
	tx.Batch().Max(sequenceKey, binary.BigEndian.AppendUint64(nil, parts[len(parts)-1].entry.last+1))
	if err := tx.Commit(); err != nil {
		return err
	}
	for _, p := range parts {
		if p.entry.raw == nil { // online only
			continue
		}
		e.layouts.written(p.view.layout)
		e.showLogged(p.view.view.Name, p.entry, p.held)
	}
	return nil
}

// byView groups the members by view and target, in the order of the first of each. It
// marks those whose view has other columns by now: their rows would not fit.
func byView(tx *registry.Tx, members []*push) func(yield func(*writtenView, []*push) bool) {
	return func(yield func(*writtenView, []*push) bool) {
		rest := slices.Clone(members)
		for len(rest) > 0 {
			view, target := rest[0].view, rest[0].target
			var same, others []*push
			for _, p := range rest {
				if p.view == view && p.target == target {
					same = append(same, p)
				} else {
					others = append(others, p)
				}
			}
			rest = others
			if now, err := tx.SharedView(view.view.Name); err != nil || !sameShape(now, view.view) {
				for _, p := range same {
					p.stale = true
				}
				continue
			}
			if !yield(view, same) {
				return
			}
		}
	}
}

// sameShape reports whether two definitions of a view have the same columns.
func sameShape(a, b *driftline.FeatureView) bool {
	same := func(x, y driftline.Field) bool {
		return x.Name == y.Name && x.Type == y.Type && x.Identity() == y.Identity()
	}
	return a == b || slices.EqualFunc(a.Features, b.Features, same) // the others never change
}

// addPushes adds the writes to one view, all for the same target, to a transaction. held is
// nil unless their rows are held back.
func (e *Engine) addPushes(tx *registry.Tx, view *writtenView, of []*push) (entry logEntry, held *heldRows, err error) {
	name, target := view.view.Name, of[0].target
	rows, size, events := 0, 0, of[0].events
	for _, p := range of {
		rows += p.rows
		size += len(p.log)
		events = events.and(p.events)
	}
	now, err := tx.SharedView(view.view.Name) // it may keep a history since the rows were encoded
	if err != nil {
		return entry, nil, err
	}
	first := e.takeSequences(int64(rows))
	entry = logEntry{first: first, last: first + uint64(rows) - 1}
	raw, next := view.layout.newEntry(rows, size), first
	for _, p := range of {
		raw = append(raw, p.log...)
		if p.online != nil {
			if err := e.online.Add(tx.Batch(), now, p.online, int64(next)); err != nil {
				return entry, nil, err
			}
		}
		p.result = driftline.IngestResult{View: name, Rows: int64(p.rows), Sequence: next, To: named(target)}
		if err := p.remember(tx); err != nil {
			return entry, nil, err
		}
		next += uint64(p.rows)
	}
	if target != driftline.OnlineOnly {
		entry.raw = sealEntry(raw)
		e.layouts.write(tx.Batch(), view.layout)
		tx.Batch().Set(logKey(name, first), entry.raw)
	}
	if target == driftline.OfflineOnly {
		held = e.heldAfter(name, &heldRows{first: first, last: entry.last, from: events.from, to: events.to, small: true})
		if err := held.store(tx.Batch(), name); err != nil {
			return entry, nil, err
		}
	}
	sum := driftline.IngestResult{View: name, Rows: int64(rows), Sequence: first, To: named(target)}
	return entry, held, tx.AddIngests(sum, len(of))
}

// heldAfter joins rows to those that were held back just before, if there are such, so that
// a stream of small writes is one record. Small writes come one group after the other.
func (e *Engine) heldAfter(view driftline.ViewName, rows *heldRows) *heldRows {
	before := e.heads.of(view).held
	if len(before) == 0 {
		return rows
	}
	last := before[len(before)-1]
	if !last.small || last.last+1 != rows.first || len(last.online) > 0 {
		return rows
	}
	events := eventSpan{last.from, last.to}.and(eventSpan{rows.from, rows.to})
	return &heldRows{first: last.first, last: rows.last, from: events.from, to: events.to, small: true}
}

// named is the target as an answer says it: not at all if it is both stores.
func named(target driftline.Target) driftline.Target {
	if target == driftline.BothStores {
		return ""
	}
	return target
}

// remember adds the record of the write's idempotency key.
func (p *push) remember(tx *registry.Tx) error {
	if p.key == "" {
		return nil
	}
	record, err := json.Marshal(idempotencyRecord{Content: p.content, Result: p.result})
	if err != nil {
		return err
	}
	tx.Batch().Set(idempotencyKey(p.view.view.Name, p.key), record)
	return nil
}

// showLogged makes a durable log entry visible to readers, and wakes the flusher if the
// log is long.
func (e *Engine) showLogged(view driftline.ViewName, entry logEntry, held *heldRows) {
	bytes, rows := e.heads.logged(view, entry, held)
	if bytes >= flushBytes || rows >= flushRows {
		select {
		case e.wakeFlusher <- struct{}{}:
		default: // it is awake already
		}
	}
}

// writtenView is what writes to a view need of it, made once per definition.
type writtenView struct {
	view   *driftline.FeatureView // as it is registered; shared, never changed
	schema *arrow.Schema
	layout *logLayout

	mu      sync.Mutex
	input   *arrow.Schema // of the write before
	columns []int         // where the view's columns are in it
}

// writtenView returns what writes to a view need, for its present definition.
func (e *Engine) writtenView(name driftline.ViewName) (*writtenView, error) {
	view, err := e.registry.SharedView(name)
	if err != nil {
		return nil, err
	}
	if known, ok := e.written.Load(name); ok && known.(*writtenView).view == view {
		return known.(*writtenView), nil
	}
	layout, err := newLogLayout(view)
	if err != nil {
		return nil, err
	}
	w := &writtenView{view: view, schema: view.Schema(), layout: layout}
	e.written.Store(name, w)
	return w, nil
}

// conformer returns the conformer of a write with that schema. Writers send the same
// schema again and again, so the last one is remembered.
func (v *writtenView) conformer(e *Engine, input *arrow.Schema) (*conformer, error) {
	v.mu.Lock()
	known, columns := v.input, v.columns
	v.mu.Unlock()
	if known != nil && (known == input || known.Equal(input)) {
		return &conformer{view: v.view, schema: v.schema, columns: columns, mem: e.mem}, nil
	}
	c, err := newConformer(v.view, input, e.mem)
	if err != nil {
		return nil, err
	}
	c.schema = v.schema
	v.mu.Lock()
	v.input, v.columns = input, c.columns
	v.mu.Unlock()
	return c, nil
}

// encodePush encodes the rows of a small write, for the stores that they are for.
func (e *Engine) encodePush(view *writtenView, target driftline.Target, rows []arrow.RecordBatch) (*push, error) {
	p := &push{view: view, target: target, events: eventSpan{math.MaxInt64, math.MinInt64}}
	var err error
	if target != driftline.OfflineOnly && view.view.ServedOnline() {
		if p.online, err = e.online.Encode(view.view, target); err != nil {
			return nil, err
		}
	}
	for _, b := range rows {
		if target != driftline.OnlineOnly {
			if p.log, err = view.layout.appendRows(p.log, b); err != nil {
				return nil, err
			}
		}
		if p.online != nil {
			if err := p.online.Append(b); err != nil {
				return nil, err
			}
		}
		if target == driftline.OfflineOnly {
			p.events = p.events.and(eventsIn(b.Column(len(view.view.JoinKeys)).(*array.Timestamp)))
		}
		p.rows += int(b.NumRows())
	}
	return p, nil
}

// throttle makes a writer flush whose view's log is far longer than the flusher should
// have let it become, so that the log never outgrows memory.
func (e *Engine) throttle(ctx context.Context, view *driftline.FeatureView) error {
	if e.heads.of(view.Name).bytes < throttleBytes {
		return nil
	}
	return e.flush(ctx, view)
}
