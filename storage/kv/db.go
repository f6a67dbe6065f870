package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/durable"
)

// Options are the settings of a [DB]. The zero value and nil are the defaults.
type Options struct {
	Logger     *slog.Logger // slog.Default() if nil
	CacheBytes int64        // of the block cache; 64 MiB if 0

	disk       vfs.FS // where Pebble's files are; tests make it fail
	batchBytes int    // limit of one batch; tests make it small
}

const (
	defaultCacheBytes = 64 << 20
	memTableBytes     = 16 << 20
	bloomBitsPerKey   = 10 // 1 % false positives

	// syncInterval is how much of the watermark power loss can take away.
	syncInterval = time.Second

	// format is the version of Pebble's files. It is named, and not "newest", so
	// that a new Pebble does not turn a folder into one that the old cannot read.
	format = pebble.FormatValueSeparation
)

// DB is an open data folder. Its methods can be called from any number of
// goroutines, also during and after Close.
type DB struct {
	log        *slog.Logger
	batchBytes int
	lock       *pebble.Lock
	pebble     *pebble.DB
	cache      *pebble.Cache
	cacheBytes int64
	watermark  *watermark

	// commitMu orders commits: the number of a commit and its place in the log
	// are the same order. The fsync is waited for without it.
	commitMu sync.Mutex
	commit   uint64 // of the newest commit
	failed   error  // of the fsync that failed, if one did

	heat   *heat
	stamps stamps

	// usesMu protects closed and the adding to uses. Close waits for uses.
	usesMu sync.Mutex
	closed bool
	uses   sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
	stop      chan struct{}
	stopped   chan struct{}

	corruptions      atomic.Int64
	backgroundErrors atomic.Int64
	writeStalls      atomic.Int64
}

// Open opens the data folder dir, which it makes if it is not there.
//
// A folder that another process holds, or this one under any name, gives
// Unavailable. A folder that lost acknowledged commits gives DataLoss, naming
// their numbers, and is left as it was found.
func Open(dir string, opts *Options) (_ *DB, err error) {
	db := &DB{heat: newHeat(), stop: make(chan struct{}), stopped: make(chan struct{})}
	db.stamps.init()
	settings := db.configure(opts)
	defer func() {
		if err != nil {
			_ = db.release() // err says why; what follows from it is noise
		}
	}()
	if dir, err = prepareFolder(dir); err != nil {
		return nil, err
	}
	if db.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	settings.Lock = db.lock
	acknowledged, known, err := readWatermark(dir)
	if err != nil {
		return nil, err
	}
	if known {
		if err := inspect(dir, settings, acknowledged); err != nil {
			return nil, err
		}
	}
	if db.pebble, err = openPebble(dir, settings); err != nil {
		return nil, err
	}
	if db.commit, err = lastCommit(db.pebble); err != nil {
		return nil, err
	}
	if err := db.openWatermark(dir, acknowledged, known); err != nil {
		return nil, err
	}
	go db.syncWatermark()
	return db, nil
}

// configure copies opts with the defaults filled in, and returns what they mean to Pebble.
func (db *DB) configure(opts *Options) *pebble.Options {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.batchBytes <= 0 {
		o.batchBytes = maxBatchBytes
	}
	if o.disk == nil {
		o.disk = vfs.Default
	}
	db.log, db.batchBytes = o.Logger, o.batchBytes
	db.cache, db.cacheBytes = pebble.NewCache(o.CacheBytes), o.CacheBytes
	settings := &pebble.Options{
		Cache:              db.cache,
		EventListener:      db.listener(),
		FormatMajorVersion: format,
		FS:                 o.disk,
		Logger:             logger{o.Logger},
		MemTableSize:       memTableBytes,
		Merger:             maxMerger,
	}
	for i := range settings.Levels {
		settings.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
	}
	return settings
}

// prepareFolder makes dir and returns the one name under which it is locked.
func prepareFolder(dir string) (string, error) {
	if err := durable.MkdirAll(dir); err != nil {
		return "", cannotOpen(err)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", cannotOpen(err)
	}
	resolved, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return "", cannotOpen(err)
	}
	return resolved, nil
}

// inspect opens the folder for reading only, and compares its newest commit with
// the highest acknowledged one. It comes before the folder is opened for
// writing because that deletes a damaged log, and with it what could be rescued.
func inspect(dir string, settings *pebble.Options, acknowledged uint64) error {
	readOnly := settings.Clone()
	readOnly.ReadOnly = true
	found := uint64(0)
	db, err := openPebble(dir, readOnly)
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return checkCommits(found, acknowledged)
	}
	if err != nil {
		return err
	}
	found, err = lastCommit(db)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return checkCommits(found, acknowledged)
}

