package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/driftline/driftline"
)

const (
	flightPeer = "pyarrow Flight server, in memory"

	// putBatchRows of 12 columns are 6 MiB, under the server's limit for one message.
	putBatchRows = 1 << 16

	rowBytes = 8 * (2 + featureCount) // of values: every column is 8 bytes wide
)

// flightParts measure one pyarrow client against two servers: ours, which reads
// Parquet and writes both stores, and pyarrow's own in C++, which has all rows in
// memory and forgets what it is sent. The second is a limit to come near to.
var flightParts = []part{
	{name: "dataset", does: "DoGet of a saved dataset of 5M rows: pyarrow's server, the same batches", run: flightDataset},
	{name: "view", does: "DoGet of a view of 5M rows: pyarrow's server, the same batches", run: flightView},
	{name: "put", does: "DoPut of 500k rows: pyarrow's server", run: flightPut},
}

func flightHistory(b *bench) past { return history(pick(b, 200, 50_000), 100) }

// flightDataset reads a saved training set. The peer sends the batches that ours sent it.
func flightDataset(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	table := flightHistory(b)
	if err := s.fillOnce(ctx, table.featureView(0), table.generated()); err != nil {
		return err
	}
	made, err := s.saveDataset(ctx, driftline.ViewName(table.view), spine(table.rows(), table.entities))
	if err != nil {
		return err
	}
	const columns = 3 + featureCount
	w := workload{name: fmt.Sprintf("DoGet, dataset of %s × %d columns", count(table.rows()), columns), unit: "MB/s", goal: atLeast(1)}
	get := map[string]string{"op": "dataset", "name": string(made.Name)}
	return b.compareGet(ctx, w, s, get, table.rows()*columns*8)
}

// saveDataset makes a dataset of all features of a view.
func (s *server) saveDataset(ctx context.Context, view driftline.ViewName, asked generated) (*driftline.Dataset, error) {
	request := driftline.HistoricalRequest{SaveAs: "bench"}
	request.Projections = []driftline.Projection{{View: view}}
	set, err := s.client.Historical(ctx, request, asked.batches())
	if err != nil {
		return nil, err
	}
	defer set.Close()
	for _, err := range set.Batches.All {
		if err != nil {
			return nil, err
		}
	}
	if set.Report().Dataset == nil {
		return nil, errors.New("the server saved no dataset")
	}
	return set.Report().Dataset, nil
}

// flightView reads the whole history of a view.
func flightView(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	table := flightHistory(b)
	if err := s.fillOnce(ctx, table.featureView(0), table.generated()); err != nil {
		return err
	}
	w := workload{name: fmt.Sprintf("DoGet, view of %s × %d columns", count(table.rows()), 2+featureCount), unit: "MB/s", goal: atLeast(1)}
	if err := b.compareGet(ctx, w, s, map[string]string{"op": "view", "name": table.view}, table.rows()*rowBytes); err != nil {
		return err
	}
	return b.measureParquet(ctx, s, table)
}

// compareGet lets the peer fetch all batches of ours, and then measures who sends them faster.
func (b *bench) compareGet(ctx context.Context, w workload, s *server, get map[string]string, bytes int) error {
	config := flightConfig{Get: get, Bytes: bytes}
	return b.compareFlight(ctx, w, s, config, flightServerConfig{From: s.flight, Get: get})
}

// flightPut writes rows into new views. Ours ends when they are durable and visible
// in both stores.
func flightPut(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	rows := pick(b, 10_000, 500_000)
	source := b.file("put")
	if err := b.parquetOnce(source, history(rows/100, 100).generated()); err != nil {
		return err
	}
	var views []driftline.FeatureView
	config := flightConfig{Rows: source, BatchRows: putBatchRows, Bytes: rows * rowBytes}
	for run := range b.pairs() + 1 {
		table := history(1, 1)
		table.view = fmt.Sprintf("put_%d", run)
		views = append(views, table.featureView(0))
		config.Put = append(config.Put, map[string]string{"op": "ingest", "view": table.view})
	}
	if _, err := s.client.Apply(ctx, definitions(views...)); err != nil {
		return err
	}
	w := workload{name: fmt.Sprintf("DoPut, %s rows of 12 columns", count(rows)), unit: "MB/s"}
	return b.compareFlight(ctx, w, s, config, flightServerConfig{Rows: source, BatchRows: putBatchRows})
}

