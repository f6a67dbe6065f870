package drift

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// answer is what a KS test takes from the extremes.
func answer(found extremes, alternative Alternative) string {
	side, sign := found.above, +1
	if alternative == Less || alternative == TwoSided && found.below.distance > found.above.distance {
		side, sign = found.below, -1
	}
	return fmt.Sprintf("D %x at %x sign %d of %d v %d", side.distance, side.at+0, sign, found.n, found.m)
}

func checkCells(t *testing.T, x, y []float64, cells int) {
	t.Helper()
	reference, current := SampleOf(x), SampleOf(y)
	sorted := extremesBySorting(reference, current)
	for _, alternative := range []Alternative{TwoSided, Less, Greater} {
		want := answer(sorted, alternative)
		if got := answer(extremesByCells(reference, current, alternative, cells, nil), alternative); got != want {
			t.Fatalf("alternative %d, %d cells, %d v %d values: %s, sorted: %s", alternative, cells, len(x), len(y), got, want)
		}
		pieces := Sample{y[:len(y)/3], nil, y[len(y)/3:]}
		if got := answer(extremesByCells(reference, pieces, alternative, cells, nil), alternative); got != want {
			t.Fatalf("alternative %d, in pieces: %s, whole: %s", alternative, got, want)
		}
	}
}

// What is found in one go must be what the tests and the histogram find one after the other.
func TestNumbersAreDescribedInOnePassAsInSeveral(t *testing.T) {
	for _, s := range shapes {
		for _, n := range []int{50, 900, 3000, 40_000} {
			random := rand.New(rand.NewPCG(uint64(n), 7))
			var sides [2][]float64
			for side := range sides {
				for range n {
					sides[side] = append(sides[side], s.value(random.NormFloat64()+0.01*float64(side), random.Float64()))
				}
				sides[side][n/2] = math.NaN()
			}
			reference, current := SampleOf(sides[0]), Sample{sides[1][:n/3], sides[1][n/3:]}
			tests, histogram := DescribeNumbers(reference, current)
			if want := CompareNumbers(reference, current); fmt.Sprint(tests) != fmt.Sprint(want) {
				t.Errorf("%s, %d values: %+v, want %+v", s.name, n, tests, want)
			}
			if want := NewHistogram(reference, current); !reflect.DeepEqual(histogram, want) {
				t.Errorf("%s, %d values: %+v, want %+v", s.name, n, histogram, want)
			}
		}
	}
}

// shapes are distributions that are hard on a map of cells. Each takes standard
// normal z and uniform u.
var shapes = []struct {
	name  string
	value func(z, u float64) float64
}{
	{"normal", func(z, _ float64) float64 { return z }},
	{"uniform", func(_, u float64) float64 { return u }},
	{"lognormal", func(z, _ float64) float64 { return math.Exp(3 * z) }},
	{"cauchy", func(_, u float64) float64 { return math.Tan(math.Pi * (u - 0.5)) }},
	{"all magnitudes", func(z, u float64) float64 { return math.Copysign(math.Exp(300*z), u-0.5) }},
	{"rounded", func(z, _ float64) float64 { return math.Round(z*20) / 20 }},
	{"few values", func(_, u float64) float64 { return math.Floor(3 * u) }},
	{"constant", func(_, _ float64) float64 { return 42 }},
	{"mostly zero", func(z, u float64) float64 { return z * math.Floor(1.004*u) }},
	{"zeros of both signs", func(_, u float64) float64 { return math.Copysign(0, u-0.5) }},
	{"subnormal", func(z, _ float64) float64 { return 5e-324 * math.Round(1000*z) }},
	{"huge", func(z, _ float64) float64 { return 1e308 * math.Max(-1.7, math.Min(1.7, z)) }},
	{"one far outlier", func(z, u float64) float64 {
		if u < 0.0001 {
			return 1e300
		}
		return z
	}},
	{"infinities and gaps", func(z, u float64) float64 {
		switch {
		case u < 0.1:
			return math.Inf(1)
		case u < 0.2:
			return math.Inf(-1)
		case u < 0.3:
			return math.NaN()
		}
		return z
	}},
	{"only infinities", func(_, u float64) float64 { return math.Inf(int(2*u)*2 - 1) }},
	{"missing", func(_, _ float64) float64 { return math.NaN() }},
}

