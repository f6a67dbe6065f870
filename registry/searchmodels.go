package registry

import (
	"cmp"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry/filter"
)

// found is a page of what a search finds.
type found[T any] struct {
	items []T
	more  bool
}

// searchAll filters and orders rows that are few enough to be looked at one by one.
// rowOf gives a row its fields, tie orders rows that are equal in what was asked for.
func searchAll[T any](g *filter.Grammar, search Search, defaults []string, all []T, rowOf func(*T) filter.Row, tie func(a, b *T) int) (found[T], error) {
	wanted, err := filter.Parse(g, search.Filter)
	if err != nil {
		return found[T]{}, err
	}
	clauses := search.OrderBy
	if len(clauses) == 0 {
		clauses = defaults
	}
	order, err := filter.ParseOrder(g, clauses)
	if err != nil {
		return found[T]{}, err
	}
	top := filter.NewTop(search.Offset+search.Limit, func(a, b *T) int {
		for i := range order {
			if c := order[i].Compare(order[i].ValueOf(rowOf(a)), order[i].ValueOf(rowOf(b))); c != 0 {
				return c
			}
		}
		return tie(a, b)
	})
	for i := range all {
		if wanted.Match(rowOf(&all[i])) {
			top.Add(&all[i])
		}
	}
	page := found[T]{items: []T{}, more: top.Added() > search.Offset+search.Limit}
	items := top.Items()
	for _, item := range items[min(search.Offset, len(items)):] {
		page.items = append(page.items, *item)
	}
	return page, nil
}

// SearchModels returns the registered models that a search finds, and whether there are
// more after them: by name if nothing else is said.
func (r *Registry) SearchModels(search Search) ([]driftline.RegisteredModel, bool, error) {
	page, err := searchAll(&filter.RegisteredModels, search, []string{"name ASC"}, r.Models(),
		func(m *driftline.RegisteredModel) filter.Row { return modelRow{m} },
		func(a, b *driftline.RegisteredModel) int { return cmp.Compare(a.Name, b.Name) })
	return page.items, page.more, err
}

// modelRow lets a registered model be filtered and ordered.
type modelRow struct{ *driftline.RegisteredModel }

// Text implements [filter.Row].
func (r modelRow) Text(f *filter.Field) (string, bool) {
	if f.Entity == filter.Tag {
		value, ok := r.Tags[f.Key]
		return value, ok
	}
	return string(r.Name), true
}

// Number implements [filter.Row]. Times are milliseconds.
func (r modelRow) Number(f *filter.Field) (float64, bool) {
	if f.Key == "creation_timestamp" {
		return float64(r.Created.UnixMilli()), true
	}
	return float64(r.Updated.UnixMilli()), true
}

// Any implements [filter.Row].
func (modelRow) Any(*filter.Field, func(string) bool) bool { return false }

// SearchModelVersions returns the versions that a search finds, and whether there are more
// after them: those that changed last come first if nothing else is said.
func (r *Registry) SearchModelVersions(search Search) ([]driftline.ModelVersion, bool, error) {
	page, err := searchAll(&filter.ModelVersions, search, []string{"last_updated_timestamp DESC"}, r.everyVersion(),
		func(v *driftline.ModelVersion) filter.Row { return versionRow{v} },
		func(a, b *driftline.ModelVersion) int {
			return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(b.Version, a.Version))
		})
	return page.items, page.more, err
}

func (r *Registry) everyVersion() []driftline.ModelVersion {
	var all []driftline.ModelVersion
	r.read(func(s *state) {
		for _, m := range s.models {
			for _, v := range m.versions {
				all = append(all, *m.copyVersion(v))
			}
		}
	})
	return all
}

// versionRow lets a version be filtered and ordered.
type versionRow struct{ *driftline.ModelVersion }

// Text implements [filter.Row].
func (r versionRow) Text(f *filter.Field) (string, bool) {
	switch {
	case f.Entity == filter.Tag:
		value, ok := r.Tags[f.Key]
		return value, ok
	case f.Key == "name":
		return string(r.Model), true
	case f.Key == "run_id":
		return cmp.Or(string(r.Run), r.ExternalRun), true
	}
	return r.SourceURI(), true
}

// Number implements [filter.Row]. Times are milliseconds.
func (r versionRow) Number(f *filter.Field) (float64, bool) {
	switch f.Key {
	case "version_number":
		return float64(r.Version), true
	case "creation_timestamp":
		return float64(r.Created.UnixMilli()), true
	}
	return float64(r.Updated.UnixMilli()), true
}

// Any implements [filter.Row].
func (versionRow) Any(*filter.Field, func(string) bool) bool { return false }

// MetricDataset is data that metrics were measured on.
type MetricDataset struct{ Name, Digest string }

// LoggedModelOrder is one thing to order logged models by; a metric may be that of a dataset.
type LoggedModelOrder struct {
	Clause  string // as in [Search.OrderBy]
	Dataset MetricDataset
}

// LoggedModelSearch is what logged models are searched by.
type LoggedModelSearch struct {
	Search
	Experiments []driftline.ExperimentID
	Datasets    []MetricDataset // only metrics measured on one of these count, and models without one are left out
	Order       []LoggedModelOrder
}

