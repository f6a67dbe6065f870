package profile

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/driftline/driftline/drift"
)

// shapes are samples of the kinds that columns have.
var shapes = []struct {
	name string
	draw func(r *rand.Rand) float64
}{
	{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }},
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) }},
	{"cauchy", func(r *rand.Rand) float64 { return r.NormFloat64() / r.NormFloat64() }},
	{"constant", func(*rand.Rand) float64 { return 7 }},
	{"binary", func(r *rand.Rand) float64 { return float64(r.IntN(2)) }},
	{"minutes", func(r *rand.Rand) float64 { return float64(r.IntN(1440)) }},
	{"identifiers", func(r *rand.Rand) float64 { return float64(r.Uint64() >> 12) }},
	{"cents", func(r *rand.Rand) float64 { return math.Round(100*r.NormFloat64()) / 100 }},
	{"zero inflated", func(r *rand.Rand) float64 { return max(0, r.NormFloat64()) }},
	{"sentinel", func(r *rand.Rand) float64 {
		if r.IntN(50) == 0 {
			return 1e9
		}
		return r.NormFloat64()
	}},
	{"tiny", func(r *rand.Rand) float64 { return float64(r.IntN(9)-4) * math.SmallestNonzeroFloat64 }},
	{"huge", func(r *rand.Rand) float64 { return (r.Float64() - 0.5) * math.MaxFloat64 }},
	{"any bits", func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) }},
	{"odd", func(r *rand.Rand) float64 {
		return []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), 1, -1, 3e300}[r.IntN(8)]
	}},
}

func drawn(seed uint64, n int, draw func(*rand.Rand) float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, n)
	for i := range values {
		values[i] = draw(r)
	}
	return values
}

func profileOf(m *Map, values []float64) *Column {
	c := New(m)
	c.AddNumbers(values, new(Scratch))
	return c
}

func written(c *Column) []byte { return c.AppendBody(c.AppendHead(nil)) }

func TestMergingIsProfilingTheUnion(t *testing.T) {
	const n = 70_000 // some parts are lists of cells, some are counts
	for i, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			values := drawn(uint64(i), n, shape.draw)
			m := NumberMap(values[:500])
			whole := profileOf(m, values)
			whole.AddNulls(37)

			shuffled := slices.Clone(values)
			r.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			var parts []*Column
			for len(shuffled) > 0 {
				size := min(1+r.IntN(n/2), len(shuffled))
				parts = append(parts, profileOf(m, shuffled[:size]))
				shuffled = shuffled[size:]
			}
			parts[r.IntN(len(parts))].AddNulls(37)
			for len(parts) > 1 { // in a random tree
				i := r.IntN(len(parts))
				one := parts[i]
				parts = slices.Delete(parts, i, i+1)
				into := parts[r.IntN(len(parts))]
				if err := into.Merge(one); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(written(parts[0]), written(whole)) {
				t.Error("the merged parts are not the profile of the whole")
			}
		})
	}
}

func TestMergingCategoriesIsProfilingTheUnion(t *testing.T) {
	for _, names := range []int{3, mostHeadNames, mostHeadNames + 1, mostNames, 3 * mostNames} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(names), 3))
			rows := make([]string, 50_000)
			reference := map[string]int64{}
			for i := range rows {
				rows[i] = fmt.Sprint("name ", min(r.IntN(names), r.IntN(names)))
				if i < 20_000 {
					reference[rows[i]]++
				}
			}
			m := CategoryMap(reference)
			whole, parts := New(m), []*Column{New(m), New(m), New(m), New(m)}
			for i, name := range rows {
				whole.AddCategory(name, 1)
				parts[(i*i)%7%4].AddCategory(name, 1)
			}
			for _, order := range [][4]int{{0, 1, 2, 3}, {3, 1, 0, 2}} {
				merged := New(m)
				for _, i := range order {
					if err := merged.Merge(parts[i]); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(written(merged), written(whole)) {
					t.Error("the merged parts are not the profile of the whole")
				}
			}
			exact := map[string]int64{}
			for _, name := range rows {
				exact[name]++
			}
			kept, other := whole.Categories()
			for _, k := range kept {
				if exact[k.Name] != k.Rows {
					t.Errorf("%s: %d rows, has %d", k.Name, k.Rows, exact[k.Name])
				}
				delete(exact, k.Name)
			}
			rest, most := int64(0), int64(0)
			for _, n := range exact {
				rest, most = rest+n, max(most, n)
			}
			if rest != other || whole.AtMost() < most || (other > 0) != (names > mostNames) {
				t.Errorf("%d rows of other names, at most %d each; there are %d and %d", other, whole.AtMost(), rest, most)
			}
		})
	}
}

