package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// save asks for a training set, reads it to its end and returns the dataset.
func save(t testing.TB, env *testenv.Env, req driftline.HistoricalRequest, spine driftline.Batches) *driftline.Dataset {
	t.Helper()
	set, err := env.Engine.Historical(context.Background(), req, spine)
	if err != nil {
		t.Fatal(err)
	}
	text(t, set.Batches)
	return set.Report().Dataset
}

// ask returns the rows of a training set whose spine the server has.
func ask(t *testing.T, env *testenv.Env, req driftline.HistoricalRequest) string {
	t.Helper()
	set, err := env.Engine.Historical(context.Background(), req, driftline.Batches{})
	if err != nil {
		t.Fatal(err)
	}
	return text(t, set.Batches)
}

func wantFailure(t *testing.T, err error, code driftline.Code, says string) {
	t.Helper()
	if driftline.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("error = %v, want %s that says %q", err, code, says)
	}
}

func inputsOf(t *testing.T, env *testenv.Env, d *driftline.Dataset) string {
	t.Helper()
	var inputs []string
	for _, edge := range env.Engine.Registry().LineageEdges() {
		for _, pair := range [][2]driftline.Ref{{edge.From, edge.To}, {edge.To, edge.From}} {
			if pair[0] == d.Ref() {
				inputs = append(inputs, strings.SplitN(pair[1].String(), "@7", 2)[0])
			}
		}
	}
	slices.Sort(inputs)
	return strings.Join(inputs, " ")
}

func TestASpineCanBeASelect(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.Spine = &driftline.SpineSource{SQL: `
		SELECT origin, event_timestamp + INTERVAL 30 MINUTE AS event_timestamp, row_number() OVER (ORDER BY origin DESC) AS n
		FROM features.weather ORDER BY origin DESC`}
	const want = "LGA 2013-06-01T09:30:00Z 1 (null) 3 \nJFK 2013-06-01T10:30:00Z 2 20.5 7 \n"
	if got := ask(t, env, req); got != want {
		t.Errorf("rows:\n%swant:\n%s", got, want)
	}
	req.SaveAs = "by_select"
	saved := save(t, env, req, driftline.Batches{})
	if len(saved.Report.Pins) != 1 {
		t.Errorf("the view is read by the spine and by the features, and pinned %d times", len(saved.Report.Pins))
	}
	again := weatherRequest()
	again.Spine = &driftline.SpineSource{SQL: `SELECT origin, event_timestamp FROM datasets.by_select`}
	again.SaveAs = "by_dataset"
	second := save(t, env, again, driftline.Batches{})
	if got := inputsOf(t, env, second); !strings.Contains(got, "dataset/by_select@1") {
		t.Errorf("inputs: %s", got)
	}
	newest := weatherRequest()
	newest.Spine = &driftline.SpineSource{SQL: `SELECT origin, event_timestamp FROM features.weather_latest ORDER BY 1`}
	if got, want := ask(t, env, newest), "JFK 2013-06-01T10:00:00Z 20.5 7 \nLGA 2013-06-01T09:00:00Z (null) 3 \n"; got != want {
		t.Errorf("rows:\n%swant:\n%s", got, want)
	}
	for sql, says := range map[string]string{
		`SELECT * FROM point_in_time((SELECT origin, event_timestamp FROM features.weather), features => ['weather:temp'])`: `point_in_time`,
		`SELECT * FROM features.wether`:                             `did you mean "weather"`,
		`SELECT origin, 1 AS event_timestamp FROM features.weather`: `event_timestamp`,
		`DROP TABLE x`: `SELECT`,
	} {
		req := weatherRequest()
		req.Spine = &driftline.SpineSource{SQL: sql}
		if _, err := env.Engine.Historical(context.Background(), req, driftline.Batches{}); err == nil || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v, want an error that says %s", sql, err, says)
		}
	}
}

