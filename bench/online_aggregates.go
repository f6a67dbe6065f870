package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/client"
)

// A window is read for one account at a time, at one of some times after the last event.
const (
	windowDays  = 7
	windowTimes = 8
	windowGoal  = 2.0 // ms, 99 % of reads

	accountKey = "account"
	hot        = "items > 25"
)

// windowFeatures are twenty aggregates whose answers DuckDB gives bit for bit: amounts are
// quarters, so that their sums are exact in any order. Each is a function, a column and a
// filter, and what it is in SQL.
var windowFeatures = []struct{ function, column, filter, sql string }{
	{"count", "amount", "", "count(amount)"}, {"sum", "amount", "", "sum(amount)"}, {"mean", "amount", "", "avg(amount)"},
	{"min", "amount", "", "min(amount)"}, {"max", "amount", "", "max(amount)"},
	{"first", "amount", "", "arg_min(amount, event)"}, {"last", "amount", "", "arg_max(amount, event)"},
	{"count", "items", "", "count(items)"}, {"sum", "items", "", "sum(items)"}, {"mean", "items", "", "avg(items)"},
	{"min", "items", "", "min(items)"}, {"max", "items", "", "max(items)"},
	{"first", "items", "", "arg_min(items, event)"}, {"last", "items", "", "arg_max(items, event)"},
	{"count", "amount", hot, "count(amount)"}, {"sum", "amount", hot, "sum(amount)"}, {"mean", "amount", hot, "avg(amount)"},
	{"min", "amount", hot, "min(amount)"}, {"max", "amount", hot, "max(amount)"}, {"sum", "items", hot, "sum(items)"},
}

// windowView has the features over 7 days.
func windowView(name driftline.ViewName) driftline.FeatureView {
	view := driftline.FeatureView{
		Name: name, Entities: []driftline.EntityName{accountKey},
		Features: []driftline.Field{{Name: "amount", Type: driftline.Float64}, {Name: "items", Type: driftline.Int64}},
	}
	for i, f := range windowFeatures {
		view.Aggregations = append(view.Aggregations, driftline.Aggregation{
			Name: fmt.Sprintf("f%d", i), Column: f.column, Function: driftline.Function(f.function), Filter: f.filter,
			Windows: []driftline.Duration{driftline.Duration(windowDays * 24 * time.Hour)},
		})
	}
	return view
}

// windowName is the column of feature i.
func windowName(i int) string { return fmt.Sprintf("f%d_%dd", i, windowDays) }

// windowColumns is the features in SQL.
func windowColumns() string {
	columns := make([]string, len(windowFeatures))
	for i, f := range windowFeatures {
		filter := ""
		if f.filter != "" {
			filter = " FILTER (" + f.filter + ")"
		}
		sql := f.sql + filter
		if f.sql == "sum(items)" { // a HUGEINT in DuckDB
			sql = "(" + sql + ")::BIGINT"
		}
		columns[i] = sql + " AS " + windowName(i)
	}
	return strings.Join(columns, ", ")
}

// windowEvents are events of some accounts, spread over the 7 days before end, of which no
// two are at the same time.
func windowEvents(events, accounts int, end time.Time) generated {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: accountKey, Type: arrow.PrimitiveTypes.Int64}, {Name: eventTime, Type: driftline.Time},
		{Name: "amount", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: "items", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	step := windowDays * 24 * time.Hour.Microseconds() / int64(events)
	return generated{schema: schema, rows: events, fill: func(b *array.RecordBuilder, random *rand.Rand, from, to int) {
		for row := from; row < to; row++ {
			b.Field(0).(*array.Int64Builder).UnsafeAppend(random.Int64N(int64(accounts)))
			b.Field(1).(*array.TimestampBuilder).UnsafeAppend(arrow.Timestamp(end.UnixMicro() - int64(events-row)*step + random.Int64N(step)))
			b.Field(2).(*array.Float64Builder).UnsafeAppend(float64(random.Int64N(40_000)) / 4)
			b.Field(3).(*array.Int64Builder).UnsafeAppend(random.Int64N(50))
		}
	}}
}

// windowQuestion is an account and a time in microseconds.
type windowQuestion [2]int64

