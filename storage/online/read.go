package online

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// Lookup asks for some features of one view for some entities.
type Lookup struct {
	View *driftline.FeatureView

	// Keys has one column per join key of the view, in its order and of its
	// types. A row with a null in it is no entity.
	Keys []arrow.Array

	// Features are names of features of the view.
	Features []string

	// Rows is how many rows are asked for. It is needed for a view without join
	// keys, whose one global row is the answer to all of them; otherwise it may
	// be left 0, or be the length of the key columns.
	Rows int
}

// Result is the answer to one lookup: one element per row asked for.
type Result struct {
	// Columns has one array per feature asked for, of the feature's type. The
	// caller releases them.
	Columns []arrow.Array

	Events  []int64 // event time of the row, microseconds; NoTime where Found is false
	Created []int64 // created time of the row; NoTime where it is null or Found is false
	Found   []bool  // whether the entity has a row; its values can be null all the same

	// Floor is the event time before which rows may be missing, because they expired:
	// where there is no row, or an older one, a newer one that is older than Floor may
	// have been there. It is [Complete] if nothing is missing.
	Floor int64
}

// Release gives the columns back.
func (r *Result) Release() {
	for _, c := range r.Columns {
		c.Release()
	}
	r.Columns = nil
}

// Read answers all lookups in one pass over the store, and so from one state of
// it. It returns one result per lookup, in order, or none and an error. TTLs and
// the time asked for are not applied: the results carry the times.
func (s *Store) Read(ctx context.Context, mem memory.Allocator, lookups []Lookup) ([]Result, error) {
	plan, err := planRead(lookups)
	if err != nil {
		return nil, err
	}
	if err := s.fetch(ctx, lookups, plan); err != nil {
		return nil, err
	}
	results := make([]Result, len(lookups))
	for i, l := range lookups {
		err := results[i].fill(mem, l, plan.rowsOf(i))
		if err == nil { // after the rows were read: a floor rises before rows go
			results[i].Floor, err = s.floor(l.View.Name)
		}
		if err != nil {
			for j := range i + 1 {
				results[j].Release()
			}
			return nil, err
		}
	}
	return results, nil
}

// readPlan is what one Read asks for and finds. Rows of all lookups are counted
// through: lookup i has the rows from first[i] to first[i+1].
type readPlan struct {
	first []int
	keys  [][]byte // of rows that can be there
	rowOf []int32  // keys[i] is of row rowOf[i]
	rows  []row
}

func (p *readPlan) rowsOf(lookup int) []row { return p.rows[p.first[lookup]:p.first[lookup+1]] }

const expectedKeyBytes = 64

func planRead(lookups []Lookup) (*readPlan, error) {
	p := &readPlan{first: make([]int, 1, len(lookups)+1)}
	total := 0
	for i := range lookups {
		n, err := lookups[i].check()
		if err != nil {
			return nil, err
		}
		total += n
		p.first = append(p.first, total)
	}
	p.rows = make([]row, total)
	p.keys = make([][]byte, 0, total)
	p.rowOf = make([]int32, 0, total)
	arena := make([]byte, 0, total*expectedKeyBytes) // a key that was cut from it stays valid when it moves
	for i, l := range lookups {
		prefix := keyPrefix(l.View.JoinKeys)
		for n := range p.first[i+1] - p.first[i] {
			start := len(arena)
			var null int
			if arena, null = appendEntity(append(arena, prefix...), l.Keys, n); null >= 0 {
				arena = arena[:start]
				continue
			}
			arena = kv.AppendString(arena, string(l.View.Name))
			p.keys = append(p.keys, arena[start:len(arena):len(arena)])
			p.rowOf = append(p.rowOf, int32(p.first[i]+n))
		}
	}
	return p, nil
}

