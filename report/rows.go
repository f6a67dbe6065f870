package report

import (
	"math"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// rowsOf makes one batch of things that are a row each. Every column is one function of
// a thing: text, a number, a count or nothing.
func rowsOf[T any](mem memory.Allocator, things []T, columns []rowColumn[T]) driftline.Batches {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.of, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		builder := array.NewRecordBuilder(mem, schema)
		defer builder.Release()
		for _, thing := range things {
			for i, c := range columns {
				c.add(builder.Field(i), thing)
			}
		}
		batch := builder.NewRecordBatch()
		defer batch.Release()
		yield(batch, nil)
	}}
}

// rowColumn is one column of a report's rows.
type rowColumn[T any] struct {
	name string
	of   arrow.DataType
	add  func(to array.Builder, thing T)
}

func textColumn[T any](name string, of func(T) string) rowColumn[T] {
	return rowColumn[T]{name, arrow.BinaryTypes.String, func(to array.Builder, thing T) {
		to.(*array.StringBuilder).Append(of(thing))
	}}
}

func countColumn[T any](name string, of func(T) int64) rowColumn[T] {
	return rowColumn[T]{name, arrow.PrimitiveTypes.Int64, func(to array.Builder, thing T) {
		to.(*array.Int64Builder).Append(of(thing))
	}}
}

// timeColumn is null where there is no time.
func timeColumn[T any](name string, of func(T) time.Time) rowColumn[T] {
	return rowColumn[T]{name, driftline.Time, func(to array.Builder, thing T) {
		if t := of(thing); t.IsZero() {
			to.AppendNull()
		} else {
			to.(*array.TimestampBuilder).Append(arrow.Timestamp(t.UnixMicro()))
		}
	}}
}

// numberColumn is null where a number is not defined (NaN).
func numberColumn[T any](name string, of func(T) driftline.Number) rowColumn[T] {
	return rowColumn[T]{name, arrow.PrimitiveTypes.Float64, func(to array.Builder, thing T) {
		if v := float64(of(thing)); math.IsNaN(v) {
			to.AppendNull()
		} else {
			to.(*array.Float64Builder).Append(v)
		}
	}}
}

// DriftRows returns one row for each column of a comparison, without the histograms. It
// can be ranged over any number of times.
func DriftRows(mem memory.Allocator, report *driftline.DriftReport) driftline.Batches {
	type column = driftline.ColumnDrift
	return rowsOf(mem, report.Columns, []rowColumn[column]{
		textColumn("reference", func(column) string { return report.Reference.Name }),
		textColumn("current", func(column) string { return report.Current.Name }),
		textColumn("column", func(c column) string { return c.Column }),
		textColumn("type", func(c column) string { return string(c.Type) }),
		textColumn("kind", func(c column) string { return c.Kind }),
		textColumn("test", func(c column) string { return c.Test }),
		numberColumn("statistic", func(c column) driftline.Number { return c.Statistic }),
		numberColumn("p_value", func(c column) driftline.Number { return c.PValue }),
		numberColumn("q_value", func(c column) driftline.Number { return c.QValue }),
		numberColumn("effect", func(c column) driftline.Number { return c.Effect }),
		numberColumn("effect_low", func(c column) driftline.Number { return c.EffectLow }),
		numberColumn("effect_high", func(c column) driftline.Number { return c.EffectHigh }),
		numberColumn("location", func(c column) driftline.Number { return c.Location }),
		textColumn("decided_by", func(c column) string { return c.DecidedBy }),
		numberColumn("threshold", func(c column) driftline.Number { return c.Threshold }),
		textColumn("verdict", func(c column) string { return string(c.Verdict) }),
		textColumn("note", func(c column) string { return c.Note }),
		countColumn("reference_rows", func(c column) int64 { return c.ReferenceRows }),
		countColumn("current_rows", func(c column) int64 { return c.CurrentRows }),
		countColumn("reference_nulls", func(c column) int64 { return c.ReferenceNulls }),
		countColumn("current_nulls", func(c column) int64 { return c.CurrentNulls }),
		numberColumn("missing_q_value", func(c column) driftline.Number { return c.MissingQValue }),
		textColumn("missing_verdict", func(c column) string { return string(c.MissingVerdict) }),
		numberColumn("unseen_share", func(c column) driftline.Number { return c.UnseenShare }),
	})
}
