package aggregate

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/driftline/driftline"
)

// Plan is how the aggregations of a view are computed: which columns and filters its
// events are read by, and which cells a [State] of them has. It is immutable.
type Plan struct {
	// Columns are the features that an [Event] has the values of, in this order.
	Columns []driftline.Field

	// Filters are the texts of the conditions that an event says in [Event.Passes] are
	// true for it, in this order.
	Filters []string

	// Features are what the aggregations derive, in the order of the view.
	Features []driftline.AggregatedFeature

	// EventID is the place in Columns of the feature that tells events of equal time
	// apart, or -1.
	EventID int

	cells       []cellPlan
	outputs     []output
	fingerprint uint64
}

// cellPlan is what a cell summarises: features that share it differ in their windows only,
// or in what they make of it.
type cellPlan struct {
	Kind     kind
	Input    int // of Columns; -1 for the rows themselves
	Type     driftline.Type
	Filter   int // of Filters; -1 for none
	By       int // of Columns; -1 for none
	Category driftline.Type
	N        int // of last_n
}

// output is one feature of a plan.
type output struct {
	cell     int
	function driftline.Function
	n        int
	quantile float64
	window   int64
	hop      int64
	isText   bool // whether a value is in the text; of a map, a value of it
}

// NewPlan plans the aggregations of a registered view.
func NewPlan(view *driftline.FeatureView) *Plan {
	p := &Plan{EventID: -1, Features: view.AggregatedFeatures()}
	if view.EventID != "" {
		p.EventID = p.column(view, view.EventID)
	}
	for _, f := range p.Features {
		p.outputs = append(p.outputs, p.output(view, f))
	}
	// The fingerprint is of names and types too, so that a state is never read by a plan
	// in which its columns have become others.
	text, err := json.Marshal(struct {
		Columns []driftline.Field
		Filters []string
		EventID int
		Cells   []cellPlan
	}{p.Columns, p.Filters, p.EventID, p.cells})
	if err != nil {
		panic(err) // names, numbers and nothing else
	}
	p.fingerprint = xxhash.Sum64(text)
	return p
}

// Fingerprint is equal for plans whose states can be merged.
func (p *Plan) Fingerprint() uint64 { return p.fingerprint }

func (p *Plan) output(view *driftline.FeatureView, f driftline.AggregatedFeature) output {
	a := f.Aggregation
	c := cellPlan{Kind: kinds[a.Function], Input: -1, Filter: -1, By: -1}
	if a.Column != "" {
		c.Input = p.column(view, a.Column)
		c.Type = p.Columns[c.Input].Type
	}
	if a.Filter != "" {
		if c.Filter = slices.Index(p.Filters, a.Filter); c.Filter < 0 {
			c.Filter = len(p.Filters)
			p.Filters = append(p.Filters, a.Filter)
		}
	}
	result := f.Type
	if a.By != "" {
		c.By = p.column(view, a.By)
		c.Category = p.Columns[c.By].Type
		result, _ = result.MapValue()
	}
	if a.Function == driftline.LastN {
		c.N = a.N
	}
	at := slices.Index(p.cells, c)
	if at < 0 {
		at = len(p.cells)
		p.cells = append(p.cells, c)
	}
	return output{
		cell: at, function: a.Function, n: a.N, quantile: a.Quantile,
		window: f.Window.Microseconds(), hop: a.Hop.Microseconds(), isText: heldInText(result),
	}
}

// column returns the place of a feature of the view in Columns.
func (p *Plan) column(view *driftline.FeatureView, name string) int {
	if at := slices.IndexFunc(p.Columns, func(f driftline.Field) bool { return f.Name == name }); at >= 0 {
		return at
	}
	f, _ := view.Feature(name)
	p.Columns = append(p.Columns, driftline.Field{Name: f.Name, Type: f.Type, Column: f.Column})
	return len(p.Columns) - 1
}

func (c cellPlan) make() cell {
	one := func() cell { return newCell(c.Kind, c.Type, c.N) }
	if c.By < 0 {
		return one()
	}
	return &categoryCell{by: c.Category, column: c.By, make: one}
}

// Query is the part of a plan that a request asks for. It is immutable.
type Query struct {
	plan     *Plan
	Features []driftline.AggregatedFeature // in the order asked for

	outputs []int // of the plan, by feature
	steps   []step
}

// step is a window of a query, of which the shorter ones of its hop come before.
type step struct {
	hop, window int64
	features    []int  // of the query, that it gives
	active      []bool // by cell: whether this window or a longer one needs it
}

// Query returns what gives the features of these names, which the plan has.
func (p *Plan) Query(names []string) (*Query, error) {
	q := &Query{plan: p}
	for _, name := range names {
		at := slices.IndexFunc(p.Features, func(f driftline.AggregatedFeature) bool { return f.Name == name })
		if at < 0 {
			return nil, driftline.Errorf(driftline.Internal, "no aggregation derives %q", name)
		}
		q.Features = append(q.Features, p.Features[at])
		q.outputs = append(q.outputs, at)
		q.take(len(q.outputs)-1, &p.outputs[at])
	}
	slices.SortFunc(q.steps, func(a, b step) int { return cmp.Or(cmp.Compare(a.hop, b.hop), cmp.Compare(a.window, b.window)) })
	for i := range q.steps {
		q.steps[i].active = make([]bool, len(p.cells))
		for _, later := range q.steps[i:] {
			if later.hop == q.steps[i].hop {
				q.activate(q.steps[i].active, later)
			}
		}
	}
	return q, nil
}

// take puts a feature into the step of its window.
func (q *Query) take(feature int, o *output) {
	at := slices.IndexFunc(q.steps, func(s step) bool { return s.hop == o.hop && s.window == o.window })
	if at < 0 {
		at = len(q.steps)
		q.steps = append(q.steps, step{hop: o.hop, window: o.window})
	}
	q.steps[at].features = append(q.steps[at].features, feature)
}

func (q *Query) activate(active []bool, s step) {
	for _, feature := range s.features {
		active[q.plan.outputs[q.outputs[feature]].cell] = true
	}
}

// Plan is the plan that the query is of.
func (q *Query) Plan() *Plan { return q.plan }

// Reach is how far back the query looks from a time, in microseconds.
func (q *Query) Reach() (reach int64) {
	for _, s := range q.steps {
		reach = max(reach, s.window+s.hop)
	}
	return reach
}
