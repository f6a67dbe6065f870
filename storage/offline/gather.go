package offline

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// gatherer takes the rows of a chunk in sorted order. Columns of fixed width, most of
// a feature table, are taken from the batches where they arrived, into a buffer that
// is used again for the next column; others go through a copy of the whole column.
type gatherer struct {
	chunk     *chunk
	conformer conformer
	order     []int32 // row numbers in sorted order; nil if the rows are in order
	places    []place // by row number; nil until it is needed

	values, validity *memory.Buffer // of the array that gather returned last
	whole            map[int]arrow.Array
}

// place is where a row of a chunk is.
type place struct{ batch, row uint32 }

func newGatherer(c *chunk, conformer conformer, order []int32) *gatherer {
	return &gatherer{
		chunk: c, conformer: conformer, order: order,
		values:   memory.NewResizableBuffer(conformer.mem),
		validity: memory.NewResizableBuffer(conformer.mem),
		whole:    map[int]arrow.Array{},
	}
}

func (g *gatherer) release() {
	g.values.Release()
	g.validity.Release()
	for _, column := range g.whole {
		column.Release()
	}
}

// selection is rows of a chunk in the order in which they are wanted.
type selection struct {
	rows []int32 // row numbers
	at   []place
}

// slice selects a range of the sorted order.
func (g *gatherer) slice(start, end int) selection {
	rows := make([]int32, end-start)
	for i := range rows {
		rows[i] = int32(start + i)
	}
	return g.positions(rows)
}

// positions selects positions of the sorted order. It may overwrite its argument.
func (g *gatherer) positions(rows []int32) selection {
	if g.order != nil {
		for i, position := range rows {
			rows[i] = g.order[position]
		}
	}
	at := make([]place, len(rows))
	for i, row := range rows {
		at[i] = g.place(row)
	}
	return selection{rows: rows, at: at}
}

func (g *gatherer) place(row int32) place {
	if g.places == nil {
		g.places = make([]place, 0, g.chunk.rows)
		for i, batch := range g.chunk.batches {
			for r := range batch.NumRows() {
				g.places = append(g.places, place{batch: uint32(i), row: uint32(r)})
			}
		}
	}
	return g.places[row]
}

// fixed returns the values of a fixed-width column at places; false if the column is
// not of a width that can be taken so.
func (g *gatherer) fixed(column int, at []place) (arrow.Array, bool) {
	parts := g.chunk.parts(column)
	typ := parts[0].DataType()
	width, ok := byteWidth(typ)
	if !ok {
		return nil, false
	}
	g.values.Resize(len(at) * width)
	switch width {
	case 8:
		take[uint64](g.values.Bytes(), parts, at)
	case 4:
		take[uint32](g.values.Bytes(), parts, at)
	default:
		return nil, false
	}
	validity, nulls := g.valid(parts, at)
	data := array.NewData(typ, len(at), []*memory.Buffer{validity, g.values}, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data), true
}

func byteWidth(typ arrow.DataType) (int, bool) {
	fixed, ok := typ.(arrow.FixedWidthDataType)
	if !ok || fixed.BitWidth()%8 != 0 || arrow.IsNested(typ.ID()) || typ.ID() == arrow.DICTIONARY || typ.ID() == arrow.EXTENSION {
		return 0, false
	}
	return fixed.BitWidth() / 8, true
}

// take copies the values at places. It asks for the width only, not for the type.
func take[T uint32 | uint64](to []byte, parts []arrow.Array, at []place) {
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

// valid returns the bitmap of the rows that are not null, nil if all are.
func (g *gatherer) valid(parts []arrow.Array, at []place) (bitmap *memory.Buffer, nulls int) {
	any := false
	for _, part := range parts {
		any = any || part.NullN() > 0
	}
	if !any {
		return nil, 0
	}
	g.validity.Resize(int(bitutil.BytesForBits(int64(len(at)))))
	bits := g.validity.Bytes()
	clear(bits)
	for i, p := range at {
		if parts[p.batch].IsNull(int(p.row)) {
			nulls++
			continue
		}
		bitutil.SetBit(bits, i)
	}
	return g.validity, nulls
}

// column returns the selected values of a column, in buffers that the next call may
// use again. The caller releases it before.
func (g *gatherer) column(column int, of selection) (arrow.Array, error) {
	if taken, ok := g.fixed(column, of.at); ok {
		return taken, nil
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
	b.AppendValues(of.rows, nil)
	indices := b.NewArray()
	defer indices.Release()
	return compute.TakeArray(g.conformer.ctx, whole, indices)
}

// batch returns the selected rows. The caller releases it.
func (g *gatherer) batch(schema *arrow.Schema, of selection) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, schema.NumFields())
	defer func() { releaseArrays(columns) }()
	for i := range schema.Fields() {
		column, err := g.column(i, of)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
		g.letGo()
	}
	return array.NewRecordBatch(schema, columns, int64(len(of.rows))), nil
}

// letGo leaves the buffers to the array that column returned last.
func (g *gatherer) letGo() {
	g.values.Release()
	g.validity.Release()
	g.values = memory.NewResizableBuffer(g.conformer.mem)
	g.validity = memory.NewResizableBuffer(g.conformer.mem)
}
