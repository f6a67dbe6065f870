package merge

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The join as a whole is tested against its definition in package query. Here are the
// parts that take more rows than that has.

func wordsOf(values []int64) words {
	return words{values: values}
}

func TestLastRowThatStood(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{1, 63, 64, 65, 4096, 4097, 70_000} {
		for _, early := range []int{1, 10, 1000, 100_000} { // one in so many rows was created early
			values := make([]int64, size)
			valid := make([]byte, (size+7)/8)
			for i := range values {
				if values[i] = math.MaxInt64; rng.IntN(early) == 0 {
					values[i] = rng.Int64N(100)
				}
				if rng.IntN(10) > 0 {
					valid[i>>3] |= 1 << (i & 7)
				}
			}
			created := wordsOf(values)
			created.valid = valid
			var m minima
			m.reset(created)
			for range 300 {
				n, at := rng.IntN(size+1), []int64{50, 0, -1, math.MaxInt64}[rng.IntN(4)]
				want := n
				for want > 0 && (values[want-1] > at || created.null(want-1)) {
					want--
				}
				if got := m.last(n, at); got != want {
					t.Fatalf("of the first %d of %d rows %d are left at %d, want %d", n, size, got, at, want)
				}
			}
		}
	}
}

func TestSearches(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		values := make([]int64, rng.IntN(200))
		for i := range values {
			values[i] = rng.Int64N(50)
		}
		slices.Sort(values)
		at := rng.Int64N(60) - 5
		want := 0
		for want < len(values) && values[want] <= at {
			want++
		}
		first, distance := rng.IntN(want+1), 1+rng.IntN(120)
		if got := after(values, at, first, distance); got != want {
			t.Fatalf("from %d on, in steps of %d, %d of %v are at most %d, want %d", first, distance, got, values, at, want)
		}
		if len(values) == 0 {
			continue
		}
		keys := make([]uint64, len(values))
		for i, v := range values {
			keys[i] = uint64(v)
		}
		from, least := rng.IntN(len(keys)), uint64(rng.Int64N(60))
		if keys[from] >= least {
			continue
		}
		first = from
		for first < len(keys) && keys[first] < least {
			first++
		}
		if got := leap(keys, from, least); got != first {
			t.Fatalf("from %d on %v has %d at %d, want %d", from, keys, least, got, first)
		}
	}
}

func TestPairsAreSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		pairs := make([]pair, rng.IntN(3000))
		mask := rng.Uint64() & rng.Uint64() & rng.Uint64()
		for i := range pairs {
			pairs[i] = pair{by: rng.Uint64() & mask, row: int32(i)}
		}
		want := slices.Clone(pairs)
		slices.SortStableFunc(want, func(a, b pair) int { return cmp.Compare(a.by, b.by) })
		if got := sortPairs(pairs, make([]pair, len(pairs))); !slices.Equal(got, want) {
			t.Fatalf("%d pairs are not in order", len(pairs))
		}
	}
}

// TestTextsOfKeysAreOrdered is what a walk over composite keys relies on.
func TestTextsOfKeysAreOrdered(t *testing.T) {
	parts := []string{"", "a", "ab", "a\x00", "a\x00b", "\x00", "\x00\x00", "\x00\x01", "\xff", "b"}
	var keys [][2]string
	for _, a := range parts {
		for _, b := range parts {
			keys = append(keys, [2]string{a, b})
		}
	}
	text := func(k [2]string) string {
		return string(appendText(appendText(nil, []byte(k[0]), false), []byte(k[1]), true))
	}
	for _, a := range keys {
		for _, b := range keys {
			if got, want := cmp.Compare(text(a), text(b)), cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])); got != want {
				t.Errorf("%q and %q compare as %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestCodesOfNumbersAreOrdered(t *testing.T) {
	floats := []float64{math.Inf(-1), -math.MaxFloat64, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 1, math.Inf(1)}
	for i := 1; i < len(floats); i++ {
		less, _ := codeFloat(floats[i-1])
		more, _ := codeFloat(floats[i])
		if less >= more {
			t.Errorf("%v is not before %v", floats[i-1], floats[i])
		}
	}
	minus, _ := codeFloat(math.Copysign(0, -1))
	if zero, _ := codeFloat(0); minus != zero {
		t.Error("-0 is not 0")
	}
	if _, ok := codeFloat(math.NaN()); ok {
		t.Error("NaN is a key")
	}
}

// TestAnIndexIsTheSameByAnyNumberOfGoroutines compares an index with the rows of a spine
// sorted by (key, time), and as they came.
func TestAnIndexIsTheSameByAnyNumberOfGoroutines(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, rows := range []int{0, 1, 300, worthSplitting, 2*worthSplitting + 7} {
		for _, keys := range []uint64{1, 2, 50, 1 << 40} {
			codes, times, dropped := make([]uint64, rows), make([]int64, rows), make([]bool, rows)
			var want []int32
			for row := range codes {
				codes[row], times[row], dropped[row] = rng.Uint64N(keys)<<20, rng.Int64N(100)-50, rng.IntN(10) == 0
				if !dropped[row] {
					want = append(want, int32(row))
				}
			}
			slices.SortStableFunc(want, func(a, b int32) int {
				return cmp.Or(cmp.Compare(codes[a], codes[b]), cmp.Compare(times[a], times[b]))
			})
			for _, threads := range []int{1, 2, 5} {
				pairs, ends := split(codes, dropped, threads)
				checkIndex(t, indexNumbers(pairs, ends, times), want, codes, times)
			}
		}
	}
}

func checkIndex(t *testing.T, x *index[uint64], want []int32, codes []uint64, times []int64) {
	t.Helper()
	if !slices.Equal(x.rows, want) {
		t.Fatalf("of %d rows and %d keys: the rows are not in order", len(codes), len(x.keys))
	}
	if len(x.first) != len(x.keys)+1 || x.first[0] != 0 || int(x.first[len(x.keys)]) != len(want) {
		t.Fatalf("%d keys begin at %d places, from %d to %d", len(x.keys), len(x.first)-1, x.first[0], x.first[len(x.first)-1])
	}
	for k, key := range x.keys {
		if k > 0 && key <= x.keys[k-1] || x.first[k] >= x.first[k+1] {
			t.Fatalf("key %d of %d is not greater than the one before, or has no rows", k, len(x.keys))
		}
		for place := x.first[k]; place < x.first[k+1]; place++ {
			if row := x.rows[place]; codes[row] != key || times[row] != x.times[place] {
				t.Fatalf("row %d is at a place of another key or time", row)
			}
		}
	}
}

func TestMemoryOfEverySizeIsClear(t *testing.T) {
	for _, bytes := range []int{0, 1, largeMemory - 1, largeMemory} {
		for range 2 {
			memory := takeMemory(bytes)
			if len(memory) != bytes {
				t.Fatalf("%d bytes, want %d", len(memory), bytes)
			}
			for at := 0; at < bytes; at += 4096 {
				if memory[at] != 0 {
					t.Fatalf("of %d bytes, the one at %d is not clear", bytes, at)
				}
				memory[at] = 1
			}
			giveMemory(memory)
		}
	}
}
