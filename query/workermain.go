package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// workerArgument makes a program a worker.
const workerArgument = "__sql-worker"

// WorkerCommand is how this program runs as a worker, if its main calls [WorkerMain].
func WorkerCommand() ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "this program's own file cannot be found: %w", err)
	}
	return []string{program, workerArgument}, nil
}

// WorkerMain does nothing unless this process was started as a worker. Then it answers
// requests until its server hangs up, and does not return. A main that uses
// [WorkerCommand] calls it before anything else.
func WorkerMain() {
	if len(os.Args) != 2 || os.Args[1] != workerArgument {
		return
	}
	if err := serveRequests(); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveRequests talks over stdin and stdout, and makes stdout what stderr is, so that
// nothing else gets into the conversation.
func serveRequests() error {
	out, err := syscall.Dup(1)
	if err != nil {
		return err
	}
	if err := redirect(2, 1); err != nil {
		return err
	}
	c := &conversation{in: bufio.NewReaderSize(os.Stdin, 64<<10), out: bufio.NewWriterSize(os.NewFile(uintptr(out), "answers"), 256<<10)}
	return c.serve()
}

// conversation is the worker's end of the pipes.
type conversation struct {
	in       *bufio.Reader
	out      *bufio.Writer
	settings workerSettings
	db       *DB
	next     *session // opened ahead, so that a request need not wait for it
	kept     kept     // of the last request, if that only asked for columns
	clock    *budget  // of the request, for all but waiting for its reader
	unread   int      // tables of the request that were not read to their end
}

// kept is a database in which a SELECT was described, which is what a client asks for just
// before it has it run. It serves that very SELECT over the very same files, and nothing else.
type kept struct {
	session     *session
	fingerprint string
}

func (c *conversation) serve() error {
	kind, payload, err := readFrame(c.in)
	if err != nil {
		return err
	}
	if kind != frameSettings {
		return errFrame
	}
	if err := decodeGob(payload, &c.settings); err != nil {
		return err
	}
	debug.SetMemoryLimit(c.settings.MemoryBytes / 4) // of Go, which only passes batches on
	debug.SetGCPercent(collectAfter)
	if c.db, err = Open(&Options{MemoryBytes: c.settings.MemoryBytes / 2, Threads: c.settings.Threads}); err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := c.db.parse(ctx, "SELECT 1"); err != nil { // opens the database that parses
		return err
	}
	if err := c.openNext(ctx); err != nil {
		return err
	}
	if err := writeFrame(c.out, frameReady, []byte(filterSystemCalls())); err != nil {
		return err
	}
	for {
		if err := c.out.Flush(); err != nil {
			return err
		}
		if err := c.openNext(ctx); err != nil {
			return err
		}
		if err := c.answer(ctx); err != nil {
			return err
		}
	}
}

// collectAfter lets Go's part of a worker grow ninefold before it is collected. It is small and makes
// garbage fast, a batch after the other, so that collecting it was a quarter of the work of a large answer.
const collectAfter = 800

func (c *conversation) openNext(ctx context.Context) (err error) {
	if c.next == nil {
		c.next, err = c.db.newSession(ctx)
	}
	return err
}

// answer answers one request. Its error is the end of the conversation.
func (c *conversation) answer(ctx context.Context) error {
	kind, payload, err := readFrame(c.in)
	if err != nil {
		return err
	}
	var r request
	if kind != frameRequest {
		return errFrame
	}
	if err := decodeGob(payload, &r); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.clock = newBudget(r.Time, func() { cancel(context.DeadlineExceeded) })
	defer func() {
		c.clock.stop()
		cancel(nil)
	}()
	if r.Parse {
		return c.parse(ctx, r.Text)
	}
	return c.query(ctx, &r)
}

func (c *conversation) parse(ctx context.Context, text string) error {
	sel, err := c.db.parse(ctx, text)
	if err != nil {
		return c.fail(err, driftline.CodeOf(err) == driftline.Internal)
	}
	return writeJSON(c.out, frameParsed, wireSelect(sel))
}

// fail sends err, which has no more detail than a user may see.
func (c *conversation) fail(err error, tired bool) error {
	var e *driftline.Error
	if !errors.As(err, &e) {
		e = driftline.Errorf(driftline.Internal, "the query failed: %w", hidden{err})
	}
	if e.Code == driftline.Internal || e.Code == driftline.Exhausted {
		fmt.Fprintln(os.Stderr, "query:", causes(e)) // for the server's log
	}
	return writeJSON(c.out, frameFailed, wireFailure{Error: *e, Tired: tired})
}

// causes is what lies below an error whose text does not say it.
func causes(err error) string {
	text := ""
	for ; err != nil; err = errors.Unwrap(err) {
		if h, ok := err.(hidden); ok {
			text = ": " + strconv.Quote(h.error.Error())
		}
	}
	return "failed" + text
}

// tired says that this process should not be asked much more: it used a good part of
// the processor time that the kernel gives it.
func tired() bool { return usedCPU() > cpuSeconds/2 }

// take returns the database for a request, and whether its tables are there already.
func (c *conversation) take(r *request) (s *session, prepared bool, err error) {
	old := c.kept
	c.kept = kept{}
	if old.session != nil && old.fingerprint == r.fingerprint() {
		return old.session, true, nil
	}
	if old.session != nil {
		err = old.session.close()
	}
	s, c.next = c.next, nil
	return s, false, err
}

// fingerprint is the same for requests of one SELECT over the same files; "" if rows are
// loaded, which are never the same.
func (r *request) fingerprint() string {
	return sandbox{text: r.Text, files: r.Files, setup: r.Setup}.fingerprint()
}

func (c *conversation) query(ctx context.Context, r *request) error {
	s, prepared, err := c.take(r)
	if err != nil {
		return err
	}
	for _, step := range r.Setup {
		if step.Load != "" {
			c.unread++
		}
	}
	if !prepared {
		err = s.prepare(ctx, r.Setup, r.Files, true, c.receiveTable)
	}
	started := false
	if err == nil {
		started, err = c.run(ctx, s, r)
	}
	if drained := c.drain(); drained != nil {
		return drained
	}
	if err != nil && !started {
		// Nothing ran, or the answer had not begun. A text that does not bind harms nobody.
		broken := driftline.CodeOf(err) != driftline.Invalid || s.broken
		s.close()
		return c.fail(err, broken || tired())
	}
	if err != nil {
		return c.fail(err, true)
	}
	if err := writeJSON(c.out, frameEnd, ending{Tired: tired()}); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil { // the caller need not wait for what follows
		return err
	}
	if r.SchemaOnly && r.fingerprint() != "" {
		c.kept = kept{s, r.fingerprint()}
		return nil
	}
	return s.close()
}

// run answers with rows. Once it has started to, the caller knows the columns.
func (c *conversation) run(ctx context.Context, s *session, r *request) (started bool, err error) {
	if r.SchemaOnly {
		schema, err := s.schemaOf(ctx, r.Text, r.args())
		if err != nil {
			return false, err
		}
		return true, newArrowWriter(c.out, schema).Close()
	}
	box := sandbox{text: r.Text, explain: r.Explain}
	rows, err := s.stream(ctx, box.statement(), r.args()...)
	if err != nil {
		return false, err
	}
	defer rows.close()
	schema := rows.schema
	if r.Explain {
		schema = explainSchema
	}
	return true, c.send(schema, r, coalesce(memory.DefaultAllocator, schema, r.BatchBytes, under(schema, rows.all)))
}

// send writes an answer, up to the limits of its request.
func (c *conversation) send(schema *arrow.Schema, r *request, batches func(func(arrow.RecordBatch, error) bool)) error {
	w := newArrowWriter(c.out, schema)
	var rows, size int64
	for batch, err := range batches {
		if err != nil {
			return err
		}
		rows, size = rows+batch.NumRows(), size+driftline.BatchBytes(batch)
		if rows > r.MaxRows || size > r.MaxBytes {
			return driftline.Errorf(driftline.Exhausted, "the answer has more than %d rows or %d MiB", r.MaxRows, r.MaxBytes>>20).
				WithHint("add a LIMIT, or aggregate")
		}
		if err := c.sendBatch(w, batch); err != nil {
			return err
		}
	}
	return w.Close()
}

// sendBatch writes a batch. The time that this takes is the reader's, whom the server watches.
func (c *conversation) sendBatch(w *ipc.Writer, batch arrow.RecordBatch) error {
	c.clock.pause(math.MaxInt64)
	defer c.clock.resume()
	if err := w.Write(batch); err != nil {
		return err
	}
	return c.out.Flush()
}

// receiveTable returns the rows of the table that the next step loads.
func (c *conversation) receiveTable() (driftline.Batches, error) {
	receiver := &arrowReceiver{r: c.in, mem: memory.DefaultAllocator}
	reader, err := ipc.NewReaderFromMessageReader(receiver)
	if err != nil {
		return driftline.Batches{}, err
	}
	batches := driftline.BatchesFrom(reader)
	return driftline.Batches{Schema: batches.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range batches.All {
			if !yield(batch, err) {
				return
			}
		}
		if receiver.last != frameEnd {
			yield(nil, errFrame)
			return
		}
		c.unread--
	}}, nil
}

