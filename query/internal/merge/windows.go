package merge

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/aggregate"
	"github.com/driftline/driftline/expression"
	"github.com/driftline/driftline/storage/columns"
)

// Windows is one use of the aggregations of a view.
type Windows struct {
	// View says where the rows are and which rules hold. Its Features are the columns of
	// the query's plan, then those that only filters read; Types are theirs.
	View  *View
	Types []driftline.Type

	Query   *aggregate.Query
	Filters []*expression.Expression // of the plan, over Features

	// Memory admits events of one key beyond smallTimeline.
	Memory func(bytes int64) (release func(), err error)
}

// smallTimeline is the memory of a timeline that nobody is asked for.
const smallTimeline = 1 << 20

// AddWindows makes ready to compute aggregations over rows, as [New] does for joins.
func (j *Join) AddWindows(w *Windows, rows Rows) error {
	return columns.Guard(func() error {
		if w.View.textKeys() {
			t, err := newTable[string](w.View, rows)
			j.windows = append(j.windows, &windowTable[string]{table: t, Windows: w, mem: j.mem})
			return err
		}
		t, err := newTable[uint64](w.View, rows)
		j.windows = append(j.windows, &windowTable[uint64]{table: t, Windows: w, mem: j.mem})
		return err
	})
}

// RunWindows computes aggregations at the times of a spine. keys are as in [Join.Run], in
// the order of AddWindows.
func (j *Join) RunWindows(ctx context.Context, s *Spine, keys [][]int) ([]*WindowAnswer, error) {
	s.read()
	answers := make([]*WindowAnswer, len(j.windows))
	var tasks []task
	for i, w := range j.windows {
		answers[i] = w.answer(s)
		tasks = append(tasks, w.tasks(s, keys[i], answers[i], j.threads)...)
	}
	return answers, j.do(ctx, tasks)
}

// windowable is a windowTable of either kind of key.
type windowable interface {
	answer(s *Spine) *WindowAnswer
	tasks(s *Spine, keys []int, a *WindowAnswer, threads int) []task
}

// windowTable is the rows of a view, ready to be summarised.
type windowTable[K key] struct {
	*Windows
	table *table[K]
	mem   memory.Allocator
}

// windowTaskRows is the least number of rows of a spine that is worth a task of its own.
const windowTaskRows = 512

func (t *windowTable[K]) tasks(s *Spine, keys []int, a *WindowAnswer, threads int) []task {
	index := indexOf[K](s, t.View, keys, mappingOf(t.View, keys), threads)
	parts := min(max(8*threads, int(t.table.bytes/taskBytes)), s.Rows/windowTaskRows+1)
	for _, c := range a.columns {
		c.texts = make([][]byte, parts)
	}
	tasks := make([]task, 0, parts)
	for part := range parts {
		tasks = append(tasks, func(ctx context.Context, _ *scratch) error {
			x := index()
			from, to := int32(len(x.rows)*part/parts), int32(len(x.rows)*(part+1)/parts)
			if from == to {
				return nil
			}
			w := newWindowWorker(t, x, a, part)
			defer w.release()
			if err := w.summarise(ctx, from, to); err != nil {
				return err
			}
			w.forget(from, to-1)
			return nil
		})
	}
	return tasks
}

// windowWorker computes the aggregations for a stretch of an index. It goes from key to
// key, brings the rows of one into memory, from all segments that have some, and asks a
// timeline of them at each of the key's times.
type windowWorker[K key] struct {
	*worker[K]
	windows *windowTable[K]
	answer  *WindowAnswer
	part    int

	timeline *aggregate.Timeline
	held     int64    // bytes that it may have
	releases []func() // of what was admitted for it
	values   []aggregate.Value
	unknown  []bool

	sources []windowSource // by source
	event   aggregate.Event
	chunk   windowChunk
}

// windowSource reads the columns of one segment of a source.
type windowSource struct {
	segment                  int32 // -1 for none yet
	event, created, sequence column
	features                 []column
}

