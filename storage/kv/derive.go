package kv

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/driftline/driftline"
)

// What is computed from keys and kept beside them must never outlive a change of those
// keys. A writer that changes them deletes what was computed, in the same batch, and
// touches the subject:
//
//	writer    b.Set(row); b.Delete(sum); b.Touch(subject); b.Commit()
//
//	reader    stamp := db.Stamp(subject)
//	          read the rows from one state, compute the sum
//	          b.Set(sum); b.CommitDerived(subject, stamp)
//
// CommitDerived does nothing if the subject was touched after its stamp was taken. Batches
// are applied and touch their subjects one behind the other, and CommitDerived takes its
// place among them. So if it finds the stamp, every batch that touched the subject was
// applied before the stamp was taken, and so before the state that was read; and each that
// is applied later deletes the sum again.

// stampSlots is how many subjects can be told apart. Two of one slot only make each other's
// derived values be computed again.
const stampSlots = 1 << 14

// stamps counts the commits that touched the subjects of each hash.
type stamps struct{ slots [stampSlots]atomic.Uint64 }

func (s *stamps) touch(subjects []uint64) {
	for _, subject := range subjects {
		s.slots[subject%stampSlots].Add(1)
	}
}

// Subject names what derived values depend on, within this process.
func (db *DB) Subject(name []byte) uint64 { return maphash.Bytes(db.heat.seed, name) }

// Touch says that the batch changes what values derived from the subject depend on.
func (b *Batch) Touch(subject uint64) {
	if n := len(b.touched); n == 0 || b.touched[n-1] != subject {
		b.touched = append(b.touched, subject)
	}
}

// TouchAll is Touch of every subject.
func (b *Batch) TouchAll() {
	b.touched = b.touched[:0]
	for slot := range uint64(stampSlots) {
		b.touched = append(b.touched, slot)
	}
}

// Stamp changes with every commit that touches the subject.
func (db *DB) Stamp(subject uint64) uint64 { return db.stamps.slots[subject%stampSlots].Load() }

// CommitDerived applies a batch of values that were computed from a state read after
// stamp was taken, unless the subject was touched since: then it does nothing. It does
// not wait for the disk, because what is lost can be computed again.
func (b *Batch) CommitDerived(subject, stamp uint64) error {
	done, err := b.db.use()
	if err != nil {
		return err
	}
	defer done()
	switch {
	case b.committed, b.pebble == nil, len(b.unchanged) > 0:
		return driftline.Errorf(driftline.Internal, "batch was committed or closed before, or is not of derived values")
	case b.tooLarge || b.pebble.Empty():
		return nil
	}
	b.db.commitMu.Lock()
	defer b.db.commitMu.Unlock()
	defer b.db.endOnPanic()
	if b.db.failed != nil || b.db.Stamp(subject) != stamp {
		return nil
	}
	b.committed = true
	if err := b.pebble.Commit(pebble.NoSync); err != nil {
		return readError(err)
	}
	return nil
}