func TestASpineCanBeAnEarlierDataset(t *testing.T) {
	env := newWeatherWithRows(t)
	req := weatherRequest()
	req.SaveAs, req.Split = "late", fractions(driftline.SplitRandom, 0.5, 0.5)
	first := save(t, env, req, env.Rows(spineSchema, spineRows))
	env.Ingest("weather", `[{"origin": "JFK", "event_timestamp": "2013-06-01T10:20:00Z", "created": null, "temp": 99, "wind": 9}]`)
	again := weatherRequest()
	again.Spine = &driftline.SpineSource{Dataset: first.Ref()}
	want := strings.ReplaceAll(joined, "20.5 7", "99 9")
	if got := ask(t, env, again); got != want {
		t.Errorf("rows:\n%swant:\n%s", got, want)
	}
}

// hourly are two views of one entity, and one of none.
var hourly = driftline.Definitions{
	Entities: []driftline.Entity{
		{Name: "airport", JoinKeys: []driftline.Field{{Name: "airport", Type: driftline.String}}},
		{Name: "carrier", JoinKeys: []driftline.Field{{Name: "carrier", Type: driftline.Int64}}},
	},
	FeatureViews: []driftline.FeatureView{
		{Name: "temps", Entities: []driftline.EntityName{"airport"}, TTL: driftline.Duration(2 * time.Hour),
			Features: []driftline.Field{{Name: "temp", Type: driftline.Float64}}},
		{Name: "winds", Entities: []driftline.EntityName{"airport"},
			Features: []driftline.Field{{Name: "wind", Type: driftline.Int64}}},
		{Name: "world", Features: []driftline.Field{{Name: "oil", Type: driftline.Float64}}},
		{Name: "carriers", Entities: []driftline.EntityName{"carrier"}, Features: []driftline.Field{{Name: "delay", Type: driftline.Float64}}},
		{Name: "outcomes", Entities: []driftline.EntityName{"airport"}, Horizon: driftline.Duration(time.Hour),
			Features: []driftline.Field{{Name: "closed", Type: driftline.Bool}}},
	},
}

func features(refs ...string) (req driftline.HistoricalRequest) {
	req.Features = refs
	return req
}

func span(start, end string) *driftline.SpineSource {
	parse := func(s string) time.Time {
		t, _ := time.Parse(time.RFC3339, s)
		return t
	}
	return &driftline.SpineSource{Range: &driftline.TimeRange{Start: parse(start), End: parse(end)}}
}

