package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/offline"
)

// A write of at most smallRows rows and smallBytes bytes goes to the ingest log in
// one kv batch. Above either, writing Parquet at once costs less than writing twice.
const (
	smallRows  = 10_000
	smallBytes = 4 << 20
)

// onlineOnlyRows and onlineOnlyBytes bound a write to the online store alone: it has no
// files that could wait for the rest of it, so it is one transaction.
const (
	onlineOnlyRows  = 100_000
	onlineOnlyBytes = onlineBytes
)

// Ingest writes rows of a view, durably and to both stores: when it returns, the
// rows survive a crash, and the next training set and the next online read see them.
//
// The rows are all written or none. Sent again with the same idempotency key and
// content the write changes nothing and answers as it did the first time; with other
// content it is a Conflict. An empty key makes every call a write of its own.
func (e *Engine) Ingest(ctx context.Context, name driftline.ViewName, idempotencyKey string, rows driftline.Batches) (driftline.IngestResult, error) {
	return e.ingest(ctx, name, writeOptions{target: driftline.BothStores, key: idempotencyKey}, rows)
}

// IngestTo is [Engine.Ingest] to one store only, if target says so.
//
// Rows that are written offline only are in training sets at once, and are served when
// they are materialized. Rows that are written online only are served at once and are
// never in a training set: they are marked, and a row of the same time that is written to
// both stores later takes their place. Such a write is at most 100,000 rows. Views that keep a
// history or have aggregations take none: what they serve comes from many rows, all of which
// a training set has to have.
func (e *Engine) IngestTo(ctx context.Context, name driftline.ViewName, target driftline.Target, idempotencyKey string, rows driftline.Batches) (driftline.IngestResult, error) {
	target, err := driftline.ParseTarget(string(target))
	if err != nil {
		return driftline.IngestResult{}, err
	}
	return e.ingest(ctx, name, writeOptions{target: target, key: idempotencyKey}, rows)
}

// IngestInOrder is [Engine.Ingest] for a caller whose writes overlap and keep an order
// nevertheless. It calls placed, at most once, as soon as a write that begins then comes
// after this one. For one that is not small that is when it returns, without a call.
func (e *Engine) IngestInOrder(ctx context.Context, name driftline.ViewName, idempotencyKey string, rows driftline.Batches, placed func()) (driftline.IngestResult, error) {
	return e.ingest(ctx, name, writeOptions{target: driftline.BothStores, key: idempotencyKey, placed: placed}, rows)
}

// writeOptions are what a write may be besides its rows.
type writeOptions struct {
	target driftline.Target
	key    string // idempotency key, or ""
	placed func() // see IngestInOrder

	// content stands for the rows where they say more than the caller did, such as when they
	// arrived: the same key with the same content is the same write. "" for what the rows say.
	content string
}

func (e *Engine) ingest(ctx context.Context, name driftline.ViewName, opts writeOptions, rows driftline.Batches) (driftline.IngestResult, error) {
	e.serves()
	target, idempotencyKey := opts.target, opts.key
	name = e.registry.Meant(name)
	view, err := e.writtenView(name)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	if err := errors.Join(checkWritable(view.view), checkTarget(view.view, target), e.checkHealthy(name)); err != nil {
		return driftline.IngestResult{}, err
	}
	if len(idempotencyKey) > maxKeyBytes {
		return driftline.IngestResult{}, driftline.Errorf(driftline.Invalid, "idempotency key has %d bytes, %d are allowed", len(idempotencyKey), maxKeyBytes)
	}
	if err := e.begin(); err != nil {
		return driftline.IngestResult{}, err
	}
	defer e.end()
	if idempotencyKey != "" {
		unlock := e.writes.lock(string(name) + "\x00" + idempotencyKey)
		defer unlock()
	}
	w, err := e.newWrite(view, idempotencyKey, rows.Schema)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	w.target, w.placed, w.given = target, opts.placed, opts.content
	result, err := w.run(ctx, rows)
	if err == nil && !result.Duplicate {
		e.observeIngest(result)
	}
	return result, err
}

