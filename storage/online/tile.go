package online

import (
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
// It is made when it is wanted, and whoever writes a row deletes those that the row
// belongs in, in the same batch: see package kv on derived values.

// tileSpans are the lengths of tiles, in microseconds, by level. Each is a multiple of the one before.
var tileSpans = [...]int64{5 * 60 * 1e6, 3600 * 1e6, 24 * 3600 * 1e6}

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

// deleteTiles removes the tiles that an event belongs in.
func deleteTiles(b *kv.Batch, prefix, entity []byte, event int64) {
	key := append(append(make([]byte, 0, len(prefix)+len(entity)+9), prefix...), entity...)
	at := len(key)
	for level, span := range tileSpans {
		key = append(key[:at], byte(level))
		b.Delete(kv.AppendInt64(key, floorTo(event, span)))
	}
}

// tileEnd returns where the span of a tile ends, exclusive.
func tileEnd(key []byte) (end int64, ok bool) {
	const tail = 1 + 8
	if len(key) < tail {
		return 0, false
	}
	level := int(key[len(key)-tail])
	start, _, err := kv.TakeInt64(key[len(key)-8:])
	if err != nil || level >= len(tileSpans) {
		return 0, false
	}
	return start + tileSpans[level], true
}
