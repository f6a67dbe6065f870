package query

import (
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/query/internal/merge"
)

// chunk is a stretch of the rows of a spine.
type chunk struct {
	pieces []arrow.RecordBatch // retained
	first  []int               // of each piece, its first row in the chunk
	rows   int                 // of the chunk, with the gaps between the pieces
	before int64               // rows of the spine before it
	count  int64               // of the spine
	bytes  int64

	reading time.Duration // what its reader took for the answer
}

func (c *chunk) release() {
	driftline.ReleaseAll(c.pieces)
	*c = chunk{before: c.before + c.count}
}

// pieceAlignment is what the first row of a piece is a multiple of, so that no two pieces
// share a word of a bitmap and the answer of each can be cut out without copying.
const pieceAlignment = 64

func (c *chunk) add(batch arrow.RecordBatch) {
	c.rows = (c.rows + pieceAlignment - 1) / pieceAlignment * pieceAlignment
	c.pieces, c.first = append(c.pieces, batch), append(c.first, c.rows)
	c.rows += int(batch.NumRows())
	c.count += batch.NumRows()
	c.bytes += driftline.BatchBytes(batch)
}

// chunkLimits says when a chunk is full.
type chunkLimits struct {
	first, most       int   // rows of the first chunk, and of any
	firstBytes, bytes int64 // of the same, with the answer
	perRow            int64 // what a row takes beside its own bytes
}

// chunkTime is how long the reader of a chunk may take.
const chunkTime = 10 * time.Second

// after returns how many rows the chunk after one of so many rows has: what its reader
// takes in chunkTime, if it goes on as it did, but not many times more than before. So who
// reads slowly keeps little memory, for about as long as others keep much.
func (l *chunkLimits) after(rows int64, took time.Duration) int64 {
	growth := chunkTime.Seconds() / max(took.Seconds(), 1e-9)
	next := int64(float64(rows) * min(growth, chunkGrowth))
	least := max(1, min(int64(l.first), l.firstBytes/l.perRow))
	return min(max(next, least), int64(l.most))
}

// need is the memory that a chunk takes, with its answer.
func (l *chunkLimits) need(c *chunk) int64 {
	return min(max(c.bytes+c.count*l.perRow, l.firstBytes), l.bytes)
}

// chunker cuts a spine into chunks.
type chunker struct {
	mem    memory.Allocator
	schema *arrow.Schema
	limit  chunkLimits

	next  chunk
	small []arrow.RecordBatch // retained; to be put together to one piece
	held  int64               // their rows
}

// smallPiece is the most rows of a batch that is put together with its neighbours: each
// piece costs some time, and room for rows that it does not have.
const smallPiece = 8 << 10

// chunks yields the spine in chunks, each valid until the next one.
func (c *chunker) chunks(batches iter.Seq2[arrow.RecordBatch, error]) iter.Seq2[*chunk, error] {
	return func(yield func(*chunk, error) bool) {
		defer func() {
			c.next.release()
			driftline.ReleaseAll(c.small)
		}()
		rows := int64(c.limit.first)
		emit := func() bool {
			more := yield(&c.next, nil)
			rows = c.limit.after(c.next.count, c.next.reading)
			c.next.release()
			return more
		}
		for batch, err := range batches {
			if err != nil {
				yield(nil, err)
				return
			}
			for from := int64(0); from < batch.NumRows(); {
				n := c.room(batch, from, rows)
				c.add(batch.NewSlice(from, from+n))
				if from += n; c.full(rows) && !emit() {
					return
				}
			}
		}
		if c.join(); c.next.count > 0 {
			emit()
		}
	}
}

// room returns how many rows of batch, from from on, the chunk has room for.
func (c *chunker) room(batch arrow.RecordBatch, from, rows int64) int64 {
	left := batch.NumRows() - from
	rows = min(rows, max(c.mostBytes()/c.limit.perRow, 1))
	if have := c.next.count + c.held; have+left > rows {
		// A rest that is small is not worth a chunk of its own.
		if n := rows - have; left-n > smallPiece {
			return max(n, 1)
		}
	}
	return left
}

// add takes over the caller's reference to batch.
func (c *chunker) add(batch arrow.RecordBatch) {
	if batch.NumRows() >= smallPiece {
		c.join()
		c.next.add(batch)
		return
	}
	c.small = append(c.small, batch)
	if c.held += batch.NumRows(); c.held >= smallPiece {
		c.join()
	}
}

// join makes one piece of the small ones, or, where columns cannot be joined into one
// (dictionaries may not), leaves them as they came.
func (c *chunker) join() {
	defer func() { c.small, c.held = c.small[:0], 0 }()
	if len(c.small) > 1 {
		if whole, err := joinBatches(c.mem, c.schema, c.small); err == nil {
			driftline.ReleaseAll(c.small)
			c.next.add(whole)
			return
		}
	}
	for _, batch := range c.small {
		c.next.add(batch)
	}
}

// mostBytes is what the chunk at hand may take.
func (c *chunker) mostBytes() int64 {
	if c.next.before == 0 {
		return c.limit.firstBytes
	}
	return c.limit.bytes
}

// full reports whether the chunk has the rows that it is to have, or as many as fit.
func (c *chunker) full(rows int64) bool {
	have := c.next.count + c.held
	if have >= rows || c.next.bytes+have*c.limit.perRow >= c.mostBytes() {
		c.join()
		return true
	}
	return false
}

// spineChunk is a chunk as the joins read it.
type spineChunk struct {
	chunk  *chunk
	tables []arrow.RecordBatch // of each piece its rows of the table spine
}

// read converts the times and keys of a chunk. The caller releases the result.
func (c *spineColumns) read(mem memory.Allocator, chunk *chunk) (*spineChunk, error) {
	s := &spineChunk{chunk: chunk}
	row := chunk.before
	for _, piece := range chunk.pieces {
		table, err := c.tableRows(mem, piece, row)
		if err != nil {
			s.release()
			return nil, err
		}
		s.tables = append(s.tables, table)
		row += piece.NumRows()
	}
	return s, nil
}

func (s *spineChunk) release() { driftline.ReleaseAll(s.tables) }

// merging is the chunk for package merge.
func (s *spineChunk) merging() *merge.Spine {
	spine := &merge.Spine{Rows: s.chunk.rows}
	for i, table := range s.tables {
		spine.Pieces = append(spine.Pieces, merge.Piece{
			First: s.chunk.first[i], Times: table.Column(1).(*array.Int64), Keys: table.Columns()[2:],
		})
	}
	return spine
}
