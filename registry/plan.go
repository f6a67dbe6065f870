package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// plannedChange is a change together with the line that makes it.
type plannedChange struct {
	driftline.Change
	kind   Kind
	inputs []driftline.Ref
	object any
	broken []string // features that the change takes from whoever uses them
}

func changes(planned []plannedChange) []driftline.Change {
	out := make([]driftline.Change, len(planned))
	for i, p := range planned {
		out[i] = p.Change
	}
	return out
}

// plan compares the definitions with s, entities first, then views, then those that are
// computed from them, then services, presets, monitors, validations and policies, so that each may use what the same definitions bring.
func plan(before *state, definitions driftline.Definitions) ([]plannedChange, error) {
	s := before.catalogue()
	if err := checkTwice(definitions); err != nil {
		return nil, err
	}
	planned := []plannedChange{}
	for _, entity := range definitions.Entities {
		p, err := planEntity(s, *cloneEntity(&entity))
		if err != nil {
			return nil, withRef(err, driftline.EntityRef(clip(entity.Name)))
		}
		planned = append(planned, p)
	}
	for _, view := range definitions.FeatureViews {
		p, err := planView(s, *cloneView(&view))
		if err != nil {
			return nil, withRef(err, driftline.ViewRef(clip(view.Name)))
		}
		planned = append(planned, p)
	}
	for _, view := range definitions.OnDemandFeatureViews {
		p, err := planOnDemand(s, *cloneOnDemand(&view))
		if err != nil {
			return nil, withRef(err, driftline.ViewRef(clip(view.Name)))
		}
		planned = append(planned, p)
	}
	if err := checkTransforms(s, definitions); err != nil {
		return nil, err
	}
	for _, service := range definitions.FeatureServices {
		p, err := planService(s, *cloneService(&service))
		if err != nil {
			return nil, withRef(err, driftline.ServiceRef(clip(service.Name)))
		}
		planned = append(planned, p)
	}
	for _, preset := range definitions.Presets {
		p, err := planPreset(s, *clonePreset(&preset))
		if err != nil {
			return nil, withRef(err, driftline.PresetRef(clip(preset.Name), 0))
		}
		planned = append(planned, p)
	}
	for _, m := range definitions.Monitors {
		p, err := planMonitor(s, *cloneMonitor(&m))
		if err != nil {
			return nil, withRef(err, driftline.MonitorRef(clip(m.Name), 0))
		}
		planned = append(planned, p)
	}
	for _, v := range definitions.Validations {
		p, err := planValidation(s, *cloneValidation(&v))
		if err != nil {
			return nil, withRef(err, driftline.ValidationRef(clip(v.Name), 0))
		}
		planned = append(planned, p)
	}
	for _, policy := range definitions.Policies {
		p, err := planPolicy(s, *clonePolicy(&policy))
		if err != nil {
			return nil, withRef(err, driftline.PolicyRef(clip(policy.Model), 0))
		}
		planned = append(planned, p)
	}
	if err := checkUses(before, s, definitions); err != nil {
		return nil, err
	}
	return planned, nil
}

// withRef names what an error is about, unless it already names something.
func withRef(err error, ref driftline.Ref) error {
	if e, ok := err.(*driftline.Error); ok && e.Ref == "" {
		return e.WithRef(ref)
	}
	return err
}

func checkTwice(definitions driftline.Definitions) error {
	seen := map[driftline.Ref]bool{}
	for _, ref := range definedRefs(definitions) {
		if seen[ref] {
			return driftline.Errorf(driftline.Invalid, "%s is defined twice", ref).WithRef(ref).
				WithHint("keep one of the two definitions")
		}
		seen[ref] = true
	}
	return nil
}

func definedRefs(definitions driftline.Definitions) []driftline.Ref {
	var refs []driftline.Ref
	for _, e := range definitions.Entities {
		refs = append(refs, driftline.EntityRef(clip(e.Name)))
	}
	for _, v := range definitions.FeatureViews {
		refs = append(refs, driftline.ViewRef(clip(v.Name)))
	}
	for _, v := range definitions.OnDemandFeatureViews {
		refs = append(refs, driftline.ViewRef(clip(v.Name)))
	}
	for _, f := range definitions.FeatureServices {
		refs = append(refs, driftline.ServiceRef(clip(f.Name)))
	}
	for _, p := range definitions.Presets {
		refs = append(refs, driftline.PresetRef(clip(p.Name), 0))
	}
	for _, m := range definitions.Monitors {
		refs = append(refs, driftline.MonitorRef(clip(m.Name), 0))
	}
	for _, v := range definitions.Validations {
		refs = append(refs, driftline.ValidationRef(clip(v.Name), 0))
	}
	for _, p := range definitions.Policies {
		refs = append(refs, driftline.PolicyRef(clip(p.Model), 0))
	}
	return refs
}