// checkTarget refuses writes to one store where the other cannot follow.
func checkTarget(view *driftline.FeatureView, target driftline.Target) error {
	switch {
	case target == driftline.BothStores:
		return nil
	case !view.ServedOnline():
		return driftline.Errorf(driftline.FailedPrecondition, "view %q is a prediction log, which is not served online", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("leave the target out")
	case target == driftline.OnlineOnly && view.KeepsHistory():
		return driftline.Errorf(driftline.FailedPrecondition, "view %q keeps a history or has aggregations, so none of its rows are online only", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("leave the target out, or write the rows offline and materialize them: a value of many rows that no training set has all of cannot be trained on")
	case target == driftline.OnlineOnly && view.Horizon > 0:
		return driftline.Errorf(driftline.FailedPrecondition, "view %q has labels, which are not served online", view.Name).
			WithRef(driftline.ViewRef(view.Name)).WithHint("write them to the offline store, or leave the target out")
	}
	return nil
}

// maxKeyBytes bounds idempotency keys; a UUID has 36.
const maxKeyBytes = 256

// write is one call of Ingest.
type write struct {
	engine    *Engine
	written   *writtenView
	view      *driftline.FeatureView
	target    driftline.Target
	key       string // idempotency key, or ""
	conformer *conformer
	hash      *contentHash // nil without a key: nobody will ask
	given     string       // in its place, see writeOptions; "" for none
	first     uint64       // sequence of the first row
	next      uint64       // sequence after the last row
	rows      int64
	placed    func() // see IngestInOrder; nil if nobody asks

	held []*heldRows // of a bulk write that is offline only
}

func (e *Engine) newWrite(view *writtenView, key string, input *arrow.Schema) (*write, error) {
	c, err := view.conformer(e, input)
	if err != nil {
		return nil, err
	}
	w := &write{engine: e, written: view, view: view.view, key: key, conformer: c}
	if key != "" {
		w.hash = newContentHash(c.schema)
	}
	return w, nil
}

// content is the hash of the rows so far, "" if nobody will ask for it.
func (w *write) content() string {
	if w.hash == nil {
		return ""
	}
	if w.given != "" {
		return w.given
	}
	if to := named(w.target); to != "" { // the same rows elsewhere are another write
		return w.hash.sum() + ":" + string(to)
	}
	return w.hash.sum()
}

// run reads rows until it is clear whether the write is small, then takes that path.
func (w *write) run(ctx context.Context, rows driftline.Batches) (driftline.IngestResult, error) {
	next, stop := iter.Pull2(w.conformed(ctx, rows))
	defer stop()
	var head []arrow.RecordBatch
	defer func() { driftline.ReleaseAll(head) }()
	var size int64
	mostBytes, mostRows := int64(smallBytes), w.engine.smallRows
	if w.target == driftline.OnlineOnly {
		mostBytes, mostRows = onlineOnlyBytes, onlineOnlyRows
	}
	for size <= mostBytes && w.rows <= mostRows {
		b, err, ok := next()
		if err != nil {
			return driftline.IngestResult{}, err
		}
		if !ok {
			return w.writeSmall(ctx, head)
		}
		b.Retain()
		head = append(head, b)
		size += driftline.BatchBytes(b)
	}
	if w.target == driftline.OnlineOnly {
		return driftline.IngestResult{}, driftline.Errorf(driftline.Exhausted, "view %q: a write to the online store alone has more than %d rows or %d MB", w.view.Name, onlineOnlyRows, onlineOnlyBytes>>20).
			WithRef(driftline.ViewRef(w.view.Name)).WithHint("send the rows in parts, or write them to both stores")
	}
	return w.writeBulk(ctx, head, next)
}

// conformed yields the rows in the view's schema, hashed on the way.
func (w *write) conformed(ctx context.Context, rows driftline.Batches) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !w.yieldConformed(ctx, b, yield) {
				return
			}
		}
	}
}

