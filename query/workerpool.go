package query

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/ipcverify"
)

// warm is how many processes wait for work: the start of one is not part of a query.
const warm = 2

// workers is the pool of processes. A SELECT that reads the answer of another one
// (see [WithinSelect]) takes its process from a second allowance of the same size, so
// that no two can wait for each other.
type workers struct {
	opts    SQLOptions
	threads int
	mem     memory.Allocator
	others  *others        // to whom answers give way
	work    sync.WaitGroup // processes, and starts under way

	mu       sync.Mutex
	closed   bool
	all      map[*worker]bool // those that are started and not gone
	idle     []*worker
	starting int
	busy     [2]int     // by allowance
	queue    []*waiting // in order of their coming
}

// waiting is a caller without a worker.
type waiting struct {
	inner  int          // its allowance
	wanted string       // what a worker should have prepared, if there is one; see [sandbox.fingerprint]
	given  chan *worker // of capacity 1, or
	fails  chan error   // of capacity 1
}

func startWorkers(opts SQLOptions, threads int, mem memory.Allocator) *workers {
	p := &workers{opts: opts, threads: threads, mem: mem, all: map[*worker]bool{}, others: newOthers(opts.SinceServed, threads)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill()
	return p
}

// close kills every process and waits until they are gone.
func (p *workers) close() {
	p.mu.Lock()
	p.closed = true
	for w := range p.all {
		w.end(errClosed())
	}
	for _, q := range p.queue {
		q.fails <- errClosed()
	}
	p.queue, p.idle = nil, nil
	p.mu.Unlock()
	p.work.Wait()
}

func errClosed() error {
	return driftline.Errorf(driftline.Unavailable, "the query engine is closed")
}

type withinSelect struct{}

// WithinSelect returns a context for a SELECT whose answer another SELECT reads, while
// that one has a worker already.
func WithinSelect(ctx context.Context) context.Context {
	return context.WithValue(ctx, withinSelect{}, true)
}

// acquire returns a worker of the caller's own, and the function that gives it back.
// It waits until there is one, for as long as a query may take at most. One that has
// prepared what is wanted comes first.
func (p *workers) acquire(ctx context.Context, wanted string) (*worker, func(tired bool), error) {
	q := &waiting{wanted: wanted, given: make(chan *worker, 1), fails: make(chan error, 1)}
	if ctx.Value(withinSelect{}) != nil {
		q.inner = 1
	}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, nil, errClosed()
	case len(p.queue) >= p.opts.Waiting:
		p.mu.Unlock()
		return nil, nil, driftline.Errorf(driftline.Exhausted, "%d SELECTs are waiting already", p.opts.Waiting).
			WithHint("try again in a second")
	}
	p.queue = append(p.queue, q)
	p.serve()
	p.mu.Unlock()
	if q.inner == 0 { // an inner one is part of another
		p.others.selects(time.Now())
	}

	patience := time.NewTimer(p.opts.Timeout)
	defer patience.Stop()
	select {
	case w := <-q.given:
		w.patience = newPatience(w.cmd.Process.Pid, yieldAfter, p.threads, p.opts.WasReadOnline)
		return w, func(tired bool) { p.release(q, w, w.patience.end() || tired) }, nil
	case err := <-q.fails:
		return nil, nil, err
	case <-ctx.Done():
		return nil, nil, p.leave(q, stopped(ctx.Err()))
	case <-patience.C:
		return nil, nil, p.leave(q, driftline.Errorf(driftline.Exhausted, "no SELECT of others ended in time for this one to begin").
			WithHint("try again in a second"))
	}
}

// leave takes q out of the queue, or gives back what it got in the meantime.
func (p *workers) leave(q *waiting, why error) error {
	p.mu.Lock()
	for i, other := range p.queue {
		if other == q {
			p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
			p.mu.Unlock()
			return why
		}
	}
	p.mu.Unlock()
	select {
	case w := <-q.given:
		p.release(q, w, false)
	default: // it was told of a failure
	}
	return why
}

