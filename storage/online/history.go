package online

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// The history of a view is more rows of each entity than the newest, packed as that is.
//
//	key   ┌─────┬────────┬────────────┬───────┬──────────────────────────────┐
//	      │ 'h' │ view   │ entity key │ event │ 0 │ sequence, int64          │
//	      │     │ string │ values     │ int64 │ 1 │ event_id, as a key value │
//	      └─────┴────────┴────────────┴───────┴──────────────────────────────┘
//
// Rows of one entity lie side by side, oldest first. What follows the event time tells
// rows apart: with an event_id, rows that are equal in it are versions of one event, and
// the greatest (created, sequence) stays. So writing a row again, or in another order,
// changes nothing here either.
//
// How far back a history is complete is its state, which a history that is being built
// does not have:
//
//	key   'f' │ view, string │ 'h'
//	value floor, int64 │ rows kept in any case, int64 │ identity of the event_id, string

// Incomplete is the floor of a history that is not there, or is being built.
const Incomplete int64 = math.MaxInt64

func historyPrefix(view driftline.ViewName) []byte {
	return kv.AppendString([]byte{kv.HistoryRows}, string(view))
}

func historyStateKey(view driftline.ViewName) []byte { return append(floorKey(view), 'h') }

// historyState says what a history has.
type historyState struct {
	floor   int64  // rows of earlier events may be missing
	last    int    // but not these newest of each entity
	eventID string // the identity of the feature that tells events apart, or ""
}

func (h historyState) encode() []byte {
	value := kv.AppendInt64(kv.AppendInt64(nil, h.floor), int64(h.last))
	return kv.AppendString(value, h.eventID)
}

func decodeHistoryState(raw []byte) (h historyState, err error) {
	var last int64
	if h.floor, raw, err = kv.TakeInt64(raw); err != nil {
		return h, err
	}
	if last, raw, err = kv.TakeInt64(raw); err != nil {
		return h, err
	}
	h.last = int(last)
	h.eventID, _, err = kv.TakeString(raw)
	return h, err
}

// wantedHistory is the state of a history as the view wants it, but for the floor.
func wantedHistory(view *driftline.FeatureView) historyState {
	var h historyState
	if view.History != nil {
		h.last = view.History.Last
	}
	if f, ok := view.Feature(view.EventID); ok {
		h.eventID = f.Identity()
	}
	return h
}

// HistoryFloor is the event time before which rows of the view's history may be missing,
// [Incomplete] if it has to be built. Asked after a state was read, it holds for that state.
func (s *Store) HistoryFloor(view *driftline.FeatureView) (int64, error) {
	state, err := s.history(view.Name)
	if want := wantedHistory(view); err != nil || state.eventID != want.eventID || state.last < want.last {
		return Incomplete, err
	}
	return state.floor, nil
}

func (s *Store) history(view driftline.ViewName) (historyState, error) {
	if known, ok := s.histories.Load(view); ok {
		return known.(historyState), nil
	}
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	return s.historyLocked(view)
}

func (s *Store) historyLocked(view driftline.ViewName) (historyState, error) {
	if known, ok := s.histories.Load(view); ok {
		return known.(historyState), nil
	}
	raw, err := s.db.Get(historyStateKey(view))
	if err != nil {
		return historyState{}, err
	}
	state := historyState{floor: Incomplete}
	if raw != nil {
		if state, err = decodeHistoryState(raw); err != nil {
			return historyState{}, err
		}
	}
	s.histories.Store(view, state)
	return state, nil
}

// BeginHistory removes the history of a view, which is then to be built anew, or not to be.
func (s *Store) BeginHistory(view driftline.ViewName) error {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	s.countRebuild(view)
	s.histories.Store(view, historyState{floor: Incomplete})
	b := s.db.NewBatch()
	defer b.Close()
	b.Delete(historyStateKey(view))
	b.DeletePrefix(historyPrefix(view))
	b.DeletePrefix(tilePrefix(view))
	b.TouchAll()
	return b.Commit()
}

// EndHistory declares the history of a view complete from a floor on.
func (s *Store) EndHistory(view *driftline.FeatureView, floor int64) error {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	state := wantedHistory(view)
	state.floor = floor
	return s.setHistory(view.Name, state)
}

// RaiseHistory says that rows of earlier events than floor were left out of the history.
func (s *Store) RaiseHistory(view driftline.ViewName, floor int64) error {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	state, err := s.historyLocked(view)
	if err != nil || state.floor >= floor {
		return err
	}
	state.floor = floor
	return s.setHistory(view, state)
}

func (s *Store) setHistory(view driftline.ViewName, state historyState) error {
	s.histories.Store(view, state)
	b := s.db.NewBatch()
	defer b.Close()
	b.Set(historyStateKey(view), state.encode())
	return b.Commit()
}

