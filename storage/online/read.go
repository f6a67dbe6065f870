package online

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Ask is one group of a read, and its entities: a column per join key, in the group's
// order and of its types. A row with a null in it is no entity. A group without join keys
// has one global row, which is the answer to every row asked for.
type Ask struct {
	Group *Group
	Keys  []arrow.Array
}

// Found says which rows of one view were found: an element per row asked for.
type Found struct {
	Events  []int64 // event time, microseconds; NoTime if there is no row
	Created []int64 // created time, microseconds; NoTime if it is null or there is no row

	onlineOnly []bool // nil if no row was written to the online store only

	// Floor is the event time before which rows may be missing, because they expired:
	// where there is no row, or an older one, a newer one that is older than Floor may
	// have been there. It is [Complete] if nothing is missing.
	Floor int64
}

// Has reports whether the entity has a row; its values can be null all the same.
func (f *Found) Has(row int) bool { return f.Events[row] != NoTime }

// Read fills values with what the store has, all from one state of it. It returns one
// Found per view, in the order in which they were added to their groups, group by group.
// TTLs and the time asked for are not applied: that is for the caller, who has the times.
func (s *Store) Read(ctx context.Context, values *Values, asks []Ask) (_ []Found, err error) {
	views := 0
	for i := range asks {
		if err := checkKeys(asks[i].Group.joinKeys, asks[i].Keys, values.rows); err != nil {
			return nil, err
		}
		views += len(asks[i].Group.lookups)
	}
	found := noRows(views, values.rows)
	state, err := s.db.State()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	first := 0
	for _, ask := range asks {
		views := len(ask.Group.lookups)
		if err := s.readGroup(ctx, state, values, ask, found[first:first+views]); err != nil {
			return nil, err
		}
		first += views
	}
	return found, nil
}

func noRows(views, rows int) []Found {
	times := make([]int64, 2*views*rows)
	for i := range times {
		times[i] = NoTime
	}
	found := make([]Found, views)
	for i := range found {
		found[i].Events, times = times[:rows:rows], times[rows:]
		found[i].Created, times = times[:rows:rows], times[rows:]
	}
	return found
}

// readGroup visits entities in key order, and the views of each in key order.
func (s *Store) readGroup(ctx context.Context, state *kv.State, values *Values, ask Ask, found []Found) error {
	const between = 256 // entities between two looks at ctx
	g := ask.Group
	entities := entitiesOf(g, ask.Keys, values.rows)
	var scratch [128]byte
	for visits := 0; len(entities.order) > 0; visits++ {
		if visits%between == 0 && ctx.Err() != nil {
			return driftline.Errorf(driftline.Deadline, "online read was stopped: %w", ctx.Err())
		}
		entity, rows := entities.next()
		key := append(scratch[:0], entity...)
		for _, at := range g.inOrder {
			l := g.lookups[at]
			value, err := state.Get(append(key, l.suffix...))
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			stored, err := s.unpack(l.view, value)
			if err != nil {
				return err
			}
			if err := l.answer(&stored, values, rows, &found[at]); err != nil {
				return err
			}
		}
	}
	return s.readFloors(g, found)
}

// readFloors is for after the rows were read: a floor rises before rows go.
func (s *Store) readFloors(g *Group, found []Found) (err error) {
	for i, l := range g.lookups {
		if found[i].Floor, err = s.floor(l.view); err != nil {
			return err
		}
	}
	return nil
}

// unpack takes a packed row apart. It keeps value.
func (s *Store) unpack(view driftline.ViewName, value []byte) (row, error) {
	event, created, id, rest, ok := splitHeader(value)
	if !ok {
		return row{}, damagedRow(view)
	}
	l, err := s.layout(id)
	if err != nil {
		return row{}, err
	}
	if l == nil {
		return row{}, damagedRow(view)
	}
	r, ok := l.split(rest)
	if !ok {
		return row{}, damagedRow(view)
	}
	r.event, r.created = event, created
	return r, nil
}

// OnlyOnline reports whether a row was written to the online store only: it has no copy.
func (f *Found) OnlyOnline(row int) bool { return f.onlineOnly != nil && f.onlineOnly[row] }

func (f *Found) markOnlineOnly(row int32) {
	if f.onlineOnly == nil {
		f.onlineOnly = make([]bool, len(f.Events))
	}
	f.onlineOnly[row] = true
}

func damagedRow(view driftline.ViewName) error {
	return driftline.Errorf(driftline.DataLoss, "view %q: a stored online row is damaged", view).
		WithRef(driftline.ViewRef(view)).
		WithHint("restore the data folder from a backup, or write the entity's row again")
}

// entities are the keys of the rows asked for, as far as the entity goes, in key order.
type entities struct {
	keys  []byte
	ends  []int   // row i's key ends at ends[i+1] and begins at ends[i]; it is empty if the row is no entity
	order []int32 // rows not yet taken
}

const expectedKeyBytes = 64

func entitiesOf(g *Group, columns []arrow.Array, rows int) *entities {
	e := &entities{keys: make([]byte, 0, rows*expectedKeyBytes), ends: make([]int, 1, rows+1), order: make([]int32, 0, rows)}
	for row := range rows {
		start := len(e.keys)
		var null int
		if e.keys, null = appendEntity(append(e.keys, g.prefix...), columns, row); null >= 0 {
			e.keys = e.keys[:start]
		} else {
			e.order = append(e.order, int32(row))
		}
		e.ends = append(e.ends, len(e.keys))
	}
	if len(e.order) > 1 {
		slices.SortFunc(e.order, func(a, b int32) int { return bytes.Compare(e.key(a), e.key(b)) })
	}
	return e
}

func (e *entities) key(row int32) []byte { return e.keys[e.ends[row]:e.ends[row+1]] }

// next takes one entity, and the rows that ask for it.
func (e *entities) next() (key []byte, rows []int32) {
	key = e.key(e.order[0])
	n := 1
	for n < len(e.order) && bytes.Equal(e.key(e.order[n]), key) {
		n++
	}
	rows, e.order = e.order[:n], e.order[n:]
	return key, rows
}
