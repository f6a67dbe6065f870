package query

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
	"github.com/duckdb/duckdb-go/v2"
)

// Options are the limits of a [DB]. The zero value of each field means its default.
type Options struct {
	// MemoryBytes is what one query may use before it spills or fails. Default 2 GiB.
	MemoryBytes int64

	// Threads is how many threads one query uses. Default GOMAXPROCS.
	Threads int

	// TempDir is where a query larger than MemoryBytes spills to. "" means that it
	// fails with Exhausted instead. Each query's files are removed with it.
	TempDir string

	// Allocator makes the batches handed out. Default memory.DefaultAllocator.
	Allocator memory.Allocator

	// Files keeps files open that were read; nil for none. It is the caller's to close.
	Files *columns.Files

	// SQL is how SELECTs of users run.
	SQL SQLOptions
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 2 << 30
	}
	if c.Threads <= 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	if c.Allocator == nil {
		c.Allocator = memory.DefaultAllocator
	}
	c.SQL = c.SQL.withDefaults()
	return c
}

// DB runs queries. It holds no data.
type DB struct {
	opts   Options
	memory *admission
	path   joinPath // of tests

	stopping context.Context // done once Close has begun
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex // guards closed, and running.Add against Close
	closed bool

	parserMu sync.Mutex // guards parser
	parser   *session   // the scratch database that only ever parses; opened at first use

	parses  parses
	workers *workers // nil if SELECTs run in this process
}

// Open returns a DB. Nil opts mean the defaults.
func Open(opts *Options) (*DB, error) {
	db := &DB{opts: opts.withDefaults()}
	db.memory = newAdmission(db.opts.MemoryBytes, mostWaiting, longestWait)
	db.stopping, db.stop = context.WithCancel(context.Background())
	if len(db.opts.SQL.Command) > 0 {
		db.workers = startWorkers(db.opts.SQL, db.opts.Threads, db.opts.Allocator)
	}
	return db, nil
}

// Close interrupts running queries and returns when each has let go of its
// database: ranges over answers must end. It may be called twice.
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	db.stop()
	if db.workers != nil {
		db.workers.close()
	}
	db.running.Wait()

	db.parserMu.Lock()
	defer db.parserMu.Unlock()
	if db.parser == nil {
		return nil
	}
	err := db.parser.close()
	db.parser = nil
	return err
}

// begin registers a query with db. The returned context ends with ctx or with db;
// end must be called.
func (db *DB) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, nil, driftline.Errorf(driftline.Unavailable, "the query engine is closed")
	}
	db.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(db.stopping, cancel)
	return ctx, func() {
		detach()
		cancel()
		db.running.Done()
	}, nil
}

// session is one in-memory database with one connection.
type session struct {
	connector *duckdb.Connector
	conn      *duckdb.Conn
	arrow     *duckdb.Arrow
	mem       memory.Allocator
	broken    bool // a panic went through it
}

// newSession opens a database under the limits of db, still open to the files of
// this machine; see [session.lock].
func (db *DB) newSession(ctx context.Context) (_ *session, err error) {
	s := &session{mem: db.opts.Allocator}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.connector, err = duckdb.NewConnector("", nil); err != nil {
		return nil, failure(ctx, err)
	}
	conn, err := s.connector.Connect(ctx)
	if err != nil {
		return nil, failure(ctx, err)
	}
	s.conn = conn.(*duckdb.Conn)
	if s.arrow, err = duckdb.NewArrowFromConn(conn); err != nil {
		return nil, failure(ctx, err)
	}
	return s, s.exec(ctx, db.settings())
}

// settings are the limits of every session. Extensions are off because those that
// we need are linked in, and a missing one must not be fetched from a network.
func (db *DB) settings() string {
	return strings.Join([]string{
		"SET TimeZone = 'UTC'",
		fmt.Sprintf("SET threads = %d", db.opts.Threads),
		fmt.Sprintf("SET memory_limit = '%dKiB'", max(db.opts.MemoryBytes>>10, 1)),
		"SET temp_directory = " + quoteString(db.opts.TempDir),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allow_community_extensions = false",
	}, ";\n")
}

// lock takes the session away from the machine for good: only the given files can
// be read from here on, and no setting can be changed.
func (s *session) lock(ctx context.Context, files []string) error {
	quoted := make([]string, len(files))
	for i, f := range files {
		quoted[i] = quoteString(f)
	}
	return s.exec(ctx, strings.Join([]string{
		"SET allowed_paths = [" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access = false",
		"SET allowed_configs = []",
		"SET lock_configuration = true",
	}, ";\n"))
}

// exec runs trusted statements that return nothing.
func (s *session) exec(ctx context.Context, sql string) (err error) {
	defer s.recoverTo(&err)
	_, err = s.conn.ExecContext(ctx, sql, nil)
	return failure(ctx, err)
}

// query runs a trusted or checked SELECT. The caller releases the reader before it
// closes s.
func (s *session) query(ctx context.Context, sql string, args ...any) (_ array.RecordReader, err error) {
	defer s.recoverTo(&err)
	r, err := s.arrow.QueryContext(ctx, sql, args...)
	if err != nil {
		return nil, failure(ctx, err)
	}
	return r, nil
}

// text runs a SELECT of one string.
func (s *session) text(ctx context.Context, sql string, arg string) (_ string, err error) {
	defer s.recoverTo(&err)
	rows, err := s.conn.QueryContext(ctx, sql, []driver.NamedValue{{Ordinal: 1, Value: arg}})
	if err != nil {
		return "", failure(ctx, err)
	}
	defer rows.Close()
	var cell [1]driver.Value
	if err := rows.Next(cell[:]); err != nil {
		return "", failure(ctx, err)
	}
	text, _ := cell[0].(string)
	return text, nil
}

// recoverTo turns a panic of the driver into an error and marks s broken.
func (s *session) recoverTo(err *error) {
	if p := recover(); p != nil {
		s.broken = true
		*err = driftline.Errorf(driftline.Internal, "the query failed: %w", hidden{fmt.Errorf("panic: %v", p)})
	}
}

// close frees the database. A broken one is abandoned instead: the goroutine that
// would interrupt its query is still alive and would touch freed memory.
func (s *session) close() error {
	if s.broken {
		return nil
	}
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.connector != nil {
		errs = append(errs, s.connector.Close())
	}
	return errors.Join(errs...)
}

// quoteName quotes an SQL identifier.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quoteString quotes an SQL string literal.
func quoteString(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
