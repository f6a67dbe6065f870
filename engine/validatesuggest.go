package engine

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// What is learned from a table leaves room for the next one of its kind.
const (
	fewestLearned = 100  // rows, below which only the schema is learned
	rowsRoom      = 2    // the next table has between half and twice as many rows
	nullsRoom     = 0.01 // share by which nulls may grow where there are some
	rangeRoom     = 0.1  // of the range, to both sides
	outlierShare  = 0.001
	meanRoom      = 0.5 // standard deviations
	largestSet    = 50
	rowsPerValue  = 10 // that a value of a set must have on average
)

// learnedColumn is what one scan says of a column.
type learnedColumn struct {
	field    arrow.Field
	kind     columnKind
	nulls    float64 // share of null or NaN
	values   float64 // how many are there
	low      float64 // of numbers, or of lengths of texts
	high     float64
	mean     float64
	spread   float64
	distinct float64
}

// suggest learns checks that the table itself passes. keys are columns that together may
// name a row.
func (t *checkedTable) suggest(ctx context.Context, keys []string) (*driftline.Validation, error) {
	measures := []*measure{{sql: []string{"count(*)"}}}
	var columns []*learnedColumn
	fields := []driftline.Field{}
	for _, f := range t.schema.Fields() {
		if len(t.schema.FieldIndices(f.Name)) > 1 {
			continue
		}
		if typ, ok := driftline.TypeOf(f.Type); ok {
			fields = append(fields, driftline.Field{Name: f.Name, Type: typ})
		}
		column := &learnedColumn{field: f, kind: checkedKind(f.Type)}
		columns = append(columns, column)
		measures = append(measures, column.measure())
	}
	if len(keys) > 0 {
		c := &driftline.Check{Check: driftline.CheckUnique, Columns: keys}
		m := &measure{check: c}
		if why := t.measureUnique(m); why != "" {
			keys = nil
		} else {
			measures = append(measures, m)
		}
	}
	values, err := t.scan(ctx, measures)
	if err != nil {
		return nil, err
	}
	rows := values[0][0]
	checks := &driftline.Validation{Kind: driftline.KindOfChecks}
	if len(fields) > 0 {
		checks.Checks = append(checks.Checks, driftline.Check{Check: driftline.CheckSchema, Fields: fields})
	}
	if rows < fewestLearned {
		return checks, nil
	}
	checks.Checks = append(checks.Checks, driftline.Check{Check: driftline.CheckRows, Severity: driftline.CheckWarning,
		Min: bound(math.Floor(rows / rowsRoom)), Max: bound(math.Ceil(rows * rowsRoom))})
	if len(keys) > 0 {
		if last := values[len(values)-1]; last[0] == rows && last[1] == rows {
			checks.Checks = append(checks.Checks, driftline.Check{Check: driftline.CheckUnique, Columns: keys})
		}
	}
	for i, column := range columns {
		column.learn(values[i+1], rows)
		learned, err := t.suggestColumn(ctx, column)
		if err != nil {
			return nil, err
		}
		checks.Checks = append(checks.Checks, learned...)
	}
	return checks, nil
}

func (c *learnedColumn) measure() *measure {
	name := quoted(c.field.Name)
	present := name + " IS NOT NULL"
	if isFloat(c.field.Type) {
		present += " AND NOT isnan(" + name + ")"
	}
	filter := " FILTER (WHERE " + present + ")"
	m := &measure{sql: []string{"count(*)" + filter}}
	switch c.kind {
	case numberKind:
		value := "CAST(" + name + " AS DOUBLE)"
		finite := " FILTER (WHERE " + present + " AND abs(" + value + ") < 1e100)" // whose squares have a sum
		m.sql = append(m.sql, "min("+value+")"+filter, "max("+value+")"+filter, "avg("+value+")"+finite, "stddev_samp("+value+")"+finite, "count(DISTINCT "+name+")"+filter)
	case textKind:
		length := "length(CAST(" + name + " AS VARCHAR))"
		m.sql = append(m.sql, "min("+length+")", "max("+length+")", "count(DISTINCT "+name+")")
	}
	return m
}

