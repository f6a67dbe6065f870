package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/offline"
)

// A view changes in the registry first, and its table follows, at the latest when the
// data folder is opened again. Rows are never rewritten: those that are in a file, in the
// ingest log or online name their columns by identity, and so readers find a feature in
// all of them, whatever its name was when they were written. See [driftline.Field.Identity].

// ensureTable makes the table of a view, or gives it the columns of the view's present
// definition.
func (e *Engine) ensureTable(ctx context.Context, name driftline.ViewName) error {
	unlock := e.tables.lock(viewTable(name).String())
	defer unlock()
	return e.ensureTableLocked(ctx, name)
}

// ensureTableLocked is ensureTable by a caller who holds the table's lock. It asks for
// the definition anew, because a table must never go back to an older one.
func (e *Engine) ensureTableLocked(ctx context.Context, name driftline.ViewName) error {
	view, err := e.registry.View(name)
	if err != nil || view.Source != nil {
		return err
	}
	table := viewTable(name)
	if err := e.offline.CreateTable(ctx, table, view.StoredSchema()); err != nil && driftline.CodeOf(err) != driftline.AlreadyExists {
		return err
	}
	if err := e.offline.Reshape(ctx, table, shapeOf(view)); err != nil {
		return err
	}
	if err := e.reached(stepReshaped); err != nil {
		return err
	}
	return e.showShape(ctx, name)
}

// showShape commits a snapshot of the same rows if the newest one has the columns that
// the table had before, so that readers of the table alone see what there is now.
func (e *Engine) showShape(ctx context.Context, name driftline.ViewName) error {
	newest, ok, err := e.offline.Current(ctx, viewTable(name))
	if err != nil || !ok {
		return err
	}
	if changed, err := e.offline.Reshaped(ctx, newest); err != nil || !changed {
		return err
	}
	in := intent{ID: fmt.Sprintf("evolution-%s-%d", name, newest.ID), Kind: intentEvolution, View: name}
	return e.execute(ctx, &in, nil)
}

// shapeOf returns the columns of a view's files by what they are.
func shapeOf(view *driftline.FeatureView) []offline.ShapedColumn {
	var shape []offline.ShapedColumn
	identities := identitiesOf(view, view.StoredSchema())
	for i, f := range view.StoredSchema().Fields() {
		shape = append(shape, offline.ShapedColumn{Identity: identities[i], Field: f})
	}
	return shape
}

// identitiesOf returns what the columns of a schema of the view are stored as. Join keys
// and times never change, so their names do.
func identitiesOf(view *driftline.FeatureView, schema *arrow.Schema) []string {
	of := fieldNames(schema)
	for i, name := range of {
		if f, ok := view.Feature(name); ok {
			of[i] = f.Identity()
		}
	}
	return of
}

// readAs yields the rows of a snapshot of a view in a schema of the view, with nulls in
// the columns that the snapshot lacks.
func (e *Engine) readAs(ctx context.Context, snapshot offline.Snapshot, view *driftline.FeatureView, schema *arrow.Schema) driftline.Batches {
	return e.readWith(ctx, snapshot, schema, identitiesOf(view, schema))
}

// readPartsAs is readAs of the parts that are wanted, which is told where among the columns that
// are read those of the schema are, -1 for one that the table has not.
func (e *Engine) readPartsAs(ctx context.Context, snapshot offline.Snapshot, view *driftline.FeatureView, schema *arrow.Schema, wanted func(p offline.Part, columns []int) bool) driftline.Batches {
	names := matchNames(identitiesOf(view, schema), snapshot.Identities(), fieldNames(snapshot.Schema))
	read := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	columns := make([]int, len(names))
	for i, name := range names {
		columns[i] = slices.Index(read, name)
	}
	parts := e.offline.ReadParts(ctx, snapshot, read, func(p offline.Part) bool { return wanted(p, columns) })
	return e.reshaped(ctx, parts, schema, names)
}

// readWith is readAs for columns of any identities.
func (e *Engine) readWith(ctx context.Context, snapshot offline.Snapshot, schema *arrow.Schema, identities []string) driftline.Batches {
	names := matchNames(identities, snapshot.Identities(), fieldNames(snapshot.Schema))
	read := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	return e.reshaped(ctx, e.offline.Read(ctx, snapshot, read), schema, names)
}

// matchNames returns, for each identity wanted, the name of the column that has it; ""
// where none has.
func matchNames(wanted, identities, names []string) []string {
	matched := make([]string, len(wanted))
	for i, identity := range wanted {
		if at := slices.Index(identities, identity); at >= 0 {
			matched[i] = names[at]
		}
	}
	return matched
}

// reshaped yields rows in a schema whose columns are those of rows with the given names.
func (e *Engine) reshaped(ctx context.Context, rows driftline.Batches, schema *arrow.Schema, names []string) driftline.Batches {
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			whole, err := projectAs(ctx, e.mem, b, schema, names)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(whole, nil)
			whole.Release()
			if !more {
				return
			}
		}
	}}
}

// projectAs returns b in schema, whose columns are those of b with the given names,
// widened, and null where b has none of the name. The caller releases it.
func projectAs(ctx context.Context, mem memory.Allocator, b arrow.RecordBatch, schema *arrow.Schema, names []string) (arrow.RecordBatch, error) {
	made := make([]arrow.Array, 0, len(names))
	defer func() { releaseArrays(made) }()
	for i, f := range schema.Fields() {
		at := b.Schema().FieldIndices(names[i])
		if names[i] == "" || len(at) == 0 {
			made = append(made, array.MakeArrayOfNull(mem, f.Type, int(b.NumRows())))
			continue
		}
		column, err := castColumn(ctx, b.Column(at[0]), f.Type, mem)
		if err != nil {
			return nil, driftline.Errorf(driftline.Internal, "column %q cannot be read as %s: %w", names[i], f.Type, err)
		}
		made = append(made, column)
	}
	return array.NewRecordBatch(schema, made, b.NumRows()), nil
}

// keepsRows reports whether rows made for the definition before are rows of the one now:
// it may have more features, but none is gone, or has another name or type.
func keepsRows(before, now *driftline.FeatureView) bool {
	for _, f := range before.Features {
		if same, ok := now.Feature(f.Name); !ok || same.Type != f.Type || same.Identity() != f.Identity() {
			return false
		}
	}
	return true
}

// changedMeanwhile is the error of a write whose rows were made for another definition.
func changedMeanwhile(view driftline.ViewName) error {
	return driftline.Errorf(driftline.Conflict, "view %q: its columns changed while the rows were on their way", view).
		WithRef(driftline.ViewRef(view)).WithHint("look at the view and send the rows again")
}