// keyRun is a run of rows of a segment that have a key of the index.
type keyRun struct {
	key      int
	segment  int32
	from, to int32
}

func newWindowWorker[K key](t *windowTable[K], x *index[K], a *WindowAnswer, part int) *windowWorker[K] {
	w := &windowWorker[K]{worker: newWorker(t.table, x, false), windows: t, answer: a, part: part}
	w.timeline, w.held = t.Query.NewTimeline(t.View.KnownAt), smallTimeline
	w.values, w.unknown = make([]aggregate.Value, len(t.Query.Features)), make([]bool, len(t.Query.Features))
	w.sources = make([]windowSource, t.table.sources)
	for i := range w.sources {
		w.sources[i] = windowSource{segment: -1, features: make([]column, len(t.View.Features))}
	}
	w.event.Values = make([]aggregate.Value, len(t.Query.Plan().Columns))
	w.event.Passes = make([]bool, len(t.Filters))
	return w
}

func (w *windowWorker[K]) summarise(ctx context.Context, from, to int32) error {
	k0, k1 := w.index.at(from), w.index.at(to-1)+1
	runs, err := w.find(ctx, k0, k1)
	if err != nil {
		return err
	}
	for k := k0; k < k1; k++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		for n < len(runs) && runs[n].key == k {
			n++
		}
		if err := w.summariseKey(ctx, max(w.index.first[k], from), min(w.index.first[k+1], to), runs[:n]); err != nil {
			return err
		}
		runs = runs[n:]
	}
	return nil
}

// find returns the runs that have keys from k0 up to, but not including, k1: key by key, and
// in the order of segments for each.
func (w *windowWorker[K]) find(ctx context.Context, k0, k1 int) ([]keyRun, error) {
	var found []keyRun
	for i := range w.table.segments {
		s := &w.table.segments[i]
		if !s.mayHave(w.index.keys[k0], w.index.keys[k1-1]) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := w.readRuns(s); err != nil {
			return nil, err
		}
		keys := w.index.keys[:k1]
		for run, k := 0, k0; run < len(w.keys) && k < k1; {
			switch {
			case keys[k] < w.keys[run]:
				k = leap(keys, k, w.keys[run])
			case w.keys[run] < keys[k]:
				run = leap(w.keys, run, keys[k])
			default:
				found = append(found, keyRun{k, int32(i), w.from[run], w.to[run]})
				run++ // the next run may have the same key
			}
		}
	}
	slices.SortStableFunc(found, func(a, b keyRun) int { return cmp.Compare(a.key, b.key) })
	return found, nil
}

// summariseKey answers the places from from to to, whose key has its rows in runs.
func (w *windowWorker[K]) summariseKey(ctx context.Context, from, to int32, runs []keyRun) error {
	v := w.windows.View
	times := w.index.times[from:to]
	oldest, all := minus(slices.Min(times), v.Lag+w.windows.Query.Reach())
	if !all {
		oldest = math.MinInt64
	}
	newest, some := minus(slices.Max(times), v.Lag)
	w.timeline.Reset()
	for _, run := range runs {
		if !some {
			break
		}
		if err := w.load(ctx, run, oldest, newest); err != nil {
			return err
		}
	}
	for i, time := range times {
		if i%chunkRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		t, some := minus(time, v.Lag)
		strict := v.Strict
		if !some { // there is nothing before the least time
			t, strict = math.MinInt64, true
		}
		if err := w.timeline.At(t, strict, w.values); err != nil {
			return err
		}
		if v.CountUnknown {
			w.timeline.NotYetKnown(t, strict, w.unknown)
		}
		if err := w.answer.set(w.index.rows[int(from)+i], w.values, w.unknown, w.part); err != nil {
			return err
		}
	}
	return nil
}

