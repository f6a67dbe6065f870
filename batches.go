package driftline

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Batches is a stream of record batches that share one schema.
//
// There is one rule of ownership everywhere: a batch that All yields is valid
// until the next iteration; Retain it to keep it and Release it when done;
// functions that take a batch do not consume it. All can be ranged over once,
// unless its maker says otherwise. Nothing is acquired before the range begins
// and everything is released when it ends, however it ends. After an error the
// stream is over.
type Batches struct {
	Schema *arrow.Schema
	All    iter.Seq2[arrow.RecordBatch, error]
}

// BatchesOf yields the given batches, any number of times. It borrows them: they
// must stay valid for as long as the result is used.
func BatchesOf(schema *arrow.Schema, batches ...arrow.RecordBatch) Batches {
	return Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for _, b := range batches {
			if !yield(b, nil) {
				return
			}
		}
	}}
}

// BatchesFrom yields what r reads and releases r when the range ends.
// If the range never begins, r stays the caller's to release.
func BatchesFrom(r array.RecordReader) Batches {
	return Batches{Schema: r.Schema(), All: func(yield func(arrow.RecordBatch, error) bool) {
		defer r.Release()
		for r.Next() {
			if !yield(r.RecordBatch(), nil) {
				return
			}
		}
		if err := r.Err(); err != nil {
			yield(nil, err)
		}
	}}
}

// Collect ranges over b and returns its batches retained, and their number of
// rows. The caller releases them with [ReleaseAll], also after an error.
func (b Batches) Collect() (batches []arrow.RecordBatch, rows int64, err error) {
	for batch, err := range b.All {
		if err != nil {
			return batches, rows, err
		}
		batch.Retain()
		batches = append(batches, batch)
		rows += batch.NumRows()
	}
	return batches, rows, nil
}

// ReleaseAll releases each batch once.
func ReleaseAll(batches []arrow.RecordBatch) {
	for _, b := range batches {
		b.Release()
	}
}
