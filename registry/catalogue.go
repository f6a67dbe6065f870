package registry

import (
	"cmp"
	"maps"
	"slices"

	"github.com/driftline/driftline"
)

// Plan says what Apply would change, in the order of the definitions, without
// changing anything. Its errors are those of Apply.
func (r *Registry) Plan(definitions driftline.Definitions) ([]driftline.Change, error) {
	var planned []plannedChange
	var err error
	r.read(func(s *state) { planned, err = plan(s, definitions) })
	r.tellDependents(planned)
	return changes(planned), err
}

// Apply registers the definitions, all of them or none, and returns what changed.
// Objects that the definitions do not name are left alone. Applying again changes nothing.
//
// A definition that can never be accepted is Invalid; one that names something
// unknown is NotFound; one that would break what is stored or used is FailedPrecondition.
func (r *Registry) Apply(definitions driftline.Definitions) ([]driftline.Change, error) {
	var applied []driftline.Change
	err := r.write(func(tx *Tx) (err error) {
		applied, err = tx.Apply(definitions)
		return err
	})
	return applied, err
}

// Apply is [Registry.Apply] within a transaction.
func (tx *Tx) Apply(definitions driftline.Definitions) ([]driftline.Change, error) {
	planned, err := plan(tx.r.head, definitions)
	if err != nil {
		return nil, err
	}
	for _, p := range planned {
		if p.Action == driftline.ChangeNone {
			continue
		}
		if _, err := tx.add(p.kind, p.Ref, p.inputs, p.object); err != nil {
			return nil, err
		}
	}
	return changes(planned), nil
}

func foldEntity(_ *state, line *Line) ([]effect, error) {
	entity, err := body[driftline.Entity](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.EntityName]*driftline.Entity { return s.entities }
	return []effect{put(table, entity.Name, entity)}, nil
}

func foldView(_ *state, line *Line) ([]effect, error) {
	view, err := body[driftline.FeatureView](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ViewName]*driftline.FeatureView { return s.views }
	return []effect{put(table, view.Name, view)}, nil
}

func foldOnDemand(_ *state, line *Line) ([]effect, error) {
	view, err := body[driftline.OnDemandFeatureView](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ViewName]*driftline.OnDemandFeatureView { return s.onDemand }
	return []effect{put(table, view.Name, view)}, nil
}

func foldService(_ *state, line *Line) ([]effect, error) {
	service, err := body[driftline.FeatureService](line)
	if err != nil {
		return nil, err
	}
	table := func(s *state) map[driftline.ServiceName]*driftline.FeatureService { return s.services }
	return []effect{put(table, service.Name, service)}, nil
}

// Entities returns every entity, by name.
func (r *Registry) Entities() []driftline.Entity {
	var found []*driftline.Entity
	r.read(func(s *state) { found = slices.Collect(maps.Values(s.entities)) })
	return copies(found, cloneEntity, func(e *driftline.Entity) string { return string(e.Name) })
}

// Entity returns one entity.
func (r *Registry) Entity(name driftline.EntityName) (*driftline.Entity, error) {
	var found *driftline.Entity
	var err error
	r.read(func(s *state) { found, err = s.entity(name) })
	if err != nil {
		return nil, err
	}
	return cloneEntity(found), nil
}

// Views returns every feature view, by name.
func (r *Registry) Views() []driftline.FeatureView {
	var found []*driftline.FeatureView
	r.read(func(s *state) { found = slices.Collect(maps.Values(s.views)) })
	return copies(found, cloneView, func(v *driftline.FeatureView) string { return string(v.Name) })
}

// View returns one feature view.
func (r *Registry) View(name driftline.ViewName) (*driftline.FeatureView, error) {
	var found *driftline.FeatureView
	var err error
	r.read(func(s *state) { found, err = s.view(name) })
	if err != nil {
		return nil, err
	}
	return cloneView(found), nil
}

// SharedView returns one feature view without copying it: the caller must not change it.
// It is another one when the view was applied again with another definition.
func (r *Registry) SharedView(name driftline.ViewName) (found *driftline.FeatureView, err error) {
	r.read(func(s *state) { found, err = s.view(name) })
	return found, err
}

// SharedView is [Registry.SharedView] as the transaction sees it.
func (tx *Tx) SharedView(name driftline.ViewName) (*driftline.FeatureView, error) {
	return tx.r.head.view(name)
}

// View is [Registry.View] as the transaction sees it. It stays so until the transaction ends.
func (tx *Tx) View(name driftline.ViewName) (*driftline.FeatureView, error) {
	view, err := tx.r.head.view(name)
	if err != nil {
		return nil, err
	}
	return cloneView(view), nil
}

