package online

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// lookedAt bounds how many keys are looked at for one entity of a sample: rows of other
// views with the same join keys lie in between.
const lookedAt = 256

// Sample draws entities that have a row of the view, and returns their key columns, which
// the caller releases; some may be there twice. It draws those that follow the entities of
// near, which are key columns too, in the order of the store: so entities that only this
// store knows can be met from ones that everybody knows. And it draws n that follow random
// places between the first and the last entity, so that none is far from all of them.
func (s *Store) Sample(mem memory.Allocator, view *driftline.FeatureView, near []arrow.Array, n int, random *rand.Rand) ([]arrow.Array, error) {
	builders := make([]array.Builder, len(view.JoinKeys))
	for i, k := range view.JoinKeys {
		builders[i] = array.NewBuilder(mem, k.Type.Arrow())
		defer builders[i].Release()
	}
	prefix := keyPrefix(view.JoinKeys)
	if len(view.JoinKeys) > 0 {
		for row := range near[0].Len() {
			entity, null := appendEntity(bytes.Clone(prefix), near, row)
			if null >= 0 {
				continue
			}
			if err := s.appendNext(builders, view, prefix, entity, true); err != nil {
				return nil, err
			}
		}
		if err := s.appendRandom(builders, view, prefix, n, random); err != nil {
			return nil, err
		}
	}
	drawn := make([]arrow.Array, len(builders))
	for i, b := range builders {
		drawn[i] = b.NewArray()
	}
	return drawn, nil
}

func (s *Store) appendRandom(builders []array.Builder, view *driftline.FeatureView, prefix []byte, n int, random *rand.Rand) error {
	first, err := s.firstKey(prefix)
	if first == nil || err != nil {
		return err
	}
	last, _, err := s.db.Last(prefix)
	if err != nil {
		return err
	}
	for range n {
		if err := s.appendNext(builders, view, prefix, between(first, last, random), false); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) firstKey(prefix []byte) ([]byte, error) {
	for pair, err := range s.db.ScanPrefix(prefix) {
		return bytes.Clone(pair.Key), err
	}
	return nil, nil
}

// between is a random place between two keys: what they begin with alike, and then eight
// bytes as if those of the keys were numbers.
func between(first, last []byte, random *rand.Rand) []byte {
	same := 0
	for same < min(len(first), len(last)) && first[same] == last[same] {
		same++
	}
	number := func(key []byte) uint64 {
		var b [8]byte
		copy(b[:], key[same:])
		return binary.BigEndian.Uint64(b[:])
	}
	low, high := number(first), number(last)
	if low >= high {
		return first
	}
	return binary.BigEndian.AppendUint64(bytes.Clone(first[:same]), low+random.Uint64N(high-low))
}

// appendNext appends the first entity from a key on that has a row of the view, if it is
// near. past leaves out the entity that the key is of.
func (s *Store) appendNext(builders []array.Builder, view *driftline.FeatureView, prefix, from []byte, past bool) error {
	left := lookedAt
	for pair, err := range s.db.ScanFrom(from, prefix) {
		if err != nil {
			return err
		}
		if left--; left < 0 {
			return nil
		}
		if past && bytes.HasPrefix(pair.Key, from) {
			continue
		}
		name, err := viewOfKey(pair.Key[len(prefix):], view.JoinKeys)
		if err != nil {
			return err
		}
		if name == string(view.Name) {
			return takeEntity(builders, view.JoinKeys, pair.Key[len(prefix):])
		}
	}
	return nil
}

// takeEntity appends the entity of a key, without its prefix, to builders of the types of
// the join keys: what appendEntity wrote.
func takeEntity(builders []array.Builder, joinKeys []driftline.Field, key []byte) error {
	for i := range joinKeys {
		var err error
		switch b := builders[i].(type) {
		case *array.StringBuilder:
			var v string
			v, key, err = kv.TakeString(key)
			b.Append(v)
		case *array.BinaryBuilder:
			var v []byte
			v, key, err = kv.TakeBytes(key)
			b.Append(v)
		case *array.Int64Builder:
			var v int64
			v, key, err = kv.TakeInt64(key)
			b.Append(v)
		case *array.Int32Builder:
			var v int64
			v, key, err = kv.TakeInt64(key)
			b.Append(int32(v))
		case *array.TimestampBuilder:
			var v int64
			v, key, err = kv.TakeInt64(key)
			b.Append(arrow.Timestamp(v))
		case *array.Float64Builder:
			var v float64
			v, key, err = kv.TakeFloat64(key)
			b.Append(v)
		case *array.Float32Builder:
			var v float64
			v, key, err = kv.TakeFloat64(key)
			b.Append(float32(v))
		case *array.BooleanBuilder:
			var v bool
			v, key, err = kv.TakeBool(key)
			b.Append(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
