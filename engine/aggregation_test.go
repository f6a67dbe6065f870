package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/testenv"
)

// departures is a view of events with an aggregation of each shape.
func departures() driftline.Definitions {
	hours := func(n ...time.Duration) (windows []driftline.Duration) {
		for _, h := range n {
			windows = append(windows, driftline.Duration(h*time.Hour))
		}
		return windows
	}
	return driftline.Definitions{
		Entities: []driftline.Entity{{Name: "carrier", JoinKeys: []driftline.Field{{Name: "carrier", Type: driftline.String}}}},
		FeatureViews: []driftline.FeatureView{{
			Name: "departures", Entities: []driftline.EntityName{"carrier"}, CreatedTimestamp: "created", EventID: "flight",
			TTL: driftline.Duration(time.Hour), // says nothing of windows
			Features: []driftline.Field{
				{Name: "flight", Type: driftline.Int64}, {Name: "delay", Type: driftline.Float64}, {Name: "dest", Type: driftline.String},
			},
			Aggregations: []driftline.Aggregation{
				{Column: "delay", Function: driftline.Mean, Windows: hours(1, 24)},
				{Function: driftline.Count, Name: "late", Filter: "delay > 15", Windows: hours(24)},
				{Column: "dest", Function: driftline.TopK, N: 2, Windows: hours(24)},
				{Column: "delay", Function: driftline.LastN, N: 3, Windows: hours(24)},
				{Column: "delay", Function: driftline.Sum, By: "dest", Name: "by_dest", Windows: hours(24)},
				{Column: "flight", Function: driftline.LastN, N: 2, By: "dest", Name: "flights", Windows: hours(24)},
			},
		}},
		FeatureServices: []driftline.FeatureService{{Name: "delays", Projections: []driftline.Projection{{View: "departures", Features: []string{
			"delay_mean_1h", "delay_mean_1d", "late_1d", "dest_top_k_1d", "delay_last_n_1d", "by_dest_1d", "flights_1d",
		}}}}},
	}
}

func departureRows(env *testenv.Env, small int64) {
	env.Engine.SetSmallRows(small)
	env.Ingest("departures", `[
		{"carrier": "UA", "event_timestamp": "2013-01-01T08:00:00Z", "created": "2013-01-01T08:05:00Z", "flight": 1, "delay": 10.5, "dest": "LAX"},
		{"carrier": "UA", "event_timestamp": "2013-01-01T08:00:00Z", "created": "2013-01-01T08:05:00Z", "flight": 2, "delay": 20, "dest": "SFO"},
		{"carrier": "UA", "event_timestamp": "2013-01-01T09:30:00Z", "created": "2013-01-01T09:35:00Z", "flight": 3, "delay": 30, "dest": "LAX"},
		{"carrier": "AA", "event_timestamp": "2013-01-01T09:00:00Z", "created": "2013-01-01T09:05:00Z", "flight": 4, "delay": null, "dest": "MIA"}]`)
	env.Ingest("departures", `[
		{"carrier": "UA", "event_timestamp": "2013-01-01T08:00:00Z", "created": "2013-01-01T12:00:00Z", "flight": 2, "delay": 40, "dest": "SFO"}]`)
}

var departureSpine = arrow.NewSchema([]arrow.Field{
	{Name: "carrier", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "event_timestamp", Type: driftline.Time, Nullable: true},
}, nil)

const departureTimes = `[
	{"carrier": "UA", "event_timestamp": "2013-01-01T09:00:00Z"},
	{"carrier": "UA", "event_timestamp": "2013-01-01T09:30:00Z"},
	{"carrier": "AA", "event_timestamp": "2013-01-01T10:00:00Z"},
	{"carrier": "DL", "event_timestamp": "2013-01-01T10:00:00Z"},
	{"carrier": null, "event_timestamp": "2013-01-01T10:00:00Z"}]`

