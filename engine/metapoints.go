package engine

import (
	"iter"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// pointsTableName is the table of every point of every metric.
const pointsTableName = "metric_history"

var (
	pointColumns  = []metaColumn{{"run_id", text}, {"key", text}, {"step", integer}, {"time", instant}, {"value", float}}
	metricColumns = []metaColumn{{"run_id", text}, {"key", text}, {"value", float}, {"step", integer}, {"time", instant}}
	tagColumns    = []metaColumn{{"run_id", text}, {"key", text}, {"value", text}}
	runColumns    = []metaColumn{{"run_id", text}, {"experiment", text}, {"name", text}, {"status", text},
		{"started", instant}, {"ended", instant}, {"experiment_id", text}, {"user", text}, {"lifecycle_stage", text},
		{"reason", text}, {"forked_from", text}, {"forked_at_step", integer}}
)

// streamedTables are the tables of meta that may have millions of rows: they are made batch by
// batch, and their rows go into columns without a detour. fill appends rows to the columns of a
// builder and calls next after each; no more are wanted once that is false.
var streamedTables = map[string]func(e *Engine, columns []array.Builder, next func() bool) error{
	pointsTableName: fillPoints,
	"metrics":       fillMetrics,
	"params": func(e *Engine, c []array.Builder, next func() bool) error {
		return fillPairs(e.registry.EachParam(), c, next)
	},
	"runs": fillRuns,
	"tags": func(e *Engine, c []array.Builder, next func() bool) error {
		return fillPairs(e.registry.EachTag(), c, next)
	},
}

// rowsInBatch bounds what is held of a streamed table at once.
const rowsInBatch = 32 << 10

// stream yields the rows of a streamed table.
func (m metaTable) stream(e *Engine, fill func(*Engine, []array.Builder, func() bool) error) driftline.Batches {
	schema := m.schema()
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(e.mem, schema)
		defer b.Release()
		rows, more := 0, true
		hand := func() bool {
			batch := b.NewRecordBatch()
			defer batch.Release()
			rows, more = 0, yield(batch, nil)
			return more
		}
		err := fill(e, b.Fields(), func() bool {
			rows++
			return rows < rowsInBatch || hand()
		})
		switch {
		case !more:
		case err != nil:
			yield(nil, err)
		case rows > 0:
			hand()
		}
	}}
}

func fillPoints(e *Engine, c []array.Builder, next func() bool) error {
	for p, err := range e.registry.EachPoint() {
		if err != nil {
			return err
		}
		addTexts(c, string(p.Run), p.Key)
		c[2].(*array.Int64Builder).Append(p.Step)
		appendTime(c[3], p.Time)
		c[4].(*array.Float64Builder).Append(float64(p.Value))
		if !next() {
			return nil
		}
	}
	return nil
}

func fillMetrics(e *Engine, c []array.Builder, next func() bool) error {
	for p := range e.registry.EachLast() {
		addTexts(c, string(p.Run), p.Key)
		c[2].(*array.Float64Builder).Append(float64(p.Value))
		c[3].(*array.Int64Builder).Append(p.Step)
		appendTime(c[4], p.Time)
		if !next() {
			return nil
		}
	}
	return nil
}

func fillPairs(pairs iter.Seq[registry.RunPair], c []array.Builder, next func() bool) error {
	for p := range pairs {
		addTexts(c, string(p.Run), p.Key, p.Value)
		if !next() {
			return nil
		}
	}
	return nil
}

func fillRuns(e *Engine, c []array.Builder, next func() bool) error {
	for r, err := range e.registry.EachBareRun("") {
		if err != nil {
			return err
		}
		addTexts(c, string(r.ID), string(r.Experiment), r.Name, string(r.Status))
		appendTime(c[4], r.Started)
		appendTime(c[5], r.Ended)
		addTexts(c[6:], string(r.ExperimentID), r.User, stage(r.Deleted), r.Reason)
		if r.Fork != nil {
			addTexts(c[10:], string(r.Fork.Run))
			c[11].(*array.Int64Builder).Append(r.Fork.Step)
		} else {
			c[10].AppendNull()
			c[11].AppendNull()
		}
		if !next() {
			return nil
		}
	}
	return nil
}

func addTexts(columns []array.Builder, values ...string) {
	for i, value := range values {
		columns[i].(*array.StringBuilder).Append(value)
	}
}

// appendTime appends null for the zero time.
func appendTime(column array.Builder, at time.Time) {
	if at.IsZero() {
		column.AppendNull()
		return
	}
	column.(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
}
