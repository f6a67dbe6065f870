package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
)

// intent is what the engine writes down before it commits files to a table, so that
// a crash between the table's commit and the ledger's can be mended.
//
//	kv: intent ──► table: snapshot (summary names the intent) ──► kv: online rows ──► kv: {ledger lines, −intent}
//
// After a crash an intent without its snapshot never happened: its files are
// removed. With the snapshot, the steps after it are repeated; each may be.
type intent struct {
	ID    string             `json:"id"`
	Kind  intentKind         `json:"kind"`
	View  driftline.ViewName `json:"view"`
	Files []string           `json:"files"` // content hashes

	// of a bulk write
	Next    uint64                 `json:"next,omitempty"` // sequence after the last row
	Key     string                 `json:"key,omitempty"`
	Content string                 `json:"content,omitempty"`
	Result  driftline.IngestResult `json:"result,omitzero"`

	Held []*heldRows `json:"held,omitempty"` // the rows, if they are offline only

	newest *newestRows // of the files, as far as they are in memory

	// of a flush: the first sequences of the log entries that the files hold
	Entries []uint64 `json:"entries,omitempty"`

	removed []offline.File // by a compaction: the files that the new ones stand for

	To driftline.SnapshotID `json:"to,omitempty"` // of a rollback
}

type intentKind string

const (
	intentWrite intentKind = "write" // rows come from a bulk write: they must go online too
	intentFlush intentKind = "flush" // rows come from the ingest log: they are online already

	intentCompaction intentKind = "compaction" // rows were in other files: they are online already
	intentRollback   intentKind = "rollback"   // rows are those of an older snapshot: online is rebuilt
	intentEvolution  intentKind = "evolution"  // the columns changed, and no row
)

// summaryCause is the property of a snapshot's summary that says, for people, what made
// it, where that is not a write or a flush.
const (
	summaryCause = "cause"
	causeErasure = "erasure"
)

// summaryIntent is the property of a snapshot's summary that names its intent.
const summaryIntent = "intent"

// execute writes the intent down and carries it out. The caller holds the table's lock.
func (e *Engine) execute(ctx context.Context, in *intent, files []offline.File) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	b := e.kv.NewBatch()
	defer b.Close()
	b.Set(intentKey(in.ID), raw)
	if err := b.Commit(); err != nil {
		return err
	}
	if err := e.reached(stepIntended); err != nil {
		return err
	}
	// From here on the client's hanging up must not leave work half done.
	ctx = context.WithoutCancel(ctx)
	snapshot, err := e.commit(ctx, in, files)
	if err != nil {
		return e.settle(ctx, in, files, err)
	}
	e.heads.committed(in.View, snapshot, in.Entries, in.Held...)
	if err := e.reached(stepCommitted); err != nil {
		return err
	}
	return e.complete(ctx, in, snapshot)
}

// commit makes the snapshot of an intent.
func (e *Engine) commit(ctx context.Context, in *intent, files []offline.File) (offline.Snapshot, error) {
	table := viewTable(in.View)
	summary := map[string]string{summaryIntent: in.ID}
	switch in.Kind {
	case intentCompaction:
		summary[summaryCause] = causeCompaction
		return e.offline.ReplaceFiles(ctx, table, in.removed, files, summary)
	case intentEvolution:
		summary[summaryCause] = causeEvolution
		return e.offline.Commit(ctx, table, nil, summary)
	case intentRollback:
		summary[summaryCause] = causeRollback
		return e.offline.Rollback(ctx, table, in.To, summary)
	}
	summary["next-sequence"] = strconv.FormatUint(in.Next, 10)
	return e.offline.Commit(ctx, table, files, summary)
}

// The steps between which a crash is mended by recover. Tests stop writes at each.
const (
	stepStaged    = "files staged"
	stepIntended  = "intent written"
	stepCommitted = "snapshot committed"
	stepOnline    = "rows online"

	stepOnlineRemoved  = "online rows removed" // by a rebuild, before it puts them again
	stepHistoryRemoved = "history removed"     // likewise

	stepDefined  = "definitions registered"
	stepReshaped = "table reshaped"
)

// reached reports that a step is done. Only tests make it fail.
func (e *Engine) reached(step string) error {
	if e.failAt == nil {
		return nil
	}
	return e.failAt(step)
}

// settle finds out what became of a commit that failed with err. It may have taken
// effect all the same: then its files are the table's, and the rest must follow.
func (e *Engine) settle(ctx context.Context, in *intent, files []offline.File, err error) error {
	snapshot, committed, lookErr := e.snapshotOf(ctx, in)
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr) // the intent stays, for recover to carry out
	case committed:
		e.heads.committed(in.View, snapshot, in.Entries, in.Held...)
		return e.complete(ctx, in, snapshot)
	}
	return errors.Join(err, e.abandon(in, files))
}