func planEntity(s *state, entity driftline.Entity) (plannedChange, error) {
	if err := checkEntity(&entity); err != nil {
		return plannedChange{}, err
	}
	old := s.entities[entity.Name]
	if old != nil && !sameColumns(old.JoinKeys, entity.JoinKeys) {
		if user := s.viewOf(entity.Name); user != "" {
			return plannedChange{}, driftline.Errorf(driftline.FailedPrecondition,
				"entity %q: its join keys cannot change from (%s) to (%s), feature view %q has rows under them",
				entity.Name, columnList(old.JoinKeys), columnList(entity.JoinKeys), user).
				WithHint("register the new keys as another entity, for example %q", entity.Name+"_v2")
		}
	}
	s.entities[entity.Name] = &entity
	p := plannedChange{kind: EntityApplied, object: entity}
	if old == nil {
		p.Change = created(driftline.EntityRef(entity.Name))
		return p, nil
	}
	var d differences
	d.fields("join_keys", old.JoinKeys, entity.JoinKeys)
	d.text("description", old.Description, entity.Description)
	d.tags(old.Tags, entity.Tags)
	p.Change = d.change(driftline.EntityRef(entity.Name))
	return p, nil
}

// viewOf returns the first view, by name, that uses the entity, or "".
func (s *state) viewOf(entity driftline.EntityName) driftline.ViewName {
	for _, name := range slices.Sorted(maps.Keys(s.views)) {
		if slices.Contains(s.views[name].Entities, entity) {
			return name
		}
	}
	return ""
}

func planView(s *state, view driftline.FeatureView) (plannedChange, error) {
	if err := s.nameVersion(&view); err != nil {
		return plannedChange{}, err
	}
	if err := driftline.CheckIdentifier("feature view", view.Name); err != nil {
		return plannedChange{}, err
	}
	forgetIdentities(&view)
	if err := s.completeView(&view); err != nil {
		return plannedChange{}, err
	}
	if err := checkView(&view); err != nil {
		return plannedChange{}, err
	}
	if _, computed := s.onDemand[view.Name]; computed {
		return plannedChange{}, driftline.Errorf(driftline.Invalid, "feature view %q has the name of an on-demand feature view", view.Name).
			WithHint("features are asked for as view:feature: choose another name")
	}
	old := s.views[view.Name]
	if old != nil {
		if err := checkCompatible(old, &view); err != nil {
			return plannedChange{}, err
		}
		if err := evolve(old, &view); err != nil {
			return plannedChange{}, err
		}
		view.Features = keepOrder(old.Features, view.Features)
	}
	forgetRenames(&view)
	s.views[view.Name] = &view
	p := plannedChange{kind: ViewApplied, object: view}
	for _, e := range view.Entities {
		p.inputs = append(p.inputs, driftline.EntityRef(e))
	}
	if old == nil {
		p.Change = created(driftline.ViewRef(view.Name))
		return p, nil
	}
	p.Change, p.broken = viewDifferences(old, &view), brokenFeatures(old, &view)
	return p, nil
}

// completeView fills in what the catalogue knows: join keys, and the event timestamp's default name.
func (s *state) completeView(view *driftline.FeatureView) error {
	if view.EventTimestamp == "" {
		view.EventTimestamp = driftline.DefaultEventTimestamp
	}
	view.JoinKeys = nil
	for i, name := range view.Entities {
		if slices.Contains(view.Entities[:i], name) {
			return driftline.Errorf(driftline.Invalid, "feature view %q: entity %q is listed twice", view.Name, name)
		}
		entity, err := s.entity(name)
		if err != nil {
			return named("feature view", view.Name, err)
		}
		for _, key := range entity.JoinKeys {
			view.JoinKeys = append(view.JoinKeys, driftline.Field{Name: key.Name, Type: key.Type})
		}
	}
	return nil
}

