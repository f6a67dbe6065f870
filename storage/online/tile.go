package online

import (
	"context"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// A tile summarises the rows that an entity's history has in one span of time.
//
//	key   ┌─────┬────────┬────────────┬────────┬──────────────┐
//	      │ 't' │ view   │ entity key │ level  │ start, int64 │
//	      │     │ string │ values     │ 1 byte │              │
//	      └─────┴────────┴────────────┴────────┴──────────────┘
//
// Its value is the last time at which one of its rows was created (int64), and the state of
// package aggregate, which names the plan that it is of: a tile of another says nothing.
//
// It is made when it is wanted, and whoever writes a row deletes those that the row
// belongs in, in the same batch: see package kv on derived values.

// tileSpans are the lengths of tiles, in microseconds, by level. Each is a multiple of the one before.
var tileSpans = [...]int64{5 * 60 * 1e6, 3600 * 1e6, 24 * 3600 * 1e6}

// tileHeader is the bytes of a tile before its state.
const tileHeader = 8

// tile is a summary of a span, as it is stored.
type tile struct {
	level int
	start int64
	value []byte
}

// tileCreated is the last time at which one of the tile's rows was created.
func tileCreated(value []byte) int64 {
	created, _, _ := kv.TakeInt64(value)
	return created
}

func tilePrefix(view driftline.ViewName) []byte {
	return kv.AppendString([]byte{kv.HistoryTiles}, string(view))
}

// floorTo rounds a time down to a multiple of span.
func floorTo(at, span int64) int64 {
	rest := at % span
	if rest < 0 {
		rest += span
	}
	return at - rest
}

// deleteTiles removes the tiles that an event belongs in. key is memory to use.
func deleteTiles(b *kv.Batch, subject uint64, prefix, entity []byte, event int64, key []byte) []byte {
	key = key[:0]
	var keys [len(tileSpans)][]byte
	for level, span := range tileSpans {
		start := len(key)
		key = append(append(append(key, prefix...), entity...), byte(level))
		key = kv.AppendInt64(key, floorTo(event, span))
		keys[level] = key[start:] // stays valid when key moves
	}
	b.DeleteDerived(subject, event, keys[:]...)
	return key
}

// LoadTiles finds out which histories have tiles, so that writers need not delete those
// of others. It is called once, before anything is written.
func (s *Store) LoadTiles(ctx context.Context) error {
	s.db.ForgetDerived()
	for pair, err := range s.db.ScanPrefix([]byte{kv.HistoryTiles}) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if end, ok := tileEnd(pair.Key); ok {
			entity := slices.Clone(pair.Key[:len(pair.Key)-tileTail])
			entity[0] = kv.HistoryRows
			s.db.Reaches(s.db.Subject(entity), end)
		}
	}
	return nil
}

// tileTail is the bytes of a key after the entity.
const tileTail = 1 + 8

// tileEnd returns where the span of a tile ends, exclusive.
func tileEnd(key []byte) (end int64, ok bool) {
	if len(key) < tileTail {
		return 0, false
	}
	level := int(key[len(key)-tileTail])
	start, _, err := kv.TakeInt64(key[len(key)-8:])
	if err != nil || level >= len(tileSpans) {
		return 0, false
	}
	return start + tileSpans[level], true
}
