package engine

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/detect"
)

// Detect watches a column, row by row in the order in which they come, and says where it
// changed. Booleans count as 1 and 0. Missing values are counted, and otherwise left out.
func Detect(ctx context.Context, rows driftline.Batches, opts driftline.DetectOptions) (*driftline.DetectReport, error) {
	column, err := watchedColumn(rows.Schema, opts.Column)
	if err != nil {
		return nil, err
	}
	kind := opts.Detector
	if kind == "" {
		kind = detect.Default
	}
	d, wrong := detect.New(kind, opts.Parameters)
	if wrong != nil {
		return nil, driftline.Errorf(driftline.Invalid, "%w", wrong)
	}
	report := &driftline.DetectReport{Column: rows.Schema.Field(column).Name, Detector: kind, Parameters: d.Parameters(), Changes: []driftline.StreamChange{}}
	var recent []int64 // rows of the values since the last change
	for batch, err := range rows.All {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		piece := batch.Column(column)
		values := watchedValues(piece)
		for i := range piece.Len() {
			row := report.Rows
			report.Rows++
			if nullCount(piece) == piece.Len() || piece.IsNull(i) {
				report.Missing++
				continue
			}
			x := values[0]
			values = values[1:]
			if x-x != 0 {
				report.Missing++
				continue
			}
			recent = append(recent, row)
			if d.Update(x) == detect.Change {
				report.Changes = append(report.Changes, driftline.StreamChange{Row: row, Since: recent[len(recent)-max(1, d.Since())]})
				recent = recent[:0]
			}
		}
	}
	return report, nil
}

// watchedColumn is the index of the column of that name, or of the only one.
func watchedColumn(schema *arrow.Schema, name string) (int, *driftline.Error) {
	if name == "" {
		if schema.NumFields() != 1 {
			return 0, driftline.Errorf(driftline.Invalid, "the rows have %d columns", schema.NumFields()).
				WithHint("name the column to watch")
		}
		name = schema.Field(0).Name
	}
	found := schema.FieldIndices(name)
	if len(found) != 1 {
		return 0, driftline.Errorf(driftline.Invalid, "the rows have %d columns %q", len(found), name).
			WithHint("name one that is there once")
	}
	if kind := schema.Field(found[0]).Type; kindOf(kind) != numeric && kind.ID() != arrow.BOOL {
		return 0, driftline.Errorf(driftline.Invalid, "column %q is %s", name, kind).
			WithHint("a detector watches numbers or booleans")
	}
	return found[0], nil
}

// watchedValues are the values that are not null.
func watchedValues(a arrow.Array) []float64 {
	flags, ok := a.(*array.Boolean)
	if !ok {
		return numbersOf(a)
	}
	values := make([]float64, 0, a.Len())
	for i := range a.Len() {
		if flags.IsNull(i) {
			continue
		}
		value := 0.0
		if flags.Value(i) {
			value = 1
		}
		values = append(values, value)
	}
	return values
}
