package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
	"github.com/driftline/driftline/registry"
)

// readRole is the role of a read whose features are looked at before they are answered:
// no column of a user begins with two underscores.
func readRole(read int) string { return fmt.Sprintf("__%d", read) }

func onDemandViews(resolution *registry.Resolution) []driftline.OnDemandFeatureView {
	var views []driftline.OnDemandFeatureView
	for _, v := range resolution.OnDemand {
		views = append(views, *v)
	}
	return views
}

// onDemand computes the features of a resolution that are computed on demand.
type onDemand struct {
	mem        memory.Allocator
	resolution *registry.Resolution
	request    []int // per column that the request brings, its place among the rows'
}

// newOnDemand finds the columns that the request must bring among those of its rows,
// which what calls for the error.
func newOnDemand(mem memory.Allocator, resolution *registry.Resolution, rows *arrow.Schema, what string) (*onDemand, error) {
	d := &onDemand{mem: mem, resolution: resolution}
	for _, c := range resolution.Request {
		at := rows.FieldIndices(c.Name)
		if len(at) == 0 {
			e := driftline.Errorf(driftline.Invalid, "request data %q is missing (on-demand feature view %q needs it)", c.Name, c.For).
				WithRef(driftline.ViewRef(c.For))
			if near := driftline.Nearest(c.Name, fieldNames(rows)); near != "" {
				return nil, e.WithHint("is it the column %q? call it %q", near, c.Name)
			}
			return nil, e.WithHint("give each row of %s a column %q, %s", what, c.Name, c.Type)
		}
		if got := rows.Field(at[0]).Type; !fits(c.Type.Arrow(), got) {
			return nil, driftline.Errorf(driftline.Invalid, "request data %q is %s, want %s (on-demand feature view %q)", c.Name, typeName(got), c.Type, c.For).
				WithRef(driftline.ViewRef(c.For)).WithHint("send %s values", c.Type)
		}
		d.request = append(d.request, at[0])
	}
	return d, nil
}

// requested returns the columns that the request brings, in the types of its resolution.
// The caller releases them.
func (d *onDemand) requested(ctx context.Context, rows arrow.RecordBatch) ([]arrow.Array, error) {
	columns := make([]arrow.Array, 0, len(d.request))
	for i, at := range d.request {
		want := d.resolution.Request[i]
		column, err := castColumn(ctx, rows.Column(at), want.Type.Arrow(), d.mem)
		if err != nil {
			releaseArrays(columns)
			return nil, driftline.Errorf(driftline.Invalid, "request data %q cannot be read: %w", want.Name, err)
		}
		columns = append(columns, column)
	}
	return columns, nil
}

// compute evaluates a transform. read returns the column of a feature that was read.
func (d *onDemand) compute(t *registry.Transform, read func(registry.Place) arrow.Array, requested []arrow.Array, rows int) (*expression.Result, error) {
	inputs := make([]arrow.Array, len(t.Inputs))
	for i, in := range t.Inputs {
		switch {
		case !in.Used:
		case in.Request >= 0:
			inputs[i] = requested[in.Request]
		default:
			inputs[i] = read(in.Place)
		}
	}
	return t.Expression.Evaluate(d.mem, inputs, rows)
}

// place is where a feature is among all that is read, side by side.
func (d *onDemand) place(p registry.Place) int {
	at := p.Feature
	for _, read := range d.resolution.Reads[:p.Read] {
		at += len(read.Projection.Features)
	}
	return at
}

// computeOnDemand puts the features that are computed on demand into a joined training
// set, and the columns into the order that was asked for.
func (e *Engine) computeOnDemand(ctx context.Context, set *joined, spine *arrow.Schema) error {
	computed, err := newOnDemand(e.mem, set.resolution, spine, "the spine")
	if err != nil {
		return err
	}
	schema, err := onDemandSchema(spine, set.resolution)
	if err != nil {
		return err
	}
	t := &onDemandRows{onDemand: computed, schema: schema, spine: spine.NumFields(), columns: make([]driftline.ColumnReport, len(set.resolution.Columns))}
	joined, report := set.rows, set.report
	set.rows = driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b, err := range joined.All {
			if err != nil {
				yield(nil, err)
				return
			}
			made, err := t.compute(ctx, b)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(made, nil)
			made.Release()
			if !more {
				return
			}
		}
	}}
	set.report = func() driftline.HistoricalReport { return t.report(report()) }
	return nil
}

