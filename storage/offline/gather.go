package offline

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// gatherer takes rows of a chunk. Columns of fixed width, most of a feature table, are
// taken from the batches where they arrived or, if the rows are to be put in order, from
// [packedRows]; others go through a copy of the whole column.
type gatherer struct {
	schema    *arrow.Schema
	chunk     *chunk
	conformer conformer
	order     []int32     // row numbers in sorted order; nil if the rows are in order
	packed    *packedRows // nil if the rows are in order
	places    []place     // by row number; nil until it is needed

	taken   selection
	columns []columnBuffers // of the rows taken last
	whole   map[int]arrow.Array
}

// place is where a row of a chunk is.
type place struct{ batch, row uint32 }

func newGatherer(schema *arrow.Schema, c *chunk, conformer conformer) *gatherer {
	g := &gatherer{
		schema: schema, chunk: c, conformer: conformer,
		columns: make([]columnBuffers, schema.NumFields()), whole: map[int]arrow.Array{},
	}
	for i := range g.columns {
		g.columns[i] = columnBuffers{
			values:   memory.NewResizableBuffer(conformer.mem),
			validity: memory.NewResizableBuffer(conformer.mem),
		}
	}
	return g
}

// newSorter gathers rows in the given order, packed into a buffer that is used again.
func newSorter(schema *arrow.Schema, c *chunk, conformer conformer, order []int32, buffer *memory.Buffer) *gatherer {
	g := newGatherer(schema, c, conformer)
	if order != nil {
		g.order, g.packed = order, packRows(schema, c, buffer)
	}
	return g
}

func (g *gatherer) release() {
	for _, c := range g.columns {
		c.values.Release()
		c.validity.Release()
	}
	for _, column := range g.whole {
		column.Release()
	}
}

// selection is rows of a chunk in the order in which they are wanted.
type selection struct {
	rows []int32 // row numbers
	at   []place // where they are, unless they are packed
}

// slice selects a range of the sorted order.
func (g *gatherer) slice(start, end int) {
	if g.order != nil {
		g.take(selection{rows: g.order[start:end]})
		return
	}
	rows := make([]int32, end-start)
	for i := range rows {
		rows[i] = int32(start + i)
	}
	g.take(selection{rows: rows, at: g.placesOf(rows)})
}

// positions selects positions of the sorted order. It may overwrite its argument.
func (g *gatherer) positions(rows []int32) {
	if g.order == nil {
		g.take(selection{rows: rows, at: g.placesOf(rows)})
		return
	}
	for i, position := range rows {
		rows[i] = g.order[position]
	}
	g.take(selection{rows: rows})
}

func (g *gatherer) placesOf(rows []int32) []place {
	if g.places == nil {
		g.places = make([]place, 0, g.chunk.rows)
		for i, batch := range g.chunk.batches {
			for r := range batch.NumRows() {
				g.places = append(g.places, place{batch: uint32(i), row: uint32(r)})
			}
		}
	}
	at := make([]place, len(rows))
	for i, row := range rows {
		at[i] = g.places[row]
	}
	return at
}

// take makes a selection the one that column returns columns of. It overwrites the
// columns of the selection before.
func (g *gatherer) take(of selection) {
	g.taken = of
	if g.packed != nil {
		g.packed.unpack(of.rows, g.columns)
	}
}

// column returns the selected values of a column, which are there until other rows are
// taken. The caller releases it before.
func (g *gatherer) column(column int) (arrow.Array, error) {
	typ, rows := g.schema.Field(column).Type, len(g.taken.rows)
	if width, ok := packedWidth(typ); ok {
		if g.packed == nil {
			g.columns[column].copyFrom(g.chunk.parts(column), width, g.taken.at)
		}
		return g.columns[column].array(typ, rows), nil
	}
	whole, ok := g.whole[column]
	if !ok {
		var err error
		if whole, err = g.chunk.column(column, g.conformer.mem); err != nil {
			return nil, err
		}
		g.whole[column] = whole
	}
	b := array.NewInt32Builder(g.conformer.mem)
	defer b.Release()
	b.AppendValues(g.taken.rows, nil)
	indices := b.NewArray()
	defer indices.Release()
	return compute.TakeArray(g.conformer.ctx, whole, indices)
}

// batch returns the selected rows, which take the gatherer's buffers with them: nothing
// can be taken after. The caller releases it.
func (g *gatherer) batch() (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, g.schema.NumFields())
	defer func() { releaseArrays(columns) }()
	for i := range g.schema.Fields() {
		column, err := g.column(i)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return array.NewRecordBatch(g.schema, columns, int64(len(g.taken.rows))), nil
}

func byteWidth(typ arrow.DataType) (int, bool) {
	fixed, ok := typ.(arrow.FixedWidthDataType)
	if !ok || fixed.BitWidth()%8 != 0 || arrow.IsNested(typ.ID()) || typ.ID() == arrow.DICTIONARY || typ.ID() == arrow.EXTENSION {
		return 0, false
	}
	return fixed.BitWidth() / 8, true
}

// copyFrom copies the values at places of a column of that width.
func (b *columnBuffers) copyFrom(parts []arrow.Array, width int, at []place) {
	b.values.ResizeNoShrink(len(at) * width)
	if width == 8 {
		copyValues[uint64](b.values.Bytes(), parts, at)
	} else {
		copyValues[uint32](b.values.Bytes(), parts, at)
	}
	b.nulls = 0
	if !hasNulls(parts) {
		return
	}
	b.validity.ResizeNoShrink(int(bitutil.BytesForBits(int64(len(at)))))
	bits := b.validity.Bytes()
	clear(bits)
	for i, p := range at {
		if parts[p.batch].IsNull(int(p.row)) {
			b.nulls++
			continue
		}
		bitutil.SetBit(bits, i)
	}
}

// copyValues asks for the width only, not for the type.
func copyValues[T uint32 | uint64](to []byte, parts []arrow.Array, at []place) {
	values := make([][]T, len(parts))
	for i, part := range parts {
		values[i] = valuesOf[T](part)
	}
	out := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(to))), len(at))
	for i, p := range at {
		out[i] = values[p.batch][p.row]
	}
}

func valuesOf[T uint32 | uint64](a arrow.Array) []T {
	data := a.Data()
	if data.Len() == 0 || data.Buffers()[1] == nil {
		return make([]T, data.Len())
	}
	var v T
	bytes := data.Buffers()[1].Bytes()[data.Offset()*int(unsafe.Sizeof(v)):]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(bytes))), data.Len())
}
