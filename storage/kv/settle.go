package kv

import (
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// A key that gets Max after Max costs its readers one step per operand until the
// next flush: 2.5 ms after 50,000 of them. So one Max in settleEvery is followed
// by a Set of the value that the key then has. Readers stop there.
//
// Keys are counted by hash, without regard to collisions: a key that is settled
// early costs one read.
const (
	settleEvery = 256
	heatSlots   = 4096
)

// heat counts the Max operations of the keys of each hash.
type heat struct {
	seed  maphash.Seed
	slots [heatSlots]atomic.Uint32
}

func newHeat() *heat { return &heat{seed: maphash.MakeSeed()} }

// observe counts a Max of key, and reports whether it is time to settle it.
func (h *heat) observe(key []byte) bool {
	return h.slots[maphash.Bytes(h.seed, key)%heatSlots].Add(1)%settleEvery == 0
}

// settle gives each key the value that it has. The caller holds commitMu, so that
// no commit comes between reading and writing. It does not wait for the disk:
// the state is the same whether it gets there or not. For the same reason a
// failure is not one of the commit that it follows.
func (db *DB) settle(keys [][]byte) {
	if len(keys) == 0 {
		return
	}
	b := db.pebble.NewBatch()
	defer b.Close()
	for _, key := range keys {
		value, closer, err := db.pebble.Get(key)
		if err != nil {
			continue
		}
		_ = b.Set(key, slices.Clone(value), nil)
		_ = closer.Close()
	}
	_ = b.Commit(pebble.NoSync)
}
