package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// measureOnlineFlight prints what the workloads take over long-lived Flight streams.
// No peer has such a door, so these numbers are not rows of the results.
func (b *bench) measureOnlineFlight(ctx context.Context, ours *server, entities int) error {
	for _, w := range onlineWorkloads(b) {
		var runs [][]float64
		for range b.pairs() {
			result, err := w.overFlight(ctx, ours, entities)
			if err != nil {
				return fmt.Errorf("%s over Flight: %w", w.name(), err)
			}
			values := make([]float64, len(loadMetrics))
			for i, metric := range loadMetrics {
				values[i] = metric.of(result)
			}
			runs = append(runs, values)
		}
		fmt.Fprintf(b.out, "  ours over Flight DoExchange, %s:", w.name())
		for i, metric := range loadMetrics {
			var values []float64
			for _, run := range runs {
				values = append(values, run[i])
			}
			m := median(values)
			fmt.Fprintf(b.out, " %s %s %s", metric.suffix, figure(&m), metric.unit)
		}
		fmt.Fprintln(b.out)
	}
	return nil
}

// overFlight is the closed loop of onlineLoad with a stream in place of a connection.
func (w onlineWorkload) overFlight(ctx context.Context, ours *server, entities int) (result loadResult, err error) {
	schema := arrow.NewSchema([]arrow.Field{{Name: entityKey, Type: arrow.PrimitiveTypes.Int64}}, nil)
	batches := w.entityBatches(schema, entities)
	defer driftline.ReleaseAll(batches)
	request := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Service: driftline.ServiceName(byService(w.features).FeatureService)}}
	streams := make(chan *client.OnlineStream, onlineConnections)
	defer func() {
		close(streams)
		for stream := range streams {
			err = errors.Join(err, stream.Close())
		}
	}()
	for range onlineConnections {
		stream, err := ours.client.OpenOnline(ctx, request, schema)
		if err != nil {
			return result, err
		}
		streams <- stream
	}
	result.latencies = make([]time.Duration, len(batches))
	started := time.Now()
	err = inParallel(onlineConnections, len(batches), func(i int) error {
		stream := <-streams
		defer func() { streams <- stream }()
		asked := time.Now()
		answer, err := stream.Read(batches[i])
		if err != nil {
			return err
		}
		result.latencies[i] = time.Since(asked)
		answer.Release()
		return nil
	})
	result.elapsed = time.Since(started)
	slices.Sort(result.latencies)
	return result, err
}

func (w onlineWorkload) entityBatches(schema *arrow.Schema, entities int) (batches []arrow.RecordBatch) {
	random := rand.New(rand.NewPCG(uint64(w.entities), uint64(w.features)))
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	for range w.requests {
		builder.Field(0).(*array.Int64Builder).AppendValues(randomEntities(random, w.entities, entities), nil)
		batches = append(batches, builder.NewRecordBatch())
	}
	return batches
}
