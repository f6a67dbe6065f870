package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// trackingParts measure MLflow's protocol beside MLflow's own server, both asked by the
// same program. Ours acknowledges a write when it is on the disk.
var trackingParts = []part{
	{name: "log", does: "one metric a request, 8 clients: requests per second, and what the slowest of a hundred waits", run: beside("sqlite", trackingLog)},
	{name: "batch", does: "1,000 metrics a request: metrics per second", run: beside("sqlite", trackingBatch)},
	{name: "create", does: "runs/create: runs per second", run: beside("sqlite", trackingCreate)},
	{name: "history", does: "a metric of 25,000 points", run: beside("sqlite", trackingHistory)},
	{name: "log-pg", does: "log beside MLflow on PostgreSQL", run: beside("postgresql", trackingLog)},
	{name: "batch-pg", does: "batch beside MLflow on PostgreSQL", run: beside("postgresql", trackingBatch)},
	{name: "create-pg", does: "create beside MLflow on PostgreSQL", run: beside("postgresql", trackingCreate)},
	{name: "history-pg", does: "history beside MLflow on PostgreSQL", run: beside("postgresql", trackingHistory)},
	{name: "flight", does: "points of metrics over Arrow Flight: points per second", run: trackingFlight},
	{name: "artifacts", does: "an artifact of 1 GB: megabytes per second up, down, and up until it is on the disk, and the server's memory", run: trackingArtifacts},
	{name: "lineage", does: "8 hops in a graph of 1,000,000 edges", run: trackingLineage},
	{name: "trace", does: "one row of 10,000,000 is another: the training set's hash and the trace of a prediction tell it", run: trackingTrace},
	{name: "search", does: "100,000 runs × (10 params, 10 metrics, 5 tags): searches, all runs as a table, and the server's memory", run: trackingSearch},
	{name: "search-peers", does: "the same searches beside MLflow's server on each store", run: trackingSearchPeers},
}

// tracker is a server that speaks MLflow's protocol.
type tracker struct {
	name  string
	url   string
	share int // does a part of 1/share of the requests that ours does, since it is slower
	runs  int // made so far, for their names
	peer  *peer

	artifacts string // the folder of its artifacts, which it does not sync itself; "" for ours
}

// trackingStores are what MLflow's server is run on, and how its name says it.
var trackingStores = map[string]string{"sqlite": "SQLite", "postgresql": "PostgreSQL"}

// beside runs a part with MLflow's server on one store.
func beside(store string, run func(context.Context, *bench, string) error) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error { return run(ctx, b, store) }
}

// withTrackers runs do with ours beside MLflow's server on a store.
func (b *bench) withTrackers(ctx context.Context, w workload, store string, do func(ours, theirs *tracker) error) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	ours := &tracker{name: "Driftline", url: s.url, share: 1}
	return b.withMLflow(ctx, w, store, func(theirs *tracker) error { return do(ours, theirs) })
}

// withMLflow runs do with the server of that store that all parts share, since it takes half a
// minute to start; a peer that is not installed is skipped.
func (b *bench) withMLflow(ctx context.Context, w workload, store string, do func(*tracker) error) error {
	if b.trackers[store] == nil {
		t, err := b.startMLflow(ctx, store, 0)
		var missing *missingModule
		if errors.As(err, &missing) {
			b.skip(w, t.name, missing.Error())
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		b.trackers[store] = t
	}
	return do(b.trackers[store])
}

// startMLflow starts MLflow's server with so many runs. The caller stops its peer.
func (b *bench) startMLflow(ctx context.Context, store string, runs int) (*tracker, error) {
	name := "MLflow on " + trackingStores[store]
	port, storePort, err := freePorts()
	if err != nil {
		return &tracker{name: name}, err
	}
	b.started++
	folder := filepath.Join(b.dir, fmt.Sprintf("mlflow-%d", b.started))
	p, err := b.startPeer(ctx, peerSpec{name: name, module: "tracking_mlflow", venv: ".venv-mlflow", config: map[string]any{
		"folder": folder, "store": store, "port": port, "store_port": storePort, "runs": runs,
	}})
	return &tracker{name: name, url: fmt.Sprintf("http://127.0.0.1:%d", port), share: 40, peer: p, artifacts: filepath.Join(folder, "artifacts")}, err
}

// ask sends one request and decodes the answer.
func (t *tracker) ask(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, t.url+"/api/2.0/mlflow/"+path+"?"+query.Encode(), strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: HTTP %d: %.300s", t.name, path, response.StatusCode, received)
	}
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(received, answer)
}

