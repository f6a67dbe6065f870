package offline

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func int64s(values ...int64) arrow.Array {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(values, nil)
	return b.NewArray()
}

// Rows that come in order are neither sorted nor copied.
func TestRowsInOrderAreSeenToBe(t *testing.T) {
	const wide = 1 << 50 // more bits than a prefix has room for, twice
	for _, test := range []struct {
		name       string
		key, event []int64
		inOrder    bool
	}{
		{"no rows", nil, nil, true},
		{"equal rows", []int64{7, 7}, []int64{1, 1}, true},
		{"by the second column", []int64{7, 7, 8}, []int64{1, 2, 0}, true},
		{"not by the first", []int64{8, 7}, []int64{1, 2}, false},
		{"not by the second", []int64{7, 7}, []int64{2, 1}, false},
		{"told apart by what no prefix holds", []int64{0, wide, wide}, []int64{0, wide, wide + 1}, true},
		{"not by what no prefix holds", []int64{0, wide, wide}, []int64{0, wide + 1, wide}, false},
	} {
		rows, err := sortRows([]arrow.Array{int64s(test.key...), int64s(test.event...)}, []string{"key", "event"})
		if err != nil || (rows.order == nil) != test.inOrder {
			t.Errorf("%s: the order is %v, %v; in order: %v", test.name, rows.order, err, test.inOrder)
		}
	}
}

// The order by digits is that of a plain stable sort, whatever the bits that differ, and
// whether or not the events are in order as they come.
func TestRadixSortIsAStableSort(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 2 * 64 {
		bits := n / 2
		key, event := make([]int64, 1000), make([]int64, 1000)
		for i := range key {
			key[i], event[i] = random.Int64()>>bits, random.Int64N(3)<<(bits/2)
		}
		if n%2 == 1 {
			slices.Sort(event)
		}
		keys := []arrow.Array{int64s(key...), int64s(event...)}
		rows, err := sortRows(keys, []string{"key", "event"})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]int32, len(key))
		for i := range want {
			want[i] = int32(i)
		}
		if rows.order == nil {
			rows.order = slices.Clone(want)
		}
		slices.SortStableFunc(want, func(a, b int32) int {
			return cmp.Or(cmp.Compare(key[a], key[b]), cmp.Compare(event[a], event[b]))
		})
		if !slices.Equal(rows.order, want) {
			t.Fatalf("keys of %d bits are in another order", 63-bits)
		}
		for n := 1; n <= len(keys); n++ { // the first key alone, and both
			ends, err := rows.runEnds(keys[:n])
			if err != nil {
				t.Fatal(err)
			}
			if wantEnds := endsOf(want, key, event, n); !slices.Equal(ends, wantEnds) {
				t.Fatalf("runs of %d keys of %d bits end at %v, want %v", n, 63-bits, ends, wantEnds)
			}
		}
	}
}

func endsOf(order []int32, key, event []int64, keys int) (ends []int32) {
	for i := range order {
		if i == len(order)-1 || key[order[i]] != key[order[i+1]] || keys == 2 && event[order[i]] != event[order[i+1]] {
			ends = append(ends, int32(i))
		}
	}
	return ends
}
