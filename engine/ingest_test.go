package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// weather is an hourly view of airports with a TTL of three hours.
var weather = driftline.Definitions{
	Entities: []driftline.Entity{{Name: "airport", JoinKeys: []driftline.Field{{Name: "origin", Type: driftline.String}}}},
	FeatureViews: []driftline.FeatureView{{
		Name: "weather", Entities: []driftline.EntityName{"airport"}, TTL: driftline.Duration(3 * time.Hour),
		CreatedTimestamp: "created",
		Features:         []driftline.Field{{Name: "temp", Type: driftline.Float64}, {Name: "wind", Type: driftline.Int64}},
	}},
}

func newWeather(t *testing.T) *testenv.Env {
	env := testenv.New(t)
	env.Apply(weather)
	return env
}

// onlineTemp reads weather:temp of one airport online.
func onlineTemp(t *testing.T, env *testenv.Env, origin string, at time.Time) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b, _, err := array.RecordFromJSON(env.Mem, schema, strings.NewReader(fmt.Sprintf(`[{"origin": %q}]`, origin)))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	req := driftline.OnlineRequest{At: at}
	req.Features = []string{"weather:temp"}
	resp, err := env.Engine.Online(context.Background(), req, b)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	return resp.Batch.Column(1).ValueStr(0) + " " + string(resp.Features[0].Statuses[0])
}

// offlineTemps joins weather:temp to one spine row per time and origin, and prints the column.
func offlineTemps(t *testing.T, env *testenv.Env, spine string) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	}, nil)
	req := driftline.HistoricalRequest{}
	req.Features = []string{"weather:temp"}
	set, err := env.Engine.Historical(context.Background(), req, env.Rows(schema, spine))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.NumRows()) {
			out = append(out, b.Column(2).ValueStr(i))
		}
	}
	return strings.Join(out, " ")
}

func at(hour int) time.Time { return time.Date(2013, 6, 1, hour, 0, 0, 0, time.UTC) }

func TestAWriteIsVisibleInBothStoresAtOnce(t *testing.T) {
	env := newWeather(t)
	result := env.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "created": null, "temp": 20.5, "wind": 7},
		{"origin": "JFK", "event_timestamp": "2013-06-01T11:00:00Z", "created": null, "temp": 21.5, "wind": null}]`)
	if result.Rows != 2 || result.Duplicate {
		t.Errorf("result = %+v", result)
	}
	if got := onlineTemp(t, env, "JFK", at(12)); got != "21.5 PRESENT" {
		t.Errorf("online = %s", got)
	}
	spine := `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:30:00Z"}, {"origin": "JFK", "event_timestamp": "2013-06-01T12:00:00Z"}]`
	if got := offlineTemps(t, env, spine); got != "20.5 21.5" {
		t.Errorf("offline = %s", got)
	}
	env.Reopen()
	if got := onlineTemp(t, env, "JFK", at(12)); got != "21.5 PRESENT" {
		t.Errorf("online after reopening = %s", got)
	}
	if got := offlineTemps(t, env, spine); got != "20.5 21.5" {
		t.Errorf("offline after reopening = %s", got)
	}
}