// newRun makes a run in the experiment with id 0.
func (t *tracker) newRun(ctx context.Context) (string, error) {
	t.runs++
	var made struct {
		Run trackedRun `json:"run"`
	}
	err := t.ask(ctx, "POST", "runs/create", nil, map[string]any{"experiment_id": "0", "run_name": fmt.Sprint("bench ", t.runs), "start_time": t.runs}, &made)
	return made.Run.Info.ID, err
}

// trackedRun is the part of a run that answers are compared by.
type trackedRun struct {
	Info struct {
		ID   string `json:"run_id"`
		Name string `json:"run_name"`
	} `json:"info"`
}

// point is a metric as it is sent.
func point(key string, step int) map[string]any {
	return map[string]any{"key": key, "value": float64(step*7919%100_003) / 100_003, "timestamp": 1_600_000_000_000 + step, "step": step}
}

const trackingClients = 8

// load sends bodies to one path, by the client that takes little of the cores that it shares with the server.
func (t *tracker) load(ctx context.Context, path string, connections int, bodies [][]byte) (loadResult, error) {
	return onlineLoad{url: t.url + "/api/2.0/mlflow/" + path, connections: connections, bodies: bodies}.runPlain(ctx)
}

// sumHistory sums up the points of a metric, which must be n.
func (t *tracker) sumHistory(ctx context.Context, run, key string, n int) (answer, error) {
	var found struct {
		Metrics []struct {
			Value     float64 `json:"value"`
			Timestamp int64   `json:"timestamp"`
			Step      int64   `json:"step"`
		} `json:"metrics"`
	}
	query := url.Values{"run_id": {run}, "metric_key": {key}, "max_results": {strconv.Itoa(max(n, 1))}}
	if err := t.ask(ctx, "GET", "metrics/get-history", query, nil, &found); err != nil {
		return answer{}, err
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	bySteps := make([]string, n)
	for _, m := range found.Metrics {
		if m.Step >= 0 && m.Step < int64(n) {
			bySteps[m.Step] = fmt.Sprint(m.Value, m.Timestamp)
		}
	}
	_, _ = io.WriteString(sum, strings.Join(bySteps, " "))
	return answer{Rows: int64(len(found.Metrics)), Checksum: fmt.Sprintf("%016x", sum.Sum64())}, nil
}

func trackingLog(ctx context.Context, b *bench, store string) error {
	n := pick(b, 50, 15_000)
	w := workload{name: "log-metric, 8 clients", unit: "req/s", goal: atLeast(50), pairs: 3}
	var slowest []float64
	err := b.withTrackers(ctx, w, store, func(ours, theirs *tracker) error {
		side := func(t *tracker) side {
			return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
				result, found, err := t.logSingly(ctx, pick(b, n, n/t.share), check)
				if err == nil && t == ours && !check {
					slowest = append(slowest, result.percentile(99))
				}
				return measured{value: result.rate(), answer: found}, err
			}}
		}
		return b.compare(ctx, w, side(ours), side(theirs))
	})
	if err == nil && store == "sqlite" && len(slowest) > 0 {
		b.keepLimit(workload{name: "log-metric, 8 clients, p99", unit: "ms"}, slowest, 10)
	}
	return err
}

// logSingly logs n points, one a request. A checked run logs as many on every server.
func (t *tracker) logSingly(ctx context.Context, n int, check bool) (loadResult, answer, error) {
	if check {
		n = 200
	}
	run, err := t.newRun(ctx)
	if err != nil {
		return loadResult{}, answer{}, err
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		body := point("loss", i)
		body["run_id"] = run
		if bodies[i], err = json.Marshal(body); err != nil {
			return loadResult{}, answer{}, err
		}
	}
	result, err := t.load(ctx, "runs/log-metric", trackingClients, bodies)
	if err != nil || !check {
		return result, answer{}, err
	}
	found, err := t.sumHistory(ctx, run, "loss", n)
	return result, found, err
}