// check returns how many rows the lookup asks for.
func (l *Lookup) check() (rows int, err error) {
	if len(l.Keys) != len(l.View.JoinKeys) {
		return 0, driftline.Errorf(driftline.Internal, "view %q: %d key columns, want %d", l.View.Name, len(l.Keys), len(l.View.JoinKeys))
	}
	rows = l.Rows
	for i, k := range l.Keys {
		want := l.View.JoinKeys[i]
		if !arrow.TypeEqual(k.DataType(), want.Type.Arrow()) {
			return 0, driftline.Errorf(driftline.Internal, "view %q: join key %q is %s, want %s", l.View.Name, want.Name, k.DataType(), want.Type)
		}
		if rows = k.Len(); rows != l.Keys[0].Len() {
			return 0, driftline.Errorf(driftline.Internal, "view %q: join key %q has %d rows, %q has %d",
				l.View.Name, want.Name, rows, l.View.JoinKeys[0].Name, l.Keys[0].Len())
		}
	}
	if l.Rows != 0 && l.Rows != rows {
		return 0, driftline.Errorf(driftline.Internal, "view %q: %d rows asked for, the join keys have %d", l.View.Name, l.Rows, rows)
	}
	return rows, nil
}

// maxArenaBytes bounds the guess of how much is still to come.
const maxArenaBytes = 1 << 20

// fetch fills the plan's rows.
func (s *Store) fetch(ctx context.Context, lookups []Lookup, p *readPlan) error {
	const between = 256 // rows between two looks at ctx
	var arena []byte
	var last *layout
	visits := 0
	return s.db.GetMany(p.keys, func(i int, value []byte) error {
		if visits++; visits%between == 1 && ctx.Err() != nil {
			return driftline.Errorf(driftline.Deadline, "online read was stopped: %w", ctx.Err())
		}
		if value == nil {
			return nil
		}
		event, created, id, rest, ok := splitHeader(value)
		if ok && (last == nil || last.id != id) {
			var err error
			if last, err = s.layout(id); err != nil {
				return err
			}
			ok = last != nil
		}
		if !ok {
			return p.damaged(lookups, i)
		}
		if cap(arena)-len(arena) < len(rest) { // rows that were cut from it keep the old one
			arena = make([]byte, 0, max(len(rest), min(len(rest)*(len(p.keys)-visits+1), maxArenaBytes)))
		}
		start := len(arena)
		arena = append(arena, rest...)
		r, ok := last.split(arena[start:len(arena):len(arena)])
		if !ok {
			return p.damaged(lookups, i)
		}
		r.event, r.created = event, created
		p.rows[p.rowOf[i]] = r
		return nil
	})
}

// damaged names the view whose row is behind key i.
func (p *readPlan) damaged(lookups []Lookup, i int) error {
	lookup := 0
	for int(p.rowOf[i]) >= p.first[lookup+1] {
		lookup++
	}
	return damagedRow(lookups[lookup].View.Name)
}

func damagedRow(view driftline.ViewName) error {
	return driftline.Errorf(driftline.DataLoss, "view %q: a stored online row is damaged", view).
		WithRef(driftline.ViewRef(view)).
		WithHint("restore the data folder from a backup, or write the entity's row again")
}

// fill makes the answer to a lookup from its rows. After an error r holds the
// columns that were made before it.
func (r *Result) fill(mem memory.Allocator, l Lookup, rows []row) error {
	times := make([]int64, 2*len(rows))
	r.Events, r.Created = times[:len(rows):len(rows)], times[len(rows):]
	r.Found = make([]bool, len(rows))
	for i := range rows {
		r.Events[i], r.Created[i] = NoTime, NoTime
		if rows[i].layout != nil {
			r.Found[i], r.Events[i], r.Created[i] = true, rows[i].event, rows[i].created
		}
	}
	r.Columns = make([]arrow.Array, 0, len(l.Features))
	for _, name := range l.Features {
		feature, ok := l.View.Feature(name)
		if !ok {
			return driftline.Unknown("feature", name, l.View.FeatureNames()).WithRef(driftline.ViewRef(l.View.Name))
		}
		column, err := gather(mem, l.View.Name, feature, rows)
		if err != nil {
			return err
		}
		r.Columns = append(r.Columns, column)
	}
	return nil
}
