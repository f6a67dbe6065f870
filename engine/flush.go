package engine

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// The ingest log of a view holds small writes until they are flushed to Parquet, in few
// and large files: readers see the log beside the files, see [Engine.rowsOf].
const (
	flushEvery    = time.Minute
	flushBytes    = 16 << 20       // flush at once when a view's log is this long,
	flushRows     = 1 << 18        // or has so many rows,
	throttleBytes = 8 * flushBytes // and let writers wait for it here
)

func firsts(entries []logEntry) []uint64 {
	out := make([]uint64, len(entries))
	for i, entry := range entries {
		out[i] = entry.first
	}
	return out
}

// pin flushes a view's log and returns the snapshot that then holds every acknowledged
// row. ok is false if the view has no rows yet. The snapshot does not expire until inUse
// releases it: whoever expires snapshots holds the table's lock, as this does.
func (e *Engine) pin(ctx context.Context, view *driftline.FeatureView) (snapshot offline.Snapshot, ok bool, err error) {
	if err := e.checkHealthy(view.Name); err != nil {
		return offline.Snapshot{}, false, err
	}
	unlock := e.tables.lock(viewTable(view.Name).String())
	defer unlock()
	if err := e.flushLocked(ctx, view.Name); err != nil {
		return offline.Snapshot{}, false, err
	}
	now := e.heads.of(view.Name)
	if now.exists {
		e.inUse.keep(now.snapshot)
	}
	return now.snapshot, now.exists, nil
}

// flush moves the entries that are in a view's log now into one snapshot.
func (e *Engine) flush(ctx context.Context, view *driftline.FeatureView) error {
	if len(e.heads.of(view.Name).log) == 0 {
		return nil
	}
	unlock := e.tables.lock(viewTable(view.Name).String())
	defer unlock()
	return e.flushLocked(ctx, view.Name)
}

// flushLocked is flush by a caller who holds the table's lock.
func (e *Engine) flushLocked(ctx context.Context, name driftline.ViewName) error {
	entries := e.heads.of(name).log // again: somebody else may have flushed them
	if len(entries) == 0 {
		return nil
	}
	if err := e.ensureTableLocked(ctx, name); err != nil {
		return err
	}
	// The caller may have resolved the view before it changed, and the entries after.
	view, err := e.registry.View(name)
	if err != nil {
		return err
	}
	files, err := e.offline.Stage(ctx, viewTable(name), e.rowsOfEntries(ctx, view, entries), orderOf(view))
	if err != nil {
		return err
	}
	flushed := firsts(entries)
	in := intent{
		ID: flushID(name, flushed), Kind: intentFlush,
		View: name, Files: hashes(files), Next: e.sequence.Load(), Entries: flushed,
	}
	return e.execute(ctx, &in, files)
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
	for range rounds(ctx, flushEvery, e.wakeFlusher) {
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
	return binary.BigEndian.AppendUint64(logPrefix(view), first)
}

func logPrefix(view driftline.ViewName) []byte {
	return append(append([]byte{kv.IngestLog}, view...), 0)
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