func trackingBatch(ctx context.Context, b *bench, store string) error {
	for _, keys := range []int{10, 1000} {
		w := workload{name: fmt.Sprintf("log-batch of 1,000: %d keys", keys), unit: "metrics/s", goal: atLeast(60), pairs: 3}
		err := b.withTrackers(ctx, w, store, func(ours, theirs *tracker) error {
			side := func(t *tracker) side {
				return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
					return t.logBatches(ctx, pick(b, 2, 1000/t.share), keys, check)
				}}
			}
			return b.compare(ctx, w, side(ours), side(theirs))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const batchMetrics = 1000

// logBatches logs n batches of a thousand points, of so many keys, from two clients.
func (t *tracker) logBatches(ctx context.Context, n, keys int, check bool) (measured, error) {
	if check {
		n = 4
	}
	run, err := t.newRun(ctx)
	if err != nil {
		return measured{}, err
	}
	steps := batchMetrics / keys
	bodies := make([][]byte, n)
	for i := range bodies {
		points := make([]map[string]any, 0, batchMetrics)
		for step := range steps {
			for key := range keys {
				points = append(points, point(fmt.Sprint("train/metric_", key), i*steps+step))
			}
		}
		if bodies[i], err = json.Marshal(map[string]any{"run_id": run, "metrics": points, "params": []any{}, "tags": []any{}}); err != nil {
			return measured{}, err
		}
	}
	result, err := t.load(ctx, "runs/log-batch", 2, bodies)
	out := measured{value: result.rate() * batchMetrics}
	if err == nil && check {
		out.answer, err = t.sumHistory(ctx, run, "train/metric_0", n*steps)
	}
	return out, err
}

func trackingCreate(ctx context.Context, b *bench, store string) error {
	w := workload{name: "runs/create, 8 clients", unit: "runs/s", goal: atLeast(40), pairs: 3}
	return b.withTrackers(ctx, w, store, func(ours, theirs *tracker) error {
		side := func(t *tracker) side {
			return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
				bodies := make([][]byte, pick(b, 20, 10_000/t.share))
				for i := range bodies {
					bodies[i] = fmt.Appendf(nil, `{"experiment_id": "0", "user_id": "me", "run_name": "r%d", "start_time": %d, "tags": [{"key": "mlflow.user", "value": "me"}, {"key": "mlflow.source.type", "value": "LOCAL"}]}`, i, 1_600_000_000_000+i)
				}
				result, err := t.load(ctx, "runs/create", trackingClients, bodies)
				return measured{value: result.rate(), answer: answer{Rows: 1}}, err
			}}
		}
		return b.compare(ctx, w, side(ours), side(theirs))
	})
}

func trackingHistory(ctx context.Context, b *bench, store string) error {
	n := pick(b, 1000, 25_000)
	w := workload{name: fmt.Sprintf("history of %s points", count(n)), unit: "ms", goal: atLeast(30)}
	return b.withTrackers(ctx, w, store, func(ours, theirs *tracker) error {
		side := func(t *tracker) (side, error) {
			run, err := t.newRun(ctx)
			for begin := 0; err == nil && begin < n; begin += batchMetrics {
				points := make([]map[string]any, batchMetrics)
				for i := range points {
					points[i] = point("loss", begin+i)
				}
				err = t.ask(ctx, "POST", "runs/log-batch", nil, map[string]any{"run_id": run, "metrics": points}, nil)
			}
			return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
				return t.readHistory(ctx, run, n, check)
			}}, err
		}
		a, err := side(ours)
		if err != nil {
			return err
		}
		z, err := side(theirs)
		if err != nil {
			return err
		}
		return b.compare(ctx, w, a, z)
	})
}

