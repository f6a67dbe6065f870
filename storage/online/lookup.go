package online

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Group is features of views that have the same join keys and are read for the same
// entities: the rows of one entity lie side by side. It is made once for many reads,
// and then shared and never changed.
type Group struct {
	joinKeys []driftline.Field
	prefix   []byte // of every key
	lookups  []*lookup
	inOrder  []int // of lookups, as their rows lie
}

// NewGroup returns a group of no view.
func NewGroup(joinKeys []driftline.Field) *Group {
	return &Group{joinKeys: joinKeys, prefix: keyPrefix(joinKeys)}
}

// Add asks for features of a view. Their values go to the columns of [Values] from first
// on. Those that aggregations derive are left alone: see [Store.Aggregate].
func (g *Group) Add(view *driftline.FeatureView, features []string, first int) error {
	l, err := newLookup(view, features, first)
	if err != nil {
		return err
	}
	g.inOrder = append(g.inOrder, len(g.lookups))
	g.lookups = append(g.lookups, l)
	slices.SortStableFunc(g.inOrder, func(a, b int) int { return bytes.Compare(g.lookups[a].suffix, g.lookups[b].suffix) })
	return nil
}

// checkKeys refuses key columns that are not those of the join keys.
func checkKeys(joinKeys []driftline.Field, keys []arrow.Array, rows int) error {
	if len(keys) != len(joinKeys) {
		return driftline.Errorf(driftline.Internal, "%d key columns, want %d", len(keys), len(joinKeys))
	}
	for i, k := range keys {
		want := joinKeys[i]
		if !arrow.TypeEqual(k.DataType(), want.Type.Arrow()) {
			return driftline.Errorf(driftline.Internal, "join key %q is %s, want %s", want.Name, k.DataType(), want.Type)
		}
		if k.Len() != rows {
			return driftline.Errorf(driftline.Internal, "join key %q has %d rows, want %d", want.Name, k.Len(), rows)
		}
	}
	return nil
}

// lookup is the part of a group that one view answers.
type lookup struct {
	view     driftline.ViewName
	suffix   []byte // of the key of every row
	features []driftline.Field
	first    int // column of the first feature

	recent atomic.Pointer[route] // of the layout that was met last
}

func newLookup(view *driftline.FeatureView, features []string, first int) (*lookup, error) {
	l := &lookup{view: view.Name, suffix: kv.AppendString(nil, string(view.Name)), first: first}
	for _, name := range features {
		feature, ok := view.Feature(name)
		if !ok && !view.Derives(name) {
			return nil, driftline.Unknown("feature", name, view.OfferedNames()).WithRef(driftline.ViewRef(view.Name))
		}
		l.features = append(l.features, feature) // no row has one that is derived
	}
	return l, nil
}

// answer gives a stored row to all rows that asked for it.
func (l *lookup) answer(stored *row, values *Values, rows []int32, found *Found) error {
	route, err := l.routeThrough(stored.layout)
	if err != nil {
		return err
	}
	for _, row := range rows {
		found.Events[row], found.Created[row] = stored.event, stored.created
		if stored.layout.onlineOnly {
			found.markOnlineOnly(row)
		}
		if err := route.unpack(values, l.first, int(row), stored); err != nil {
			return err
		}
	}
	return nil
}

// route says where in rows of one layout the values of a lookup are.
type route struct {
	layout *layout
	steps  []step
	plain  bool // every feature is there and has eight bytes
}

// step is one feature; rows of the layout do not have it if field is nil.
type step struct {
	at    int // in nulls
	field *layoutField
}

// routeThrough returns the route of the lookup through rows of a layout.
func (l *lookup) routeThrough(layout *layout) (*route, error) {
	if r := l.recent.Load(); r != nil && r.layout == layout {
		return r, nil
	}
	r := &route{layout: layout, steps: make([]step, len(l.features)), plain: true}
	for i, feature := range l.features {
		at, ok := layout.places[feature.Identity()]
		if !ok {
			r.plain = false
			continue
		}
		field := &layout.fields[at]
		if field.Type != feature.Type && !widens(field.Type, feature.Type) {
			return nil, driftline.Errorf(driftline.DataLoss, "feature %q of view %q is stored as %s, want %s", feature.Name, l.view, field.Type, feature.Type).
				WithRef(driftline.ViewRef(l.view)).
				WithHint("give the feature of the new type a new name")
		}
		r.steps[i] = step{at: at, field: field}
		r.plain = r.plain && slotBytes(field.Type) == 8
	}
	l.recent.Store(r)
	return r, nil
}

// widens reports whether values of one type are read as the other: those of a feature
// that was widened after its row was written.
func widens(stored, wanted driftline.Type) bool {
	return stored == driftline.Int32 && wanted == driftline.Int64 || stored == driftline.Float32 && wanted == driftline.Float64
}

// unpack puts the values of a stored row into one row of a table.
func (r *route) unpack(values *Values, first, row int, stored *row) error {
	if r.plain && !stored.hasNulls() {
		for i := range r.steps {
			values.SetWord(first+i, row, binary.LittleEndian.Uint64(stored.nulls[r.steps[i].field.slot:]))
		}
		return nil
	}
	for i := range r.steps {
		s := &r.steps[i]
		if s.field == nil || stored.isNull(s.at) {
			continue
		}
		if isText(s.field.Type) {
			if err := values.SetText(first+i, row, stored.text(s.field)); err != nil {
				return err
			}
			continue
		}
		values.SetWord(first+i, row, stored.word(s.field))
	}
	return nil
}
