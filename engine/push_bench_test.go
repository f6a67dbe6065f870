package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// BenchmarkPush is the cost of a durable write of one row while 64 writers write, which
// is what /push and a push stream come down to.
func BenchmarkPush(b *testing.B) { benchmarkPush(b, pushed) }

// BenchmarkPushAggregated is BenchmarkPush into a view with twenty aggregated features over
// 7 days. The difference is what keeping a history costs.
func BenchmarkPushAggregated(b *testing.B) {
	defs := pushed
	view := defs.FeatureViews[0]
	for _, f := range view.Features {
		for _, function := range []driftline.Function{driftline.Sum, driftline.Max} {
			week := []driftline.Duration{driftline.Duration(7 * 24 * time.Hour)}
			view.Aggregations = append(view.Aggregations, driftline.Aggregation{Column: f.Name, Function: function, Windows: week})
		}
	}
	defs.FeatureViews = []driftline.FeatureView{view}
	benchmarkPush(b, defs)
}

func benchmarkPush(b *testing.B, defs driftline.Definitions) {
	const writers = 64
	ctx := context.Background()
	e, err := engine.Open(ctx, b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Apply(ctx, defs); err != nil {
		b.Fatal(err)
	}
	view, err := e.Registry().View("pushed")
	if err != nil {
		b.Fatal(err)
	}
	var waiting sync.WaitGroup
	took := make([][]time.Duration, writers)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for w := range writers {
		row := pushedRow(view, w)
		waiting.Go(func() {
			for n := w; n < b.N; n += writers {
				began := time.Now()
				if _, err := e.Ingest(ctx, "pushed", "", driftline.BatchesOf(row.Schema(), row)); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(began))
			}
		})
	}
	waiting.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/row")
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1e3, "p99-ms")
}

// cpuTime is what the process has taken of all cores so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pushed is a view of ten features, as the ingest benchmarks have.
var pushed = func() driftline.Definitions {
	view := driftline.FeatureView{Name: "pushed", Entities: []driftline.EntityName{"user"}, CreatedTimestamp: "created"}
	for i := range 10 {
		view.Features = append(view.Features, driftline.Field{Name: fmt.Sprintf("f%d", i), Type: driftline.Float64})
	}
	return driftline.Definitions{
		Entities:     []driftline.Entity{{Name: "user", JoinKeys: []driftline.Field{{Name: "user_id", Type: driftline.Int64}}}},
		FeatureViews: []driftline.FeatureView{view},
	}
}()

func pushedRow(view *driftline.FeatureView, n int) arrow.RecordBatch {
	build := array.NewRecordBuilder(memory.DefaultAllocator, view.Schema())
	defer build.Release()
	for i, f := range build.Fields() {
		switch f := f.(type) {
		case *array.Int64Builder:
			f.Append(int64(n))
		case *array.TimestampBuilder:
			f.Append(arrow.Timestamp(1_700_000_000_000_000 + n))
		case *array.Float64Builder:
			f.Append(float64(i))
		}
	}
	return build.NewRecordBatch()
}
