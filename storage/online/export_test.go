package online

import (
	"sync/atomic"
	"testing"
)

// OnExpiring calls do before rows that were found expired are removed.
func (s *Store) OnExpiring(do func()) { s.expiring = do }

// SetTileWorth makes tiles of spans of less weight, until the test ends.
func SetTileWorth(t testing.TB, worth int) {
	before := tileWorth
	t.Cleanup(func() { tileWorth, countTile = before, nil })
	tileWorth, countTile = worth, func() { tilesUsed.Add(1) }
}

// SetWarmEvents makes Warm care for entities with fewer events, until the test ends.
func SetWarmEvents(t testing.TB, events int) {
	before := warmEvents
	t.Cleanup(func() { warmEvents = before })
	warmEvents = events
}

var tilesUsed atomic.Int64

// TilesUsed is how many tiles were read since SetTileWorth.
func TilesUsed() int64 { return tilesUsed.Load() }