// snapshotOf finds the snapshot that an intent's commit made, if it did.
func (e *Engine) snapshotOf(ctx context.Context, in *intent) (snapshot offline.Snapshot, committed bool, err error) {
	snapshots, err := e.offline.Snapshots(ctx, viewTable(in.View))
	for _, s := range snapshots {
		if s.Summary[summaryIntent] == in.ID {
			return s, true, err
		}
	}
	return offline.Snapshot{}, false, err
}

// abandon forgets an intent whose snapshot was not committed.
func (e *Engine) abandon(in *intent, files []offline.File) error {
	b := e.kv.NewBatch()
	defer b.Close()
	b.Delete(intentKey(in.ID))
	return errors.Join(e.offline.Discard(files), b.Commit())
}

// complete does everything that follows the commit of an intent's snapshot.
// It may be repeated from the start.
func (e *Engine) complete(ctx context.Context, in *intent, snapshot offline.Snapshot) error {
	files := slices.DeleteFunc(slices.Clone(snapshot.Files), func(f offline.File) bool {
		return !slices.Contains(in.Files, f.Hash)
	})
	switch in.Kind {
	case intentWrite:
		if len(in.Held) > 0 {
			break
		}
		if err := e.bringOnline(ctx, in, snapshot, files); err != nil {
			return err
		}
	case intentRollback:
		if err := e.rebuildOnline(ctx, in.View, e.logProgress(in.View)); err != nil {
			return err
		}
	}
	if err := e.reached(stepOnline); err != nil {
		return err
	}
	tx := e.registry.Begin()
	defer tx.Discard()
	tx.Batch().Delete(intentKey(in.ID))
	for _, first := range in.Entries {
		tx.Batch().Delete(logKey(in.View, first))
	}
	for _, rows := range in.Held {
		if err := rows.store(tx.Batch(), in.View); err != nil {
			return err
		}
	}
	if err := tx.AddSnapshot(snapshotRecord(snapshot, files), in.madeFrom()...); err != nil {
		return err
	}
	if in.Kind != intentWrite {
		return tx.Commit()
	}
	in.Result.Snapshot = snapshot.ID
	w := write{engine: e, view: &driftline.FeatureView{Name: in.View}, key: in.Key, next: in.Next}
	return w.finish(tx, in.Result, in.Content)
}

// madeFrom is what the snapshot of an intent was made from besides the one before it.
func (in *intent) madeFrom() []driftline.Ref {
	if in.Kind == intentRollback {
		return []driftline.Ref{driftline.SnapshotRef(viewTable(in.View).String(), in.To)}
	}
	return nil
}

// bringOnline merges the newest row of each entity in the files into the online store.
// A write still has these rows in memory; a restart reads the files.
func (e *Engine) bringOnline(ctx context.Context, in *intent, snapshot offline.Snapshot, files []offline.File) error {
	view, err := e.registry.View(in.View)
	if err != nil {
		return err
	}
	for _, f := range files {
		part := snapshot
		part.Files = []offline.File{f}
		rows, ok := in.newest.of(f, view)
		if !ok {
			rows = e.newestOf(ctx, part, view)
		}
		if err := e.mergeOnline(view, rows); err != nil {
			return err
		}
	}
	part := snapshot
	part.Files = files
	return e.addHistory(ctx, view, part)
}

// newestOf yields the newest row of each entity in files that may be online.
func (e *Engine) newestOf(ctx context.Context, part offline.Snapshot, view *driftline.FeatureView) driftline.Batches {
	return e.newestIn(ctx, view, e.served(ctx, view, e.readAs(ctx, part, view, view.StoredSchema())))
}

// A kv batch that brings rows online ends at whichever comes first; merges may be
// repeated, so a write need not be one batch.
const (
	onlineChunk = 20_000   // entities
	onlineBytes = 64 << 20 // far below what kv refuses, because the files are committed
)

// mergeOnline merges rows of the view's stored schema into the online store, if they are served there.
func (e *Engine) mergeOnline(view *driftline.FeatureView, rows driftline.Batches) error {
	if !view.ServedOnline() {
		return nil
	}
	return e.mergeChunks(rows, func(b *kv.Batch, part arrow.RecordBatch, sequences []int64) error {
		return e.online.Put(b, view, part, sequences)
	})
}

