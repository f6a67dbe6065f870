package offline

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// sequence is files whose rows, read one file after the other, are in order.
type sequence []rankedFile

// rankedFile is a file and its place among those that are merged: of equal rows those
// of the lower rank come first.
type rankedFile struct {
	File
	rank int
}

// merged yields the rows of sequences in order, as the table has them now, holding one
// batch of each sequence and the block that is made of them.
func (c *compaction) merged(ctx context.Context, sequences []sequence) driftline.Batches {
	return driftline.Batches{Schema: c.plain, All: func(yield func(arrow.RecordBatch, error) bool) {
		m := &merger{store: c.store, ctx: ctx, plain: c.plain, stored: c.stored, sortBy: c.order.columns(), pace: c.pace}
		defer m.close()
		if err := m.run(sequences, yield); err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}}
}

// errEnough ends a merge whose consumer wants no more.
var errEnough = errors.New("enough")

// merger merges sequences. A block of rows is put together as runs, stretches of one
// batch that come one after the other; its columns are taken in one go.
type merger struct {
	store         *Store
	ctx           context.Context
	plain, stored *arrow.Schema
	sortBy        []string
	pace          *Pace

	cursors cursors // by their next row
	parts   []arrow.RecordBatch
	runs    []run
	rows    int
}

// run is rows of a part of the block.
type run struct{ part, start, rows int }

func (m *merger) run(sequences []sequence, yield func(arrow.RecordBatch, error) bool) error {
	for _, files := range sequences {
		c := &cursor{merger: m, files: files, part: -1}
		m.cursors = append(m.cursors, c)
		if err := c.advance(); err != nil {
			return err
		}
	}
	m.cursors = slices.DeleteFunc(m.cursors, func(c *cursor) bool { return c.batch == nil })
	heap.Init(&m.cursors)
	for len(m.cursors) > 0 {
		if err := m.take(m.cursors[0]); err != nil {
			return err
		}
		if m.rows < rowsPerBatch {
			continue
		}
		if err := m.flush(yield); err != nil {
			return err
		}
	}
	return m.flush(yield)
}

// take adds to the block what the first cursor has before the next one's row.
func (m *merger) take(c *cursor) error {
	end := min(c.before(m.cursors.second()), c.row+rowsPerBatch-m.rows)
	if c.part < 0 {
		c.part = len(m.parts)
		c.batch.Retain()
		m.parts = append(m.parts, c.batch)
	}
	m.runs = append(m.runs, run{part: c.part, start: c.row, rows: end - c.row})
	m.rows += end - c.row
	if c.row = end; c.row == c.keys.rows() {
		if err := c.advance(); err != nil {
			return err
		}
	}
	if c.batch == nil {
		heap.Pop(&m.cursors)
		return nil
	}
	heap.Fix(&m.cursors, 0)
	return nil
}

// flush yields the block.
func (m *merger) flush(yield func(arrow.RecordBatch, error) bool) error {
	if m.rows == 0 {
		return nil
	}
	if err := m.ctx.Err(); err != nil {
		return interrupted(err)
	}
	block, err := m.block()
	m.clear()
	if err != nil {
		return err
	}
	defer block.Release()
	if !yield(block, nil) {
		return errEnough
	}
	return nil
}

// block puts the rows together. One run is a slice, without a copy.
func (m *merger) block() (arrow.RecordBatch, error) {
	if len(m.runs) == 1 {
		r := m.runs[0]
		return m.parts[r.part].NewSlice(int64(r.start), int64(r.start+r.rows)), nil
	}
	parts := m.used()
	defer parts.release()
	offsets := make([]int32, len(parts.batches)) // of each part in all of them
	for i := 1; i < len(offsets); i++ {
		offsets[i] = offsets[i-1] + int32(parts.batches[i-1].NumRows())
	}
	of := selection{rows: make([]int32, 0, m.rows), at: make([]place, 0, m.rows)}
	next := make([]int32, len(parts.batches)) // runs of a part follow each other
	for _, r := range m.runs {
		for range r.rows {
			of.rows = append(of.rows, offsets[r.part]+next[r.part])
			of.at = append(of.at, place{batch: uint32(r.part), row: uint32(next[r.part])})
			next[r.part]++
		}
	}
	gather := newGatherer(m.plain, parts, newConformer(m.ctx, m.store.mem))
	defer gather.release()
	gather.take(of)
	return gather.batch()
}

