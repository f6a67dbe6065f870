package engine

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
	"github.com/driftline/driftline/storage/offline"
	"github.com/driftline/driftline/storage/online"
)

// The history of a view is written by the same commit as its newest rows. What a view
// that had none, or a shorter one, is to keep comes from its files and its ingest log.

// historySlack is how much longer rows are kept than the view asks for, so that a read of
// a moment ago still finds all that it needs.
const historySlack = time.Hour

// historySince returns the event time from which a view's history has every row.
func (e *Engine) historySince(view *driftline.FeatureView) int64 {
	var age driftline.Duration
	if view.History != nil {
		age = view.History.MaxAge
	}
	for _, a := range view.Aggregations {
		for _, w := range a.Windows {
			age = max(age, w+a.Hop)
		}
	}
	return e.now().Add(-historySlack - time.Duration(age)).UnixMicro()
}

// keepsAlways reports whether a view keeps rows of any age.
func keepsAlways(view *driftline.FeatureView) bool {
	return view.History != nil && view.History.Last > 0
}

// mendHistory makes the history of a view what its definition asks for: it builds one that
// is not there or does not go back far enough, and removes one that is not wanted.
func (e *Engine) mendHistory(ctx context.Context, name driftline.ViewName) error {
	view, err := e.registry.View(name)
	if err != nil || view.Source != nil || e.checkHealthy(name) != nil {
		return err
	}
	floor, err := e.online.HistoryFloor(view)
	if err != nil {
		return err
	}
	switch {
	case view.KeepsHistory() && floor > e.historySince(view):
		defer e.tables.lock(viewTable(name).String())()
		return e.buildHistory(ctx, view, e.logProgress(name))
	case !view.KeepsHistory() && floor != online.Incomplete:
		return e.online.BeginHistory(name)
	}
	return nil
}

// buildHistory makes the history of a view anew, by a caller who holds the table's lock.
// Rows that are written meanwhile are in it, and in the log, too. count is called with how
// many rows were looked at.
func (e *Engine) buildHistory(ctx context.Context, view *driftline.FeatureView, count func(rows int64)) error {
	if err := e.online.BeginHistory(view.Name); err != nil {
		return err
	}
	if err := e.reached(stepHistoryRemoved); err != nil {
		return err
	}
	snapshot, exists, err := e.offline.Current(ctx, viewTable(view.Name))
	if err != nil {
		return err
	}
	e.cold.add(view.Name)
	m := historyMerge{engine: e, view: view, since: e.historySince(view)}
	if exists {
		if err := m.add(e.served(ctx, view, counted(e.readAs(ctx, snapshot, view, view.StoredSchema()), count))); err != nil {
			return err
		}
	}
	entries, err := e.storedEntries(view.Name)
	if err != nil {
		return err
	}
	if err := m.add(e.served(ctx, view, counted(e.rowsOfEntries(ctx, view, entries), count))); err != nil {
		return err
	}
	if m.skipped {
		return e.online.EndHistory(view, m.since)
	}
	return e.online.EndHistory(view, online.Complete)
}

// addHistory adds the rows of files that are not held back to a view's history, if it
// keeps one.
func (e *Engine) addHistory(ctx context.Context, view *driftline.FeatureView, files offline.Snapshot) error {
	if !view.KeepsHistory() || len(files.Files) == 0 {
		return nil
	}
	defer e.cold.add(view.Name)
	return e.extendHistory(view, e.served(ctx, view, e.readAs(ctx, files, view, view.StoredSchema())))
}

// addLogToHistory adds the rows of log entries to a view's history, if it keeps one.
func (e *Engine) addLogToHistory(ctx context.Context, view *driftline.FeatureView, entries []logEntry) error {
	if !view.KeepsHistory() {
		return nil
	}
	return e.extendHistory(view, e.served(ctx, view, e.rowsOfEntries(ctx, view, entries)))
}

func (e *Engine) extendHistory(view *driftline.FeatureView, rows driftline.Batches) error {
	m := historyMerge{engine: e, view: view, since: e.historySince(view)}
	if err := m.add(rows); err != nil || !m.skipped {
		return err
	}
	return e.online.RaiseHistory(view.Name, m.since)
}

// historyMerge adds rows to the history of a view, but for those that are too old.
type historyMerge struct {
	engine  *Engine
	view    *driftline.FeatureView
	since   int64
	skipped bool // whether there were any
}

// add adds rows of the view's stored schema.
func (m *historyMerge) add(rows driftline.Batches) error {
	since := m.since
	if keepsAlways(m.view) {
		since = online.Complete
	}
	return m.engine.mergeChunks(rows, func(b *kv.Batch, part arrow.RecordBatch, sequences []int64) error {
		skipped, err := m.engine.online.PutHistory(b, m.view, part, sequences, since)
		m.skipped = m.skipped || skipped
		return err
	})
}