// checkCompatible refuses changes after which the stored rows would no longer be rows of the view.
func checkCompatible(old, view *driftline.FeatureView) error {
	switch {
	case !sameColumns(old.JoinKeys, view.JoinKeys):
		return incompatible(view, "its join keys cannot change from (%s) to (%s)", columnList(old.JoinKeys), columnList(view.JoinKeys))
	case old.EventTimestamp != view.EventTimestamp:
		return incompatible(view, "its event timestamp cannot change from %q to %q", old.EventTimestamp, view.EventTimestamp)
	case (old.Horizon > 0) != (view.Horizon > 0):
		return incompatible(view, "its rows cannot turn from features into labels, or back")
	case (old.Source == nil) != (view.Source == nil):
		return incompatible(view, "its rows cannot move into a source, or out of one")
	case old.CreatedTimestamp != view.CreatedTimestamp:
		return incompatible(view, "its created timestamp cannot change from %q to %q", old.CreatedTimestamp, view.CreatedTimestamp)
	}
	return nil
}

func incompatible(view *driftline.FeatureView, format string, args ...any) error {
	return driftline.Errorf(driftline.FailedPrecondition, "feature view %q: %s", view.Name, fmt.Sprintf(format, args...)).
		WithHint("apply it as a new version beside this one: call it %s, and switch when it is ready", nextVersion(view.Name))
}

// nextVersion is the name of the version after a stored view's.
func nextVersion(name driftline.ViewName) driftline.ViewName {
	base, version, _ := name.Version() // it is stored
	return driftline.ViewName(fmt.Sprintf("%s@%d", base, max(1, version)+1))
}

// keepOrder returns the wanted features with those that the view already had
// first, in their old order: columns of a table do not move.
func keepOrder(old, wanted []driftline.Field) []driftline.Field {
	place := map[string]int{}
	for i, f := range old {
		place[f.Identity()] = i
	}
	ordered := slices.Clone(wanted)
	slices.SortStableFunc(ordered, func(a, b driftline.Field) int {
		return placeOf(place, a.Identity(), len(old)) - placeOf(place, b.Identity(), len(old))
	})
	return ordered
}

func placeOf(place map[string]int, identity string, otherwise int) int {
	if at, ok := place[identity]; ok {
		return at
	}
	return otherwise
}

func planService(s *state, service driftline.FeatureService) (plannedChange, error) {
	if err := s.completeService(&service); err != nil {
		return plannedChange{}, err
	}
	old := s.services[service.Name]
	s.services[service.Name] = &service
	p := plannedChange{kind: ServiceApplied, object: service}
	for _, projection := range service.Projections {
		if ref := driftline.ViewRef(s.meant(projection.View)); !slices.Contains(p.inputs, ref) {
			p.inputs = append(p.inputs, ref)
		}
	}
	if old == nil {
		p.Change = created(driftline.ServiceRef(service.Name))
		return p, nil
	}
	var d differences
	d.text("projections", projectionList(old.Projections), projectionList(service.Projections))
	d.text("description", old.Description, service.Description)
	d.text("owner", old.Owner, service.Owner)
	d.tags(old.Tags, service.Tags)
	p.Change = d.change(driftline.ServiceRef(service.Name))
	return p, nil
}

// completeService checks the service and spells its features out, so that a
// feature added to a view later does not change what the service's model is given.
func (s *state) completeService(service *driftline.FeatureService) error {
	if err := checkService(service); err != nil {
		return err
	}
	for i, projection := range service.Projections {
		spelt, err := s.spellOut(projection)
		if err != nil {
			return named("feature service", service.Name, err)
		}
		if _, version, err := projection.View.Version(); err == nil && version == 0 {
			spelt.View = projection.View // what the bare name means may change
		} else {
			spelt.View = spelt.View.Exactly()
		}
		service.Projections[i] = spelt
	}
	if err := checkRoles(service.Projections); err != nil {
		return named("feature service", service.Name, err)
	}
	return nil
}

func created(ref driftline.Ref) driftline.Change {
	return driftline.Change{Action: driftline.ChangeCreate, Ref: ref}
}

// differences collects what differs between two objects, in words.
type differences []string

func (d *differences) text(what, old, now string) {
	switch {
	case old == now:
	case old == "":
		*d = append(*d, fmt.Sprintf("%s: + %s", what, now))
	case now == "":
		*d = append(*d, fmt.Sprintf("%s: - %s", what, old))
	default:
		*d = append(*d, fmt.Sprintf("%s: %s → %s", what, old, now))
	}
}

func (d *differences) tags(old, now map[string]string) {
	keys := maps.Clone(old)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, now)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		d.text("tags."+key, old[key], now[key])
	}
}

