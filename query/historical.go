package query

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query/internal/merge"
	"github.com/driftline/driftline/storage/columns"
)

// Answer is a training set on its way.
type Answer struct {
	// Batches has one row per row of the spine, in its order: the spine's columns
	// as they came, then the features. It can be ranged over once.
	Batches driftline.Batches

	report driftline.HistoricalReport // its columns are those of the views, one after the other
	order  []int
}

// Report says what was in the answer. It is complete once the range over Batches
// has ended without an error. Pins and Dataset are the caller's to fill in.
func (a *Answer) Report() driftline.HistoricalReport {
	report := a.report
	report.Columns = make([]driftline.ColumnReport, len(a.order))
	for i, at := range a.order {
		report.Columns[i] = a.report.Columns[at]
	}
	return report
}

// Historical answers plan for the rows of spine. Nothing is read before the range
// over the answer begins.
//
// The spine is answered in chunks, so that memory is bounded however long it is: a chunk
// is read, each view is joined to it, and its rows are yielded before the next chunk is
// read. The rows of a view that are sorted are merged with the chunk (see package merge);
// for those that are not, DuckDB runs the view's SQL over the chunk.
//
// ctx bounds the whole range: when it ends, the join is interrupted and the range
// fails with Deadline or Unavailable.
func (db *DB) Historical(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches) (*Answer, error) {
	if !spine.Schema.Equal(plan.spine.schema) {
		return nil, driftline.Errorf(driftline.Invalid, "the spine's columns are not those that the plan was made for")
	}
	a := &Answer{report: plan.emptyReport(), order: plan.order}
	rows := func(yield func(arrow.RecordBatch, error) bool) {
		if err := db.historical(ctx, plan, spine, a, yield); err != nil {
			yield(nil, err)
		}
	}
	a.Batches = driftline.Batches{Schema: plan.Schema, All: rows}
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

// historical yields the rows of the answer. It returns an error that has not been
// yielded yet.
func (db *DB) historical(ctx context.Context, plan *HistoricalPlan, spine driftline.Batches, a *Answer, yield func(arrow.RecordBatch, error) bool) (err error) {
	ctx, end, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	j := joiner{db: db, plan: plan, answer: a}
	defer func() { err = errors.Join(err, j.close()) }()
	if err := j.open(ctx); err != nil {
		return err
	}
	return j.run(ctx, spine, yield)
}

// joinPath is how training sets are joined.
type joinPath int

const (
	bestPath   joinPath = iota // as suits the rows
	onlyDuckDB                 // by DuckDB even where rows could be merged
	unmapped                   // merged as few rows of a large table are
)

// joiner answers one plan.
type joiner struct {
	db     *DB
	plan   *HistoricalPlan
	answer *Answer

	session  *session // nil if no view needs DuckDB
	borrowed bool     // session is the caller's to close

	merged   []int // the views that are merged, and how
	windowed []int // those whose aggregations are asked for
	join     *merge.Join
	queried  []int // the views that DuckDB answers
	opened   map[string]*columns.File

	bytes   int64 // of memory that were admitted
	release func()
}

// open decides how each view is answered.
func (j *joiner) open(ctx context.Context) error {
	views, rows, err := j.mergeable()
	if err != nil {
		return err
	}
	if len(j.merged)+len(j.windowed) > 0 {
		if j.join, err = merge.New(j.db.opts.Allocator, j.db.opts.Threads, views, rows); err != nil {
			return err
		}
	}
	if j.db.path == unmapped && j.join != nil {
		j.join.Unmap()
	}
	if err := j.openWindows(); err != nil {
		return err
	}
	if len(j.queried) == 0 {
		return nil
	}
	if err := j.admit(ctx, j.db.opts.requestBytes()); err != nil {
		return err
	}
	if j.session == nil {
		if j.session, err = j.db.newSession(ctx); err != nil {
			return err
		}
	}
	for _, i := range j.queried {
		v := &j.plan.views[i]
		if err := j.session.addRows(ctx, v.table, v.table+"_tail", v.source.Rows, v.source.View.StoredSchema(), true); err != nil {
			return err
		}
	}
	return nil
}

// mergeable returns the views whose rows can be merged, with their files opened, and
// leaves the others to DuckDB and to openWindows.
func (j *joiner) mergeable() (views []*merge.View, rows []merge.Rows, err error) {
	for i := range j.plan.views {
		v := &j.plan.views[i]
		if v.windows != nil {
			j.windowed = append(j.windowed, i)
			continue
		}
		if j.db.path == onlyDuckDB || !v.source.Rows.inOrder() {
			j.queried = append(j.queried, i)
			continue
		}
		of, err := j.rowsOf(v)
		if err != nil {
			return nil, nil, err
		}
		view := v.merging()
		if !merge.Understands(view, of.Files) {
			j.queried = append(j.queried, i)
			continue
		}
		j.merged, views, rows = append(j.merged, i), append(views, view), append(rows, of)
	}
	return views, rows, nil
}

// rowsOf opens the files of a view. A view may be used more than once.
func (j *joiner) rowsOf(v *viewPlan) (merge.Rows, error) {
	of := merge.Rows{Tail: v.source.Rows.Tail}
	var bytes int64
	for _, path := range v.source.Rows.Files {
		if j.opened[path] == nil {
			file, err := j.db.opts.Files.Open(path)
			if err != nil {
				return of, err
			}
			if j.opened == nil {
				j.opened = map[string]*columns.File{}
			}
			j.opened[path] = file
		}
		of.Files = append(of.Files, j.opened[path])
		bytes += j.opened[path].Size()
	}
	if bytes > columns.MostMapped {
		j.db.opts.Files.Thin(v.source.Rows.Files)
	}
	return of, nil
}

func (j *joiner) close() error {
	for _, f := range j.opened {
		f.Close()
	}
	if j.release != nil {
		j.release()
	}
	if j.session == nil || j.borrowed {
		return nil
	}
	return j.session.close()
}

// run answers the spine chunk by chunk.
func (j *joiner) run(ctx context.Context, spine driftline.Batches, yield func(arrow.RecordBatch, error) bool) error {
	if len(j.queried) > 0 {
		// What DuckDB hands out is cut at places of its own.
		return j.collected(yield, func(yield func(arrow.RecordBatch, error) bool) error { return j.chunks(ctx, spine, yield) })
	}
	return j.chunks(ctx, spine, yield)
}

// collected runs chunks and yields its batches put together to a good size.
func (j *joiner) collected(yield func(arrow.RecordBatch, error) bool, chunks func(func(arrow.RecordBatch, error) bool) error) error {
	var failed error
	rows := coalesce(j.db.opts.Allocator, j.plan.Schema, batchBytes, func(yield func(arrow.RecordBatch, error) bool) { failed = chunks(yield) })
	for batch, err := range rows {
		if !yield(batch, err) {
			return nil
		}
	}
	return failed
}

func (j *joiner) chunks(ctx context.Context, spine driftline.Batches, yield func(arrow.RecordBatch, error) bool) error {
	c := chunker{mem: j.db.opts.Allocator, schema: spine.Schema, limit: j.limits()}
	if err := j.admit(ctx, c.limit.firstBytes); err != nil {
		return err
	}
	for chunk, err := range c.chunks(spine.All) {
		if err != nil {
			return err
		}
		if chunk.before > 0 {
			if err := j.admit(ctx, c.limit.need(chunk)); err != nil {
				return err
			}
		}
		if more, err := j.answerChunk(ctx, chunk, yield); err != nil || !more {
			return err
		}
	}
	return nil
}

// admit waits for so much memory for the next chunk. What was admitted for the one before
// is given back first, so that requests take turns, and none holds memory while it waits
// for more; if all did, none might ever get it. Where DuckDB takes part it has read rows of
// the views, which stay, and so does the memory.
func (j *joiner) admit(ctx context.Context, bytes int64) (err error) {
	if j.bytes >= bytes && len(j.queried) > 0 {
		return nil
	}
	if j.release != nil {
		j.release()
	}
	j.bytes, j.release = 0, nil
	if j.release, err = j.db.admit(ctx, bytes); err == nil {
		j.bytes = bytes
	}
	return err
}

// The first chunk is small, so that the first rows come soon and a short spine takes
// little memory from others.
const (
	firstChunkRows  = 64 << 10
	firstChunkShare = 16 // of the memory of a request: 1 in so many
	chunkGrowth     = 256
	mostChunkRows   = 16 << 20

	// largeChunkShare is how much of all memory a later chunk may take: 1 in so many. Each
	// chunk goes through all of the table, so that twice the share of a request saves a long
	// spine half of the work. It is for as long as the chunk takes, and others have the rest.
	largeChunkShare = 2
)

// limits says how many rows the first chunk and all later ones have.
func (j *joiner) limits() chunkLimits {
	limit := chunkLimits{
		first: firstChunkRows, most: mostChunkRows,
		firstBytes: j.db.opts.requestBytes() / firstChunkShare,
		bytes:      j.db.opts.MemoryBytes / largeChunkShare,
		perRow:     64, // for the index
	}
	for _, v := range j.plan.views {
		limit.perRow += 24 // for the rows found
		for _, f := range v.features {
			limit.perRow += valueBytes(f.Type)
		}
	}
	if len(j.queried) > 0 { // DuckDB reads a view as a whole for each chunk
		limit.bytes = j.db.opts.requestBytes()
		limit.first, limit.firstBytes = limit.most, limit.bytes
	}
	return limit
}

// valueBytes is about what a value of an answer takes.
func valueBytes(t driftline.Type) int64 {
	switch t {
	case driftline.String, driftline.Bytes:
		return 64
	case driftline.Bool:
		return 2
	}
	if t.Nested() {
		return 128
	}
	return 9
}

// answerChunk joins all views to a chunk and yields its rows. It returns whether yield
// wants more.
func (j *joiner) answerChunk(ctx context.Context, chunk *chunk, yield func(arrow.RecordBatch, error) bool) (more bool, err error) {
	cursors := make([]cursor, len(j.plan.views))
	defer func() {
		for _, c := range cursors {
			if c != nil {
				c.release()
			}
		}
	}()
	spine, err := j.plan.spine.read(j.db.opts.Allocator, chunk)
	if err != nil {
		return false, err
	}
	defer spine.release()
	if err := j.startMerged(ctx, spine, cursors); err != nil {
		return false, err
	}
	if err := j.startWindows(ctx, spine, cursors); err != nil {
		return false, err
	}
	if err := j.startQueried(ctx, spine, cursors); err != nil {
		return false, err
	}
	z := zipper{plan: j.plan, answer: j.answer, cursors: cursors, yield: yield}
	return z.chunk(chunk)
}

// startMerged merges the views that can be, with the chunk.
func (j *joiner) startMerged(ctx context.Context, spine *spineChunk, cursors []cursor) error {
	if len(j.merged) == 0 {
		return nil
	}
	keys := make([][]int, len(j.merged))
	for k, i := range j.merged {
		keys[k] = j.plan.views[i].keyColumns
	}
	answers, err := j.join.Run(ctx, spine.merging(), keys)
	if err != nil {
		return failure(ctx, err)
	}
	for k, i := range j.merged {
		cursors[i] = &mergeCursor{view: &j.plan.views[i], answer: answers[k]}
	}
	return nil
}

// startQueried runs the SQL of the other views over the chunk.
func (j *joiner) startQueried(ctx context.Context, spine *spineChunk, cursors []cursor) error {
	if len(j.queried) == 0 {
		return nil
	}
	if err := j.session.loadSpine(ctx, j.plan, spine); err != nil {
		return err
	}
	for _, i := range j.queried {
		v := &j.plan.views[i]
		reader, err := j.session.query(ctx, v.sql)
		if err != nil {
			return err
		}
		cursors[i] = &queryCursor{ctx: ctx, view: v, reader: reader}
	}
	return nil
}

// loadSpine fills the table spine with a chunk.
func (s *session) loadSpine(ctx context.Context, plan *HistoricalPlan, spine *spineChunk) error {
	loader := tableLoader{session: s, table: "spine", schema: plan.spine.tableSchema()}
	defer loader.drop()
	if err := loader.create(ctx); err != nil {
		return err
	}
	for _, rows := range spine.tables {
		rows.Retain()
		if err := loader.add(ctx, rows); err != nil {
			return err
		}
	}
	return loader.flush(ctx)
}
