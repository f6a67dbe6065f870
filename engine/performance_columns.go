package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
)

// maxInputCategories is from how many distinct texts on an input is an identifier, which
// explains nothing.
const maxInputCategories = 1000

// performancePlan says which columns are read, and as what.
type performancePlan struct {
	driftline.PerformanceOptions
	columns []*performanceColumn
	notes   []string
}

// performanceColumn is a column of both sides.
type performanceColumn struct {
	name  string
	input bool
	codes *categoryCodes // of both sides; nil for numbers
}

// categoryCodes numbers the categories of a column in the order in which they come.
type categoryCodes struct {
	numbers map[string]float64
	names   []string
}

func (c *categoryCodes) of(name string) float64 {
	if number, ok := c.numbers[name]; ok {
		return number
	}
	name = strings.Clone(name)
	number := float64(len(c.names))
	c.numbers[name] = number
	c.names = append(c.names, name)
	return number
}

func planPerformance(source *arrow.Schema, reference *driftline.Batches, opts driftline.PerformanceOptions) (*performancePlan, error) {
	plan := &performancePlan{PerformanceOptions: opts}
	plan.Alpha, plan.Window = cmp.Or(opts.Alpha, defaultAlpha), cmp.Or(opts.Window, driftline.Duration(24*time.Hour))
	switch {
	case !slices.Contains([]string{driftline.TaskClassification, driftline.TaskRegression, driftline.TaskRanking}, plan.Task):
		return nil, driftline.Errorf(driftline.Invalid, "task is %q", plan.Task).WithHint("choose classification, regression or ranking")
	case !(plan.Alpha > 0 && plan.Alpha < 1):
		return nil, driftline.Errorf(driftline.Invalid, "alpha is %v, want a number between 0 and 1", plan.Alpha).WithHint("0.05 is usual")
	case plan.Window.Microseconds() <= 0:
		return nil, driftline.Errorf(driftline.Invalid, "the window is %s", time.Duration(plan.Window)).WithHint("a day is usual: 1d")
	case reference != nil && plan.Label == "":
		return nil, driftline.Errorf(driftline.Invalid, "the reference has no label column").WithHint("name the column of labels: a reference is of use by its labels")
	}
	schemas := []*arrow.Schema{source}
	if reference != nil {
		schemas = append(schemas, reference.Schema)
	}
	if err := plan.roles(schemas); err != nil {
		return nil, err
	}
	return plan, plan.addInputs(schemas)
}

// roles adds the columns that the options name.
func (p *performancePlan) roles(schemas []*arrow.Schema) error {
	named := map[string]string{}
	for _, r := range []struct{ role, name string }{
		{"prediction", p.Prediction}, {"score", p.Score}, {"label", p.Label}, {"group", p.Group}, {"time", p.Time}} {
		if r.name == "" {
			continue
		}
		if other := named[r.name]; other != "" {
			return driftline.Errorf(driftline.Invalid, "column %q is both %s and %s", r.name, other, r.role).WithHint("name a column once")
		}
		named[r.name] = r.role
		c := &performanceColumn{name: r.name}
		if r.role == "group" {
			c.codes = &categoryCodes{numbers: map[string]float64{}}
		}
		for i, schema := range schemas {
			found, err := findColumn(schema, r.name, sideNames[i])
			// A live table may have no label at all, and a reference needs no time.
			if found.index < 0 && !schema.HasField(r.name) && len(schemas) > 1 && (r.role == "label" && i == 0 || r.role == "time" && i == 1) {
				continue
			}
			if err != nil {
				return err
			}
			if err := checkRole(r.role, found.field); err != nil {
				return err
			}
		}
		p.columns = append(p.columns, c)
	}
	return nil
}

var sideNames = []string{"source", "reference"}

func checkRole(role string, field arrow.Field) error {
	kind := field.Type
	switch {
	case kind.ID() == arrow.NULL, role == "group" && canCompare(kind), role == "time" && isTime(kind):
		return nil
	case role == "time":
		return driftline.Errorf(driftline.Invalid, "column %q is %s, want a time", field.Name, kind).WithHint("cast it to a timestamp")
	case role != "group" && (kindOf(kind) == numeric && !isTime(kind) || kind.ID() == arrow.BOOL):
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "%s: column %q is %s, want numbers or booleans", role, field.Name, kind).
		WithHint("number classes in a SELECT: CASE label WHEN 'yes' THEN 1 ELSE 0 END")
}

// addInputs adds the columns that may explain a fall.
func (p *performancePlan) addInputs(schemas []*arrow.Schema) error {
	names := p.Inputs
	if len(names) == 0 {
		for _, f := range schemas[0].Fields() {
			names = append(names, f.Name)
		}
	}
	for _, name := range names {
		if slices.ContainsFunc(p.columns, func(c *performanceColumn) bool { return c.name == name }) {
			if len(p.Inputs) > 0 {
				return driftline.Errorf(driftline.Invalid, "column %q has a role already, or is named twice", name).WithHint("an input is a column of its own")
			}
			continue
		}
		c, err := inputColumn(name, schemas)
		switch {
		case err == nil && c != nil:
			p.columns = append(p.columns, c)
		case err != nil && len(p.Inputs) > 0:
			return err
		case err != nil:
			p.note("%s", err.Message)
		}
	}
	return nil
}