// wasserstein is ∫|F − G| by its definition.
func wasserstein(x, y []float64) float64 {
	x, y = slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y))
	all := slices.Sorted(slices.Values(append(slices.Clone(x), y...)))
	area, i, j := 0.0, 0, 0
	for k, v := range all[:len(all)-1] {
		for i < len(x) && x[i] <= v {
			i++
		}
		for j < len(y) && y[j] <= v {
			j++
		}
		area += math.Abs(float64(i)/float64(len(x))-float64(j)/float64(len(y))) * (all[k+1] - v)
	}
	return area
}

func TestBracketsHoldWhatIsExact(t *testing.T) {
	change := []func(float64) float64{
		func(v float64) float64 { return v },
		func(v float64) float64 { return v + 0.3 },
		func(v float64) float64 { return 1.5 * v },
		func(v float64) float64 { return min(v, 0.2) },
	}
	for _, shape := range shapes {
		for k, changed := range change {
			t.Run(fmt.Sprint(shape.name, " ", k), func(t *testing.T) {
				x := drawn(5, 20_000, shape.draw)
				y := drawn(6, 9_000, func(r *rand.Rand) float64 { return changed(shape.draw(r)) })
				m := NumberMap(x)
				reference, current := profileOf(m, x), profileOf(m, y)
				want := drift.KS(drift.SampleOf(x), drift.SampleOf(y), drift.TwoSided)
				exact := exactDistance(x, y)

				fine, err := Compare(reference, current)
				if err != nil {
					t.Fatal(err)
				}
				coarse, err := CompareOutlines(reference.Outline(), current.Outline())
				if err != nil {
					t.Fatal(err)
				}
				for name, got := range map[string]Difference{"fine": fine, "coarse": coarse} {
					if got.N != want.N || got.M != want.M {
						t.Errorf("%s: %d and %d values, want %d and %d", name, got.N, got.M, want.N, want.M)
					}
					if got.D.Low > exact+boundSlack || got.D.High < exact-boundSlack {
						t.Errorf("%s: D in %v, is %v", name, got.D, exact)
					}
				}
				alone, err := OutlineDistance(reference.Outline(), current.Outline())
				if err != nil {
					t.Fatal(err)
				}
				if alone.Wasserstein = coarse.Wasserstein; fmt.Sprint(alone) != fmt.Sprint(coarse) { // NaN is NaN
					t.Errorf("without Wasserstein it is %v, with it %v", alone, coarse)
				}
				if fine.D.Low < coarse.D.Low-boundSlack || fine.D.High > coarse.D.High+boundSlack {
					t.Errorf("the bracket %v of cells is not within that of groups, %v", fine.D, coarse.D)
				}
				if shape.name != "any bits" && shape.name != "identifiers" && shape.name != "huge" && fine.D.High-fine.D.Low > 0.011 {
					t.Errorf("the bracket %v is wide", fine.D)
				}
				checkWasserstein(t, fine, coarse, x, y)
				checkRefinement(t, reference, current, x, y)
			})
		}
	}
}

// exactDistance is D before it is rounded to a multiple of 1/lcm(n, m).
func exactDistance(x, y []float64) float64 {
	present := func(v float64) bool { return v != v }
	x, y = slices.DeleteFunc(slices.Clone(x), present), slices.DeleteFunc(slices.Clone(y), present)
	slices.Sort(x)
	slices.Sort(y)
	d, i, j := 0.0, 0, 0
	for i < len(x) && j < len(y) {
		at := min(x[i], y[j])
		for i < len(x) && x[i] == at {
			i++
		}
		for j < len(y) && y[j] == at {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(x))-float64(j)/float64(len(y))))
	}
	return d
}

func checkWasserstein(t *testing.T, fine, coarse Difference, x, y []float64) {
	t.Helper()
	odd := func(v float64) bool { return v-v != 0 }
	if slices.ContainsFunc(x, odd) || slices.ContainsFunc(y, odd) {
		return
	}
	want := wasserstein(x, y)
	if math.IsInf(want, 0) {
		return
	}
	for name, got := range map[string]Bracket{"fine": fine.Wasserstein, "coarse": coarse.Wasserstein} {
		if slack := 1e-9 * want; got.Low > want+slack || got.High < want-slack {
			t.Errorf("%s: Wasserstein in %v, is %v", name, got, want)
		}
	}
}

func checkRefinement(t *testing.T, reference, current *Column, x, y []float64) {
	t.Helper()
	r, err := NewRefinement(reference, current)
	if err != nil {
		t.Fatal(err)
	}
	r.AddReference(x)
	r.AddCurrent(y)
	if d, _, _, ok := r.D(); !ok || d != exactDistance(x, y) {
		t.Errorf("refined D is %v, %v, want %v", d, ok, exactDistance(x, y))
	}
	other, err := NewRefinement(reference, current)
	if err != nil {
		t.Fatal(err)
	}
	other.AddReference(append(slices.Clone(x), x...))
	if _, _, _, ok := other.D(); ok && r.Kept() > 0 {
		t.Error("values that the profiles are not of were taken")
	}
}

