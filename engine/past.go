package engine

import (
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/online"
)

// pastRows are the offline answers for the rows whose online row is of a later time, in
// the order in which they were asked for.
type pastRows struct {
	columns    []arrow.Array
	events     *array.Timestamp // of the row chosen, before the TTL; null if there is none
	expired    int64            // event times before it are outside the view's TTL
	remembered int64            // and those before this are as if there were no row
}

func (p *pastRows) release() {
	releaseArrays(p.columns)
	p.events.Release()
}

// row returns the event time of a row and what the TTL says of it.
func (p *pastRows) row(i int) (event int64, state rowState) {
	if p.events.IsNull(i) {
		return online.NoTime, rowAbsent
	}
	switch event = int64(p.events.Value(i)); {
	case event < p.remembered:
		return online.NoTime, rowAbsent
	case event < p.expired:
		return event, rowExpired
	}
	return event, rowPresent
}

// lookOffline joins the given rows of the request point in time, for one projection.
func (e *Engine) lookOffline(ctx context.Context, r registry.Resolved, keys []arrow.Array, rows []int64, at int64) (*pastRows, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	spine, err := e.pastSpine(ctx, r.View, keys, rows, at)
	if err != nil {
		return nil, err
	}
	defer spine.Release()
	past := &pastRows{expired: math.MinInt64, remembered: math.MinInt64}
	if r.View.TTL > 0 {
		past.expired, past.remembered = at-r.View.TTL.Microseconds(), at-rememberedFor(r.View.TTL)
	}
	if past.columns, past.events, err = e.joinPast(ctx, r, spine); err != nil {
		return nil, err
	}
	return past, nil
}

// pastSpine makes the spine of a point-in-time join: the keys of the given rows, all at one time.
func (e *Engine) pastSpine(ctx context.Context, view *driftline.FeatureView, keys []arrow.Array, rows []int64, at int64) (arrow.RecordBatch, error) {
	var fields []arrow.Field
	var columns []arrow.Array
	defer func() { releaseArrays(columns) }()
	for i, k := range view.JoinKeys {
		taken, err := takeArray(ctx, e.mem, keys[i], rows)
		if err != nil {
			return nil, err
		}
		fields = append(fields, arrow.Field{Name: k.Name, Type: k.Type.Arrow(), Nullable: true})
		columns = append(columns, taken)
	}
	times := array.NewTimestampBuilder(e.mem, driftline.Time)
	defer times.Release()
	for range rows {
		times.Append(arrow.Timestamp(at))
	}
	fields = append(fields, arrow.Field{Name: pastTime, Type: driftline.Time, Nullable: true})
	columns = append(columns, times.NewArray())
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(len(rows))), nil
}

// pastTime is the spine's time column. Column names of views begin with a letter, so it is free.
const pastTime = "__at"

// joinPast runs the join of one projection and returns its feature columns and the event
// time of the row that each value came from. The TTL is left to the caller, who needs to
// tell a value that is too old from one that never was.
func (e *Engine) joinPast(ctx context.Context, r registry.Resolved, spine arrow.RecordBatch) ([]arrow.Array, *array.Timestamp, error) {
	rows, _, err := e.rowsOf(ctx, r.View)
	if err != nil {
		return nil, nil, err
	}
	view := *r.View
	view.TTL = 0
	projection := driftline.Projection{View: view.Name, Features: r.Projection.Features}
	source := query.Source{View: &view, Projection: projection, Rows: rows, EventTime: true}
	req := driftline.HistoricalRequest{EventTimestamp: pastTime}
	req.FullFeatureNames = true
	plan, err := query.PlanHistorical(req, spine.Schema(), []query.Source{source})
	if err != nil {
		return nil, nil, err
	}
	answer, err := e.query.Historical(ctx, plan, driftline.BatchesOf(spine.Schema(), spine))
	if err != nil {
		return nil, nil, err
	}
	return lastColumns(e.mem, answer.Batches, len(projection.Features)+1)
}

// lastColumns collects the last n columns of a stream, the very last one being times.
func lastColumns(mem memory.Allocator, rows driftline.Batches, n int) ([]arrow.Array, *array.Timestamp, error) {
	batches, _, err := rows.Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return nil, nil, err
	}
	columns := make([]arrow.Array, 0, n)
	for i := rows.Schema.NumFields() - n; i < rows.Schema.NumFields(); i++ {
		whole, err := wholeColumn(mem, batches, i)
		if err != nil {
			releaseArrays(columns)
			return nil, nil, err
		}
		columns = append(columns, whole)
	}
	return columns[:n-1], columns[n-1].(*array.Timestamp), nil
}

// wholeColumn returns column i of all batches, of which there is at least one, as one
// array. The caller releases it.
func wholeColumn(mem memory.Allocator, batches []arrow.RecordBatch, i int) (arrow.Array, error) {
	parts := make([]arrow.Array, len(batches))
	for j, b := range batches {
		parts[j] = b.Column(i)
	}
	return array.Concatenate(parts, mem)
}

// takeArray returns the values of a at the given rows. The caller releases it.
func takeArray(ctx context.Context, mem memory.Allocator, a arrow.Array, rows []int64) (arrow.Array, error) {
	b := array.NewInt64Builder(mem)
	defer b.Release()
	b.AppendValues(rows, nil)
	indices := b.NewArray()
	defer indices.Release()
	return compute.TakeArray(compute.WithAllocator(ctx, mem), a, indices)
}

// takeRows returns the given rows of b. The caller releases it.
func takeRows(ctx context.Context, mem memory.Allocator, b arrow.RecordBatch, rows []int64) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, b.NumCols())
	defer func() { releaseArrays(columns) }()
	for _, col := range b.Columns() {
		taken, err := takeArray(ctx, mem, col, rows)
		if err != nil {
			return nil, err
		}
		columns = append(columns, taken)
	}
	return array.NewRecordBatch(b.Schema(), columns, int64(len(rows))), nil
}
