package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// ingestParts measure writes. Ours ends when rows are durable, in the history and
// visible online; each peer does the nearest part of that which it can.
var ingestParts = []part{
	{name: "bulk", does: "5M rows in one stream: pyarrow", run: func(ctx context.Context, b *bench) error {
		return b.bulk(ctx, pick(b, 20_000, 5_000_000))
	}},
	{name: "push1", does: "one row at a time, 1 writer: SQLite, Redis", run: func(ctx context.Context, b *bench) error {
		return b.pushes(ctx, 1, pick(b, 50, 2_000))
	}},
	{name: "push64", does: "one row at a time, 64 writers: SQLite, Redis; rate and p99", run: func(ctx context.Context, b *bench) error {
		return b.pushes(ctx, 64, pick(b, 200, 20_000))
	}},
	{name: "predictions", does: "rows of a prediction log, durable: a logger that posts an event each", run: func(ctx context.Context, b *bench) error {
		return b.predictions(ctx, pick(b, 2_000, 100_000))
	}},
	{name: "files", does: "how many files 10,000 pushes of one row leave", run: ingestFiles},
}

// Goals of the issue "Training sets and SQL".
const (
	bulkRate    = 1_500_000 // rows/s
	push64Rate  = 15_000    // rows/s
	push64P99   = 10        // ms
	handfulOf   = 10        // files
	flushedTime = 2 * time.Minute
)

// ingestConfig is what the Python peers are told.
type ingestConfig struct {
	Rows    string   `json:"rows"` // a Parquet file
	SortBy  []string `json:"sort_by"`
	Writers int      `json:"writers,omitempty"`
	Folder  string   `json:"folder"` // to work in
}

// ingestRows are rows in memory, and in a file for peers. The caller releases them.
func (b *bench) ingestRows(made generated, name string) ([]arrow.RecordBatch, ingestConfig, error) {
	config := ingestConfig{Rows: filepath.Join(b.dir, name+".parquet"), SortBy: []string{entityKey, eventTime}, Folder: b.dir}
	batches, _, err := made.batches().Collect()
	if err != nil {
		return batches, config, err
	}
	return batches, config, writeParquet(config.Rows, driftline.BatchesOf(made.schema, batches...))
}

// bulk writes one large batch job: all rows in one call.
func (b *bench) bulk(ctx context.Context, rows int) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	batches, config, err := b.ingestRows(events(rows, rows/100), "bulk")
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return err
	}
	w := workload{name: fmt.Sprintf("bulk, %s rows of 13 columns", count(rows)), unit: "rows/s", goal: atLeast(0.8)}
	table := driftline.BatchesOf(batches[0].Schema(), batches...)
	ours := s.intoNewViews("bulk", func(ctx context.Context, view driftline.ViewName) (float64, error) {
		start := time.Now()
		_, err := s.client.Ingest(ctx, view, "", table)
		return float64(rows) / time.Since(start).Seconds(), err
	})
	return errors.Join(
		b.comparePeer(ctx, w, ours, peerSpec{name: "pyarrow: sort, plain Parquet, fsync", module: "ingest_parquet", config: config}),
		b.within(ctx, w, ours, bulkRate))
}

// pushes writes rows one by one, each durable before its writer goes on to the next.
func (b *bench) pushes(ctx context.Context, writers, rows int) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	batches, config, err := b.ingestRows(events(rows, everyEntityOnce), "pushes")
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return err
	}
	config.Writers = writers
	single := oneRowEach(batches)
	defer driftline.ReleaseAll(single)
	var p99 []float64
	pushing := func(prefix string, push pushFunc) side {
		return s.intoNewViews(prefix, func(ctx context.Context, view driftline.ViewName) (float64, error) {
			result, err := push(ctx, view, writers, single)
			p99 = append(p99, result.percentile(99))
			return result.rate(), err
		})
	}
	streams, calls := pushing("push", s.pushStreams), pushing("call", s.pushCalls)
	w := workload{name: fmt.Sprintf("durable push, writers: %d", writers), unit: "rows/s"}
	byCalls := workload{name: fmt.Sprintf("durable push, a call each, writers: %d", writers), unit: "rows/s"}
	sqlite := peerSpec{name: "SQLite WAL, synchronous=FULL", module: "ingest_sqlite", config: config}
	err = errors.Join(
		b.comparePeer(ctx, w, streams, sqlite), b.compareRedis(ctx, w, streams, writers, single),
		b.compareRedis(ctx, byCalls, calls, writers, single))
	if err != nil || writers == 1 {
		return err
	}
	p99 = nil
	err = b.within(ctx, w, streams, push64Rate)
	b.keepLimit(workload{name: w.name + ", p99", unit: "ms"}, p99, push64P99)
	return err
}