func (t *tracker) readHistory(ctx context.Context, run string, n int, check bool) (measured, error) {
	if check {
		found, err := t.sumHistory(ctx, run, "loss", n)
		return measured{answer: found}, err
	}
	query := url.Values{"run_id": {run}, "metric_key": {"loss"}, "max_results": {strconv.Itoa(n)}}
	start := time.Now()
	err := t.ask(ctx, "GET", "metrics/get-history", query, nil, nil)
	return measured{value: milliseconds(time.Since(start))}, err
}

// leastFlight is how many points a second Arrow Flight must bring.
const leastFlight = 2e6

func trackingFlight(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	const batches, keys, steps = 16, 8, 8192
	rounds := pick(b, 1, 5)
	w := workload{name: "log over Flight: 8 keys", unit: "metrics/s"}
	var rates []float64
	for range rounds {
		run, err := s.client.CreateRun(ctx, driftline.RunSpec{Experiment: "flight"})
		if err != nil {
			return err
		}
		points := flightPoints(batches, keys, steps)
		start := time.Now()
		n, err := s.client.LogHistory(ctx, run.ID, points)
		if err != nil {
			return err
		}
		rates = append(rates, float64(n)/time.Since(start).Seconds())
		history, err := s.client.Metrics(ctx, run.ID, "train/metric_3")
		if err != nil {
			return err
		}
		if n != batches*keys*steps || len(history) != batches*steps || history[len(history)-1].Step != batches*steps-1 {
			return fmt.Errorf("%d points were logged, and %d of one metric are there", n, len(history))
		}
	}
	b.keepLimit(w, rates, leastFlight)
	return nil
}

// flightPoints are batches of the points of some keys, steps of each in a batch.
func flightPoints(batches, keys, steps int) driftline.Batches {
	schema := client.PointsSchema
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer builder.Release()
		for batch := range batches {
			for key := range keys {
				name := fmt.Sprint("train/metric_", key)
				for step := batch * steps; step < (batch+1)*steps; step++ {
					builder.Field(0).(*array.StringBuilder).Append(name)
					builder.Field(1).(*array.Float64Builder).Append(float64(step*7919%100_003) / 100_003)
					builder.Field(2).(*array.Int64Builder).Append(int64(step))
					builder.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(1_600_000_000_000_000 + step))
				}
			}
			rows := builder.NewRecordBatch()
			more := yield(rows, nil)
			rows.Release()
			if !more {
				return
			}
		}
	}}
}

// mostArtifactMemory is how much more memory a gigabyte may take than the server had, in MB.
const mostArtifactMemory = 100

func trackingArtifacts(ctx context.Context, b *bench) error {
	size := int64(pick(b, 4, 1000)) * 1e6
	name := fmt.Sprintf("artifact of %d MB", size/1e6)
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	path, err := b.noiseFile(size)
	if err != nil {
		return errors.Join(err, s.stop())
	}
	ours := &tracker{name: "Driftline", url: s.url, share: 1}
	before := s.usage().peakMemory
	err = b.withMLflow(ctx, workload{name: name}, "sqlite", func(theirs *tracker) error {
		row := func(what string) workload {
			return workload{name: name + ", " + what, unit: "MB/s", goal: atLeast(3), pairs: 3}
		}
		if err := b.compare(ctx, row("up"), ours.upload(path, size), theirs.upload(path, size)); err != nil {
			return err
		}
		if err := b.compare(ctx, row("down"), ours.download(path, size), theirs.download(path, size)); err != nil {
			return err
		}
		durable := row("up and on the disk")
		durable.goal = nil
		if err := b.compare(ctx, durable, ours.upload(path, size), theirs.synced(path, size)); err != nil {
			return err
		}
		durable.uncompared = true
		return b.compare(ctx, durable, ours.upload(path, size), b.copied(path, size))
	})
	if err == nil {
		more := float64(s.usage().peakMemory-before) / 1e6
		b.keepLimit(workload{name: name + ", more memory", unit: "MB", pairs: 1}, []float64{more}, mostArtifactMemory)
	}
	return errors.Join(err, s.stop())
}

// artifactURL is where a run's file is by proxy.
func (t *tracker) artifactURL(run string) string {
	return t.url + "/api/2.0/mlflow-artifacts/artifacts/0/" + run + "/artifacts/big.bin"
}

