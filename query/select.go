package query

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
	"github.com/duckdb/duckdb-go/v2"
)

// Table is a table that a user's SELECT may read: either rows of files and of the
// log's tail, or batches.
type Table struct {
	Schema, Name string
	At           At // which state of it; see [TableName]

	// Columns is what the user sees of Rows. A column that a file lacks is null. It
	// may be nil if there is at least one file, which then says it.
	Columns *arrow.Schema
	Rows    Rows

	// Latest leaves of each entity of that view only the newest row.
	Latest *driftline.FeatureView

	// Before leaves out of Rows those that an earlier state of the same view had, which are told by
	// their write sequences.
	Before *Rows

	// Batches makes the rows of a table that is not in files. It is called once
	// for each query that reads the table.
	Batches func() driftline.Batches
}

func (t *Table) name() TableName { return TableName{t.Schema, t.Name, t.At} }

// Select runs sel over tables, of which it reads those that sel names, with one
// argument per parameter: nil, bool, int64, float64, string, []byte, time.Time and
// what converts to them without loss.
//
// The query runs in a database of its own that can read the given files and nothing
// else; and, if the DB has workers, in a process of its own. An unknown table is
// NotFound, an unknown column Invalid, both before the range begins.
//
// With workers the query runs when Select is called, and the first range goes on with
// it; if none has begun after a second, the worker is let go, and a range that begins
// later runs the query again, as a second one does.
func (db *DB) Select(ctx context.Context, sel *Select, tables []Table, args []any) (driftline.Batches, error) {
	if err := sel.checkArguments(args); err != nil {
		return driftline.Batches{}, err
	}
	box, err := newSandbox(sel, tables, args)
	if err != nil {
		return driftline.Batches{}, err
	}
	if db.workers != nil {
		return db.workers.run(ctx, box)
	}
	return db.sandboxed(ctx, box)
}

// SelectSchema returns the columns of the answer of sel without running it. The
// type of a column that is a bare parameter is known only when it has a value.
func (db *DB) SelectSchema(ctx context.Context, sel *Select, tables []Table) (*arrow.Schema, error) {
	box, err := newSandbox(sel, tables, make([]any, sel.Parameters))
	if err != nil {
		return nil, err
	}
	if sel.Explain {
		return explainSchema, nil
	}
	if db.workers != nil {
		return db.workers.schema(ctx, box)
	}
	return db.boxSchema(ctx, box)
}

// sandbox is what one query may see and do.
type sandbox struct {
	text    string
	explain bool
	args    []any
	files   []string // that it may read
	setup   []step
	loads   []func() driftline.Batches // one for each step that loads
}

// step prepares a database: trusted SQL, or a table to be filled.
type step struct {
	SQL  string
	Load string // the table's name, as SQL
}

func newSandbox(sel *Select, tables []Table, args []any) (sandbox, error) {
	used, err := usedTables(sel, tables)
	if err != nil {
		return sandbox{}, err
	}
	box := sandbox{text: sel.text, explain: sel.Explain, args: args}
	for i := range used {
		box.add(&used[i])
	}
	return box, nil
}

// fingerprint is the same for boxes of one SELECT over the same files, whoever asks and
// whatever the arguments; "" if rows are loaded, which are never the same.
func (box sandbox) fingerprint() string {
	if len(box.loads) > 0 || slices.ContainsFunc(box.setup, func(s step) bool { return s.Load != "" }) {
		return ""
	}
	sum := sha256.New()
	add := func(part string) { fmt.Fprintf(sum, "%d %s", len(part), part) }
	add(box.text)
	for _, s := range box.setup {
		add(s.SQL)
	}
	for _, f := range box.files {
		add(f)
	}
	return string(sum.Sum(nil))
}

// sandboxed runs a query in this process.
func (db *DB) sandboxed(ctx context.Context, box sandbox) (driftline.Batches, error) {
	described, err := db.boxSchema(ctx, box)
	if err != nil {
		return driftline.Batches{}, err
	}
	schema, _ := Parameters(described)
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		if err := db.runBox(ctx, box, schema, yield); err != nil {
			yield(nil, err)
		}
	}
	return driftline.Batches{Schema: schema, All: coalesce(db.opts.Allocator, schema, batchBytes, rows)}, nil
}

