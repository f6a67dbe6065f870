package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// trackingParts measure MLflow's protocol beside MLflow's own server, both asked by the
// same program. Ours acknowledges a write when it is on the disk.
var trackingParts = []part{
	{name: "log", does: "one metric a request, 8 clients: requests per second, and what the slowest of a hundred waits", run: trackingLog},
	{name: "batch", does: "1,000 metrics a request: metrics per second", run: trackingBatch},
	{name: "create", does: "runs/create: runs per second", run: trackingCreate},
	{name: "history", does: "a metric of 25,000 points", run: trackingHistory},
	{name: "search", does: "100,000 runs × (10 params, 10 metrics, 5 tags): searches, and the server's memory", run: trackingSearch},
}

// tracker is a server that speaks MLflow's protocol.
type tracker struct {
	name  string
	url   string
	share int // does a part of 1/share of the requests that ours does, since it is slower
	runs  int // made so far, for their names
}

// trackingStores are what MLflow's server is run on.
var trackingStores = []string{"sqlite", "postgresql"}

// withTrackers runs do with ours beside MLflow's server on each store that there is. fill is
// how many runs each is given first.
func (b *bench) withTrackers(ctx context.Context, w workload, fill int, do func(ours, theirs *tracker) error) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	ours := &tracker{name: "Driftline", url: s.url, share: 1}
	var failed []error
	for _, store := range trackingStores {
		err := b.withMLflow(ctx, w, store, fill, func(theirs *tracker) error { return do(ours, theirs) })
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func (b *bench) withMLflow(ctx context.Context, w workload, store string, fill int, do func(*tracker) error) error {
	port, storePort, err := freePorts()
	if err != nil {
		return err
	}
	name := "MLflow on " + map[string]string{"sqlite": "SQLite", "postgresql": "PostgreSQL"}[store]
	b.started++
	p, err := b.startPeer(ctx, peerSpec{name: name, module: "tracking_mlflow", venv: ".venv-mlflow", config: map[string]any{
		"folder": filepath.Join(b.dir, fmt.Sprintf("mlflow-%d", b.started)), "store": store, "port": port, "store_port": storePort, "runs": fill,
	}})
	var missing *missingModule
	if errors.As(err, &missing) {
		b.skip(w, name, missing.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err = do(&tracker{name: name, url: fmt.Sprintf("http://127.0.0.1:%d", port), share: 25})
	return errors.Join(err, p.stop())
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

// load sends bodies to one path.
func (t *tracker) load(ctx context.Context, path string, connections int, bodies [][]byte) (loadResult, error) {
	return onlineLoad{url: t.url + "/api/2.0/mlflow/" + path, connections: connections, bodies: bodies}.run(ctx, false)
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

func trackingLog(ctx context.Context, b *bench) error {
	n := pick(b, 50, 25_000)
	w := workload{name: "log-metric, 8 clients", unit: "req/s", goal: atLeast(50)}
	var slowest []float64
	err := b.withTrackers(ctx, w, 0, func(ours, theirs *tracker) error {
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
	if err == nil && len(slowest) > 0 {
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

func trackingBatch(ctx context.Context, b *bench) error {
	for _, keys := range []int{10, 1000} {
		w := workload{name: fmt.Sprintf("log-batch of 1,000: %d keys", keys), unit: "metrics/s", goal: atLeast(60)}
		err := b.withTrackers(ctx, w, 0, func(ours, theirs *tracker) error {
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

func trackingCreate(ctx context.Context, b *bench) error {
	w := workload{name: "runs/create, 8 clients", unit: "runs/s", goal: atLeast(40)}
	return b.withTrackers(ctx, w, 0, func(ours, theirs *tracker) error {
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

func trackingHistory(ctx context.Context, b *bench) error {
	n := pick(b, 1000, 25_000)
	w := workload{name: fmt.Sprintf("history of %s points", count(n)), unit: "ms", goal: atLeast(30)}
	return b.withTrackers(ctx, w, 0, func(ours, theirs *tracker) error {
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

// trackedSearch is a search with 100 results at most.
type trackedSearch struct {
	name   string
	filter string
	order  []string
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
	n := pick(b, 200, 100_000)
	s, err := b.startServer(ctx) // of its own, whose memory is that of these runs
	if err != nil {
		return err
	}
	ours := &tracker{name: "Driftline", url: s.url, share: 1}
	err = b.searchRuns(ctx, s, ours, n)
	return errors.Join(err, s.stop())
}

func (b *bench) searchRuns(ctx context.Context, s *server, ours *tracker, n int) error {
	start := time.Now()
	if err := ours.fill(ctx, n); err != nil {
		return err
	}
	b.progress("%s runs were made and logged in %.1f s", count(n), time.Since(start).Seconds())
	if err := s.restart(ctx); err != nil {
		return err
	}
	ours.url = s.url
	for _, store := range trackingStores {
		w := workload{name: fmt.Sprintf("searches of %s runs", count(n))}
		err := b.withMLflow(ctx, w, store, n, func(theirs *tracker) error {
			for _, q := range trackedSearches {
				w := workload{name: fmt.Sprintf("search of %s runs, %s", count(n), q.name), unit: "ms"}
				if err := b.compare(ctx, w, ours.search(q), theirs.search(q)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, q := range trackedSearches {
		if err := b.within(ctx, workload{name: fmt.Sprintf("search of %s runs, %s", count(n), q.name), unit: "ms"}, ours.search(q), mostSearch); err != nil {
			return err
		}
	}
	memory := workload{name: fmt.Sprintf("server memory with %s runs", count(n)), unit: "MB", pairs: 1}
	b.keepLimit(memory, []float64{float64(s.usage().peakMemory) / 1e6}, 200)
	return nil
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