// drain reads what a failed query left unread: the server writes all of it before it
// looks for an answer.
func (c *conversation) drain() error {
	for c.unread > 0 {
		kind, size, err := readHeader(c.in)
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(size); err != nil {
			return err
		}
		if kind == frameEnd {
			c.unread--
		}
	}
	return nil
}

// selectOnWire is a [Select] with what is not exported of it.
type selectOnWire struct {
	Select   Select
	Text     string
	Patterns []int
	Spines   []selectOnWire
}

func wireSelect(sel *Select) selectOnWire {
	w := selectOnWire{Select: *sel, Text: sel.text, Patterns: sel.patterns}
	w.Select.PointInTime = append([]PointInTime(nil), sel.PointInTime...)
	for i, p := range sel.PointInTime {
		w.Spines = append(w.Spines, wireSelect(p.Spine))
		w.Select.PointInTime[i].Spine = nil
	}
	return w
}

func (w *selectOnWire) unpack() (*Select, error) {
	sel := w.Select
	sel.text, sel.patterns = w.Text, w.Patterns
	if len(w.Spines) != len(sel.PointInTime) {
		return nil, errFrame
	}
	for i := range w.Spines {
		spine, err := w.Spines[i].unpack()
		if err != nil {
			return nil, err
		}
		sel.PointInTime[i].Spine = spine
	}
	return &sel, nil
}

// cpuSeconds is the processor time after which the kernel ends a worker: a last resort,
// should its server be unable to.
const cpuSeconds = int64(2 * time.Hour / time.Second)
