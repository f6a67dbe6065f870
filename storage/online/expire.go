package online

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Complete is the floor of a view that has lost no row. See [Found.Floor].
const Complete int64 = math.MinInt64

// floors say, for each view, the event time before which rows may be missing. A floor
// is raised in memory before the first row goes, so a reader who asks for it after it has
// looked knows whether what it did not find may have been there.
//
//	key   'f' │ view, string
//	value event time, 8 B, big-endian, sign bit flipped
type floors struct {
	known sync.Map // driftline.ViewName → int64

	mu       sync.Mutex                 // held while rows expire or a rebuild begins or ends
	rebuilds map[driftline.ViewName]int // how many began
}

func floorKey(view driftline.ViewName) []byte {
	return kv.AppendString([]byte{kv.OnlineFloors}, string(view))
}

// floor returns the floor of a view.
func (s *Store) floor(view driftline.ViewName) (int64, error) {
	if at, ok := s.floors.known.Load(view); ok {
		return at.(int64), nil
	}
	s.floors.mu.Lock() // nobody raises it meanwhile
	defer s.floors.mu.Unlock()
	return s.floorLocked(view)
}

func (s *Store) floorLocked(view driftline.ViewName) (int64, error) {
	if at, ok := s.floors.known.Load(view); ok {
		return at.(int64), nil
	}
	raw, err := s.db.Get(floorKey(view))
	if err != nil {
		return 0, err
	}
	at := Complete
	if raw != nil {
		if at, _, err = kv.TakeInt64(raw); err != nil {
			return 0, err
		}
	}
	s.floors.known.Store(view, at)
	return at, nil
}

// setFloor changes a floor in memory, and in the store with b. The caller holds floors.mu.
func (s *Store) setFloor(b *kv.Batch, view driftline.ViewName, at int64) {
	s.floors.known.Store(view, at)
	if at == Complete {
		b.Delete(floorKey(view))
		return
	}
	b.Set(floorKey(view), kv.AppendInt64(nil, at))
}

// BeginRebuild declares all rows of a view missing, until EndRebuild. Rows of it that are
// found expired from before are not removed any more.
func (s *Store) BeginRebuild(view driftline.ViewName) error {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	s.countRebuild(view)
	return s.commitFloor(view, math.MaxInt64)
}

// countRebuild ends every expiry of the view that is under way. The caller holds floors.mu.
func (s *Store) countRebuild(view driftline.ViewName) {
	if s.floors.rebuilds == nil {
		s.floors.rebuilds = map[driftline.ViewName]int{}
	}
	s.floors.rebuilds[view]++
}

// EndRebuild declares the newest row of every entity of a view there.
func (s *Store) EndRebuild(view driftline.ViewName) error {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	return s.commitFloor(view, Complete)
}

func (s *Store) commitFloor(view driftline.ViewName, at int64) error {
	b := s.db.NewBatch()
	defer b.Close()
	s.setFloor(b, view, at)
	return b.Commit()
}

// Short reports whether rows of the view may be missing that a read at a time from at on,
// under the view's TTL, would have to find.
func (s *Store) Short(view *driftline.FeatureView, at int64) (bool, error) {
	floor, err := s.floor(view.Name)
	return floor != Complete && (view.TTL == 0 || at-view.TTL.Microseconds() < floor), err
}

// expiredAtOnce bounds how long the commits of others wait for a removal.
const expiredAtOnce = 256

// Expire removes the rows of views whose event time is before the one given for the view,
// and returns how many it found. A row that is written meanwhile stays: a removal takes
// effect only if the row is still the one that was found.
func (s *Store) Expire(ctx context.Context, views []driftline.FeatureView, before map[driftline.ViewName]int64) (found int, err error) {
	e := expiry{store: s, before: before, rebuilds: s.rebuildsOf(before)}
	var scanned [][]byte
	for i := range views {
		prefix := keyPrefix(views[i].JoinKeys)
		if slices.ContainsFunc(scanned, func(p []byte) bool { return bytes.Equal(p, prefix) }) {
			continue // views with the same keys lie under one prefix
		}
		scanned = append(scanned, prefix)
		if err := e.scan(ctx, prefix, views[i].JoinKeys); err != nil {
			return e.found, err
		}
	}
	return e.found, e.remove()
}

func (s *Store) rebuildsOf(views map[driftline.ViewName]int64) map[driftline.ViewName]int {
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	rebuilds := map[driftline.ViewName]int{}
	for view := range views {
		rebuilds[view] = s.floors.rebuilds[view]
	}
	return rebuilds
}

// expiry is one pass of [Store.Expire].
type expiry struct {
	store    *Store
	before   map[driftline.ViewName]int64
	rebuilds map[driftline.ViewName]int // when the pass began
	pending  []expiredRow
	found    int
}

type expiredRow struct {
	view       driftline.ViewName
	key, value []byte
}

func (e *expiry) scan(ctx context.Context, prefix []byte, joinKeys []driftline.Field) error {
	for pair, err := range e.store.db.ScanPrefix(prefix) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := viewOfKey(pair.Key[len(prefix):], joinKeys)
		if err != nil {
			return err
		}
		view := driftline.ViewName(name)
		before, expires := e.before[view]
		if !expires || len(pair.Value) < headerBytes || eventOf(pair.Value) >= before {
			continue
		}
		e.pending = append(e.pending, expiredRow{view, bytes.Clone(pair.Key), bytes.Clone(pair.Value)})
		if len(e.pending) == expiredAtOnce {
			if err := e.remove(); err != nil {
				return err
			}
		}
	}
	return nil
}

// eventOf is the event time of a packed row.
func eventOf(value []byte) int64 { return int64(binary.BigEndian.Uint64(value) ^ 1<<63) }

// remove removes the rows that were found, unless their view was rebuilt since.
func (e *expiry) remove() error {
	if len(e.pending) == 0 {
		return nil
	}
	s := e.store
	if s.expiring != nil {
		s.expiring()
	}
	s.floors.mu.Lock()
	defer s.floors.mu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	for _, row := range e.pending {
		if s.floors.rebuilds[row.view] != e.rebuilds[row.view] {
			continue
		}
		floor, err := s.floorLocked(row.view)
		if err != nil {
			return err
		}
		if floor < e.before[row.view] {
			s.setFloor(b, row.view, e.before[row.view])
		}
		b.DeleteIf(row.key, row.value)
		e.found++
	}
	e.pending = e.pending[:0]
	return b.Commit()
}
