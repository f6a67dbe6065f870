package engine

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/offline"
)

// rowsOf returns all acknowledged rows of a view, those in files and those that are in
// the ingest log only, and the pin that names them. It writes nothing.
func (e *Engine) rowsOf(ctx context.Context, view *driftline.FeatureView) (query.Rows, driftline.Pin, error) {
	if view.Source != nil {
		return e.sourceRows(ctx, view)
	}
	if err := e.checkHealthy(view.Name); err != nil {
		return query.Rows{}, driftline.Pin{}, err
	}
	now := e.heads.of(view.Name)
	rows, pin := query.Rows{}, driftline.Pin{View: view.Name}
	if now.exists {
		e.holdWhile(ctx, now.snapshot)
		var err error
		if rows, err = e.rowsIn(ctx, view, now.snapshot); err != nil {
			return query.Rows{}, driftline.Pin{}, err
		}
		pin.Snapshot = now.snapshot.ID
	}
	if len(now.log) > 0 {
		rows.Tail = e.rowsOfEntries(ctx, view, now.log)
		pin.Through = now.log[len(now.log)-1].last
	}
	return rows, pin, nil
}

// holdWhile keeps the files of a snapshot until the request of ctx is over. A ctx that
// never ends holds nothing: its reader relies on how long snapshots are kept.
func (e *Engine) holdWhile(ctx context.Context, snapshot offline.Snapshot) {
	if ctx.Done() != nil {
		context.AfterFunc(ctx, e.offline.Hold(snapshot))
	}
}

// rowsIn returns the rows of one snapshot of a view, as rows of that view.
func (e *Engine) rowsIn(ctx context.Context, view *driftline.FeatureView, snapshot offline.Snapshot) (query.Rows, error) {
	rows, err := e.rowsAt(ctx, snapshot)
	rows.Columns = snapshot.ColumnsOf(shapeOf(view))
	return rows, err
}

// rowsAt returns the rows of one snapshot of a view, its files verified, with the columns
// that the view had then.
func (e *Engine) rowsAt(ctx context.Context, snapshot offline.Snapshot) (query.Rows, error) {
	files, err := e.verifiedPaths(ctx, snapshot.Files)
	return query.Rows{Files: files, Columns: snapshot.Columns(), Sorted: true}, err
}

// readView yields all acknowledged rows of a view, without their sequences: those in
// files, and then those that are in the ingest log only.
func (e *Engine) readView(ctx context.Context, view *driftline.FeatureView) driftline.Batches {
	now, schema := e.heads.of(view.Name), view.Schema()
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		if now.exists {
			for b, err := range e.readAs(ctx, now.snapshot, view, schema).All {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
		for b, err := range e.projected(e.rowsOfEntries(ctx, view, now.log), schema).All {
			if !yield(b, err) || err != nil {
				return
			}
		}
	}}
}
