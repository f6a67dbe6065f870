package offline

import (
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// conformer turns arrays of whatever type a client sent into the stored type.
// The array that conform returns is the caller's to release; where nothing has to
// change it is the given one, retained.
type conformer struct {
	ctx context.Context // carries mem to the compute kernels; never ends, or a batch that came as it did would be a wrong one
	mem memory.Allocator
}

func newConformer(ctx context.Context, mem memory.Allocator) conformer {
	return conformer{ctx: compute.WithAllocator(context.WithoutCancel(ctx), mem), mem: mem}
}

// batch returns rows in the given stored schema. Columns are matched by name; a
// nullable column that rows lack is all null, and one that the schema lacks is an error.
func (c conformer) batch(rows arrow.RecordBatch, stored *arrow.Schema) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, stored.NumFields())
	defer func() { releaseArrays(columns) }()
	matched := 0
	for _, field := range stored.Fields() {
		indices := rows.Schema().FieldIndices(field.Name)
		if len(indices) == 0 {
			if !field.Nullable {
				return nil, driftline.Errorf(driftline.Invalid, "column %q is missing", field.Name)
			}
			columns = append(columns, array.MakeArrayOfNull(c.mem, field.Type, int(rows.NumRows())))
			continue
		}
		matched++
		column, err := c.array(rows.Column(indices[0]), field.Type)
		if err != nil {
			return nil, conformError(field, rows.Column(indices[0]).DataType(), err)
		}
		columns = append(columns, column)
		if !field.Nullable && column.NullN() > 0 {
			return nil, driftline.Errorf(driftline.Invalid, "column %q has %d nulls, and may have none", field.Name, column.NullN()).
				WithHint("drop the rows or fill them in")
		}
	}
	if matched != int(rows.NumCols()) {
		return nil, unknownColumn(rows.Schema(), stored)
	}
	return array.NewRecordBatch(stored, columns, rows.NumRows()), nil
}

func conformError(field arrow.Field, from arrow.DataType, err error) error {
	if driftline.CodeOf(err) == driftline.Invalid {
		return driftline.Errorf(driftline.Invalid, "column %q: %w", field.Name, err)
	}
	return driftline.Errorf(driftline.Invalid, "column %q is %s, want %s: %w", field.Name, from, field.Type, err)
}

func unknownColumn(rows, stored *arrow.Schema) error {
	for i, f := range rows.Fields() {
		switch {
		case !stored.HasField(f.Name):
			return driftline.Errorf(driftline.Invalid, "the table has no column %q", f.Name)
		case rows.FieldIndices(f.Name)[0] != i:
			return driftline.Errorf(driftline.Invalid, "column %q is there twice", f.Name)
		}
	}
	return driftline.Errorf(driftline.Internal, "columns do not match the table")
}

func (c conformer) array(from arrow.Array, to arrow.DataType) (arrow.Array, error) {
	if sameLayout(from.DataType(), to) {
		return relabel(from, to), nil
	}
	switch from := from.(type) {
	case array.ExtensionArray:
		return c.array(from.Storage(), to)
	case *array.Dictionary:
		return c.dictionary(from, to)
	case *array.Null:
		return array.MakeArrayOfNull(c.mem, to, from.Len()), nil
	case *array.Timestamp:
		if to, ok := to.(*arrow.TimestampType); ok {
			return c.timestamp(from, to)
		}
	case *array.Decimal32:
		return c.decimal(from, to, func(i int) decimal128.Num { return decimal128.FromI64(int64(from.Value(i))) })
	case *array.Decimal64:
		return c.decimal(from, to, func(i int) decimal128.Num { return decimal128.FromI64(int64(from.Value(i))) })
	case *array.Struct:
		if to, ok := to.(*arrow.StructType); ok && to.NumFields() == from.NumField() {
			return c.structure(from, to)
		}
	case *array.Map:
		if to, ok := to.(*arrow.MapType); ok {
			return c.list(from, to)
		}
	case *array.List, *array.LargeList, *array.FixedSizeList:
		if to, ok := to.(*arrow.ListType); ok {
			return c.list(from.(array.ListLike), to)
		}
	}
	options := compute.SafeCastOptions(to)
	options.AllowTimeTruncate = true // times of day in nanoseconds lose what Iceberg cannot hold
	return compute.CastArray(c.ctx, from, options)
}

