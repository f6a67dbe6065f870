package registry

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// keyTable numbers the keys of params, tags and metrics: runs have the same few, so
// each is kept once and named by a small number. Numbers are given in the order of first
// use, never taken back, and mean nothing outside the process.
type keyTable struct {
	mu      sync.RWMutex
	numbers map[string]uint32
	texts   atomic.Pointer[[]string] // by number; grows at its end only
}

func newKeyTable() *keyTable {
	k := &keyTable{numbers: map[string]uint32{}}
	k.texts.Store(new([]string))
	return k
}

// find returns the number of a key that was used before.
func (k *keyTable) find(key string) (uint32, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	n, ok := k.numbers[key]
	return n, ok
}

// number returns the number of a key, a new one if it is new.
func (k *keyTable) number(key string) uint32 {
	if n, ok := k.find(key); ok {
		return n
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n, ok := k.numbers[key]; ok {
		return n
	}
	key = strings.Clone(key) // it may be part of a large text
	texts := *k.texts.Load()
	n := uint32(len(texts))
	texts = append(texts, key)
	k.numbers[key] = n
	k.texts.Store(&texts)
	return n
}

// numberOf is number without making a string of a key that is known.
func (k *keyTable) numberOf(key []byte) uint32 {
	k.mu.RLock()
	n, ok := k.numbers[string(key)]
	k.mu.RUnlock()
	if !ok {
		n = k.number(string(key))
	}
	return n
}

// all returns the keys by number. Later keys may be missing.
func (k *keyTable) all() []string { return *k.texts.Load() }

// pairs are the params or the tags of a run in one piece of memory, never changed: for
// each pair its key's number, the value's length and the value, sorted by key.
type pairs string

func (k *keyTable) pack(values map[string]string) pairs {
	if len(values) == 0 {
		return ""
	}
	packed := make([]byte, 0, 16*len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		packed = appendPair(packed, k.number(key), values[key])
	}
	return pairs(packed)
}

func appendPair[T string | []byte](packed []byte, key uint32, value T) []byte {
	packed = binary.AppendUvarint(packed, uint64(key))
	packed = binary.AppendUvarint(packed, uint64(len(value)))
	return append(packed, value...)
}

// all yields the number of each key and its value.
func (p pairs) all() iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		for len(p) > 0 {
			var key, size uint64
			key, p = takeUvarint(p)
			size, p = takeUvarint(p)
			if !yield(uint32(key), string(p[:size])) {
				return
			}
			p = p[size:]
		}
	}
}

// get returns the value of a key.
func (p pairs) get(number uint32) (string, bool) {
	for len(p) > 0 {
		var key, size uint64
		key, p = takeUvarint(p)
		size, p = takeUvarint(p)
		if uint32(key) == number {
			return string(p[:size]), true
		}
		p = p[size:]
	}
	return "", false
}

// takeUvarint reads what binary.AppendUvarint wrote, without a copy to bytes.
func takeUvarint(p pairs) (uint64, pairs) {
	var n uint64
	for i := range len(p) {
		n |= uint64(p[i]&0x7f) << (7 * i)
		if p[i] < 0x80 {
			return n, p[i+1:]
		}
	}
	return n, ""
}

// unpack returns the pairs as a map, nil if there are none.
func (k *keyTable) unpack(p pairs) map[string]string {
	if p == "" {
		return nil
	}
	texts, values := k.all(), map[string]string{}
	for key, value := range p.all() {
		values[texts[key]] = value
	}
	return values
}

// merged returns p with news, which replace what has the same key.
func (k *keyTable) merged(p pairs, news map[string]string) pairs {
	if len(news) == 0 {
		return p
	}
	values := k.unpack(p)
	if values == nil {
		return k.pack(news)
	}
	maps.Copy(values, news)
	return k.pack(values)
}

// joined is [keyTable.merged] of what is packed already.
func (k *keyTable) joined(p, news pairs) pairs {
	if p == "" {
		return news
	}
	return k.merged(p, k.unpack(news))
}

// without returns p without some keys.
func (k *keyTable) without(p pairs, keys []string) pairs {
	if len(keys) == 0 {
		return p
	}
	values := k.unpack(p)
	for _, key := range keys {
		delete(values, key)
	}
	return k.pack(values)
}
