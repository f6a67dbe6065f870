package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// onlineParts measure reads of the newest values. Server and clients share the machine.
var onlineParts = []part{
	{name: "requests", does: "HTTP reads of one and of 100 entities, beside Feast", run: onlineSuite},
	{name: "paced", does: "latency over HTTP of 10 connections that do not fill the machine", run: onlinePaced},
	{name: "feastgo", does: "the same reads beside Feast's Go server, where it was built", run: onlineFeastGo},
	{name: "floor", does: "the same latency of a server that looks nothing up", run: onlineFloor},
	{name: "saturation", does: "the most requests/s over HTTP and one Flight stream, beside redis-benchmark", run: onlineSaturation},
	{name: "mixed", does: "latency of 5k reads/s beside 5k durable pushes/s", run: onlineMixed},
	{name: "windows", does: "aggregates over 7 days with a million events in them, beside DuckDB over the rows", run: compareWindows},
	{name: "large", does: "10M entities × 50 features beside 1M: latency, disk, and opening after a kill", big: true, run: onlineLarge},
}

// Goals of the issue "Serving", for one entity × 50 features unless they say otherwise.
const (
	pacedConnections = 10
	httpRate         = 25_000 // requests/s
	flightRate       = 15_000 // requests/s over one stream
	redisTimes       = 3      // as slow as redis-benchmark at most
	mixedRate        = 5_000  // reads/s, and pushes/s
	mixedP99         = 3      // ms
)

// servedOnline returns the shared server, filled once.
func (b *bench) servedOnline(ctx context.Context) (s *server, entities int, err error) {
	entities = pick(b, 500, 10_000)
	if s, err = b.shared(ctx); err != nil {
		return nil, 0, err
	}
	if _, ok := s.filled["online"]; ok {
		return s, entities, nil
	}
	if err := fillOnline(ctx, s, onlineRows(entities)); err != nil {
		return nil, 0, err
	}
	s.filled["online"] = memoryPeak{}
	_, err = s.settle(ctx, string(onlineView(0)))
	return s, entities, err
}

// onlinePaced sends a few hundred requests a second, which leaves most of the machine idle.
func onlinePaced(ctx context.Context, b *bench) error {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		onlineWorkload
		rate  int     // requests/s
		limit float64 // of the p99, in ms
	}{
		{onlineWorkload{entities: 1, features: 50, requests: pick(b, 50, 3000)}, 500, 1},
		{onlineWorkload{entities: 100, features: 50, requests: pick(b, 20, 500)}, 50, 8},
		{onlineWorkload{entities: 1, features: 250, requests: pick(b, 20, 1500)}, 250, 1.5},
	} {
		load := c.load(s.url, entities, byFeatures)
		load.connections, load.every = pacedConnections, time.Second/time.Duration(c.rate)
		var p50, p99 []float64
		for range b.pairs() {
			result, err := load.run(ctx, false)
			if err != nil {
				return err
			}
			p50, p99 = append(p50, result.percentile(50)), append(p99, result.percentile(99))
		}
		b.progress("%s at %d requests/s: p50 %.3f ms", c.name(), c.rate, median(p50))
		b.keepLimit(workload{name: fmt.Sprintf("%s, %d/s paced, p99", c.name(), c.rate), unit: "ms"}, p99, c.limit)
	}
	return nil
}

// onlineSaturation has no pauses.
func onlineSaturation(ctx context.Context, b *bench) error {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	w := onlineWorkload{entities: 1, features: 50, requests: pick(b, 500, 100_000)}
	overHTTP := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		cpu, started := s.usage().cpu, time.Now()
		load := w.load(s.url, entities, byFeatures)
		load.connections = pacedConnections
		_, err := load.runPlain(ctx)
		elapsed := time.Since(started).Seconds()
		b.progress("%d requests over HTTP: %.0f µs of the server's CPU each", w.requests,
			float64((s.usage().cpu-cpu).Microseconds())/float64(w.requests))
		return measured{value: float64(w.requests) / elapsed}, err
	}}
	name := fmt.Sprintf("saturation, %s", w.name())
	if err := b.within(ctx, workload{name: name, unit: "req/s"}, overHTTP, httpRate); err != nil {
		return err
	}
	overFlight := side{name: "Driftline", run: func(ctx context.Context, _ bool) (measured, error) {
		result, err := w.overOneStream(ctx, s, entities)
		return measured{value: result.rate()}, err
	}}
	if err := b.within(ctx, workload{name: name + ", one Flight stream", unit: "req/s"}, overFlight, flightRate); err != nil {
		return err
	}
	return b.besideRedis(ctx, workload{name: name, unit: "req/s", goal: atMost(redisTimes), uncompared: true}, overHTTP, entities, w)
}