const aggregatedDepartures = `UA 2013-01-01T09:00:00Z (null) 25.25 1 ["LAX","SFO"] [10.5,40] [{"key":"LAX","value":10.5},{"key":"SFO","value":40}] [{"key":"LAX","value":[1]},{"key":"SFO","value":[2]}] 
UA 2013-01-01T09:30:00Z 30 26.833333333333332 2 ["LAX","SFO"] [10.5,40,30] [{"key":"LAX","value":40.5},{"key":"SFO","value":40}] [{"key":"LAX","value":[1,3]},{"key":"SFO","value":[2]}] 
AA 2013-01-01T10:00:00Z (null) (null) 0 ["MIA"] (null) (null) [{"key":"MIA","value":[4]}] 
DL 2013-01-01T10:00:00Z (null) (null) 0 (null) (null) (null) (null) 
(null) 2013-01-01T10:00:00Z (null) (null) (null) (null) (null) (null) (null) 
`

// TestAggregationsInEveryStore reads the same rows from the log, from files and from merged
// files, saved as a dataset, made again, and by SQL.
func TestAggregationsInEveryStore(t *testing.T) {
	for _, where := range []struct {
		name    string
		small   int64
		compact bool
	}{{"log", 100, false}, {"files", 0, false}, {"merged files", 0, true}} {
		t.Run(where.name, func(t *testing.T) {
			env := testenv.New(t)
			env.Apply(departures())
			departureRows(env, where.small)
			if where.compact {
				if _, err := env.Engine.Compact(context.Background(), "features.departures"); err != nil {
					t.Fatal(err)
				}
			}
			readAggregations(t, env)
		})
	}
}

func readAggregations(t *testing.T, env *testenv.Env) {
	ctx := context.Background()
	var req driftline.HistoricalRequest
	req.Service = "delays"
	set, err := env.Engine.Historical(ctx, req, env.Rows(departureSpine, departureTimes))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "joined", text(t, set.Batches), aggregatedDepartures)
	unknown := ""
	for _, c := range set.Report().Columns {
		unknown += fmt.Sprintf("%s %s: %d nulls, %d not yet known\n", c.Column, c.Type, c.Nulls, c.NotYetKnown)
	}
	wantText(t, "the report", unknown, `delay_mean_1h float64: 4 nulls, 1 not yet known
delay_mean_1d float64: 3 nulls, 2 not yet known
late_1d int64: 1 nulls, 2 not yet known
dest_top_k_1d list<item: utf8, nullable>: 2 nulls, 2 not yet known
delay_last_n_1d list<item: float64, nullable>: 3 nulls, 2 not yet known
by_dest_1d map<utf8, float64, items_nullable>: 3 nulls, 2 not yet known
flights_1d map<utf8, list<item: int64, nullable>, items_nullable>: 2 nulls, 2 not yet known
`)

	req.SaveAs = "aggregated"
	saved := save(t, env, req, env.Rows(departureSpine, departureTimes))
	rebuilds(t, env, saved)
	kept, err := env.Engine.ReadDataset(ctx, "aggregated", 1)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "the dataset", text(t, kept), aggregatedDepartures)
	if last := saved.Statistics[len(saved.Statistics)-1]; last.Column != "flights_1d" || last.Rows != 5 || last.Nulls != 2 {
		t.Errorf("the statistics of a map are %+v", last)
	}

	joined, err := env.Engine.SQL(ctx, `SELECT carrier, delay_mean_1d, late_1d, by_dest_1d['SFO'] AS sfo, len(dest_top_k_1d) AS n
		FROM point_in_time((SELECT carrier, event_timestamp FROM datasets.aggregated), feature_service => 'delays') ORDER BY carrier, event_timestamp`, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "point_in_time", text(t, joined), "AA (null) 0 (null) 1 \nDL (null) 0 (null) (null) \nUA 25.25 1 40 2 \nUA 26.833333333333332 2 40 2 \n(null) (null) (null) (null) (null) \n")
	stored, err := env.Engine.SQL(ctx, `SELECT carrier, by_dest_1d['SFO'] AS sfo, flights_1d['LAX'] AS lax FROM datasets.aggregated WHERE late_1d > 0 ORDER BY event_timestamp`, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "SQL over the dataset", text(t, stored), "UA 40 [1] \nUA 40 [1,3] \n")

	// As it was known then, the correction is not there.
	req = driftline.HistoricalRequest{KnownAt: true}
	req.Projections = []driftline.Projection{
		{View: "departures", Features: []string{"delay_last_n_1d", "flight"}},
		{View: "departures", Features: []string{"late_1d"}, Role: "before", Lag: driftline.Duration(30 * time.Minute)},
	}
	set, err = env.Engine.Historical(ctx, req, env.Rows(departureSpine, departureTimes))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "as known at the time", text(t, set.Batches), `UA 2013-01-01T09:00:00Z [10.5,20] 2 1 
UA 2013-01-01T09:30:00Z [10.5,20] (null) 1 
AA 2013-01-01T10:00:00Z (null) 4 0 
DL 2013-01-01T10:00:00Z (null) (null) 0 
(null) 2013-01-01T10:00:00Z (null) (null) (null) 
`)
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

