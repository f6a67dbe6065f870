package engine

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// conformer brings the batches of one write into the exact schema of a view:
// columns in order, types widened where no value changes, naive times read as UTC.
// What does not fit is an error that names the column and, where it is a value's
// fault, the row, counted from 0 over the whole write.
type conformer struct {
	view    *driftline.FeatureView
	schema  *arrow.Schema // of the view
	columns []int         // view column i is input column columns[i]
	row     int64         // rows conformed so far
	mem     memory.Allocator
}

// newConformer checks that input can be brought into the view's schema at all.
func newConformer(view *driftline.FeatureView, input *arrow.Schema, mem memory.Allocator) (*conformer, error) {
	c := &conformer{view: view, schema: view.Schema(), mem: mem}
	ref := driftline.ViewRef(view.Name)
	known := fieldNames(c.schema)
	for _, f := range input.Fields() {
		if !c.schema.HasField(f.Name) {
			e := driftline.Errorf(driftline.Invalid, "view %q: column %q is not part of the view", view.Name, f.Name).WithRef(ref)
			if near := driftline.Nearest(f.Name, known); near != "" {
				return nil, e.WithHint("did you mean %q?", near)
			}
			return nil, e.WithHint("drop the column, or add it to the view's features and apply again")
		}
	}
	for _, want := range c.schema.Fields() {
		at := input.FieldIndices(want.Name)
		switch {
		case len(at) == 0:
			return nil, driftline.Errorf(driftline.Invalid, "view %q: column %q is missing", view.Name, want.Name).WithRef(ref).
				WithHint("send every column of the view (%v); use nulls where there is no value", known)
		case len(at) > 1:
			return nil, driftline.Errorf(driftline.Invalid, "view %q: column %q is there twice", view.Name, want.Name).WithRef(ref).
				WithHint("send each column once")
		}
		if got := input.Field(at[0]).Type; !fits(want.Type, got) {
			return nil, driftline.Errorf(driftline.Invalid, "view %q: column %q is %s, want %s", view.Name, want.Name, typeName(got), typeName(want.Type)).
				WithRef(ref).WithHint("cast the column before sending it")
		}
		c.columns = append(c.columns, at[0])
	}
	return c, nil
}

func fieldNames(schema *arrow.Schema) []string {
	names := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		names[i] = f.Name
	}
	return names
}

// typeName is the user's word for an Arrow type, or Arrow's if there is none.
func typeName(dt arrow.DataType) string {
	if t, ok := driftline.TypeOf(dt); ok && arrow.TypeEqual(t.Arrow(), dt) {
		return string(t)
	}
	return dt.String()
}

// fits reports whether columns of type got can become want without changing a value.
// A column of Arrow's null type fits everywhere: it holds no value.
func fits(want, got arrow.DataType) bool {
	if got.ID() == arrow.NULL {
		return true
	}
	w, _ := driftline.TypeOf(want)
	g, ok := driftline.TypeOf(got)
	return ok && w.Holds(g)
}

// conform returns b in the view's schema. The caller releases it.
func (c *conformer) conform(ctx context.Context, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, len(c.columns))
	defer func() {
		for _, col := range columns {
			if col != nil {
				col.Release()
			}
		}
	}()
	for i, at := range c.columns {
		want := c.schema.Field(i)
		col, err := castColumn(ctx, b.Column(at), want.Type, c.mem)
		if err != nil {
			return nil, c.columnError(want.Name, err)
		}
		columns[i] = col
		if !want.Nullable && col.NullN() > 0 {
			return nil, driftline.Errorf(driftline.Invalid, "view %q: column %q is null (row %d)", c.view.Name, want.Name, c.row+int64(firstNull(col))).
				WithRef(driftline.ViewRef(c.view.Name)).
				WithHint("join keys and the event timestamp of every row must have a value")
		}
	}
	if err := c.checkTimes(columns); err != nil {
		return nil, err
	}
	c.row += b.NumRows()
	return array.NewRecordBatch(c.schema, columns, b.NumRows()), nil
}

// checkTimes refuses the numbers that are no event or created time to every reader. A
// bulk write has to know before its files are committed that its rows can go online.
func (c *conformer) checkTimes(columns []arrow.Array) error {
	for i, f := range c.schema.Fields() {
		if f.Name != c.view.EventTimestamp && f.Name != c.view.CreatedTimestamp {
			continue
		}
		times := columns[i].(*array.Timestamp)
		for row, us := range times.TimestampValues() {
			if noTime(int64(us)) && times.IsValid(row) {
				return c.columnError(f.Name, &valueError{row: row, what: "has a time that is beyond all times",
					hint: "use null for a created timestamp that is not known; an event timestamp must be a time"})
			}
		}
	}
	return nil
}