func TestOnlineFollowsTheTTLAndTheTimeAskedFor(t *testing.T) {
	env := newWeather(t)
	env.Ingest("weather", `[
		{"origin": "JFK", "event_timestamp": "2013-06-01T08:00:00Z", "created": null, "temp": 8, "wind": 1},
		{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "created": null, "temp": null, "wind": 1},
		{"origin": "JFK", "event_timestamp": "2013-06-01T12:00:00Z", "created": null, "temp": 12, "wind": 1}]`)
	for _, c := range []struct {
		what string
		at   time.Time
		want string
	}{
		{"exactly at the row's time", at(12), "12 PRESENT"},
		{"at the end of the TTL, inclusive", at(15), "12 PRESENT"},
		{"a microsecond after it", at(15).Add(time.Microsecond), "(null) OUTSIDE_MAX_AGE"},
		{"before the newest row: the one before it, which is null", at(11), "(null) NULL_VALUE"},
		{"before that", at(9), "8 PRESENT"},
		{"before every row", at(7), "(null) NOT_FOUND"},
	} {
		if got := onlineTemp(t, env, "JFK", c.at); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	if got := onlineTemp(t, env, "LGA", at(12)); got != "(null) NOT_FOUND" {
		t.Errorf("unknown entity: %s", got)
	}
}

func TestAnOlderRowNeverReplacesANewerOnlineValue(t *testing.T) {
	env := newWeather(t)
	row := func(event, created, temp string) {
		env.Ingest("weather", fmt.Sprintf(`[{"origin": "JFK", "event_timestamp": %q, "created": %s, "temp": %s, "wind": 1}]`, event, created, temp))
	}
	row("2013-06-01T10:00:00Z", `"2013-06-01T10:05:00Z"`, "2")
	row("2013-06-01T09:00:00Z", `"2013-06-01T11:00:00Z"`, "1")
	if got := onlineTemp(t, env, "JFK", at(12)); got != "2 PRESENT" {
		t.Errorf("after a row of an earlier event: %s", got)
	}
	row("2013-06-01T10:00:00Z", `"2013-06-01T10:01:00Z"`, "3")
	row("2013-06-01T10:00:00Z", `null`, "4")
	if got := onlineTemp(t, env, "JFK", at(12)); got != "2 PRESENT" {
		t.Errorf("after rows of the same event, created earlier or never: %s", got)
	}
	row("2013-06-01T10:00:00Z", `"2013-06-01T10:05:00Z"`, "5")
	if got := onlineTemp(t, env, "JFK", at(12)); got != "5 PRESENT" {
		t.Errorf("after a row of the same times, written later: %s", got)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	env := newWeather(t)
	view, _ := env.Engine.Registry().View("weather")
	rows := func(temp int) driftline.Batches {
		return env.Rows(view.Schema(), fmt.Sprintf(`[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": %d}]`, temp))
	}
	ctx := context.Background()
	first, err := env.Engine.Ingest(ctx, "weather", "monday", rows(1))
	if err != nil {
		t.Fatal(err)
	}
	lines := env.Engine.Registry().Newest()
	again, err := env.Engine.Ingest(ctx, "weather", "monday", rows(1))
	if err != nil || !again.Duplicate || again.Sequence != first.Sequence || again.Rows != 1 {
		t.Errorf("the same rows again: %+v, %v", again, err)
	}
	if now := env.Engine.Registry().Newest(); now != lines {
		t.Error("a retried write left a line in the ledger")
	}
	if _, err := env.Engine.Ingest(ctx, "weather", "monday", rows(2)); driftline.CodeOf(err) != driftline.Conflict {
		t.Errorf("other rows under the same key: %v", err)
	}
	if got := onlineTemp(t, env, "JFK", at(10)); got != "1 PRESENT" {
		t.Errorf("online = %s", got)
	}
	env.Reopen()
	if again, err := env.Engine.Ingest(ctx, "weather", "monday", rows(1)); err != nil || !again.Duplicate {
		t.Errorf("after reopening: %+v, %v", again, err)
	}
}

func TestConcurrentRetriesWriteOnce(t *testing.T) {
	env := newWeather(t)
	view, _ := env.Engine.Registry().View("weather")
	rows := env.Rows(view.Schema(), `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 1}]`)
	var wrote sync.Map
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			r, err := env.Engine.Ingest(context.Background(), "weather", "k", rows)
			if err != nil {
				t.Error(err)
			}
			if !r.Duplicate {
				wrote.Store(r.Sequence, true)
			}
		})
	}
	group.Wait()
	n := 0
	wrote.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of 8 calls wrote", n)
	}
}