func draw(seed uint64, n int, shift float64, value func(z, u float64) float64) []float64 {
	random := rand.New(rand.NewPCG(seed, 7))
	values := make([]float64, n)
	for i := range values {
		values[i] = value(random.NormFloat64()+shift, random.Float64())
	}
	return values
}

func TestCellsGiveWhatSortingGives(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			for i, size := range []struct{ n, m, cells int }{
				{1, 1, 4}, {5, 3, 4}, {100, 77, 8}, {900, 1100, 64}, {3000, 40, 256},
				{20000, 20000, 1 << 14}, {90000, 60000, maxCells},
			} {
				for _, shift := range []float64{0, 0.02, 3} {
					checkCells(t, draw(uint64(i), size.n, 0, shape.value), draw(99, size.m, shift, shape.value), size.cells)
				}
			}
			same := draw(1, 2000, 0, shape.value)
			checkCells(t, same, slices.Clone(same), 64)
		})
	}
}

func FuzzCellsGiveWhatSortingGives(f *testing.F) {
	for i, shape := range shapes {
		var data []byte
		for _, v := range draw(uint64(i), 60, 0, shape.value) {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
		}
		f.Add(data, uint16(i*10), uint8(i), int64(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, split uint16, cells uint8, grid int64) {
		var values []float64
		for ; len(data) >= 8; data = data[8:] {
			v := math.Float64frombits(binary.LittleEndian.Uint64(data))
			if cells%2 == 1 && grid != 0 { // many ties
				v = math.Mod(v, float64(grid))
			}
			values = append(values, v)
		}
		cut := min(int(split), len(values))
		checkCells(t, values[:cut], values[cut:], 4+int(cells))
	})
}

func TestRadixSortSorts(t *testing.T) {
	for _, shape := range shapes {
		values := slices.DeleteFunc(draw(5, 5000, 0, shape.value), math.IsNaN)
		want := slices.Clone(values)
		slices.Sort(want)
		if len(values) > 0 {
			radixSort(values)
		}
		if !slices.Equal(values, want) {
			t.Errorf("%s: not sorted", shape.name)
		}
	}
}

func TestOrderedBitsKeepOrderAndInvert(t *testing.T) {
	ascending := []float64{math.Inf(-1), -math.MaxFloat64, -1, -5e-324, math.Copysign(0, -1), 0, 5e-324, 1, math.MaxFloat64, math.Inf(1)}
	for i, v := range ascending {
		if back := fromOrderedBits(orderedBits(v)); math.Float64bits(back) != math.Float64bits(v) {
			t.Errorf("%v comes back as %v", v, back)
		}
		if i > 0 && orderedBits(ascending[i-1]) >= orderedBits(v) {
			t.Errorf("%v and %v out of order", ascending[i-1], v)
		}
	}
}

func TestStridedSmirnovSumIsTheFullSum(t *testing.T) {
	full := func(n, x float64) float64 {
		sum := math.Exp(n * math.Log1p(-x))
		logRoot := stirlingError(n) + math.Log(n/(2*math.Pi))/2
		for j := 1.0; j < n; j++ {
			sum += smirnovTerm(n, x, j, logRoot)
		}
		return sum
	}
	for _, n := range []float64{20000, 99991, 400000} {
		for _, z := range []float64{1.49, 2, 4, 9, 18} {
			x := z / math.Sqrt(n)
			got, want := SmirnovSF(n, x), full(n, x)
			if math.Abs(got-want) > 1e-11*want {
				t.Errorf("n %v, x√n %v: %v, full sum %v (off by %.1e)", n, z, got, want, got/want-1)
			}
		}
	}
}

func BenchmarkKS(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		for _, name := range []string{"normal", "lognormal", "rounded"} {
			shape := shapes[slices.IndexFunc(shapes, func(s struct {
				name  string
				value func(z, u float64) float64
			}) bool {
				return s.name == name
			})]
			x, y := draw(1, n, 0, shape.value), draw(2, n, 0.01, shape.value)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(16 * n))
				for b.Loop() {
					KS(SampleOf(x), SampleOf(y), TwoSided)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(2*n), "ns/value")
			})
		}
	}
}

