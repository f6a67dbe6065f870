package profile

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline/drift"
)

// Kind says what the values of a column are.
type Kind byte

// The kinds. Times are numbers, truth values and bytes are categories.
const (
	Numbers    Kind = 1
	Categories Kind = 2
)

// Cells is how many cells a column's values are counted in.
const Cells = 1 << 16

// The cells of numbers: a tail on each side, whose cells grow with the distance, and
// between them cells of equal width.
//
//	0 ─── tail ─── tailCells ─────── equal steps ─────── Cells − tailCells ─── tail ─── Cells
const (
	tailCells = 1 << 12
	steps     = Cells - 2*tailCells

	// A tail has 2^tailDetail cells to an octave of distance, so it ends after 64 octaves.
	tailDetail = 6

	// spikeShare of the values or more make a value a spike; there are at most mostSpikes.
	spikeShare = 1.0 / 1024
	mostSpikes = 1024

	// mostFrozen names of a reference are counted by name in every profile, if it has so
	// many that not all names can be kept.
	mostFrozen = 1024
)

// Map is how the values of a column become cells. It is made once, from the reference, and
// shared by all profiles that are to be merged and compared: then what a cell counts is the
// same in each of them. It never changes, and may be used concurrently.
//
// Numbers go to 65,536 cells by a monotone function of the value v,
//
//	t = (x(v) − lo)·perUnit        x(v) = v, or the place of v among all float64
//	cell = ⌊t⌋ + 4096              for 0 ≤ t < 57,344
//
// and beyond by the logarithm of the distance, 64 cells to an octave, so that what lies far
// out is still told apart. Values that many rows have, the spikes (zero, a sentinel, each of
// a few whole numbers), are counted by themselves besides: a cell alone could not say that
// all of its values are equal.
//
// Categories go to cells by a hash of their names, and the frequent names of a reference
// with too many of them are counted by themselves.
type Map struct {
	kind    Kind
	byBits  bool
	lo      float64
	perUnit float64
	spikes  []float64 // ascending
	names   []string  // ascending

	fingerprint uint64

	// What adding values needs, made when the first profile is. A map that outlines are
	// compared by stays small without it.
	once    sync.Once
	special *[Cells / 64]uint64 // which cells hold a spike
	places  []uint16            // hash table of the spikes: 1 + the place, 0 where none is
	frozen  map[string]bool

	// What adding many values needs, made when there are.
	tableOnce sync.Once
	table     *spikeTable
}

// spikeTable finds spikes by cell. Places begin with 1 here; 0 means that there is none.
type spikeTable struct {
	at     *[Cells]uint16 // by cell: the place of its spike; above mostSpikes if it has several
	values [2 * mostSpikes]float64
	cells  [2 * mostSpikes]uint16
}

// Kind says what the values are.
func (m *Map) Kind() Kind { return m.kind }

// Fingerprint tells maps apart. Profiles of maps with one fingerprint can be merged.
func (m *Map) Fingerprint() uint64 { return m.fingerprint }

// NumberMap makes the map of a column of numbers from a sample of its reference. NaN and
// infinities are left out. Without any number it is the map from 0 to 1.
func NumberMap(sample []float64) *Map {
	sorted := make([]float64, 0, len(sample))
	for _, v := range sample {
		if v-v == 0 {
			sorted = append(sorted, v+0) // one zero
		}
	}
	drift.SortNumbers(sorted)
	if len(sorted) == 0 {
		sorted = append(sorted, 0, 1)
	}
	lo, hi := centre(sorted)
	linear, ok := linearMap(lo, hi)
	if byBits := bitsMap(lo, hi); !ok || byBits.shared(sorted) < linear.shared(sorted) {
		linear = byBits
	}
	linear.spikes = spikesOf(sorted)
	return linear.sealed()
}

// centre is the range of equal steps: all of the values, unless their ends are far out.
func centre(sorted []float64) (lo, hi float64) {
	n := len(sorted)
	lo, hi = sorted[n/200], sorted[n-1-n/200]
	far := (hi - lo) / 2
	if lo-sorted[0] <= far {
		lo = sorted[0]
	}
	if sorted[n-1]-hi <= far {
		hi = sorted[n-1]
	}
	if lo == hi {
		lo, hi = sorted[0], sorted[n-1]
	}
	return lo, hi
}

// linearMap is false where lo and hi are too close or too far apart for a step to be a
// normal number.
func linearMap(lo, hi float64) (*Map, bool) {
	m := &Map{kind: Numbers, lo: lo, perUnit: steps / (hi - lo)}
	if lo == hi { // any step will do
		m.perUnit = steps / max(math.Abs(lo), 1)
	}
	ok := m.perUnit > 0x1p-1000 && m.perUnit < 0x1p1000
	return m, ok
}

