package offline

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
	"github.com/driftline/driftline/storage/durable"
	_ "github.com/driftline/driftline/storage/offline/internal/substrait" // or every start reads 200 kB of YAML
)

// Options are what a store can be opened with. Nil and the zero value are fine.
type Options struct {
	Allocator memory.Allocator // memory.DefaultAllocator if nil
	Now       func() time.Time // time.Now if nil
	Files     *columns.Files   // keeps files open that were read; nil for none. The caller closes it
}

// Store is the tables under one folder. It may be used from many goroutines.
type Store struct {
	warehouse *warehouse
	mem       memory.Allocator
	now       func() time.Time
	files     *columns.Files

	mu         sync.Mutex
	writing    map[TableID]*sync.Mutex // held during a commit
	verified   map[string]struct{}     // names (see File.key) of files whose content was found good
	quarantine map[string]File         // path → file whose content was found damaged
	manifest   map[string][]listedFile // path → entries of manifests, which never change
	entries    int                     // in manifest
	held       map[string]int          // path → readers that Hold it
	doomed     map[string]struct{}     // paths of held files to remove when they are released
	expired    map[string]struct{}     // paths of data files that Expire has removed

	opened time.Time // by the clock of the file system, not by now
}

// TableID names a table: features.weather, datasets.late_departure.
type TableID struct{ Namespace, Name string }

// String returns namespace.name.
func (id TableID) String() string { return id.Namespace + "." + id.Name }

func (id TableID) identifier() table.Identifier { return table.Identifier{id.Namespace, id.Name} }

// check keeps names harmless as folder names.
func (id TableID) check() error {
	if err := driftline.CheckIdentifier("namespace", id.Namespace); err != nil {
		return err
	}
	return driftline.CheckIdentifier("table", id.Name)
}