// Case 26 of the case list: start and end only.
func TestATimeRangeIsASpineOfAllThatTheViewsHave(t *testing.T) {
	env := testenv.New(t)
	env.Apply(hourly)
	env.Ingest("temps", `[
		{"airport": "JFK", "event_timestamp": "2013-06-01T08:30:00Z", "temp": 8},
		{"airport": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "temp": 10},
		{"airport": "EWR", "event_timestamp": "2013-06-01T12:00:00Z", "temp": 12},
		{"airport": "EWR", "event_timestamp": "2013-06-01T13:00:00Z", "temp": 13}]`)
	env.Ingest("winds", `[
		{"airport": "JFK", "event_timestamp": "2013-06-01T09:00:00Z", "wind": 9},
		{"airport": "JFK", "event_timestamp": "2013-06-01T10:00:00Z", "wind": 1}]`)
	env.Ingest("world", `[{"event_timestamp": "2013-06-01T09:30:00Z", "oil": 90}]`)
	for _, c := range []struct {
		name string
		refs []string
		span *driftline.SpineSource
		want string
	}{
		{"keys and times of both views, each once, both bounds in it; the TTL looks before the start", []string{"temps:temp", "winds:wind"},
			span("2013-06-01T09:00:00Z", "2013-06-01T12:00:00Z"),
			"EWR 2013-06-01T12:00:00Z 12 (null) \nJFK 2013-06-01T09:00:00Z 8 9 \nJFK 2013-06-01T10:00:00Z 10 1 \n"},
		{"an open end", []string{"temps:temp"}, span("2013-06-01T12:00:00Z", ""), "EWR 2013-06-01T12:00:00Z 12 \nEWR 2013-06-01T13:00:00Z 13 \n"},
		{"an open start", []string{"winds:wind"}, span("", "2013-06-01T09:00:00Z"), "JFK 2013-06-01T09:00:00Z 9 \n"},
		{"a view without entities adds its features, not its times", []string{"winds:wind", "world:oil"}, span("", ""),
			"JFK 2013-06-01T09:00:00Z 9 (null) \nJFK 2013-06-01T10:00:00Z 1 90 \n"},
		{"alone it gives its times", []string{"world:oil"}, span("", ""), "2013-06-01T09:30:00Z 90 \n"},
		{"nothing in the range", []string{"temps:temp"}, span("2014-01-01T00:00:00Z", ""), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := features(c.refs...)
			req.Spine = c.span
			if got := ask(t, env, req); got != c.want {
				t.Errorf("rows:\n%swant:\n%s", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		refs []string
		span *driftline.SpineSource
		says string
	}{
		{[]string{"temps:temp", "carriers:delay"}, span("", ""), `views "temps" and "carriers" have different join keys, (airport string) and (carrier int64)`},
		{[]string{"outcomes:closed"}, span("", ""), "labels look ahead"},
		{[]string{"temps:temp"}, span("2013-06-01T12:00:00Z", "2013-06-01T11:00:00Z"), "before it starts"},
		{[]string{"temps:temp"}, &driftline.SpineSource{}, "there are 0 spines"},
		{[]string{"temps:temp"}, &driftline.SpineSource{SQL: "SELECT 1", Range: &driftline.TimeRange{}}, "there are 2 spines"},
		{[]string{"temps:temp"}, nil, "there is no spine"},
		{[]string{"temps:temp"}, &driftline.SpineSource{Dataset: driftline.ViewRef("temps")}, "cannot be a spine"},
	} {
		req := features(c.refs...)
		req.Spine = c.span
		_, err := env.Engine.Historical(context.Background(), req, driftline.Batches{})
		wantFailure(t, err, driftline.Invalid, c.says)
	}
}

// flights are random spine rows of every kind of column: n of them, some without a key
// or a time.
func flights(env *testenv.Env, n int, seed uint64) driftline.Batches {
	rng := rand.New(rand.NewPCG(seed, 2))
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "airport", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "event_timestamp", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true},
		{Name: "passenger", Type: arrow.PrimitiveTypes.Uint16, Nullable: true},
		{Name: "late", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "fare", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	var batches []arrow.RecordBatch
	for n > 0 {
		rows := min(n, 1+rng.IntN(400))
		n -= rows
		b := array.NewRecordBuilder(env.Mem, schema)
		for range rows {
			appendFlight(b, rng)
		}
		batches = append(batches, b.NewRecordBatch())
		b.Release()
	}
	env.T.Cleanup(func() { driftline.ReleaseAll(batches) })
	return driftline.BatchesOf(schema, batches...)
}

func appendFlight(b *array.RecordBuilder, rng *rand.Rand) {
	if rng.IntN(20) == 0 {
		for i := range 7 {
			b.Field(i).AppendNull()
		}
		return
	}
	at := time.Date(2013, 6, 1, 0, rng.IntN(1440), 0, 0, time.UTC)
	b.Field(0).(*array.LargeStringBuilder).Append([]string{"JFK", "EWR", "LGA", "SFO"}[rng.IntN(4)])
	b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano()))
	b.Field(2).(*array.Uint16Builder).Append(uint16(rng.IntN(60)))
	b.Field(3).(*array.BooleanBuilder).Append(rng.IntN(3) == 0)
	b.Field(4).(*array.Float32Builder).Append([]float32{1.5, float32(math.NaN()), -2, 0, float32(math.Inf(1))}[rng.IntN(5)])
	b.Field(5).(*array.Date32Builder).Append(arrow.Date32FromTime(at))
	list := b.Field(6).(*array.ListBuilder)
	list.Append(true)
	for range rng.IntN(3) {
		list.ValueBuilder().(*array.StringBuilder).Append("x")
	}
}

func weatherOf(env *testenv.Env, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var temps []string
	for range 60 {
		temps = append(temps, fmt.Sprintf(`{"airport": %q, "event_timestamp": %q, "temp": %d}`,
			[]string{"JFK", "EWR", "LGA"}[rng.IntN(3)],
			time.Date(2013, 6, 1, 0, rng.IntN(1440), 0, 0, time.UTC).Format(time.RFC3339), rng.IntN(100)))
	}
	env.Ingest("temps", "["+strings.Join(temps, ",")+"]")
	env.Ingest("winds", `[{"airport": "JFK", "event_timestamp": "2013-06-01T09:00:00Z", "wind": 9}]`)
}

func fractions(kind driftline.SplitKind, of ...float64) *driftline.SplitSpec {
	s := &driftline.SplitSpec{Kind: kind, Seed: 7}
	for i, f := range of {
		s.Parts = append(s.Parts, driftline.SplitPart{Name: []string{"train", "validation", "test"}[i], Fraction: f})
	}
	return s
}

// columnOf reads one column of a dataset as text, null as "(null)".
func columnOf(t *testing.T, env *testenv.Env, d *driftline.Dataset, name string) []string {
	t.Helper()
	rows, err := env.Engine.ReadDataset(context.Background(), d.Name, d.Version)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range rows.All {
		if err != nil {
			t.Fatal(err)
		}
		at := b.Schema().FieldIndices(name)[0]
		for i := range int(b.NumRows()) {
			out = append(out, b.Column(at).ValueStr(i))
		}
	}
	return out
}

func newHourly(t *testing.T) *testenv.Env {
	env := testenv.New(t)
	env.Apply(hourly)
	weatherOf(env, 1)
	return env
}

func TestARandomSplitDependsOnTheRowAndTheSeedAlone(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs, req.Split = "split", fractions(driftline.SplitRandom, 0.7, 0.2, 0.1)
	const n = 10_000
	first := save(t, env, req, flights(env, n, 1))
	parts := columnOf(t, env, first, driftline.SplitColumn)
	var sum int64
	for i, part := range first.Request.Split.Parts {
		rows := count(parts, part.Name)
		if rows != part.Rows {
			t.Errorf("part %s has %d rows, its record says %d", part.Name, rows, part.Rows)
		}
		// Six standard deviations of a binomial: the seed is fixed, so this passes always or never.
		if want := part.Fraction * n; math.Abs(float64(rows)-want) > 6*math.Sqrt(want*(1-part.Fraction)) {
			t.Errorf("part %d has %d rows, want about %.0f", i, rows, want)
		}
		sum += rows
	}
	if sum != n {
		t.Errorf("%d rows are in a part, of %d", sum, n)
	}
	if same := save(t, env, req, flights(env, n, 1)); same.ContentHash != first.ContentHash {
		t.Error("the same rows and seed gave other parts")
	}
	req.Split.Seed = 8
	if other := save(t, env, req, flights(env, n, 1)); other.ContentHash == first.ContentHash {
		t.Error("another seed gave the same parts")
	}
}

func count(values []string, of string) (n int64) {
	for _, v := range values {
		if v == of {
			n++
		}
	}
	return n
}

func TestAGroupIsNeverTornApart(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs, req.Split = "grouped", fractions(driftline.SplitGroup, 0.5, 0.5)
	for _, by := range []string{"airport", "passenger", "day", "late"} {
		req.Split.Column = by
		d := save(t, env, req, flights(env, 2000, 3))
		groups, parts := columnOf(t, env, d, by), columnOf(t, env, d, driftline.SplitColumn)
		of := map[string]string{}
		for i, group := range groups {
			if seen, ok := of[group]; ok && seen != parts[i] {
				t.Fatalf("group %s of %s is in %s and in %s", group, by, seen, parts[i])
			}
			of[group] = parts[i]
		}
		if by == "passenger" && (count(parts, "train") == 0 || count(parts, "validation") == 0) {
			t.Error("61 groups are all in one part")
		}
	}
	req.Split.Column = "temp"
	_, err := env.Engine.Historical(context.Background(), req, flights(env, 10, 1))
	wantFailure(t, err, driftline.Invalid, "no groups")
}

func TestASplitByTimeKeepsOrderAndEqualTimesTogether(t *testing.T) {
	env := newHourly(t)
	until := func(name, at string) driftline.SplitPart {
		p := driftline.SplitPart{Name: name}
		p.Until, _ = time.Parse(time.RFC3339, at)
		return p
	}
	given := &driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{
		until("train", "2013-06-01T12:00:00Z"), until("validation", "2013-06-01T18:00:00Z"), {Name: "test"}}}
	for name, split := range map[string]*driftline.SplitSpec{"times": given, "fractions": fractions(driftline.SplitTime, 0.6, 0.3, 0.1)} {
		t.Run(name, func(t *testing.T) {
			req := features("temps:temp")
			req.SaveAs, req.Split = "timed", split
			const n = 5000
			d := save(t, env, req, flights(env, n, 4))
			times, parts := columnOf(t, env, d, "event_timestamp"), columnOf(t, env, d, driftline.SplitColumn)
			latest, earliest := map[string]string{}, map[string]string{}
			for i, at := range times {
				if (at == "(null)") != (parts[i] == "(null)") {
					t.Fatalf("a row at %s is in part %s", at, parts[i])
				}
				latest[parts[i]] = max(latest[parts[i]], at)
				if e, ok := earliest[parts[i]]; !ok || at < e {
					earliest[parts[i]] = at
				}
			}
			if !(latest["train"] < earliest["validation"] && latest["validation"] < earliest["test"]) {
				t.Errorf("parts overlap: latest %v, earliest %v", latest, earliest)
			}
			if name == "times" {
				if earliest["validation"] != "2013-06-01T12:00:00" || earliest["test"] != "2013-06-01T18:00:00" {
					t.Errorf("parts begin at %v: a part ends before its time", earliest)
				}
				return
			}
			timed := int64(n) - count(times, "(null)")
			busiest := int64(0)
			for _, at := range slices.Compact(slices.Sorted(slices.Values(times))) {
				if at != "(null)" {
					busiest = max(busiest, count(times, at))
				}
			}
			for _, p := range d.Request.Split.Parts {
				if off := math.Abs(float64(p.Rows) - p.Fraction*float64(timed)); off > float64(busiest) {
					t.Errorf("part %s has %d rows of %d, want %v of them but for one time's rows", p.Name, p.Rows, timed, p.Fraction)
				}
			}
		})
	}
}

