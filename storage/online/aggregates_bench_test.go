package online_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/online"
)

// payments is a view of twenty aggregated features over 7 days.
func payments() (*driftline.FeatureView, []string) {
	view := &driftline.FeatureView{
		Name: "payments", JoinKeys: []driftline.Field{field("account", driftline.Int64)}, EventTimestamp: "at",
		Features: []driftline.Field{field("amount", driftline.Float64), field("items", driftline.Int64), field("shop", driftline.String)},
	}
	for _, f := range []driftline.Function{driftline.Count, driftline.Sum, driftline.Mean, driftline.Min, driftline.Max, driftline.StdDev, driftline.First, driftline.Last, driftline.ApproxQuantile, driftline.ApproxCountDistinct} {
		for _, column := range []string{"amount", "items"} {
			a := driftline.Aggregation{Column: column, Function: f, Windows: []driftline.Duration{driftline.Duration(7 * 24 * time.Hour)}}
			if f == driftline.ApproxQuantile {
				a.Quantile = 0.9
			}
			view.Aggregations = append(view.Aggregations, a)
		}
	}
	var names []string
	for _, f := range view.AggregatedFeatures() {
		names = append(names, f.Name)
	}
	return view, names
}

const week = 7 * 24 * 3600 * int64(1e6)

// fillWeek writes so many events of some accounts, spread over the week before a time.
func fillWeek(f *fixture, view *driftline.FeatureView, events, accounts int, end int64) {
	f.check(f.store.LoadTiles(context.Background()))
	f.check(f.store.BeginHistory(view.Name))
	random := rand.New(rand.NewPCG(1, 2))
	for done := 0; done < events; {
		n := min(20_000, events-done)
		b := array.NewRecordBuilder(f.mem, view.Schema())
		sequences := make([]int64, n)
		for i := range n {
			b.Field(0).(*array.Int64Builder).Append(random.Int64N(int64(accounts)))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(end - random.Int64N(week)))
			b.Field(2).(*array.Float64Builder).Append(float64(random.IntN(100_000)) / 100)
			b.Field(3).(*array.Int64Builder).Append(random.Int64N(50))
			b.Field(4).(*array.StringBuilder).Append(fmt.Sprint("shop ", random.IntN(100)))
			sequences[i] = int64(done + i)
		}
		rows := b.NewRecordBatch()
		b.Release()
		batch := f.db.NewBatch()
		_, err := f.store.PutHistory(batch, view, rows, sequences, online.Complete)
		f.check(err)
		f.check(batch.Commit())
		f.check(batch.Close())
		rows.Release()
		done += n
	}
	f.check(f.store.EndHistory(view, online.Complete))
}

// BenchmarkAggregates reads twenty features over 7 days, with a million events in them.
func BenchmarkAggregates(b *testing.B) {
	for _, accounts := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d accounts", accounts), func(b *testing.B) {
			f := newFixture(b)
			view, names := payments()
			end := int64(1.7e15)
			fillWeek(f, view, 1_000_000, accounts, end)
			f.reopen() // moves the rows from memory into tables
			a, err := online.NewAggregates(view, names)
			f.check(err)
			random := rand.New(rand.NewPCG(3, 4))
			read := func(at int64) {
				keys := f.keys(view, [][]any{{random.Int64N(int64(accounts))}})
				defer release(keys)
				_, err := f.store.Aggregate(context.Background(), f.mem, a, keys, 1, at)
				f.check(err)
			}
			start := time.Now()
			read(end)
			b.Logf("the first read takes %v", time.Since(start))
			b.ResetTimer()
			for b.Loop() {
				read(end + random.Int64N(3600*1e6))
			}
		})
	}
}