// SearchLoggedModels returns the logged models that a search finds, and whether there are
// more after them: the newest first if nothing else is said.
func (r *Registry) SearchLoggedModels(search LoggedModelSearch) ([]driftline.LoggedModel, bool, error) {
	var candidates []driftline.LoggedModel
	for _, m := range r.LoggedModels() {
		if slices.Contains(search.Experiments, m.ExperimentID) && r.measuredOn(m.ID, search.Datasets) {
			candidates = append(candidates, m)
		}
	}
	wanted, err := filter.Parse(&filter.LoggedModels, search.Filter)
	if err != nil {
		return nil, false, err
	}
	clauses := make([]string, len(search.Order))
	for i, o := range search.Order {
		clauses[i] = o.Clause
	}
	order, err := filter.ParseOrder(&filter.LoggedModels, clauses)
	if err != nil {
		return nil, false, err
	}
	top := filter.NewTop(search.Offset+search.Limit, r.compareLogged(order, search))
	for i := range candidates {
		if wanted.Match(loggedRow{r, &candidates[i], search.Datasets}) {
			top.Add(&candidates[i])
		}
	}
	items, page := top.Items(), []driftline.LoggedModel{}
	for _, item := range items[min(search.Offset, len(items)):] {
		page = append(page, *item)
	}
	return page, top.Added() > search.Offset+search.Limit, nil
}

func (r *Registry) compareLogged(order []filter.Key, search LoggedModelSearch) func(a, b *driftline.LoggedModel) int {
	return func(a, b *driftline.LoggedModel) int {
		for i := range order {
			datasets := search.Datasets
			if on := search.Order[i].Dataset; on != (MetricDataset{}) {
				datasets = []MetricDataset{on}
			}
			x, y := order[i].ValueOf(loggedRow{r, a, datasets}), order[i].ValueOf(loggedRow{r, b, datasets})
			if c := order[i].Compare(x, y); c != 0 {
				return c
			}
		}
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	}
}

func (r *Registry) measuredOn(id driftline.LoggedModelID, datasets []MetricDataset) bool {
	return len(datasets) == 0 || slices.ContainsFunc(r.ModelMetrics(string(id)), func(m ModelMetric) bool { return measuredOn(&m, datasets) })
}

// measuredOn reports whether a point was measured on one of some datasets. One without a
// digest means every version of the data.
func measuredOn(m *ModelMetric, datasets []MetricDataset) bool {
	return slices.ContainsFunc(datasets, func(d MetricDataset) bool {
		return d.Name == m.Dataset && (d.Digest == "" || d.Digest == m.Digest)
	})
}

// LastModelMetrics are the last points of each metric of a logged model, for each dataset.
func (r *Registry) LastModelMetrics(id driftline.LoggedModelID) []ModelMetric {
	type place struct{ key, dataset, digest string }
	last := map[place]ModelMetric{}
	var order []place
	for _, m := range r.ModelMetrics(string(id)) {
		at := place{m.Key, m.Dataset, m.Digest}
		have, ok := last[at]
		if !ok {
			order = append(order, at)
		}
		if !ok || isLater(&m, &have) {
			last[at] = m
		}
	}
	points := make([]ModelMetric, len(order))
	for i, at := range order {
		points[i] = last[at]
	}
	return points
}

// isLater orders points as runs' metrics are: by step, time and value.
func isLater(a, b *ModelMetric) bool {
	return cmp.Or(cmp.Compare(a.Step, b.Step), a.Time.Compare(b.Time), cmp.Compare(a.Value, b.Value)) > 0
}

// loggedRow lets a logged model be filtered and ordered.
type loggedRow struct {
	registry *Registry
	*driftline.LoggedModel
	datasets []MetricDataset // whose metrics count; all if nil
}

// Text implements [filter.Row].
func (r loggedRow) Text(f *filter.Field) (string, bool) {
	switch {
	case f.Entity == filter.Tag:
		value, ok := r.Tags[f.Key]
		return value, ok
	case f.Entity == filter.Param:
		value, ok := r.Params[f.Key]
		return value, ok
	}
	switch f.Key {
	case "name":
		return r.Name, true
	case "model_id":
		return string(r.ID), true
	case "model_type":
		return r.Type, true
	case "status":
		return string(r.Status), true
	case "source_run_id":
		return string(r.Run), true
	case "experiment_id":
		return string(r.ExperimentID), true
	}
	return r.registry.LoggedModelURI(r.LoggedModel), true
}

// Number implements [filter.Row]. Times are milliseconds.
func (r loggedRow) Number(f *filter.Field) (float64, bool) {
	if f.Entity == filter.Attribute {
		at := r.Created
		if f.Key == "last_updated_timestamp" {
			at = r.Updated
		}
		return float64(at.UnixMilli()), true
	}
	var last *ModelMetric
	for _, m := range r.registry.ModelMetrics(string(r.ID)) {
		if m.Key != f.Key || r.datasets != nil && !measuredOn(&m, r.datasets) {
			continue
		}
		if last == nil || isLater(&m, last) {
			last = &m
		}
	}
	if last == nil {
		return 0, false
	}
	return float64(last.Value), true
}

// Any implements [filter.Row].
func (loggedRow) Any(*filter.Field, func(string) bool) bool { return false }

// LoggedModelURI is the address of a logged model's files.
func (r *Registry) LoggedModelURI(m *driftline.LoggedModel) string {
	location := ""
	if e, err := r.Experiment(m.ExperimentID); err == nil {
		location = e.ArtifactLocation
	}
	return ArtifactRoot(m.ExperimentID, location) + "/models/" + string(m.ID) + "/artifacts"
}