// release takes a worker back. It ends one that is tired.
func (p *workers) release(q *waiting, w *worker, tired bool) {
	if tired {
		w.end(nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[q.inner]--
	if !tired && p.all[w] && !p.closed {
		p.idle = append(p.idle, w)
	}
	p.serve()
}

// serve gives idle workers to those who wait and may have one. p.mu is held.
func (p *workers) serve() {
	kept := p.queue[:0]
	for _, q := range p.queue {
		w := p.takeIdle(q)
		if w == nil {
			kept = append(kept, q)
			continue
		}
		p.busy[q.inner]++
		q.given <- w
	}
	p.queue = kept
	p.fill()
}

// takeIdle takes the worker that has prepared what q wants; or else the one that is idle for
// the longest time, because it has opened its next database, and has prepared nothing that
// somebody will soon come for. p.mu is held.
func (p *workers) takeIdle(q *waiting) *worker {
	if p.busy[q.inner] >= p.opts.Workers {
		return nil
	}
	p.idle = slices.DeleteFunc(p.idle, func(w *worker) bool { return !p.all[w] })
	if len(p.idle) == 0 {
		return nil
	}
	at := 0
	if q.wanted != "" {
		at = slices.IndexFunc(p.idle, func(w *worker) bool { return w.prepared == q.wanted })
	}
	if q.wanted == "" || at < 0 {
		at = max(slices.IndexFunc(p.idle, func(w *worker) bool { return w.prepared == "" }), 0)
	}
	w := p.idle[at]
	p.idle = slices.Delete(p.idle, at, at+1)
	return w
}

// fill starts as many processes as will be wanted. p.mu is held.
func (p *workers) fill() {
	if p.closed {
		return
	}
	wanted := min(warm, p.opts.Workers)
	for inner := range p.busy {
		waiting := 0
		for _, q := range p.queue {
			if q.inner == inner {
				waiting++
			}
		}
		wanted += min(waiting, p.opts.Workers-p.busy[inner])
	}
	most := len(p.busy) * p.opts.Workers
	for p.starting+len(p.idle) < wanted && p.busy[0]+p.busy[1]+p.starting+len(p.idle) < most {
		p.starting++
		p.work.Go(p.startOne)
	}
}

// mostStarts is how often a process is started before a statement fails for want of one.
// What kills processes while they start (the kernel when memory is out, an operator) rarely
// stops after the first.
const mostStarts = 5

// start starts a process, and again if it is killed meanwhile.
func (p *workers) start() (*worker, error) {
	for try := 1; ; try++ {
		w, err := startWorker(p.opts, p.threads)
		if err == nil || try == mostStarts || p.isClosed() {
			return w, err
		}
		p.opts.Logger.Warn("a process for SQL did not start, and is started again", "try", try, "cause", causes(err))
	}
}

func (p *workers) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// startOne starts a process and stays until it is gone.
func (p *workers) startOne() {
	w, err := p.start()
	p.mu.Lock()
	p.starting--
	if err != nil {
		p.opts.Logger.Error("a process for SQL did not start", "error", err, "cause", causes(err))
		if len(p.queue) > 0 { // who comes next tries again
			p.queue[0].fails <- err
			p.queue = p.queue[1:]
		}
		p.mu.Unlock()
		return
	}
	if p.closed {
		p.mu.Unlock()
		w.end(nil)
		<-w.dead
		return
	}
	p.opts.Logger.Debug("a process for SQL is ready", "pid", w.cmd.Process.Pid, "limits", w.limits)
	p.all[w] = true
	p.idle = append(p.idle, w)
	p.serve()
	p.mu.Unlock()

	<-w.dead
	w.end(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, w)
	for i, other := range p.idle {
		if other == w {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			break
		}
	}
	p.opts.Logger.Debug("a process for SQL is gone", "pid", w.cmd.Process.Pid, "state", w.state, "stderr", w.stderr)
	p.fill()
}

func (p *workers) parse(ctx context.Context, text string) (*Select, error) {
	return again(func() (*Select, error) {
		w, release, err := p.acquire(ctx, "")
		if err != nil {
			return nil, err
		}
		sel, tired, err := w.parse(ctx, text, min(p.opts.Timeout, parseLimit))
		release(tired)
		return sel, err
	})
}

// parseLimit is what a parse may take; that of the worst known text takes 1.5 s.
const parseLimit = 10 * time.Second

// run starts a query and returns its rows.
func (p *workers) run(ctx context.Context, box sandbox) (driftline.Batches, error) {
	a, err := p.ask(ctx, box, false)
	if err != nil {
		return driftline.Batches{}, err
	}
	schema := a.reader.Schema()
	lent := lend(a)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		a := lent.take()
		if a == nil {
			var err error
			if a, err = p.ask(ctx, box, false); err != nil {
				yield(nil, err)
				return
			}
		}
		a.rows(schema, yield)
	}}, nil
}

