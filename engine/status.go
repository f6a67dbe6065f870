package engine

import (
	"context"
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// ViewStatus is what a view's page and the metrics show.
type ViewStatus struct {
	Rows      int64                // written and kept, superseded ones included
	Files     int                  // of the newest snapshot
	Bytes     int64                // of those files
	Snapshot  driftline.SnapshotID // 0 if the view has none
	Written   time.Time            // when the snapshot was committed; zero if there is none
	Damaged   error                // why the view is not served; nil if it is
	Unflushed int                  // rows that are in the ingest log only

	// Rows that one store has and the other does not, because their writes said so.
	Held       int64 // at most: written offline only, and not materialized or in part
	OnlineOnly int64 // written online only, so far; see [Engine.OnlineOnly]
}

// ViewStatus describes the stored rows of a view. It does not flush.
func (e *Engine) ViewStatus(_ context.Context, name driftline.ViewName) (ViewStatus, error) {
	view, err := e.registry.View(name)
	if err != nil {
		return ViewStatus{}, err
	}
	now := e.heads.of(view.Name)
	snapshot, status := now.snapshot, ViewStatus{Unflushed: now.rows, Damaged: e.checkHealthy(name)}
	status.Held = now.heldRows()
	status.OnlineOnly = e.registry.Ingests(name).OnlineOnly
	if !now.exists {
		return status, nil
	}
	status.Rows, status.Files, status.Snapshot, status.Written = snapshot.Rows, len(snapshot.Files), snapshot.ID, snapshot.Time
	for _, f := range snapshot.Files {
		status.Bytes += f.Bytes
	}
	return status, nil
}

// OnlineOnly yields the join keys of the entities whose newest online row was written
// online only: what is served of them is in no training set. It reads all rows of the view.
func (e *Engine) OnlineOnly(name driftline.ViewName) iter.Seq2[arrow.RecordBatch, error] {
	view, err := e.registry.View(name)
	if err != nil {
		return func(yield func(arrow.RecordBatch, error) bool) { yield(nil, err) }
	}
	return e.online.OnlineOnly(e.mem, view)
}

// RowsIngested counts the rows written since the engine was opened.
func (e *Engine) RowsIngested() int64 { return e.ingested.Load() }

func (e *Engine) observeIngest(r driftline.IngestResult) { e.ingested.Add(r.Rows) }
