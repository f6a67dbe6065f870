package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// Source is one use of a feature view in a training set.
type Source struct {
	View *driftline.FeatureView

	// Projection says which features, in which order, under which role and with
	// which key mapping. Its Features are not empty.
	Projection driftline.Projection

	// Rows are the view's rows at the moment that the answer is pinned to.
	Rows Rows

	// Unique promises that no two rows of Rows share join keys and event
	// timestamp. Without it the join also orders by created timestamp and write
	// sequence, which costs about half as much again.
	Unique bool

	// EventTime adds a last column, [EventTimeColumn]: the event time of the row that
	// the values came from, whatever the TTL says of it. One source of a plan may ask.
	EventTime bool
}

// EventTimeColumn is the column that [Source.EventTime] adds.
const EventTimeColumn = "__event_timestamp"

// HistoricalPlan is how a training set is computed, and what it looks like. It is
// immutable.
type HistoricalPlan struct {
	// SQL says what the answer is: one SELECT per view, over the tables spine and v0, v1,
	// … It is the meaning of the plan, and what DuckDB runs where it answers a view. Where
	// the rows of a view are sorted they are merged with the spine instead, with the same
	// answer (see [DB.Historical]). It depends on the request, the views and the types of
	// the spine only.
	SQL string

	// Schema is the spine's schema with one nullable column per feature appended.
	Schema *arrow.Schema

	spine spineColumns
	views []viewPlan

	// order says of each feature of the answer which one it is of those of all views, laid
	// one after the other.
	order []int
}

// viewPlan is the part of a plan that reads one source.
type viewPlan struct {
	source   Source
	table    string // v0, v1, …
	sql      string
	features []driftline.Field
	outputs  []string // the features' names in the answer
	keys     []string // columns of the table spine, one per join key of the view

	keyColumns []int // the same as places among the keys of the table spine
	knownAt    bool
	strict     bool
	lag        int64 // microseconds
	ahead      bool  // a label view, which knows neither of the three
	horizon    int64 // of a label view, in microseconds

	// countsUnknown says that the SELECT has a last column that is true where the
	// row was created after the spine's time.
	countsUnknown bool

	windows *windowPlan // of aggregated features; nil for those that are stored
}

// PlanHistorical plans the training set that req asks for, over a spine of the
// given schema and the resolved sources in output order. It reads nothing but
// its arguments.
//
// It fails with Invalid if the spine lacks the time or a key column, if a key's
// type cannot be held by the view's, or if two output columns would share a name.
func PlanHistorical(req driftline.HistoricalRequest, spine *arrow.Schema, sources []Source) (*HistoricalPlan, error) {
	if len(sources) == 0 {
		return nil, driftline.Errorf(driftline.Invalid, "no features were asked for").
			WithHint("name a feature service, or features like weather:temp")
	}
	columns, err := planSpine(req, spine, sources)
	if err != nil {
		return nil, err
	}
	p := &HistoricalPlan{spine: columns}
	names := newOutputNames(spine)
	fields := spine.Fields()
	for i, s := range sources {
		uses, order, err := planSource(i, req, s, columns)
		if err != nil {
			return nil, err
		}
		before := p.featureCount()
		p.views = append(p.views, uses...)
		for _, at := range order {
			p.order = append(p.order, before+at)
			f, output := p.feature(before + at)
			if err := names.add(output, s.Projection); err != nil {
				return nil, err
			}
			fields = append(fields, arrow.Field{Name: output, Type: f.Type.Arrow(), Nullable: true})
		}
	}
	metadata := spine.Metadata()
	p.Schema = arrow.NewSchema(fields, &metadata)
	p.SQL = p.text()
	return p, nil
}

// featureCount is how many features all views have.
func (p *HistoricalPlan) featureCount() (n int) {
	for _, v := range p.views {
		n += len(v.features)
	}
	return n
}

// feature returns a feature of all views, laid one after the other, and its name in the answer.
func (p *HistoricalPlan) feature(at int) (driftline.Field, string) {
	for _, v := range p.views {
		if at < len(v.features) {
			return v.features[at], v.outputs[at]
		}
		at -= len(v.features)
	}
	panic("query: a feature that is not in the plan")
}