// inputColumn is nil for a time, which explains nothing.
func inputColumn(name string, schemas []*arrow.Schema) (*performanceColumn, *driftline.Error) {
	c := &performanceColumn{name: name, input: true}
	kind := ""
	for i, schema := range schemas {
		found, err := findColumn(schema, name, sideNames[i])
		if err != nil {
			return nil, err
		}
		if isTime(found.field.Type) {
			return nil, nil
		}
		here := kindOf(found.field.Type)
		if here == "" && found.field.Type.ID() != arrow.NULL || kind != "" && here != "" && kind != here {
			return nil, driftline.Errorf(driftline.Invalid, "column %q is %s in %s: it explains nothing", name, typeName(found.field.Type), sideNames[i]).
				WithHint("inputs are numbers, booleans or texts, and the same on both sides")
		}
		kind = cmp.Or(kind, here)
	}
	if kind == categorical {
		c.codes = &categoryCodes{numbers: map[string]float64{}}
	}
	return c, nil
}

// lacks says whether a column that a metric needs is not there.
func (p *performancePlan) lacks(need string) bool {
	return map[string]string{"prediction": p.Prediction, "score": p.Score, "group": p.Group}[need] == ""
}

func (p *performancePlan) read(ctx context.Context, rows driftline.Batches) (*scored, error) {
	r := &scored{}
	values := make([][]float64, len(p.columns))
	for batch, err := range rows.All {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.count += int(batch.NumRows())
		for k, c := range p.columns {
			if found := rows.Schema.FieldIndices(c.name); len(found) > 0 {
				values[k] = c.read(values[k], batch.Column(found[0]))
			} else {
				values[k] = append(values[k], slices.Repeat([]float64{math.NaN()}, int(batch.NumRows()))...)
			}
		}
	}
	r.Label = slices.Repeat([]float64{math.NaN()}, r.count)
	for k, c := range p.columns {
		column := values[k]
		if column == nil {
			column = []float64{}
		}
		switch {
		case c.input:
			r.inputs.Names, r.inputs.Columns = append(r.inputs.Names, c.name), append(r.inputs.Columns, column)
			r.inputs.Categorical = append(r.inputs.Categorical, c.codes != nil)
		case c.name == p.Prediction:
			r.Prediction = column
		case c.name == p.Score:
			r.Score = column
		case c.name == p.Label:
			r.Label = column
		case c.name == p.Time:
			r.time = column
		case c.name == p.Group:
			r.Group = make([]int, len(column))
			for i, v := range column {
				if r.Group[i] = -1; v == v { // rows without a group are one list
					r.Group[i] = int(v)
				}
			}
		}
	}
	r.origin = r.all()
	return r, nil
}

// read appends the values of a batch, NaN for null.
func (c *performanceColumn) read(values []float64, a arrow.Array) []float64 {
	if c.codes == nil {
		known := watchedValues(a)
		for i := range a.Len() {
			if nullCount(a) == a.Len() || a.IsNull(i) {
				values = append(values, math.NaN())
				continue
			}
			values, known = append(values, known[0]), known[1:]
		}
		return values
	}
	if d, ok := a.(*array.Dictionary); ok {
		return c.readNames(values, d, d.Dictionary(), d.GetValueIndex)
	}
	return c.readNames(values, a, a, func(i int) int { return i })
}

// readNames appends the codes of the names that rows have.
func (c *performanceColumn) readNames(values []float64, rows, names arrow.Array, at func(i int) int) []float64 {
	name := namer(names)
	for i := range rows.Len() {
		if name == nil || rows.IsNull(i) || names.IsNull(at(i)) {
			values = append(values, math.NaN())
			continue
		}
		values = append(values, c.codes.of(name(at(i))))
	}
	return values
}

// dropIdentifiers leaves out inputs with more categories than any explanation has.
func (p *performancePlan) dropIdentifiers(sides ...*scored) {
	for _, c := range p.columns {
		if !c.input || c.codes == nil || len(c.codes.names) <= maxInputCategories {
			continue
		}
		p.note("column %q has %d categories, as identifiers have: it explains nothing", c.name, len(c.codes.names))
		for _, side := range sides {
			if side != nil {
				side.drop(c.name)
			}
		}
	}
}

func (r *scored) drop(name string) {
	i := slices.Index(r.inputs.Names, name)
	r.inputs = estimate.Features{Names: slices.Delete(r.inputs.Names, i, i+1),
		Columns: slices.Delete(r.inputs.Columns, i, i+1), Categorical: slices.Delete(r.inputs.Categorical, i, i+1)}
}