// TestHistogramsHaveBinsOfAboutEqualWidth holds the bins against a rule that goes over all
// groups: a bin begins with the first group from its share of the width on.
func TestHistogramsHaveBinsOfAboutEqualWidth(t *testing.T) {
	for i, shape := range shapes {
		for _, bins := range []int{1, 7, 30, 2000} {
			x, y := drawn(uint64(i), 20_000, shape.draw), drawn(uint64(i)+100, 3_000, shape.draw)
			m := NumberMap(x[:3000])
			reference, current := profileOf(m, x).Outline(), profileOf(m, y).Outline()
			edges, a, b := Histogram(reference, current, bins)
			first, last := central(reference, current)
			low, high := edges[0], edges[len(edges)-1]
			want, n, k := []float64{low}, make([]int64, 1), make([]int64, 1)
			for group := range groups {
				if from, _ := reference.edgesOf(group, group); group > first && group <= last &&
					from >= low+(high-low)*float64(len(n))/float64(bins) && from < high && len(n) < bins {
					want, n, k = append(want, from), append(n, 0), append(k, 0)
				}
				n[len(n)-1] += int64(reference.counts[group])
				k[len(k)-1] += int64(current.counts[group])
			}
			if !slices.Equal(edges, append(want, high)) || !slices.Equal(a, n) || !slices.Equal(b, k) {
				t.Errorf("%s: %d bins, %v and %v in %v; want %v and %v in %v", shape.name, bins, a, b, edges, n, k, want)
			}
		}
	}
}

func TestQuantilesAreBracketed(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			values := drawn(8, 30_000, shape.draw)
			c := profileOf(NumberMap(values[:5000]), values)
			sorted := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v != v })
			slices.Sort(sorted)
			for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.999, 1} {
				want := sorted[max(1, int(math.Ceil(q*float64(len(sorted)))))-1]
				if got := c.Quantile(q); !(got.Low <= want && want <= got.High) {
					t.Errorf("quantile %v in %v, is %v", q, got, want)
				}
			}
		})
	}
}

func TestMomentsAreRoundedOnce(t *testing.T) {
	values := drawn(3, 5000, func(r *rand.Rand) float64 { return math.Ldexp(r.NormFloat64(), r.IntN(200)-100) })
	c := profileOf(NumberMap(values), values)
	sum, squares, n := new(big.Rat), new(big.Rat), big.NewRat(int64(len(values)), 1)
	for _, v := range values {
		x := new(big.Rat).SetFloat64(v)
		sum.Add(sum, x)
		squares.Add(squares, x.Mul(x, x))
	}
	mean := new(big.Rat).Quo(sum, n)
	if want, _ := mean.Float64(); c.Mean() != want {
		t.Errorf("mean %v, want %v", c.Mean(), want)
	}
	squares.Sub(squares, sum.Mul(sum, mean)).Quo(squares, n.Sub(n, big.NewRat(1, 1)))
	variance, _ := squares.Float64()
	if want := math.Sqrt(variance); c.StdDev() != want {
		t.Errorf("standard deviation %v, want %v", c.StdDev(), want)
	}
}

func TestTotalsAreExact(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	c := profileOf(NumberMap(nil), []float64{3, nan, inf, -inf, -inf, -2, math.Copysign(0, -1)})
	c.AddNulls(4)
	negative, positive := c.Infinite()
	least, greatest := c.Range()
	if got := fmt.Sprint(c.Rows(), c.Nulls(), c.NaN(), negative, positive, least, greatest, c.Values()); got != "11 4 1 2 1 -2 3 6" {
		t.Error(got)
	}
	if estimate, exactly := c.Distinct(); math.Round(estimate) != 5 || exactly {
		t.Errorf("%v distinct values, want 5", estimate)
	}
}

func TestDistinctIsWithinItsError(t *testing.T) {
	for _, n := range []int{1, 100, 10_000, 300_000} {
		c := New(NumberMap(nil))
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(i)
		}
		c.AddNumbers(values, new(Scratch))
		c.AddNumbers(values, new(Scratch))
		if got, _ := c.Distinct(); math.Abs(got-float64(n)) > 0.065*float64(n) { // four standard errors
			t.Errorf("%v distinct values, want %d", got, n)
		}
	}
}

