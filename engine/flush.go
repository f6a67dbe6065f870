package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// The ingest log of a view holds small writes until they are flushed to Parquet.
// Readers of the offline store flush first, so that a snapshot id is all they need
// to name what they read; a background loop flushes what nobody reads.
const (
	flushEvery = time.Minute
	flushBytes = 64 << 20 // flush at once when a view's log is this long
)

// logTail knows which log entries of each view are not in a snapshot yet.
// It mirrors the keys in kv, so that a read with nothing to flush costs no scan.
type logTail struct {
	mu    sync.Mutex
	views map[driftline.ViewName]*viewTail
}

// viewTail is the tail of one view's log.
type viewTail struct {
	entries map[uint64]int // first sequence → bytes
	bytes   int            // of all entries
}

// noteLogged records a new log entry and wakes the flusher if the log is long.
func (e *Engine) noteLogged(view driftline.ViewName, first uint64, size int) {
	e.tail.mu.Lock()
	defer e.tail.mu.Unlock()
	tail := e.tail.views[view]
	if tail == nil {
		tail = &viewTail{entries: map[uint64]int{}}
		e.tail.views[view] = tail
	}
	tail.entries[first] = size
	if tail.bytes += size; tail.bytes >= flushBytes {
		select {
		case e.wakeFlusher <- struct{}{}:
		default: // it is awake already
		}
	}
}

func (e *Engine) noteFlushed(view driftline.ViewName, entries []uint64) {
	e.tail.mu.Lock()
	defer e.tail.mu.Unlock()
	tail := e.tail.views[view]
	if tail == nil {
		return // while recovering: the tail is not loaded yet
	}
	for _, first := range entries {
		tail.bytes -= tail.entries[first]
		delete(tail.entries, first)
	}
}

// unflushed returns the first sequences of a view's log entries, ascending.
func (e *Engine) unflushed(view driftline.ViewName) []uint64 {
	e.tail.mu.Lock()
	defer e.tail.mu.Unlock()
	tail := e.tail.views[view]
	if tail == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(tail.entries))
}

// hasUnflushed reports whether a view's log has entries.
func (e *Engine) hasUnflushed(view driftline.ViewName) bool {
	e.tail.mu.Lock()
	defer e.tail.mu.Unlock()
	tail := e.tail.views[view]
	return tail != nil && len(tail.entries) > 0
}

// loadTail finds the log entries that the last process left.
func (e *Engine) loadTail() error {
	for pair, err := range e.kv.ScanPrefix([]byte{kv.IngestLog}) {
		if err != nil {
			return err
		}
		view, first, err := parseLogKey(pair.Key)
		if err != nil {
			return err
		}
		e.noteLogged(view, first, len(pair.Value))
	}
	return nil
}

// pin flushes a view's log and returns the snapshot that then holds every
// acknowledged row. ok is false if the view has no rows yet.
func (e *Engine) pin(ctx context.Context, view *driftline.FeatureView) (snapshot offline.Snapshot, ok bool, err error) {
	if err := e.flush(ctx, view); err != nil {
		return offline.Snapshot{}, false, err
	}
	return e.offline.Current(ctx, viewTable(view.Name))
}

// flush moves the entries that are in a view's log now into one snapshot.
func (e *Engine) flush(ctx context.Context, view *driftline.FeatureView) error {
	if !e.hasUnflushed(view.Name) {
		return nil
	}
	table := viewTable(view.Name)
	unlock := e.tables.lock(table.String())
	defer unlock()
	entries := e.unflushed(view.Name) // again: another reader may have flushed them
	if len(entries) == 0 {
		return nil
	}
	// The caller may have resolved the view before it grew, and the entries after.
	view, err := e.registry.View(view.Name)
	if err != nil {
		return err
	}
	if err := e.ensureTable(ctx, view); err != nil {
		return err
	}
	rows := driftline.Batches{Schema: view.StoredSchema(), All: e.readLog(ctx, view, entries)}
	files, err := e.offline.Stage(ctx, table, rows, orderOf(view))
	if err != nil {
		return err
	}
	in := intent{
		ID: fmt.Sprintf("flush-%s-%d-%d", view.Name, entries[0], entries[len(entries)-1]), Kind: intentFlush,
		View: view.Name, Files: hashes(files), Next: e.sequence.Load(), Entries: entries,
	}
	return e.execute(ctx, &in, files)
}

