package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// predictionRate is what the issue "The loop closes" asks of the prediction log, in rows/s.
const predictionRate = 100_000

const predictedFeatures = 10

// scoredAt is row i of the predictions that are logged: its score and its features.
func scoredAt(i int) (score float64, features [predictedFeatures]float64) {
	for f := range features {
		features[f] = float64((i*(f+7))%1000) / 8
	}
	return float64(i%1024) / 1024, features
}

// predictions logs rows durably, in batches as a model server gathers them, beside a logger that does
// what KServe's does: an HTTP request for each event, by five workers, to a sink that keeps
// nothing.
func (b *bench) predictions(ctx context.Context, rows int) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	w := workload{name: fmt.Sprintf("log %s predictions of %d features", count(rows), predictedFeatures), unit: "rows/s"}
	ours := side{name: "Driftline", run: func(ctx context.Context, check bool) (measured, error) { return s.logPredictions(ctx, rows, check) }}
	events := side{name: "as KServe's logger: POST per event, 5 workers, not kept", run: func(ctx context.Context, _ bool) (measured, error) {
		return postEvents(ctx, rows)
	}}
	return errors.Join(b.compare(ctx, w, ours, events), b.within(ctx, w, ours, predictionRate))
}

// logPredictions logs rows of a new model over Flight, each batch durable before the stream ends.
func (s *server) logPredictions(ctx context.Context, rows int, check bool) (measured, error) {
	s.views++
	model := driftline.ModelName(fmt.Sprintf("served_%d", s.views))
	if _, err := s.client.CreateModel(ctx, driftline.RegisteredModelSpec{Name: model}); err != nil {
		return measured{}, err
	}
	batches := scoredBatches(rows)
	defer driftline.ReleaseAll(batches)
	start := time.Now()
	if _, err := s.client.LogPredictionRows(ctx, model, nil, driftline.BatchesOf(batches[0].Schema(), batches...)); err != nil {
		return measured{}, err
	}
	m := measured{value: float64(rows) / time.Since(start).Seconds()}
	if !check {
		return m, nil
	}
	stored, err := s.client.SQL(ctx, fmt.Sprintf("SELECT count(DISTINCT prediction_id), sum(score), sum(f_3) FROM features.%s_predictions", model))
	if err != nil {
		return m, err
	}
	for b, err := range stored.All {
		if err != nil {
			return m, err
		}
		m.answer = scoreAnswer(b.Column(0).(*array.Int64).Value(0), b.Column(1).(*array.Float64).Value(0), b.Column(2).(*array.Float64).Value(0))
	}
	return m, nil
}

// scoreAnswer has sums of multiples of 2⁻¹⁰, which are exact in any order.
func scoreAnswer(rows int64, scores, third float64) answer {
	return answer{Rows: rows, Numbers: []exactReal{exactReal(scores), exactReal(third)}}
}

func scoredBatches(rows int) (batches []arrow.RecordBatch) {
	fields := []arrow.Field{{Name: "prediction_id", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time},
		{Name: "model_version", Type: arrow.PrimitiveTypes.Int64}, {Name: "score", Type: arrow.PrimitiveTypes.Float64}}
	for f := range predictedFeatures {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("f_%d", f), Type: arrow.PrimitiveTypes.Float64})
	}
	const each = 4096
	for from := 0; from < rows; from += each {
		b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
		for i := from; i < min(from+each, rows); i++ {
			score, features := scoredAt(i)
			b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("p-%d", i))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(yearStart + int64(i)*1000))
			b.Field(2).(*array.Int64Builder).Append(1)
			b.Field(3).(*array.Float64Builder).Append(score)
			for f, v := range features {
				b.Field(4 + f).(*array.Float64Builder).Append(v)
			}
		}
		batches = append(batches, b.NewRecordBatch())
		b.Release()
	}
	return batches
}

// loggedEvent is the body of an event.
type loggedEvent struct {
	ID       string             `json:"id"`
	Score    float64            `json:"score"`
	Features map[string]float64 `json:"features"`
}

// postEvents sends each prediction as an event of its own to a sink that sums them up and keeps
// nothing: the peer's price without any store.
func postEvents(ctx context.Context, rows int) (m measured, err error) {
	var mu sync.Mutex
	var n int64
	var scores, third float64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return m, err
	}
	sink := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e loggedEvent
		if json.NewDecoder(r.Body).Decode(&e) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		n, scores, third = n+1, scores+e.Score, third+e.Features["f_3"]
		mu.Unlock()
	})}
	var serving sync.WaitGroup
	serving.Go(func() { sink.Serve(listener) })
	defer func() { err = errors.Join(err, sink.Close()); serving.Wait() }()
	const workers, queue = 5, 100
	events := make(chan int, queue)
	var failed atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for range workers {
		group.Go(func() {
			for i := range events {
				if postEvent(ctx, "http://"+listener.Addr().String(), i) != nil {
					failed.Add(1)
				}
			}
		})
	}
	for i := range rows {
		events <- i
	}
	close(events)
	group.Wait()
	m.value = float64(rows) / time.Since(start).Seconds()
	if failed.Load() > 0 {
		return m, fmt.Errorf("%d events of %d failed", failed.Load(), rows)
	}
	m.answer = scoreAnswer(n, scores, third)
	return m, nil
}

func postEvent(ctx context.Context, url string, i int) error {
	score, features := scoredAt(i)
	e := loggedEvent{ID: fmt.Sprintf("p-%d", i), Score: score, Features: map[string]float64{}}
	for f, v := range features {
		e.Features[fmt.Sprintf("f_%d", f)] = v
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": e.ID, "Ce-Source": "bench",
		"Ce-Type": "org.kubeflow.serving.inference.response"} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}
