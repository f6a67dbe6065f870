package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// spineColumns says which columns of a spine go to DuckDB, as the table
//
//	spine(row BIGINT, time BIGINT, key0, key1, …)
//
// row counts from 0, time is in microseconds UTC, and each key has the type that
// its own Arrow type is stored as.
type spineColumns struct {
	schema *arrow.Schema
	time   int
	keys   []spineKey
}

type spineKey struct {
	column int // in the spine
	name   string
	typ    driftline.Type
}

func planSpine(req driftline.HistoricalRequest, spine *arrow.Schema, sources []Source) (spineColumns, error) {
	c := spineColumns{schema: spine}
	name := req.EventTimestamp
	if name == "" {
		name = driftline.DefaultEventTimestamp
	}
	var err error
	if c.time, err = findColumn(spine, name, "the time"); err != nil {
		return c, err
	}
	if dt := spine.Field(c.time).Type; !isTime(dt) {
		return c, driftline.Errorf(driftline.Invalid, "spine column %q is %s, want timestamp", name, dt).
			WithHint("convert it to a timestamp, or name another column as event_timestamp")
	}
	for _, s := range sources {
		for _, k := range s.View.JoinKeys {
			if err := c.addKey(s, k); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func findColumn(spine *arrow.Schema, name, role string) (int, error) {
	switch at := spine.FieldIndices(name); len(at) {
	case 1:
		return at[0], nil
	case 0:
		names := make([]string, spine.NumFields())
		for i, f := range spine.Fields() {
			names[i] = f.Name
		}
		e := driftline.Unknown("spine column", name, names)
		e.Code = driftline.Invalid
		e.Message = fmt.Sprintf("the spine has no column %q (%s)", name, role)
		return 0, e
	}
	return 0, driftline.Errorf(driftline.Invalid, "the spine has several columns %q (%s)", name, role).
		WithHint("rename all but one")
}

func (c *spineColumns) addKey(s Source, k driftline.Field) error {
	name := s.Projection.KeyColumn(k.Name)
	role := fmt.Sprintf("join key %q of view %q", k.Name, s.View.Name)
	at, err := findColumn(c.schema, name, role)
	if err != nil {
		return err
	}
	typ := k.Type
	if dt := c.schema.Field(at).Type; dt.ID() != arrow.NULL {
		var known bool
		if typ, known = driftline.TypeOf(dt); !known || !k.Type.Holds(typ) {
			return driftline.Errorf(driftline.Invalid, "spine column %q is %s, want %s (join key of view %q)", name, typeWord(dt), k.Type, s.View.Name).
				WithHint("cast the column to %s, or map the key to another column", k.Type)
		}
	}
	if !slices.ContainsFunc(c.keys, func(have spineKey) bool { return have.column == at }) {
		c.keys = append(c.keys, spineKey{column: at, name: name, typ: typ})
	}
	return nil
}

func typeWord(dt arrow.DataType) string {
	if t, ok := driftline.TypeOf(dt); ok {
		return string(t)
	}
	return dt.String()
}

// keyAt returns the place among the keys of the spine's column.
func (c *spineColumns) keyAt(column string) int {
	for i, k := range c.keys {
		if k.name == column {
			return i
		}
	}
	panic("query: key column was not planned: " + column)
}

// keyName is the column of the table spine that carries a key.
func keyName(at int) string { return fmt.Sprintf("key%d", at) }

// comment describes the table spine for people.
func (c *spineColumns) comment() string {
	columns := []string{"row", fmt.Sprintf("time = %q", c.schema.Field(c.time).Name)}
	for i, k := range c.keys {
		columns = append(columns, fmt.Sprintf("key%d = %q", i, k.name))
	}
	return "-- spine: " + strings.Join(columns, ", ") + "; times in microseconds\n"
}

// tableSchema is the Arrow schema of the table spine.
func (c *spineColumns) tableSchema() *arrow.Schema {
	fields := []arrow.Field{
		{Name: "row", Type: arrow.PrimitiveTypes.Int64},
		{Name: "time", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}
	for i, k := range c.keys {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("key%d", i), Type: k.typ.Arrow(), Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// tableRows makes the rows of the table spine from a batch whose first row has the
// given number. The caller releases the result.
func (c *spineColumns) tableRows(mem memory.Allocator, batch arrow.RecordBatch, firstRow int64) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, 2+len(c.keys))
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	columns = append(columns, rowNumbers(mem, firstRow, int(batch.NumRows())))
	times, err := microseconds(mem, batch.Column(c.time))
	if err != nil {
		return nil, cellError(err, c.schema.Field(c.time).Name, firstRow)
	}
	columns = append(columns, times)
	for _, k := range c.keys {
		column, err := holdAs(mem, batch.Column(k.column), k.typ)
		if err != nil {
			return nil, cellError(err, k.name, firstRow)
		}
		columns = append(columns, column)
	}
	return array.NewRecordBatch(c.tableSchema(), columns, batch.NumRows()), nil
}

func rowNumbers(mem memory.Allocator, first int64, n int) arrow.Array {
	b := array.NewInt64Builder(mem)
	defer b.Release()
	b.Reserve(n)
	for i := range n {
		b.UnsafeAppend(first + int64(i))
	}
	return b.NewArray()
}

// badCell is a value that cannot be converted, at a row of its batch.
type badCell struct {
	row     int
	problem string
}

func (b *badCell) Error() string { return b.problem }

func cellError(err error, column string, firstRow int64) error {
	cell, ok := err.(*badCell)
	if !ok {
		return driftline.Errorf(driftline.Invalid, "spine column %q: %w", column, err)
	}
	return driftline.Errorf(driftline.Invalid, "spine column %q: %s (row %d)", column, cell.problem, firstRow+int64(cell.row))
}
