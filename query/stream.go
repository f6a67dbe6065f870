package query

import (
	"context"
	"database/sql/driver"
	"reflect"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2"
)

// stream is the answer of a SELECT while DuckDB makes it: the first rows are there as soon as
// DuckDB knows them, and of the rest no more lies in memory than the MiB that it makes ahead.
// duckdb-go itself hands out an answer only once all of it lies in memory, so a stream takes the
// statement that duckdb-go prepared and bound, and asks DuckDB to stream it.
//
// A connection has one stream at a time: whatever else it is asked ends it.
type stream struct {
	schema    *arrow.Schema
	ctx       context.Context
	statement *duckdb.Stmt
	result    bindings.Result
	options   bindings.ArrowOptions
	next      bindings.DataChunk // fetched ahead; without a pointer at the end
	unwatch   func()
}

// stream runs a checked SELECT until its first rows are known, so that what fails before is an
// error of this call. The caller closes the stream before it closes s.
func (s *session) stream(ctx context.Context, sql string, args ...any) (_ *stream, err error) {
	defer s.recoverTo(&err)
	r := &stream{ctx: ctx}
	begun := false
	defer func() {
		if !begun {
			r.close()
		}
	}()
	prepared, err := s.conn.PrepareContext(ctx, sql)
	if err != nil {
		return nil, failure(ctx, err)
	}
	r.statement = prepared.(*duckdb.Stmt)
	if err := r.statement.BindWithCtx(ctx, bound(args)); err != nil {
		return nil, failure(ctx, err)
	}
	r.unwatch = interruptAfter(ctx, bindings.Connection{Ptr: pointer(s.conn, "conn", "Ptr")})
	if bindings.ExecutePreparedStreaming(r.prepared(), &r.result) == bindings.StateError {
		return nil, r.failure()
	}
	if r.schema, err = r.readSchema(); err != nil {
		return nil, err
	}
	if err := r.fetch(); err != nil {
		return nil, err
	}
	begun = true
	return r, nil
}

func (r *stream) prepared() bindings.PreparedStatement {
	return bindings.PreparedStatement{Ptr: pointer(r.statement, "preparedStmt", "Ptr")}
}

func bound(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, a := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return values
}

// pointer returns what duckdb-go keeps to itself: the pointer to DuckDB's own object, in a
// field of a field of what v points to.
func pointer(v any, path ...string) unsafe.Pointer {
	value := reflect.ValueOf(v)
	for _, name := range path {
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		value = value.FieldByName(name)
	}
	return value.UnsafePointer()
}

// interruptEvery is how often a query that should end is told so: DuckDB may forget it between
// two of its steps.
const interruptEvery = 500 * time.Millisecond

// interruptAfter interrupts what the connection does when ctx ends, until it is stopped.
func interruptAfter(ctx context.Context, connection bindings.Connection) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		for {
			bindings.Interrupt(connection)
			select {
			case <-over:
				return
			case <-time.After(interruptEvery):
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// readSchema returns the columns under the names that the text gives them, which may occur twice.
// While the type of a parameter is open, only the result knows the columns.
func (r *stream) readSchema() (*arrow.Schema, error) {
	r.options = bindings.ResultGetArrowOptions(&r.result)
	n := bindings.ColumnCount(&r.result)
	names := make([]string, n)
	types := make([]bindings.LogicalType, n)
	for i := range n {
		names[i] = bindings.ColumnName(&r.result, i)
		types[i] = bindings.ColumnLogicalType(&r.result, i)
		defer bindings.DestroyLogicalType(&types[i])
	}
	schema, failed := bindings.NewArrowSchema(r.options, types, names)
	if err := r.converted(failed); err != nil {
		return nil, err
	}
	written, err := columnNames(r.statement)
	if err != nil {
		return nil, failure(r.ctx, err)
	}
	return renamed(schema, written), nil
}

// fetch waits for the next rows.
func (r *stream) fetch() error {
	if r.ctx.Err() != nil {
		return failure(r.ctx, context.Cause(r.ctx))
	}
	if r.next = bindings.FetchChunk(r.result); r.next.Ptr == nil && bindings.ResultError(&r.result) != "" {
		return r.failure()
	}
	return nil
}

// all yields the rows, once.
func (r *stream) all(yield func(arrow.RecordBatch, error) bool) {
	for r.next.Ptr != nil {
		batch, failed := bindings.DataChunkToArrowArray(r.options, r.schema, r.next)
		bindings.DestroyDataChunk(&r.next)
		if err := r.converted(failed); err != nil {
			yield(nil, err)
			return
		}
		more := yield(batch, nil)
		batch.Release()
		if !more {
			return
		}
		if err := r.fetch(); err != nil {
			yield(nil, err)
			return
		}
	}
}

// mostRepeats is how often a SELECT runs again for the reason of its failure: each time in twenty or
// so it is not told again.
const mostRepeats = 3

// failure is why DuckDB did not go on. A row that fails in one thread of DuckDB interrupts the others,
// and at times that interruption is all that the result tells (DuckDB 1.5). So if nobody has cancelled
// the SELECT, it runs again for its reason, and its rows are dropped.
func (r *stream) failure() error {
	for range mostRepeats {
		if r.ctx.Err() != nil || r.errorType() != duckdb.ErrorTypeInterrupt {
			break
		}
		bindings.DestroyResult(&r.result)
		r.drain()
	}
	said := &duckdb.Error{Type: r.errorType(), Msg: bindings.ResultError(&r.result)}
	if r.ctx.Err() == nil && (said.Msg == "" || said.Type == duckdb.ErrorTypeInterrupt) {
		return driftline.Errorf(driftline.Unavailable, "the query failed at one of its rows: %w", hidden{said}).WithHint("try again")
	}
	return failure(r.ctx, said)
}

func (r *stream) errorType() duckdb.ErrorType {
	return duckdb.ErrorType(bindings.ResultErrorType(&r.result))
}

// drain runs the statement once more, to its end or its failure.
func (r *stream) drain() {
	if bindings.ExecutePreparedStreaming(r.prepared(), &r.result) == bindings.StateError {
		return
	}
	for r.ctx.Err() == nil {
		chunk := bindings.FetchChunk(r.result)
		if chunk.Ptr == nil {
			return
		}
		bindings.DestroyDataChunk(&chunk)
	}
}

// converted is what DuckDB says of its rows becoming Arrow.
func (r *stream) converted(said bindings.ErrorData) error {
	defer bindings.DestroyErrorData(&said)
	if !bindings.ErrorDataHasError(said) {
		return nil
	}
	return failure(r.ctx, &duckdb.Error{
		Type: duckdb.ErrorType(bindings.ErrorDataErrorType(said)), Msg: bindings.ErrorDataMessage(said),
	})
}

// close ends the query, wherever it is.
func (r *stream) close() {
	if r.unwatch != nil {
		r.unwatch()
	}
	if r.next.Ptr != nil {
		bindings.DestroyDataChunk(&r.next)
	}
	bindings.DestroyArrowOptions(&r.options)
	bindings.DestroyResult(&r.result)
	if r.statement != nil {
		r.statement.Close() // which has nothing to say
	}
}
