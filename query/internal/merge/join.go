package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline/storage/columns"
)

// Join is some uses of views, whose rows are open, that can be joined to any number of
// spines, one after the other.
type Join struct {
	mem     memory.Allocator
	threads int
	tables  []joinable
	views   []*View
	windows []windowable
}

// New makes ready to join. Each view [Understands] its files. They are the caller's to
// close, after the join is no longer used.
func New(mem memory.Allocator, threads int, views []*View, rows []Rows) (*Join, error) {
	j := &Join{mem: mem, threads: max(threads, 1), views: views}
	for i, v := range views {
		err := columns.Guard(func() error {
			t, err := newJoinable(v, rows[i])
			j.tables = append(j.tables, t)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return j, nil
}

// Unmap makes the join read its files as it does where few rows of a large table are wanted,
// whatever they are, for tests.
func (j *Join) Unmap() {
	for _, t := range j.tables {
		t.unmap()
	}
}

// joinable is a table of either kind of key.
type joinable interface {
	unmap()

	// parts returns into how many tasks the join of a spine is cut.
	parts(s *Spine, threads int) int

	// tasks returns what is to be done to join the table to a spine.
	tasks(s *Spine, keys []int, mapping string, a *Answer, threads, parts int) []task
}

// task is a part of a join that one worker does.
type task func(ctx context.Context, w *scratch) error

// scratch is what a worker keeps from task to task.
type scratch struct {
	wanted  wanted
	columns []column // to read files by
}

// open returns n columns.
func (s *scratch) open(n int) []column {
	for len(s.columns) < n {
		s.columns = append(s.columns, column{})
	}
	return s.columns[:n]
}

func newJoinable(v *View, rows Rows) (joinable, error) {
	if v.textKeys() {
		return newTable[string](v, rows)
	}
	return newTable[uint64](v, rows)
}

const (
	// taskRows is the least number of rows that is worth a task of its own.
	taskRows = 4096

	// taskBytes is about how much of a table one task maps into memory, at most.
	taskBytes = 128 << 20
)

// parts is a few per thread, which evens out that some are more work than others, or as
// many as keep the memory of each small. More of them would decode the pages that lie
// between two of them more often.
func (t *table[K]) parts(s *Spine, threads int) int {
	return min(max(4*threads, int(t.bytes/taskBytes)), s.Rows/taskRows+1)
}

// Run joins the views to a spine. keys says, for each view and each of its join keys,
// which column of [Piece.Keys] has it. The caller releases the answers.
func (j *Join) Run(ctx context.Context, s *Spine, keys [][]int) ([]*Answer, error) {
	answers := make([]*Answer, len(j.tables))
	s.read()
	var tasks []task
	for i, t := range j.tables {
		parts := t.parts(s, j.threads)
		a := newAnswer(j.mem, j.views[i], s.Rows, parts)
		answers[i] = a
		tasks = append(tasks, t.tasks(s, keys[i], mappingOf(j.views[i], keys[i]), a, j.threads, parts)...)
	}
	if err := j.do(ctx, tasks); err != nil {
		for _, a := range answers {
			a.Release()
		}
		return nil, err
	}
	return answers, nil
}

// mappingOf names an index: views with the same keys of the same types share one.
func mappingOf(v *View, keys []int) string {
	var b strings.Builder
	for i, k := range keys {
		fmt.Fprintf(&b, "%d %s;", k, v.Keys[i].Type)
	}
	return b.String()
}

// do runs tasks, as many at a time as there are threads, and ends with the first error.
func (j *Join) do(ctx context.Context, tasks []task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan task, len(tasks))
	for _, t := range tasks {
		next <- t
	}
	close(next)
	var workers sync.WaitGroup
	for range min(j.threads, len(tasks)) {
		workers.Go(func() {
			var w scratch
			for t := range next {
				if ctx.Err() != nil {
					return
				}
				if err := columns.Guard(func() error { return t(ctx, &w) }); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (t *table[K]) tasks(s *Spine, keys []int, mapping string, a *Answer, threads, parts int) []task {
	index := indexOf[K](s, t.view, keys, mapping, threads)
	tasks := make([]task, 0, parts)
	for part := range parts {
		tasks = append(tasks, func(ctx context.Context, own *scratch) error {
			x := index()
			from, to := len(x.rows)*part/parts, len(x.rows)*(part+1)/parts
			if from == to || len(t.segments) == 0 {
				return nil
			}
			w := newWorker(t, x, t.wantsFew(len(x.rows)))
			if err := w.match(ctx, int32(from), int32(to)); err != nil {
				return err
			}
			w.settle(&own.wanted, a)
			if err := w.gather(ctx, &own.wanted, a, own, part); err != nil {
				return err
			}
			w.forget(int32(from), int32(to-1))
			return nil
		})
	}
	return tasks
}

// read makes the times of the spine.
func (s *Spine) read() {
	if s.times != nil {
		return
	}
	s.times, s.none = make([]int64, s.Rows), make([]bool, s.Rows)
	for i := range s.none {
		s.none[i] = true // the gaps between pieces
	}
	for _, p := range s.Pieces {
		times := p.Times.(*array.Int64)
		copy(s.times[p.First:], times.Int64Values())
		none := s.none[p.First:][:times.Len()]
		if clear(none); times.NullN() > 0 {
			for i := range none {
				none[i] = times.IsNull(i)
			}
		}
	}
	s.numbers, s.texts = map[string]func() *index[uint64]{}, map[string]func() *index[string]{}
}

// indexOf returns a function that returns the index of the spine by those keys. The first
// one to call it makes the index.
func indexOf[K key](s *Spine, v *View, keys []int, mapping string, threads int) func() *index[K] {
	types := make([]arrow.DataType, len(keys))
	for i, k := range v.Keys {
		types[i] = k.Type
	}
	var known any
	switch any(*new(K)).(type) {
	case uint64:
		if s.numbers[mapping] == nil {
			s.numbers[mapping] = sync.OnceValue(func() *index[uint64] { return s.indexNumbers(keys, types, threads) })
		}
		known = s.numbers[mapping]
	default:
		if s.texts[mapping] == nil {
			s.texts[mapping] = sync.OnceValue(func() *index[string] { return s.indexTexts(keys, types) })
		}
		known = s.texts[mapping]
	}
	return known.(func() *index[K])
}

func (s *Spine) indexNumbers(keys []int, types []arrow.DataType, threads int) *index[uint64] {
	codes, dropped := make([]uint64, s.Rows), slices.Clone(s.none)
	if len(keys) > 0 {
		for _, p := range s.Pieces {
			a := p.Keys[keys[0]]
			numbers(a, types[0], codes[p.First:][:a.Len()], func(row int) { dropped[p.First+row] = true })
		}
	}
	pairs, ends := split(codes, dropped, threads)
	return indexNumbers(pairs, ends, s.times)
}

func (s *Spine) indexTexts(keys []int, types []arrow.DataType) *index[string] {
	keyOf := make([]int32, s.Rows)
	for i := range keyOf {
		keyOf[i] = -1
	}
	numberOf := map[string]int32{}
	var texts []string
	var text []byte
	for _, p := range s.Pieces {
		parts := make([]func(to []byte, row int) ([]byte, bool), len(keys))
		for i, k := range keys {
			parts[i] = textCoder(p.Keys[k], types[i], i == len(keys)-1)
		}
		for row := range p.Times.Len() {
			if s.none[p.First+row] {
				continue
			}
			text = text[:0]
			ok := true
			for _, part := range parts {
				if text, ok = part(text, row); !ok {
					break
				}
			}
			if !ok {
				continue
			}
			number, known := numberOf[string(text)]
			if !known {
				number = int32(len(texts))
				texts = append(texts, string(text))
				numberOf[texts[number]] = number
			}
			keyOf[p.First+row] = number
		}
	}
	return indexTexts(texts, keyOf, s.times)
}
