package kv

import (
	"bytes"
	"errors"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// Pair is a key and its value, valid until the next iteration.
type Pair struct{ Key, Value []byte }

// Get returns a copy of key's value, or nil if there is no such key. The value of
// a key that is there is never nil.
func (db *DB) Get(key []byte) ([]byte, error) {
	done, err := db.use()
	if err != nil {
		return nil, err
	}
	defer done()
	value, closer, err := db.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	defer closer.Close()
	return append([]byte{}, value...), nil
}

// Scan yields the pairs with lower ≤ key < upper in key order, of the state at
// the time that the range begins. A nil bound is none. After an error the range
// is over.
func (db *DB) Scan(lower, upper []byte) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		if err := db.scan(lower, upper, yield); err != nil {
			yield(Pair{}, err)
		}
	}
}

// ScanPrefix is [DB.Scan] over the keys that begin with prefix.
func (db *DB) ScanPrefix(prefix []byte) iter.Seq2[Pair, error] {
	return db.Scan(prefix, After(prefix))
}

// ScanFrom is [DB.ScanPrefix] from the key lower on.
func (db *DB) ScanFrom(lower, prefix []byte) iter.Seq2[Pair, error] {
	return db.Scan(lower, After(prefix))
}

// scan yields pairs; an error that it returns is still to be yielded. It returns
// none after the consumer has stopped.
func (db *DB) scan(lower, upper []byte, yield func(Pair, error) bool) (err error) {
	done, err := db.use()
	if err != nil {
		return err
	}
	defer done()
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: outside(lower), UpperBound: upper})
	if err != nil {
		return readError(err)
	}
	stopped := false
	defer func() {
		if err = closeIterator(it, err); stopped {
			err = nil
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		if !yield(Pair{Key: it.Key(), Value: value}, nil) {
			stopped = true
			return nil
		}
	}
	return nil
}

// Last returns copies of the greatest key with the prefix and its value, or nils
// if there is no such key.
func (db *DB) Last(prefix []byte) (key, value []byte, err error) {
	done, err := db.use()
	if err != nil {
		return nil, nil, err
	}
	defer done()
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: outside(prefix), UpperBound: After(prefix)})
	if err != nil {
		return nil, nil, readError(err)
	}
	defer func() { err = closeIterator(it, err) }()
	if !it.Last() {
		return nil, nil, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, nil, readError(err)
	}
	return bytes.Clone(it.Key()), append([]byte{}, v...), nil
}

// outside keeps a lower bound out of this package's own keyspace.
func outside(lower []byte) []byte {
	if first := []byte{internal + 1}; bytes.Compare(lower, first) < 0 {
		return first
	}
	return lower
}

// closeIterator returns the first of err and what the iterator met.
func closeIterator(it *pebble.Iterator, err error) error {
	closeErr := it.Close() // includes it.Error()
	if err == nil && closeErr != nil {
		return readError(closeErr)
	}
	return err
}
