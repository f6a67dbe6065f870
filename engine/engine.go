package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/executor"
	"github.com/driftline/driftline/notify"
	"github.com/driftline/driftline/openlineage"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/blobs"
	"github.com/driftline/driftline/storage/columns"
	"github.com/driftline/driftline/storage/durable"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
	"github.com/driftline/driftline/storage/online"
)

// formatVersion is the version of the data folder's layout that this build writes. It
// reads those before: version 1 had Arrow streams as log entries, knew no erasures and
// had other data files; in version 2 online rows never expired and had no history; in version 3
// all points of metrics were in the key-value store.
const formatVersion = 4

// Options configure an engine. The zero value, and nil, mean the defaults.
type Options struct {
	Now         func() time.Time // the clock of every decision; time.Now
	Logger      *slog.Logger     // background work only, calls return their errors; discarded
	Allocator   memory.Allocator // of every batch; memory.DefaultAllocator
	MemoryBytes int64            // what queries may use together; 4 GiB
	Threads     int              // of one query; the number of cores
	Sources     []string         // folders that views may read a batch source from; none

	Retention driftline.Retention // which snapshots of a table upkeep keeps; DefaultRetention

	// CompactionBandwidth is how many bytes a second upkeep reads and writes while it merges
	// files; DefaultCompactionBandwidth. Less than 0 means as many as it can.
	CompactionBandwidth int64

	// CheckEvery is how often the online and the offline store are compared, see
	// [Engine.Check]; an hour. Less than 0 means never.
	CheckEvery time.Duration

	// Channels are where monitors send their notices; the log if nil.
	Channels *notify.Channels

	// CheckChannels are told when the stores of a view begin to differ, and when they agree again.
	CheckChannels []string

	// Uptime is a clock that nobody sets: how long it is since some moment of this process.
	// Rollouts tell by it how long they were watched; the monotonic clock since Open if nil.
	Uptime func() time.Duration

	// RolloutEvery is how often rollouts are looked after; a second. Less than 0 means only by
	// [Engine.TendRollouts].
	RolloutEvery time.Duration

	// Restored says that the folder comes from a backup: rollouts that were under way then are
	// paused, until a person has looked.
	Restored bool
	// Jobs starts the jobs that train models; without one commands are refused, and no
	// secrets are known.
	Jobs *executor.Executor

	// Score asks model servers, for evaluations of versions that nobody logged predictions of; without it those
	// cannot be made, and nothing is timed.
	Score ScoreFunc

	// TriggersEvery is how often policies are looked at; a second. Less than 0 means only by
	// [Engine.LookAtPolicies].
	TriggersEvery time.Duration

	// OpenLineage is where the events of what is recorded are sent; nowhere if nil.
	OpenLineage *openlineage.Sink

	// SQL is how SELECTs of users run; see [query.SQLOptions]. Its Readable, SinceServed, WasReadOnline and
	// Logger are the engine's to say.
	SQL query.SQLOptions
}

func (o *Options) withDefaults() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Allocator == nil {
		opts.Allocator = memory.DefaultAllocator
	}
	if opts.Retention == (driftline.Retention{}) {
		opts.Retention = DefaultRetention
	}
	if opts.CompactionBandwidth == 0 {
		opts.CompactionBandwidth = DefaultCompactionBandwidth
	}
	if opts.Channels == nil {
		opts.Channels, _ = notify.Open(nil, opts.Logger) // without settings there is nothing to refuse
	}
	if opts.RolloutEvery == 0 {
		opts.RolloutEvery = time.Second
	}
	if opts.Uptime == nil {
		opened := time.Now()
		opts.Uptime = func() time.Duration { return time.Since(opened) }
	}
	if opts.CheckEvery == 0 {
		opts.CheckEvery = time.Hour
	}
	if opts.TriggersEvery == 0 {
		opts.TriggersEvery = time.Second
	}
	if opts.MemoryBytes == 0 {
		opts.MemoryBytes = 4 << 30
	}
	return opts
}