// Open opens the store in dir, which is created if it is missing. The caller
// makes sure that no other process has it open. Files that a killed writer left
// half written, and tables that were half dropped, are removed.
func Open(dir string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, failure("open the offline store", err)
	}
	if err := durable.MkdirAll(dir); err != nil {
		return nil, failure("open the offline store", err)
	}
	s := &Store{
		warehouse:  newWarehouse(dir),
		mem:        opts.Allocator,
		now:        opts.Now,
		files:      opts.Files,
		writing:    map[TableID]*sync.Mutex{},
		verified:   map[string]struct{}{},
		manifest:   map[string][]listedFile{},
		quarantine: map[string]File{},
		held:       map[string]int{},
		doomed:     map[string]struct{}{},
		expired:    map[string]struct{}{},
		opened:     time.Now(),
	}
	if s.mem == nil {
		s.mem = memory.DefaultAllocator
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.removeDropped(); err != nil {
		return nil, err
	}
	if err := s.removeTemporary(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) removeTemporary() error {
	ids, err := s.warehouse.tables()
	if err != nil {
		return failure("open the offline store", err)
	}
	for _, id := range ids {
		for _, folder := range []string{metadataFolder, dataFolder} {
			err := durable.RemoveTemporary(filepath.Join(s.warehouse.tableDir(id), folder))
			if err != nil {
				return failure("open table "+id.String(), err)
			}
		}
	}
	return nil
}

// Close releases what the store holds. Nothing is lost without it.
func (s *Store) Close() error { return nil }

// CreateTable makes a table for rows of the given schema, stored as
// [StoredSchema] says. It is no error if the table exists with that schema.
func (s *Store) CreateTable(ctx context.Context, id TableID, schema *arrow.Schema) error {
	if err := id.check(); err != nil {
		return err
	}
	stored, err := icebergSchema(schema)
	if err != nil {
		return err
	}
	defer s.lock(id)()
	existing, err := s.warehouse.LoadTable(ctx, id.identifier())
	switch {
	case err == nil:
		return checkSame(id, existing.Schema(), stored)
	case !errors.Is(err, fs.ErrNotExist):
		return s.damaged(id, err)
	}
	if err := s.warehouse.create(id, stored); err != nil {
		return failure("create table "+id.String(), err)
	}
	return nil
}

func checkSame(id TableID, have, want *iceberg.Schema) error {
	haveArrow, err := arrowSchema(have, false)
	if err != nil {
		return err
	}
	wantArrow, err := arrowSchema(want, false)
	if err != nil {
		return err
	}
	if haveArrow.Equal(wantArrow) {
		return nil
	}
	return driftline.Errorf(driftline.AlreadyExists, "table %s exists with another schema", id).
		WithHint("extend it, or choose another name")
}

// Extend adds the columns of schema that the table lacks, after its own. Rows
// written before have null there, so added columns must be nullable. Columns that
// the table has must have the same type, and stay if schema lacks them. Older
// snapshots keep their schema.
func (s *Store) Extend(ctx context.Context, id TableID, schema *arrow.Schema) error {
	want, err := icebergSchema(schema)
	if err != nil {
		return err
	}
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	added, err := addedColumns(id, t.Schema(), want)
	if err != nil {
		return err
	}
	return s.evolve(ctx, id, t, added)
}

// addedColumns returns the changes that give a table the columns of want.
func addedColumns(id TableID, have, want *iceberg.Schema) ([]SchemaChange, error) {
	haveArrow, err := arrowSchema(have, false)
	if err != nil {
		return nil, err
	}
	wantArrow, err := arrowSchema(want, false)
	if err != nil {
		return nil, err
	}
	var added []SchemaChange
	for _, f := range wantArrow.Fields() {
		existing, ok := haveArrow.FieldsByName(f.Name)
		switch {
		case !ok:
			added = append(added, AddColumn(f))
		case !arrow.TypeEqual(existing[0].Type, f.Type):
			return nil, driftline.Errorf(driftline.FailedPrecondition, "table %s: column %q is %s and cannot become %s", id, f.Name, existing[0].Type, f.Type).
				WithHint("give the new column another name")
		}
	}
	return added, nil
}

// Tables lists the tables, sorted by name.
func (s *Store) Tables(context.Context) ([]TableID, error) {
	ids, err := s.warehouse.tables()
	if err != nil {
		return nil, failure("list the tables", err)
	}
	return ids, nil
}

// lock waits for the commit on a table that is under way and keeps others out
// until the returned function is called.
func (s *Store) lock(id TableID) (unlock func()) {
	s.mu.Lock()
	m, ok := s.writing[id]
	if !ok {
		m = &sync.Mutex{}
		s.writing[id] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// load returns the newest state of a table that must exist.
func (s *Store) load(ctx context.Context, id TableID) (*table.Table, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	t, err := s.warehouse.LoadTable(ctx, id.identifier())
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.unknownTable(id)
	}
	return nil, s.damaged(id, err)
}

func (s *Store) unknownTable(id TableID) error {
	ids, err := s.warehouse.tables()
	if err != nil {
		return failure("list the tables", err)
	}
	names := make([]string, len(ids))
	for i, known := range ids {
		names[i] = known.String()
	}
	return driftline.Unknown("table", id.String(), names)
}

// damaged is the error for metadata that is not what was written. The cause may
// hold paths and is therefore kept out of the message.
func (s *Store) damaged(id TableID, cause error) error {
	if err := interrupted(cause); err != nil {
		return err
	}
	var refused syscall.Errno
	if errors.As(cause, &refused) && refused != syscall.ENOENT && refused != syscall.EIO {
		return failure("read table "+id.String(), cause) // no access, too many open files: not damage
	}
	e := driftline.Errorf(driftline.DataLoss, "the metadata of table %s is damaged", id).
		WithHint("restore the table's folder from a backup")
	e.Err = cause
	return e
}

// failure is the error for an operation that the machine refused.
func failure(doing string, cause error) error {
	var known *driftline.Error
	if errors.As(cause, &known) {
		return cause
	}
	if err := interrupted(cause); err != nil {
		return err
	}
	e := driftline.Errorf(driftline.Unavailable, "could not %s", doing)
	if errors.Is(cause, table.ErrCommitFailed) {
		e = driftline.Errorf(driftline.Conflict, "could not %s: somebody else changed it", doing).WithHint("try again")
	}
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		e = driftline.Errorf(driftline.Exhausted, "could not %s: the disk is full", doing).WithHint("free some space and try again")
	}
	if errors.Is(cause, os.ErrPermission) {
		e = e.WithHint("check who owns the data folder")
	}
	e.Err = cause
	return e
}

// interrupted is the error of a context that ended; nil if cause is another.
func interrupted(cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, context.Canceled) {
		return &driftline.Error{Code: driftline.Deadline, Message: "stopped before it was done", Err: cause}
	}
	return nil
}
