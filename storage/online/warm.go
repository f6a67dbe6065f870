package online

import (
	"bytes"
	"context"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// warmEvents is how many events an entity's history has whose tiles are made before anybody
// asks: reading fewer takes some milliseconds.
var warmEvents = 10_000

// Warm makes the tiles that reads at a time from at on want, of entities with many events,
// and returns how many such entities there are. Tiles that are there are not made again. It
// reads the keys of the view's whole history.
func (s *Store) Warm(ctx context.Context, mem memory.Allocator, a *Aggregates, at int64) (warmed int, err error) {
	prefix := historyPrefix(a.view.Name)
	var entity []byte
	events := 0
	warm := func() error {
		if events < warmEvents {
			return nil
		}
		warmed++
		return s.warmEntity(mem, a, entity, at)
	}
	for pair, err := range s.db.ScanPrefix(prefix) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return warmed, err
		}
		if entity == nil || !bytes.HasPrefix(pair.Key, entity) {
			if err := warm(); err != nil {
				return warmed, err
			}
			rest, err := cutEntity(pair.Key[len(prefix):], a.view.JoinKeys, nil)
			if err != nil {
				return warmed, err
			}
			entity, events = bytes.Clone(pair.Key[:len(pair.Key)-len(rest)]), 0
		}
		events++
	}
	return warmed, warm()
}

// warmEntity reads an entity for the tiles that it leaves behind.
func (s *Store) warmEntity(mem memory.Allocator, a *Aggregates, prefix []byte, at int64) error {
	answer := newAggregated(1, len(a.query.Features))
	subject := s.db.Subject(prefix)
	entities := []aggregatedEntity{{prefix: prefix, subject: subject, stamp: s.db.Stamp(subject)}}
	return s.aggregate(context.Background(), mem, a, entities, at, answer)
}
