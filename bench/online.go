package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/driftline/driftline"
)

// The shape of feast-benchmarks: 250 int64 features in 25 views of one entity.
const (
	onlineFeatures        = 250
	onlineFeaturesPerView = 10
)

// onlineWorkload is one size of request. Features are those of the first views.
type onlineWorkload struct {
	entities, features int
	requests           int // per run
	pace               int // requests/s at which latencies are compared: Feast can follow
}

func (w onlineWorkload) name() string {
	if w.entities == 1 {
		return fmt.Sprintf("1 entity × %d features", w.features)
	}
	return fmt.Sprintf("%d entities × %d features", w.entities, w.features)
}

func onlineWorkloads(b *bench) []onlineWorkload {
	return []onlineWorkload{
		{1, 50, pick(b, 200, 1000), 100},
		{100, 50, pick(b, 24, 200), 10},
		{1, 250, pick(b, 60, 400), 50},
	}
}

// onlineSuite asks two HTTP servers, by the same client, for the same JSON: ours and
// Feast's own, each filled with the same rows. The server and its client share the
// machine, so a latency here is one of a machine that is busy; the client is the plain one
// (see [onlineLoad.runPlain]), because what a client of its own weight takes is added to both.
func onlineSuite(ctx context.Context, b *bench) error {
	ours, entities, err := b.servedOnline(ctx)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "online.parquet")
	if err := writeParquet(file, onlineRows(entities).batches()); err != nil {
		return err
	}
	for _, store := range []string{"sqlite", "redis"} {
		if err := b.compareFeast(ctx, ours, store, file, entities); err != nil {
			return err
		}
	}
	return b.measureOnlineFlight(ctx, ours, entities)
}

// compareFeast measures all workloads against Feast over one of its stores.
func (b *bench) compareFeast(ctx context.Context, ours *server, store, file string, entities int) (err error) {
	name := map[string]string{"sqlite": "Feast server, SQLite", "redis": "Feast server, Redis"}[store]
	if store == "redis" {
		if _, err := exec.LookPath("redis-server"); err != nil {
			b.skip(workload{name: "all"}, name, "redis-server is not installed")
			return nil
		}
		b.machine.Peers["redis"] = redisVersion(ctx)
	}
	peer, url, err := b.startFeast(ctx, name, store, file)
	if missing := (*missingModule)(nil); errors.As(err, &missing) {
		b.skip(workload{name: "all"}, name, missing.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	for _, w := range onlineWorkloads(b) {
		if err := b.compareLoad(ctx, w, feastGoal(store, w), w.load(ours.url, entities, byFeatures), name, w.load(url, entities, byFeatures)); err != nil {
			return err
		}
		if store != "redis" {
			continue
		}
		if err := b.compareLoad(ctx, w, nil, w.load(ours.url, entities, byService), name+", precomputed", w.load(url, entities, byService)); err != nil {
			return err
		}
	}
	return nil
}

// feastGoal is how many times the median latency of Feast's Python server is to be ours.
func feastGoal(store string, w onlineWorkload) *float64 {
	if store == "redis" && w.features == 50 {
		return atLeast(15)
	}
	return nil
}

// startFeast fills a Feast server; the caller stops it. It gets two workers per core:
// with one it was slower, with three no faster.
func (b *bench) startFeast(ctx context.Context, name, store, file string) (p *peer, url string, err error) {
	port, redisPort, err := freePorts()
	if err != nil {
		return nil, "", err
	}
	p, err = b.startPeer(ctx, peerSpec{name: name, module: "feast_online", config: map[string]any{
		"rows": file, "folder": filepath.Join(b.dir, "feast-"+store), "store": store,
		"port": port, "redis_port": redisPort, "workers": 2 * runtime.NumCPU(), "services": onlineServices, "go_server": "",
	}})
	return p, fmt.Sprintf("http://127.0.0.1:%d", port), err
}

// redisVersion is "" if the server does not say it ("Redis server v=7.0.15 sha=…").
func redisVersion(ctx context.Context) string {
	out, _ := exec.CommandContext(ctx, "redis-server", "--version").Output()
	_, version, _ := strings.Cut(string(out), "v=")
	return firstField(version)
}

// freePorts returns two ports that nobody listens on.
func freePorts() (int, int, error) {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close() // both at the end, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

// onlineServices are the sizes, in features, of the services features_50, features_250.
var onlineServices = []int{50, 250}

// onlineRows makes one row per entity.
func onlineRows(entities int) generated {
	fields := []arrow.Field{{Name: entityKey, Type: arrow.PrimitiveTypes.Int64}, {Name: eventTime, Type: driftline.Time}}
	for i := range onlineFeatures {
		fields = append(fields, arrow.Field{Name: onlineFeature(i), Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	}
	return generated{schema: arrow.NewSchema(fields, nil), rows: entities, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			b.Field(0).(*array.Int64Builder).UnsafeAppend(int64(row))
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(yearStart))
			for i := range onlineFeatures {
				b.Field(2 + i).(*array.Int64Builder).UnsafeAppend(random.Int64N(1_000_000))
			}
		}
	}}
}

func onlineFeature(i int) string { return fmt.Sprintf("feature_%d", i) }

func onlineView(i int) driftline.ViewName {
	return driftline.ViewName(fmt.Sprintf("feature_view_%d", i))
}

// onlineDefinitions are what peers/feast_online.py declares, in our nouns.
func onlineDefinitions() driftline.Definitions {
	var views []driftline.FeatureView
	for first := 0; first < onlineFeatures; first += onlineFeaturesPerView {
		view := driftline.FeatureView{Name: onlineView(first / onlineFeaturesPerView), Entities: []driftline.EntityName{entityKey}}
		for i := range onlineFeaturesPerView {
			view.Features = append(view.Features, driftline.Field{Name: onlineFeature(first + i), Type: driftline.Int64})
		}
		views = append(views, view)
	}
	defs := definitions(views...)
	for _, size := range onlineServices {
		service := driftline.FeatureService{Name: driftline.ServiceName(fmt.Sprintf("features_%d", size))}
		for i := range size / onlineFeaturesPerView {
			service.Projections = append(service.Projections, driftline.Projection{View: onlineView(i)})
		}
		defs.FeatureServices = append(defs.FeatureServices, service)
	}
	return defs
}

func fillOnline(ctx context.Context, s *server, rows generated) error {
	if _, err := s.client.Apply(ctx, onlineDefinitions()); err != nil {
		return err
	}
	for view := range onlineFeatures / onlineFeaturesPerView {
		columns := []int{0, 1}
		for i := range onlineFeaturesPerView {
			columns = append(columns, 2+view*onlineFeaturesPerView+i)
		}
		if _, err := s.client.Ingest(ctx, onlineView(view), "", selectColumns(rows.batches(), columns)); err != nil {
			return err
		}
	}
	return nil
}

func selectColumns(rows driftline.Batches, columns []int) driftline.Batches {
	fields := make([]arrow.Field, len(columns))
	for i, column := range columns {
		fields[i] = rows.Schema.Field(column)
	}
	schema := arrow.NewSchema(fields, nil)
	return driftline.Batches{Schema: schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err != nil {
				yield(nil, err)
				return
			}
			chosen := make([]arrow.Array, len(columns))
			for i, column := range columns {
				chosen[i] = batch.Column(column)
			}
			part := array.NewRecordBatch(schema, chosen, batch.NumRows())
			more := yield(part, nil)
			part.Release()
			if !more {
				return
			}
		}
	}}
}