func (w *write) yieldConformed(ctx context.Context, b arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	if b.NumRows() == 0 {
		return true
	}
	fit, err := w.conformer.conform(ctx, b)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer fit.Release()
	if w.hash != nil {
		w.hash.add(fit)
	}
	w.rows += fit.NumRows()
	return yield(fit, nil)
}

// yieldSequenced gives the rows of a batch their write sequences.
func (w *write) yieldSequenced(fit arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	first := w.engine.takeSequences(fit.NumRows())
	if w.next == 0 {
		w.first = first
	}
	w.next = first + uint64(fit.NumRows())
	if w.target == driftline.OfflineOnly {
		w.holdBack(first, w.next-1, eventsIn(fit.Column(len(w.view.JoinKeys)).(*array.Timestamp)))
	}
	stored := withSequence(w.engine.mem, fit, first)
	defer stored.Release()
	return yield(stored, nil)
}

// holdBack notes rows of a bulk write that are not to be online. Writes that come at the
// same time may have sequences between those of two batches.
func (w *write) holdBack(first, last uint64, events eventSpan) {
	if n := len(w.held); n > 0 && w.held[n-1].last+1 == first {
		h := w.held[n-1]
		h.last, h.from, h.to = last, min(h.from, events.from), max(h.to, events.to)
		return
	}
	w.held = append(w.held, &heldRows{first: first, last: last, from: events.from, to: events.to})
}

// writeSmall commits the rows in one kv batch, which it shares with the writes of others:
// {ingest log entry, online merges, idempotency record, ledger line}, with one fsync.
func (w *write) writeSmall(ctx context.Context, rows []arrow.RecordBatch) (driftline.IngestResult, error) {
	if result, done, err := w.replayed(); done || err != nil {
		return result, err
	}
	if w.rows == 0 {
		return driftline.IngestResult{View: w.view.Name}, nil
	}
	if err := w.engine.throttle(ctx, w.view); err != nil {
		return driftline.IngestResult{}, err
	}
	p, err := w.engine.encodePush(w.written, w.target, rows)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	p.key, p.content, p.placed = w.key, w.content(), w.placed
	if err := w.engine.push(p); err != nil {
		return driftline.IngestResult{}, err
	}
	if p.stale {
		return driftline.IngestResult{}, changedMeanwhile(w.view.Name)
	}
	return p.result, nil
}

// replayed answers a write whose idempotency key was used before.
func (w *write) replayed() (result driftline.IngestResult, done bool, err error) {
	if w.key == "" {
		return result, false, nil
	}
	raw, err := w.engine.kv.Get(idempotencyKey(w.view.Name, w.key))
	if raw == nil || err != nil {
		return result, false, err
	}
	var record idempotencyRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return result, false, driftline.Errorf(driftline.DataLoss, "the record of idempotency key %q is damaged: %w", w.key, err)
	}
	if record.Content != w.content() {
		return result, false, driftline.Errorf(driftline.Conflict, "view %q: idempotency key %q was used for other rows", w.view.Name, w.key).
			WithRef(driftline.ViewRef(w.view.Name)).
			WithHint("use a new key for new rows; the same key is only for sending the same rows again")
	}
	record.Result.Duplicate = true
	return record.Result, true, nil
}

// idempotencyRecord is what an idempotency key remembers.
type idempotencyRecord struct {
	Content string                 `json:"content"` // content hash of the rows
	Result  driftline.IngestResult `json:"result"`
}

// finish adds to tx what every write ends with, and commits it.
func (w *write) finish(tx *registry.Tx, result driftline.IngestResult, content string) error {
	if w.key != "" {
		record, err := json.Marshal(idempotencyRecord{Content: content, Result: result})
		if err != nil {
			return err
		}
		tx.Batch().Set(idempotencyKey(w.view.Name, w.key), record)
	}
	tx.Batch().Max(sequenceKey, binary.BigEndian.AppendUint64(nil, w.next))
	if err := tx.AddIngest(result); err != nil {
		return err
	}
	return tx.Commit()
}

