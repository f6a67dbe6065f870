package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
)

// mostOnDemand is how many features an on-demand view may compute.
const mostOnDemand = 500

// requestQualifier may stand before the name of request data in an expression.
const requestQualifier = "request"

// input is a column that the expressions of an on-demand view may read.
type input struct {
	column expression.Column
	source *driftline.Projection // nil for request data
}

// inputs are what the expressions of a view may read: the features of its sources, in
// order, and then the request data.
func (s *state) inputs(view *driftline.OnDemandFeatureView) ([]input, error) {
	var all []input
	for i := range view.Sources {
		source := &view.Sources[i]
		stored, err := s.view(source.View)
		if err != nil {
			return nil, err
		}
		names := source.Features
		if len(names) == 0 {
			names = stored.OfferedNames()
		}
		for _, name := range names {
			of, found := stored.OfferedFeature(name)
			if !found {
				return nil, unknown("feature", name, stored.OfferedNames(), applyFirst).WithRef(driftline.ViewRef(stored.Name))
			}
			all = append(all, input{expression.Column{Qualifier: source.Prefix(), Name: name, Type: of.Type}, source})
		}
	}
	for _, f := range view.Request {
		all = append(all, input{expression.Column{Qualifier: requestQualifier, Name: f.Name, Type: f.Type}, nil})
	}
	return all, nil
}

// compileFeature checks the expression of a feature.
func compileFeature(feature driftline.OnDemandFeature, inputs []input) (*expression.Expression, error) {
	columns := make([]expression.Column, len(inputs))
	for i, in := range inputs {
		columns[i] = in.column
	}
	made, err := expression.Compile(feature.Expression, columns)
	if err != nil {
		return nil, named("feature", feature.Name, err)
	}
	return made, nil
}

func planOnDemand(s *state, view driftline.OnDemandFeatureView) (plannedChange, error) {
	if err := driftline.CheckIdentifier("on-demand feature view", view.Name); err != nil {
		return plannedChange{}, err
	}
	if _, stored := s.views[view.Name]; stored {
		return plannedChange{}, driftline.Errorf(driftline.Invalid, "on-demand feature view %q has the name of a feature view", view.Name).
			WithHint("features are asked for as view:feature: choose another name")
	}
	if err := s.completeOnDemand(&view); err != nil {
		return plannedChange{}, named("on-demand feature view", view.Name, err)
	}
	old := s.onDemand[view.Name]
	s.onDemand[view.Name] = &view
	p := plannedChange{kind: OnDemandApplied, object: view}
	for _, source := range view.Sources {
		if ref := driftline.ViewRef(source.View); !slices.Contains(p.inputs, ref) {
			p.inputs = append(p.inputs, ref)
		}
	}
	if old == nil {
		p.Change = created(driftline.ViewRef(view.Name))
		return p, nil
	}
	var d differences
	d.text("sources", projectionList(old.Sources), projectionList(view.Sources))
	d.fields("request", old.Request, view.Request)
	d.expressions(old.Features, view.Features)
	d.text("description", old.Description, view.Description)
	d.text("owner", old.Owner, view.Owner)
	d.tags(old.Tags, view.Tags)
	p.Change = d.change(driftline.ViewRef(view.Name))
	return p, nil
}

// completeOnDemand checks the view, and fills in the types of its features.
func (s *state) completeOnDemand(view *driftline.OnDemandFeatureView) error {
	switch {
	case len(view.Sources) == 0:
		return driftline.Errorf(driftline.Invalid, "it has no sources").
			WithHint("list the views whose features its expressions read, for example {view: weather}")
	case len(view.Features) == 0:
		return driftline.Errorf(driftline.Invalid, "it has no features").
			WithHint("list at least one, for example {name: feels_cold, expression: temp < 5 AND wind > 20}")
	case len(view.Features) > mostOnDemand:
		return driftline.Errorf(driftline.Invalid, "it has %d features, and at most %d are kept", len(view.Features), mostOnDemand).
			WithHint("spread them over several views")
	}
	if err := s.checkSources(view); err != nil {
		return err
	}
	request := columns{}
	for i := range view.Request {
		f := &view.Request[i]
		f.Column, f.RenamedFrom = "", ""
		if err := checkField(f, "request data", request); err != nil {
			return err
		}
	}
	inputs, err := s.inputs(view)
	if err != nil {
		return err
	}
	taken := columns{}
	for i := range view.Features {
		if err := completeFeature(&view.Features[i], inputs, taken); err != nil {
			return err
		}
	}
	return checkNotes("on-demand feature view", view.Name, view.Description, view.Owner, view.Tags)
}