// historyWriter adds rows to the history of one view.
type historyWriter struct {
	db      *kv.DB
	layout  *layout
	eventID int    // place of the event_id in the layout, or -1
	prefix  []byte // of the history's keys
	tiles   []byte // prefix of its tiles

	key []byte
}

func (s *Store) historyWriter(view *driftline.FeatureView, l *layout) *historyWriter {
	w := &historyWriter{db: s.db, layout: l, eventID: -1, prefix: historyPrefix(view.Name), tiles: tilePrefix(view.Name)}
	if f, ok := view.Feature(view.EventID); ok {
		if at, ok := l.places[f.Identity()]; ok {
			w.eventID = at
		}
	}
	return w
}

// add adds a packed row of the writer's layout, and removes the tiles that it would
// change, so that they are made again when they are asked for.
func (w *historyWriter) add(b *kv.Batch, entity, value []byte) {
	w.key = append(append(w.key[:0], w.prefix...), entity...)
	subject := w.db.Subject(w.key)
	w.key = append(w.key, value[:8]...)
	key, version := w.appendIdentity(w.key, value)
	if w.key = key; version {
		b.Max(key, value)
	} else {
		b.Set(key, value) // no other row has the key
	}
	w.key = deleteTiles(b, subject, w.tiles, entity, eventOf(value), w.key)
}

// appendIdentity adds what tells the row from others of its event time. version says that
// it is not the row's alone.
func (w *historyWriter) appendIdentity(key, value []byte) (_ []byte, version bool) {
	if w.eventID >= 0 {
		if r, ok := w.layout.split(value[prefixBytes:]); ok && !r.isNull(w.eventID) {
			f := &w.layout.fields[w.eventID]
			key = append(key, 1)
			switch f.Type {
			case driftline.String, driftline.Bytes:
				return kv.AppendBytes(key, r.text(f)), true
			case driftline.Bool:
				return kv.AppendBool(key, r.bool(f)), true
			}
			return kv.AppendInt64(key, int64(r.word(f))), true
		}
	}
	return append(append(key, 0), value[headerBytes-8:headerBytes]...), false
}

// PutHistory adds rows to b's view of the history, as [Store.Put] does to the newest rows,
// but for those of events before since: skipped says whether there were any.
func (s *Store) PutHistory(b *kv.Batch, view *driftline.FeatureView, rows arrow.RecordBatch, sequences []int64, since int64) (skipped bool, err error) {
	var w *historyWriter
	err = s.pack(b, view, rows, sequences, func(l *layout, _, entity, value []byte) {
		if eventOf(value) < since {
			skipped = true
			return
		}
		if w == nil {
			w = s.historyWriter(view, l)
		}
		w.add(b, entity, value)
	})
	return skipped, err
}

// ExpireHistory removes from a view's history the rows of events before a time, but for
// the newest View.History.Last of each entity that are not later than now, and returns how
// many there were. Tiles go with their last row.
func (s *Store) ExpireHistory(ctx context.Context, view *driftline.FeatureView, before, now int64) (found int, err error) {
	e := historyExpiry{store: s, view: view, before: before, keep: wantedHistory(view).last}
	s.floors.mu.Lock()
	e.rebuilds = s.floors.rebuilds[view.Name]
	s.floors.mu.Unlock()
	prefix := historyPrefix(view.Name)
	var entity []byte
	var newest []heldRow // of the entity, at least e.keep if it has so many, oldest first
	for pair, err := range s.db.ScanPrefix(prefix) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return e.found, err
		}
		if entity == nil || !bytes.HasPrefix(pair.Key, entity) {
			rest, err := cutEntity(pair.Key[len(prefix):], view.JoinKeys, nil)
			if err != nil {
				return e.found, err
			}
			entity, newest = append(entity[:0], pair.Key[:len(pair.Key)-len(rest)]...), newest[:0]
		}
		event, _, err := kv.TakeInt64(pair.Key[len(entity):])
		if err != nil {
			return e.found, err
		}
		if event > now {
			continue
		}
		newest = append(newest, heldRow{bytes.Clone(pair.Key), event})
		if newest, err = e.release(newest); err != nil {
			return e.found, err
		}
	}
	if err := e.scanTiles(ctx); err != nil {
		return e.found, err
	}
	return e.found, e.remove()
}

// historyExpiry is one pass of [Store.ExpireHistory].
type historyExpiry struct {
	store    *Store
	view     *driftline.FeatureView
	before   int64
	keep     int
	rebuilds int // when the pass began
	pending  [][]byte
	found    int
}

type heldRow struct {
	key   []byte
	event int64
}

// release lets go of the oldest rows that need not be kept, and removes those of them
// that expired. Rows of one event time stay together: they come in no order.
func (e *historyExpiry) release(newest []heldRow) ([]heldRow, error) {
	for len(newest) > e.keep && (e.keep == 0 || newest[0].event < newest[len(newest)-e.keep].event) {
		oldest := newest[0]
		if newest = newest[1:]; oldest.event >= e.before {
			continue
		}
		e.found++
		if err := e.add(oldest.key); err != nil {
			return newest, err
		}
	}
	return newest, nil
}

