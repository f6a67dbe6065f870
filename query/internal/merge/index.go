package merge

import (
	"cmp"
	"slices"
	"sort"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
)

// index is the rows of a spine in the order of (key, time); those without a key or without
// a time are left out.
type index[K key] struct {
	keys  []K     // distinct, ascending
	first []int32 // of each key its first place in rows; and, last, their number
	rows  []int32 // row numbers of the answer
	times []int64 // of each place, the time of its row
}

// at returns the key of a place.
func (x *index[K]) at(place int32) int {
	return sort.Search(len(x.keys), func(k int) bool { return x.first[k+1] > place })
}

// pair is a number to sort by and the row that it belongs to.
type pair struct {
	by  uint64
	row int32
}

// sortPairs sorts by number, equal ones as they came, and returns the sorted one of pairs
// and spare. It looks at 11 bits at a time and leaves out those that all numbers share.
func sortPairs(pairs, spare []pair) []pair {
	if len(pairs) < 256 {
		slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.by, b.by) })
		return pairs
	}
	all, some := ^uint64(0), uint64(0)
	for _, p := range pairs {
		all &= p.by
		some |= p.by
	}
	const bits = 11
	for shift := 0; shift < 64; shift += bits {
		if (all^some)>>shift&(1<<bits-1) == 0 {
			continue
		}
		var counts [1 << bits]int32
		for _, p := range pairs {
			counts[p.by>>shift&(1<<bits-1)]++
		}
		sum := int32(0)
		for i, n := range counts {
			counts[i] = sum
			sum += n
		}
		for _, p := range pairs {
			to := &counts[p.by>>shift&(1<<bits-1)]
			spare[*to] = p
			*to++
		}
		pairs, spare = spare, pairs
	}
	return pairs
}

// indexNumbers makes the index of keys that are numbers, of the pairs of key and row that
// [split] has put together: keys of one part are less than those of the next. Each part is
// sorted in a goroutine of its own. It takes over pairs.
func indexNumbers(pairs []pair, ends []int, times []int64) *index[uint64] {
	spare := make([]pair, len(pairs))
	x := &index[uint64]{rows: make([]int32, len(pairs)), times: make([]int64, len(pairs))}
	keys, first := make([][]uint64, len(ends)), make([][]int32, len(ends))
	var sorting sync.WaitGroup
	for i, to := range ends {
		from := 0
		if i > 0 {
			from = ends[i-1]
		}
		sorting.Go(func() {
			for at, p := range sortPairs(pairs[from:to], spare[from:to]) {
				if n := len(keys[i]); n == 0 || p.by != keys[i][n-1] {
					keys[i], first[i] = append(keys[i], p.by), append(first[i], int32(from+at))
				}
				x.rows[from+at] = p.row
			}
			x.order(times, append(first[i], int32(to)))
		})
	}
	sorting.Wait()
	x.keys, x.first = slices.Concat(keys...), append(slices.Concat(first...), int32(len(pairs)))
	return x
}

// worthSplitting is from how many rows on an index is made by several goroutines.
const worthSplitting = 1 << 15

// split makes pairs of the codes of rows, but of those that are dropped, and puts them into
// about as large parts: keys of one part are less than those of the next, and rows of one
// are as they came. It returns where each part ends.
func split(codes []uint64, dropped []bool, parts int) (pairs []pair, ends []int) {
	var bounds []uint64
	if len(codes) >= worthSplitting {
		bounds = quantiles(codes, parts)
	}
	partOf := func(code uint64) (part int) {
		for _, bound := range bounds {
			if code >= bound { // no branch: half of them would be foretold wrongly
				part++
			}
		}
		return part
	}
	counts := make([]int, len(bounds)+1)
	for row, code := range codes {
		if !dropped[row] {
			counts[partOf(code)]++
		}
	}
	next := make([]int, len(counts))
	for part, n := range counts {
		if part > 0 {
			next[part] = ends[part-1]
		}
		ends = append(ends, next[part]+n)
	}
	pairs = make([]pair, ends[len(ends)-1])
	for row, code := range codes {
		if !dropped[row] {
			part := partOf(code)
			pairs[next[part]] = pair{by: code, row: int32(row)}
			next[part]++
		}
	}
	return pairs, ends
}

