package online

import (
	"bytes"
	"errors"
	"slices"
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
	written sync.Map // writtenAs → *layout

	floors    floors
	histories sync.Map // driftline.ViewName → historyState
	expiring  func()   // called before rows that were found expired are removed; nil but in tests
}

// writtenAs names a layout in [Store.written].
type writtenAs struct {
	view       driftline.ViewName
	onlineOnly bool
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
	return s.pack(b, view, rows, sequences, func(_ *layout, key, _, value []byte) { b.Max(key, value) })
}

// pack visits the rows of a batch with their key, the entity's part of it, and the packed
// row, all valid during the visit. The layout that they are packed in is added to b.
func (s *Store) pack(b *kv.Batch, view *driftline.FeatureView, rows arrow.RecordBatch, sequences []int64, visit func(l *layout, key, entity, value []byte)) error {
	columns, err := columnsOf(view, rows)
	if err != nil {
		return err
	}
	if int(rows.NumRows()) != len(sequences) {
		return driftline.Errorf(driftline.Internal, "view %q: %d rows for %d sequences", view.Name, rows.NumRows(), len(sequences))
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
		entity := key[len(prefix):]
		key = kv.AppendString(key, string(view.Name))
		event, created, err := columns.times(view, i)
		if err != nil {
			return err
		}
		value = appendHeader(value[:0], event, created, sequences[i])
		value = l.appendFeatures(value, columns.features, i)
		visit(l, key, key[len(prefix):len(prefix)+len(entity)], value)
	}
	return nil
}

// Delete removes the rows of entities, and their history, from b's view of the store: row
// i of the key columns, which are in the view's types and without nulls. A row that was
// put in the meantime goes too.
func (s *Store) Delete(b *kv.Batch, view *driftline.FeatureView, keys []arrow.Array, rows int) {
	prefix, history, tiles := keyPrefix(view.JoinKeys), historyPrefix(view.Name), tilePrefix(view.Name)
	for i := range rows {
		key, _ := appendEntity(slices.Clip(prefix), keys, i)
		b.Delete(kv.AppendString(key, string(view.Name)))
		if !view.KeepsHistory() {
			continue
		}
		past, _ := appendEntity(slices.Clip(history), keys, i)
		b.DeletePrefix(past)
		b.Touch(s.db.Subject(past))
		summaries, _ := appendEntity(slices.Clip(tiles), keys, i)
		b.DeletePrefix(summaries)
	}
}

// deletedAtOnce bounds a batch of [Store.DeleteView].
const deletedAtOnce = 50_000

// DeleteView removes the rows of a view but those that were written to this store only,
// of which there is no other copy. Nobody may put rows of it meanwhile. After an error a
// part of them is gone.
func (s *Store) DeleteView(view *driftline.FeatureView) error {
	b, pending := s.db.NewBatch(), 0
	defer func() { b.Close() }()
	for pair, err := range s.rowsOf(view) {
		if err != nil {
			return err
		}
		if only, err := s.onlineOnly(view, pair.Value); only && err == nil { // a damaged row goes
			continue
		}
		b.Delete(pair.Key)
		if pending++; pending%deletedAtOnce == 0 {
			if err := errors.Join(b.Commit(), b.Close()); err != nil {
				return err
			}
			b = s.db.NewBatch()
		}
	}
	return b.Commit()
}

// viewColumns are the columns of a batch, by what they are for.
type viewColumns struct {
	keys     []arrow.Array
	event    *array.Timestamp
	created  *array.Timestamp // nil if the view has none
	features []arrow.Array
}

func columnsOf(view *driftline.FeatureView, rows arrow.RecordBatch) (c viewColumns, err error) {
	at := 0
	take := func(name string, want driftline.Type) {
		if at < int(rows.NumCols()) && err == nil {
			if got := rows.Column(at).DataType(); !arrow.TypeEqual(got, want.Arrow()) {
				err = driftline.Errorf(driftline.Internal, "view %q: column %q is %s, want %s", view.Name, name, got, want)
			}
		}
		at++
	}
	for _, k := range view.JoinKeys {
		take(k.Name, k.Type)
	}
	take(view.EventTimestamp, driftline.Timestamp)
	if view.CreatedTimestamp != "" {
		take(view.CreatedTimestamp, driftline.Timestamp)
	}
	for _, f := range view.Features {
		take(f.Name, f.Type)
	}
	if err == nil && at != int(rows.NumCols()) {
		err = driftline.Errorf(driftline.Internal, "view %q: %d columns, want %d", view.Name, rows.NumCols(), at)
	}
	if err != nil {
		return c, err
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
	l, err := s.layoutOfView(view, false)
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "view %q has no layout: %w", view.Name, err)
	}
	return l, s.writeLayout(b, view, l)
}