// onlineQuestion is a body of POST /get-online-features.
type onlineQuestion struct {
	Entities         map[string][]int64 `json:"entities"`
	Features         []string           `json:"features,omitempty"`
	FeatureService   string             `json:"feature_service,omitempty"`
	FullFeatureNames bool               `json:"full_feature_names,omitempty"`
}

// byFeatures lists every feature, as feast-benchmarks does.
func byFeatures(features int) (q onlineQuestion) {
	for i := range features {
		q.Features = append(q.Features, fmt.Sprintf("%s:%s", onlineView(i/onlineFeaturesPerView), onlineFeature(i)))
	}
	return q
}

// byService names a service. Feast finds precomputed values by full names only.
func byService(features int) onlineQuestion {
	return onlineQuestion{FeatureService: fmt.Sprintf("features_%d", features), FullFeatureNames: true}
}

// load makes the requests of a workload: each of other entities, the same for every server.
func (w onlineWorkload) load(url string, entities int, ask func(features int) onlineQuestion) onlineLoad {
	random := rand.New(rand.NewPCG(uint64(w.entities), uint64(w.features)))
	l := onlineLoad{url: url + "/get-online-features", connections: onlineConnections}
	question := ask(w.features)
	for range w.requests {
		question.Entities = map[string][]int64{entityKey: randomEntities(random, w.entities, entities)}
		body, err := json.Marshal(question)
		if err != nil {
			panic(err) // strings and integers
		}
		l.bodies = append(l.bodies, body)
	}
	return l
}

// randomEntities are n different ones.
func randomEntities(random *rand.Rand, n, of int) []int64 {
	chosen := make([]int64, 0, n)
	for len(chosen) < n {
		if id := random.Int64N(int64(of)); !slices.Contains(chosen, id) {
			chosen = append(chosen, id)
		}
	}
	return chosen
}