// upload measures how a file is taken; the answer is what is there then.
func (t *tracker) upload(path string, size int64) side {
	return t.uploadUntil(t.name, path, size, func(string) error { return nil })
}

// synced is upload to a server that answers before a file is on the disk: until it is there.
func (t *tracker) synced(path string, size int64) side {
	return t.uploadUntil(t.name+", synced", path, size, func(run string) error {
		return syncFile(filepath.Join(t.artifacts, "0", run, "artifacts", "big.bin"))
	})
}

// uploadUntil measures an upload until its server has answered and settled is done.
func (t *tracker) uploadUntil(name, path string, size int64, settled func(run string) error) side {
	return side{name: name, run: func(ctx context.Context, check bool) (measured, error) {
		run, err := t.newRun(ctx)
		if err != nil {
			return measured{}, err
		}
		start := time.Now()
		if err := t.putFile(ctx, run, path); err != nil {
			return measured{}, err
		}
		if err := settled(run); err != nil {
			return measured{}, err
		}
		out := measured{value: float64(size) / 1e6 / time.Since(start).Seconds()}
		if check {
			out.answer, err = t.sumFile(ctx, run)
		}
		return out, err
	}}
}

func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// copied measures a copy of the file in the same folder, without a server, which is what the disk can do.
func (b *bench) copied(path string, size int64) side {
	return side{name: "a copy of the file, synced", run: func(context.Context, bool) (measured, error) {
		from, err := os.Open(path)
		if err != nil {
			return measured{}, err
		}
		defer from.Close()
		start := time.Now()
		to, err := os.Create(path + ".copy")
		if err != nil {
			return measured{}, err
		}
		defer os.Remove(to.Name())
		// Plain reads and writes: between two files the kernel might share the blocks instead.
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20))
		if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
			return measured{}, err
		}
		return measured{value: float64(size) / 1e6 / time.Since(start).Seconds()}, nil
	}}
}

// download measures how a file is given; it is summed up only to be compared, since that takes longer than its coming.
func (t *tracker) download(path string, size int64) side {
	run := ""
	return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
		if run == "" {
			made, err := t.newRun(ctx)
			if err == nil {
				err = t.putFile(ctx, made, path)
			}
			if err != nil {
				return measured{}, err
			}
			run = made
		}
		if check {
			found, err := t.sumFile(ctx, run)
			return measured{answer: found}, err
		}
		start := time.Now()
		n, err := t.getFile(ctx, run, io.Discard)
		if err == nil && n != size {
			err = fmt.Errorf("%s: %d bytes of %d came", t.name, n, size)
		}
		return measured{value: float64(size) / 1e6 / time.Since(start).Seconds()}, err
	}}
}

// putFile sends a file as a client does that has it on its disk: the kernel moves its bytes.
func (t *tracker) putFile(ctx context.Context, run, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, t.artifactURL(run), file)
	if err != nil {
		return err
	}
	request.ContentLength = info.Size()
	request.Header.Set("Content-Type", "application/octet-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(io.LimitReader(response.Body, 300)); response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: upload: HTTP %d: %s", t.name, response.StatusCode, text)
	}
	return nil
}

// sumFile is what there is of a run's file.
func (t *tracker) sumFile(ctx context.Context, run string) (answer, error) {
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	size, err := t.getFile(ctx, run, sum)
	return answer{Rows: size, Checksum: fmt.Sprintf("%016x", sum.Sum64())}, err
}

// receiveBytes is how much of a file is read at once, in the client that is measured.
const receiveBytes = 256 << 10

func (t *tracker) getFile(ctx context.Context, run string, to io.Writer) (int64, error) {
	file, err := get(ctx, t.artifactURL(run))
	if err != nil {
		return 0, fmt.Errorf("%s: download: %w", t.name, err)
	}
	defer file.Close()
	plain := struct{ io.Writer }{to} // io.Discard has a small buffer of its own
	return io.CopyBuffer(plain, file, make([]byte, receiveBytes))
}

// noiseFile makes a file of noise.
func (b *bench) noiseFile(size int64) (path string, err error) {
	path = filepath.Join(b.dir, "big.bin")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, io.LimitReader(&noise{}, size))
	return path, errors.Join(err, file.Close())
}