// Engine is an open data folder. All methods may be called concurrently.
type Engine struct {
	now    func() time.Time
	uptime func() time.Duration
	log    *slog.Logger
	mem    memory.Allocator
	dir    string

	files    columns.Files // that offline and query have read
	kv       *kv.DB
	offline  *offline.Store
	online   *online.Store
	query    *query.DB
	registry *registry.Registry
	contents contentStore // of artifacts

	sequence    atomic.Uint64 // of the next row written
	unrecovered uint64        // sequence after the rows of intents that are damaged, or whose view is
	writes      keyedMutex    // by view and idempotency key
	tables      keyedMutex    // by table: one committer at a time

	signing        keyedMutex // of the keys in keys/, by name
	uploads        keyedMutex // by upload, and by upload and part
	profileSources keyedMutex // by source: one writer of profiles at a time
	threads        int        // of one scan

	heads       heads
	pushes      pushes
	written     sync.Map // driftline.ViewName → *writtenView
	layouts     logLayouts
	onlinePlans onlinePlans
	quarantine  quarantine
	cold        coldViews
	inUse       inUse
	wakeFlusher chan struct{}
	predictions predictionLogs
	events      eventPairs   // of predictions
	sourceRoots []string     // real paths of Options.Sources
	ingested    atomic.Int64 // rows since the start, for metrics
	opened      time.Time    // by the clock of the machine, whatever now says
	servedAt    atomic.Int64 // the last online read or write, after opened; see sinceServed
	wasRead     atomic.Bool  // whether somebody has read online
	smallRows   int64
	retention   driftline.Retention
	mergePace   *offline.Pace // of upkeep
	checkEvery  time.Duration

	checkChannels []string                // of [Options.CheckChannels]
	checked       time.Time               // when upkeep last compared the stores
	failAt        func(step string) error // nil but in tests

	materializations materializations
	watches          watches
	training         training
	score            ScoreFunc // nil: there is nothing that could ask
	examples         examples
	results          results
	points           pointFiles
	outbox           outbox
	routers          routers
	rollouts         rollouts

	calls      calls // that Close waits for
	background context.Context
	stop       context.CancelFunc
	work       sync.WaitGroup // background goroutines
}

// Open opens the data folder dir, making it if it does not exist, and finishes what
// a crash left half done. The caller closes the engine. One process at a time may
// have a folder open.
func Open(ctx context.Context, dir string, options *Options) (e *Engine, err error) {
	opts := options.withDefaults()
	for _, channel := range opts.CheckChannels {
		if err := opts.Channels.Check(channel); err != nil {
			return nil, driftline.Errorf(driftline.CodeOf(err), "checks: %w", err)
		}
	}
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	if err := prepareFolder(dir); err != nil {
		return nil, err
	}
	e = &Engine{
		now: opts.Now, opened: time.Now(), uptime: opts.Uptime, log: opts.Logger, mem: opts.Allocator, dir: dir,
		heads:       heads{views: map[driftline.ViewName]*head{}},
		wakeFlusher: make(chan struct{}, 1), smallRows: smallRows, retention: opts.Retention, mergePace: offline.NewPace(opts.CompactionBandwidth),
		checkChannels: opts.CheckChannels, checkEvery: opts.CheckEvery, checked: opts.Now(), threads: cmp.Or(opts.Threads, runtime.GOMAXPROCS(0)),
		watches:  watches{opened: opts.Now(), wake: make(chan struct{}, 1), seen: map[driftline.MonitorName]*watch{}},
		rollouts: rollouts{wake: make(chan struct{}, 1)},
		training: newTraining(opts.Now(), opts.Jobs), score: opts.Score,
		outbox: outbox{channels: opts.Channels, wake: make(chan struct{}, 1), busy: map[string]bool{}},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeRooms())
			e = nil
		}
	}()
	if e.sourceRoots, err = realFolders(opts.Sources); err != nil {
		return e, err
	}
	if e.kv, err = kv.Open(filepath.Join(dir, "kv"), &kv.Options{Logger: opts.Logger}); err != nil {
		return e, err
	}
	if err = writeFormat(dir); err != nil {
		return e, err
	}
	if e.offline, err = offline.Open(filepath.Join(dir, "warehouse"), &offline.Options{Allocator: opts.Allocator, Now: opts.Now, Files: &e.files}); err != nil {
		return e, err
	}
	e.points.store = e.offline
	e.online = online.New(e.kv)
	if e.contents, err = blobs.Open(filepath.Join(dir, "artifacts")); err != nil {
		return e, err
	}
	if e.registry, err = registry.Open(e.kv, &registry.Options{Now: opts.Now, Tag: e.provedTag, Filed: e.points.sequences}); err != nil {
		return e, err
	}
	opts.SQL.Readable = append([]string{filepath.Join(dir, "warehouse"), filepath.Join(dir, readFolder)}, e.sourceRoots...)
	opts.SQL.SinceServed, opts.SQL.WasReadOnline, opts.SQL.Logger = e.sinceServed, e.wasRead.Load, opts.Logger
	if e.query, err = query.Open(&query.Options{
		SQL:         opts.SQL,
		MemoryBytes: opts.MemoryBytes, Threads: opts.Threads,
		TempDir: filepath.Join(dir, "tmp"), Allocator: opts.Allocator, Files: &e.files,
	}); err != nil {
		return e, err
	}
	if err = e.load(ctx); err != nil {
		return e, err
	}
	if err = e.loadRollouts(opts.Restored); err != nil {
		return e, err
	}
	e.background, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.work.Go(func() { e.flushLoop(e.background) })
	e.work.Go(func() { e.pointsLoop(e.background) })
	e.startLineage(e.background, opts.OpenLineage)
	e.work.Go(func() { e.maintainLoop(e.background) })
	e.work.Go(func() { e.monitorLoop(e.background) })
	e.work.Go(func() { e.outboxLoop(e.background) })
	if opts.RolloutEvery > 0 {
		e.work.Go(func() { e.rolloutLoop(e.background, opts.RolloutEvery) })
	}
	e.work.Go(func() { e.heartbeatLoop(e.background) })
	if err = e.endRemains(); err != nil {
		e.stop()
		e.work.Wait()
		return e, err
	}
	e.adoptTrainings(e.background)
	if opts.TriggersEvery > 0 {
		e.work.Go(func() { e.trainingLoop(e.background, opts.TriggersEvery) })
	}
	if err = errors.Join(e.resumeMaterializations(), e.resumeQueued()); err != nil {
		e.stop()
		e.work.Wait()
		return e, err
	}
	return e, nil
}