func (s *state) checkSources(view *driftline.OnDemandFeatureView) error {
	if err := checkRoles(view.Sources); err != nil {
		return err
	}
	for _, source := range view.Sources {
		stored, err := s.view(source.View)
		if err != nil {
			return err
		}
		if stored.Horizon > 0 {
			return driftline.Errorf(driftline.Invalid, "source %q has labels, which are known only afterwards", source.View).
				WithHint("compute features from features")
		}
		if source.Prefix() == requestQualifier {
			return driftline.Errorf(driftline.Invalid, "source %q is called %q, as request data are", source.View, requestQualifier).
				WithHint("give it a role")
		}
		if err := checkProjection(source, stored); err != nil {
			return err
		}
	}
	return nil
}

func completeFeature(feature *driftline.OnDemandFeature, inputs []input, taken columns) error {
	if err := taken.takeChecked(feature.Name, "feature"); err != nil {
		return err
	}
	if err := checkText("feature "+feature.Name, feature.Description); err != nil {
		return err
	}
	made, err := compileFeature(*feature, inputs)
	if err != nil {
		return err
	}
	if feature.Type != "" {
		said, err := driftline.ParseType(string(feature.Type))
		if err != nil {
			return named("feature", feature.Name, err)
		}
		if said != made.Type() {
			return driftline.Errorf(driftline.Invalid, "feature %q: its expression is %s, and its type says %s", feature.Name, made.Type(), said).
				WithHint("leave the type out, or write a CAST")
		}
	}
	feature.Type = made.Type()
	return nil
}

// checkOnDemandProjection checks p, whose features are spelt out, against its view.
func checkOnDemandProjection(p driftline.Projection, view *driftline.OnDemandFeatureView) error {
	for i, name := range p.Features {
		if _, found := view.Feature(name); !found {
			err := unknown("feature", name, view.FeatureNames(), applyFirst).WithRef(driftline.ViewRef(view.Name))
			return named("on-demand feature view", view.Name, err)
		}
		if slices.Contains(p.Features[:i], name) {
			return driftline.Errorf(driftline.Invalid, "feature %q of view %q is asked for twice", name, view.Name).WithHint("name it once")
		}
	}
	if p.Role != "" {
		if err := driftline.CheckIdentifier("role", p.Role); err != nil {
			return err
		}
	}
	if p.Lag != 0 || len(p.JoinKeyMap) > 0 {
		return driftline.Errorf(driftline.Invalid, "view %q is computed on demand, and takes no lag and no join keys", view.Name).
			WithHint("write them into its sources")
	}
	return nil
}

// checkTransforms refuses changes to views after which an on-demand view, which the
// definitions do not bring along, could not be computed, or would be of other types.
func checkTransforms(after *state, definitions driftline.Definitions) error {
	brought := map[driftline.ViewName]bool{}
	for _, view := range definitions.OnDemandFeatureViews {
		brought[view.Name] = true
	}
	changed := map[driftline.ViewName]bool{}
	for _, view := range definitions.FeatureViews {
		changed[view.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(after.onDemand)) {
		view := cloneOnDemand(after.onDemand[name])
		at := slices.IndexFunc(view.Sources, func(p driftline.Projection) bool { return changed[p.View] })
		if brought[name] || at < 0 {
			continue
		}
		if err := after.completeOnDemand(view); err != nil {
			source := view.Sources[at].View
			return driftline.Errorf(driftline.FailedPrecondition, "feature view %q cannot change so: on-demand feature view %q is computed from it: %w", source, name, err).
				WithRef(driftline.ViewRef(source)).
				WithHint("bring a definition of %q that fits along, or leave as it was what it reads", name)
		}
	}
	return nil
}

// expressions compares the features of an on-demand view by name.
func (d *differences) expressions(old, now []driftline.OnDemandFeature) {
	for _, f := range old {
		if !slices.ContainsFunc(now, func(g driftline.OnDemandFeature) bool { return g.Name == f.Name }) {
			*d = append(*d, fmt.Sprintf("features: - %s", f.Name))
		}
	}
	for _, f := range now {
		at := slices.IndexFunc(old, func(g driftline.OnDemandFeature) bool { return g.Name == f.Name })
		if at < 0 {
			*d = append(*d, fmt.Sprintf("features: + %s = %s", f.Name, oneLine(f.Expression)))
			continue
		}
		d.text("features."+f.Name+".expression", oneLine(old[at].Expression), oneLine(f.Expression))
		d.text("features."+f.Name+".type", string(old[at].Type), string(f.Type))
		d.text("features."+f.Name+".description", old[at].Description, f.Description)
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
