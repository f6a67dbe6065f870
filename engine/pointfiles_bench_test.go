package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// BenchmarkHistory reads one metric of 25,000 points, of one of 20 runs with five such metrics, and all points,
// where they come in and from files.
func BenchmarkHistory(b *testing.B) {
	env := testenv.New(b)
	r := env.Engine.Registry()
	for run := range 20 {
		id := driftline.RunID(fmt.Sprintf("run-%02d", run))
		if _, err := r.CreateRun(driftline.RunSpec{Experiment: "e", ID: id}); err != nil {
			b.Fatal(err)
		}
		for key := range 5 {
			points := make([]driftline.Metric, 25_000)
			for i := range points {
				points[i] = driftline.Metric{Key: fmt.Sprint("metric_", key), Step: int64(i), Value: driftline.Number(1 / float64(i+1)), Time: sec(i)}
			}
			if err := r.LogMetrics(id, points); err != nil {
				b.Fatal(err)
			}
		}
	}
	read := func(b *testing.B) {
		b.Run("one metric", func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range r.Metrics("run-07", "metric_3") {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 25_000 {
					b.Fatal(n)
				}
			}
		})
		b.Run("all", func(b *testing.B) {
			for b.Loop() {
				for _, err := range r.EachPoint() {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	b.Run("kv", read)
	if _, err := env.Engine.MovePoints(context.Background(), true); err != nil {
		b.Fatal(err)
	}
	b.Run("files", read)
}
