package offline

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/columns"
)

// ShapedColumn is a column by what it is. Its identity stays when its name or type
// changes, and no other column of the table has or ever had it.
type ShapedColumn struct {
	Identity string
	Field    arrow.Field
}

// Reshape gives a table these columns, by identity: those that have another name or a
// narrower type are renamed and widened, missing ones added, others dropped, all in one
// step and as [Store.Evolve] does it. A table that has the columns is left alone.
//
// A column has its first name as its identity unless it was added by Reshape with another.
func (s *Store) Reshape(ctx context.Context, id TableID, shape []ShapedColumn) error {
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	known, err := identities(t)
	if err != nil {
		return s.damaged(id, err)
	}
	return s.evolve(ctx, id, t, []SchemaChange{func(e *evolution) error {
		e.identities = known
		return e.reshape(shape)
	}})
}

// identitiesKey is the table property with the identities of columns, by field id, as
// far as they are not the columns' names. What is in it stays: older snapshots have
// columns that the table has no more.
const identitiesKey = "driftline.columns"

func identities(t *table.Table) (map[int]string, error) {
	known := map[int]string{}
	text, ok := t.Properties()[identitiesKey]
	if !ok {
		return known, nil
	}
	return known, json.Unmarshal([]byte(text), &known)
}

// noted returns the properties that keep the identities, nil if they are kept.
func (e *evolution) noted(t *table.Table) (iceberg.Properties, error) {
	before, err := identities(t)
	if e.identities == nil || err != nil || maps.Equal(before, e.identities) {
		return nil, err
	}
	text, err := json.Marshal(e.identities)
	return iceberg.Properties{identitiesKey: string(text)}, err
}

func identityOf(known map[int]string, id int, name string) string {
	if identity, ok := known[id]; ok {
		return identity
	}
	return name
}

func (e *evolution) reshape(shape []ShapedColumn) error {
	wanted := map[string]ShapedColumn{}
	for _, c := range shape {
		wanted[c.Identity] = c
	}
	var kept []iceberg.NestedField
	for _, f := range e.fields {
		identity := identityOf(e.identities, f.ID, f.Name)
		column, ok := wanted[identity]
		if !ok {
			continue
		}
		delete(wanted, identity)
		one, err := e.reshapeOne(f, identity, column.Field)
		if err != nil {
			return err
		}
		kept = append(kept, one)
	}
	e.fields = kept
	for _, c := range shape {
		if _, missing := wanted[c.Identity]; !missing {
			continue
		}
		if err := AddColumn(c.Field)(e); err != nil {
			return err
		}
		e.identify(e.fields[len(e.fields)-1].ID, c.Field.Name, c.Identity)
	}
	return nil
}

// reshapeOne gives a column its name and type of now.
func (e *evolution) reshapeOne(f iceberg.NestedField, identity string, to arrow.Field) (iceberg.NestedField, error) {
	wide, err := (&schemaMapper{}).typeOf(to.Name, to.Type)
	if err != nil {
		return f, err
	}
	if !widens(f.Type, wide) {
		return f, driftline.Errorf(driftline.FailedPrecondition, "table %s: column %q is %s and cannot become %s", e.table, f.Name, f.Type, wide).
			WithHint("give the new column another name")
	}
	f.Name, f.Type = to.Name, wide
	e.identify(f.ID, f.Name, identity)
	return f, nil
}

// identify notes the identity of a column that is not its name. An identity that was
// noted stays so when the column has that name again.
func (e *evolution) identify(id int, name, identity string) {
	if identity != name {
		e.identities[id] = identity
	}
}

// Identities returns the identity of each column of the snapshot's schema, in its order:
// see [Store.Reshape].
func (s Snapshot) Identities() []string {
	of := make([]string, s.Schema.NumFields())
	for i, f := range s.Schema.Fields() {
		id, _ := fieldID(s.stored.Field(i))
		of[i] = identityOf(s.identities, id, f.Name)
	}
	return of
}

// ColumnsOf says where columns are in the snapshot's files, as far as it has them, in
// whatever names and types they are wanted.
func (s Snapshot) ColumnsOf(shape []ShapedColumn) []columns.Column {
	stored, identities := s.Columns(), s.Identities()
	var of []columns.Column
	for _, c := range shape {
		if at := slices.Index(identities, c.Identity); at >= 0 {
			of = append(of, columns.Column{ID: stored[at].ID, Name: c.Field.Name, Type: c.Field.Type})
		}
	}
	return of
}

// Reshaped reports whether the table has other columns than its snapshot s, which was
// committed before they changed.
func (s *Store) Reshaped(ctx context.Context, snapshot Snapshot) (bool, error) {
	t, err := s.load(ctx, snapshot.Table)
	if err != nil {
		return false, err
	}
	now, err := arrowSchema(t.Schema(), true)
	if err != nil {
		return false, s.damaged(snapshot.Table, err)
	}
	same := func(a, b arrow.Field) bool {
		x, _ := fieldID(a)
		y, _ := fieldID(b)
		return x == y && a.Name == b.Name && arrow.TypeEqual(a.Type, b.Type)
	}
	return !slices.EqualFunc(now.Fields(), snapshot.stored.Fields(), same), nil
}
