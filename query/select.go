package query

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/duckdb/duckdb-go/v2"
)

// Table is a table that a user's SELECT may read: either the Parquet files of one
// snapshot, or batches.
type Table struct {
	Schema, Name string

	// Columns is the schema of Rows. A column that a file lacks is null. It may be
	// nil if there is at least one file, which then says it.
	Columns *arrow.Schema
	Rows    Rows

	// Batches makes the rows of a table that is not in files. It is called once
	// for each query that reads the table.
	Batches func() driftline.Batches
}

func (t *Table) name() TableName { return TableName{t.Schema, t.Name} }

// Select runs sel over tables, of which it reads those that sel names, with one
// argument per parameter: nil, bool, int64, float64, string, []byte, time.Time and
// what converts to them without loss.
//
// The query runs in a database of its own that can read the given files and
// nothing else. Every byte that a user's SQL can touch passes through this method:
// it is the seam behind which a worker process will stand, so it takes and returns
// nothing but text, names of files, values and batches.
//
// An unknown table is NotFound, an unknown column Invalid, both before the range
// begins.
func (db *DB) Select(ctx context.Context, sel *Select, tables []Table, args []any) (driftline.Batches, error) {
	if len(args) != sel.Parameters {
		return driftline.Batches{}, driftline.Errorf(driftline.Invalid, "the query has %d parameters, %d values were given", sel.Parameters, len(args))
	}
	for i, a := range args {
		if err := checkArgument(i, a); err != nil {
			return driftline.Batches{}, err
		}
	}
	return db.sandboxed(ctx, sandbox{sel: sel, tables: tables, args: args})
}

// sandbox is what one query may see and do.
type sandbox struct {
	sel    *Select
	tables []Table
	files  []string // readable besides those of tables
	args   []any
}

func (db *DB) sandboxed(ctx context.Context, box sandbox) (driftline.Batches, error) {
	schema, err := db.boxSchema(ctx, box)
	if err != nil {
		return driftline.Batches{}, err
	}
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		if err := db.runBox(ctx, box, schema, yield); err != nil {
			yield(nil, err)
		}
	}
	return driftline.Batches{Schema: schema, All: coalesce(db.opts.Allocator, schema, rows)}, nil
}

// SelectSchema returns the columns of the answer of sel without running it. The
// type of a column that is a bare parameter is known only when it has a value.
func (db *DB) SelectSchema(ctx context.Context, sel *Select, tables []Table) (*arrow.Schema, error) {
	return db.boxSchema(ctx, sandbox{sel: sel, tables: tables, args: make([]any, sel.Parameters)})
}