// runPlain is [onlineLoad.run] by a client that does next to nothing, because it shares the
// cores with the server: it knows the bytes of its requests beforehand, and looks into
// answers no further than their length.
func (l onlineLoad) runPlain(ctx context.Context) (loadResult, error) {
	return l.plainly(ctx, func(_ int, c *plainConnection, request []byte) error { return c.ask(request) })
}

// plainly has each request asked over a connection that nobody else uses meanwhile.
func (l onlineLoad) plainly(ctx context.Context, ask func(i int, c *plainConnection, request []byte) error) (loadResult, error) {
	host, path, _ := strings.Cut(strings.TrimPrefix(l.url, "http://"), "/")
	requests := make([][]byte, len(l.bodies))
	for i, body := range l.bodies {
		requests[i] = fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			path, host, len(body), body)
	}
	connections := make(chan *plainConnection, l.connections)
	defer func() {
		close(connections)
		for c := range connections {
			_ = c.Close()
		}
	}()
	var dialer net.Dialer
	for range l.connections {
		conn, err := dialer.DialContext(ctx, "tcp", host)
		if err != nil {
			return loadResult{}, err
		}
		connections <- &plainConnection{conn, bufio.NewReaderSize(conn, 64<<10)}
	}
	runtime.GC() // and not while it measures: what a caller leaves lying in a run is little
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return l.measure(func(i int) error {
		c := <-connections
		defer func() { connections <- c }()
		return ask(i, c, requests[i])
	})
}

type plainConnection struct {
	net.Conn
	answers *bufio.Reader
}

// ask sends a request and reads past its answer.
func (c *plainConnection) ask(request []byte) error {
	length, err := c.head(request, func([]byte) {})
	if err == nil {
		_, err = c.answers.Discard(length)
	}
	return err
}

// whole sends a request and returns its answer, head and body.
func (c *plainConnection) whole(request []byte) (answer []byte, err error) {
	length, err := c.head(request, func(line []byte) { answer = append(answer, line...) })
	if err != nil {
		return nil, err
	}
	head := len(answer)
	answer = append(answer, make([]byte, length)...)
	_, err = io.ReadFull(c.answers, answer[head:])
	return answer, err
}

// head sends a request, reads the head of its answer line by line, and returns how long the body is. An answer other
// than 200 is an error, and read to its end.
func (c *plainConnection) head(request []byte, read func(line []byte)) (length int, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	status, err := c.answers.ReadSlice('\n')
	if err != nil {
		return 0, errors.Join(err, fmt.Errorf("the server answers %q", status))
	}
	failed := ""
	if !bytes.Contains(status, []byte(" 200 ")) {
		failed = string(status)
	}
	read(status)
	for {
		line, err := c.answers.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		read(line)
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if failed == "" {
		return length, nil
	}
	body := make([]byte, length)
	_, err = io.ReadFull(c.answers, body)
	return 0, errors.Join(err, fmt.Errorf("the server answers %q: %.300s", failed, body))
}

// overOneStream sends requests through one Flight stream, as many callers at a time as
// there are connections elsewhere.
func (w onlineWorkload) overOneStream(ctx context.Context, s *server, entities int) (result loadResult, err error) {
	schema := arrow.NewSchema([]arrow.Field{{Name: entityKey, Type: arrow.PrimitiveTypes.Int64}}, nil)
	batches := w.entityBatches(schema, entities)
	defer driftline.ReleaseAll(batches)
	request := driftline.OnlineRequest{FeatureSet: driftline.FeatureSet{Features: byFeatures(w.features).Features}}
	stream, err := s.client.OpenOnline(ctx, request, schema, client.ValuesOnly())
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	return pushAll(ctx, pacedConnections, batches, func(_ context.Context, batch arrow.RecordBatch) error {
		answer, err := stream.Read(batch)
		if err == nil {
			answer.Release()
		}
		return err
	})
}

// besideRedis compares with what redis-benchmark says of HMGET of as many values as a
// request has, each a number of six digits.
func (b *bench) besideRedis(ctx context.Context, w workload, ours side, entities int, asked onlineWorkload) error {
	for _, program := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			b.skip(w, "redis-benchmark HMGET", program+" is not installed (apt-get install redis-server)")
			return nil
		}
	}
	port, _, err := freePorts()
	if err != nil {
		return err
	}
	process := command(ctx, "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	process.Dir = b.dir
	if err := process.Start(); err != nil {
		return err
	}
	defer func() {
		killGroup(process)
		_ = process.Wait()
	}()
	if err := fillRedis(ctx, port, entities, asked.features); err != nil {
		return err
	}
	words := []string{"-p", strconv.Itoa(port), "-c", strconv.Itoa(pacedConnections), "-n", strconv.Itoa(asked.requests),
		"-r", strconv.Itoa(entities), "-q", "HMGET", "entity:__rand_int__"}
	for i := range asked.features {
		words = append(words, onlineFeature(i))
	}
	return b.compare(ctx, w, ours, side{name: "redis-benchmark HMGET", run: func(ctx context.Context, _ bool) (measured, error) {
		out, err := command(ctx, "redis-benchmark", words...).Output()
		if err != nil {
			return measured{}, fmt.Errorf("redis-benchmark: %w", err)
		}
		rate, err := benchmarkedRate(out)
		return measured{value: rate}, err
	}})
}

