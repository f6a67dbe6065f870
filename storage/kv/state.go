package kv

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// State reads one consistent state, in as many passes as its user needs. It is for one
// goroutine, which closes it.
type State struct {
	it   *pebble.Iterator
	done func()
}

// State returns the state as it is now.
func (db *DB) State() (*State, error) {
	done, err := db.use()
	if err != nil {
		return nil, err
	}
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: outside(nil)})
	if err != nil {
		done()
		return nil, readError(err)
	}
	return &State{it: it, done: done}, nil
}

// Get returns key's value, or nil if there is no such key. The value of a key that is
// there is never nil; it is valid until the next call. Keys that are asked for in
// ascending order are found fastest: those that follow each other are often in one block.
func (s *State) Get(key []byte) ([]byte, error) {
	if !s.it.SeekPrefixGE(key) { // the bloom filters answer for most absent keys
		return nil, s.failure()
	}
	value, err := s.it.ValueAndErr()
	if err != nil {
		return nil, readError(err)
	}
	if value == nil {
		value = []byte{}
	}
	return value[:len(value):len(value)], nil
}

// Scan visits the pairs with lower ≤ key < upper in key order, until visit is false. Key
// and value are valid only during the visit.
func (s *State) Scan(lower, upper []byte, visit func(key, value []byte) bool) error {
	for ok := s.it.SeekGE(lower); ok && bytes.Compare(s.it.Key(), upper) < 0; ok = s.it.Next() {
		value, err := s.it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		if !visit(s.it.Key(), value) {
			return nil
		}
	}
	return s.failure()
}

// ScanBack is [State.Scan] from the greatest key to the least.
func (s *State) ScanBack(lower, upper []byte, visit func(key, value []byte) bool) error {
	for ok := s.it.SeekLT(upper); ok && bytes.Compare(s.it.Key(), lower) >= 0; ok = s.it.Prev() {
		value, err := s.it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		if !visit(s.it.Key(), value) {
			return nil
		}
	}
	return s.failure()
}

func (s *State) failure() error {
	if err := s.it.Error(); err != nil {
		return readError(err)
	}
	return nil
}

// Close ends the reading. It can be called again.
func (s *State) Close() error {
	if s.it == nil {
		return nil
	}
	err := s.it.Close()
	s.it = nil
	s.done()
	if err != nil {
		return readError(err)
	}
	return nil
}