// What upkeep makes in advance changes no answer, and a view is cared for once after each
// bulk write.
func TestWarmWindowsAreThoseOfTheRows(t *testing.T) {
	env := testenv.New(t)
	env.Clock.Set(time.Date(2013, 1, 1, 10, 0, 0, 0, time.UTC))
	env.Apply(departures())
	departureRows(env, 0) // in bulk
	for range 2 {
		if err := env.Engine.WarmWindows(context.Background()); err != nil {
			t.Fatal(err)
		}
		report, err := env.Engine.Check(context.Background(), driftline.CheckRequest{Views: []driftline.ViewName{"departures"}, Seed: 1})
		if err != nil || report.Differences() > 0 || report.Views[0].Values == 0 {
			t.Errorf("%+v, %v", report, err)
		}
	}
}

// The events of one entity are in memory while its windows are computed. That they fit is
// asked for, and who does not fit is refused and not the server killed.
func TestWindowsOfMoreEventsThanMemoryAreRefused(t *testing.T) {
	memoryBytes := int64(512 << 20)
	env := testenv.NewWith(t, func(o *engine.Options) { o.MemoryBytes = memoryBytes })
	defs := departures()
	env.Apply(defs)
	ingest := func(events int) {
		view, err := env.Engine.Registry().View("departures")
		if err != nil {
			t.Fatal(err)
		}
		schema := view.Schema()
		b := array.NewRecordBuilder(env.Mem, schema)
		defer b.Release()
		first := time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
		for i := range events {
			b.Field(0).(*array.StringBuilder).Append("UA")
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(first + int64(i)*1000))
			b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(first + int64(i)*1000))
			b.Field(3).(*array.Int64Builder).Append(int64(i))
			b.Field(4).(*array.Float64Builder).Append(float64(i % 40))
			b.Field(5).(*array.StringBuilder).Append("LAX")
		}
		rows := b.NewRecordBatch()
		defer rows.Release()
		if _, err := env.Engine.Ingest(context.Background(), "departures", "", driftline.BatchesOf(schema, rows)); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() error {
		spine := env.Rows(departureSpine, `[{"carrier": "UA", "event_timestamp": "2013-01-01T23:00:00Z"}]`)
		set, err := env.Engine.Historical(context.Background(), driftline.HistoricalRequest{
			FeatureSet: driftline.FeatureSet{Service: "delays"},
		}, spine)
		if err != nil {
			return err
		}
		for _, err := range set.Batches.All {
			if err != nil {
				return err
			}
		}
		return nil
	}
	const events = 30_000 // about three megabytes
	ingest(events)
	if err := ask(); err != nil {
		t.Fatalf("with memory enough: %v", err)
	}
	memoryBytes = 3 << 20
	env.Reopen()
	for range 2 {
		if err := ask(); driftline.CodeOf(err) != driftline.Exhausted {
			t.Errorf("with too little: %v", err)
		}
	}
}