func (e *historyExpiry) add(key []byte) error {
	if e.pending = append(e.pending, key); len(e.pending) < expiredAtOnce {
		return nil
	}
	return e.remove()
}

// scanTiles finds the tiles that end before the rows that stay.
func (e *historyExpiry) scanTiles(ctx context.Context) error {
	for pair, err := range e.store.db.ScanPrefix(tilePrefix(e.view.Name)) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if end, ok := tileEnd(pair.Key); !ok || end > e.before {
			continue
		}
		if err := e.add(bytes.Clone(pair.Key)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes what was found, unless the history was rebuilt since. A row that was
// corrected meanwhile has the same event time, and goes too: the floor is above it.
func (e *historyExpiry) remove() error {
	s := e.store
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	state, err := s.historyLocked(e.view.Name)
	if err != nil || len(e.pending) == 0 || s.floors.rebuilds[e.view.Name] != e.rebuilds {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	if state.floor < e.before {
		state.floor = e.before
		s.histories.Store(e.view.Name, state)
		b.Set(historyStateKey(e.view.Name), state.encode())
	}
	for _, key := range e.pending {
		b.Delete(key)
	}
	e.pending = e.pending[:0]
	return b.Commit()
}

// HistoryLookup asks for the newest rows that the history of a view has of some entities.
type HistoryLookup struct {
	View     *driftline.FeatureView
	Keys     []arrow.Array // one column per join key; a row with a null in it is no entity
	Rows     int           // of the keys
	Features []string
	Last     int   // how many of each entity
	At       int64 // rows of later events do not exist
}

// HistoryResult is the answer to a [HistoryLookup]: the rows of the first entity, newest
// first, then those of the second, and so on.
type HistoryResult struct {
	Events  []int64 // of each row, microseconds
	Created []int64 // NoTime is null
	Entity  []int64 // the row of the lookup's keys
	Columns []arrow.Array
}

// Release gives the columns back.
func (r *HistoryResult) Release() {
	for _, c := range r.Columns {
		c.Release()
	}
}

// ReadHistory answers a lookup from one state of the store.
func (s *Store) ReadHistory(ctx context.Context, l HistoryLookup) (*HistoryResult, error) {
	if err := checkKeys(l.View.JoinKeys, l.Keys, l.Rows); err != nil {
		return nil, err
	}
	state, err := s.db.State()
	if err != nil {
		return nil, err
	}
	defer state.Close()
	result := &HistoryResult{}
	var rows []row
	for i := range l.Rows {
		if ctx.Err() != nil {
			return nil, driftline.Errorf(driftline.Deadline, "online read was stopped: %w", ctx.Err())
		}
		prefix, null := appendEntity(historyPrefix(l.View.Name), l.Keys, i)
		if null >= 0 {
			continue
		}
		found, err := s.newest(state, l, prefix)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			rows, result.Entity = append(rows, f.row), append(result.Entity, int64(i))
		}
	}
	return result, result.fill(l, rows)
}

// fill makes the columns of the answer from its rows.
func (r *HistoryResult) fill(l HistoryLookup, rows []row) error {
	look, err := newLookup(l.View, l.Features, 0)
	if err != nil {
		return err
	}
	types := make([]driftline.Type, len(look.features))
	for i, feature := range look.features {
		types[i] = feature.Type
	}
	values, err := NewValues(types, len(rows))
	if err != nil {
		return err
	}
	found := noRows(1, len(rows))[0]
	for i := range rows {
		if err := look.answer(&rows[i], values, []int32{int32(i)}, &found); err != nil {
			return err
		}
	}
	r.Events, r.Created = found.Events, found.Created
	r.Columns, err = values.Arrays()
	return err
}

// storedRow is a row of the history and what orders it among those of its event time.
type storedRow struct {
	row
	order [headerBytes]byte
}

// newest returns the newest rows of an entity, newest first.
func (s *Store) newest(state *kv.State, l HistoryLookup, prefix []byte) ([]storedRow, error) {
	var found []storedRow
	var failed error
	upper := appendIdentityEnd(kv.AppendInt64(bytes.Clone(prefix), l.At))
	err := state.ScanBack(prefix, upper, func(_, value []byte) bool {
		r, err := s.unpack(l.View.Name, bytes.Clone(value))
		if failed = err; err != nil {
			return false
		}
		if len(found) >= l.Last && r.event < found[len(found)-1].event {
			return false // rows of equal event times come in no order
		}
		stored := storedRow{row: r}
		copy(stored.order[:], value)
		found = append(found, stored)
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b storedRow) int { return bytes.Compare(b.order[:], a.order[:]) })
	return found[:min(len(found), l.Last)], nil
}

// appendIdentityEnd adds what is greater than every identity that a history key ends with.
func appendIdentityEnd(key []byte) []byte { return append(key, 0xFF) }