func TestAPartIsReadAlone(t *testing.T) {
	env := newHourly(t)
	req := features("temps:temp")
	req.SaveAs, req.Split = "split", fractions(driftline.SplitRandom, 0.7, 0.2, 0.1)
	d := save(t, env, req, flights(env, 3000, 1))
	whole, parts := columnOf(t, env, d, "passenger"), columnOf(t, env, d, driftline.SplitColumn)
	for _, p := range d.Request.Split.Parts {
		rows, err := env.Engine.ReadPart(context.Background(), d.Name, d.Version, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		if rows.Schema.HasField(driftline.SplitColumn) {
			t.Error("the part's rows say which part they are of")
		}
		var want, got []string
		for i, part := range parts {
			if part == p.Name {
				want = append(want, whole[i])
			}
		}
		for b, err := range rows.All {
			if err != nil {
				t.Fatal(err)
			}
			for i := range int(b.NumRows()) {
				got = append(got, b.Column(2).ValueStr(i))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("part %s: %d rows, want %d", p.Name, len(got), len(want))
		}
	}
	_, err := env.Engine.ReadPart(context.Background(), d.Name, 0, "tset")
	wantFailure(t, err, driftline.NotFound, `did you mean "test"`)
	undivided := features("temps:temp")
	undivided.SaveAs = "undivided"
	save(t, env, undivided, flights(env, 10, 1))
	_, err = env.Engine.ReadPart(context.Background(), "undivided", 0, "train")
	wantFailure(t, err, driftline.FailedPrecondition, "not divided")
}

func TestASplitThatMakesNoSenseIsRefused(t *testing.T) {
	env := newHourly(t)
	later := time.Date(2013, 6, 2, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		split *driftline.SplitSpec
		says  string
	}{
		{&driftline.SplitSpec{Kind: "randm", Parts: fractions("", 0.5, 0.5).Parts}, `did you mean "random"`},
		{fractions(driftline.SplitRandom, 1), "1 parts"},
		{fractions(driftline.SplitRandom, 0.5, 0.4), "add up to 0.9"},
		{fractions(driftline.SplitRandom, 1.5, -0.5), "fraction 1.5"},
		{fractions(driftline.SplitRandom, math.NaN(), 0.5), "fraction NaN"},
		{&driftline.SplitSpec{Kind: driftline.SplitRandom, Parts: []driftline.SplitPart{{Name: "a", Fraction: 0.5}, {Name: "a", Fraction: 0.5}}}, `two parts "a"`},
		{&driftline.SplitSpec{Kind: driftline.SplitRandom, Parts: []driftline.SplitPart{{Name: "A b", Fraction: 0.5}, {Name: "a", Fraction: 0.5}}}, "name"},
		{fractions(driftline.SplitGroup, 0.5, 0.5), "needs a column"},
		{&driftline.SplitSpec{Kind: driftline.SplitGroup, Column: "airprt", Parts: fractions("", 0.5, 0.5).Parts}, `did you mean "airport"`},
		{&driftline.SplitSpec{Kind: driftline.SplitRandom, Column: "airport", Parts: fractions("", 0.5, 0.5).Parts}, "takes no column"},
		{&driftline.SplitSpec{Kind: driftline.SplitRandom, Parts: []driftline.SplitPart{{Name: "a", Until: later}, {Name: "b", Fraction: 0.5}}}, "not by time"},
		{&driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "a", Until: later}, {Name: "b", Fraction: 0.5}}}, "has a fraction"},
		{&driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "a", Until: later}, {Name: "b", Until: later}}}, "last part"},
		{&driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "a"}, {Name: "b", Until: later}, {Name: "c"}}}, `part "a" has no time`},
		{&driftline.SplitSpec{Kind: driftline.SplitTime, Parts: []driftline.SplitPart{{Name: "a", Until: later}, {Name: "b", Until: later}, {Name: "c"}}}, "order the parts"},
	} {
		req := features("temps:temp")
		req.SaveAs, req.Split = "never", c.split
		_, err := env.Engine.Historical(context.Background(), req, flights(env, 10, 1))
		wantFailure(t, err, driftline.Invalid, "")
		if !strings.Contains(fmt.Sprint(err)+hintOf(err), c.says) {
			t.Errorf("error %v (%s), want one that says %s", err, hintOf(err), c.says)
		}
	}
	req := features("temps:temp")
	req.Split = fractions(driftline.SplitRandom, 0.5, 0.5)
	_, err := env.Engine.Historical(context.Background(), req, flights(env, 10, 1))
	wantFailure(t, err, driftline.Invalid, "only a saved training set")
	if _, err := env.Engine.Registry().Dataset("never", 0); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("a refused request left a dataset: %v", err)
	}
}

