package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// forgetProfiles forgets the sources that have a profile of one of the tables, and returns
// how many there were. A profile keeps values as they are, such as names of categories and
// the edges of cells, so the whole source goes, and every source that was counted like it.
func (e *Engine) forgetProfiles(ctx context.Context, tables []driftline.Ref) (int, error) {
	if len(tables) == 0 {
		return 0, nil
	}
	names, err := e.profileSourceNames()
	if err != nil {
		return 0, err
	}
	var doomed []string
	like := map[string][]string{} // source → those that were counted like it
	for _, name := range names {
		origins, err := e.origins(name)
		if err != nil {
			return 0, err
		}
		for _, from := range origins {
			like[from.Reference] = append(like[from.Reference], name)
			if !slices.Contains(doomed, name) && e.readsOneOf(ctx, from.Table, tables) {
				doomed = append(doomed, name)
			}
		}
	}
	for i := 0; i < len(doomed); i++ {
		for _, name := range like[doomed[i]] {
			if !slices.Contains(doomed, name) {
				doomed = append(doomed, name)
			}
		}
	}
	for _, name := range doomed {
		if err := e.forgetSource(name); err != nil {
			return 0, err
		}
	}
	return len(doomed), nil
}

// forgetSource forgets all panes of a source, and how its columns are counted.
func (e *Engine) forgetSource(name string) error {
	defer e.profileSources.lock(name)()
	b := e.kv.NewBatch()
	defer b.Close()
	b.DeletePrefix(kv.AppendString([]byte{kv.Profiles}, name))
	return b.Commit()
}

// readsOneOf reports whether profiled rows may have come from one of the tables, views and
// versions of datasets. A SELECT counts as reading every version of a dataset that it names,
// one with a point-in-time join as reading everything, and so does one that has become invalid.
func (e *Engine) readsOneOf(ctx context.Context, from driftline.DriftSource, tables []driftline.Ref) bool {
	if from.SQL == "" {
		if from.Ref.Kind == driftline.KindView {
			from.Ref = driftline.ViewRef(e.registry.Meant(driftline.ViewName(from.Ref.Name)))
		}
		return slices.ContainsFunc(tables, func(table driftline.Ref) bool {
			anyVersion := from.Ref.Version == "" && table.Kind == from.Ref.Kind && table.Name == from.Ref.Name
			return table == from.Ref || anyVersion
		})
	}
	selection, err := e.query.ParseSelect(ctx, from.SQL)
	if err != nil || len(selection.PointInTime) > 0 {
		return true
	}
	for _, table := range selection.Tables {
		ref := driftline.Ref{}
		switch strings.ToLower(table.Schema) {
		case schemaFeatures:
			view, _, err := e.featuresView(table.Name)
			if err != nil {
				return true
			}
			ref = driftline.ViewRef(view.Name)
		case schemaDatasets:
			name, _, _ := strings.Cut(table.Name, "@")
			ref = driftline.DatasetRef(driftline.DatasetName(name), 0)
		}
		if e.readsOneOf(ctx, driftline.DriftSource{Ref: ref}, tables) {
			return true
		}
	}
	return false
}
