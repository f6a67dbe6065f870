package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
)

const (
	tracedStations = 100
	tracedRow      = 17 // the first hour of station 17, for which the prediction is made
	tracedBegin    = 1_370_000_000

	mostTrace = 5 // seconds that following a prediction to its rows may take
)

// hourly is a reading an hour of every station. The value of one row may be another.
func hourly(rows, changed int) generated {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "station", Type: arrow.PrimitiveTypes.Int64},
		{Name: "event_timestamp", Type: driftline.Time},
		{Name: "temp", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	return generated{schema: schema, rows: rows, fill: func(b *array.RecordBuilder, _ *rand.Rand, from, to int) {
		for i := from; i < to; i++ {
			b.Field(0).(*array.Int64Builder).Append(int64(i % tracedStations))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(int64(tracedBegin+3600*(i/tracedStations)) * 1e6))
			temp := float64(i)
			if i == changed {
				temp = -1
			}
			b.Field(2).(*array.Float64Builder).Append(temp)
		}
	}}
}

var tracedDefinitions = driftline.Definitions{
	Entities: []driftline.Entity{
		{Name: "station", JoinKeys: []driftline.Field{{Name: "station", Type: driftline.Int64}}},
		{Name: "scored", JoinKeys: []driftline.Field{{Name: "prediction_id", Type: driftline.String}}},
	},
	FeatureViews: []driftline.FeatureView{
		{Name: "hourly", Entities: []driftline.EntityName{"station"}, Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}}},
		{Name: "scores", Entities: []driftline.EntityName{"scored"}, Predictions: &driftline.PredictionLog{}, Features: []driftline.Field{
			{Name: "model", Type: driftline.String}, {Name: "model_version", Type: driftline.Int64},
			{Name: "station", Type: driftline.Int64}, {Name: "temp", Type: driftline.Float64}}},
	},
}

// trackingTrace makes the same world twice, but for one value of one row, and follows the same
// prediction in both: the content hash of the training set must tell them apart, and the trace
// must lead to the row, and to no other.
func trackingTrace(ctx context.Context, b *bench) error {
	rows := pick(b, 20_000, 10_000_000)
	plain, took, err := b.traced(ctx, rows, -1)
	if err != nil {
		return err
	}
	other, again, err := b.traced(ctx, rows, tracedRow)
	if err != nil {
		return err
	}
	if err := differInOneRow(plain, other); err != nil {
		return fmt.Errorf("one row of %s is another: %w", count(rows), err)
	}
	b.progress("one row of %s is another: content hash %.12s became %.12s, and the trace has that row", count(rows), plain.ContentHash, other.ContentHash)
	b.keepLimit(workload{name: fmt.Sprintf("why a prediction, to the one other row of %s", count(rows)), unit: "s"}, append(took, again...), mostTrace)
	return nil
}

// differInOneRow says what a trace does not tell.
func differInOneRow(plain, other *driftline.TracedDataset) error {
	var wrong []string
	if plain.ContentHash == other.ContentHash {
		wrong = append(wrong, "the content hash is the same")
	}
	differing := 0
	for i := range plain.Examples {
		if plain.Examples[i].Values["temp"] != other.Examples[i].Values["temp"] {
			differing++
		}
	}
	if first := other.Examples[0]; differing != 1 || first.Values["temp"] != "-1" || plain.Examples[0].Values["temp"] != fmt.Sprint(tracedRow) {
		wrong = append(wrong, fmt.Sprintf("%d rows of the trace differ; its first row has %v", differing, first.Values))
	}
	if plain.Examples[0].Sources[0].File == other.Examples[0].Sources[0].File {
		wrong = append(wrong, "the file that the row is from has the same name")
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// traced makes a training set of all rows, a model and a prediction, and follows the prediction.
func (b *bench) traced(ctx context.Context, rows, changed int) (found *driftline.TracedDataset, seconds []float64, err error) {
	s, err := b.startServer(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.predictOnce(ctx, hourly(rows, changed)); err != nil {
		return nil, nil, err
	}
	for range b.pairs() {
		start := time.Now()
		trace, err := s.client.Why(ctx, driftline.PredictionQuery{Prediction: "p-1"})
		if err != nil {
			return nil, nil, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
		if len(trace.Datasets) != 1 || trace.Datasets[0].Rows != int64(rows) || trace.Datasets[0].SameEntity != int64(rows/tracedStations) || len(trace.Datasets[0].Examples) == 0 {
			return nil, nil, fmt.Errorf("the trace has %+v, want one training set of %d rows", trace.Datasets, rows)
		}
		found = &trace.Datasets[0]
	}
	return found, seconds, nil
}

// predictOnce writes readings, trains a model on all of them, and logs one prediction of it.
func (s *server) predictOnce(ctx context.Context, readings generated) error {
	if _, err := s.client.Apply(ctx, tracedDefinitions); err != nil {
		return err
	}
	if _, err := s.client.Ingest(ctx, "hourly", "all", readings.batches()); err != nil {
		return err
	}
	request := driftline.HistoricalRequest{SaveAs: "readings", Spine: &driftline.SpineSource{SQL: "SELECT station, event_timestamp, temp > 100 AS late FROM features.hourly"}}
	request.Features = []string{"hourly:temp"}
	set, err := s.client.Historical(ctx, request, driftline.Batches{})
	if err != nil {
		return err
	}
	defer set.Close()
	for _, err := range set.Batches.All {
		if err != nil {
			return err
		}
	}
	run, err := s.client.CreateRun(ctx, driftline.RunSpec{Experiment: "readings", Inputs: []driftline.Ref{set.Report().Dataset.Ref()}})
	if err != nil {
		return err
	}
	if _, err := s.client.PutArtifact(ctx, run.ID, "model.bin", strings.NewReader("weights")); err != nil {
		return err
	}
	if _, err := s.client.RegisterModel(ctx, driftline.ModelSpec{Model: "readings", Run: run.ID, Artifact: "model.bin"}); err != nil {
		return err
	}
	_, err = s.client.Ingest(ctx, "scores", "one", onePrediction().batches())
	return err
}

// onePrediction is of station 17, an hour after its first reading.
func onePrediction() generated {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "prediction_id", Type: arrow.BinaryTypes.String},
		{Name: "event_timestamp", Type: driftline.Time},
		{Name: "model", Type: arrow.BinaryTypes.String},
		{Name: "model_version", Type: arrow.PrimitiveTypes.Int64},
		{Name: "station", Type: arrow.PrimitiveTypes.Int64},
		{Name: "temp", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	return generated{schema: schema, rows: 1, fill: func(b *array.RecordBuilder, _ *rand.Rand, _, _ int) {
		b.Field(0).(*array.StringBuilder).Append("p-1")
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp((tracedBegin + 3600) * 1e6))
		b.Field(2).(*array.StringBuilder).Append("readings")
		b.Field(3).(*array.Int64Builder).Append(1)
		b.Field(4).(*array.Int64Builder).Append(tracedRow)
		b.Field(5).(*array.Float64Builder).Append(tracedRow)
	}}
}
