package engine

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

// pointsTableName is the table of every point of every metric.
const pointsTableName = "metric_history"

var pointColumns = []metaColumn{{"run_id", text}, {"key", text}, {"step", integer}, {"time", instant}, {"value", float}}

var pointSchema = metaTable{columns: pointColumns}.schema()

// pointsInBatch bounds what is held of the table at once.
const pointsInBatch = 32 << 10

// points are the rows of meta.metric_history: by run, key, step, time and value. Unlike the
// other tables of meta it is made batch by batch, for there may be many millions.
func (e *Engine) points() driftline.Batches {
	return driftline.Batches{Schema: pointSchema, All: func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(e.mem, pointSchema)
		defer b.Release()
		rows := 0
		hand := func() bool {
			batch := b.NewRecordBatch()
			defer batch.Release()
			rows = 0
			return yield(batch, nil)
		}
		for p, err := range e.registry.EachPoint() {
			if err != nil {
				yield(nil, err)
				return
			}
			b.Field(0).(*array.StringBuilder).Append(string(p.Run))
			b.Field(1).(*array.StringBuilder).Append(p.Key)
			b.Field(2).(*array.Int64Builder).Append(p.Step)
			b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(p.Time.UnixMicro()))
			b.Field(4).(*array.Float64Builder).Append(float64(p.Value))
			if rows++; rows == pointsInBatch && !hand() {
				return
			}
		}
		if rows > 0 {
			hand()
		}
	}}
}