// readLog yields the rows of log entries in the view's present stored schema: features
// added since an entry was written are null in it.
func (e *Engine) readLog(ctx context.Context, view *driftline.FeatureView, entries []uint64) iter.Seq2[arrow.RecordBatch, error] {
	schema := view.StoredSchema()
	return func(yield func(arrow.RecordBatch, error) bool) {
		for _, first := range entries {
			raw, err := e.kv.Get(logKey(view.Name, first))
			if err == nil && raw == nil {
				err = driftline.Errorf(driftline.DataLoss, "view %q: ingest log entry %d is missing", view.Name, first)
			}
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !e.yieldEntry(raw, schema, yield) {
				return
			}
		}
	}
}

func (e *Engine) yieldEntry(raw []byte, schema *arrow.Schema, yield func(arrow.RecordBatch, error) bool) bool {
	r, err := ipc.NewReader(bytes.NewReader(raw), ipc.WithAllocator(e.mem))
	if err != nil {
		yield(nil, driftline.Errorf(driftline.DataLoss, "an ingest log entry is damaged: %w", err))
		return false
	}
	defer r.Release()
	for r.Next() {
		b := project(e.mem, r.RecordBatch(), schema)
		more := yield(b, nil)
		b.Release()
		if !more {
			return false
		}
	}
	if err := r.Err(); err != nil {
		yield(nil, driftline.Errorf(driftline.DataLoss, "an ingest log entry is damaged: %w", err))
		return false
	}
	return true
}

// project returns the columns of b that schema has, in its order, with nulls for those
// that b lacks. The caller releases it.
func project(mem memory.Allocator, b arrow.RecordBatch, schema *arrow.Schema) arrow.RecordBatch {
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		if at := b.Schema().FieldIndices(f.Name); len(at) > 0 {
			columns[i] = b.Column(at[0])
			columns[i].Retain()
		} else {
			columns[i] = array.MakeArrayOfNull(mem, f.Type, int(b.NumRows()))
		}
	}
	defer releaseArrays(columns)
	return array.NewRecordBatch(schema, columns, b.NumRows())
}

// flushLoop flushes every view's log now and then until the engine closes.
func (e *Engine) flushLoop(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.wakeFlusher:
		}
		for _, view := range e.registry.Views() {
			if err := e.flush(ctx, &view); err != nil && ctx.Err() == nil {
				e.log.Error("flush failed; the rows stay in the ingest log", "view", view.Name, "error", err)
			}
		}
	}
}

// Keys in kv. A log entry is named by its view and the sequence of its first row:
//
//	'i' ∥ view ∥ 0x00 ∥ first sequence (8 bytes, big endian)
func logKey(view driftline.ViewName, first uint64) []byte {
	key := append([]byte{kv.IngestLog}, view...)
	return binary.BigEndian.AppendUint64(append(key, 0), first)
}

func parseLogKey(key []byte) (driftline.ViewName, uint64, error) {
	n := len(key) - 9
	if n < 1 || key[n] != 0 {
		return "", 0, driftline.Errorf(driftline.DataLoss, "a key of the ingest log is damaged")
	}
	return driftline.ViewName(key[1:n]), binary.BigEndian.Uint64(key[n+1:]), nil
}

// idempotencyKey is 'k' ∥ view ∥ 0x00 ∥ the client's key.
func idempotencyKey(view driftline.ViewName, key string) []byte {
	k := append([]byte{kv.IdempotencyKeys}, view...)
	return append(append(k, 0), key...)
}

// intentKey is 'n' ∥ intent id.
func intentKey(id string) []byte { return append([]byte{kv.Intents}, id...) }

// sequenceKey holds the sequence that the next row gets, 8 bytes big endian, merged by Max.
var sequenceKey = append([]byte{kv.Counters}, "sequence"...)