var perSecond = regexp.MustCompile(`([0-9.]+) requests per second`)

func benchmarkedRate(out []byte) (float64, error) {
	found := perSecond.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return 0, fmt.Errorf("redis-benchmark says %.200q", out)
	}
	return strconv.ParseFloat(string(found[len(found)-1][1]), 64)
}

// fillRedis makes a hash per entity, under the keys that redis-benchmark makes up.
func fillRedis(ctx context.Context, port, entities, features int) error {
	c, err := dialRedis(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer c.Close()
	for id := range entities {
		words := []string{"HSET", fmt.Sprintf("entity:%012d", id)}
		for i := range features {
			words = append(words, onlineFeature(i), strconv.Itoa(100_000+(id*features+i)%900_000))
		}
		if _, err := c.command(words...); err != nil {
			return err
		}
	}
	return nil
}

// onlineMixed reads while rows are written to the views that are read.
func onlineMixed(ctx context.Context, b *bench) error {
	s, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	w := onlineWorkload{entities: 1, features: 50, requests: pick(b, 100, 25_000)}
	load := w.load(s.url, entities, byFeatures)
	load.connections, load.every = pacedConnections, time.Second/mixedRate
	var p99, pushed []float64
	server, client := s.usage().cpu, processUsage(os.Getpid()).cpu
	for range pick(b, 1, 3) {
		during, stop := context.WithCancel(ctx)
		rates := make(chan float64, 1)
		go func() { rates <- s.pushPaced(during, entities, mixedRate) }()
		result, err := load.runPlain(ctx)
		stop()
		pushed = append(pushed, <-rates)
		if err != nil {
			return err
		}
		p99 = append(p99, result.percentile(99))
	}
	b.progress("mixed: %.0f pushes/s were durable; %.1f s of CPU by the server, %.1f s by the client", median(pushed),
		(s.usage().cpu - server).Seconds(), (processUsage(os.Getpid()).cpu - client).Seconds())
	b.keepLimit(workload{name: fmt.Sprintf("%s, %d/s beside %d pushes/s, p99", w.name(), mixedRate, mixedRate), unit: "ms"}, p99, mixedP99)
	return nil
}

// pushPaced pushes rows of one entity each, at a rate, until ctx ends. It returns how
// many of them became durable in a second.
func (s *server) pushPaced(ctx context.Context, entities, rate int) float64 {
	const writers = 32
	rows, _, err := onlineRows(entities).batches().Collect()
	defer driftline.ReleaseAll(rows)
	if err != nil {
		return 0
	}
	var columns []int
	for i := range 2 + onlineFeaturesPerView {
		columns = append(columns, i)
	}
	var single []arrow.RecordBatch
	for batch := range selectColumns(driftline.BatchesOf(rows[0].Schema(), rows...), columns).All {
		single = append(single, oneRowEach([]arrow.RecordBatch{batch})...)
	}
	defer driftline.ReleaseAll(single)
	started, done := time.Now(), 0
	pushers := make(chan *client.Pusher, writers)
	for range writers {
		pusher, err := s.client.OpenPusher(context.WithoutCancel(ctx), onlineView(0), single[0].Schema())
		if err != nil {
			return 0
		}
		defer func() { _ = pusher.Close() }()
		pushers <- pusher
	}
	for ctx.Err() == nil {
		result, err := paced(ctx, writers, single, time.Second/time.Duration(rate), func(ctx context.Context, row arrow.RecordBatch) error {
			pusher := <-pushers
			defer func() { pushers <- pusher }()
			_, err := pusher.Push(ctx, "", row)
			return err
		})
		done += result
		if err != nil && !errors.Is(err, io.EOF) {
			break
		}
	}
	return float64(done) / time.Since(started).Seconds()
}

// paced calls do for each row, one every so often, and returns how many calls succeeded
// before ctx ended.
func paced(ctx context.Context, goroutines int, rows []arrow.RecordBatch, every time.Duration, do func(context.Context, arrow.RecordBatch) error) (done int, err error) {
	started := time.Now()
	finished := make([]bool, len(rows))
	err = inParallel(goroutines, len(rows), func(i int) error {
		time.Sleep(time.Until(started.Add(time.Duration(i) * every)))
		if ctx.Err() != nil {
			return io.EOF
		}
		err := do(context.WithoutCancel(ctx), rows[i])
		finished[i] = err == nil
		return err
	})
	for _, f := range finished {
		if f {
			done++
		}
	}
	return done, err
}