// mergeChunks calls put for rows of a view's stored schema, which it gets without their
// sequences and beside them, and commits what it put, chunk by chunk.
func (e *Engine) mergeChunks(rows driftline.Batches, put func(b *kv.Batch, part arrow.RecordBatch, sequences []int64) error) error {
	batch, pending := e.kv.NewBatch(), int64(0)
	defer func() { batch.Close() }()
	flush := func() error {
		err := errors.Join(batch.Commit(), batch.Close())
		batch, pending = e.kv.NewBatch(), 0
		return err
	}
	for b, err := range rows.All {
		if err != nil {
			return err
		}
		for start := int64(0); start < b.NumRows(); start += onlineChunk {
			part := b.NewSlice(start, min(start+onlineChunk, b.NumRows()))
			err := putPart(batch, part, put)
			pending += part.NumRows()
			part.Release()
			if err != nil {
				return err
			}
			if pending >= onlineChunk || batch.Bytes() >= onlineBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return batch.Commit()
}

// putPart splits the sequences, which are the last column, off the other columns.
func putPart(b *kv.Batch, stored arrow.RecordBatch, put func(b *kv.Batch, part arrow.RecordBatch, sequences []int64) error) error {
	last := int(stored.NumCols()) - 1
	schema := arrow.NewSchema(stored.Schema().Fields()[:last], nil)
	rows := array.NewRecordBatch(schema, stored.Columns()[:last], stored.NumRows())
	defer rows.Release()
	return put(b, rows, stored.Column(last).(*array.Int64).Int64Values())
}

// runEnds returns the last row of each run of equal join keys, which are the first
// columns of b. A run that goes on in the next batch ends here too: the merge decides.
func runEnds(b arrow.RecordBatch, keys int) []int64 {
	rows := int(b.NumRows())
	ends := make([]bool, rows) // whether the run ends after the row
	if rows > 0 {
		ends[rows-1] = true
	}
	for k := range keys {
		markChanges(b.Column(k), ends)
	}
	var last []int64
	for row, end := range ends {
		if end {
			last = append(last, int64(row))
		}
	}
	return last
}

// markChanges sets changed[i] where the values of rows i and i+1 differ. Keys are never null.
func markChanges(column arrow.Array, changed []bool) {
	switch c := column.(type) {
	case *array.String:
		markEach(changed, func(i int) bool { return c.Value(i) != c.Value(i+1) })
	case *array.Int64:
		values := c.Int64Values()
		markEach(changed, func(i int) bool { return values[i] != values[i+1] })
	default:
		markEach(changed, func(i int) bool {
			return !array.SliceEqual(column, int64(i), int64(i+1), column, int64(i+1), int64(i+2))
		})
	}
}

func markEach(changed []bool, differ func(i int) bool) {
	for i := range len(changed) - 1 {
		changed[i] = changed[i] || differ(i)
	}
}

// recover carries every intent that a crash left behind to its end, one way or the other.
func (e *Engine) recover(ctx context.Context) error {
	var left []intent
	for pair, err := range e.kv.ScanPrefix([]byte{kv.Intents}) {
		if err != nil {
			return err
		}
		var in intent
		if err := json.Unmarshal(pair.Value, &in); err != nil {
			if err := e.isolateIntent(pair.Key[1:]); err != nil {
				return err
			}
			continue
		}
		left = append(left, in)
	}
	for i := range left {
		e.unrecovered = max(e.unrecovered, left[i].Next)
		if err := e.isolate(left[i].View, e.recoverIntent(ctx, &left[i])); err != nil {
			return err
		}
	}
	return nil
}

// isolateIntent puts the view of an intent that cannot be read into quarantine: that of
// its snapshot, if there is one. Without a snapshot it never happened, and its files are
// orphans.
func (e *Engine) isolateIntent(id []byte) error {
	damage := driftline.Errorf(driftline.DataLoss, "the record of an unfinished write (%q) is damaged", id)
	for _, view := range e.registry.Views() {
		_, committed, err := e.snapshotOf(context.Background(), &intent{ID: string(id), View: view.Name})
		if driftline.CodeOf(err) == driftline.NotFound || driftline.CodeOf(err) == driftline.DataLoss {
			continue // it is in quarantine for that
		}
		if err != nil {
			return err
		}
		if committed {
			return e.isolate(view.Name, damage)
		}
	}
	e.log.Error("the record of a write that was not committed is damaged", "intent", string(id))
	return nil
}

func (e *Engine) recoverIntent(ctx context.Context, in *intent) error {
	snapshot, committed, err := e.snapshotOf(ctx, in)
	if err != nil {
		return err
	}
	if committed {
		e.log.Info("recover: finishing a committed write", "intent", in.ID, "view", in.View)
		return e.complete(ctx, in, snapshot)
	}
	e.log.Info("recover: dropping a write that was not committed", "intent", in.ID, "view", in.View)
	files := make([]offline.File, len(in.Files))
	for i, h := range in.Files {
		files[i] = offline.File{Table: viewTable(in.View), Hash: h}
	}
	return e.abandon(in, files)
}
