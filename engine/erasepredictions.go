package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/predictions"
	"github.com/driftline/driftline/storage/offline"
)

// A prediction log is of no entity but the prediction. It knows whom a prediction was for by the
// names of join keys: as columns, and as the JSON object of its column "entity", which labels
// have too. Where two entities call their join keys alike, their predictions cannot be told apart, and
// the rows of both go: what should stay and is gone does less harm here than the reverse.

// finder tells which rows of a view are the target's.
type finder struct {
	columns []string // that it looks at, those of the view's keys first
	keys    int      // how many those are
	matches func(ctx context.Context, batch arrow.RecordBatch) ([]bool, error)
}

// rowsOf finds the rows of a view of the target's entity.
func (t *target) rowsOf(view *driftline.FeatureView) finder {
	names := view.KeyNames()
	return finder{names, len(names), func(ctx context.Context, batch arrow.RecordBatch) ([]bool, error) {
		return t.matches(ctx, batch, t.placesIn(batch.Schema()))
	}}
}

// rowsNaming finds the rows of a prediction log, or of labels, that name the target, or that are of one of
// some predictions.
func (t *target) rowsNaming(view *driftline.FeatureView, of map[string]bool) finder {
	f := finder{columns: slices.Clone(view.KeyNames())}
	f.keys = len(f.columns)
	for _, name := range append([]string{predictions.ID, predictions.Entity}, t.keyNames()...) {
		if _, ok := columnNamed(view, name); ok && !slices.Contains(f.columns, name) {
			f.columns = append(f.columns, name)
		}
	}
	f.matches = func(ctx context.Context, batch arrow.RecordBatch) ([]bool, error) {
		theirs := make([]bool, batch.NumRows())
		if columns, ok := t.placesOf(batch.Schema()); ok {
			same, err := t.matches(ctx, batch, columns)
			if err != nil {
				return nil, err
			}
			copy(theirs, same)
		}
		if at := batch.Schema().FieldIndices(predictions.Entity); len(at) == 1 {
			eachText(batch.Column(at[0]), func(row int, text string) { theirs[row] = theirs[row] || t.isNamed(text) })
		}
		if at := batch.Schema().FieldIndices(predictions.ID); len(at) == 1 {
			eachText(batch.Column(at[0]), func(row int, text string) { theirs[row] = theirs[row] || of[text] })
		}
		return theirs, nil
	}
	return f
}

func eachText(column arrow.Array, visit func(row int, text string)) {
	for row := range column.Len() {
		if column.IsValid(row) {
			visit(row, column.ValueStr(row))
		}
	}
}

func (t *target) keyNames() (names []string) {
	for _, k := range t.keys {
		names = append(names, k.Name)
	}
	return names
}

// placesOf are the columns of the target's keys, if a schema has them all and they can hold its values.
func (t *target) placesOf(schema *arrow.Schema) (places []int, ok bool) {
	for _, k := range t.keys {
		at := schema.FieldIndices(k.Name)
		if len(at) != 1 || !fits(k.Type.Arrow(), schema.Field(at[0]).Type) {
			return nil, false
		}
		places = append(places, at[0])
	}
	return places, true
}

// isNamed reports whether a JSON object has all of the target's keys, with its values.
func (t *target) isNamed(object string) bool {
	reader := json.NewDecoder(strings.NewReader(object))
	reader.UseNumber()
	var named map[string]any
	if reader.Decode(&named) != nil {
		return false
	}
	for i, k := range t.keys {
		given, ok := named[k.Name]
		if !ok || given == nil {
			return false
		}
		value, err := parseKey(k.Type, fmt.Sprint(given))
		if err != nil || !array.Equal(value, t.values[i]) {
			return false
		}
	}
	return true
}

// predictions erases from the prediction logs and their labels. Labels go first: which predictions they
// are of is known for as long as the logs have them, also to whoever carries on after a crash.
func (r *erasing) predictions(ctx context.Context) error {
	views := r.engine.registry.Views()
	of := map[string]map[string]bool{} // by the model that a log was made for
	for i := range views {
		if views[i].Predictions == nil || r.target.isIn(&views[i]) {
			continue
		}
		ids, err := r.predictionsOf(ctx, &views[i])
		if err != nil {
			return err
		}
		of[views[i].Tags[predictions.MadeTag]] = ids
	}
	for _, logs := range []bool{false, true} {
		for i := range views {
			model := views[i].Tags[predictions.MadeTag]
			isLog := views[i].Predictions != nil
			if isLog != logs || !isLog && (model == "" || views[i].Name != predictions.LabelsName(driftline.ModelName(model))) || r.target.isIn(&views[i]) {
				continue
			}
			ids := of[model]
			if isLog {
				ids = nil // its own rows say whom they name
			}
			if err := r.view(ctx, &views[i], r.target.rowsNaming(&views[i], ids)); err != nil {
				return err
			}
		}
	}
	return nil
}

// predictionsOf are the IDs of the predictions in a log that name the target.
func (r *erasing) predictionsOf(ctx context.Context, view *driftline.FeatureView) (map[string]bool, error) {
	ids := map[string]bool{}
	if err := r.engine.flush(ctx, view); err != nil {
		return nil, err
	}
	current, found, err := r.engine.offline.Current(ctx, viewTable(view.Name))
	if err != nil || !found {
		return ids, err
	}
	f := r.target.rowsNaming(view, nil)
	for batch, err := range r.engine.offline.Read(ctx, current, f.columns).All {
		if err != nil {
			return nil, err
		}
		theirs, err := f.matches(ctx, batch)
		if err != nil {
			return nil, err
		}
		at := batch.Schema().FieldIndices(view.Predictions.ID)
		if len(at) == 1 {
			eachText(batch.Column(at[0]), func(row int, text string) {
				if theirs[row] {
					ids[strings.Clone(text)] = true
				}
			})
		}
	}
	return ids, nil
}

// hasRows reports whether a snapshot, which may be of a time when the view had fewer columns, has rows of
// the target.
func (r *erasing) hasRows(ctx context.Context, part offline.Snapshot, f finder) (bool, error) {
	var columns []string
	for _, name := range f.columns {
		if part.Schema.HasField(name) {
			columns = append(columns, name)
		}
	}
	for batch, err := range r.engine.offline.Read(ctx, part, columns).All {
		if err != nil {
			return false, err
		}
		theirs, err := f.matches(ctx, batch)
		if err != nil || slices.Contains(theirs, true) {
			return true, err
		}
	}
	return false, nil
}