func bitsMap(lo, hi float64) *Map {
	from, to := float64(place(lo)), float64(place(hi))
	return &Map{kind: Numbers, byBits: true, lo: from, perUnit: min(1, steps/max(1, to-from))}
}

// place is the place of a number among all of them: an order-preserving whole number.
func place(v float64) int64 {
	b := int64(math.Float64bits(v + 0))
	return b ^ int64(uint64(b>>63)>>1)
}

// numberAt is the number with a place.
func numberAt(place int64) float64 {
	return math.Float64frombits(uint64(place ^ int64(uint64(place>>63)>>1)))
}

// shared counts the neighbours in a sorted sample that differ and yet share a cell.
func (m *Map) shared(sorted []float64) (count int) {
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1] != sorted[i] && m.cell(sorted[i-1]) == m.cell(sorted[i]) {
			count++
		}
	}
	return count
}

func spikesOf(sorted []float64) []float64 {
	type run struct {
		value float64
		count int
	}
	var runs []run
	least := max(2, int(math.Ceil(spikeShare*float64(len(sorted)))))
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		if j-i >= least {
			runs = append(runs, run{sorted[i], j - i})
		}
		i = j
	}
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(b.count, a.count) })
	runs = runs[:min(len(runs), mostSpikes)]
	spikes := make([]float64, len(runs))
	for i, r := range runs {
		spikes[i] = r.value
	}
	slices.Sort(spikes)
	return spikes
}

// CategoryMap makes the map of a column of categories from how often its reference has
// each. A name may be cut, see [Name].
func CategoryMap(counts map[string]int64) *Map {
	m := &Map{kind: Categories}
	if len(counts) > mostNames {
		names := make([]string, 0, len(counts))
		for name := range counts {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
		})
		for _, name := range names[:mostFrozen] {
			m.names = append(m.names, Name(name))
		}
		slices.Sort(m.names)
		m.names = slices.Compact(m.names)
	}
	return m.sealed()
}

// sealed gives the map its fingerprint, when all fields are set.
func (m *Map) sealed() *Map {
	m.fingerprint = xxhash.Sum64(m.appendFields(nil))
	return m
}

// prepare makes what adding values needs.
func (m *Map) prepare() {
	m.special = new([Cells / 64]uint64)
	size := 1
	for size < 2*len(m.spikes) {
		size *= 2
	}
	if len(m.spikes) > 0 {
		m.places = make([]uint16, size)
	}
	for i, v := range m.spikes {
		cell := m.cell(v)
		m.special[cell>>6] |= 1 << (cell & 63)
		at := m.slot(v)
		for m.places[at] != 0 {
			at = (at + 1) & (size - 1)
		}
		m.places[at] = uint16(i + 1)
	}
	m.frozen = make(map[string]bool, len(m.names))
	for _, name := range m.names {
		m.frozen[name] = true
	}
}

// spikeTable returns the table of the spikes.
func (m *Map) spikeTable() *spikeTable {
	m.tableOnce.Do(func() {
		t := &spikeTable{at: new([Cells]uint16)}
		t.values[0] = math.NaN() // which no value is
		for i, v := range m.spikes {
			cell := m.cell(v)
			t.values[i+1], t.cells[i+1] = v, cell
			if t.at[cell] == 0 {
				t.at[cell] = uint16(i + 1)
			} else {
				t.at[cell] = mostSpikes + 1
			}
		}
		m.table = t
	})
	return m.table
}

// slot is where the search for a spike begins.
func (m *Map) slot(v float64) int {
	return int(mix(math.Float64bits(v+0))) & (len(m.places) - 1)
}

// spike returns the place of a value among the spikes, −1 if it is none. There must be some.
func (m *Map) spike(v float64) int {
	for at := m.slot(v); m.places[at] != 0; at = (at + 1) & (len(m.places) - 1) {
		if i := int(m.places[at]) - 1; m.spikes[i] == v {
			return i
		}
	}
	return -1
}

// cell returns the cell of a finite number. It never falls as v grows.
func (m *Map) cell(v float64) uint16 {
	x := v
	if m.byBits {
		x = float64(place(v))
	}
	t := (x - m.lo) * m.perUnit
	if t >= 0 && t < steps {
		return uint16(tailCells + int(t))
	}
	if t < 0 {
		return uint16(tailCells - 1 - tailCell(-t))
	}
	return uint16(Cells - tailCells + tailCell(t-steps))
}

// tailCell is the cell of a distance from the edge, counted from the edge.
func tailCell(distance float64) int {
	const one = 1023 << tailDetail
	octaves := int(math.Float64bits(1+distance)>>(52-tailDetail)) - one
	return min(octaves, tailCells-1)
}

