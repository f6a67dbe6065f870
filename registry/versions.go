package registry

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// meant returns the stored name of the view that a name means: of the version that it
// says, or that its bare name was switched to.
func (s *state) meant(name driftline.ViewName) driftline.ViewName {
	if stored, switched := s.switched[name]; switched {
		return stored
	}
	return name.Stored()
}

// Meant returns the stored name of the view that a name means. It need not be there.
func (r *Registry) Meant(name driftline.ViewName) driftline.ViewName {
	var stored driftline.ViewName
	r.read(func(s *state) { stored = s.meant(name) })
	return stored
}

// nameVersion gives a view of the definitions its stored name. A new version is the next
// one of a view that is there.
func (s *state) nameVersion(view *driftline.FeatureView) error {
	base, version, err := view.Name.Version()
	if err != nil || version == 0 {
		return err
	}
	if view.Name = view.Name.Stored(); s.views[view.Name] != nil {
		return nil
	}
	if _, err := s.view(base); err != nil {
		return err
	}
	if s.views[driftline.StoredView(base, version-1)] == nil {
		return driftline.Errorf(driftline.FailedPrecondition, "feature view %q has no version %d yet", base, version-1).
			WithRef(driftline.ViewRef(base)).WithHint("versions follow each other: call it %s@%d", base, s.newestVersion(base)+1)
	}
	return nil
}

func (s *state) newestVersion(base driftline.ViewName) int {
	version := 1
	for s.views[driftline.StoredView(base, version+1)] != nil {
		version++
	}
	return version
}

// SwitchView makes the bare name of a view mean one of its versions from now on: in feature
// services, online reads, training sets, writes and SQL. Going back is the same call.
//
// It is FailedPrecondition if a feature service would lose a feature.
func (r *Registry) SwitchView(view driftline.ViewName, version int) (driftline.ViewSwitch, error) {
	var done driftline.ViewSwitch
	err := r.write(func(tx *Tx) (err error) {
		done, err = tx.switchView(view, version)
		return err
	})
	return done, err
}

func (tx *Tx) switchView(view driftline.ViewName, version int) (driftline.ViewSwitch, error) {
	s := tx.r.head
	if _, said, err := view.Version(); err != nil || said != 0 {
		return driftline.ViewSwitch{}, driftline.Errorf(driftline.Invalid, "%q is one version of a feature view", clip(view)).
			WithHint("name the view without a version")
	}
	if _, err := s.view(view); err != nil {
		return driftline.ViewSwitch{}, err
	}
	to := driftline.StoredView(view, version)
	if s.views[to] == nil || version < 1 {
		return driftline.ViewSwitch{}, driftline.Errorf(driftline.NotFound, "feature view %q has no version %d", view, version).
			WithRef(driftline.ViewRef(view)).WithHint("its newest is %d; apply %s@%d first", s.newestVersion(view), view, s.newestVersion(view)+1)
	}
	_, from, err := s.meant(view).Version()
	if err != nil {
		return driftline.ViewSwitch{}, err
	}
	done := driftline.ViewSwitch{View: view, Version: version, From: max(1, from)}
	if done.From == version {
		return done, nil
	}
	if err := s.checkSwitch(view, s.views[to]); err != nil {
		return driftline.ViewSwitch{}, err
	}
	_, err = tx.add(ViewSwitched, driftline.ViewRef(view), nil, done)
	return done, err
}

// checkSwitch refuses a switch that takes a feature from a service, or rows from under
// features that are computed on demand.
func (s *state) checkSwitch(view driftline.ViewName, to *driftline.FeatureView) error {
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		for _, p := range s.services[name].Projections {
			if p.View != view {
				continue
			}
			if err := checkProjection(p, to); err != nil {
				return driftline.Errorf(driftline.FailedPrecondition, "feature service %q would lose a feature: %w", name, err).
					WithRef(driftline.ServiceRef(name)).WithHint("add the feature to %s, or take it out of the service", to.Name.Exactly())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.onDemand)) {
		for _, p := range s.onDemand[name].Sources {
			if p.View == view {
				return driftline.Errorf(driftline.FailedPrecondition, "on-demand feature view %q reads feature view %q", name, view).
					WithRef(driftline.ViewRef(name)).WithHint("its expressions were checked with that version: define one over %s", to.Name)
			}
		}
	}
	return nil
}

func foldSwitch(_ *state, line *Line) ([]effect, error) {
	done, err := body[driftline.ViewSwitch](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ViewName]driftline.ViewName { return s.switched }
	return []effect{put(table, done.View, driftline.StoredView(done.View, done.Version))}, nil
}
