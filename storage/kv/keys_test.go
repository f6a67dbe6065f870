package kv_test

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

func sign(n int) int { return cmp.Compare(n, 0) }

// floatOrder is the order that the doc of the encoding promises.
func floatOrder(a, b float64) int {
	rank := func(f float64) int64 {
		bits := int64(math.Float64bits(f))
		if bits < 0 {
			return -(bits & math.MaxInt64) - 1
		}
		return bits
	}
	return cmp.Compare(rank(a), rank(b))
}

func TestFloatKeysSortAsNumbers(t *testing.T) {
	sorted := []float64{
		math.Inf(-1), -math.MaxFloat64, -1, -math.SmallestNonzeroFloat64, math.Copysign(0, -1),
		0, math.SmallestNonzeroFloat64, 0.5, 1, math.MaxFloat64, math.Inf(1), math.NaN(),
	}
	var keys [][]byte
	for _, f := range sorted {
		keys = append(keys, kv.AppendFloat64(nil, f))
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Fatalf("keys are not sorted: %x", keys)
	}
}

// FuzzKeysKeepOrder compares the order of two tuples with that of their keys,
// reads both back, and checks that neither key is a prefix of the other.
func FuzzKeysKeepOrder(f *testing.F) {
	f.Add("a_b", "c", int64(1), 1.5, true, "a", "b_c", int64(23), -1.5, false)
	f.Add("", "", int64(math.MinInt64), math.Inf(-1), false, "\x00", "", int64(math.MaxInt64), math.NaN(), true)
	f.Add("\x00", "\x01", int64(0), 0.0, false, "\x00\x00", "\xff", int64(-1), math.Copysign(0, -1), false)
	f.Add("a\x00\xff", "", int64(0), 0.0, false, "a\x00\x01", "", int64(0), 0.0, false)
	f.Fuzz(func(t *testing.T, s1, b1 string, i1 int64, f1 float64, y1 bool, s2, b2 string, i2 int64, f2 float64, y2 bool) {
		one, two := tuple(s1, b1, i1, f1, y1), tuple(s2, b2, i2, f2, y2)
		want := cmp.Or(
			cmp.Compare(s1, s2), cmp.Compare(b1, b2), cmp.Compare(i1, i2), floatOrder(f1, f2),
			cmp.Compare(uint64(i1), uint64(i2)), boolOrder(y1, y2),
		)
		if got := bytes.Compare(one, two); sign(got) != want {
			t.Fatalf("keys %x and %x compare %d, their tuples %d", one, two, got, want)
		}
		if want != 0 && (bytes.HasPrefix(one, two) || bytes.HasPrefix(two, one)) {
			t.Fatalf("%x is a prefix of %x, or the other way", one, two)
		}
		readBack(t, one, s1, b1, i1, f1, y1)
		readBack(t, two, s2, b2, i2, f2, y2)
	})
}

func boolOrder(a, b bool) int {
	number := map[bool]int{true: 1}
	return cmp.Compare(number[a], number[b])
}

func tuple(s, b string, i int64, f float64, y bool) []byte {
	key := kv.AppendString(nil, s)
	key = kv.AppendBytes(key, []byte(b))
	key = kv.AppendInt64(key, i)
	key = kv.AppendFloat64(key, f)
	key = kv.AppendUint64(key, uint64(i))
	return kv.AppendBool(key, y)
}

func readBack(t *testing.T, key []byte, s, b string, i int64, f float64, y bool) {
	t.Helper()
	gotS, key, err1 := kv.TakeString(key)
	gotB, key, err2 := kv.TakeBytes(key)
	gotI, key, err3 := kv.TakeInt64(key)
	gotF, key, err4 := kv.TakeFloat64(key)
	gotU, key, err5 := kv.TakeUint64(key)
	gotY, key, err6 := kv.TakeBool(key)
	if err := cmp.Or(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	if gotS != s || string(gotB) != b || gotI != i || math.Float64bits(gotF) != math.Float64bits(f) ||
		gotU != uint64(i) || gotY != y || len(key) != 0 {
		t.Fatalf("read %q %q %d %v %d %v and %d bytes, wrote %q %q %d %v %d %v",
			gotS, gotB, gotI, gotF, gotU, gotY, len(key), s, b, i, f, uint64(i), y)
	}
}

// FuzzTakeKeys gives garbage to the readers: an error or a value, no panic, and
// what was read is what would be written.
func FuzzTakeKeys(f *testing.F) {
	for _, seed := range [][]byte{nil, {0}, {0, 1}, {0, 2}, {0, 0xff}, {'a', 0, 0xff, 'b', 0, 1, 7}, bytes.Repeat([]byte{0xff}, 9)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		check := func(err error, rest []byte, again func() []byte) {
			if err != nil {
				if driftline.CodeOf(err) != driftline.DataLoss {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if !bytes.Equal(append(again(), rest...), key) {
				t.Fatalf("%x reads as something that is written otherwise", key)
			}
		}
		b, rest, err := kv.TakeBytes(key)
		check(err, rest, func() []byte { return kv.AppendBytes(nil, b) })
		s, rest, err := kv.TakeString(key)
		check(err, rest, func() []byte { return kv.AppendString(nil, s) })
		i, rest, err := kv.TakeInt64(key)
		check(err, rest, func() []byte { return kv.AppendInt64(nil, i) })
		u, rest, err := kv.TakeUint64(key)
		check(err, rest, func() []byte { return kv.AppendUint64(nil, u) })
		n, rest, err := kv.TakeFloat64(key)
		check(err, rest, func() []byte { return kv.AppendFloat64(nil, n) })
		y, rest, err := kv.TakeBool(key)
		check(err, rest, func() []byte { return kv.AppendBool(nil, y) })
	})
}
