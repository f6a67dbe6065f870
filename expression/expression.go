package expression

import (
	"strconv"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// The limits of an expression.
const (
	MaxText  = 8 << 10 // bytes
	MaxDepth = 200     // operators, calls and parentheses within each other
	MaxParts = 500     // operators, calls, columns and literals
)

// Column is a column that an expression may read.
type Column struct {
	// Qualifier, if it is not empty, may stand before the name with a dot: weather.temp.
	// A name that several columns have must be written so.
	Qualifier string

	Name string
	Type driftline.Type
}

// Expression is an expression whose names and types were checked. It is immutable, and
// safe for concurrent use.
type Expression struct {
	text    string
	sql     string // with marks for columns
	kind    driftline.Type
	columns []Column
	reads   []int
	write   writer
	memory  []func(rows int) any
	frames  sync.Pool // of *frame, for chunkRows
	small   sync.Pool // of *frame, for fewRows
}

// Compile reads an expression over columns, whose names are unique within a qualifier,
// whatever their case. It reads nothing but its arguments.
//
// Its errors are Invalid and say where in the text something is wrong.
func Compile(text string, columns []Column) (*Expression, error) {
	tree, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{text: text, columns: columns, read: make([]any, len(columns))}
	v, err := c.compile(tree)
	if err != nil {
		return nil, err
	}
	if v.kind == untyped {
		return nil, failf(text, tree.at, "NULL has no type here").WithHint("give it one: CAST(NULL AS DOUBLE)")
	}
	e := &Expression{
		text: text, sql: v.sql, kind: v.kind, columns: columns,
		write: families[v.kind].writer(v.run), memory: c.memory,
	}
	for at, read := range c.read {
		if read != nil {
			e.reads = append(e.reads, at)
		}
	}
	return e, nil
}

// Type is the type of the values.
func (e *Expression) Type() driftline.Type { return e.kind }

// Text is the expression as it was written.
func (e *Expression) Text() string { return e.text }

// SQL is what the expression means, for DuckDB, with every cast written out. Where a row
// fails, DuckDB's query would; here the row is null.
func (e *Expression) SQL() string {
	return e.SQLNaming(func(column int) string { return e.columns[column].sql() })
}

// SQLNaming is SQL in which a column, given by its place in those of [Compile], is called
// what name returns.
func (e *Expression) SQLNaming(name func(column int) string) string {
	pieces := strings.Split(e.sql, columnMark)
	for i := 1; i < len(pieces); i += 2 {
		at, _ := strconv.Atoi(pieces[i])
		pieces[i] = name(at)
	}
	return strings.Join(pieces, "")
}

// Reads are the columns that the expression reads, as places in the columns that it was
// compiled with, in their order.
func (e *Expression) Reads() []int { return e.reads }

// Result is a column of values. The caller releases Values.
type Result struct {
	Values arrow.Array // of the Arrow type of [Expression.Type]

	// FailedRows are the rows, in order, that have no value because the expression failed
	// for them, an overflow say, and that are null. Reason is why the first of them failed.
	FailedRows []int
	Reason     string
}

// failures are rows that failed.
type failures struct {
	rows  []int
	first state
}

func (f *failures) add(row int, s state) {
	if len(f.rows) == 0 {
		f.first = s
	}
	f.rows = append(f.rows, row)
}

// Evaluate computes the expression for each row. columns are those of [Compile], in the
// same order and of the same types; those that the expression does not read may be nil.
//
// A row that cannot be computed is null and named in the result. An error is a fault of
// the caller's.
func (e *Expression) Evaluate(mem memory.Allocator, columns []arrow.Array, rows int) (*Result, error) {
	if err := e.checkColumns(columns, rows); err != nil {
		return nil, err
	}
	f := e.frame(rows)
	defer e.giveBack(f)
	f.columns = columns
	builder := array.NewBuilder(mem, e.kind.Arrow())
	defer builder.Release()
	builder.Reserve(rows)
	result := &Result{}
	for f.start = 0; f.start < rows; f.start += f.most {
		f.rows = min(f.most, rows-f.start)
		f.chunk++
		failed := e.write(f, builder)
		if len(failed.rows) == 0 {
			continue
		}
		if len(result.FailedRows) == 0 {
			result.Reason = reasons[failed.first]
		}
		result.FailedRows = append(result.FailedRows, failed.rows...)
	}
	result.Values = builder.NewArray()
	return result, nil
}

func (e *Expression) checkColumns(columns []arrow.Array, rows int) error {
	if len(columns) != len(e.columns) {
		return driftline.Errorf(driftline.Internal, "expression %q is given %d columns, want %d", e.text, len(columns), len(e.columns))
	}
	for _, at := range e.reads {
		want := e.columns[at]
		switch got := columns[at]; {
		case got == nil:
			return driftline.Errorf(driftline.Internal, "expression %q is given no column %q", e.text, want.Name)
		case !arrow.TypeEqual(got.DataType(), want.Type.Arrow()):
			return driftline.Errorf(driftline.Internal, "expression %q: column %q is %s, want %s", e.text, want.Name, got.DataType(), want.Type)
		case got.Len() != rows:
			return driftline.Errorf(driftline.Internal, "expression %q: column %q has %d rows, want %d", e.text, want.Name, got.Len(), rows)
		}
	}
	return nil
}

// frame returns memory for so many rows, or for a chunk of them.
func (e *Expression) frame(rows int) *frame {
	pool, most := &e.small, fewRows
	if rows > fewRows {
		pool, most = &e.frames, chunkRows
	}
	if f, ok := pool.Get().(*frame); ok {
		return f
	}
	f := &frame{most: most, valid: make([]bool, most)}
	for _, reserve := range e.memory {
		f.buffers = append(f.buffers, reserve(most))
	}
	return f
}

// giveBack keeps a frame for the next evaluation, unless its texts grew large.
func (e *Expression) giveBack(f *frame) {
	f.columns = nil
	const most = 1 << 20
	for _, b := range f.buffers {
		if b, ok := b.(*buffer[string]); ok && cap(b.text) > most {
			return
		}
	}
	if f.most == fewRows {
		e.small.Put(f)
		return
	}
	e.frames.Put(f)
}
