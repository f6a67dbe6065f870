package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// ingestSuite measures writes. Ours ends when rows are durable, sorted into the
// history and visible online; each peer does the nearest part of that which it can.
func ingestSuite(ctx context.Context, b *bench) (err error) {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.bulk(ctx, s, pick(b, 500_000, 5_000_000)); err != nil {
		return err
	}
	if err := b.pushes(ctx, s, 1, pick(b, 300, 2_000)); err != nil {
		return err
	}
	return b.pushes(ctx, s, 64, pick(b, 3_200, 9_600))
}

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
func (b *bench) bulk(ctx context.Context, s *server, rows int) error {
	batches, config, err := b.ingestRows(events(rows, rows/100), "bulk")
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return err
	}
	w := workload{name: fmt.Sprintf("bulk, %s rows of 13 columns", count(rows)), unit: "rows/s"}
	table := driftline.BatchesOf(batches[0].Schema(), batches...)
	ours := s.intoNewViews("bulk", func(ctx context.Context, view driftline.ViewName) (float64, error) {
		start := time.Now()
		_, err := s.client.Ingest(ctx, view, "", table)
		return float64(rows) / time.Since(start).Seconds(), err
	})
	return b.comparePeer(ctx, w, ours, peerSpec{name: "pyarrow: sort, Parquet, fsync", module: "ingest_parquet", config: config})
}

// pushes writes rows one by one, each durable before its writer goes on to the next.
func (b *bench) pushes(ctx context.Context, s *server, writers, rows int) error {
	batches, config, err := b.ingestRows(events(rows, everyEntityOnce), "pushes")
	defer driftline.ReleaseAll(batches)
	if err != nil {
		return err
	}
	config.Writers = writers
	w := workload{name: fmt.Sprintf("durable push, writers: %d", writers), unit: "rows/s"}
	single := oneRowEach(batches)
	defer driftline.ReleaseAll(single)
	ours := s.intoNewViews("push", func(ctx context.Context, view driftline.ViewName) (float64, error) {
		return pushAll(ctx, writers, single, func(ctx context.Context, row arrow.RecordBatch) error {
			_, err := s.client.Ingest(ctx, view, "", driftline.BatchesOf(row.Schema(), row))
			return err
		})
	})
	sqlite := peerSpec{name: "SQLite WAL, synchronous=FULL", module: "ingest_sqlite", config: config}
	return errors.Join(b.comparePeer(ctx, w, ours, sqlite), b.compareRedis(ctx, w, ours, writers, single))
}

// intoNewViews gives every run a view of its own, so that all runs begin equal. A
// checked run reads back what the view then holds.
func (s *server) intoNewViews(prefix string, write func(context.Context, driftline.ViewName) (rowsPerSecond float64, err error)) side {
	return side{name: "Driftline", run: func(ctx context.Context, check bool) (measured, error) {
		s.views++
		view := generatedView(fmt.Sprintf("%s_%d", prefix, s.views), true, 0)
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

// pushAll lets writers take rows in turn until none is left, and returns rows per
// second. The first error ends all.
func pushAll(ctx context.Context, writers int, rows []arrow.RecordBatch, push func(context.Context, arrow.RecordBatch) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wait sync.WaitGroup
	start := time.Now()
	for range writers {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rows)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := push(ctx, rows[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return float64(len(rows)) / time.Since(start).Seconds(), context.Cause(ctx)
}
