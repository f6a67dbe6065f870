package engine_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// The shape of feast-benchmarks: 10,000 entities, 250 int64 features in 25 views.
const (
	benchEntities, benchViews, benchFeatures = 10_000, 25, 10
)

// BenchmarkOnline reads 50 features of five views, and 250 of all, for some entities.
func BenchmarkOnline(b *testing.B) {
	e := openOnlineBench(b)
	for _, size := range []struct{ entities, views int }{{1, 5}, {100, 5}, {1, 25}} {
		b.Run(fmt.Sprintf("entities=%d/features=%d", size.entities, size.views*benchFeatures), func(b *testing.B) {
			req := driftline.OnlineRequest{}
			for v := range size.views {
				for f := range benchFeatures {
					req.Features = append(req.Features, fmt.Sprintf("view_%d:feature_%d", v, v*benchFeatures+f))
				}
			}
			schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
			var asked []arrow.RecordBatch
			for k := range 64 {
				rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
				for i := range size.entities {
					rb.Field(0).(*array.Int64Builder).Append(int64((i*7919 + k*1047) % benchEntities))
				}
				asked = append(asked, rb.NewRecordBatch())
			}
			b.Run("values", func(b *testing.B) {
				measureOnline(b, func(n int) {
					plan, err := e.PlanOnline(req.FeatureSet)
					if err != nil {
						b.Fatal(err)
					}
					answer, err := e.ReadOnline(context.Background(), plan, time.Time{}, asked[n%len(asked)])
					if err != nil || answer.Status(0, 0) != driftline.Present {
						b.Fatal("the entity is not there", err)
					}
				})
			})
			b.Run("arrow", func(b *testing.B) {
				measureOnline(b, func(n int) {
					answer, err := e.Online(context.Background(), req, asked[n%len(asked)])
					if err != nil {
						b.Fatal(err)
					}
					answer.Release()
				})
			})
		})
	}
}

// measureOnline reports the processor's time too: the clock's depends on who else works.
func measureOnline(b *testing.B, read func(n int)) {
	b.ReportAllocs()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	n := 0
	for ; b.Loop(); n++ {
		read(n)
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(used)/1e3/float64(n), "cpu-µs/op")
}

// openOnlineBench fills an engine and opens it again, so that rows are in tables on disk.
func openOnlineBench(b *testing.B) *engine.Engine {
	b.Helper()
	dir, ctx := b.TempDir(), context.Background()
	e, err := engine.Open(ctx, dir, nil)
	if err != nil {
		b.Fatal(err)
	}
	defs := driftline.Definitions{Entities: []driftline.Entity{{Name: "thing", JoinKeys: []driftline.Field{{Name: "id", Type: driftline.Int64}}}}}
	for v := range benchViews {
		view := driftline.FeatureView{Name: driftline.ViewName(fmt.Sprintf("view_%d", v)), Entities: []driftline.EntityName{"thing"}}
		for f := range benchFeatures {
			view.Features = append(view.Features, driftline.Field{Name: fmt.Sprintf("feature_%d", v*benchFeatures+f), Type: driftline.Int64})
		}
		defs.FeatureViews = append(defs.FeatureViews, view)
	}
	if _, err := e.Apply(ctx, defs); err != nil {
		b.Fatal(err)
	}
	for v := range benchViews {
		view, err := e.Registry().View(defs.FeatureViews[v].Name)
		if err != nil {
			b.Fatal(err)
		}
		rb := array.NewRecordBuilder(memory.DefaultAllocator, view.Schema())
		for id := range benchEntities {
			rb.Field(0).(*array.Int64Builder).Append(int64(id))
			rb.Field(1).(*array.TimestampBuilder).Append(1_700_000_000_000_000)
			for f := range benchFeatures {
				rb.Field(2 + f).(*array.Int64Builder).Append(int64(id * (v*benchFeatures + f)))
			}
		}
		if _, err := e.Ingest(ctx, view.Name, "", driftline.BatchesOf(view.Schema(), rb.NewRecordBatch())); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	if e, err = engine.Open(ctx, dir, nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	return e
}
