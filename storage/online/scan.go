package online

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// rowsOf yields the stored rows of a view. It passes those of all views with the same
// join keys.
func (s *Store) rowsOf(view *driftline.FeatureView) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		prefix := keyPrefix(view.JoinKeys)
		for pair, err := range s.db.ScanPrefix(prefix) {
			if err != nil {
				yield(pair, err)
				return
			}
			name, err := viewOfKey(pair.Key[len(prefix):], view.JoinKeys)
			if err == nil && name != string(view.Name) {
				continue
			}
			if !yield(pair, err) || err != nil {
				return
			}
		}
	}
}

// onlineOnly reports whether a stored row was written to the online store only.
func (s *Store) onlineOnly(view *driftline.FeatureView, value []byte) (bool, error) {
	_, _, id, _, ok := splitHeader(value)
	if ok {
		l, err := s.layout(id)
		if err != nil || l != nil {
			return err == nil && l.onlineOnly, err
		}
	}
	return false, damagedRow(view.Name)
}

// scannedAtOnce bounds the batches of [Store.OnlineOnly].
const scannedAtOnce = 10_000

// OnlineOnly yields the join keys of the entities whose newest row was written to the
// online store only, so that there is no such row offline. It reads all rows of the view.
func (s *Store) OnlineOnly(mem memory.Allocator, view *driftline.FeatureView) iter.Seq2[arrow.RecordBatch, error] {
	fields := make([]arrow.Field, len(view.JoinKeys))
	for i, k := range view.JoinKeys {
		fields[i] = arrow.Field{Name: k.Name, Type: k.Type.Arrow()}
	}
	schema := arrow.NewSchema(fields, nil)
	return func(yield func(arrow.RecordBatch, error) bool) {
		builder := array.NewRecordBuilder(mem, schema)
		defer builder.Release()
		rows, prefix := int64(0), len(keyPrefix(view.JoinKeys))
		flush := func() bool {
			columns := make([]arrow.Array, len(fields))
			for i := range columns {
				columns[i] = builder.Field(i).NewArray()
				defer columns[i].Release()
			}
			b := array.NewRecordBatch(schema, columns, rows) // a view without join keys has rows too
			defer b.Release()
			rows = 0
			return yield(b, nil)
		}
		for pair, err := range s.rowsOf(view) {
			only := false
			if err == nil {
				only, err = s.onlineOnly(view, pair.Value)
			}
			if err == nil && only {
				_, err = cutEntity(pair.Key[prefix:], view.JoinKeys, builder.Fields())
				rows++
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if rows == scannedAtOnce && !flush() {
				return
			}
		}
		if rows > 0 {
			flush()
		}
	}
}