// load finishes what a crash left behind and reads the state that lives in memory.
func (e *Engine) load(ctx context.Context) error {
	if err := e.online.LoadTiles(ctx); err != nil {
		return err
	}
	for _, view := range e.registry.Views() {
		if err := e.isolate(view.Name, e.ensureTable(ctx, view.Name)); err != nil {
			return err
		}
	}
	if err := e.loadHeld(); err != nil {
		return err
	}
	if err := e.recover(ctx); err != nil {
		return err
	}
	if err := e.loadSequence(); err != nil {
		return err
	}
	if err := e.loadHeads(ctx); err != nil {
		return err
	}
	for _, view := range e.registry.Views() {
		if err := e.isolate(view.Name, e.mendServing(ctx, view.Name)); err != nil {
			return err
		}
		e.cold.add(view.Name) // a crash may have come before its tiles were made
	}
	if err := e.loadResults(ctx); err != nil {
		return err
	}
	e.loadPoints(ctx)
	if err := e.loadTraining(); err != nil {
		return err
	}
	if err := e.cleanUploads(); err != nil {
		return err
	}
	return e.resumeErasures(ctx) // also in what was just loaded
}

// loadSequence reads the sequence of the next row. It follows recover, which moves it
// behind the rows of the writes that it finishes.
func (e *Engine) loadSequence() error {
	raw, err := e.kv.Get(sequenceKey)
	if err != nil {
		return err
	}
	if len(raw) == 8 {
		e.sequence.Store(binary.BigEndian.Uint64(raw))
	}
	// 0 is no sequence, and those of writes that could not be recovered are taken.
	e.sequence.Store(max(1, e.sequence.Load(), e.unrecovered))
	return nil
}

// Close ends background work, waits for writes under way, and closes every room.
// It is safe to call twice; the second call does nothing.
func (e *Engine) Close() error {
	e.logHalves(context.Background(), true)
	e.predictions.close() // it writes what waits, which is a call
	if !e.calls.end() {
		return nil
	}
	e.stop()
	e.work.Wait()
	return e.closeRooms()
}

// closeRooms closes what was opened, in the reverse order.
func (e *Engine) closeRooms() error {
	var errs []error
	if e.query != nil {
		errs = append(errs, e.query.Close())
	}
	if e.offline != nil {
		errs = append(errs, e.offline.Close())
	}
	e.files.Close()
	if e.kv != nil {
		errs = append(errs, e.kv.Close())
	}
	return errors.Join(errs...)
}

// begin admits a call that Close waits for; end lets Close go on. A call may begin
// another: it is then refused if Close has begun in between.
func (e *Engine) begin() error {
	if e.calls.begin() {
		return nil
	}
	return driftline.Errorf(driftline.Unavailable, "the server is stopping").WithHint("try again when it is up")
}

func (e *Engine) end() { e.calls.running.Done() }