func (db *DB) boxSchema(ctx context.Context, box sandbox) (*arrow.Schema, error) {
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := db.openBox(ctx, box, false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	names, err := s.columnNames(ctx, box.sel.text)
	if err != nil {
		return nil, err
	}
	reader, err := s.query(ctx, "SELECT * FROM (\n"+box.sel.text+"\n) LIMIT 0", box.args...)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	return renamed(reader.Schema(), names), nil
}

// columnNames returns the names as the query gives them; a subquery would number
// those that occur twice.
func (s *session) columnNames(ctx context.Context, sql string) (names []string, err error) {
	defer s.recoverTo(&err)
	prepared, err := s.conn.PrepareContext(ctx, sql)
	if err != nil {
		return nil, failure(ctx, err)
	}
	defer prepared.Close()
	statement := prepared.(*duckdb.Stmt)
	n, err := statement.ColumnCount()
	if err != nil {
		return nil, failure(ctx, err)
	}
	for i := range n {
		name, err := statement.ColumnName(i)
		if err != nil {
			return nil, failure(ctx, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// renamed returns schema under the given names, if there are as many: DuckDB does
// not know the columns of a statement while a parameter's type is open.
func renamed(schema *arrow.Schema, names []string) *arrow.Schema {
	fields := schema.Fields()
	if len(names) != len(fields) {
		return schema
	}
	for i := range fields {
		fields[i].Name = names[i]
	}
	return arrow.NewSchema(fields, nil)
}

func (db *DB) runBox(ctx context.Context, box sandbox, schema *arrow.Schema, yield func(arrow.RecordBatch, error) bool) error {
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s, err := db.openBox(ctx, box, true)
	if err != nil {
		return err
	}
	defer s.close()
	reader, err := s.query(ctx, box.sel.text, box.args...)
	if err != nil {
		return err
	}
	defer reader.Release()
	for batch, err := range readAll(ctx, reader) {
		if err != nil {
			return err
		}
		if !sameTypes(schema, batch.Schema()) {
			return driftline.Errorf(driftline.Internal, "the query's columns changed while it ran")
		}
		batch = array.NewRecordBatch(schema, batch.Columns(), batch.NumRows())
		more := yield(batch, nil)
		batch.Release()
		if !more {
			return nil
		}
	}
	return nil
}

// readAll ranges over what a reader of DuckDB reads, without releasing it.
func readAll(ctx context.Context, reader array.RecordReader) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for reader.Next() {
			if !yield(reader.RecordBatch(), nil) {
				return
			}
		}
		if err := reader.Err(); err != nil {
			yield(nil, failure(ctx, err))
		}
	}
}

func sameTypes(a, b *arrow.Schema) bool {
	if a.NumFields() != b.NumFields() {
		return false
	}
	for i, f := range a.Fields() {
		if !arrow.TypeEqual(f.Type, b.Field(i).Type) {
			return false
		}
	}
	return true
}

// openBox opens a database that holds the tables that the query names, and locks it.
// Tables of batches are empty unless filled is asked for.
func (db *DB) openBox(ctx context.Context, box sandbox, filled bool) (_ *session, err error) {
	used, err := usedTables(box.sel, box.tables)
	if err != nil {
		return nil, err
	}
	s, err := db.newSession(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	files := box.files
	for _, t := range used {
		if err := s.addTable(ctx, t, filled); err != nil {
			return nil, err
		}
		files = append(files[:len(files):len(files)], t.Rows.Files...)
	}
	return s, s.lock(ctx, files)
}

// usedTables returns the tables that sel names.
func usedTables(sel *Select, tables []Table) ([]Table, error) {
	var used []Table
	known := make([]TableName, len(tables))
	for i := range tables {
		known[i] = tables[i].name()
	}
next:
	for _, name := range sel.Tables {
		for _, t := range tables {
			if name.same(t.name()) {
				used = append(used, t)
				continue next
			}
		}
		return nil, UnknownTable(name, known)
	}
	return used, nil
}

// addTable makes t readable under its name.
func (s *session) addTable(ctx context.Context, t Table, filled bool) error {
	name := quoteName(t.Name)
	if t.Schema != "" {
		name = quoteName(t.Schema) + "." + name
		if err := s.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(t.Schema)); err != nil {
			return err
		}
	}
	switch {
	case t.Batches != nil:
		return s.addBatches(ctx, name, t.Batches(), filled)
	case t.Columns == nil:
		return s.exec(ctx, "CREATE VIEW "+name+" AS SELECT * FROM "+readParquet(t.Rows))
	}
	return s.addColumns(ctx, name, t, filled)
}

// addColumns makes exactly the columns of t readable: its files and tail may have more.
func (s *session) addColumns(ctx context.Context, name string, t Table, filled bool) error {
	const hidden = "__tables" // a schema that no user's SQL can name
	if err := s.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+hidden); err != nil {
		return err
	}
	whole := quoteName(t.Schema + "." + t.Name)
	if err := s.addRows(ctx, hidden+"."+whole, hidden+"."+quoteName(t.Schema+"."+t.Name+" tail"), t.Rows, t.Columns, filled); err != nil {
		return err
	}
	wanted := make([]string, t.Columns.NumFields())
	for i, f := range t.Columns.Fields() {
		wanted[i] = quoteName(f.Name)
	}
	return s.exec(ctx, "CREATE VIEW "+name+" AS SELECT "+strings.Join(wanted, ", ")+" FROM "+hidden+"."+whole)
}

// checkArgument lets through what DuckDB binds as it is. Binding anything else is
// guesswork in the driver, and was seen to crash it.
func checkArgument(i int, a any) error {
	switch a.(type) {
	case nil, bool, int8, int16, int32, int64, int, uint8, uint16, uint32, uint64, float32, float64, string, []byte, time.Time:
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "value %d is a %T, want a number, string, bytes, time or null", i+1, a)
}

// Arguments returns the values of one row of a batch, one per column, as arguments
// of [DB.Select].
func Arguments(batch arrow.RecordBatch, row int) ([]any, error) {
	args := make([]any, batch.NumCols())
	for i, column := range batch.Columns() {
		v, err := argument(column, row)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "parameter %d: %w", i+1, err)
		}
		args[i] = v
	}
	return args, nil
}

func argument(a arrow.Array, i int) (any, error) {
	if a.IsNull(i) {
		return nil, nil
	}
	switch a := a.(type) {
	case *array.Null:
		return nil, nil
	case *array.Boolean:
		return a.Value(i), nil
	case *array.Int8:
		return a.Value(i), nil
	case *array.Int16:
		return a.Value(i), nil
	case *array.Int32:
		return a.Value(i), nil
	case *array.Int64:
		return a.Value(i), nil
	case *array.Uint8:
		return a.Value(i), nil
	case *array.Uint16:
		return a.Value(i), nil
	case *array.Uint32:
		return a.Value(i), nil
	case *array.Uint64:
		return a.Value(i), nil
	case *array.Float32:
		return a.Value(i), nil
	case *array.Float64:
		return a.Value(i), nil
	case array.StringLike:
		return a.Value(i), nil
	case *array.Binary:
		return bytes.Clone(a.Value(i)), nil
	case *array.LargeBinary:
		return bytes.Clone(a.Value(i)), nil
	case *array.Dictionary:
		return argument(a.Dictionary(), a.GetValueIndex(i))
	case *array.Timestamp:
		return a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit), nil
	case *array.Date32:
		return a.Value(i).ToTime(), nil
	case *array.Date64:
		return a.Value(i).ToTime(), nil
	}
	return nil, fmt.Errorf("type %s cannot be bound", a.DataType())
}