func BenchmarkKSPValue(b *testing.B) {
	for _, c := range []struct {
		n, m int64
		d    float64
	}{{10000, 9999, 0.02}, {10000, 9999, 0.2}, {50000, 50000, 0.003}, {50000, 50000, 0.02}, {1000000, 1000000, 0.01}} {
		b.Run(fmt.Sprintf("%dv%d/%v", c.n, c.m, c.d), func(b *testing.B) {
			for b.Loop() {
				KSPValue(c.d, c.n, c.m, TwoSided, Auto)
			}
		})
	}
}

// TestBlocksAreTheLoops: the processor's wide instructions count and filter as the
// loops in Go do, at the borders of cells and on values that are none.
func TestBlocksAreTheLoops(t *testing.T) {
	linear, ok := linearMap(-1.5, 2.25, 300)
	if !ok {
		t.Fatal("no map")
	}
	maps := map[string]cellMap{
		"linear": linear, "by bits": bitsMap(-1.5, 2.25, 300), "by bits, narrow": bitsMap(1, 1.0001, 300),
	}
	for name, mapping := range maps {
		t.Run(name, func(t *testing.T) {
			if !mapping.hasBlocks() {
				t.Skip("this processor has no wide instructions for such a map")
			}
			checkBlocks(t, mapping)
		})
	}
	defer func(had bool) { hasBlocks = had }(hasBlocks)
	hasBlocks = false
	for name, mapping := range maps {
		t.Run(name+", AVX2", func(t *testing.T) {
			if !mapping.hasBlocks() {
				t.Skip("this processor has no AVX2")
			}
			checkBlocks(t, mapping)
		})
	}
}

// TestTheRangeIsThatOfTheLoop: least and greatest value, and how many are finite or infinite, are the same however the values
// are cut into blocks.
func TestTheRangeIsThatOfTheLoop(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64, 5e-324}
	for range 2000 {
		values := make([]float64, random.IntN(70))
		rare := 1 + random.IntN(100)
		for i := range values {
			values[i] = random.NormFloat64()
			if random.IntN(rare) == 0 {
				values[i] = special[random.IntN(len(special))]
			}
		}
		want := emptyRange()
		for i := range values { // one is no block
			want.add(values[i : i+1])
		}
		got := emptyRange()
		got.add(values)
		bits := func(r valueRange) [4]uint64 {
			return [4]uint64{math.Float64bits(r.least), math.Float64bits(r.greatest), uint64(r.finite), uint64(r.infinite)}
		}
		if bits(got) != bits(want) {
			t.Fatalf("%v: %+v, want %+v", values, got, want)
		}
	}
}

func checkBlocks(t *testing.T, mapping cellMap) {
	random := rand.New(rand.NewPCG(7, 8))
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), -1.5, 2.25, 1, 1.0001,
		math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324, math.Nextafter(-1.5, -2), math.Nextafter(2.25, 3),
		math.Float64frombits(0xfff8000000000001)}
	values := make([]float64, filteredAtOnce)
	for i := range values {
		switch random.IntN(4) {
		case 0:
			values[i] = special[random.IntN(len(special))]
		case 1: // the edge of a cell, or its neighbour
			edge := -1.5 + 3.75*float64(random.IntN(299))/298
			if mapping.byBits {
				edge = fromOrderedBits(mapping.loBits + uint64(random.IntN(299))<<mapping.shift)
			}
			values[i] = math.Nextafter(edge, special[1+random.IntN(2)])
		default:
			values[i] = random.NormFloat64()
		}
	}
	loops, blocks := make([]uint32, mapping.last+2), make([]uint32, mapping.last+2)
	mapping.countInto(loops, values)
	mapping.countInBlocks(blocks, &values[0], len(values)/blockSize)
	if !slices.Equal(loops, blocks) {
		t.Errorf("counts differ:\n%v\n%v", loops, blocks)
	}
	slots := make([]uint32, mapping.last+2)
	for i := range slots[:mapping.last+1] {
		slots[i] = uint32(random.IntN(2))
	}
	var wanted []float64
	for _, v := range values {
		if slots[mapping.cell(v)] != 0 {
			wanted = append(wanted, v)
		}
	}
	var found filtered
	count := mapping.filterInBlocks(&found, &values[0], len(values)/blockSize, mapping.wantedBy([]cellTaker{&cellParts{slots: slots}}))
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	if !slices.EqualFunc(found[:count], wanted, same) {
		t.Errorf("%d values found, want %d", count, len(wanted))
	}
}
