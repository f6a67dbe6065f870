package kv

import (
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/driftline/driftline"
)

// What is computed from keys and kept beside them must never outlive a change of those
// keys. A writer that changes them deletes what was computed, in the same batch, and
// touches the subject:
//
//	writer    b.Set(row); b.DeleteDerived(subject, at, sum); b.Commit()
//
//	reader    stamp := db.Stamp(subject)
//	          read the rows from one state, compute the sum
//	          b.Set(sum); b.CommitDerived(subject, stamp, end)
//
// CommitDerived does nothing if the subject was touched after its stamp was taken. Batches
// are applied and touch their subjects one behind the other, and CommitDerived takes its
// place among them. So if it finds the stamp, every batch that touched the subject was
// applied before the stamp was taken, and so before the state that was read; and each that
// is applied later deletes the sum again.
//
// A deletion costs, even if there is nothing to delete. So derived values say up to where
// on some scale (times, for rows) they reach, and a deletion that is beyond all of its
// subject is left out. That is decided in the same order, when the batch is applied.

// stampSlots is how many subjects can be told apart. Two of one slot only make each other's
// derived values be computed again.
const stampSlots = 1 << 14

// stamps is what is known of the subjects of each hash.
type stamps struct {
	touched [stampSlots]atomic.Uint64 // how many commits touched them
	reach   [stampSlots]int64         // nothing derived is of a place from here on; guarded by commitMu
}

func (s *stamps) touch(subjects []uint64) {
	for _, subject := range subjects {
		s.touched[subject%stampSlots].Add(1)
	}
}

// init says that it is not known what is derived.
func (s *stamps) init() {
	for i := range s.reach {
		s.reach[i] = math.MaxInt64
	}
}

// deletion is keys of derived values, which lie in a batch's arena one behind the other.
type deletion struct {
	subject    uint64
	at         int64
	start, end int
	keys       int
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

// DeleteDerived is Touch, and removes keys, of equal lengths, of values that are derived
// from what the subject has at a place.
func (b *Batch) DeleteDerived(subject uint64, at int64, keys ...[]byte) {
	b.Touch(subject)
	start := len(b.derivedKeys)
	for _, key := range keys {
		b.derivedKeys = append(b.derivedKeys, key...)
	}
	if b.fits(len(b.derivedKeys) - start) {
		b.derived = append(b.derived, deletion{subject, at, start, len(b.derivedKeys), len(keys)})
	}
}

// deleteDerived adds the deletions that are needed. The caller holds commitMu.
func (db *DB) deleteDerived(b *Batch) {
	for _, d := range b.derived {
		if d.at >= db.stamps.reach[d.subject%stampSlots] {
			continue
		}
		size := (d.end - d.start) / d.keys
		for at := d.start; at < d.end; at += size {
			_ = b.pebble.Delete(b.derivedKeys[at:at+size], nil)
		}
	}
}

// Stamp changes with every commit that touches the subject.
func (db *DB) Stamp(subject uint64) uint64 { return db.stamps.touched[subject%stampSlots].Load() }

// ForgetDerived says that there are no derived values but those of which [DB.Reaches] is
// told, until the next [Batch.CommitDerived]. It is for a DB that was just opened: until
// then every deletion is carried out.
func (db *DB) ForgetDerived() {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	for i := range db.stamps.reach {
		db.stamps.reach[i] = math.MinInt64
	}
}

// Reaches says that there are values derived from what a subject has before end.
func (db *DB) Reaches(subject uint64, end int64) {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	db.stamps.extend(subject, end)
}

func (s *stamps) extend(subject uint64, end int64) {
	s.reach[subject%stampSlots] = max(s.reach[subject%stampSlots], end)
}

// CommitDerived applies a batch of values that were computed, from what the subject has
// before end, of a state read after stamp was taken, unless the subject was touched since:
// then it does nothing. It does not wait for the disk, because what is lost can be
// computed again.
func (b *Batch) CommitDerived(subject, stamp uint64, end int64) error {
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
	b.db.stamps.extend(subject, end)
	if err := b.pebble.Commit(pebble.NoSync); err != nil {
		return readError(err)
	}
	return nil
}
