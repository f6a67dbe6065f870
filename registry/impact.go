package registry

import (
	"slices"

	"github.com/driftline/driftline"
)

// dependents are the kinds of things that a change is worth being told of. Runs, snapshots
// and files, of which there are many, only lead to them.
var dependents = []driftline.RefKind{driftline.KindService, driftline.KindDataset, driftline.KindModel, driftline.KindMonitor}

// Dependents returns what was made from any of the things, which may be features and
// columns: feature services, datasets, monitors, and model versions with their aliases, nearest first.
func (r *Registry) Dependents(of ...driftline.Ref) []driftline.Dependent {
	r.published.RLock()
	defer r.published.RUnlock()
	refs, _ := r.newColumnWalk(driftline.Down).walk(0, of...)
	var found []driftline.Dependent
	for _, ref := range refs[len(of):] {
		if !slices.Contains(dependents, ref.Kind) {
			continue
		}
		one := driftline.Dependent{Ref: ref}
		if ref.Kind == driftline.KindModel {
			one.Aliases = r.durable.aliasesOf(ref)
		}
		found = append(found, one)
	}
	return found
}

func (s *state) aliasesOf(ref driftline.Ref) []driftline.Alias {
	m, ok := s.models[driftline.ModelName(ref.Name)]
	if !ok {
		return nil
	}
	version, err := m.selected(ref.Version)
	if err != nil { // deleted
		return nil
	}
	return m.copyVersion(version).Aliases
}

// brokenFeatures are the features of a view that its new definition drops, renames or
// gives another type: whoever asks for them is refused, or answered otherwise.
func brokenFeatures(old, view *driftline.FeatureView) (broken []string) {
	for _, was := range old.Features {
		now, found := featureOf(view, was.Identity())
		if !found || now.Name != was.Name || now.Type != was.Type {
			broken = append(broken, was.Name)
		}
	}
	for _, was := range old.AggregatedFeatures() {
		if _, found := view.OfferedFeature(was.Name); !found {
			broken = append(broken, was.Name)
		}
	}
	return broken
}

// tellDependents says what depends on the features that planned changes break.
func (r *Registry) tellDependents(planned []plannedChange) {
	for i := range planned {
		p := &planned[i]
		if len(p.broken) == 0 {
			continue
		}
		refs := make([]driftline.Ref, len(p.broken))
		for j, name := range p.broken {
			refs[j] = driftline.FeatureRef(driftline.ViewName(p.Ref.Name), name)
		}
		p.Affects = r.Dependents(refs...)
	}
}
