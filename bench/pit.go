package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// pitParts measure point-in-time joins: a spine in memory, the full answer back in
// memory. Ours goes through Flight to a server that holds the features; peers
// read the same rows from plain Parquet, sorted by entity and time. The goals are
// those of the issue "Training sets and SQL".
var pitParts = []part{
	{name: "join", does: "1M × 10M rows, one view: DuckDB, Polars, Feast", run: pitJoin},
	{name: "corrected", does: "the same with corrections and created timestamps, exact", run: pitCorrected},
	{name: "views", does: "1M × five views of 1M rows: DuckDB, Feast", run: pitViews},
	{name: "dense", does: "1,000 rows per entity, no TTL beside TTL", run: pitDense},
	{name: "wide", does: "17k × 1,000 features, time and memory", run: pitWide},
	{name: "selective", does: "10k × 100M rows beside a scan of the table", big: true, run: pitSelective},
	{name: "growth", does: "10M × 100M beside 1M × 10M, time and memory", big: true, run: pitGrowth},
}

const pitTTL = 30 * 24 * time.Hour

// What peers may take for one answer. DuckDB gets more: the answers of large joins are
// compared with its own.
var (
	feastLimit  = &peerLimit{time: 300 * time.Second, memory: 12e9}
	duckdbLimit = &peerLimit{time: 900 * time.Second, memory: 16e9}
)

// join is one training set: what both sides are asked for.
type join struct {
	views   []past
	ttl     time.Duration
	spine   generated
	knownAt bool
	forms   []string // that DuckDB tries; nil is all, which takes too much of a large table
}

// pitConfig is what the Python peers are told.
type pitConfig struct {
	Spine   string    `json:"spine"`  // a Parquet file
	Entity  string    `json:"entity"` // columns
	Time    string    `json:"time"`
	Views   []pitView `json:"views"`
	KnownAt bool      `json:"known_at"`
	Folder  string    `json:"folder"` // to work in
	Forms   []string  `json:"forms"`  // of a query, of which the fastest counts
	Tries   int       `json:"tries"`  // of each form
}

type pitView struct {
	Name       string   `json:"name"`
	Path       string   `json:"path"`
	Features   []string `json:"features"`
	Created    string   `json:"created"` // column, "" if there is none
	TTLSeconds int64    `json:"ttl_seconds"`
}

var everyPitPeer = []string{"duckdb", "polars", "feast"}

// pitPeer is a peer that makes the same training set.
func pitPeer(name string, config pitConfig) peerSpec {
	spec := peerSpec{name: "DuckDB ASOF", module: "pit_duckdb", config: config, limit: duckdbLimit}
	switch name {
	case "polars":
		spec.name, spec.module = "Polars join_asof", "pit_polars"
	case "feast":
		spec.name, spec.module, spec.limit = "Feast, DuckDB offline store", "pit_feast", feastLimit
	}
	return spec
}

// pitTask is a join that is ready to be run: its tables are in the server and, as
// plain Parquet, in files.
type pitTask struct {
	join
	server *server
	config pitConfig
	spine  []arrow.RecordBatch
}

// prepare makes what the join reads, as far as no part before has. The caller
// releases the task.
func (b *bench) prepare(ctx context.Context, j join) (*pitTask, error) {
	s, err := b.shared(ctx)
	if err != nil {
		return nil, err
	}
	t := &pitTask{join: j, server: s, config: pitConfig{
		Spine: b.file(fmt.Sprintf("spine-%s-%d", j.views[0].view, j.spine.rows)), Entity: entityKey, Time: eventTime,
		KnownAt: j.knownAt, Folder: b.dir, Forms: j.forms, Tries: pick(b, 1, 2),
	}}
	for _, view := range j.views {
		if err := s.fillOnce(ctx, view.featureView(j.ttl), view.generated()); err != nil {
			return nil, err
		}
		if err := b.parquetOnce(b.file(view.view), view.generated()); err != nil {
			return nil, err
		}
		peers := pitView{Name: view.view, Path: b.file(view.view), Features: view.names(), TTLSeconds: int64(j.ttl.Seconds())}
		if view.corrected {
			peers.Created = createdTime
		}
		t.config.Views = append(t.config.Views, peers)
	}
	if t.spine, _, err = j.spine.batches().Collect(); err != nil {
		t.release()
		return nil, err
	}
	if err := writeParquet(t.config.Spine, t.spineRows()); err != nil {
		t.release()
		return nil, err
	}
	return t, t.useTTL(ctx)
}

func (t *pitTask) release() { driftline.ReleaseAll(t.spine) }

func (t *pitTask) spineRows() driftline.Batches {
	return driftline.BatchesOf(t.join.spine.schema, t.spine...)
}

// useTTL gives the views the task's TTL, which the task before may have changed.
func (t *pitTask) useTTL(ctx context.Context) error {
	var views []driftline.FeatureView
	for _, view := range t.views {
		views = append(views, view.featureView(t.ttl))
	}
	_, err := t.server.client.Apply(ctx, definitions(views...))
	return err
}

// ours is the task by our server.
func (t *pitTask) ours(name string) side {
	request := driftline.HistoricalRequest{KnownAt: t.knownAt}
	for _, view := range t.views {
		request.Projections = append(request.Projections, driftline.Projection{View: driftline.ViewName(view.view)})
	}
	return t.server.historical(name, request, t.spineRows())
}

// file is where a table of that name is as plain Parquet.
func (b *bench) file(name string) string { return filepath.Join(b.dir, name+".parquet") }

// parquetOnce writes a file that no part before has written.
func (b *bench) parquetOnce(path string, rows generated) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	started := time.Now()
	if err := writeParquet(path, rows.batches()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	b.progress("%s: %s rows for peers written in %.1f s", filepath.Base(path), count(rows.rows), time.Since(started).Seconds())
	return nil
}

func (t *pitTask) size() string {
	rows := 0
	for _, view := range t.views {
		rows += view.rows()
	}
	return fmt.Sprintf("%s × %s", count(t.join.spine.rows), count(rows))
}

// count writes 1000000 as 1M.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%dk", n/1_000)
	}
	return fmt.Sprint(n)
}

func ttlText(ttl time.Duration) string {
	if ttl == 0 {
		return "no TTL"
	}
	return fmt.Sprintf("TTL %d d", int(ttl.Hours()/24))
}

// historical asks for a training set, and keeps the whole answer until it has ended.
func (s *server) historical(name string, request driftline.HistoricalRequest, spine driftline.Batches) side {
	return side{name: name, run: func(ctx context.Context, check bool) (measured, error) {
		start := time.Now()
		set, err := s.client.Historical(ctx, request, spine)
		if err != nil {
			return measured{}, err
		}
		received, rows, err := set.Batches.Collect()
		elapsed := time.Since(start)
		defer driftline.ReleaseAll(received)
		if err != nil {
			return measured{}, err
		}
		return measuredRows(elapsed.Seconds(), rows, received, check)
	}}
}

// measuredRows sums up an answer that is a table, if that is wanted.
func measuredRows(value float64, rows int64, batches []arrow.RecordBatch, check bool) (measured, error) {
	m := measured{value: value, answer: answer{Rows: rows}}
	if !check || len(batches) == 0 {
		return m, nil
	}
	var err error
	m.answer, err = checksum(driftline.BatchesOf(batches[0].Schema(), batches...))
	return m, err
}