// fields compares columns by name; those that are gone come first.
func (d *differences) fields(what string, old, now []driftline.Field) {
	for _, f := range old {
		if !slices.ContainsFunc(now, func(g driftline.Field) bool { return g.Name == f.Name }) {
			*d = append(*d, fmt.Sprintf("%s: - %s %s", what, f.Name, f.Type))
		}
	}
	for _, f := range now {
		at := slices.IndexFunc(old, func(g driftline.Field) bool { return g.Name == f.Name })
		if at < 0 {
			*d = append(*d, fmt.Sprintf("%s: + %s %s", what, f.Name, f.Type))
			continue
		}
		d.text(what+"."+f.Name+".type", string(old[at].Type), string(f.Type))
		d.text(what+"."+f.Name+".description", old[at].Description, f.Description)
	}
}

func viewDifferences(old, view *driftline.FeatureView) driftline.Change {
	var d differences
	d.text("entities", entityList(old.Entities), entityList(view.Entities))
	d.features(old.Features, view.Features)
	d.aggregations(old, view)
	d.text("ttl", old.TTL.String(), view.TTL.String())
	d.text("horizon", old.Horizon.String(), view.Horizon.String())
	d.text("history", historyText(old.History), historyText(view.History))
	d.text("predictions", predictionsText(old.Predictions), predictionsText(view.Predictions))
	d.text("source", sourceText(old.Source), sourceText(view.Source))
	d.text("known_at", fmt.Sprint(old.KnownAt), fmt.Sprint(view.KnownAt))
	d.text("description", old.Description, view.Description)
	d.text("owner", old.Owner, view.Owner)
	d.tags(old.Tags, view.Tags)
	return d.change(driftline.ViewRef(view.Name))
}

func sourceText(source *driftline.BatchSource) string {
	if source == nil {
		return ""
	}
	return string(source.Format) + " " + source.Path
}

func predictionsText(log *driftline.PredictionLog) string {
	if log == nil {
		return ""
	}
	words := []string{fmt.Sprintf("%s by %s, %s", log.ID, log.Model, log.Version)}
	for _, word := range []string{string(log.Mode), string(log.Overflow)} {
		if word != "" {
			words = append(words, word)
		}
	}
	if len(log.Fields) > 0 {
		words = append(words, "only "+strings.Join(log.Fields, ", "))
	}
	if log.MostBytes > 0 {
		words = append(words, fmt.Sprintf("%d bytes at most", log.MostBytes))
	}
	return strings.Join(words, "; ")
}

func historyText(history *driftline.History) string {
	if history == nil {
		return ""
	}
	var words []string
	if history.Last > 0 {
		words = append(words, fmt.Sprintf("last %d", history.Last))
	}
	if history.MaxAge > 0 {
		words = append(words, "of "+history.MaxAge.Short())
	}
	return strings.Join(words, " and ")
}

func (d differences) change(ref driftline.Ref) driftline.Change {
	if len(d) == 0 {
		return driftline.Change{Action: driftline.ChangeNone, Ref: ref}
	}
	return driftline.Change{Action: driftline.ChangeUpdate, Ref: ref, Fields: d}
}

// version is change of what gets another version, now, if anything differs from old.
func (d differences) version(old, now driftline.Ref) driftline.Change {
	if len(d) == 0 {
		return d.change(old)
	}
	return d.change(now)
}

func entityList(names []driftline.EntityName) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

func columnList(fields []driftline.Field) string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.Name + " " + string(f.Type)
	}
	return strings.Join(words, ", ")
}

// projectionList writes projections the way people say them: weather(temp, wind) as origin on airport=origin.
func projectionList(projections []driftline.Projection) string {
	words := make([]string, len(projections))
	for i, p := range projections {
		words[i] = fmt.Sprintf("%s(%s)", p.View, strings.Join(p.Features, ", "))
		if p.Role != "" {
			words[i] += " as " + p.Role
		}
		if p.Lag > 0 {
			words[i] += " lagged " + p.Lag.String()
		}
		for _, key := range slices.Sorted(maps.Keys(p.JoinKeyMap)) {
			words[i] += fmt.Sprintf(" on %s=%s", key, p.JoinKeyMap[key])
		}
	}
	return strings.Join(words, "; ")
}

func sameColumns(a, b []driftline.Field) bool {
	return slices.EqualFunc(a, b, func(x, y driftline.Field) bool { return x.Name == y.Name && x.Type == y.Type })
}
