package online

import (
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// gather makes the column of one feature. It is null where there is no row, or
// the row's layout has no such feature, or the value is null.
func gather(mem memory.Allocator, view driftline.ViewName, feature driftline.Field, rows []row) (arrow.Array, error) {
	g := gatherer{mem: mem, feature: feature, rows: rows}
	defer g.release()
	switch {
	case isText(feature.Type):
		if !g.texts() {
			return nil, driftline.Errorf(driftline.Exhausted, "feature %q of view %q: the values asked for are larger than 2 GiB", feature.Name, view).
				WithHint("ask for fewer entities at a time")
		}
	case feature.Type == driftline.Bool:
		g.bools()
	case slotBytes(feature.Type) == 4:
		g.words32()
	default:
		g.words64()
	}
	if g.other != "" {
		return nil, driftline.Errorf(driftline.DataLoss, "feature %q of view %q is stored as %s, want %s", feature.Name, view, g.other, feature.Type).
			WithRef(driftline.ViewRef(view)).
			WithHint("give the feature of the new type a new name")
	}
	return g.array(), nil
}

// gatherer holds the buffers of a column while it is made.
type gatherer struct {
	mem     memory.Allocator
	feature driftline.Field
	rows    []row

	buffers [3]*memory.Buffer // validity (nil if nothing is null), values or offsets, texts
	valid   []byte
	nulls   int
	other   driftline.Type // under which a row has the feature instead, if one has

	// where the feature is in the rows of the layout seen last
	layout *layout
	at     int
	field  *layoutField
}

// find returns row i and where the feature is in it, and false, having marked
// the place null, if the value is null.
func (g *gatherer) find(i int) (*row, *layoutField, bool) {
	r := &g.rows[i]
	if r.layout != nil && r.layout != g.layout {
		g.enter(r.layout)
	}
	if r.layout == nil || g.field == nil || r.isNull(g.at) {
		g.setNull(i)
		return nil, nil, false
	}
	return r, g.field, true
}

func (g *gatherer) enter(l *layout) {
	g.layout, g.field = l, nil
	at, ok := l.places[g.feature.Identity()]
	if !ok {
		return
	}
	if stored := l.fields[at].Type; stored != g.feature.Type && !widens(stored, g.feature.Type) {
		g.other = l.fields[at].Type
		return
	}
	g.at, g.field = at, &l.fields[at]
}

// widens reports whether values of one type are read as the other: those of a feature
// that was widened after its row was written.
func widens(stored, wanted driftline.Type) bool {
	return stored == driftline.Int32 && wanted == driftline.Int64 || stored == driftline.Float32 && wanted == driftline.Float64
}

// word64 is the value of a feature whose type, or what it was widened to, has 8 bytes.
func (r *row) word64(f *layoutField) uint64 {
	switch f.Type {
	case driftline.Int32:
		return uint64(int32(r.uint32(f)))
	case driftline.Float32:
		return math.Float64bits(float64(math.Float32frombits(r.uint32(f))))
	}
	return r.uint64(f)
}

func (g *gatherer) setNull(i int) {
	if g.valid == nil {
		n := len(g.rows)
		g.valid = g.buffer(0, int(bitutil.BytesForBits(int64(n))))
		clear(g.valid)
		bitutil.SetBitsTo(g.valid, 0, int64(n), true)
	}
	bitutil.ClearBit(g.valid, i)
	g.nulls++
}

func (g *gatherer) words64() {
	values := arrow.Uint64Traits.CastFromBytes(g.buffer(1, 8*len(g.rows)))
	for i := range g.rows {
		values[i] = 0
		if r, f, ok := g.find(i); ok {
			values[i] = r.word64(f)
		}
	}
}

func (g *gatherer) words32() {
	values := arrow.Uint32Traits.CastFromBytes(g.buffer(1, 4*len(g.rows)))
	for i := range g.rows {
		values[i] = 0
		if r, f, ok := g.find(i); ok {
			values[i] = r.uint32(f)
		}
	}
}

func (g *gatherer) bools() {
	values := g.buffer(1, int(bitutil.BytesForBits(int64(len(g.rows)))))
	clear(values)
	for i := range g.rows {
		if r, f, ok := g.find(i); ok && r.bool(f) {
			bitutil.SetBit(values, i)
		}
	}
}

// texts is false if the offsets of Arrow's strings cannot count the bytes.
func (g *gatherer) texts() bool {
	offsets := arrow.Int32Traits.CastFromBytes(g.buffer(1, 4*(len(g.rows)+1)))
	offsets[0] = 0
	total := 0
	for i := range g.rows {
		if r, f, ok := g.find(i); ok {
			total += len(r.text(f))
		}
		if total > math.MaxInt32 {
			return false
		}
		offsets[i+1] = int32(total)
	}
	texts := g.buffer(2, total)
	for i := range g.rows {
		if offsets[i] < offsets[i+1] {
			r, f, _ := g.find(i)
			copy(texts[offsets[i]:], r.text(f))
		}
	}
	return true
}

// buffer makes one of the column's buffers, its content undefined.
func (g *gatherer) buffer(which, size int) []byte {
	b := memory.NewResizableBuffer(g.mem)
	b.Resize(size)
	g.buffers[which] = b
	return b.Bytes()
}

func (g *gatherer) array() arrow.Array {
	kinds := 2
	if isText(g.feature.Type) {
		kinds = 3
	}
	// A clone, because the array keeps the slice, and would keep all rows by it.
	data := array.NewData(g.feature.Type.Arrow(), len(g.rows), slices.Clone(g.buffers[:kinds]), nil, g.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func (g *gatherer) release() {
	for _, b := range g.buffers {
		if b != nil {
			b.Release()
		}
	}
}