func hintOf(err error) string {
	if e, ok := err.(*driftline.Error); ok {
		return e.Hint
	}
	return ""
}

// endless is a spine of the same batches again and again.
func endless(env *testenv.Env) driftline.Batches {
	once := flights(env, 4096, 1)
	batches, _, err := once.Collect()
	if err != nil {
		env.T.Fatal(err)
	}
	env.T.Cleanup(func() { driftline.ReleaseAll(batches) })
	return driftline.Batches{Schema: once.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for {
			for _, b := range batches {
				if !yield(b, nil) {
					return
				}
			}
		}
	}}
}

func TestATrainingSetBeginsBeforeItsSpineEnds(t *testing.T) {
	env := newHourly(t)
	set, err := env.Engine.Historical(context.Background(), features("temps:temp"), endless(env))
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for b, err := range set.Batches.All {
		if err != nil {
			t.Fatal(err)
		}
		if rows += b.NumRows(); rows > 100_000 {
			break // the spine has no end: whoever waited for it would not be here
		}
	}
}

func TestATrainingSetStopsWithItsContext(t *testing.T) {
	env := newHourly(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req := features("temps:temp")
	set, err := env.Engine.Historical(ctx, req, endless(env))
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for _, err := range set.Batches.All {
		cancel()
		failed = err
	}
	if failed == nil {
		t.Error("a spine without end came to an end without an error")
	}
	req.SaveAs = "never"
	done, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	if _, err := env.Engine.Historical(done, req, endless(env)); driftline.CodeOf(err) != driftline.Deadline {
		t.Errorf("saving a spine without end: %v, want the deadline", err)
	}
	if _, err := env.Engine.Registry().Dataset("never", 0); driftline.CodeOf(err) != driftline.NotFound {
		t.Errorf("half a dataset was saved: %v", err)
	}
	if tables, _ := filepath.Glob(filepath.Join(env.Dir, "warehouse", "datasets", "*")); len(tables) != 0 {
		t.Errorf("half a dataset left %v", tables)
	}
}
