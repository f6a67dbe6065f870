package rollout

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/bits"

	"github.com/driftline/driftline"
)

// keyBits is how many bits keys are hashed to.
const (
	keyBits  = 1 << 17
	keyWords = keyBits / 64
)

// Keys is a set of keys, by a bit of a hash: two keys may share one. Its zero value is empty.
type Keys struct{ words []uint64 }

// Key returns the hash of a key by which [Observation] names it. It is never 0. It has
// nothing to do with the hash that deals keys to arms.
func Key(key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	v := h.Sum64()
	v ^= v >> 32 // FNV's low bits alone are poor
	v *= 0x9E3779B97F4A7C15
	return v | 1
}

func keyBit(key uint64) (word int, bit uint64) {
	at := key >> (64 - 17)
	return int(at / 64), 1 << (at % 64)
}

// has reports whether the key, or one that shares its bit, was added.
func (k *Keys) has(key uint64) bool {
	word, bit := keyBit(key)
	return k.words != nil && k.words[word]&bit != 0
}

// add adds the key, and reports whether it was new.
func (k *Keys) add(key uint64) bool {
	if k.words == nil {
		k.words = make([]uint64, keyWords)
	}
	word, bit := keyBit(key)
	fresh := k.words[word]&bit == 0
	k.words[word] |= bit
	return fresh
}

func (k *Keys) clone() Keys { return Keys{append([]uint64(nil), k.words...)} }

// merge adds all keys of other.
func (k *Keys) merge(other Keys) {
	if other.words == nil {
		return
	}
	if k.words == nil {
		k.words = make([]uint64, keyWords)
	}
	for i, word := range other.words {
		k.words[i] |= word
	}
}

// MarshalText writes the distances between the bits as varints, or all bits where that is
// shorter, in base64; "" for the empty set.
func (k Keys) MarshalText() ([]byte, error) {
	var sparse []byte
	last := 0
	for i, word := range k.words {
		for ; word != 0 && len(sparse) < keyBits/8; word &= word - 1 {
			at := i*64 + bits.TrailingZeros64(word) + 1
			sparse = binary.AppendUvarint(sparse, uint64(at-last))
			last = at
		}
	}
	if len(sparse) >= keyBits/8 {
		sparse = sparse[:0]
		for _, word := range k.words {
			sparse = binary.LittleEndian.AppendUint64(sparse, word)
		}
	}
	return base64.StdEncoding.AppendEncode(nil, sparse), nil
}

// UnmarshalText reads what MarshalText writes.
func (k *Keys) UnmarshalText(text []byte) error {
	*k = Keys{}
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return damagedKeys()
	}
	if len(data) == 0 {
		return nil
	}
	k.words = make([]uint64, keyWords)
	if len(data) == keyBits/8 {
		for i := range k.words {
			k.words[i] = binary.LittleEndian.Uint64(data[8*i:])
		}
		return nil
	}
	for at := uint64(0); len(data) > 0; {
		distance, n := binary.Uvarint(data)
		if at += distance; n <= 0 || distance == 0 || at > keyBits {
			return damagedKeys()
		}
		k.words[(at-1)/64] |= 1 << ((at - 1) % 64)
		data = data[n:]
	}
	return nil
}

// countCells is how many cells counts are hashed to.
const countCells = 1 << 14

// Counts are how many events each key had, by a cell of a hash: keys of one cell are counted
// together, so that none is ever thought to have fewer than it had. The zero value is empty.
type Counts struct{ cells []uint32 }

// add counts an event of a key, and returns how many it has had: 1 for the key 0, which is
// another one each time.
func (c *Counts) add(key uint64) int64 {
	if key == 0 {
		return 1
	}
	if c.cells == nil {
		c.cells = make([]uint32, countCells)
	}
	cell := &c.cells[key>>(64-14)]
	if *cell < math.MaxUint32 {
		*cell++
	}
	return int64(*cell)
}

func (c *Counts) clone() Counts { return Counts{append([]uint32(nil), c.cells...)} }

// MarshalText writes, for each cell that is not empty, the distance to the one before and its
// count, as varints in base64.
func (c Counts) MarshalText() ([]byte, error) {
	var data []byte
	last := 0
	for i, count := range c.cells {
		if count > 0 {
			data = binary.AppendUvarint(data, uint64(i+1-last))
			data = binary.AppendUvarint(data, uint64(count))
			last = i + 1
		}
	}
	return base64.StdEncoding.AppendEncode(nil, data), nil
}

// UnmarshalText reads what MarshalText writes.
func (c *Counts) UnmarshalText(text []byte) error {
	*c = Counts{}
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return damagedKeys()
	}
	for at := uint64(0); len(data) > 0; {
		distance, n := binary.Uvarint(data)
		count, k := binary.Uvarint(data[max(0, n):])
		if at += distance; n <= 0 || k <= 0 || distance == 0 || at > countCells || count == 0 || count > math.MaxUint32 {
			return damagedKeys()
		}
		if c.cells == nil {
			c.cells = make([]uint32, countCells)
		}
		c.cells[at-1] = uint32(count)
		data = data[n+k:]
	}
	return nil
}

func damagedKeys() error {
	return driftline.Errorf(driftline.DataLoss, "the keys of a rollout's evidence are damaged").
		WithHint("restore the newest backup, or abort the rollout and start it again")
}