// flightConfig is what peers/flight_client.py is told.
type flightConfig struct {
	Address   string              `json:"address"`
	Bytes     int                 `json:"bytes"` // of values, the same whatever the encoding adds
	Get       map[string]string   `json:"get,omitempty"`
	Put       []map[string]string `json:"put,omitempty"`
	Rows      string              `json:"rows,omitempty"`
	BatchRows int                 `json:"batch_rows,omitempty"`
}

// flightServerConfig is what peers/flight_server.py is told. Its batches are those
// that another server sends, or the rows of a file.
type flightServerConfig struct {
	Port      int               `json:"port"`
	From      string            `json:"from,omitempty"`
	Get       map[string]string `json:"get,omitempty"`
	Rows      string            `json:"rows,omitempty"`
	BatchRows int               `json:"batch_rows,omitempty"`
}

// compareFlight measures the same client code against ours and pyarrow's server.
func (b *bench) compareFlight(ctx context.Context, w workload, s *server, config flightConfig, store flightServerConfig) (err error) {
	store.Port, _, err = freePorts()
	if err != nil {
		return err
	}
	theirs := config
	theirs.Address = fmt.Sprintf("127.0.0.1:%d", store.Port)
	config.Address = s.flight
	var started []*peer
	defer func() {
		for _, p := range slices.Backward(started) {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, spec := range []peerSpec{
		{name: flightPeer, module: "flight_server", config: store},
		{name: "pyarrow client of ours", module: "flight_client", config: config},
		{name: "pyarrow client of the peer", module: "flight_client", config: theirs},
	} {
		p, err := b.startPeer(ctx, spec)
		if missing := (*missingModule)(nil); errors.As(err, &missing) {
			b.skip(w, flightPeer, missing.Error())
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s, %s: %w", w.name, spec.name, err)
		}
		started = append(started, p)
	}
	return b.compare(ctx, w, started[1].side("ours"), started[2].side(flightPeer))
}

// measureParquet prints how fast our stored files can be decoded by themselves, with
// Arrow's reader: the part of a DoGet that the peer does not have.
func (b *bench) measureParquet(ctx context.Context, s *server, table past) error {
	files, err := s.dataFiles(table.view)
	if err != nil {
		return err
	}
	var speeds []float64
	for range b.pairs() {
		started := time.Now()
		if err := decodeAll(ctx, files); err != nil {
			return err
		}
		speeds = append(speeds, float64(table.rows()*rowBytes)/1e6/time.Since(started).Seconds())
	}
	speed := median(speeds)
	b.progress("of ours, decoding its Parquet alone: %s MB/s", figure(&speed))
	return nil
}

func decodeAll(ctx context.Context, files []string) error {
	for _, name := range files {
		if err := decode(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func decode(ctx context.Context, name string) (err error) {
	properties := parquet.NewReaderProperties(memory.DefaultAllocator)
	properties.BufferedStreamEnabled = true
	properties.BufferSize = 1 << 20
	in, err := file.OpenParquetFile(name, false, file.WithReadProps(properties))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	reader, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{BatchSize: 64 << 10}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	columns := make([]int, 2+featureCount) // without the hidden sequence, which is last
	for i := range columns {
		columns[i] = i
	}
	batches, err := reader.GetRecordReader(ctx, columns, nil)
	if err != nil {
		return err
	}
	defer batches.Release()
	for batches.Next() {
	}
	return batches.Err()
}
