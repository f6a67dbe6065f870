package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// BenchmarkLogPredictions is what a prediction costs from LogPredictions until it is durable, with ten
// features, in batches of 100; rows/s is how many the log takes for as long as it likes, since
// its overflow is to block.
func BenchmarkLogPredictions(b *testing.B) {
	e, err := engine.Open(context.Background(), b.TempDir(), &engine.Options{Allocator: memory.DefaultAllocator})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	if _, err := e.RegisterModel(context.Background(), driftline.ModelSpec{Model: "late", Source: "s3://bucket/late"}, true); err != nil {
		b.Fatal(err)
	}
	if _, err := e.ConfigurePredictionLog(context.Background(), "late", driftline.PredictionLog{Overflow: driftline.Block}); err != nil {
		b.Fatal(err)
	}
	const each = 100
	at, i := time.Now(), 0
	b.ReportAllocs()
	for b.Loop() {
		records := make([]driftline.PredictionRecord, each)
		for j := range records {
			x := float64(i % 1000)
			records[j] = driftline.PredictionRecord{ID: fmt.Sprintf("p-%d", i), Model: "late", Version: 1, Arm: driftline.ArmChampion, Time: at.Add(time.Duration(i) * time.Microsecond),
				Status: 200, Latency: driftline.Duration(time.Millisecond), Score: &x, Features: map[string]any{
					"a": x, "b": x + 1, "c": x + 2, "d": x + 3, "e": x + 4, "f": x + 5, "g": x + 6, "h": x + 7, "i": x + 8, "j": "clear"}}
			i++
		}
		if err := e.LogPredictions(context.Background(), records); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := e.LogPredictionsDurably(context.Background(), []driftline.PredictionRecord{{Model: "late", Version: 1}}); err != nil {
		b.Fatal(err) // written after all others
	}
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "rows/s")
}