// noise is a file without an end, the same each time, which does not shrink when it is packed.
type noise struct{ state uint64 }

func (n *noise) Read(to []byte) (int, error) {
	for i := 0; i+8 <= len(to); i += 8 {
		n.state = n.state*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(to[i:], n.state)
	}
	return max(len(to)&^7, min(len(to), 1)), nil
}

// trackedSearch is a search with 100 results at most.
type trackedSearch struct {
	name   string
	filter string
	order  []string
}

func (q trackedSearch) workload(n int) workload {
	return workload{name: fmt.Sprintf("search of %s runs, %s", count(n), q.name), unit: "ms"}
}

var trackedSearches = []trackedSearch{
	{"newest first", "", nil},
	{"sorted by a metric", "", []string{"metrics.m3 DESC"}},
	{"by tag LIKE", "tags.t1 LIKE '%99%'", nil},
	{"by metric and param, sorted", "metrics.m1 > 0.5 AND params.p2 = '42'", []string{"metrics.m4 ASC"}},
}

// mostSearch is what a search of 100,000 runs may take.
const mostSearch = 100 // ms

func trackingSearch(ctx context.Context, b *bench) error {
	return b.withFilled(ctx, func(s *server, ours *tracker, n int) error {
		for _, q := range trackedSearches {
			if err := b.within(ctx, q.workload(n), ours.search(q), mostSearch); err != nil {
				return err
			}
		}
		memory := workload{name: fmt.Sprintf("server memory with %s runs", count(n)), unit: "MB", pairs: 1}
		b.keepLimit(memory, []float64{float64(s.usage().peakMemory) / 1e6}, 200)
		table := workload{name: fmt.Sprintf("%s runs as a table over Flight", count(n)), unit: "s"}
		if err := b.within(ctx, table, allRuns(s, n), mostTable); err != nil {
			return err
		}
		return b.allRunsInPandas(ctx, s, n)
	})
}

func trackingSearchPeers(ctx context.Context, b *bench) error {
	return b.withFilled(ctx, func(_ *server, ours *tracker, n int) error {
		var failed []error
		for _, store := range []string{"sqlite", "postgresql"} {
			failed = append(failed, b.searchBeside(ctx, store, n, ours))
		}
		return errors.Join(failed...)
	})
}

// withFilled runs do with a server that was started over 100,000 runs, so that its memory is
// that of these runs, and ended and restarted since they were made.
func (b *bench) withFilled(ctx context.Context, do func(s *server, ours *tracker, n int) error) error {
	n := pick(b, 200, 100_000)
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := (&tracker{name: "Driftline", url: s.url}).fill(ctx, n); err != nil {
		return errors.Join(err, s.stop())
	}
	b.progress("%s runs were made and logged in %.1f s", count(n), time.Since(start).Seconds())
	if err := s.restart(ctx); err != nil {
		return err
	}
	err = do(s, &tracker{name: "Driftline", url: s.url, share: 1}, n)
	return errors.Join(err, s.stop())
}

// searchBeside compares searches with a server of MLflow that has as many runs.
func (b *bench) searchBeside(ctx context.Context, store string, n int, ours *tracker) error {
	theirs, err := b.startMLflow(ctx, store, n)
	var missing *missingModule
	if errors.As(err, &missing) {
		b.skip(workload{name: fmt.Sprintf("searches of %s runs", count(n))}, theirs.name, missing.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", theirs.name, err)
	}
	for _, q := range trackedSearches {
		if err := b.compare(ctx, q.workload(n), ours.search(q), theirs.search(q)); err != nil {
			return errors.Join(err, theirs.peer.stop())
		}
	}
	return theirs.peer.stop()
}

// mostTable is how long it may take to read all runs with all that they say, in seconds.
const mostTable = 1.5

// allRuns reads every run with its ten metrics.
func allRuns(s *server, n int) side {
	text := allRunsQuery()
	return side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		start, found := time.Now(), int64(0)
		rows, err := s.client.SQL(ctx, text)
		if err != nil {
			return measured{}, err
		}
		for batch, err := range rows.All {
			if err != nil {
				return measured{}, err
			}
			found += batch.NumRows()
		}
		if found != int64(n) {
			return measured{}, fmt.Errorf("%d runs were read, want %d", found, n)
		}
		return measured{value: time.Since(start).Seconds()}, nil
	}}
}