// onDemandSchema is the spine's schema and the columns of a resolution.
func onDemandSchema(spine *arrow.Schema, resolution *registry.Resolution) (*arrow.Schema, error) {
	fields := spine.Fields()
	for _, c := range resolution.Columns {
		if slices.ContainsFunc(fields, func(f arrow.Field) bool { return f.Name == c.Name }) {
			return nil, driftline.Errorf(driftline.Invalid, "column %q would be there twice", c.Name).
				WithHint("ask for full_feature_names, or give one use of a view a role")
		}
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Type.Arrow(), Nullable: true})
	}
	metadata := spine.Metadata()
	return arrow.NewSchema(fields, &metadata), nil
}

// onDemandRows computes the rows of a training set, and counts what its report needs.
type onDemandRows struct {
	*onDemand
	schema  *arrow.Schema
	spine   int // columns
	columns []driftline.ColumnReport
}

func (t *onDemandRows) compute(ctx context.Context, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	requested, err := t.requested(ctx, b)
	if err != nil {
		return nil, err
	}
	defer releaseArrays(requested)
	columns := make([]arrow.Array, 0, t.schema.NumFields())
	defer func() { releaseArrays(columns) }()
	for _, c := range b.Columns()[:t.spine] {
		c.Retain()
		columns = append(columns, c)
	}
	read := func(p registry.Place) arrow.Array { return b.Column(t.spine + t.place(p)) }
	for i, c := range t.resolution.Columns {
		if c.Made == nil {
			column := read(c.Read)
			column.Retain()
			columns = append(columns, column)
			continue
		}
		result, err := t.onDemand.compute(c.Made, read, requested, int(b.NumRows()))
		if err != nil {
			return nil, err
		}
		columns = append(columns, result.Values)
		t.count(&t.columns[i], result)
	}
	return array.NewRecordBatch(t.schema, columns, b.NumRows()), nil
}

func (t *onDemandRows) count(column *driftline.ColumnReport, result *expression.Result) {
	column.Nulls += int64(result.Values.NullN())
	if column.Failed == 0 {
		column.FailedBecause = result.Reason
	}
	column.Failed += int64(len(result.FailedRows))
}

// report makes the report of the join one of the answer.
func (t *onDemandRows) report(joined driftline.HistoricalReport) driftline.HistoricalReport {
	read := joined.Columns
	joined.Columns = nil
	for i, c := range t.resolution.Columns {
		column := t.columns[i]
		if c.Made == nil {
			column = read[t.place(c.Read)]
		} else {
			for _, in := range c.Made.Inputs {
				if in.Used && in.Request < 0 {
					column.NotYetKnown = max(column.NotYetKnown, read[t.place(in.Place)].NotYetKnown)
				}
			}
		}
		column.Column, column.Type = c.Name, c.Type.Arrow().String()
		joined.Columns = append(joined.Columns, column)
	}
	joined.SQL += t.sql()
	return joined
}

// sql is the last SELECT of a training set whose features are computed on demand.
func (t *onDemandRows) sql() string {
	var b strings.Builder
	b.WriteString("\n-- joined: the spine and the columns above, side by side. What cannot be computed is null.\nSELECT ")
	for i, f := range t.schema.Fields()[:t.spine] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoted(f.Name))
	}
	for _, c := range t.resolution.Columns {
		fmt.Fprintf(&b, ",\n       %s AS %s", t.columnSQL(c), quoted(c.Name))
	}
	b.WriteString("\nFROM joined;\n")
	return b.String()
}

func (t *onDemandRows) columnSQL(c registry.Column) string {
	if c.Made == nil {
		return t.joinedName(c.Read)
	}
	return c.Made.Expression.SQLNaming(func(column int) string {
		if in := c.Made.Inputs[column]; in.Request < 0 {
			return t.joinedName(in.Place)
		}
		return quoted(c.Made.Inputs[column].Column.Name)
	})
}

// joinedName is what the join calls a feature that it reads.
func (t *onDemandRows) joinedName(p registry.Place) string {
	return quoted(readRole(p.Read) + "__" + t.resolution.Reads[p.Read].Features[p.Feature])
}
