package registry

import (
	"maps"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
)

// Resolved is one use of a view that a request reads, with Features spelt out.
type Resolved struct {
	driftline.Projection
	View *driftline.FeatureView
}

// Resolution is what a feature set means.
type Resolution struct {
	// Projections are what was asked for, with their features spelt out. Features of one
	// view that were asked for one by one are one projection, at the place of the first.
	Projections []driftline.Projection

	// Reads are the views to read: first those that were asked for, in order, then those
	// that only transforms read. A view that both want is read once, its further features
	// last.
	Reads []Resolved

	// Columns are the answer's, in order.
	Columns []Column

	// Request are the columns that the rows of the request bring for the transforms.
	Request []RequestColumn

	// OnDemand are the on-demand views that are computed.
	OnDemand []*driftline.OnDemandFeatureView
}

// Column is a column of an answer: a feature that is read, or one that is computed.
type Column struct {
	Name string
	Type driftline.Type
	Read Place
	Made *Transform // nil if it is read
}

// Place is a feature of a read: Reads[Read].Features[Feature].
type Place struct{ Read, Feature int }

// RequestColumn is a column that a request must bring, and the first view that wants it.
type RequestColumn struct {
	driftline.Field
	For driftline.ViewName
}

// Transform computes a feature.
type Transform struct {
	View       driftline.ViewName
	Feature    driftline.OnDemandFeature
	Expression *expression.Expression
	Inputs     []Input // what the expression was compiled with; only what it reads is filled in
}

// Input is a value that an expression reads.
type Input struct {
	Column  expression.Column
	Used    bool
	Place   Place // of a feature
	Request int   // the place in Request, or -1
}

// Resolve finds what a feature set means.
func (r *Registry) Resolve(set driftline.FeatureSet) (*Resolution, error) {
	var resolution *Resolution
	var err error
	r.read(func(s *state) { resolution, err = s.resolve(set) })
	return resolution, err
}

// ResolveThen finds what projections meant when the views were these.
func ResolveThen(views []driftline.FeatureView, onDemand []driftline.OnDemandFeatureView, set driftline.FeatureSet) (*Resolution, error) {
	s := newState()
	for i := range views {
		s.views[views[i].Name] = &views[i]
	}
	for i := range onDemand {
		s.onDemand[onDemand[i].Name] = &onDemand[i]
	}
	return s.resolve(set)
}

func (s *state) resolve(set driftline.FeatureSet) (*Resolution, error) {
	projections, err := s.projections(set)
	if err != nil {
		return nil, err
	}
	r := &resolver{state: s, full: set.FullFeatureNames, Resolution: &Resolution{}}
	for _, p := range projections {
		spelt, err := s.spellOut(p)
		if err != nil {
			return nil, err
		}
		r.Projections = append(r.Projections, spelt)
	}
	if err := checkRoles(r.Projections); err != nil {
		return nil, err
	}
	for _, p := range r.Projections { // the views that were asked for come before others
		if view, stored := s.views[p.View]; stored {
			r.Reads = append(r.Reads, Resolved{Projection: cloneProjection(p), View: cloneView(view)})
		}
	}
	return r.Resolution, r.columns()
}

// spellOut checks a projection against its view, and names its features.
func (s *state) spellOut(p driftline.Projection) (driftline.Projection, error) {
	p = cloneProjection(p)
	if view, computed := s.onDemand[p.View]; computed {
		if len(p.Features) == 0 {
			p.Features = view.FeatureNames()
		}
		return p, checkOnDemandProjection(p, view)
	}
	p.View = s.meant(p.View)
	view, err := s.view(p.View)
	if err != nil {
		return p, err
	}
	if len(p.Features) == 0 {
		p.Features = view.OfferedNames()
	}
	return p, checkProjection(p, view)
}

// resolver puts a resolution together.
type resolver struct {
	*Resolution
	state *state
	full  bool // feature names
}

func (r *resolver) columns() error {
	read := 0
	for _, p := range r.Projections {
		if view, computed := r.state.onDemand[p.View]; computed {
			if err := r.transforms(p, view); err != nil {
				return err
			}
			continue
		}
		for i, name := range p.Features {
			offered, _ := r.Reads[read].View.OfferedFeature(name)
			r.Columns = append(r.Columns, Column{Name: p.OutputName(name, r.full), Type: offered.Type, Read: Place{read, i}})
		}
		read++
	}
	return nil
}

// transforms adds the features of an on-demand view, and the reads that they need.
func (r *resolver) transforms(p driftline.Projection, view *driftline.OnDemandFeatureView) error {
	inputs, err := r.state.inputs(view)
	if err != nil {
		return err
	}
	r.OnDemand = append(r.OnDemand, cloneOnDemand(view))
	for _, name := range p.Features {
		feature, _ := view.Feature(name)
		made, err := compileFeature(feature, inputs)
		if err != nil {
			return err
		}
		transform := &Transform{View: view.Name, Feature: feature, Expression: made, Inputs: make([]Input, len(inputs))}
		for i, in := range inputs {
			transform.Inputs[i] = Input{Column: in.column, Request: -1}
		}
		for _, at := range made.Reads() {
			transform.Inputs[at].Used = true
			if err := r.supply(view, inputs[at], &transform.Inputs[at]); err != nil {
				return err
			}
		}
		r.Columns = append(r.Columns, Column{Name: p.OutputName(name, r.full), Type: made.Type(), Made: transform})
	}
	return nil
}

// supply says where an input comes from, and makes sure that it is read.
func (r *resolver) supply(view *driftline.OnDemandFeatureView, in input, to *Input) error {
	if in.source == nil {
		at := slices.IndexFunc(r.Request, func(c RequestColumn) bool { return c.Name == in.column.Name })
		if at < 0 {
			at = len(r.Request)
			r.Request = append(r.Request, RequestColumn{Field: driftline.Field{Name: in.column.Name, Type: in.column.Type}, For: view.Name})
		}
		if other := r.Request[at]; other.Type != in.column.Type {
			return driftline.Errorf(driftline.Invalid, "on-demand feature views %q and %q want request data %q as %s and as %s",
				other.For, view.Name, in.column.Name, other.Type, in.column.Type).WithHint("ask for them in two requests, or give one of the two another name")
		}
		to.Request = at
		return nil
	}
	at := slices.IndexFunc(r.Reads, func(read Resolved) bool { return sameRows(read.Projection, *in.source) })
	if at < 0 {
		at = len(r.Reads)
		source := cloneProjection(*in.source)
		source.Features = nil
		r.Reads = append(r.Reads, Resolved{Projection: source, View: cloneView(r.state.views[source.View])})
	}
	read := &r.Reads[at]
	feature := slices.Index(read.Features, in.column.Name)
	if feature < 0 {
		feature = len(read.Features)
		read.Features = append(read.Features, in.column.Name)
	}
	to.Place = Place{at, feature}
	return nil
}

// sameRows reports whether two projections read the same rows of the same view.
func sameRows(a, b driftline.Projection) bool {
	return a.View == b.View && a.Lag == b.Lag && maps.Equal(a.JoinKeyMap, b.JoinKeyMap)
}