func (db *DB) boxSchema(ctx context.Context, box sandbox) (*arrow.Schema, error) {
	if box.explain {
		return explainSchema, nil
	}
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
	return s.schemaOf(ctx, box.text, box.args)
}

// explainSchema is what EXPLAIN answers.
var explainSchema = arrow.NewSchema([]arrow.Field{
	{Name: "explain_key", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "explain_value", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

// schemaOf returns the columns of a query that is not run.
func (s *session) schemaOf(ctx context.Context, text string, args []any) (*arrow.Schema, error) {
	names, parameters, err := s.describe(ctx, text)
	if err != nil {
		return nil, err
	}
	reader, err := s.query(ctx, "SELECT * FROM (\n"+text+"\n) LIMIT 0", args...)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	return withParameters(renamed(reader.Schema(), names), parameters), nil
}

// describe returns the names of a query's columns and the types of its parameters.
func (s *session) describe(ctx context.Context, sql string) (names []string, parameters []duckdb.Type, err error) {
	defer s.recoverTo(&err)
	prepared, err := s.conn.PrepareContext(ctx, sql)
	if err != nil {
		return nil, nil, failure(ctx, err)
	}
	defer prepared.Close()
	statement := prepared.(*duckdb.Stmt)
	if names, err = columnNames(statement); err != nil {
		return nil, nil, failure(ctx, err)
	}
	for i := range statement.NumInput() {
		parameter, err := statement.ParamType(i + 1)
		if err != nil {
			return nil, nil, failure(ctx, err)
		}
		parameters = append(parameters, parameter)
	}
	return names, parameters, nil
}

// columnNames returns the names as the query gives them; a subquery would number
// those that occur twice.
func columnNames(statement *duckdb.Stmt) ([]string, error) {
	n, err := statement.ColumnCount()
	if err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		if names[i], err = statement.ColumnName(i); err != nil {
			return nil, err
		}
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
	rows, err := s.stream(ctx, box.statement(), box.args...)
	if err != nil {
		return err
	}
	defer rows.close()
	under(schema, rows.all)(yield)
	return nil
}

func (box *sandbox) statement() string {
	if box.explain {
		return "EXPLAIN " + box.text
	}
	return box.text
}

// under yields batches under the names of schema.
func under(schema *arrow.Schema, batches iter.Seq2[arrow.RecordBatch, error]) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range batches {
			if err == nil && !sameTypes(schema, batch.Schema()) {
				err = driftline.Errorf(driftline.Internal, "the query's columns changed while it ran")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			batch = array.NewRecordBatch(schema, batch.Columns(), batch.NumRows())
			more := yield(batch, nil)
			batch.Release()
			if !more {
				return
			}
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

// openBox opens a database that holds the tables of box, and locks it. Tables of
// batches are empty unless filled is asked for.
func (db *DB) openBox(ctx context.Context, box sandbox, filled bool) (_ *session, err error) {
	s, err := db.newSession(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	loaded := 0
	next := func() (driftline.Batches, error) {
		loaded++
		return box.loads[loaded-1](), nil
	}
	return s, s.prepare(ctx, box.setup, box.files, filled, next)
}

// prepare runs the steps, each that loads with the batches that next gives, and locks s.
func (s *session) prepare(ctx context.Context, setup []step, files []string, filled bool, next func() (driftline.Batches, error)) error {
	for _, step := range setup {
		if step.Load == "" {
			if err := s.exec(ctx, step.SQL); err != nil {
				return err
			}
			continue
		}
		batches, err := next()
		if err != nil {
			return err
		}
		if err := s.load(ctx, step.Load, batches, filled); err != nil {
			return err
		}
	}
	return s.lock(ctx, files)
}

// load makes a table of batches, or only its columns if it is not to be filled.
func (s *session) load(ctx context.Context, table string, batches driftline.Batches, filled bool) error {
	loader := tableLoader{session: s, table: table, schema: batches.Schema}
	defer loader.drop()
	if err := loader.create(ctx); err != nil || !filled {
		return err
	}
	for batch, err := range batches.All {
		if err != nil {
			return err
		}
		batch.Retain()
		if err := loader.add(ctx, batch); err != nil {
			return err
		}
	}
	return loader.flush(ctx)
}

// usedTables returns the tables that sel names.
func usedTables(sel *Select, tables []Table) ([]Table, error) {
	var used []Table
	known := make([]TableName, len(tables))
	for i := range tables {
		known[i] = tables[i].name()
	}
	names := sel.Tables
	for _, p := range sel.PointInTime {
		names = append(names[:len(names):len(names)], p.Table)
	}
next:
	for _, name := range names {
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

// insideSchema holds what a view of the user reads. No user's SQL can name it.
const insideSchema = "__inside"

// add makes t readable in box, under its name.
func (box *sandbox) add(t *Table) {
	schema, name := t.name().relation()
	table := quoteName(name)
	if schema != "" {
		table = quoteName(schema) + "." + table
		box.run("CREATE SCHEMA IF NOT EXISTS " + quoteName(schema))
	}
	box.files = append(box.files, t.Rows.Files...)
	if t.Before != nil {
		box.files = append(box.files, t.Before.Files...)
	}
	switch {
	case t.Batches != nil:
		box.load(table, t.Batches)
	case t.Columns == nil:
		box.run("CREATE VIEW " + table + " AS SELECT * FROM " + readParquet(t.Rows))
	default:
		box.run("CREATE SCHEMA IF NOT EXISTS " + insideSchema)
		box.addRows(t, table, schema+"."+name)
	}
}

// addRows makes exactly the columns of t readable: its files and tail may have more.
func (box *sandbox) addRows(t *Table, table, id string) {
	whole := insideSchema + "." + quoteName(id)
	schema := t.Columns
	if t.Latest != nil || t.Before != nil {
		schema = driftline.Sequenced(schema)
	}
	scan := scanSQL(schema, t.Rows)
	if t.Rows.Tail.Schema != nil {
		tail := insideSchema + "." + quoteName(id+" tail")
		box.load(tail, func() driftline.Batches { return t.Rows.Tail })
		scan += " UNION ALL BY NAME SELECT * FROM " + tail
	}
	box.run("CREATE VIEW " + whole + " AS " + scan)
	wanted := make([]string, t.Columns.NumFields())
	for i, f := range t.Columns.Fields() {
		wanted[i] = quoteName(f.Name)
	}
	box.run("CREATE VIEW " + table + " AS SELECT " + strings.Join(wanted, ", ") + " FROM " + whole + since(t.Before) + newest(t.Latest))
}

// since leaves out the rows that were there before.
func since(before *Rows) string {
	if before == nil {
		return ""
	}
	known := scanSQL(driftline.Sequenced(arrow.NewSchema(nil, nil)), *before)
	return " ANTI JOIN (" + known + ") AS before USING (" + quoteName(driftline.SequenceColumn) + ")"
}

// newest keeps, of each entity, the row that counts: of the greatest (event, created,
// sequence).
func newest(view *driftline.FeatureView) string {
	if view == nil {
		return ""
	}
	var keys []string
	for _, k := range view.KeyNames() {
		keys = append(keys, quoteName(k))
	}
	order := []string{quoteName(view.EventTimestamp) + " DESC NULLS LAST"}
	if view.CreatedTimestamp != "" {
		order = append(order, quoteName(view.CreatedTimestamp)+" DESC NULLS LAST")
	}
	order = append(order, quoteName(driftline.SequenceColumn)+" DESC NULLS LAST")
	partition := ""
	if len(keys) > 0 {
		partition = "PARTITION BY " + strings.Join(keys, ", ") + " "
	}
	return " QUALIFY row_number() OVER (" + partition + "ORDER BY " + strings.Join(order, ", ") + ") = 1"
}

func (box *sandbox) run(sql string) { box.setup = append(box.setup, step{SQL: sql}) }

func (box *sandbox) load(table string, batches func() driftline.Batches) {
	box.setup = append(box.setup, step{Load: table})
	box.loads = append(box.loads, batches)
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
