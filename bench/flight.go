package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// flightSuite measures one pyarrow client against two servers: ours, which reads
// Parquet and writes both stores, and pyarrow's own in C++, which has all rows in
// memory and forgets what it is sent. The second is a limit to come near to.
func flightSuite(ctx context.Context, b *bench) (err error) {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.flightGet(ctx, s, pick(b, 500_000, 5_000_000)); err != nil {
		return err
	}
	return b.flightPut(ctx, s, pick(b, 100_000, 500_000))
}

// flightGet reads the whole history of a view.
func (b *bench) flightGet(ctx context.Context, s *server, rows int) error {
	const view = "read"
	source := filepath.Join(b.dir, "get.parquet")
	made := history(rows/100, 100)
	if err := writeParquet(source, made.batches()); err != nil {
		return err
	}
	if _, err := s.client.Apply(ctx, definitions(generatedView(view, false, 0))); err != nil {
		return err
	}
	if _, err := s.client.Ingest(ctx, view, "", made.batches()); err != nil {
		return err
	}
	batchRows, err := sentBatchRows(ctx, s, view)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "  batches of %d rows, from both servers\n", batchRows)
	w := workload{name: fmt.Sprintf("DoGet, %s rows of 12 columns", count(rows)), unit: "MB/s"}
	config := flightConfig{Get: map[string]string{"op": "view", "name": view}, Bytes: rows * rowBytes}
	if err := b.compareFlight(ctx, w, s, config, flightServerConfig{Rows: source, BatchRows: batchRows}); err != nil {
		return err
	}
	return b.measureParquet(ctx, rows)
}

// flightPut writes rows into new views. Ours ends when they are durable and visible
// in both stores.
func (b *bench) flightPut(ctx context.Context, s *server, rows int) error {
	source := filepath.Join(b.dir, "put.parquet")
	if err := writeParquet(source, history(rows/100, 100).batches()); err != nil {
		return err
	}
	var views []driftline.FeatureView
	config := flightConfig{Rows: source, BatchRows: putBatchRows, Bytes: rows * rowBytes}
	for run := range b.pairs() + 1 {
		view := generatedView(fmt.Sprintf("put_%d", run), false, 0)
		views = append(views, view)
		config.Put = append(config.Put, map[string]string{"op": "ingest", "view": string(view.Name)})
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

// flightServerConfig is what peers/flight_server.py is told.
type flightServerConfig struct {
	Rows      string `json:"rows"`
	Port      int    `json:"port"`
	BatchRows int    `json:"batch_rows"`
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

// sentBatchRows is how many rows most of our server's batches have, so that the peer
// can send the same.
func sentBatchRows(ctx context.Context, s *server, view driftline.ViewName) (int, error) {
	rows, err := s.client.ReadView(ctx, view)
	if err != nil {
		return 0, err
	}
	var sizes []float64
	for batch, err := range rows.All {
		if err != nil {
			return 0, err
		}
		sizes = append(sizes, float64(batch.NumRows()))
	}
	return int(median(sizes)), nil
}

// measureParquet prints how fast our stored files can be decoded by themselves, with
// the settings of the server: the part of a DoGet that the peer does not have.
func (b *bench) measureParquet(ctx context.Context, rows int) error {
	files, err := storedParquet(b.dir)
	if err != nil {
		return err
	}
	var speeds []float64
	for range b.pairs() {
		started := time.Now()
		if err := decodeAll(ctx, files); err != nil {
			return err
		}
		speeds = append(speeds, float64(rows*rowBytes)/1e6/time.Since(started).Seconds())
	}
	speed := median(speeds)
	fmt.Fprintf(b.out, "  of ours, decoding its Parquet alone: %s MB/s\n", figure(&speed))
	return nil
}

// storedParquet finds the data files of the servers that ran in the folder.
func storedParquet(folder string) (files []string, err error) {
	servers, err := filepath.Glob(filepath.Join(folder, "data-*"))
	if err != nil {
		return nil, err
	}
	for _, server := range servers {
		err := filepath.WalkDir(server, func(path string, _ fs.DirEntry, err error) error {
			if filepath.Ext(path) == ".parquet" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, errors.New("the server has stored no Parquet")
	}
	return files, nil
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
