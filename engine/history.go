package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/offline"
)

// rowsBy returns the rows of a view that were acknowledged by a time, with the columns
// that the view had then:
//
//	the newest snapshot of that time ∪ the small writes that were in no file then
//
// Such writes were in the ingest log. Flushes have moved them into files since, or they
// are in the log still. They are told from later ones by their write sequences, which
// small writes get in the order in which they are acknowledged. So the answer is the same
// whenever it is asked.
func (e *Engine) rowsBy(ctx context.Context, view *driftline.FeatureView, at time.Time) (query.Rows, *arrow.Schema, error) {
	through, err := e.registry.WrittenBy(at)
	if err != nil {
		return query.Rows{}, nil, err
	}
	log := e.heads.of(view.Name).log // before the snapshots: what is flushed meanwhile is in one of them
	base, err := e.offline.AsOf(ctx, viewTable(view.Name), at)
	unseen := driftline.CodeOf(err) == driftline.NotFound // there may be rows in the log all the same
	if err != nil && !unseen {
		return query.Rows{}, nil, err
	}
	parts, lookErr := e.loggedBy(ctx, view, log, base.ID, at, through)
	if lookErr != nil && (!unseen || driftline.CodeOf(lookErr) != driftline.NotFound) {
		return query.Rows{}, nil, lookErr
	}
	if unseen {
		if len(parts) == 0 {
			return query.Rows{}, nil, err
		}
		tail := e.laidTogether(ctx, parts, parts[0].Schema, parts[0].identities)
		return query.Rows{Tail: e.writtenThrough(ctx, tail, through)}, tail.Schema, nil
	}
	e.holdWhile(ctx, base)
	rows, err := e.rowsAt(ctx, base)
	if len(parts) > 0 {
		rows.Tail = e.writtenThrough(ctx, e.laidTogether(ctx, parts, base.Schema, base.Identities()), through)
	}
	return rows, base.Schema, err
}

// loggedRows is rows that were in the ingest log at a time, and later ones.
type loggedRows struct {
	driftline.Batches
	identities []string // of its columns
}

// loggedBy returns where the rows are that were in a view's ingest log at a time, when
// base was the newest snapshot (0: there was none). log is what is in it now.
func (e *Engine) loggedBy(ctx context.Context, view *driftline.FeatureView, log []logEntry, base driftline.SnapshotID, at time.Time, through uint64) (parts []loggedRows, err error) {
	var flushed uint64 // first sequence of the last entry that is in files
	added, err := e.offline.AddedAfter(ctx, viewTable(view.Name), base, at, func(s offline.Snapshot) (wanted, enough bool) {
		first, last, ok := flushedEntries(s)
		if !ok || first > through {
			return false, ok
		}
		flushed = last
		return true, last >= through
	})
	for _, s := range added {
		e.holdWhile(ctx, s)
		parts = append(parts, loggedRows{e.offline.Read(ctx, s, fieldNames(s.Schema)), s.Identities()})
	}
	var left []logEntry
	for _, entry := range log {
		if entry.first > flushed && entry.first <= through {
			left = append(left, entry)
		}
	}
	if len(left) > 0 {
		schema := view.StoredSchema()
		parts = append(parts, loggedRows{e.rowsOfEntries(ctx, view, left), identitiesOf(view, schema)})
	}
	return parts, err
}

// flushID names the flush of some log entries, by the first sequences of the first and
// the last of them.
func flushID(view driftline.ViewName, entries []uint64) string {
	return fmt.Sprintf("%s-%s-%d-%d", intentFlush, view, entries[0], entries[len(entries)-1])
}

// flushedEntries is what flushID was given; false if no flush made the snapshot.
func flushedEntries(s offline.Snapshot) (first, last uint64, ok bool) {
	parts := strings.Split(s.Summary[summaryIntent], "-") // a view's name has no dash
	if len(parts) != 4 || parts[0] != string(intentFlush) {
		return 0, 0, false
	}
	first, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	last, err = strconv.ParseUint(parts[3], 10, 64)
	return first, last, err == nil
}

// laidTogether yields the rows of all parts in one schema.
func (e *Engine) laidTogether(ctx context.Context, parts []loggedRows, schema *arrow.Schema, identities []string) driftline.Batches {
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, part := range parts {
			names := matchNames(identities, part.identities, fieldNames(part.Schema))
			for b, err := range e.reshaped(ctx, part.Batches, schema, names).All {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}}
}

// writtenThrough leaves out the rows whose write sequence is greater than through.
func (e *Engine) writtenThrough(ctx context.Context, rows driftline.Batches, through uint64) driftline.Batches {
	sequence := rows.Schema.FieldIndices(driftline.SequenceColumn)[0]
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			kept, err := e.rowsThrough(ctx, b, sequence, through)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(kept, nil)
			kept.Release()
			if !more {
				return
			}
		}
	}}
}

func (e *Engine) rowsThrough(ctx context.Context, b arrow.RecordBatch, sequence int, through uint64) (arrow.RecordBatch, error) {
	var rows []int64
	for row, written := range b.Column(sequence).(*array.Int64).Int64Values() {
		if uint64(written) <= through {
			rows = append(rows, int64(row))
		}
	}
	if len(rows) == int(b.NumRows()) {
		b.Retain()
		return b, nil
	}
	return takeRows(ctx, e.mem, b, rows)
}
