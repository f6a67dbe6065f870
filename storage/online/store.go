package online

import (
	"bytes"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Store reads and writes the newest rows in a [kv.DB] that it does not own. Its
// methods can be called from any number of goroutines.
type Store struct {
	db *kv.DB

	// stored holds the layouts that are known to be in db, by id. They are
	// never deleted, so what is here stays true.
	stored sync.Map // uint64 → *layout

	// written holds the layout that each view was last written in.
	written sync.Map // driftline.ViewName → *layout
}

// New returns the store that lives in db.
func New(db *kv.DB) *Store { return &Store{db: db} }

// Put adds rows to b, of which each replaces the stored row of its entity only
// if it is newer. rows has the columns of view.Schema(), and row i was written
// with sequences[i]. Nothing of rows is kept.
//
// A null or unrepresentable key or time gives Invalid, naming column and row; b
// then holds a part of the rows and must not be committed.
func (s *Store) Put(b *kv.Batch, view *driftline.FeatureView, rows arrow.RecordBatch, sequences []int64) error {
	columns, err := columnsOf(view, rows, sequences)
	if err != nil {
		return err
	}
	l, err := s.layoutToWrite(b, view)
	if err != nil {
		return err
	}
	prefix := keyPrefix(view.JoinKeys)
	var key, value []byte
	for i := range int(rows.NumRows()) {
		var null int
		if key, null = appendEntity(append(key[:0], prefix...), columns.keys, i); null >= 0 {
			return rowError(view, view.JoinKeys[null].Name, i, "null")
		}
		key = kv.AppendString(key, string(view.Name))
		event, created, err := columns.times(view, i)
		if err != nil {
			return err
		}
		value = appendHeader(value[:0], event, created, sequences[i])
		value = l.appendFeatures(value, columns.features, i)
		b.Max(key, value)
	}
	return nil
}

// Delete removes the rows of entities from b's view of the store: row i of the key
// columns, which are in the view's types and without nulls. A row that was put in the
// meantime goes too.
func (s *Store) Delete(b *kv.Batch, view *driftline.FeatureView, keys []arrow.Array, rows int) {
	prefix := keyPrefix(view.JoinKeys)
	var key []byte
	for i := range rows {
		key, _ = appendEntity(append(key[:0], prefix...), keys, i)
		b.Delete(kv.AppendString(key, string(view.Name)))
	}
}

// viewColumns are the columns of a batch, by what they are for.
type viewColumns struct {
	keys     []arrow.Array
	event    *array.Timestamp
	created  *array.Timestamp // nil if the view has none
	features []arrow.Array
}

func columnsOf(view *driftline.FeatureView, rows arrow.RecordBatch, sequences []int64) (c viewColumns, err error) {
	want := view.Schema()
	if int(rows.NumCols()) != want.NumFields() || int(rows.NumRows()) != len(sequences) {
		return c, driftline.Errorf(driftline.Internal, "view %q: %d columns and %d rows for %d columns and %d sequences",
			view.Name, rows.NumCols(), rows.NumRows(), want.NumFields(), len(sequences))
	}
	for i, f := range want.Fields() {
		if got := rows.Column(i).DataType(); !arrow.TypeEqual(got, f.Type) {
			return c, driftline.Errorf(driftline.Internal, "view %q: column %q is %s, want %s", view.Name, f.Name, got, f.Type)
		}
	}
	columns := rows.Columns()
	keys := len(view.JoinKeys)
	c.keys, c.event, c.features = columns[:keys], columns[keys].(*array.Timestamp), columns[keys+1:]
	if view.CreatedTimestamp != "" {
		c.created, c.features = c.features[0].(*array.Timestamp), c.features[1:]
	}
	return c, nil
}

// times returns row i's times, NoTime for a created timestamp that is null.
func (c *viewColumns) times(view *driftline.FeatureView, i int) (event, created int64, err error) {
	if c.event.IsNull(i) {
		return 0, 0, rowError(view, view.EventTimestamp, i, "null")
	}
	if event = int64(c.event.Value(i)); event == NoTime {
		return 0, 0, rowError(view, view.EventTimestamp, i, "out of range")
	}
	if c.created == nil || c.created.IsNull(i) {
		return event, NoTime, nil
	}
	if created = int64(c.created.Value(i)); created == NoTime {
		return 0, 0, rowError(view, view.CreatedTimestamp, i, "out of range")
	}
	return event, created, nil
}

func rowError(view *driftline.FeatureView, column string, i int, what string) error {
	return driftline.Errorf(driftline.Invalid, "view %q: column %q is %s (row %d)", view.Name, column, what, i).
		WithRef(driftline.ViewRef(view.Name)).
		WithHint("give every row its join keys and its event timestamp")
}

// layoutToWrite returns the layout of the view's features, and adds it to b
// unless it is stored. Until b or another batch with it is committed, every
// batch carries it: a row must not be there before its layout is.
func (s *Store) layoutToWrite(b *kv.Batch, view *driftline.FeatureView) (*layout, error) {
	l, err := s.layoutOfView(view)
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "view %q has no layout: %w", view.Name, err)
	}
	if _, ok := s.stored.Load(l.id); ok {
		return l, nil
	}
	key := layoutKey(l.id)
	text, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	switch {
	case text == nil:
		b.Set(key, l.text)
	case bytes.Equal(text, l.text):
		s.stored.Store(l.id, l)
	default:
		return nil, driftline.Errorf(driftline.DataLoss, "view %q: the stored layout %016x is damaged", view.Name, l.id).
			WithHint("restore the data folder from a backup")
	}
	return l, nil
}

func (s *Store) layoutOfView(view *driftline.FeatureView) (*layout, error) {
	if known, ok := s.written.Load(view.Name); ok && known.(*layout).isOf(view.Features) {
		return known.(*layout), nil
	}
	l, err := layoutOf(view.Features)
	if err != nil {
		return nil, err
	}
	s.written.Store(view.Name, l)
	return l, nil
}

// layout returns a stored layout, or nil if there is none of that id.
func (s *Store) layout(id uint64) (*layout, error) {
	if known, ok := s.stored.Load(id); ok {
		return known.(*layout), nil
	}
	text, err := s.db.Get(layoutKey(id))
	if err != nil || text == nil {
		return nil, err
	}
	l, err := parseLayout(id, text)
	if err != nil {
		return nil, nil
	}
	s.stored.Store(id, l)
	return l, nil
}

func layoutKey(id uint64) []byte { return kv.AppendUint64([]byte{kv.OnlineLayouts}, id) }