// allRunsQuery reads every run with its ten metrics.
func allRunsQuery() string {
	var columns []string
	for j := range 10 {
		columns = append(columns, fmt.Sprintf("max(m.value) FILTER (m.key = 'm%d') AS m%d", j, j))
	}
	return "SELECT r.run_id, any_value(r.name) AS name, " + strings.Join(columns, ", ") + " FROM meta.runs r JOIN meta.metrics m USING (run_id) GROUP BY r.run_id"
}

// allRunsInPandas measures the same with our Python client, until there is a table of pandas.
func (b *bench) allRunsInPandas(ctx context.Context, s *server, n int) error {
	w := workload{name: fmt.Sprintf("%s runs in pandas", count(n)), unit: "s"}
	p, err := b.startPeer(ctx, peerSpec{name: "Driftline in Python", module: "tracking_pandas", venv: ".venv",
		config: map[string]any{"url": s.url, "sql": allRunsQuery(), "rows": n}})
	if missing := (*missingModule)(nil); errors.As(err, &missing) {
		b.skip(w, "Driftline in Python", missing.Error())
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(b.within(ctx, w, p.side("Driftline in Python"), mostTable), p.stop())
}

// fill makes n runs with 10 params, 10 metrics and 5 tags each, as the peer does.
func (t *tracker) fill(ctx context.Context, n int) error {
	ids := make([]string, n)
	err := inParallel(trackingClients, n, func(i int) error {
		var made struct {
			Run trackedRun `json:"run"`
		}
		err := t.ask(ctx, "POST", "runs/create", nil, map[string]any{"experiment_id": "0", "run_name": runNameOf(i), "start_time": 1_600_000_000_000 + i, "user_id": "me"}, &made)
		ids[i] = made.Run.Info.ID
		return err
	})
	if err != nil {
		return err
	}
	return inParallel(trackingClients, n, func(i int) error {
		return t.ask(ctx, "POST", "runs/log-batch", nil, filledRun(ids[i], i), nil)
	})
}

func runNameOf(i int) string { return fmt.Sprintf("r%06d", i) }

// filledRun is what run number i logs; tracking_mlflow.py has the same.
func filledRun(id string, i int) map[string]any {
	var metrics, params, tags []map[string]any
	for j := range 10 {
		value := float64((i*7919+j*104_729)%1_000_003) / 1_000_003
		metrics = append(metrics, map[string]any{"key": fmt.Sprint("m", j), "value": value, "timestamp": 1_600_000_000_000 + i, "step": j})
		params = append(params, map[string]any{"key": fmt.Sprint("p", j), "value": strconv.Itoa((i*31 + j) % 100)})
	}
	for j := range 5 {
		tags = append(tags, map[string]any{"key": fmt.Sprint("t", j), "value": fmt.Sprint("v", (i*17+j)%1000)})
	}
	return map[string]any{"run_id": id, "metrics": metrics, "params": params, "tags": tags}
}

// search asks for the first 100 runs; the answer is their names in order.
func (t *tracker) search(q trackedSearch) side {
	return side{name: t.name, run: func(ctx context.Context, check bool) (measured, error) {
		var found struct {
			Runs []trackedRun `json:"runs"`
		}
		into := any(nil)
		if check {
			into = &found
		}
		start := time.Now()
		err := t.ask(ctx, "POST", "runs/search", nil, map[string]any{"experiment_ids": []string{"0"}, "filter": q.filter, "order_by": q.order, "max_results": 100}, into)
		out := measured{value: milliseconds(time.Since(start))}
		sum := crc64.New(crc64.MakeTable(crc64.ECMA))
		for _, r := range found.Runs {
			_, _ = io.WriteString(sum, r.Info.Name+" ")
		}
		out.answer = answer{Rows: int64(len(found.Runs)), Checksum: fmt.Sprintf("%016x", sum.Sum64())}
		return out, err
	}}
}
