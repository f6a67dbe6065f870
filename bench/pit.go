package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
)

// pitSuite measures point-in-time joins: a spine in memory, the full answer back in
// memory. Ours goes through Flight to a server that holds the features; peers
// read the same rows from plain Parquet, sorted by entity and time.
func pitSuite(ctx context.Context, b *bench) error {
	small := pitSize{spine: 100_000, entities: 10_000, rowsPerEntity: 100}
	full := pitSize{spine: 1_000_000, entities: 100_000, rowsPerEntity: 100}
	everyone := []pitPeer{{"DuckDB ASOF", "pit_duckdb"}, {"Polars join_asof", "pit_polars"}}
	feast := pitPeer{"Feast, DuckDB offline store", "pit_feast"}
	if b.quick {
		return b.pitSize(ctx, small, append(everyone, feast))
	}
	// Feast runs on the small size alone: it holds more than one copy of the full one.
	return errors.Join(b.pitSize(ctx, small, []pitPeer{feast}), b.pitSize(ctx, full, everyone))
}

type pitSize struct{ spine, entities, rowsPerEntity int }

func (s pitSize) String() string {
	return fmt.Sprintf("%s × %s", count(s.spine), count(s.entities*s.rowsPerEntity))
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

type pitPeer struct{ name, module string }

// pitConfig is what the Python peers are told.
type pitConfig struct {
	Features   string   `json:"features"` // Parquet files
	Spine      string   `json:"spine"`
	Entity     string   `json:"entity"` // columns
	Time       string   `json:"time"`
	Names      []string `json:"names"`       // of the features
	TTLSeconds int64    `json:"ttl_seconds"` // 0 is none
	Folder     string   `json:"folder"`      // to work in
}

const pitTTL = 30 * 24 * time.Hour

func (b *bench) pitSize(ctx context.Context, size pitSize, peers []pitPeer) (err error) {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	rows := history(size.entities, size.rowsPerEntity)
	asked, _, err := spine(size.spine, size.entities).batches().Collect()
	defer driftline.ReleaseAll(asked)
	if err != nil {
		return err
	}
	spineRows := driftline.BatchesOf(asked[0].Schema(), asked...)
	config := pitConfig{
		Features: filepath.Join(b.dir, "features.parquet"), Spine: filepath.Join(b.dir, "spine.parquet"),
		Entity: entityKey, Time: eventTime, Folder: b.dir,
	}
	for i := range featureCount {
		config.Names = append(config.Names, featureName(i))
	}
	if err := errors.Join(writeParquet(config.Features, rows.batches()), writeParquet(config.Spine, spineRows)); err != nil {
		return err
	}
	if err := s.fill(ctx, generatedView("history", false, 0), rows.batches()); err != nil {
		return err
	}
	for _, ttl := range []time.Duration{0, pitTTL} {
		view := generatedView("history", false, ttl)
		if _, err := s.client.Apply(ctx, definitions(view)); err != nil {
			return err
		}
		config.TTLSeconds = int64(ttl.Seconds())
		w := workload{name: fmt.Sprintf("%s, %s", size, ttlText(ttl)), unit: "s"}
		for _, p := range peers {
			spec := peerSpec{name: p.name, module: p.module, config: config}
			if err := b.comparePeer(ctx, w, s.historical(view.Name, spineRows), spec); err != nil {
				return err
			}
		}
	}
	return nil
}

func ttlText(ttl time.Duration) string {
	if ttl == 0 {
		return "no TTL"
	}
	return fmt.Sprintf("TTL %d d", int(ttl.Hours()/24))
}

// fill registers the view and ingests its rows.
func (s *server) fill(ctx context.Context, view driftline.FeatureView, rows driftline.Batches) error {
	if _, err := s.client.Apply(ctx, definitions(view)); err != nil {
		return err
	}
	_, err := s.client.Ingest(ctx, view.Name, "", rows)
	return err
}

// historical asks for all features of the view at each row of the spine, and keeps
// the whole answer until it has ended.
func (s *server) historical(view driftline.ViewName, spine driftline.Batches) side {
	request := driftline.HistoricalRequest{FeatureSet: driftline.FeatureSet{Projections: []driftline.Projection{{View: view}}}}
	return side{name: "Driftline", run: func(ctx context.Context, check bool) (measured, error) {
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