// quantiles returns the bounds between parts that are about as large.
func quantiles(codes []uint64, parts int) (bounds []uint64) {
	const samples = 1 << 10
	var some []uint64
	for i := range samples {
		some = append(some, codes[i*len(codes)/samples])
	}
	slices.Sort(some)
	for part := 1; part < parts; part++ {
		bounds = append(bounds, some[part*samples/parts])
	}
	return slices.Compact(bounds)
}

// indexTexts makes the index of keys that are texts: each row's number of its key, in the
// order in which the keys were met; -1 for none.
func indexTexts(keys []string, keyOf []int32, times []int64) *index[string] {
	order := make([]int32, len(keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(keys[a], keys[b]) })
	rank := make([]int32, len(keys))
	x := &index[string]{keys: make([]string, len(keys)), first: make([]int32, len(keys)+1)}
	for i, k := range order {
		x.keys[i], rank[k] = keys[k], int32(i)
	}
	n := int32(0)
	for _, k := range keyOf {
		if k >= 0 {
			x.first[rank[k]+1]++
			n++
		}
	}
	for i := range keys {
		x.first[i+1] += x.first[i]
	}
	next := slices.Clone(x.first)
	x.rows = make([]int32, n)
	for row, k := range keyOf {
		if k >= 0 {
			x.rows[next[rank[k]]] = int32(row)
			next[rank[k]]++
		}
	}
	x.times = make([]int64, n)
	x.order(times, x.first)
	return x
}

// order adds the times of the rows of some keys, and puts the rows of each key into the order
// of time. first is of each key its first place in rows and, last, the end of the last one.
func (x *index[K]) order(times []int64, first []int32) {
	for i := first[0]; i < first[len(first)-1]; i++ {
		x.times[i] = times[x.rows[i]]
	}
	var pairs, spare []pair
	for k := range len(first) - 1 {
		from, to := first[k], first[k+1]
		if to-from < manyRows {
			sortByTime(x.times[from:to], x.rows[from:to])
			continue
		}
		pairs = pairs[:0]
		for i := from; i < to; i++ {
			pairs = append(pairs, pair{by: uint64(x.times[i]) ^ signBit, row: x.rows[i]})
		}
		if len(spare) < len(pairs) {
			spare = make([]pair, len(pairs))
		}
		sorted := sortPairs(pairs, spare[:len(pairs)])
		for i, p := range sorted {
			x.times[int(from)+i], x.rows[int(from)+i] = int64(p.by^signBit), p.row
		}
	}
}

// manyRows is from how many rows of a key on they are worth more than the simplest sort.
const manyRows = 32

// sortByTime sorts a few rows by insertion.
func sortByTime(times []int64, rows []int32) {
	for i := 1; i < len(times); i++ {
		t, row := times[i], rows[i]
		at := i
		for ; at > 0 && times[at-1] > t; at-- {
			times[at], rows[at] = times[at-1], rows[at-1]
		}
		times[at], rows[at] = t, row
	}
}

// Spine is the rows that a join is made for: their times and the columns of their keys.
// Rows of the answer are numbered as the spine's rows are, from [Piece.First] on.
type Spine struct {
	Rows   int // of the answer, with the gaps between pieces
	Pieces []Piece

	times []int64
	none  []bool // rows without a time

	numbers map[string]func() *index[uint64] // by key mapping
	texts   map[string]func() *index[string]
}

// Piece is a stretch of the rows of a spine. Its columns are borrowed.
type Piece struct {
	First int         // its first row in the answer
	Times arrow.Array // int64, microseconds
	Keys  []arrow.Array
}