// tailDistance is the least distance of a cell of a tail.
func tailDistance(cell int) float64 {
	return math.Float64frombits(uint64(cell+1023<<tailDetail)<<(52-tailDetail)) - 1
}

// edges returns numbers such that every finite number of the cells from first to last lies
// between them, both included. They are wider than the cells by some roundings at most.
func (m *Map) edges(first, last int) (low, high float64) {
	return m.lowerEdge(first), m.number(m.leastStep(last+1), +1)
}

func (m *Map) lowerEdge(cell int) float64 { return m.number(m.leastStep(cell), -1) }

// leastStep is the t at which a cell begins. The last one ends nowhere.
func (m *Map) leastStep(cell int) float64 {
	switch {
	case cell <= 0:
		return math.Inf(-1)
	case cell >= Cells:
		return math.Inf(1)
	case cell < tailCells:
		return -tailDistance(tailCells - cell)
	case cell <= Cells-tailCells:
		return float64(cell - tailCells)
	}
	return steps + tailDistance(cell-(Cells-tailCells))
}

// number is about the number at t, moved outwards by what rounding can amount to.
func (m *Map) number(t float64, outwards float64) float64 {
	beyond := t / m.perUnit
	x := m.lo + beyond
	if math.IsInf(x, 0) {
		return math.Copysign(math.MaxFloat64, x)
	}
	slack := 0x1p-49 * max(math.Abs(m.lo), math.Abs(x), math.Abs(beyond))
	x += outwards * slack
	if !m.byBits {
		return min(max(x, -math.MaxFloat64), math.MaxFloat64)
	}
	greatest := float64(place(math.MaxFloat64))
	x = min(max(x+outwards*4096, -greatest), greatest)
	if place := int64(x); place < math.MaxInt64 {
		return min(max(numberAt(place), -math.MaxFloat64), math.MaxFloat64)
	}
	return math.MaxFloat64
}

// spikesIn returns the first spike of a cell or a later one, and the end of them.
func (m *Map) spikesIn(first, last int) (from, to int) {
	if len(m.spikes) == 0 {
		return 0, 0
	}
	from = sort.Search(len(m.spikes), func(i int) bool { return int(m.cell(m.spikes[i])) >= first })
	to = from
	for to < len(m.spikes) && int(m.cell(m.spikes[to])) <= last {
		to++
	}
	return from, to
}

// appendFields writes what a map is made of.
//
//	┌─────────┬───────────┬───────┬────────────┬─────────────────────┬───────────────────────────────┐
//	│ kind: 1 │ byBits: 1 │ lo: 8 │ perUnit: 8 │ spikes: count, 8 … │ names: count, (length, bytes) …│
//	└─────────┴───────────┴───────┴────────────┴─────────────────────┴───────────────────────────────┘
func (m *Map) appendFields(b []byte) []byte {
	b = append(b, byte(m.kind), flag(m.byBits))
	b = appendFloat(appendFloat(b, m.lo), m.perUnit)
	b = binary.AppendUvarint(b, uint64(len(m.spikes)))
	for _, v := range m.spikes {
		b = appendFloat(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(m.names)))
	for _, name := range m.names {
		b = appendText(b, name)
	}
	return b
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// AppendTo writes the map: its form, its fields, and a checksum of both.
func (m *Map) AppendTo(b []byte) []byte {
	begin := len(b)
	b = m.appendFields(append(b, mapForm))
	return appendChecksum(b, begin)
}

// DecodeMap reads a map that AppendTo has written. It is an error if from is anything else.
func DecodeMap(from []byte) (*Map, error) {
	d, err := open(from, mapForm, "map")
	if err != nil {
		return nil, err
	}
	m := &Map{kind: Kind(d.byte()), byBits: d.byte() != 0, lo: d.float(), perUnit: d.float()}
	if n := d.count(mostSpikes); n > 0 {
		m.spikes = make([]float64, 0, n)
		for range n {
			m.spikes = append(m.spikes, d.float())
		}
	}
	if n := d.count(mostFrozen); n > 0 {
		for range n {
			m.names = append(m.names, d.text(longestName))
		}
	}
	if err := d.finish("map"); err != nil {
		return nil, err
	}
	if !m.valid() {
		return nil, damaged("map")
	}
	return m.sealed(), nil
}

func (m *Map) valid() bool {
	if m.kind == Categories {
		return slices.IsSorted(m.names) && len(slices.Compact(slices.Clone(m.names))) == len(m.names) && len(m.spikes) == 0
	}
	ascending := true
	for i, v := range m.spikes {
		ascending = ascending && v-v == 0 && (i == 0 || m.spikes[i-1] < v)
	}
	return m.kind == Numbers && len(m.names) == 0 && ascending && m.lo-m.lo == 0 && m.perUnit > 0 && m.perUnit < math.Inf(1)
}