// compareWindows reads the aggregates of windows that have a million events, of one
// account and of many, and compares with DuckDB, which computes each from the rows.
func compareWindows(ctx context.Context, b *bench) error {
	s, err := b.shared(ctx)
	if err != nil {
		return err
	}
	events := pick(b, 20_000, 1_000_000)
	for _, accounts := range []int{1, pick(b, 200, 10_000)} {
		if err := b.compareWindowsOf(ctx, s, events, accounts); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compareWindowsOf(ctx context.Context, s *server, events, accounts int) (err error) {
	end := time.Now().Truncate(time.Second)
	rows := windowEvents(events, accounts, end)
	file := filepath.Join(b.dir, fmt.Sprintf("windows-%d.parquet", accounts))
	if err := writeParquet(file, rows.batches()); err != nil {
		return err
	}
	view := windowView(driftline.ViewName(fmt.Sprintf("payments_%d", accounts)))
	entity := driftline.Entity{Name: accountKey, JoinKeys: []driftline.Field{{Name: accountKey, Type: driftline.Int64}}}
	if _, err := s.client.Apply(ctx, driftline.Definitions{Entities: []driftline.Entity{entity}, FeatureViews: []driftline.FeatureView{view}}); err != nil {
		return err
	}
	if _, err := s.client.Ingest(ctx, view.Name, "", rows.batches()); err != nil {
		return err
	}
	asked := make([]windowQuestion, 500)
	if accounts == 1 {
		asked = asked[:100] // DuckDB reads all rows for each
	}
	random := rand.New(rand.NewPCG(uint64(accounts), 7))
	for i := range asked {
		asked[i] = windowQuestion{random.Int64N(int64(accounts)), end.Add(time.Duration(i%windowTimes) * 71 * time.Second).UnixMicro()}
	}
	reader, err := openWindows(ctx, s.client, view.Name, asked)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.close()) }()
	for _, percentile := range []int{50, 99} {
		w := workload{name: fmt.Sprintf("20 aggregates over 7 d, %d events, accounts: %d, p%d", events, accounts, percentile), unit: "ms", pairs: 3}
		ours := side{"ours", func(ctx context.Context, check bool) (measured, error) { return reader.run(percentile, check) }}
		err = b.comparePeer(ctx, w, ours, peerSpec{name: "DuckDB over the rows", module: "windows_duckdb", config: map[string]any{
			"rows": file, "asked": asked, "percentile": percentile, "columns": windowColumns(),
			"window": windowDays * 24 * time.Hour.Microseconds(),
		}})
		if err == nil && percentile == 99 {
			err = b.within(ctx, w, ours, windowGoal)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// windowReader asks for one account at a time, over one stream for each time.
type windowReader struct {
	asked   []windowQuestion
	streams map[int64]*client.OnlineStream
}

func openWindows(ctx context.Context, c *client.Client, view driftline.ViewName, asked []windowQuestion) (*windowReader, error) {
	r := &windowReader{asked: asked, streams: map[int64]*client.OnlineStream{}}
	projection := driftline.Projection{View: view}
	for i := range windowFeatures {
		projection.Features = append(projection.Features, windowName(i))
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: accountKey, Type: arrow.PrimitiveTypes.Int64}}, nil)
	for _, q := range asked {
		if r.streams[q[1]] != nil {
			continue
		}
		request := driftline.OnlineRequest{At: time.UnixMicro(q[1]), FeatureSet: driftline.FeatureSet{Projections: []driftline.Projection{projection}}}
		stream, err := c.OpenOnline(ctx, request, schema, client.ValuesOnly())
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.streams[q[1]] = stream
	}
	return r, nil
}

func (r *windowReader) close() error {
	var err error
	for _, stream := range r.streams {
		err = errors.Join(err, stream.Close())
	}
	return err
}

// run asks every question once.
func (r *windowReader) run(percentile int, check bool) (measured, error) {
	result := loadResult{}
	var answers []arrow.RecordBatch
	defer func() { driftline.ReleaseAll(answers) }()
	for _, q := range r.asked {
		entity := oneAccount(q[0])
		started := time.Now()
		answer, err := r.streams[q[1]].Read(entity)
		result.latencies = append(result.latencies, time.Since(started))
		entity.Release()
		if err != nil {
			return measured{}, err
		}
		if !check {
			answer.Release()
			continue
		}
		answers = append(answers, answer.Batch)
	}
	slices.Sort(result.latencies)
	m := measured{value: result.percentile(percentile)}
	if !check {
		return m, nil
	}
	columns := make([]int, len(windowFeatures)) // without the key
	for i := range columns {
		columns[i] = 1 + i
	}
	var err error
	m.answer, err = checksum(selectColumns(driftline.BatchesOf(answers[0].Schema(), answers...), columns))
	return m, err
}

func oneAccount(account int64) arrow.RecordBatch {
	schema := arrow.NewSchema([]arrow.Field{{Name: accountKey, Type: arrow.PrimitiveTypes.Int64}}, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	builder.Field(0).(*array.Int64Builder).Append(account)
	return builder.NewRecordBatch()
}