// load appends the rows of a run with oldest ≤ event time ≤ newest to the timeline.
func (w *windowWorker[K]) load(ctx context.Context, run keyRun, oldest, newest int64) error {
	s := &w.table.segments[run.segment]
	source := &w.sources[s.number]
	if err := w.openSource(source, run.segment); err != nil {
		return err
	}
	from, err := source.after(run.from, run.to, func(event int64) bool { return event >= oldest })
	if err != nil {
		return err
	}
	to, err := source.after(from, run.to, func(event int64) bool { return event > newest })
	if err != nil {
		return err
	}
	for ; from < to; from += chunkRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.loadChunk(source, s, int(from), int(min(from+chunkRows, to))); err != nil {
			return err
		}
		if err := w.hold(); err != nil {
			return err
		}
	}
	return nil
}

// hold has memory admitted for a timeline that has grown, twice as much each time. It stays
// the worker's: the timeline keeps what it has for the next key.
func (w *windowWorker[K]) hold() error {
	for w.timeline.Bytes() > w.held {
		release, err := w.windows.Memory(w.held)
		if err != nil {
			return err
		}
		w.releases, w.held = append(w.releases, release), 2*w.held
	}
	return nil
}

func (w *windowWorker[K]) release() {
	for _, release := range w.releases {
		release()
	}
}

func (w *windowWorker[K]) openSource(source *windowSource, segment int32) error {
	if source.segment == segment {
		return nil
	}
	source.segment = -1
	s := &w.table.segments[segment]
	if err := source.event.open(s.source, s.group, s.event, func(t *tail) *columns.Page { return &t.event }); err != nil {
		return err
	}
	if err := source.sequence.open(s.source, s.group, s.sequence, func(t *tail) *columns.Page { return &t.sequence }); err != nil {
		return err
	}
	if !s.lacksCreated() {
		if err := source.created.open(s.source, s.group, s.source.created, func(t *tail) *columns.Page { return &t.created }); err != nil {
			return err
		}
	}
	for i := range source.features {
		leaf, how := s.feature(i)
		if how == copyNothing {
			continue
		}
		if err := source.features[i].open(s.source, s.group, leaf, func(t *tail) *columns.Page { return &t.features[i] }); err != nil {
			return err
		}
	}
	source.segment = segment
	return nil
}

// feature returns where a feature is in the source, and how its values are told.
func (s *source) feature(i int) (leaf int, how copying) {
	if s.tail != nil {
		return -1, s.tail.copies[i]
	}
	return s.features[i], s.copies[i]
}

// after returns the first row from from to to whose event time is one that is. Rows are in
// the order of their event times, those that have none first.
func (s *windowSource) after(from, to int32, is func(event int64) bool) (int32, error) {
	var failed error
	n := sort.Search(int(to-from), func(i int) bool {
		event, ok, err := s.event.word(int(from) + i)
		failed = cmp.Or(failed, err)
		return err == nil && ok && is(event)
	})
	return from + int32(n), failed
}

// word returns a value of eight bytes, and false for null.
func (c *column) word(row int) (int64, bool, error) {
	p, err := c.page(row, row+1)
	if err != nil || p.Null(row-p.First) {
		return 0, false, err
	}
	return int64(binary.LittleEndian.Uint64(p.Values[8*(row-p.First):])), true, nil
}

// chunkRows is how many rows are read, and filtered, at a time.
const chunkRows = 1024

// windowChunk is some rows of one segment.
type windowChunk struct {
	rows   []aggregate.Event
	values [][]aggregate.Value // by column
	text   []byte              // what the values borrow
	passes [][]bool            // by filter
}

func (w *windowWorker[K]) loadChunk(source *windowSource, s *segment[K], from, to int) error {
	if err := w.readMoments(source, s, from, to); err != nil {
		return err
	}
	if err := w.readFeatures(source, s, from, to); err != nil {
		return err
	}
	if err := w.filter(to - from); err != nil {
		return err
	}
	for row := range w.chunk.rows {
		e := &w.event
		e.Time, e.Created, e.Sequence = w.chunk.rows[row].Time, w.chunk.rows[row].Created, w.chunk.rows[row].Sequence
		for i := range e.Values {
			e.Values[i] = w.chunk.values[i][row]
		}
		for i := range e.Passes {
			e.Passes[i] = w.chunk.passes[i][row]
		}
		w.timeline.Append(e)
	}
	return nil
}

