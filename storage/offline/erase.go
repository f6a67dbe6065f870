package offline

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// Erase rewrites one file of a table without some of its rows. match is shown the named
// columns of a batch and returns, row by row, which are to go. The new files are staged:
// give them to [Store.ReplaceFiles] instead of the old one, and then give up the older
// snapshots by [Store.Expire], which removes the old one for good. Their rows are in the
// given order and have the table's present columns. If no row matches, removed is 0 and
// nothing was written; if all do, there is no new file.
func (s *Store) Erase(ctx context.Context, f File, order Order, columns []string, match func(arrow.RecordBatch) ([]bool, error)) (files []File, removed int64, err error) {
	t, err := s.load(ctx, f.Table)
	if err != nil {
		return nil, 0, err
	}
	schema, err := arrowSchema(t.Schema(), false)
	if err != nil {
		return nil, 0, s.damaged(f.Table, err)
	}
	stored, err := arrowSchema(t.Schema(), true)
	if err != nil {
		return nil, 0, s.damaged(f.Table, err)
	}
	all := Snapshot{Table: f.Table, Schema: schema, Files: []File{f}, stored: stored}
	// Most files have nothing to erase: the named columns say so without the others.
	some := s.Read(ctx, all, columns)
	for batch, err := range some.All {
		if err != nil {
			return nil, 0, err
		}
		gone, err := match(batch)
		if err != nil {
			return nil, 0, err
		}
		for _, erase := range gone {
			removed += int64(bit(erase))
		}
	}
	if removed == 0 {
		return nil, 0, nil
	}
	rest := s.Read(ctx, all, nil)
	files, err = s.Stage(ctx, f.Table, survivors(rest, some.Schema, match), order)
	return files, removed, err
}

// survivors yields the rows that do not match, in slices between those that do.
func survivors(rows driftline.Batches, shown *arrow.Schema, match func(arrow.RecordBatch) ([]bool, error)) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err == nil {
				err = keepRest(batch, shown, match, yield)
			}
			if errors.Is(err, errEnough) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}}
}

func keepRest(batch arrow.RecordBatch, shown *arrow.Schema, match func(arrow.RecordBatch) ([]bool, error), yield func(arrow.RecordBatch, error) bool) error {
	part := projected(batch, shown)
	defer part.Release()
	gone, err := match(part)
	if err != nil {
		return err
	}
	for start := 0; start < len(gone); {
		end := start
		for end < len(gone) && !gone[end] {
			end++
		}
		if end > start {
			kept := batch.NewSlice(int64(start), int64(end))
			more := yield(kept, nil)
			kept.Release()
			if !more {
				return errEnough
			}
		}
		start = end + 1
	}
	return nil
}

// projected returns the columns of a batch that schema has.
func projected(batch arrow.RecordBatch, schema *arrow.Schema) arrow.RecordBatch {
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		columns[i] = batch.Column(batch.Schema().FieldIndices(f.Name)[0])
	}
	return array.NewRecordBatch(schema, columns, batch.NumRows())
}
