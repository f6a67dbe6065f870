package kv

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/driftline/driftline"
)

// maxBatchBytes is far below where Pebble panics (4 GiB).
const maxBatchBytes = 1 << 30

// Batch collects changes that become durable and visible together. A batch is
// for one goroutine and one commit. Keys and values are copied.
//
// Changes apply in the order of the calls.
type Batch struct {
	db        *DB
	pebble    *pebble.Batch
	hot       [][]byte // keys to settle
	unchanged []change // deletions that depend on what is there
	touched   []uint64 // see Touch

	derived     []deletion // see DeleteDerived
	derivedKeys []byte

	tooLarge  bool
	committed bool
}

// NewBatch returns an empty batch. The caller closes it, committed or not.
func (db *DB) NewBatch() *Batch {
	return &Batch{db: db, pebble: db.pebble.NewBatch()}
}

// Set gives key a value. A nil value is an empty one.
func (b *Batch) Set(key, value []byte) {
	if b.fits(len(key) + len(value)) {
		_ = b.pebble.Set(key, value, nil)
	}
}

// Delete removes key if it is there.
func (b *Batch) Delete(key []byte) {
	if b.fits(len(key)) {
		_ = b.pebble.Delete(key, nil)
	}
}

// DeleteIf removes key if it has exactly this value before the batch is applied. A value
// that another commit gave it in the meantime stays.
func (b *Batch) DeleteIf(key, value []byte) {
	if b.fits(len(key)) {
		b.unchanged = append(b.unchanged, change{bytes.Clone(key), bytes.Clone(value)})
	}
}

// change is a key and the value that it must have to be deleted.
type change struct{ key, value []byte }

// DeletePrefix removes every key that begins with prefix, which must not be empty.
func (b *Batch) DeletePrefix(prefix []byte) {
	if end := After(prefix); end != nil && b.fits(len(prefix)+len(end)) {
		_ = b.pebble.DeleteRange(prefix, end, nil)
	}
}

// Max gives key the greater of value and the value that it has, in byte order.
// It may be called any number of times, in any order, with the same outcome.
func (b *Batch) Max(key, value []byte) {
	if b.fits(len(key) + len(value)) {
		_ = b.pebble.Merge(key, value, nil)
		if b.db.heat.observe(key) {
			b.hot = append(b.hot, bytes.Clone(key))
		}
	}
}

// fits is false from the first change that makes the batch too large. The
// changes of an unindexed batch have no other way to fail.
func (b *Batch) fits(more int) bool {
	b.tooLarge = b.tooLarge || b.pebble.Len()+more > b.db.batchBytes
	return !b.tooLarge
}

// Empty reports whether there is nothing to commit.
func (b *Batch) Empty() bool {
	return b.pebble.Empty() && len(b.unchanged)+len(b.derived) == 0 && !b.tooLarge
}

// Bytes is the size of the batch as it will be written.
func (b *Batch) Bytes() int { return b.pebble.Len() }

// Commit applies the batch. It is durable when Commit returns nil; after an
// error it may or may not be. Committing an empty batch does nothing.
func (b *Batch) Commit() error {
	wait, err := b.Start()
	if err != nil {
		return err
	}
	return wait()
}

// Start is the first half of Commit: it gives the batch its place behind every
// batch started before, and does not wait for the disk. After an error nothing
// was written. wait is the second half: call it exactly once, before Close. When
// it returns nil, every batch started before this one is durable too.
//
// A caller that keeps an order of its own holds its lock during Start only, and
// its commits still share an fsync.
func (b *Batch) Start() (wait func() error, err error) {
	done, err := b.db.use()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			done()
		}
	}()
	switch {
	case b.committed, b.pebble == nil:
		return nil, driftline.Errorf(driftline.Internal, "batch was committed or closed before")
	case b.tooLarge:
		return nil, driftline.Errorf(driftline.Exhausted, "write is larger than %d MiB", b.db.batchBytes>>20).
			WithHint("send it in smaller parts")
	case b.Empty():
		return func() error { done(); return nil }, nil
	}
	b.committed = true
	commit, err := b.db.enqueue(b)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer done()
		return b.db.await(b.pebble, commit)
	}, nil
}

// await waits until the commit is durable and raises the watermark to it.
func (db *DB) await(b *pebble.Batch, commit uint64) error {
	if err := b.SyncWait(); err != nil {
		return db.fail(err)
	}
	if err := db.watermark.advance(commit); err != nil {
		return db.fail(err)
	}
	return nil
}

// Close frees the batch. What was not committed is gone. It can be called again.
func (b *Batch) Close() error {
	if b.pebble == nil {
		return nil
	}
	err := b.pebble.Close()
	b.pebble = nil
	return err
}

// enqueue numbers a batch and puts it in the log, in that order for all batches,
// and leaves the fsync to be waited for: batches that wait together share one.
func (db *DB) enqueue(b *Batch) (commit uint64, err error) {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	defer db.endOnPanic()
	if db.failed != nil {
		return 0, db.failed
	}
	if err := db.deleteUnchanged(b); err != nil {
		return 0, err
	}
	db.deleteDerived(b)
	commit = db.commit + 1
	if err := b.pebble.Set(commitKey, binary.BigEndian.AppendUint64(nil, commit), nil); err != nil {
		return 0, err
	}
	if err := db.pebble.ApplyNoSyncWait(b.pebble, pebble.Sync); err != nil {
		return 0, readError(err)
	}
	db.commit = commit
	db.stamps.touch(b.touched)
	db.settle(b.hot)
	return commit, nil
}

// deleteUnchanged adds the deletions of [Batch.DeleteIf] whose condition holds. The caller
// holds commitMu, so that it still holds when the batch is applied.
func (db *DB) deleteUnchanged(b *Batch) error {
	for _, c := range b.unchanged {
		value, closer, err := db.pebble.Get(c.key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return readError(err)
		}
		same := bytes.Equal(value, c.value)
		if err := closer.Close(); err != nil {
			return readError(err)
		}
		if same {
			_ = b.pebble.Delete(c.key, nil)
		}
	}
	return nil
}

// endOnPanic ends the process if Pebble panics in a commit, as it does when it
// cannot begin a new log file: it holds locks then that nobody can give back.
func (db *DB) endOnPanic() {
	if r := recover(); r != nil {
		logger{db.log}.Fatalf("commit panicked: %v", r)
	}
}

// fail refuses every later commit: after a failed fsync the kernel may have
// dropped the pages, and trying again would report success for lost bytes.
func (db *DB) fail(err error) error {
	db.commitMu.Lock()
	defer db.commitMu.Unlock()
	if db.failed == nil {
		e := driftline.Errorf(driftline.Unavailable, "storage could not make a write durable: %w", withoutPath(err)).
			WithHint("check the disk and its free space, then restart the server")
		db.failed = e
	}
	return db.failed
}