// used returns of each part the rows that the block has, which are neighbours.
func (m *merger) used() *chunk {
	starts, ends := make([]int, len(m.parts)), make([]int, len(m.parts))
	for _, r := range m.runs {
		if ends[r.part] == 0 {
			starts[r.part] = r.start
		}
		ends[r.part] = r.start + r.rows
	}
	c := &chunk{rows: int64(m.rows)}
	for i, part := range m.parts {
		c.batches = append(c.batches, part.NewSlice(int64(starts[i]), int64(ends[i])))
	}
	return c
}

func (m *merger) clear() {
	driftline.ReleaseAll(m.parts)
	m.parts, m.runs, m.rows = m.parts[:0], m.runs[:0], 0
	for _, c := range m.cursors {
		c.part = -1
	}
}

func (m *merger) close() {
	m.clear()
	for _, c := range m.cursors {
		c.close()
	}
}

// keys packs the keys of a batch.
func (m *merger) keys(batch arrow.RecordBatch) (rowKeys, error) {
	columns := make([]arrow.Array, len(m.sortBy))
	for i, name := range m.sortBy {
		columns[i] = batch.Column(m.plain.FieldIndices(name)[0])
	}
	return packKeys(columns, m.sortBy)
}

// cursor is at a row of a sequence.
type cursor struct {
	merger *merger
	files  sequence // still to be opened
	reader batchReader
	rank   int // of the file that is open

	batch arrow.RecordBatch // nil at the end of the sequence
	keys  rowKeys
	row   int
	part  int // of the block, that batch is; -1 if it is none yet
}

// batchReader is how a cursor sees the reader of a file.
type batchReader interface {
	next(plain *arrow.Schema) (arrow.RecordBatch, error) // io.EOF after the last
	close()
}

// advance goes to the next batch, of the next file if it must.
func (c *cursor) advance() error {
	c.letGo()
	for {
		if c.reader == nil {
			if len(c.files) == 0 {
				return nil
			}
			if err := c.open(); err != nil {
				return err
			}
		}
		batch, err := c.reader.next(c.merger.plain)
		if errors.Is(err, io.EOF) {
			c.reader.close()
			c.reader = nil
			continue
		}
		if err != nil {
			return failure("read a file to be merged", err)
		}
		c.batch = batch
		c.keys, err = c.merger.keys(batch)
		return err
	}
}

func (c *cursor) open() error {
	m, f := c.merger, c.files[0]
	c.files, c.rank = c.files[1:], f.rank
	if err := m.store.verify(m.ctx, f.File, m.pace); err != nil {
		return err
	}
	reader, err := m.store.openFile(m.ctx, f.File, &reading{stored: m.stored}, m.pace)
	if err != nil {
		return failure("read file "+f.Hash+" of table "+f.Table.String(), err)
	}
	c.reader = reader
	return nil
}

// before returns the end of the rows that come before the row of another cursor,
// looking near first: rows of different files are mostly mixed well or not at all.
func (c *cursor) before(other *cursor) int {
	rows := c.keys.rows()
	if other == nil {
		return rows
	}
	limit := other.keys.at(other.row)
	after := func(row int) bool {
		order := bytes.Compare(c.keys.at(row), limit)
		return order > 0 || order == 0 && c.rank > other.rank
	}
	known, step := c.row+1, 1 // the cursor's own row comes first: that is why it was chosen
	for known+step <= rows && !after(known+step-1) {
		known += step
		step *= 2
	}
	end := min(known+step, rows)
	return known + sort.Search(end-known, func(i int) bool { return after(known + i) })
}

func (c *cursor) letGo() {
	if c.batch != nil {
		c.batch.Release()
	}
	c.batch, c.keys, c.row, c.part = nil, rowKeys{}, 0, -1
}

func (c *cursor) close() {
	c.letGo()
	if c.reader != nil {
		c.reader.close()
		c.reader = nil
	}
}

// cursors is a heap: the first has the least next row.
type cursors []*cursor

func (h cursors) Len() int      { return len(h) }
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(c any)   { *h = append(*h, c.(*cursor)) }

func (h cursors) Less(i, j int) bool {
	order := bytes.Compare(h[i].keys.at(h[i].row), h[j].keys.at(h[j].row))
	return order < 0 || order == 0 && h[i].rank < h[j].rank
}

func (h *cursors) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// second returns the cursor that comes after the first; nil if there is none.
func (h cursors) second() *cursor {
	switch {
	case len(h) < 2:
		return nil
	case len(h) == 2 || h.Less(1, 2):
		return h[1]
	}
	return h[2]
}