func (p *workers) schema(ctx context.Context, box sandbox) (*arrow.Schema, error) {
	a, err := p.ask(ctx, box, true)
	if err != nil {
		return nil, err
	}
	a.rows(a.reader.Schema(), func(_ arrow.RecordBatch, e error) bool {
		err = e
		return e == nil
	})
	return a.schema, err
}

// lendTime is how long an answer waits for its range to begin.
const lendTime = time.Second

// lent is an answer that the first range gets, or nobody.
type lent struct {
	mu    sync.Mutex
	reply *reply
	timer *time.Timer
}

// lend offers a to the first range. If none begins in time, a is given up.
func lend(a *reply) *lent {
	l := &lent{reply: a}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(lendTime, func() {
		if a := l.take(); a != nil {
			a.give(true)
		}
	})
	return l
}

func (l *lent) take() *reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.reply
	l.reply = nil
	l.timer.Stop()
	return a
}

// reply is a query that a worker has begun to answer.
type reply struct {
	ctx      context.Context
	pool     *workers
	worker   *worker
	release  func(tired bool)
	unwatch  func()
	receiver *arrowReceiver
	reader   *ipc.Reader
	schema   *arrow.Schema
	clock    *budget
	pace     answerPace
}

// yieldAfter is the processor time for which a request is served as all others are. Then its
// worker takes the processors only when no other one wants them, because a query that takes
// long already loses less by a little more than those that take milliseconds. It is processor
// time, so that on a busy machine one that needs little is not slowed down for having waited.
// The worker cannot be raised again without rights that a server need not have, so another one
// takes its place afterwards.
const yieldAfter = 150 * time.Millisecond

// ask sends a query and waits for the first message of its answer.
func (p *workers) ask(ctx context.Context, box sandbox, schemaOnly bool) (*reply, error) {
	return again(func() (*reply, error) { return p.askOne(ctx, box, schemaOnly) })
}

func (p *workers) askOne(ctx context.Context, box sandbox, schemaOnly bool) (_ *reply, err error) {
	fingerprint := box.fingerprint()
	w, release, err := p.acquire(ctx, fingerprint)
	if err != nil {
		return nil, err
	}
	w.prepared = "" // only for who comes next
	a := &reply{ctx: ctx, pool: p, worker: w, release: release, receiver: &arrowReceiver{r: w.out, mem: p.mem}}
	a.pace = answerPace{others: p.others, began: time.Now()}
	detach := context.AfterFunc(ctx, func() { w.end(stopped(ctx.Err())) })
	a.clock = newBudget(p.opts.Timeout+grace, func() { w.end(stopped(context.DeadlineExceeded)) })
	a.unwatch = func() { detach(); a.clock.stop() }
	defer func() {
		if err != nil {
			a.give(true)
		}
	}()
	if err := p.send(w, box, schemaOnly); err != nil {
		return nil, w.failure(err)
	}
	reader, err := ipc.NewReaderFromMessageReader(a.receiver, ipc.WithAllocator(p.mem))
	if err != nil {
		return nil, a.broken(err)
	}
	a.reader, a.schema = reader, reader.Schema()
	if schemaOnly {
		w.prepared = fingerprint
	}
	return a, nil
}

