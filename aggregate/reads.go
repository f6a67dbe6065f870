package aggregate

import (
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
)

// Reads is what has to be known of a row of a view to make an [Event] of it.
type Reads struct {
	// Columns are those of the plan, in its order, and then the features that only
	// filters read.
	Columns []driftline.Field

	// Filters are the plan's, over Columns.
	Filters []*expression.Expression
}

// Reads returns what the events of a plan are made of, of the rows of its view.
func (p *Plan) Reads(view *driftline.FeatureView) (*Reads, error) {
	r := &Reads{Columns: slices.Clone(p.Columns)}
	for _, text := range p.Filters {
		filter, err := expression.Compile(text, expressionColumns(view.Features))
		if err != nil {
			return nil, err
		}
		for _, at := range filter.Reads() {
			f := view.Features[at]
			if !slices.ContainsFunc(r.Columns, func(have driftline.Field) bool { return have.Name == f.Name }) {
				r.Columns = append(r.Columns, f)
			}
		}
	}
	over := expressionColumns(r.Columns)
	for _, text := range p.Filters {
		filter, err := expression.Compile(text, over)
		if err != nil {
			return nil, err
		}
		if filter.Type() != driftline.Bool {
			return nil, driftline.Errorf(driftline.Internal, "filter %q of view %q is no condition", text, view.Name)
		}
		r.Filters = append(r.Filters, filter)
	}
	return r, nil
}

func expressionColumns(fields []driftline.Field) []expression.Column {
	columns := make([]expression.Column, len(fields))
	for i, f := range fields {
		columns[i] = expression.Column{Name: f.Name, Type: f.Type}
	}
	return columns
}