func (c *learnedColumn) learn(v []float64, rows float64) {
	c.values = v[0]
	c.nulls = 1 - v[0]/rows
	switch c.kind {
	case numberKind:
		c.low, c.high, c.mean, c.spread, c.distinct = v[1], v[2], v[3], v[4], v[5]
	case textKind:
		c.low, c.high, c.distinct = v[1], v[2], v[3]
	}
}

func (t *checkedTable) suggestColumn(ctx context.Context, c *learnedColumn) ([]driftline.Check, error) {
	name := c.field.Name
	checks := []driftline.Check{{Check: driftline.CheckNulls, Column: name}}
	if c.nulls > 0 {
		checks[0].Severity = driftline.CheckWarning
		checks[0].Max = bound(math.Min(1, math.Ceil(1e3*(c.nulls+nullsRoom))/1e3))
	}
	if c.values == 0 {
		return checks, nil
	}
	isSet := c.distinct > 0 && c.distinct <= largestSet && c.values >= rowsPerValue*c.distinct
	switch {
	case c.kind == numberKind:
		if !math.IsInf(c.low, 0) && !math.IsInf(c.high, 0) {
			low, high := c.widened()
			checks = append(checks, driftline.Check{Check: driftline.CheckRange, Column: name, Min: bound(low), Max: bound(high), MaxShare: outlierShare})
		}
		if c.spread > 0 && !math.IsInf(c.spread, 0) {
			checks = append(checks, driftline.Check{Check: driftline.CheckMean, Column: name, Severity: driftline.CheckWarning,
				Min: bound(rounded(c.mean-meanRoom*c.spread, math.Floor)), Max: bound(rounded(c.mean+meanRoom*c.spread, math.Ceil))})
		}
	case c.kind == textKind && isSet:
		values, err := t.distinct(ctx, name)
		if err != nil {
			return nil, err
		}
		checks = append(checks, driftline.Check{Check: driftline.CheckValues, Column: name, Values: values, MaxShare: outlierShare})
	case c.kind == textKind && c.low == c.high:
		checks = append(checks, driftline.Check{Check: driftline.CheckLength, Column: name, Min: bound(c.low), Max: bound(c.high), MaxShare: outlierShare})
	}
	return checks, nil
}

// widened leaves room on both sides of what was seen. What is never negative stays so.
func (c *learnedColumn) widened() (low, high float64) {
	room := rangeRoom * (c.high/2 - c.low/2) * 2
	if room == 0 || math.IsInf(room, 0) {
		return c.low, c.high
	}
	low, high = rounded(c.low-room, math.Floor), rounded(c.high+room, math.Ceil)
	if c.low >= 0 {
		low = max(0, low)
	}
	if c.high <= 0 {
		high = min(0, high)
	}
	return low, high
}

// rounded keeps three digits that matter, towards the side of to.
func rounded(v float64, to func(float64) float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	digits := strconv.FormatFloat(to(v/unit)*unit, 'g', 12, 64) // without what multiplying leaves behind
	r, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(r) || to(0.5) == 0 && r > v || to(0.5) == 1 && r < v {
		return v
	}
	return r
}

func (t *checkedTable) distinct(ctx context.Context, column string) ([]driftline.Literal, error) {
	name := quoted(column)
	answer, err := t.ask(ctx, "SELECT DISTINCT CAST("+name+" AS VARCHAR) AS v FROM data WHERE "+name+" IS NOT NULL ORDER BY 1")
	if err != nil {
		return nil, err
	}
	var values []driftline.Literal
	for batch, err := range answer.All {
		if err != nil {
			return nil, err
		}
		texts := batch.Column(0).(*array.String)
		for i := range texts.Len() {
			values = append(values, driftline.Literal(strings.Clone(texts.Value(i))))
		}
	}
	return values, nil
}

func bound(v float64) *float64 { return &v }