func TestMapsAreMonotoneAndKnowTheirEdges(t *testing.T) {
	for i, shape := range shapes {
		values := drawn(uint64(i), 3000, shape.draw)
		m := NumberMap(values)
		values = append(values, drawn(9, 3000, func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) })...)
		values = append(values, 0, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64)
		values = slices.DeleteFunc(values, func(v float64) bool { return v-v != 0 })
		slices.Sort(values)
		for k, v := range values {
			cell := m.cell(v)
			if k > 0 && cell < m.cell(values[k-1]) {
				t.Fatalf("%s: %v is in cell %d, and %v in %d", shape.name, v, cell, values[k-1], m.cell(values[k-1]))
			}
			if low, high := m.edges(int(cell), int(cell)); !(low <= v && v <= high) {
				t.Fatalf("%s: %v is in cell %d, whose edges are %v and %v", shape.name, v, cell, low, high)
			}
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for _, c := range examples(t) {
		m, err := DecodeMap(c.m.AppendTo(nil))
		if err != nil || m.Fingerprint() != c.m.Fingerprint() {
			t.Fatalf("the map is not what was written: %v", err)
		}
		head, body := c.AppendHead(nil), c.AppendBody(nil)
		again, err := Decode(m, head, body)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written(again), written(c)) {
			t.Error("the profile is not what was written")
		}
		merged := New(m)
		if err := merged.Merge(again); err != nil || !bytes.Equal(written(merged), written(c)) {
			t.Errorf("merged into an empty one it is another one (%v)", err)
		}
	}
}

func examples(t testing.TB) []*Column {
	t.Helper()
	var all []*Column
	for i, shape := range shapes {
		values := drawn(uint64(i), 3000, shape.draw)
		all = append(all, profileOf(NumberMap(values), values))
	}
	for _, n := range []int{0, 2, 300, 9000} {
		counts := map[string]int64{}
		for i := range n {
			counts[fmt.Sprint(i)] = int64(i) + 1
		}
		c := New(CategoryMap(counts))
		for name, n := range counts {
			c.AddCategory(name, int(n))
		}
		c.AddNulls(3)
		all = append(all, c)
	}
	return all
}

func TestDamageIsNamed(t *testing.T) {
	columns := examples(t)
	for k, c := range columns {
		head, body := c.AppendHead(nil), c.AppendBody(nil)
		r := rand.New(rand.NewPCG(uint64(k), 5))
		for range 50 {
			for part, from := range [][]byte{head, body} {
				bad := slices.Clone(from)
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
				pair := [2][]byte{head, body}
				pair[part] = bad
				if _, err := Decode(c.m, pair[0], pair[1]); err == nil {
					t.Fatal("a damaged profile was read")
				}
				if _, err := Decode(c.m, head[:r.IntN(len(head))], body); err == nil {
					t.Fatal("a part of a profile was read")
				}
			}
		}
		other := columns[(k+1)%len(columns)]
		if other.m.Fingerprint() == c.m.Fingerprint() { // of categories, all of whose names are kept
			continue
		}
		if _, err := Decode(other.m, head, body); err == nil {
			t.Error("a profile was read with the map of another one")
		}
		if err := New(other.m).Merge(c); err != ErrOtherMap {
			t.Errorf("profiles of two maps were merged: %v", err)
		}
	}
	values := drawn(1, 3000, shapes[0].draw)
	m := NumberMap(values)
	if _, err := Decode(m, profileOf(m, values).AppendHead(nil), profileOf(m, values[1:]).AppendBody(nil)); err == nil {
		t.Error("a head was read with the body of another profile")
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range examples(f) {
		f.Add(c.m.AppendTo(nil), c.AppendHead(nil), c.AppendBody(nil))
	}
	f.Fuzz(func(t *testing.T, rawMap, head, body []byte) {
		for _, b := range [][]byte{rawMap, head, body} { // so that the fuzzer gets behind the checksums
			if len(b) >= 8 {
				appendChecksum(b[:len(b)-8], 0)
			}
		}
		m, err := DecodeMap(rawMap)
		if err != nil {
			return
		}
		if len(head) >= 18 && len(body) >= 18 { // and behind the fingerprints
			for _, b := range [][]byte{head, body} {
				copy(b[2:10], appendFloat(nil, math.Float64frombits(m.fingerprint)))
				appendChecksum(b[:len(b)-8], 0)
			}
		}
		c, err := Decode(m, head, body)
		if err != nil {
			return
		}
		c.Mean()
		c.StdDev()
		c.Quantile(0.5)
		c.Distinct()
		c.Categories()
		if d, err := Compare(c, c); err != nil || d.D.Low > 0 || m.kind == Numbers && d.N > 0 && d.D.High != d.D.High {
			t.Errorf("a profile differs from itself: %+v %v", d, err)
		}
		if err := New(m).Merge(c); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkAddNumbers(b *testing.B) {
	for _, shape := range shapes[:9] {
		values := drawn(1, 1<<20, shape.draw)
		m := NumberMap(values[:1<<16])
		b.Run(shape.name, func(b *testing.B) {
			c, s := New(m), new(Scratch)
			b.SetBytes(8 << 20)
			for b.Loop() {
				c.AddNumbers(values, s)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<20), "ns/value")
		})
	}
}
