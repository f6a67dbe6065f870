package engine

import (
	"context"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/storage/offline"
)

// rowsOf returns all acknowledged rows of a view, and the pin that names them.
func (e *Engine) rowsOf(ctx context.Context, view *driftline.FeatureView) (query.Rows, driftline.Pin, error) {
	if view.Source != nil {
		return e.sourceRows(ctx, view)
	}
	snapshot, ok, err := e.pin(ctx, view)
	if err != nil || !ok {
		return query.Rows{}, driftline.Pin{View: view.Name}, err
	}
	rows, err := e.rowsAt(ctx, snapshot)
	return rows, driftline.Pin{View: view.Name, Snapshot: snapshot.ID}, err
}

// rowsAt returns the rows of one snapshot of a view, its files verified.
func (e *Engine) rowsAt(ctx context.Context, snapshot offline.Snapshot) (query.Rows, error) {
	files, err := e.verifiedPaths(ctx, snapshot.Files)
	return query.Rows{Files: files, Columns: snapshot.Columns(), Sorted: true}, err
}