// writeBulk stages sorted Parquet files, writes down its intent, commits the files as
// one snapshot, brings the newest row of each entity online, and then commits the
// ledger lines. A crash at any point is mended by recover: the intent says whether
// the snapshot was committed, and every step after that can be repeated.
func (w *write) writeBulk(ctx context.Context, head []arrow.RecordBatch, next func() (arrow.RecordBatch, error, bool)) (driftline.IngestResult, error) {
	e, table := w.engine, viewTable(w.view.Name)
	all := driftline.Batches{Schema: w.view.StoredSchema(), All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, b := range head {
			if !w.yieldSequenced(b, yield) {
				return
			}
		}
		for {
			b, err, ok := next()
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok || !w.yieldSequenced(b, yield) {
				return
			}
		}
	}}
	if err := e.ensureTable(ctx, w.view.Name); err != nil { // Apply shows a view before its table is there
		return driftline.IngestResult{}, err
	}
	newest := &newestRows{view: w.view}
	defer newest.release()
	keep := newest.keep
	if w.target == driftline.OfflineOnly || !w.view.ServedOnline() {
		keep = nil
	}
	files, err := e.offline.StageNewest(ctx, table, all, orderOf(w.view), keep)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	if result, done, err := w.replayed(); done || err != nil {
		return result, errors.Join(err, e.offline.Discard(files))
	}
	if err := e.reached(stepStaged); err != nil {
		return driftline.IngestResult{}, err
	}
	unlock := e.tables.lock(table.String())
	defer unlock()
	if now, err := e.registry.SharedView(w.view.Name); err != nil || !keepsRows(w.view, now) {
		return driftline.IngestResult{}, errors.Join(cmp.Or(err, changedMeanwhile(w.view.Name)), e.offline.Discard(files))
	}
	in := intent{
		ID: fmt.Sprintf("write-%d", w.first), View: w.view.Name, Kind: intentWrite, Files: hashes(files),
		Next: w.next, Key: w.key, Content: w.content(),
		Result: driftline.IngestResult{View: w.view.Name, Rows: w.rows, Sequence: w.first, To: named(w.target)},
		newest: newest, Held: w.held,
	}
	err = e.execute(ctx, &in, files)
	return in.Result, err
}

// orderOf is the order of rows in a view's files: entity by entity, oldest first.
// Within one entity and file the last row is the newest.
func orderOf(view *driftline.FeatureView) offline.Order {
	times := []string{view.EventTimestamp}
	if view.CreatedTimestamp != "" {
		times = append(times, view.CreatedTimestamp)
	}
	return offline.Order{Keys: view.KeyNames(), Then: append(times, driftline.SequenceColumn)}
}

// viewTable is the table that keeps a view's rows.
func viewTable(name driftline.ViewName) offline.TableID {
	return offline.TableID{Namespace: "features", Name: string(name)}
}

func hashes(files []offline.File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Hash
	}
	return out
}

// takeSequences reserves n consecutive write sequences and returns the first.
func (e *Engine) takeSequences(n int64) uint64 {
	return e.sequence.Add(uint64(n)) - uint64(n)
}

// withSequence appends the hidden sequence column, counting up from first.
func withSequence(mem memory.Allocator, b arrow.RecordBatch, first uint64) arrow.RecordBatch {
	sequences := array.NewInt64Builder(mem)
	defer sequences.Release()
	sequences.Reserve(int(b.NumRows()))
	for i := range b.NumRows() {
		sequences.UnsafeAppend(int64(first) + i)
	}
	column := sequences.NewArray()
	defer column.Release()
	return array.NewRecordBatch(driftline.Sequenced(b.Schema()), append(b.Columns()[:b.NumCols():b.NumCols()], column), b.NumRows())
}
