package query

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// Answer is a training set on its way.
type Answer struct {
	// Batches has one row per row of the spine, in its order: the spine's columns
	// as they came, then the features. It can be ranged over once.
	Batches driftline.Batches

	report driftline.HistoricalReport
}

// Report says what was in the answer. It is complete once the range over Batches
// has ended without an error. Pins and Dataset are the caller's to fill in.
func (a *Answer) Report() driftline.HistoricalReport { return a.report }

// Historical answers plan for the rows of spine. Nothing is read before the range
// over the answer begins; the range holds the whole spine in memory, as it came.
//
// ctx bounds the whole range: when it ends, the query is interrupted and the range
// fails with Deadline or Unavailable.
func (db *DB) Historical(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches) (*Answer, error) {
	if !spine.Schema.Equal(plan.spine.schema) {
		return nil, driftline.Errorf(driftline.Invalid, "the spine's columns are not those that the plan was made for")
	}
	a := &Answer{report: plan.emptyReport()}
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		if err := db.historical(ctx, plan, spine, a, yield); err != nil {
			yield(nil, err)
		}
	}
	a.Batches = driftline.Batches{
		Schema: plan.Schema,
		All:    coalesce(db.opts.Allocator, plan.Schema, rows),
	}
	return a, nil
}

func (p *HistoricalPlan) emptyReport() driftline.HistoricalReport {
	report := driftline.HistoricalReport{SQL: p.SQL}
	for _, v := range p.views {
		for i, f := range v.features {
			report.Columns = append(report.Columns, driftline.ColumnReport{Column: v.outputs[i], Type: f.Type.Arrow().String()})
		}
	}
	return report
}

// historical runs plan and yields its rows in pieces of any size. It returns an
// error that has not been yielded yet.
func (db *DB) historical(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches, a *Answer, yield func(arrow.RecordBatch, error) bool) error {
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s, err := db.newSession(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return s.historical(ctx, plan, spine, a, yield)
}

// historical runs plan in s, replacing the tables of a plan that ran there before.
func (s *session) historical(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches, a *Answer, yield func(arrow.RecordBatch, error) bool) error {
	held, err := s.loadSpine(ctx, plan, spine)
	defer func() { driftline.ReleaseAll(held) }()
	if err != nil || len(held) == 0 {
		return err
	}
	cursors := make([]*cursor, 0, len(plan.views))
	defer func() {
		for _, c := range cursors {
			c.release()
		}
	}()
	for i := range plan.views {
		c, err := s.startView(ctx, &plan.views[i])
		if err != nil {
			return err
		}
		cursors = append(cursors, c)
	}
	return zip(plan, held, cursors, a, yield)
}

// loadSpine creates and fills the table spine, and returns the spine's batches
// retained, without empty ones. The caller releases them, also after an error.
func (s *session) loadSpine(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches) (held []arrow.RecordBatch, err error) {
	loader := tableLoader{session: s, table: "spine", schema: plan.spine.tableSchema()}
	defer loader.drop()
	if err := loader.create(ctx); err != nil {
		return nil, err
	}
	var rows int64
	for batch, err := range spine.All {
		if err != nil {
			return held, err
		}
		if batch.NumRows() == 0 {
			continue
		}
		batch.Retain()
		held = append(held, batch)
		table, err := plan.spine.tableRows(s.mem, batch, rows)
		if err != nil {
			return held, err
		}
		if err := loader.add(ctx, table); err != nil {
			return held, err
		}
		rows += batch.NumRows()
	}
	return held, loader.flush(ctx)
}

// startView makes the view's rows readable under its table name and runs its SELECT.
func (s *session) startView(ctx context.Context, v *viewPlan) (*cursor, error) {
	if err := s.addRows(ctx, v.table, v.table+"_tail", v.source.Rows, v.source.View.StoredSchema(), true); err != nil {
		return nil, err
	}
	reader, err := s.query(ctx, v.sql)
	if err != nil {
		return nil, err
	}
	return &cursor{view: v, reader: reader}, nil
}

// cursor walks over the answer of one view.
type cursor struct {
	view   *viewPlan
	reader array.RecordReader
	batch  arrow.RecordBatch // the reader's; nil before the first
	offset int64             // of the next row in batch
}

func (c *cursor) release() { c.reader.Release() }

// remaining returns how many rows of the present batch are left, moving to the
// next batch if none is.
func (c *cursor) remaining() (int64, error) {
	for c.batch == nil || c.offset == c.batch.NumRows() {
		if !c.reader.Next() {
			if err := c.reader.Err(); err != nil {
				return 0, failure(context.Background(), err)
			}
			return 0, driftline.Errorf(driftline.Internal, "view %q answered fewer rows than the spine has", c.view.source.View.Name)
		}
		c.batch, c.offset = c.reader.RecordBatch(), 0
	}
	return c.batch.NumRows() - c.offset, nil
}

// zip lays the spine and the answers of the views side by side. All hold the same
// rows in the same order, cut into batches at different places.
func zip(plan *HistoricalPlan, spine []arrow.RecordBatch, cursors []*cursor, a *Answer, yield func(arrow.RecordBatch, error) bool) error {
	for _, batch := range spine {
		for from := int64(0); from < batch.NumRows(); {
			n := batch.NumRows() - from
			for _, c := range cursors {
				left, err := c.remaining()
				if err != nil {
					return err
				}
				n = min(n, left)
			}
			piece, err := zipPiece(plan, batch, from, n, cursors, a)
			if err != nil {
				return err
			}
			more := yield(piece, nil)
			piece.Release()
			if !more {
				return nil
			}
			from += n
		}
	}
	return nil
}

// zipPiece makes the next n rows of the answer, which lie in one batch of the spine
// and of each cursor, and counts them. The caller releases the result.
func zipPiece(plan *HistoricalPlan, spine arrow.RecordBatch, from, n int64, cursors []*cursor, a *Answer) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, plan.Schema.NumFields())
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	for _, column := range spine.Columns() {
		columns = append(columns, array.NewSlice(column, from, from+n))
	}
	reports := a.report.Columns
	for _, c := range cursors {
		if first := c.batch.Column(0).(*array.Int64).Value(int(c.offset)); first != a.report.Rows {
			return nil, driftline.Errorf(driftline.Internal, "view %q answered row %d where row %d was due", c.view.source.View.Name, first, a.report.Rows)
		}
		features := c.take(n)
		columns = append(columns, features...)
		c.count(features, reports[:len(features)], n)
		reports = reports[len(features):]
		c.offset += n
	}
	a.report.Rows += n
	return array.NewRecordBatch(plan.Schema, columns, n), nil
}

// take returns the feature columns of the next n rows; the caller releases them.
func (c *cursor) take(n int64) []arrow.Array {
	features := make([]arrow.Array, len(c.view.features))
	for i := range features {
		features[i] = array.NewSlice(c.batch.Column(1+i), c.offset, c.offset+n)
	}
	return features
}

// count adds the next n rows to the reports of their columns.
func (c *cursor) count(features []arrow.Array, reports []driftline.ColumnReport, n int64) {
	for i, f := range features {
		reports[i].Nulls += int64(f.NullN())
	}
	if !c.view.countsUnknown {
		return
	}
	unknown := c.batch.Column(1 + len(features)).(*array.Boolean)
	for row := range int(n) {
		if !unknown.Value(int(c.offset) + row) {
			continue
		}
		for i, f := range features {
			if f.IsValid(row) {
				reports[i].NotYetKnown++
			}
		}
	}
}
