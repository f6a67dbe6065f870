package engine_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// BenchmarkBulkIngest writes 500,000 rows of ten features, 5,000 entities, in batches of 64k.
func BenchmarkBulkIngest(b *testing.B) {
	const rows, batchRows, entities = 500_000, 1 << 16, 5_000
	view := driftline.FeatureView{Name: "wide", Entities: []driftline.EntityName{"thing"}, CreatedTimestamp: "created"}
	for i := range 10 {
		view.Features = append(view.Features, driftline.Field{Name: "f" + string(rune('0'+i)), Type: driftline.Float64})
	}
	e, err := engine.Open(context.Background(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Apply(context.Background(), driftline.Definitions{
		Entities:     []driftline.Entity{{Name: "thing", JoinKeys: []driftline.Field{{Name: "id", Type: driftline.Int64}}}},
		FeatureViews: []driftline.FeatureView{view},
	}); err != nil {
		b.Fatal(err)
	}
	v, _ := e.Registry().View("wide")
	random := rand.New(rand.NewPCG(1, 2))
	var batches []arrow.RecordBatch
	for n := 0; n < rows; n += batchRows {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, v.Schema())
		for range min(batchRows, rows-n) {
			rb.Field(0).(*array.Int64Builder).Append(random.Int64N(entities))
			t := arrow.Timestamp(1_600_000_000_000_000 + random.Int64N(int64(100*24*time.Hour/time.Microsecond)))
			rb.Field(1).(*array.TimestampBuilder).Append(t)
			rb.Field(2).(*array.TimestampBuilder).Append(t)
			for i := range 10 {
				rb.Field(3 + i).(*array.Float64Builder).Append(random.NormFloat64())
			}
		}
		batches = append(batches, rb.NewRecordBatch())
	}
	b.ResetTimer()
	for range b.N {
		if _, err := e.Ingest(context.Background(), "wide", "", driftline.BatchesOf(v.Schema(), batches...)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