// OnDemandViews returns every on-demand feature view, by name.
func (r *Registry) OnDemandViews() []driftline.OnDemandFeatureView {
	var found []*driftline.OnDemandFeatureView
	r.read(func(s *state) { found = slices.Collect(maps.Values(s.onDemand)) })
	return copies(found, cloneOnDemand, func(v *driftline.OnDemandFeatureView) string { return string(v.Name) })
}

// OnDemandView returns one on-demand feature view.
func (r *Registry) OnDemandView(name driftline.ViewName) (*driftline.OnDemandFeatureView, error) {
	var found *driftline.OnDemandFeatureView
	var known []driftline.ViewName
	r.read(func(s *state) { found, known = s.onDemand[name], slices.Collect(maps.Keys(s.onDemand)) })
	if found == nil {
		return nil, unknown("on-demand feature view", name, known, applyFirst).WithRef(driftline.ViewRef(clip(name)))
	}
	return cloneOnDemand(found), nil
}

// Services returns every feature service, by name.
func (r *Registry) Services() []driftline.FeatureService {
	var found []*driftline.FeatureService
	r.read(func(s *state) { found = slices.Collect(maps.Values(s.services)) })
	return copies(found, cloneService, func(v *driftline.FeatureService) string { return string(v.Name) })
}

// Service returns one feature service.
func (r *Registry) Service(name driftline.ServiceName) (*driftline.FeatureService, error) {
	var found *driftline.FeatureService
	var err error
	r.read(func(s *state) { found, err = s.service(name) })
	if err != nil {
		return nil, err
	}
	return cloneService(found), nil
}

// applyFirst is the cure for an empty catalogue.
const applyFirst = "run driftline apply first"

func (s *state) entity(name driftline.EntityName) (*driftline.Entity, error) {
	if entity, ok := s.entities[name]; ok {
		return entity, nil
	}
	return nil, unknown("entity", name, slices.Collect(maps.Keys(s.entities)), applyFirst).WithRef(driftline.EntityRef(clip(name)))
}

func (s *state) view(name driftline.ViewName) (*driftline.FeatureView, error) {
	if view, ok := s.views[name]; ok {
		return view, nil
	}
	if _, ok := s.onDemand[name]; ok {
		return nil, driftline.Errorf(driftline.Invalid, "feature view %q is computed on demand and has no rows", name).
			WithRef(driftline.ViewRef(name)).WithHint("ask for its features, or for a view that it is computed from")
	}
	known := slices.AppendSeq(slices.Collect(maps.Keys(s.views)), maps.Keys(s.onDemand))
	return nil, unknown("feature view", name, known, applyFirst).WithRef(driftline.ViewRef(clip(name)))
}

func (s *state) service(name driftline.ServiceName) (*driftline.FeatureService, error) {
	if service, ok := s.services[name]; ok {
		return service, nil
	}
	return nil, unknown("feature service", name, slices.Collect(maps.Keys(s.services)), applyFirst).WithRef(driftline.ServiceRef(clip(name)))
}

// projections returns what set asks for, features given one by one gathered by view.
func (s *state) projections(set driftline.FeatureSet) ([]driftline.Projection, error) {
	given := len(set.Projections) + len(set.Features)
	switch {
	case set.Service != "" && given > 0:
		return nil, driftline.Errorf(driftline.Invalid, "both the feature service %q and features are asked for", set.Service).
			WithHint("ask for one or the other")
	case set.Service != "":
		service, err := s.service(set.Service)
		if err != nil {
			return nil, err
		}
		return service.Projections, nil
	case given == 0:
		return nil, driftline.Errorf(driftline.Invalid, "no features are asked for").
			WithHint("name a feature service, or features like weather:temp")
	}
	projections := cloneProjections(set.Projections)
	for _, ref := range set.Features {
		p, err := driftline.ParseFeatureRef(ref)
		if err != nil {
			return nil, err
		}
		projections = append(projections, p)
	}
	return gathered(projections), nil
}

// gathered makes one projection of those that differ in nothing but the features that
// they name, at the place of the first.
func gathered(projections []driftline.Projection) []driftline.Projection {
	var out []driftline.Projection
	for _, p := range projections {
		at := slices.IndexFunc(out, func(q driftline.Projection) bool {
			return len(p.Features) > 0 && len(q.Features) > 0 && p.View == q.View && p.Role == q.Role && p.Lag == q.Lag && maps.Equal(p.JoinKeyMap, q.JoinKeyMap)
		})
		if at < 0 {
			out = append(out, p)
			continue
		}
		out[at].Features = append(out[at].Features, p.Features...)
	}
	return out
}

// copies returns clones of found in the order of their names.
func copies[T any](found []*T, clone func(*T) *T, name func(*T) string) []T {
	out := make([]T, len(found))
	for i, f := range found {
		out[i] = *clone(f)
	}
	slices.SortFunc(out, func(a, b T) int { return cmp.Compare(name(&a), name(&b)) })
	return out
}
