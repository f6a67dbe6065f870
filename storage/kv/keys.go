package kv

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/driftline/driftline"
)

// Tuples. Each Append function adds one element to a key such that keys with the
// same kinds of elements sort by their elements, first to last, and no tuple's
// encoding is the prefix of another's. Each Take function reads one element off
// the front of a key and returns the rest.
//
//	bool     1 byte   0, 1
//	uint64   8 bytes  big-endian
//	int64    8 bytes  big-endian, sign bit flipped
//	float64  8 bytes  big-endian bits; sign bit flipped, or all bits if negative
//	bytes    n+2      00 → 00 FF, others as they are; ends with 00 01
//	string   n+2      as bytes
//
// Floats sort -NaN < -Inf < … < -0 < +0 < … < +Inf < NaN and keep their bits.

const (
	escape     = 0x00
	escapedNul = 0xFF // after escape: the byte 00
	terminator = 0x01 // after escape: the end
)

const signBit = 1 << 63

// AppendBool adds a bool; false sorts first.
func AppendBool(key []byte, v bool) []byte {
	if v {
		return append(key, 1)
	}
	return append(key, 0)
}

// AppendUint64 adds an unsigned integer.
func AppendUint64(key []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(key, v) }

// AppendInt64 adds a signed integer.
func AppendInt64(key []byte, v int64) []byte { return AppendUint64(key, uint64(v)^signBit) }

// AppendFloat64 adds a float, bit for bit: -0 and +0 are two keys.
func AppendFloat64(key []byte, v float64) []byte {
	bits := math.Float64bits(v)
	if bits&signBit != 0 {
		return AppendUint64(key, ^bits)
	}
	return AppendUint64(key, bits|signBit)
}

// AppendBytes adds bytes of any content and length.
func AppendBytes(key, v []byte) []byte {
	for {
		i := bytes.IndexByte(v, escape)
		if i < 0 {
			break
		}
		key = append(key, v[:i]...)
		key = append(key, escape, escapedNul)
		v = v[i+1:]
	}
	key = append(key, v...)
	return append(key, escape, terminator)
}

// AppendString adds a string of any content and length.
func AppendString(key []byte, v string) []byte {
	for i := range len(v) {
		if v[i] == escape {
			return AppendBytes(key, []byte(v))
		}
	}
	key = append(key, v...)
	return append(key, escape, terminator)
}

// TakeBool reads what [AppendBool] wrote.
func TakeBool(key []byte) (v bool, rest []byte, err error) {
	if len(key) < 1 || key[0] > 1 {
		return false, nil, damagedKey("bool")
	}
	return key[0] == 1, key[1:], nil
}

// TakeUint64 reads what [AppendUint64] wrote.
func TakeUint64(key []byte) (v uint64, rest []byte, err error) {
	if len(key) < 8 {
		return 0, nil, damagedKey("uint64")
	}
	return binary.BigEndian.Uint64(key), key[8:], nil
}

// TakeInt64 reads what [AppendInt64] wrote.
func TakeInt64(key []byte) (v int64, rest []byte, err error) {
	u, rest, err := TakeUint64(key)
	if err != nil {
		return 0, nil, damagedKey("int64")
	}
	return int64(u ^ signBit), rest, nil
}

// TakeFloat64 reads what [AppendFloat64] wrote.
func TakeFloat64(key []byte) (v float64, rest []byte, err error) {
	u, rest, err := TakeUint64(key)
	if err != nil {
		return 0, nil, damagedKey("float64")
	}
	if u&signBit != 0 {
		return math.Float64frombits(u &^ signBit), rest, nil
	}
	return math.Float64frombits(^u), rest, nil
}

// TakeBytes reads what [AppendBytes] wrote. The value is a copy.
func TakeBytes(key []byte) (v, rest []byte, err error) {
	v = []byte{}
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 || i+1 == len(key) {
			return nil, nil, damagedKey("bytes")
		}
		v = append(v, key[:i]...)
		next := key[i+1]
		key = key[i+2:]
		switch next {
		case terminator:
			return v, key, nil
		case escapedNul:
			v = append(v, escape)
		default:
			return nil, nil, damagedKey("bytes")
		}
	}
}

// TakeString reads what [AppendString] wrote.
func TakeString(key []byte) (v string, rest []byte, err error) {
	b, rest, err := TakeBytes(key)
	return string(b), rest, err
}

func damagedKey(kind string) error {
	return driftline.Errorf(driftline.DataLoss, "a stored key is damaged: want %s", kind)
}

// After returns the least key that is greater than every key with the prefix,
// or nil if there is none.
func After(prefix []byte) []byte {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}