// calls counts the calls under way. It is no RWMutex, because one call may begin
// another, and a second read lock would wait for a Close that waits for the first.
type calls struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards closed, and running.Add against end
	closed bool
}

// begin counts a call, unless there are to be no more.
func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Add(1)
	return true
}

// end admits no more calls and waits for those under way. It is false the second time.
func (c *calls) end() bool {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
	return !again
}

// Registry gives the catalogue, runs, models, datasets and lineage, and the writes
// that concern nothing but the ledger.
func (e *Engine) Registry() *registry.Registry { return e.registry }

// Allocator is where the engine's batches come from.
func (e *Engine) Allocator() memory.Allocator { return e.mem }

// Now is the engine's clock.
func (e *Engine) Now() time.Time { return e.now() }

// Apply registers definitions, all or none, makes the tables of new views, and gives
// those of views that changed their new columns, without rewriting a row.
// Applying the same definitions again changes nothing.
func (e *Engine) Apply(ctx context.Context, defs driftline.Definitions) ([]driftline.Change, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if _, err := e.registry.Plan(defs); err != nil {
		return nil, err
	}
	if err := e.checkSources(ctx, defs); err != nil {
		return nil, err
	}
	if err := e.checkPresets(defs.Presets); err != nil {
		return nil, err
	}
	if err := e.checkMonitors(ctx, defs); err != nil {
		return nil, err
	}
	if err := e.checkPolicies(defs.Policies); err != nil {
		return nil, err
	}
	changes, err := e.registry.Apply(defs)
	if err != nil {
		return nil, err
	}
	if len(defs.Monitors) > 0 {
		defer e.wakeMonitors()
	}
	if len(defs.Policies) > 0 {
		defer e.policiesChanged()
	}
	// The definitions stand, so the client's hanging up must not leave them without tables.
	whole := context.WithoutCancel(ctx)
	if err := e.reached(stepDefined); err != nil {
		return nil, err
	}
	for _, d := range defs.FeatureViews {
		name := d.Name.Stored()
		if err := e.ensureTable(whole, name); err != nil {
			return nil, err
		}
	}
	for _, d := range defs.FeatureViews {
		name := d.Name.Stored()
		if err := e.mendServing(ctx, name); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// prepareFolder makes the data folder and proves that it can be written.
func prepareFolder(dir string) error {
	read := filepath.Join(dir, readFolder)
	if err := os.RemoveAll(read); err != nil { // a crash may have left files there
		return folderError(err)
	}
	if err := os.MkdirAll(read, 0o700); err != nil {
		return folderError(err)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return folderError(err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func folderError(err error) error {
	what := "cannot be made"
	if errors.Is(err, fs.ErrPermission) {
		what = "is not writable"
	}
	return driftline.Errorf(driftline.FailedPrecondition, "the data folder %s: %w", what, err).
		WithHint("choose a folder that you may write with --data")
}

// checkFormat refuses a folder of another format, before anything in it is touched:
// merely opening a newer kv may change it.
func checkFormat(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "FORMAT"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return folderError(err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	switch {
	case err != nil:
		return driftline.Errorf(driftline.DataLoss, "the data folder's FORMAT file is damaged").
			WithHint("write the format version of the driftline that made the folder (%d for this one) into it", formatVersion)
	case version > formatVersion:
		return driftline.Errorf(driftline.FailedPrecondition, "the data folder has format %d, this driftline knows %d", version, formatVersion).
			WithHint("use the newer driftline that made it, or another folder")
	}
	return nil
}

// writeFormat marks a new folder, or an older one that is now taken over: an older
// build would misread what this one writes. The caller holds the folder's lock.
func writeFormat(dir string) error {
	path, mark := filepath.Join(dir, "FORMAT"), []byte(strconv.Itoa(formatVersion)+"\n")
	if has, err := os.ReadFile(path); err == nil && bytes.Equal(has, mark) {
		return nil
	}
	return durable.WriteBytes(path, mark)
}

// keyedMutex is a mutex per name. The zero value is ready.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*countedMutex
}

type countedMutex struct {
	sync.Mutex
	users int // guarded by keyedMutex.mu
}

// lock locks name and returns the function that unlocks it.
func (k *keyedMutex) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*countedMutex{}
	}
	m := k.locks[name]
	if m == nil {
		m = &countedMutex{}
		k.locks[name] = m
	}
	m.users++
	k.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if m.users--; m.users == 0 {
			delete(k.locks, name)
		}
	}
}