// noTime reports whether us stands for something else than a time: the least int64 is
// the online store's null, and the next and the greatest are SQL's infinities.
func noTime(us int64) bool { return us <= -math.MaxInt64 || us == math.MaxInt64 }

// columnError completes an error of castColumn with the place.
func (c *conformer) columnError(column string, err error) error {
	if bad, ok := err.(*valueError); ok {
		return driftline.Errorf(driftline.Invalid, "view %q: column %q %s (row %d)", c.view.Name, column, bad.what, c.row+int64(bad.row)).
			WithRef(driftline.ViewRef(c.view.Name)).WithHint("%s", bad.hint)
	}
	return driftline.Errorf(driftline.Invalid, "view %q: column %q cannot be read: %w", c.view.Name, column, err).
		WithRef(driftline.ViewRef(c.view.Name))
}

func firstNull(a arrow.Array) int {
	for i := range a.Len() {
		if a.IsNull(i) {
			return i
		}
	}
	return -1
}

// valueError says which value of a column cannot be kept as it is.
type valueError struct {
	row  int
	what string
	hint string
}

func (e *valueError) Error() string { return e.what }

// castColumn returns col as type to, the same values. The caller releases it.
func castColumn(ctx context.Context, col arrow.Array, to arrow.DataType, mem memory.Allocator) (arrow.Array, error) {
	from := col.DataType()
	switch {
	case arrow.TypeEqual(from, to):
		col.Retain()
		return col, nil
	case from.ID() == arrow.NULL:
		return array.MakeArrayOfNull(mem, to, col.Len()), nil
	case from.ID() == arrow.TIMESTAMP && to.ID() == arrow.TIMESTAMP:
		return toMicroseconds(col.(*array.Timestamp), to.(*arrow.TimestampType), mem)
	case slices.Contains([]arrow.Type{arrow.STRING_VIEW, arrow.BINARY_VIEW}, from.ID()):
		return copyView(col, to, mem)
	}
	// An end of ctx is seen between batches: within one it would read as a value that does not fit.
	return compute.CastArray(compute.WithAllocator(context.WithoutCancel(ctx), mem), col, compute.SafeCastOptions(to))
}

// copyView copies string or binary views into the plain layout.
func copyView(col arrow.Array, to arrow.DataType, mem memory.Allocator) (arrow.Array, error) {
	b := array.NewBuilder(mem, to)
	defer b.Release()
	b.Reserve(col.Len())
	for i := range col.Len() {
		switch v := col.(type) {
		case *array.StringView:
			if v.IsNull(i) {
				b.AppendNull()
			} else {
				b.(*array.StringBuilder).Append(v.Value(i))
			}
		case *array.BinaryView:
			if v.IsNull(i) {
				b.AppendNull()
			} else {
				b.(*array.BinaryBuilder).Append(v.Value(i))
			}
		}
	}
	return b.NewArray(), nil
}

// toMicroseconds brings timestamps of any unit and zone to microseconds UTC. A time
// without a zone is UTC. A time between two microseconds is an error, because rounding
// could move it across the boundary of a point-in-time join.
func toMicroseconds(col *array.Timestamp, to *arrow.TimestampType, mem memory.Allocator) (arrow.Array, error) {
	unit := col.DataType().(*arrow.TimestampType).Unit
	if unit == to.Unit {
		data := array.NewData(to, col.Len(), col.Data().Buffers(), nil, col.NullN(), col.Data().Offset())
		defer data.Release()
		return array.NewTimestampData(data), nil
	}
	b := array.NewTimestampBuilder(mem, to)
	defer b.Release()
	b.Reserve(col.Len())
	for i, v := range col.TimestampValues() {
		if col.IsNull(i) {
			b.AppendNull()
			continue
		}
		us, bad := microseconds(int64(v), unit)
		if bad != "" {
			return nil, &valueError{row: i, what: bad, hint: "driftline keeps microseconds: round the column to them before sending it"}
		}
		b.UnsafeAppend(arrow.Timestamp(us))
	}
	return b.NewArray(), nil
}

// microseconds converts v, or says what is wrong with it.
func microseconds(v int64, unit arrow.TimeUnit) (us int64, bad string) {
	scale := map[arrow.TimeUnit]int64{arrow.Second: 1e6, arrow.Millisecond: 1e3, arrow.Microsecond: 1}[unit]
	switch {
	case unit == arrow.Nanosecond && v%1000 != 0:
		return 0, "has a time between two microseconds"
	case unit == arrow.Nanosecond:
		return v / 1000, ""
	case v*scale/scale != v:
		return 0, "has a time that microseconds cannot hold"
	}
	return v * scale, ""
}