// expireHistories removes the rows that no history has to keep any more.
func (e *Engine) expireHistories(ctx context.Context) error {
	for _, view := range e.registry.Views() {
		if !view.KeepsHistory() || e.checkHealthy(view.Name) != nil {
			continue
		}
		found, err := e.online.ExpireHistory(ctx, &view, e.historySince(&view), e.now().UnixMicro())
		if err != nil {
			return err
		}
		if found > 0 {
			e.log.Info("rows of a history expired", "view", view.Name, "rows", found)
		}
	}
	return nil
}

// defaultHistory is how many rows of each entity History answers if it is not asked.
const defaultHistory = 10

// History returns the newest rows that a view keeps online of each of the entities, newest
// first: the entities' columns, the view's times and its features. It is
// FailedPrecondition for a view that keeps only the newest row of all. Rows outside of what
// the view asks to be kept may be there or not.
func (e *Engine) History(ctx context.Context, req driftline.HistoryRequest, entities arrow.RecordBatch) (arrow.RecordBatch, error) {
	view, err := e.historyView(req)
	if err != nil {
		return nil, err
	}
	if len(req.Features) == 0 {
		req.Features = view.FeatureNames()
	}
	if req.Last == 0 {
		req.Last = defaultHistory
	}
	if req.At.IsZero() {
		req.At = e.now()
	}
	keys, err := e.keyColumns(ctx, &onlineGroup{joinKeys: view.JoinKeys, columns: view.KeyNames(), view: view.Name}, entities)
	if err != nil {
		return nil, err
	}
	defer releaseArrays(keys)
	found, err := e.online.ReadHistory(ctx, online.HistoryLookup{
		View: view, Keys: keys, Rows: int(entities.NumRows()), Features: req.Features, Last: req.Last, At: req.At.UnixMicro(),
	})
	if err != nil {
		return nil, err
	}
	defer found.Release()
	return e.historyRows(ctx, view, req.Features, entities, found)
}

// historyView returns the view of a request that can be answered.
func (e *Engine) historyView(req driftline.HistoryRequest) (*driftline.FeatureView, error) {
	view, err := e.registry.View(e.registry.Meant(req.View))
	if err != nil {
		return nil, err
	}
	if !view.KeepsHistory() {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "view %q keeps only the newest row of an entity online", view.Name).
			WithRef(driftline.ViewRef(view.Name)).
			WithHint("give the view a history, for example {last: 20}, or read features.%s by SQL", view.Name)
	}
	if req.Last < 0 || req.Last > driftline.MostHistory {
		return nil, driftline.Errorf(driftline.Invalid, "the last %d rows are asked for, want 1 to %d", req.Last, driftline.MostHistory)
	}
	return view, e.checkHealthy(view.Name)
}

// historyRows puts the columns of an answer together.
func (e *Engine) historyRows(ctx context.Context, view *driftline.FeatureView, features []string, entities arrow.RecordBatch, found *online.HistoryResult) (arrow.RecordBatch, error) {
	taken, err := takeRows(ctx, e.mem, entities, found.Entity)
	if err != nil {
		return nil, err
	}
	defer taken.Release()
	fields, columns := taken.Schema().Fields(), taken.Columns()[:taken.NumCols():taken.NumCols()]
	add := func(name string, column arrow.Array) {
		fields = append(fields, arrow.Field{Name: name, Type: column.DataType(), Nullable: true})
		columns = append(columns, column)
	}
	events := e.timeColumn(found.Events)
	defer events.Release()
	add(view.EventTimestamp, events)
	if view.CreatedTimestamp != "" {
		created := e.timeColumn(found.Created)
		defer created.Release()
		add(view.CreatedTimestamp, created)
	}
	for i, name := range features {
		add(name, found.Columns[i])
	}
	if err := checkColumnsOnce(fields); err != nil {
		return nil, err
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(len(found.Entity))), nil
}

func checkColumnsOnce(fields []arrow.Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Name] {
			return driftline.Errorf(driftline.Invalid, "column %q would be there twice", f.Name).
				WithHint("send the join keys only, and name each feature once")
		}
		seen[f.Name] = true
	}
	return nil
}

// timeColumn makes a column of times; [online.NoTime] is null.
func (e *Engine) timeColumn(times []int64) arrow.Array {
	b := array.NewTimestampBuilder(e.mem, driftline.Time)
	defer b.Release()
	b.Reserve(len(times))
	for _, t := range times {
		if t == online.NoTime {
			b.AppendNull()
		} else {
			b.Append(arrow.Timestamp(t))
		}
	}
	return b.NewArray()
}