// sameLayout reports whether an array of type from is, bit for bit, one of type to.
// Names and nullability of nested fields do not matter for that.
func sameLayout(from, to arrow.DataType) bool {
	if from.ID() != to.ID() {
		return false
	}
	switch from := from.(type) {
	case *arrow.TimestampType:
		return from.Unit == to.(*arrow.TimestampType).Unit
	case *arrow.ListType:
		return sameLayout(from.Elem(), to.(*arrow.ListType).Elem())
	case *arrow.MapType:
		to := to.(*arrow.MapType)
		return sameLayout(from.KeyType(), to.KeyType()) && sameLayout(from.ItemType(), to.ItemType())
	case *arrow.StructType:
		to := to.(*arrow.StructType)
		if from.NumFields() != to.NumFields() {
			return false
		}
		for i, f := range from.Fields() {
			if f.Name != to.Field(i).Name || !sameLayout(f.Type, to.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return arrow.TypeEqual(from, to)
}

// relabel returns from, retained, under a type of the same layout. Nested types
// differ by the names and ids of their fields, timestamps by their zone.
func relabel(from arrow.Array, to arrow.DataType) arrow.Array {
	data := relabelData(from.Data(), to)
	defer data.Release()
	return array.MakeFromData(data)
}

func relabelData(from arrow.ArrayData, to arrow.DataType) arrow.ArrayData {
	var types []arrow.DataType
	switch to := to.(type) {
	case *arrow.ListType:
		types = []arrow.DataType{to.Elem()}
	case *arrow.MapType:
		types = []arrow.DataType{to.Elem()}
	case *arrow.StructType:
		for _, f := range to.Fields() {
			types = append(types, f.Type)
		}
	}
	children := make([]arrow.ArrayData, len(types))
	for i, typ := range types {
		children[i] = relabelData(from.Children()[i], typ)
		defer children[i].Release()
	}
	return array.NewData(to, from.Len(), from.Buffers(), children, from.NullN(), from.Offset())
}

func (c conformer) dictionary(from *array.Dictionary, to arrow.DataType) (arrow.Array, error) {
	plain, err := compute.TakeArray(c.ctx, from.Dictionary(), from.Indices())
	if err != nil {
		return nil, err
	}
	defer plain.Release()
	return c.array(plain, to)
}

// timestamp converts to microseconds, rounding down so that order is kept.
func (c conformer) timestamp(from *array.Timestamp, to *arrow.TimestampType) (arrow.Array, error) {
	multiply, divide := int64(1), int64(1)
	switch from.DataType().(*arrow.TimestampType).Unit {
	case arrow.Second:
		multiply = 1_000_000
	case arrow.Millisecond:
		multiply = 1_000
	case arrow.Nanosecond:
		divide = 1_000
	}
	b := array.NewTimestampBuilder(c.mem, to)
	defer b.Release()
	b.Reserve(from.Len())
	for i, v := range from.TimestampValues() {
		if from.IsNull(i) {
			b.AppendNull()
			continue
		}
		value := int64(v)
		if value > math.MaxInt64/multiply || value < math.MinInt64/multiply {
			return nil, driftline.Errorf(driftline.Invalid, "time %d %s is out of range (row %d)", value, from.DataType(), i)
		}
		b.UnsafeAppend(arrow.Timestamp(floorDivide(value*multiply, divide)))
	}
	return b.NewArray(), nil
}

// decimal widens decimals of the same scale, for which there is no cast.
func (c conformer) decimal(from arrow.Array, to arrow.DataType, value func(i int) decimal128.Num) (arrow.Array, error) {
	wide, ok := to.(*arrow.Decimal128Type)
	if have := from.DataType().(arrow.DecimalType); !ok || wide.Scale != have.GetScale() || wide.Precision < have.GetPrecision() {
		return nil, driftline.Errorf(driftline.Invalid, "%s cannot be stored as %s", from.DataType(), to)
	}
	b := array.NewDecimal128Builder(c.mem, wide)
	defer b.Release()
	for i := range from.Len() {
		if from.IsNull(i) {
			b.AppendNull()
			continue
		}
		b.Append(value(i))
	}
	return b.NewArray(), nil
}

func floorDivide(value, by int64) int64 {
	quotient := value / by
	if value%by < 0 {
		quotient--
	}
	return quotient
}

func (c conformer) structure(from *array.Struct, to *arrow.StructType) (arrow.Array, error) {
	children := make([]arrow.ArrayData, to.NumFields())
	arrays := make([]arrow.Array, 0, to.NumFields())
	defer func() { releaseArrays(arrays) }()
	for i, f := range to.Fields() {
		child, err := c.array(from.Field(i), f.Type)
		if err != nil {
			return nil, err
		}
		arrays, children[i] = append(arrays, child), child.Data()
	}
	validity := c.validity(from)
	defer release(validity)
	data := array.NewData(to, from.Len(), []*memory.Buffer{validity}, children, from.NullN(), 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// list gathers the elements that valid lists hold, one after the other, so that
// null lists of any kind are empty ones. A map is a list of entries.
func (c conformer) list(from array.ListLike, to arrow.ListLikeType) (arrow.Array, error) {
	offsets, elements, err := c.elements(from, from.ListValues(), to.Elem())
	if err != nil {
		return nil, err
	}
	defer offsets.Release()
	defer elements.Release()
	validity := c.validity(from)
	defer release(validity)
	data := array.NewData(to, from.Len(), []*memory.Buffer{validity, offsets}, []arrow.ArrayData{elements.Data()}, from.NullN(), 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// elements returns the elements of all lists side by side, as the type to, and
// the len+1 offsets that tell them apart.
func (c conformer) elements(lists array.ListLike, values arrow.Array, to arrow.DataType) (*memory.Buffer, arrow.Array, error) {
	indices := array.NewInt64Builder(c.mem)
	defer indices.Release()
	offsets := memory.NewResizableBuffer(c.mem)
	offsets.Resize(arrow.Int32Traits.BytesRequired(lists.Len() + 1))
	ends := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
	ends[0] = 0
	for i := range lists.Len() {
		if lists.IsValid(i) {
			start, end := lists.ValueOffsets(i)
			for k := start; k < end; k++ {
				indices.Append(k)
			}
		}
		ends[i+1] = int32(indices.Len())
	}
	elements, err := c.gather(values, indices, to)
	if err != nil {
		offsets.Release()
		return nil, nil, err
	}
	return offsets, elements, nil
}

func (c conformer) gather(values arrow.Array, indices *array.Int64Builder, to arrow.DataType) (arrow.Array, error) {
	order := indices.NewInt64Array()
	defer order.Release()
	taken, err := compute.TakeArray(c.ctx, values, order)
	if err != nil {
		return nil, err
	}
	defer taken.Release()
	return c.array(taken, to)
}

// validity is a copy of the array's null bitmap that begins at bit 0; nil if there are no nulls.
func (c conformer) validity(from arrow.Array) *memory.Buffer {
	if from.NullN() == 0 {
		return nil
	}
	bitmap := memory.NewResizableBuffer(c.mem)
	bitmap.Resize(int(bitutil.BytesForBits(int64(from.Len()))))
	bitutil.CopyBitmap(from.NullBitmapBytes(), from.Data().Offset(), from.Len(), bitmap.Bytes(), 0)
	return bitmap
}

func release(b *memory.Buffer) {
	if b != nil {
		b.Release()
	}
}

func releaseArrays(arrays []arrow.Array) {
	for _, a := range arrays {
		a.Release()
	}
}