func (s *Store) writeLayout(b *kv.Batch, view *driftline.FeatureView, l *layout) error {
	if _, ok := s.stored.Load(l.id); ok {
		return nil
	}
	key := layoutKey(l.id)
	text, err := s.db.Get(key)
	if err != nil {
		return err
	}
	switch {
	case text == nil:
		b.Set(key, l.text)
	case bytes.Equal(text, l.text):
		s.stored.Store(l.id, l)
	default:
		return driftline.Errorf(driftline.DataLoss, "view %q: the stored layout %016x is damaged", view.Name, l.id).
			WithHint("restore the data folder from a backup")
	}
	return nil
}

func (s *Store) layoutOfView(view *driftline.FeatureView, onlineOnly bool) (*layout, error) {
	as := writtenAs{view.Name, onlineOnly}
	if known, ok := s.written.Load(as); ok && known.(*layout).isOf(view.Features) {
		return known.(*layout), nil
	}
	l, err := layoutOf(view.Features, onlineOnly)
	if err != nil {
		return nil, err
	}
	s.written.Store(as, l)
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

// Rows are rows of one view, encoded before their write sequences are known, so that
// writers can do it at the same time.
type Rows struct {
	view   *driftline.FeatureView
	prefix []byte
	layout *layout
	text   []byte // keys and values in turn
	ends   []int  // of each of them in text
}

// Encode begins rows of a view that are written to target. Those that are for the online
// store only are marked: see [Store.OnlineOnly].
func (s *Store) Encode(view *driftline.FeatureView, target driftline.Target) (*Rows, error) {
	l, err := s.layoutOfView(view, target == driftline.OnlineOnly)
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "view %q has no layout: %w", view.Name, err)
	}
	return &Rows{view: view, prefix: keyPrefix(view.JoinKeys), layout: l}, nil
}

// Append adds the rows of a batch that has the columns of view.Schema(). A null or
// unrepresentable key or time gives Invalid, naming column and row.
func (r *Rows) Append(rows arrow.RecordBatch) error {
	columns, err := columnsOf(r.view, rows)
	if err != nil {
		return err
	}
	for i := range int(rows.NumRows()) {
		var null int
		if r.text, null = appendEntity(append(r.text, r.prefix...), columns.keys, i); null >= 0 {
			return rowError(r.view, r.view.JoinKeys[null].Name, i, "null")
		}
		r.text = kv.AppendString(r.text, string(r.view.Name))
		r.ends = append(r.ends, len(r.text))
		event, created, err := columns.times(r.view, i)
		if err != nil {
			return err
		}
		r.text = appendHeader(r.text, event, created, 0)
		r.text = r.layout.appendFeatures(r.text, columns.features, i)
		r.ends = append(r.ends, len(r.text))
	}
	return nil
}

// Add is [Store.Put], and [Store.PutHistory] if the view keeps a history, of rows that
// were encoded before. The first of them was written with the sequence first, and the
// others with those that follow. view is the definition of now, with the same features.
func (s *Store) Add(b *kv.Batch, view *driftline.FeatureView, r *Rows, first int64) error {
	if err := s.writeLayout(b, r.view, r.layout); err != nil {
		return err
	}
	var history *historyWriter
	if view.KeepsHistory() {
		history = s.historyWriter(view, r.layout)
	}
	name := len(kv.AppendString(nil, string(view.Name)))
	start := 0
	for i := 0; i < len(r.ends); i += 2 {
		key, value := r.text[start:r.ends[i]], r.text[r.ends[i]:r.ends[i+1]]
		setSequence(value, first+int64(i/2))
		b.Max(key, value)
		if history != nil {
			history.add(b, key[len(r.prefix):len(key)-name], value)
		}
		start = r.ends[i+1]
	}
	return nil
}
