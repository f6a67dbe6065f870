package offline

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/driftline/driftline"
)

// SchemaChange is one step of [Store.Evolve]: [AddColumn], [DropColumn],
// [RenameColumn] or [WidenColumn].
type SchemaChange func(*evolution) error

// evolution is the columns of a table while they change.
type evolution struct {
	table  TableID
	fields []iceberg.NestedField
	lastID int // ids are never used twice

	identities map[int]string // by field id; nil unless the change is a [Store.Reshape]
}

// AddColumn adds a column after the others. Rows written before have null there.
func AddColumn(f arrow.Field) SchemaChange {
	return func(e *evolution) error {
		if _, err := e.find(f.Name); err == nil {
			return driftline.Errorf(driftline.AlreadyExists, "table %s has a column %q", e.table, f.Name).
				WithHint("drop or rename it first, or give the new column another name")
		}
		if !f.Nullable {
			return driftline.Errorf(driftline.FailedPrecondition, "table %s: column %q cannot be added, because older rows have no value for it", e.table, f.Name).
				WithHint("make it nullable")
		}
		mapped, err := icebergSchema(arrow.NewSchema([]arrow.Field{f}, nil))
		if err != nil {
			return err
		}
		fresh, err := iceberg.AssignFreshSchemaIDs(mapped, e.nextID)
		if err != nil {
			return err
		}
		e.fields = append(e.fields, fresh.Field(0))
		return nil
	}
}

// DropColumn drops a column. A column of the same name that is added later is another one.
func DropColumn(name string) SchemaChange {
	return func(e *evolution) error {
		at, err := e.find(name)
		if err != nil {
			return err
		}
		if len(e.fields) == 1 {
			return driftline.Errorf(driftline.FailedPrecondition, "table %s has no other column than %q", e.table, name).
				WithHint("drop the table instead")
		}
		e.fields = slices.Delete(e.fields, at, at+1)
		return nil
	}
}

// RenameColumn gives a column another name.
func RenameColumn(from, to string) SchemaChange {
	return func(e *evolution) error {
		at, err := e.find(from)
		if err != nil {
			return err
		}
		if _, err := e.find(to); err == nil && from != to {
			return driftline.Errorf(driftline.AlreadyExists, "table %s has a column %q", e.table, to).
				WithHint("choose another name for column %q", from)
		}
		if to == "" {
			return driftline.Errorf(driftline.Invalid, "table %s: column %q needs a name", e.table, from)
		}
		e.fields[at].Name = to
		return nil
	}
}

// WidenColumn gives a column a type that has all values of its own: int64 after
// int32, float64 after float32, and decimals of more digits at the same scale.
func WidenColumn(name string, to arrow.DataType) SchemaChange {
	return func(e *evolution) error {
		at, err := e.find(name)
		if err != nil {
			return err
		}
		wide, err := (&schemaMapper{}).typeOf(name, to)
		if err != nil {
			return err
		}
		have := e.fields[at].Type
		if !widens(have, wide) {
			return driftline.Errorf(driftline.FailedPrecondition, "table %s: column %q is %s and cannot become %s", e.table, name, have, wide).
				WithHint("int widens to long, float to double, and a decimal to more digits; for anything else register a new version of the view")
		}
		e.fields[at].Type = wide
		return nil
	}
}

// widens reports whether every value of one type is one of the other, as Iceberg sees it.
func widens(from, to iceberg.Type) bool {
	switch from := from.(type) {
	case iceberg.Int32Type:
		return to.Equals(iceberg.PrimitiveTypes.Int32) || to.Equals(iceberg.PrimitiveTypes.Int64)
	case iceberg.Float32Type:
		return to.Equals(iceberg.PrimitiveTypes.Float32) || to.Equals(iceberg.PrimitiveTypes.Float64)
	case iceberg.DecimalType:
		to, ok := to.(iceberg.DecimalType)
		return ok && from.Scale() == to.Scale() && from.Precision() <= to.Precision()
	}
	return from.Equals(to)
}

func (e *evolution) find(name string) (int, error) {
	at := slices.IndexFunc(e.fields, func(f iceberg.NestedField) bool { return f.Name == name })
	if at >= 0 {
		return at, nil
	}
	names := make([]string, len(e.fields))
	for i, f := range e.fields {
		names[i] = f.Name
	}
	return -1, driftline.Unknown("column", name, names)
}

func (e *evolution) nextID() int {
	e.lastID++
	return e.lastID
}

// Evolve changes the columns of a table, one change after the other, all or none. No
// file is rewritten: columns are found by field id, and what is narrower in a file is
// widened when it is read. Snapshots committed before keep their schema; the next one
// has the new. Rows that were staged before can still be committed.
func (s *Store) Evolve(ctx context.Context, id TableID, changes ...SchemaChange) error {
	defer s.lock(id)()
	t, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	return s.evolve(ctx, id, t, changes)
}

func (s *Store) evolve(ctx context.Context, id TableID, t *table.Table, changes []SchemaChange) error {
	e := &evolution{table: id, fields: slices.Clone(t.Schema().Fields()), lastID: t.Metadata().LastColumnID()}
	for _, change := range changes {
		if err := change(e); err != nil {
			return err
		}
	}
	next := iceberg.NewSchema(0, e.fields...)
	if next.Equals(t.Schema()) {
		return nil
	}
	updates := []table.Update{table.NewAddSchemaUpdate(next), table.NewSetCurrentSchemaUpdate(lastAdded)}
	if _, ok := t.Properties()[table.DefaultNameMappingKey]; ok {
		// Names count only in files without field ids, of which there are none.
		updates = append(updates, table.NewRemovePropertiesUpdate([]string{table.DefaultNameMappingKey}))
	}
	if noted, err := e.noted(t); err != nil {
		return err
	} else if noted != nil {
		updates = append(updates, table.NewSetPropertiesUpdate(noted))
	}
	_, err := s.update(ctx, id, t, "change the columns of table "+id.String(), updates...)
	return err
}

// lastAdded means the schema that the same commit adds.
const lastAdded = -1
