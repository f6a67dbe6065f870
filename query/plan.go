package query

import (
	"fmt"
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
		v, err := planView(i, req, s, columns)
		if err != nil {
			return nil, err
		}
		for _, f := range v.features {
			output := s.Projection.OutputName(f.Name, req.FullFeatureNames)
			if f.Name == EventTimeColumn {
				output = EventTimeColumn
			}
			if err := names.add(output, s.Projection); err != nil {
				return nil, err
			}
			v.outputs = append(v.outputs, output)
			fields = append(fields, arrow.Field{Name: output, Type: f.Type.Arrow(), Nullable: true})
		}
		v.sql = v.selectSQL()
		p.views = append(p.views, v)
	}
	metadata := spine.Metadata()
	p.Schema = arrow.NewSchema(fields, &metadata)
	p.SQL = p.text()
	return p, nil
}

func planView(i int, req driftline.HistoricalRequest, s Source, columns spineColumns) (viewPlan, error) {
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
	if len(s.Projection.Features) == 0 {
		return v, driftline.Errorf(driftline.Internal, "view %q was planned without features", s.View.Name)
	}
	for _, name := range s.Projection.Features {
		f, ok := s.View.Feature(name)
		if !ok {
			return v, driftline.Unknown(fmt.Sprintf("feature of view %q", s.View.Name), name, s.View.FeatureNames())
		}
		v.features = append(v.features, f)
	}
	if s.EventTime {
		v.features = append(v.features, driftline.Field{Name: EventTimeColumn, Type: driftline.Timestamp})
	}
	for _, k := range s.View.JoinKeys {
		at := columns.keyAt(s.Projection.KeyColumn(k.Name))
		v.keys, v.keyColumns = append(v.keys, keyName(at)), append(v.keyColumns, at)
	}
	return v, nil
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
	if v.source.View.TTL > 0 {
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
