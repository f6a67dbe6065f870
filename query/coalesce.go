package query

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// batchBytes is the most that a batch handed out holds, so that clients with the
// usual message limit of 4 MiB can read it. A single row may be larger.
const batchBytes = 2 << 20

// coalesce yields the rows of batches in batches of nearly as many bytes. DuckDB hands
// out 2,048 rows at a time; sent like that, headers cost more than values.
func coalesce(mem memory.Allocator, schema *arrow.Schema, most int64, batches iter.Seq2[arrow.RecordBatch, error]) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		c := collector{mem: mem, schema: schema, most: most}
		defer c.drop()
		for batch, err := range batches {
			if err != nil {
				yield(nil, err)
				return
			}
			if !c.add(batch, yield) {
				return
			}
		}
		c.flush(yield)
	}
}

// collector holds slices of batches until they make a full one.
type collector struct {
	mem    memory.Allocator
	schema *arrow.Schema
	most   int64
	held   []arrow.RecordBatch
	bytes  int64
}

// add takes all rows of batch, yielding each time the collector is full. It
// returns false if yield did.
func (c *collector) add(batch arrow.RecordBatch, yield func(arrow.RecordBatch, error) bool) bool {
	for from := int64(0); from < batch.NumRows(); {
		rest := batch.NewSlice(from, batch.NumRows())
		size := driftline.BatchBytes(rest)
		if c.bytes+size <= c.most {
			c.held, c.bytes = append(c.held, rest), c.bytes+size
			return true
		}
		rows := fittingRows(rest, c.most-c.bytes)
		rest.Release()
		if rows == 0 && len(c.held) == 0 {
			rows = 1
		}
		if rows > 0 {
			c.held = append(c.held, batch.NewSlice(from, from+rows))
			from += rows
		}
		if !c.flush(yield) {
			return false
		}
	}
	return true
}

// fittingRows returns the greatest number of leading rows of batch that hold at most limit bytes.
func fittingRows(batch arrow.RecordBatch, limit int64) int64 {
	fits, tooMany := int64(0), batch.NumRows()
	for tooMany-fits > 1 {
		middle := fits + (tooMany-fits)/2
		slice := batch.NewSlice(0, middle)
		if driftline.BatchBytes(slice) <= limit {
			fits = middle
		} else {
			tooMany = middle
		}
		slice.Release()
	}
	return fits
}

// flush yields what is held as one batch, or, where columns cannot be joined into
// one (dictionaries may not), as it came.
func (c *collector) flush(yield func(arrow.RecordBatch, error) bool) bool {
	defer c.drop()
	switch len(c.held) {
	case 0:
		return true
	case 1:
		return yield(c.held[0], nil)
	}
	joined, err := joinBatches(c.mem, c.schema, c.held)
	if err == nil {
		defer joined.Release()
		return yield(joined, nil)
	}
	for _, batch := range c.held {
		if !yield(batch, nil) {
			return false
		}
	}
	return true
}

func (c *collector) drop() {
	for _, batch := range c.held {
		batch.Release()
	}
	c.held, c.bytes = c.held[:0], 0
}

// joinBatches concatenates batches of one schema. The caller releases the result.
func joinBatches(mem memory.Allocator, schema *arrow.Schema, batches []arrow.RecordBatch) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, schema.NumFields())
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	var rows int64
	for _, batch := range batches {
		rows += batch.NumRows()
	}
	parts := make([]arrow.Array, len(batches))
	for i := range schema.NumFields() {
		for j, batch := range batches {
			parts[j] = batch.Column(i)
		}
		column, err := array.Concatenate(parts, mem)
		if err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return array.NewRecordBatch(schema, columns, rows), nil
}