// planSource plans the stored features of a source and those that are aggregated, each as a
// use of the view. order says, for each feature asked for, which of theirs it is.
func planSource(i int, req driftline.HistoricalRequest, s Source, columns spineColumns) (uses []viewPlan, order []int, err error) {
	if len(s.Projection.Features) == 0 {
		return nil, nil, driftline.Errorf(driftline.Internal, "view %q was planned without features", s.View.Name)
	}
	stored, aggregated := planUse(i, req, s, columns), planUse(i, req, s, columns)
	offered := s.View.Offered()
	for _, name := range s.Projection.Features {
		at := slices.IndexFunc(offered, func(f driftline.Field) bool { return f.Name == name })
		switch output := s.Projection.OutputName(name, req.FullFeatureNames); {
		case at < 0:
			return nil, nil, driftline.Unknown(fmt.Sprintf("feature of view %q", s.View.Name), name, s.View.OfferedNames())
		case at < len(s.View.Features):
			order = append(order, len(stored.features))
			stored.add(offered[at], output)
		default:
			order = append(order, -1-len(aggregated.features)) // until it is known how many are stored
			aggregated.add(offered[at], output)
		}
	}
	if s.EventTime {
		order = append(order, len(stored.features))
		stored.add(driftline.Field{Name: EventTimeColumn, Type: driftline.Timestamp}, EventTimeColumn)
	}
	if len(stored.features) > 0 {
		stored.sql = stored.selectSQL()
		uses = append(uses, stored)
	}
	if len(aggregated.features) > 0 {
		if err := aggregated.planWindows(); err != nil {
			return nil, nil, err
		}
		uses = append(uses, aggregated)
	}
	for j, at := range order {
		if at < 0 {
			order[j] = len(stored.features) - 1 - at
		}
	}
	return uses, order, nil
}

func (v *viewPlan) add(f driftline.Field, output string) {
	v.features, v.outputs = append(v.features, f), append(v.outputs, output)
}

// planUse plans a use of a view, without its features.
func planUse(i int, req driftline.HistoricalRequest, s Source, columns spineColumns) viewPlan {
	v := viewPlan{
		source:  s,
		table:   fmt.Sprintf("v%d", i),
		ahead:   s.View.Horizon > 0,
		horizon: s.View.Horizon.Microseconds(),
	}
	if !v.ahead {
		v.lag = s.Projection.Lag.Microseconds()
		v.strict = req.Strict
		v.knownAt = (req.KnownAt || s.View.KnownAt) && s.View.CreatedTimestamp != ""
		v.countsUnknown = !v.knownAt && s.View.CreatedTimestamp != ""
	}
	for _, k := range s.View.JoinKeys {
		at := columns.keyAt(s.Projection.KeyColumn(k.Name))
		v.keys, v.keyColumns = append(v.keys, keyName(at)), append(v.keyColumns, at)
	}
	return v
}

// outputNames finds names that an answer would have twice.
type outputNames map[string]string // column → what it comes from

func newOutputNames(spine *arrow.Schema) outputNames {
	names := outputNames{}
	for _, f := range spine.Fields() {
		names[f.Name] = "the spine"
	}
	return names
}

func (n outputNames) add(column string, p driftline.Projection) error {
	from := fmt.Sprintf("view %q", p.View)
	if p.Role != "" {
		from += fmt.Sprintf(" as %q", p.Role)
	}
	if other, taken := n[column]; taken {
		return driftline.Errorf(driftline.Invalid, "column %q comes from %s and from %s", column, other, from).
			WithHint("ask for full_feature_names, or give a use of the view a role")
	}
	n[column] = from
	return nil
}

// text is the plan for people: the spine's columns as a comment, then each SELECT.
func (p *HistoricalPlan) text() string {
	var b strings.Builder
	b.WriteString(p.spine.comment())
	for _, v := range p.views {
		b.WriteString("\n" + v.comment() + v.sql + ";\n")
	}
	return b.String()
}

func (v *viewPlan) comment() string {
	var notes []string
	if v.source.Projection.Role != "" {
		notes = append(notes, fmt.Sprintf("as %q", v.source.Projection.Role))
	}
	if v.lag > 0 {
		notes = append(notes, v.source.Projection.Lag.String()+" earlier")
	}
	if v.ahead {
		notes = append(notes, "the first in the "+v.source.View.Horizon.String()+" ahead")
	}
	switch {
	case v.windows != nil:
		notes = append(notes, "aggregated")
	case v.source.View.TTL > 0:
		notes = append(notes, "at most "+v.source.View.TTL.String()+" old")
	}
	if v.knownAt {
		notes = append(notes, "as known at the time")
	}
	if v.strict {
		notes = append(notes, "strictly before the time")
	}
	return "-- " + v.table + ": " + strings.Join(append([]string{string(v.source.View.Name)}, notes...), ", ") + "\n"
}