// bulkRows makes n rows over few airports, one hour apart, in one batch.
func bulkRows(t *testing.T, env *testenv.Env, n int) driftline.Batches {
	t.Helper()
	view, _ := env.Engine.Registry().View("weather")
	b := array.NewRecordBuilder(env.Mem, view.Schema())
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.StringBuilder).Append([]string{"EWR", "JFK", "LGA"}[i%3])
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at(0).Add(time.Duration(i/3) * time.Hour).UnixMicro()))
		b.Field(2).AppendNull()
		b.Field(3).(*array.Float64Builder).Append(float64(i))
		b.Field(4).(*array.Int64Builder).Append(int64(i))
	}
	batch := b.NewRecordBatch()
	t.Cleanup(batch.Release)
	return driftline.BatchesOf(view.Schema(), batch)
}

func TestABulkWriteTakesTheSameRules(t *testing.T) {
	env := newWeather(t)
	const n = 30_000
	rows := bulkRows(t, env, n)
	result, err := env.Engine.Ingest(context.Background(), "weather", "bulk", rows)
	if err != nil {
		t.Fatal(err)
	}
	if result.Rows != n || result.Snapshot == 0 {
		t.Errorf("result = %+v", result)
	}
	newest := at(0).Add((n/3 - 1) * time.Hour)
	if got := onlineTemp(t, env, "LGA", newest); got != "29999 PRESENT" {
		t.Errorf("online = %s", got)
	}
	if got := offlineTemps(t, env, `[{"origin": "EWR", "event_timestamp": "2013-06-01T05:30:00Z"}]`); got != "15" {
		t.Errorf("offline = %s", got)
	}
	again, err := env.Engine.Ingest(context.Background(), "weather", "bulk", rows)
	if err != nil || !again.Duplicate || again.Snapshot != result.Snapshot {
		t.Errorf("the same rows again: %+v, %v", again, err)
	}
	status, err := env.Engine.ViewStatus(context.Background(), "weather")
	if err != nil || status.Rows != n {
		t.Errorf("status = %+v, %v", status, err)
	}
}

func TestRowsThatDoNotFitAreRefusedWhole(t *testing.T) {
	env := newWeather(t)
	ts := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64
	column := func(name string, dt arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: dt, Nullable: true}
	}
	good := []arrow.Field{column("origin", text), column("event_timestamp", driftline.Time), column("created", driftline.Time),
		column("temp", number), column("wind", arrow.PrimitiveTypes.Int64)}
	with := func(i int, f arrow.Field) []arrow.Field {
		fields := append([]arrow.Field{}, good...)
		fields[i] = f
		return fields
	}
	for _, c := range []struct {
		what   string
		fields []arrow.Field
		rows   string
		want   string
	}{
		{"a column is missing", good[:4], `[]`, `view "weather": column "wind" is missing`},
		{"a column is too many", append(good, column("tmp", number)), `[]`, `view "weather": column "tmp" is not part of the view; did you mean "temp"?`},
		{"a column has another type", with(3, column("temp", text)), `[]`, `view "weather": column "temp" is string, want float64`},
		{"a number would lose digits", with(4, column("wind", number)), `[]`, `view "weather": column "wind" is float64, want int64`},
		{"a key is null", good, `[{"origin": "JFK", "event_timestamp": 1}, {"origin": null, "event_timestamp": 2}]`, `column "origin" is null (row 1)`},
		{"a time is null", good, `[{"origin": "JFK"}]`, `column "event_timestamp" is null (row 0)`},
		{"a time is between two microseconds", with(1, column("event_timestamp", ts)), `[{"origin": "JFK", "event_timestamp": 1001}]`, `column "event_timestamp" has a time between two microseconds (row 0)`},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := env.Engine.Ingest(context.Background(), "weather", "", env.Rows(arrow.NewSchema(c.fields, nil), c.rows))
			if driftline.CodeOf(err) != driftline.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %s", err, c.want)
			}
		})
	}
	if status, err := env.Engine.ViewStatus(context.Background(), "weather"); err != nil || status.Rows != 0 || status.Unflushed != 0 {
		t.Errorf("something was kept: %+v, %v", status, err)
	}
	_, err := env.Engine.Ingest(context.Background(), "wether", "", env.Rows(arrow.NewSchema(good, nil), `[]`))
	if !errors.Is(err, &driftline.Error{Code: driftline.NotFound}) || !strings.Contains(err.Error(), `did you mean "weather"`) {
		t.Errorf("unknown view: %v", err)
	}
}

