package registry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline/storage/kv"
)

// Options are the settings of a Registry. The zero value works.
type Options struct {
	// Now is the clock that lines, runs and metric points are stamped with; time.Now if nil.
	Now func() time.Time

	// Tag is asked about each tag that somebody sets on a run or a version of a model, and returns the value
	// that is kept: some are claims, which have to be proved. Nil keeps all as they are.
	Tag func(key, value string) (string, error)

	// Filed has the points of metrics that were moved into files; nil if none ever are.
	Filed PointFiles
}

// Registry is the ledger and its folds. Its methods may be called concurrently.
type Registry struct {
	db   *kv.DB
	now  func() time.Time
	tag  func(key, value string) (string, error) // nil if tags are kept as they are
	keys *keyTable                               // those of head and durable

	filed  PointFiles   // nil if no points are in files
	logged atomic.Int64 // points since the registry was opened

	// sequencing orders transactions. It is held from Begin until the batch has
	// its place in the commit order, and guards head, tail and commits.
	sequencing sync.Mutex
	head       *state // the fold of every line, durable or not: what writers validate against
	tail       Mark   // the newest line in head, with its time
	tailTime   time.Time
	commits    uint64 // transactions sent to be committed

	// published guards what readers see, and is never held while the disk is waited for.
	// Lock order: sequencing, then published.
	published    sync.RWMutex
	durable      *state                   // the fold of every durable line
	graph        *graph                   // the inputs of every durable line
	metrics      *paged[runMetrics]       // by number of the run
	beats        beats                    // of runs that promised them
	modelMetrics map[string][]ModelMetric // by logged model
	newest       Mark
	pending      []commit   // sequenced, not yet durable, in order
	shown        uint64     // the number of the last commit that readers see
	progress     *sync.Cond // broadcast when shown grows or failed is set
	failed       error      // set for ever once a commit's outcome is unknown

	// definitions counts the commits that defined something, and answering those that changed
	// which version answers for a model. They are changed while published is held, and read without.
	definitions atomic.Uint64
	answering   atomic.Uint64

	columns atomic.Pointer[columnGraph] // nil until somebody asks; stored while published is held
}

// Mark is a place in the ledger: a line's number and hash. The zero Mark is the empty ledger.
type Mark struct {
	Sequence uint64 `json:"seq"`
	Hash     Hash   `json:"-"`
}

// Open reads the ledger in db, checks its chain and builds the folds. db stays
// the caller's to close. A damaged ledger is a DataLoss error.
func Open(db *kv.DB, options *Options) (*Registry, error) {
	r := &Registry{db: db, now: time.Now, head: newState(), graph: newGraph(), metrics: newPaged[runMetrics](), modelMetrics: map[string][]ModelMetric{}}
	r.keys = r.head.keys
	r.progress = sync.NewCond(&r.published)
	if options != nil && options.Now != nil {
		r.now = options.Now
	}
	if options != nil {
		r.tag, r.filed = options.Tag, options.Filed
	}
	defer db.SpareCache()()
	artifacts, err := r.replay()
	if err != nil {
		return nil, err
	}
	if err := r.loadPoints(); err != nil {
		return nil, err
	}
	if err := r.loadModelMetrics(); err != nil {
		return nil, err
	}
	r.durable, r.newest = r.head.clone(), r.tail
	r.listen()
	if err := r.indexArtifacts(artifacts); err != nil {
		return nil, err
	}
	return r, nil
}

// Newest returns the newest durable line's place: the version of every answer.
func (r *Registry) Newest() Mark {
	r.published.RLock()
	defer r.published.RUnlock()
	return r.newest
}

// Definitions is another number once what [Registry.Resolve] answers may be another: what
// was resolved after asking for it holds until it changes.
func (r *Registry) Definitions() uint64 { return r.definitions.Load() }

// Answering is another number once what [Registry.Champion] answers may be another.
func (r *Registry) Answering() uint64 { return r.answering.Load() }

// read calls f with the durable state. f must not keep the state, and may keep
// the records that it finds there: they are never changed.
func (r *Registry) read(f func(*state)) {
	r.published.RLock()
	defer r.published.RUnlock()
	f(r.durable)
}

// Settle waits until all that could be read of the registry's keys when it was called is durable.
func (r *Registry) Settle() error { return r.write(func(*Tx) error { return nil }) }

// write runs f in a transaction of its own, and commits it if f succeeds.
func (r *Registry) write(f func(*Tx) error) error { return r.writeWith(nil, f) }

// writeWith is write with a batch that was filled beforehand, unless it is nil.
func (r *Registry) writeWith(batch *kv.Batch, f func(*Tx) error) error {
	if batch == nil {
		batch = r.db.NewBatch()
	}
	tx := r.BeginWith(batch)
	defer tx.Discard()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