func (w *windowWorker[K]) readMoments(source *windowSource, s *segment[K], from, to int) error {
	w.chunk.rows = resize(w.chunk.rows, to-from)
	for i := range w.chunk.rows {
		e := &w.chunk.rows[i]
		var err error
		if e.Time, _, err = source.event.word(from + i); err != nil {
			return err
		}
		if e.Sequence, _, err = source.sequence.word(from + i); err != nil {
			return err
		}
		e.Created = aggregate.NoCreated
		if s.lacksCreated() {
			continue
		}
		created, ok, err := source.created.word(from + i)
		if err != nil {
			return err
		}
		if ok {
			e.Created = created
		}
	}
	return nil
}

func (w *windowWorker[K]) readFeatures(source *windowSource, s *segment[K], from, to int) error {
	w.chunk.text = w.chunk.text[:0]
	w.chunk.values = resize(w.chunk.values, len(source.features))
	for i := range source.features {
		values := resize(w.chunk.values[i], to-from)
		w.chunk.values[i] = values
		_, how := s.feature(i)
		if how == copyNothing {
			clear(values)
			continue
		}
		for row := range values {
			p, err := source.features[i].page(from+row, from+row+1)
			if err != nil {
				return err
			}
			values[row] = w.chunk.keep(valueOf(p, from+row-p.First, how, w.windows.Types[i]))
		}
	}
	return nil
}

// keep makes a text the chunk's own: a page is valid until the next one is read. Texts that
// were kept before stay where they are, also when more memory is taken.
func (c *windowChunk) keep(v aggregate.Value) aggregate.Value {
	if v.Text != nil {
		begin := len(c.text)
		c.text = append(c.text, v.Text...)
		v.Text = c.text[begin:len(c.text):len(c.text)]
	}
	return v
}

// valueOf returns the value of a row of a page, as the type that the feature has now.
func valueOf(p *columns.Page, row int, how copying, t driftline.Type) aggregate.Value {
	if p.Null(row) {
		return aggregate.Value{}
	}
	switch how {
	case copyText:
		return aggregate.Text(p.Bytes(row))
	case copy1:
		return aggregate.Whole(int64(p.Values[row]))
	case copy8:
		return aggregate.Value{Valid: true, Bits: binary.LittleEndian.Uint64(p.Values[8*row:])}
	}
	word := binary.LittleEndian.Uint32(p.Values[4*row:])
	switch {
	case how == copyFloat32AsFloat64 || how == copy4 && t == driftline.Float32:
		return aggregate.Fraction(float64(math.Float32frombits(word)))
	case how == copyInt32AsFloat64:
		return aggregate.Fraction(float64(int32(word)))
	}
	return aggregate.Whole(int64(int32(word)))
}

// filter says for which rows of the chunk each filter is true.
func (w *windowWorker[K]) filter(rows int) error {
	w.chunk.passes = resize(w.chunk.passes, len(w.windows.Filters))
	for i, f := range w.windows.Filters {
		arrays := make([]arrow.Array, len(w.windows.Types))
		for _, at := range f.Reads() {
			array, err := w.array(at)
			if err != nil {
				return err
			}
			defer array.Release()
			arrays[at] = array
		}
		result, err := f.Evaluate(w.windows.mem, arrays, rows)
		if err != nil {
			return err
		}
		defer result.Values.Release()
		truths := result.Values.(*array.Boolean)
		w.chunk.passes[i] = resize(w.chunk.passes[i], rows)
		for row := range rows {
			w.chunk.passes[i][row] = truths.IsValid(row) && truths.Value(row)
		}
	}
	return nil
}

// array makes an array of a column of the chunk.
func (w *windowWorker[K]) array(at int) (arrow.Array, error) {
	t := w.windows.Types[at]
	b := array.NewBuilder(w.windows.mem, t.Arrow())
	defer b.Release()
	b.Reserve(len(w.chunk.rows))
	for _, v := range w.chunk.values[at] {
		if err := aggregate.Append(b, t, v); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}
