package registry

import (
	"fmt"
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// forgetIdentities clears what only the catalogue may say.
func forgetIdentities(view *driftline.FeatureView) {
	view.Shape = 0
	for i := range view.Features {
		view.Features[i].Column = ""
	}
}

// forgetRenames clears what was said of names before, once it is carried out.
func forgetRenames(view *driftline.FeatureView) {
	for i := range view.Features {
		view.Features[i].RenamedFrom = ""
	}
}

// evolve gives the features that the view keeps, under their name or another, the
// identities that they have, and new features new ones. A rename or a drop begins a new
// shape, whose number is part of the identities that are given from then on: a name that
// was used before then means another column.
func evolve(old, view *driftline.FeatureView) error {
	if err := checkRenames(old, view); err != nil {
		return err
	}
	view.Shape = old.Shape
	kept, renamed := 0, false
	var added []*driftline.Field
	for i := range view.Features {
		f := &view.Features[i]
		was, found := formerly(old, view, f)
		if !found {
			added = append(added, f)
			continue
		}
		if f.Type != was.Type && !widens(was.Type, f.Type) {
			return incompatible(view, "feature %q cannot change from %s to %s", f.Name, was.Type, f.Type)
		}
		kept++
		renamed = renamed || f.Name != was.Name
		identify(f, was.Identity())
	}
	if view.Source != nil { // the names are those of somebody else's columns
		return nil
	}
	if renamed || kept < len(old.Features) {
		view.Shape++
	}
	for _, f := range added {
		if view.Shape > 0 {
			identify(f, fmt.Sprintf("%s#%d", f.Name, view.Shape)) // no name has a #
		}
	}
	return nil
}

func identify(f *driftline.Field, identity string) {
	if f.Column = identity; identity == f.Name {
		f.Column = ""
	}
}

// formerly returns what feature f of the new definition was in the old one. A rename that
// was carried out before, which the definitions still speak of, is none any more.
func formerly(old, view *driftline.FeatureView, f *driftline.Field) (driftline.Field, bool) {
	if f.RenamedFrom == "" {
		was, found := old.Feature(f.Name)
		if found && takenAway(old, view, f.Name) {
			return driftline.Field{}, false
		}
		return was, found
	}
	if was, found := old.Feature(f.Name); found {
		return was, true
	}
	return old.Feature(f.RenamedFrom)
}

// takenAway reports whether another feature of the new definition gets the old one of
// that name.
func takenAway(old, view *driftline.FeatureView, name string) bool {
	return slices.ContainsFunc(view.Features, func(f driftline.Field) bool {
		_, done := old.Feature(f.Name)
		return f.RenamedFrom == name && !done
	})
}

// widens reports whether each value of one type is one of the other, and files that have
// the one are read as the other.
func widens(from, to driftline.Type) bool {
	return from == driftline.Int32 && to == driftline.Int64 || from == driftline.Float32 && to == driftline.Float64
}

// checkRenames refuses renames that say nothing, or more than one thing.
func checkRenames(old, view *driftline.FeatureView) error {
	from := map[string]string{}
	for _, f := range view.Features {
		if f.RenamedFrom == "" {
			continue
		}
		if other, twice := from[f.RenamedFrom]; twice {
			return driftline.Errorf(driftline.Invalid, "feature view %q: features %q and %q are both renamed from %q", view.Name, other, f.Name, f.RenamedFrom).
				WithHint("keep one of the two")
		}
		from[f.RenamedFrom] = f.Name
		if err := checkRename(old, view, f); err != nil {
			return err
		}
	}
	return nil
}

func checkRename(old, view *driftline.FeatureView, f driftline.Field) error {
	_, done := old.Feature(f.Name)
	_, there := old.Feature(f.RenamedFrom)
	source, stays := view.Feature(f.RenamedFrom)
	switch {
	case f.RenamedFrom == f.Name:
		return driftline.Errorf(driftline.Invalid, "feature view %q: feature %q is renamed from its own name", view.Name, f.Name).
			WithHint("write the name that it had before, or leave renamed_from out")
	case stays && source.RenamedFrom == f.Name:
		return driftline.Errorf(driftline.Invalid, "feature view %q: features %q and %q cannot swap their names", view.Name, f.Name, f.RenamedFrom).
			WithHint("rename one of them to a third name first, and apply")
	case done && there && !stays:
		return driftline.Errorf(driftline.FailedPrecondition, "feature view %q: feature %q cannot be renamed to %q, which is there", view.Name, f.RenamedFrom, f.Name).
			WithHint("leave renamed_from out to drop %q, or choose another name", f.RenamedFrom)
	case done || there && view.Source == nil:
		return nil
	case there:
		return driftline.Errorf(driftline.FailedPrecondition, "feature view %q: feature %q cannot be renamed: it is a column of somebody else's files", view.Name, f.RenamedFrom).
			WithHint("give the feature the name of the column, and leave renamed_from out")
	}
	return named("feature view", view.Name, unknown("feature", f.RenamedFrom, old.FeatureNames(), applyFirst).WithRef(driftline.ViewRef(view.Name)))
}

// checkUses refuses to drop or rename a feature under a service that the definitions do
// not bring along: it would lose the feature, or get another.
func checkUses(before, after *state, definitions driftline.Definitions) error {
	brought := map[driftline.ServiceName]bool{}
	for _, service := range definitions.FeatureServices {
		brought[service.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(after.services)) {
		if brought[name] {
			continue
		}
		for _, p := range after.services[name].Projections {
			if err := checkUse(name, p, before.views[before.meant(p.View)], after.views[after.meant(p.View)]); err != nil {
				return err
			}
			if err := checkComputed(name, p, after.onDemand[p.View]); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkUse(service driftline.ServiceName, p driftline.Projection, old, view *driftline.FeatureView) error {
	if old == view || old == nil || view == nil {
		return nil
	}
	for _, name := range p.Features {
		was, stored := old.Feature(name)
		now, found := featureOf(view, was.Identity())
		if !stored {
			now.Name, found = name, slices.Contains(view.OfferedNames(), name)
		}
		switch {
		case !found:
			return driftline.Errorf(driftline.FailedPrecondition, "feature view %q: feature %q cannot be dropped, feature service %q uses it", view.Name, name, service).
				WithRef(driftline.ViewRef(view.Name)).
				WithHint("take it out of the service, in the same definitions, or keep the feature")
		case now.Name != name:
			return driftline.Errorf(driftline.FailedPrecondition, "feature view %q: feature %q cannot be renamed to %q, feature service %q has it as %q", view.Name, name, now.Name, service, name).
				WithRef(driftline.ViewRef(view.Name)).
				WithHint("name %q in the service, in the same definitions", now.Name)
		}
	}
	return nil
}

// checkComputed is checkUse for a view that is computed on demand.
func checkComputed(service driftline.ServiceName, p driftline.Projection, view *driftline.OnDemandFeatureView) error {
	if view == nil {
		return nil
	}
	for _, name := range p.Features {
		if _, found := view.Feature(name); !found {
			return driftline.Errorf(driftline.FailedPrecondition, "on-demand feature view %q: feature %q cannot be dropped, feature service %q uses it", view.Name, name, service).
				WithRef(driftline.ViewRef(view.Name)).
				WithHint("take it out of the service, in the same definitions, or keep the feature")
		}
	}
	return nil
}

func featureOf(view *driftline.FeatureView, identity string) (driftline.Field, bool) {
	at := slices.IndexFunc(view.Features, func(f driftline.Field) bool { return f.Identity() == identity })
	if at < 0 {
		return driftline.Field{}, false
	}
	return view.Features[at], true
}

// features compares the features of a view by identity; those that are gone come first.
func (d *differences) features(old, now []driftline.Field) {
	find := func(in []driftline.Field, like driftline.Field) int {
		return slices.IndexFunc(in, func(f driftline.Field) bool { return f.Identity() == like.Identity() })
	}
	for _, f := range old {
		if find(now, f) < 0 {
			*d = append(*d, fmt.Sprintf("features: - %s %s", f.Name, f.Type))
		}
	}
	for _, f := range now {
		at := find(old, f)
		if at < 0 {
			*d = append(*d, fmt.Sprintf("features: + %s %s", f.Name, f.Type))
			continue
		}
		d.text("features", old[at].Name, f.Name)
		d.text("features."+f.Name+".type", string(old[at].Type), string(f.Type))
		d.text("features."+f.Name+".description", old[at].Description, f.Description)
	}
}
