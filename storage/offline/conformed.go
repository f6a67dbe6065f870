package offline

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
)

// Conformed yields rows as they will be read once they are stored: in the types of
// [StoredSchema]. Whoever describes or hashes rows on their way into a table must see
// them so, or he describes what nobody will ever read.
func (s *Store) Conformed(ctx context.Context, rows driftline.Batches) (driftline.Batches, error) {
	schema, err := StoredSchema(rows.Schema)
	if err != nil {
		return driftline.Batches{}, err
	}
	c := newConformer(ctx, s.mem)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			stored, err := c.batch(batch, schema)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(stored, nil)
			stored.Release()
			if !more {
				return
			}
		}
	}}, nil
}