func TestAnErrorInALaterBatchLeavesNothingBehind(t *testing.T) {
	env := newWeather(t)
	good := bulkRows(t, env, 20_000)
	broken := driftline.Batches{Schema: good.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for b := range good.All {
			if !yield(b, nil) {
				return
			}
		}
		yield(nil, driftline.Errorf(driftline.Unavailable, "the client went away"))
	}}
	if _, err := env.Engine.Ingest(context.Background(), "weather", "k", broken); driftline.CodeOf(err) != driftline.Unavailable {
		t.Errorf("error = %v", err)
	}
	if status, err := env.Engine.ViewStatus(context.Background(), "weather"); err != nil || status.Rows != 0 {
		t.Errorf("status = %+v, %v", status, err)
	}
	if got := onlineTemp(t, env, "JFK", at(1)); got != "(null) NOT_FOUND" {
		t.Errorf("online = %s", got)
	}
}

func TestAnEmptyWriteIsFine(t *testing.T) {
	env := newWeather(t)
	if r := env.Ingest("weather", `[]`); r.Rows != 0 {
		t.Errorf("result = %+v", r)
	}
}

func TestValuesAreKeptExactly(t *testing.T) {
	env := newWeather(t)
	view, _ := env.Engine.Registry().View("weather")
	floats := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.MaxFloat64}
	keys := []string{"", "日本", "a\x00b", "'; drop", strings.Repeat("x", 300), "\u00e9"}
	b := array.NewRecordBuilder(env.Mem, view.Schema())
	defer b.Release()
	for i, f := range floats {
		b.Field(0).(*array.StringBuilder).Append(keys[i])
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at(0).UnixMicro()))
		b.Field(2).AppendNull()
		b.Field(3).(*array.Float64Builder).Append(f)
		b.Field(4).(*array.Int64Builder).Append([]int64{math.MinInt64, math.MaxInt64, 0, -1, 1 << 53, 1<<53 + 1}[i])
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	ctx := context.Background()
	if _, err := env.Engine.Ingest(ctx, "weather", "", driftline.BatchesOf(view.Schema(), batch)); err != nil {
		t.Fatal(err)
	}
	entities := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "origin", Type: arrow.BinaryTypes.String}}, nil), batch.Columns()[:1], batch.NumRows())
	defer entities.Release()
	req := driftline.OnlineRequest{At: at(0)}
	req.Features = []string{"weather:temp", "weather:wind"}
	online, err := env.Engine.Online(ctx, req, entities)
	if err != nil {
		t.Fatal(err)
	}
	defer online.Release()
	spine := array.NewRecordBatch(arrow.NewSchema(view.Schema().Fields()[:2], nil), batch.Columns()[:2], batch.NumRows())
	defer spine.Release()
	history := driftline.HistoricalRequest{FeatureSet: req.FeatureSet}
	set, err := env.Engine.Historical(ctx, history, driftline.BatchesOf(spine.Schema(), spine))
	if err != nil {
		t.Fatal(err)
	}
	offline, _, err := set.Batches.Collect()
	defer driftline.ReleaseAll(offline)
	if err != nil {
		t.Fatal(err)
	}
	for where, cols := range map[string][]arrow.Array{"online": online.Batch.Columns()[1:], "offline": offline[0].Columns()[2:]} {
		for i, f := range floats {
			if got := cols[0].(*array.Float64).Value(i); math.Float64bits(got) != math.Float64bits(f) {
				t.Errorf("%s: key %q: %v, want %v", where, keys[i], got, f)
			}
			if got, want := cols[1].(*array.Int64).Value(i), batch.Column(4).(*array.Int64).Value(i); got != want {
				t.Errorf("%s: key %q: %d, want %d", where, keys[i], got, want)
			}
		}
	}
}