// send writes a request and the tables that it loads.
func (p *workers) send(w *worker, box sandbox, schemaOnly bool) error {
	now := time.Now()
	r := request{
		Text: box.text, Setup: box.setup, Files: box.files, Args: wireValues(box.args), Explain: box.explain,
		SchemaOnly: schemaOnly, Time: p.opts.Timeout, MaxRows: p.opts.MaxRows, MaxBytes: p.opts.MaxBytes, BatchBytes: p.others.piece(now, now),
	}
	if err := writeGob(w.in, frameRequest, r); err != nil {
		return err
	}
	for _, load := range box.loads {
		if err := sendTable(w, load(), schemaOnly); err != nil {
			return err
		}
	}
	return nil
}

func sendTable(w *worker, table driftline.Batches, schemaOnly bool) error {
	out := newArrowWriter(w.in, table.Schema)
	if !schemaOnly {
		for batch, err := range table.All {
			if err != nil {
				return err
			}
			if err := out.Write(batch); err != nil {
				return err
			}
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return writeFrame(w.in, frameEnd)
}

// broken is the error of a stream that did not end as it should. arrow-go wraps what
// Message returned, and calls a stream without a schema an error of its own.
func (a *reply) broken(err error) error {
	if a.receiver.last == frameFailed {
		err, tired := failed(a.receiver.payload)
		a.finish(tired)
		return err
	}
	return a.worker.failure(err)
}

// finish gives the worker back.
func (a *reply) finish(tired bool) {
	a.unwatch()
	a.release(tired)
	a.release = func(bool) {}
}

// handOut yields a batch, or while others are served pieces of it, each when it is due. Neither the
// rests nor what the reader takes are on the time of the query.
func (a *reply) handOut(batch arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	pool := a.pool
	for piece := range driftline.SplitBatch(batch, pool.others.piece(time.Now(), a.pace.began)) {
		a.clock.pause(pool.opts.ReaderTimeout)
		a.rest(a.pace.rest(time.Now(), driftline.BatchBytes(piece)))
		if err := a.ctx.Err(); err != nil {
			yield(nil, stopped(err))
			return false
		}
		if a.pace.given > patientBytes {
			a.worker.patience.yield()
		}
		if !yield(piece, nil) {
			return false
		}
		a.clock.resume()
	}
	return true
}

// rest waits, unless nobody wants the answer any more.
func (a *reply) rest(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.ctx.Done():
	case <-a.worker.dead:
	}
}

// give releases everything.
func (a *reply) give(tired bool) {
	if a.reader != nil {
		a.reader.Release()
	}
	a.receiver.Release()
	a.finish(tired)
}

// rows yields the answer and gives the worker back.
func (a *reply) rows(schema *arrow.Schema, yield func(arrow.RecordBatch, error) bool) {
	done := false
	defer func() { a.give(!done) }()
	if !a.schema.Equal(schema) {
		yield(nil, driftline.Errorf(driftline.Internal, "the query's columns changed when it ran again"))
		return
	}
	for a.reader.Next() {
		batch := a.reader.RecordBatch()
		if err := ipcverify.Values(batch); err != nil {
			yield(nil, driftline.Errorf(driftline.Internal, "the answer of a query is damaged: %w", hidden{err}))
			return
		}
		if !a.handOut(batch, yield) {
			return
		}
	}
	if err := a.reader.Err(); err != nil && !errors.Is(err, io.EOF) {
		yield(nil, a.worker.failure(err))
		return
	}
	switch a.receiver.last {
	case frameEnd:
		var end ending
		if err := json.Unmarshal(a.receiver.payload, &end); err != nil {
			end.Tired = true
		}
		done = true
		a.finish(end.Tired)
	case frameFailed:
		yield(nil, a.broken(nil))
	default:
		yield(nil, a.worker.failure(errFrame))
	}
}

// budget ends a query when its time is used up, and while it is paused, when its
// reader's is.
type budget struct {
	left  time.Duration
	since time.Time
	timer *time.Timer
}

func newBudget(limit time.Duration, end func()) *budget {
	return &budget{left: limit, since: time.Now(), timer: time.AfterFunc(limit, end)}
}

func (b *budget) pause(reader time.Duration) {
	b.left -= time.Since(b.since)
	b.timer.Reset(reader)
}

func (b *budget) resume() {
	b.since = time.Now()
	b.timer.Reset(max(b.left, 0))
}

func (b *budget) stop() { b.timer.Stop() }