// pushFunc sends rows to one view, one by one, from so many writers.
type pushFunc func(ctx context.Context, view driftline.ViewName, writers int, rows []arrow.RecordBatch) (loadResult, error)

// pushCalls makes a call for each row.
func (s *server) pushCalls(ctx context.Context, view driftline.ViewName, writers int, rows []arrow.RecordBatch) (loadResult, error) {
	return pushAll(ctx, writers, rows, func(ctx context.Context, row arrow.RecordBatch) error {
		_, err := s.client.Ingest(ctx, view, "", driftline.BatchesOf(row.Schema(), row))
		return err
	})
}

// pushStreams gives each writer a stream of its own, as if they were programs of their
// own. Like Redis's connections they are open before time is taken.
func (s *server) pushStreams(ctx context.Context, view driftline.ViewName, writers int, rows []arrow.RecordBatch) (result loadResult, err error) {
	free := make(chan *client.Pusher, writers)
	defer func() {
		close(free)
		for pusher := range free {
			err = errors.Join(err, pusher.Close())
		}
	}()
	for range writers {
		pusher, err := s.client.OpenPusher(ctx, view, rows[0].Schema())
		if err != nil {
			return result, err
		}
		free <- pusher
	}
	return pushAll(ctx, writers, rows, func(ctx context.Context, row arrow.RecordBatch) error {
		pusher := <-free
		defer func() { free <- pusher }()
		_, err := pusher.Push(ctx, "", row)
		return err
	})
}

// ingestFiles counts the files of a table that was written one row at a time, once
// they hold all rows.
func ingestFiles(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	rows := pick(b, 200, 10_000)
	batches, _, err := events(rows, everyEntityOnce).batches().Collect()
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return err
	}
	single := oneRowEach(batches)
	defer driftline.ReleaseAll(single)
	view := eventsView("left_files")
	if _, err := s.client.Apply(ctx, definitions(view)); err != nil {
		return err
	}
	if _, err := s.pushStreams(ctx, view.Name, 64, single); err != nil {
		return err
	}
	state, err := s.flushed(ctx, string(view.Name), rows)
	if err != nil {
		return err
	}
	b.progress("%d pushes of one row: %s", rows, state)
	if state.rows() == rows { // else the log still has some, and the files are of the rest
		b.keepLimit(workload{name: fmt.Sprintf("%s pushes, files left", count(rows)), unit: "files"}, []float64{float64(state.files())}, handfulOf)
	}
	return nil
}

// flushed waits until the files of a view hold all its rows, for a while. A quick run
// is content with what there is.
func (s *server) flushed(ctx context.Context, view string, rows int) (state tableState, err error) {
	deadline := time.Now().Add(pick(s.b, 0, flushedTime))
	for {
		state, err = s.table(view)
		if err != nil || state.rows() >= rows || time.Now().After(deadline) {
			return state, err
		}
		select {
		case <-ctx.Done():
			return state, ctx.Err()
		case <-time.After(settleTick):
		}
	}
}

// intoNewViews gives every run a view of its own, so that all runs begin equal. A
// checked run reads back what the view then holds.
func (s *server) intoNewViews(prefix string, write func(context.Context, driftline.ViewName) (rowsPerSecond float64, err error)) side {
	return side{name: "Driftline", run: func(ctx context.Context, check bool) (measured, error) {
		s.views++
		view := eventsView(fmt.Sprintf("%s_%d", prefix, s.views))
		if _, err := s.client.Apply(ctx, definitions(view)); err != nil {
			return measured{}, err
		}
		speed, err := write(ctx, view.Name)
		m := measured{value: speed}
		if err != nil || !check {
			return m, err
		}
		stored, err := s.client.ReadView(ctx, view.Name)
		if err != nil {
			return m, err
		}
		m.answer, err = checksum(stored)
		return m, err
	}}
}

// oneRowEach cuts batches into rows. The caller releases both.
func oneRowEach(batches []arrow.RecordBatch) (rows []arrow.RecordBatch) {
	for _, batch := range batches {
		for i := range batch.NumRows() {
			rows = append(rows, batch.NewSlice(i, i+1))
		}
	}
	return rows
}

// pushAll lets writers take rows in turn until none is left. The first error ends all.
func pushAll(ctx context.Context, writers int, rows []arrow.RecordBatch, push func(context.Context, arrow.RecordBatch) error) (loadResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	result := loadResult{latencies: make([]time.Duration, len(rows))}
	var next atomic.Int64
	var wait sync.WaitGroup
	start := time.Now()
	for range writers {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rows)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				sent := time.Now()
				if err := push(ctx, rows[i]); err != nil {
					cancel(err)
				}
				result.latencies[i] = time.Since(sent)
			}
		})
	}
	wait.Wait()
	result.elapsed = time.Since(start)
	slices.Sort(result.latencies)
	return result, context.Cause(ctx)
}