func checkCommits(found, acknowledged uint64) error {
	if found >= acknowledged {
		return nil
	}
	return driftline.Errorf(driftline.DataLoss, "data folder lost %d acknowledged commits: %d to %d are missing",
		acknowledged-found, found+1, acknowledged).
		WithHint("restore the data folder from a backup; this one was left as it is")
}

// openPebble maps Pebble's errors, and its panics on damaged logs, to ours.
func openPebble(dir string, settings *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, damaged(fmt.Errorf("open panicked: %v", r))
		}
	}()
	db, err = pebble.Open(dir, settings)
	switch {
	case err == nil, errors.Is(err, pebble.ErrDBDoesNotExist):
		return db, err
	case isOfSystem(err):
		return nil, cannotOpen(err)
	case isOfNewerVersion(err):
		return nil, newerVersion(err)
	}
	return nil, damaged(err)
}

func lastCommit(db *pebble.DB) (uint64, error) {
	value, closer, err := db.Get(commitKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, readError(err)
	}
	defer closer.Close()
	if len(value) != 8 {
		return 0, damaged(fmt.Errorf("commit number has %d bytes", len(value)))
	}
	return binary.BigEndian.Uint64(value), nil
}

// openWatermark makes the watermark of a new folder, or raises that of an old
// one to the newest commit: it was durable, though nobody was told.
func (db *DB) openWatermark(dir string, acknowledged uint64, known bool) error {
	if !known {
		if db.commit > 0 {
			return driftline.Errorf(driftline.DataLoss, "commit watermark is missing from a data folder of %d commits", db.commit).
				WithHint("restore the data folder from a backup, whole")
		}
		if err := writeWatermark(dir, 0); err != nil {
			return cannotOpen(err)
		}
	}
	var err error
	db.watermark, err = openWatermark(dir, max(acknowledged, db.commit))
	return err
}

func (db *DB) syncWatermark() {
	defer close(db.stopped)
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for {
		select {
		case <-db.stop:
			return
		case <-tick.C:
			if err := db.watermark.sync(); err != nil {
				db.fail(err)
			}
		}
	}
}

// use keeps the DB open until done is called.
func (db *DB) use() (done func(), err error) {
	db.usesMu.Lock()
	defer db.usesMu.Unlock()
	if db.closed {
		return nil, driftline.Errorf(driftline.Unavailable, "storage is closed")
	}
	db.uses.Add(1)
	return db.uses.Done, nil
}

// Close waits for calls and scans under way, and closes the folder. It can be
// called again, and returns the same.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.usesMu.Lock()
		db.closed = true
		db.usesMu.Unlock()
		db.uses.Wait()
		close(db.stop)
		<-db.stopped
		db.closeErr = db.release()
	})
	return db.closeErr
}

// release closes what was acquired, newest first.
func (db *DB) release() error {
	var errs []error
	if db.watermark != nil {
		errs = append(errs, db.watermark.close())
	}
	if db.pebble != nil {
		errs = append(errs, db.pebble.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	db.cache.Unref()
	return errors.Join(errs...)
}

// SpareCache keeps the cache of blocks small until the function that it returns is called:
// who reads once what nobody will ask for again, as opening a ledger does, would fill it
// with that.
func (db *DB) SpareCache() (restore func()) {
	return db.cache.Reserve(int(db.cacheBytes - db.cacheBytes/16))
}

// Checkpoint writes a copy of the folder as it is now to dir, which must not
// exist. Files that never change are linked, not copied. The copy can be opened.
func (db *DB) Checkpoint(dir string) error {
	done, err := db.use()
	if err != nil {
		return err
	}
	defer done()
	// Read first: the copy then holds at least this commit.
	acknowledged := db.watermark.value()
	if err := db.pebble.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return driftline.Errorf(driftline.Unavailable, "checkpoint could not be written: %w", withoutPath(err)).
			WithHint("name a folder that does not exist, on the disk of the data folder")
	}
	if err := writeWatermark(dir, acknowledged); err != nil {
		return driftline.Errorf(driftline.Unavailable, "checkpoint could not be written: %w", err)
	}
	return nil
}

func lockFolder(dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err == nil {
		return lock, nil
	}
	if isHeld(err) {
		return nil, driftline.Errorf(driftline.Unavailable, "data folder is in use by another process: %w", withoutPath(err)).
			WithHint("stop the other driftline server, or name another data folder")
	}
	return nil, cannotOpen(err)
}
