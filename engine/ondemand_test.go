package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/testenv"
)

// newTrips has an on-demand view over the weather at both ends of a trip.
func newTrips(t *testing.T) *testenv.Env {
	env := newWeatherWithRows(t)
	env.Apply(driftline.Definitions{
		OnDemandFeatureViews: []driftline.OnDemandFeatureView{trips()},
		FeatureServices:      []driftline.FeatureService{{Name: "trip_model", Projections: []driftline.Projection{{View: "trips"}, {View: "weather", Features: []string{"temp"}}}}},
	})
	return env
}

func trips() driftline.OnDemandFeatureView {
	return driftline.OnDemandFeatureView{
		Name: "trips",
		Sources: []driftline.Projection{
			{View: "weather", Features: []string{"temp", "wind"}},
			{View: "weather", Role: "destination", JoinKeyMap: map[string]string{"origin": "dest"}},
		},
		Request: []driftline.Field{{Name: "distance", Type: driftline.Int64}},
		Features: []driftline.OnDemandFeature{
			{Name: "temp_f", Expression: "weather.temp * 1.8 + 32"},
			{Name: "warmer", Expression: "destination.temp > weather.temp"},
			{Name: "wind_per_km", Expression: "weather.wind / distance"},
			{Name: "log_distance", Expression: "ln(distance)"},
			{Name: "known", Expression: "coalesce(weather.temp, -1)"},
		},
	}
}

var tripSchema = arrow.NewSchema([]arrow.Field{
	{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "dest", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "event_timestamp", Type: driftline.Time, Nullable: true},
	{Name: "distance", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
}, nil)

const tripRows = `[
	{"origin": "JFK", "dest": "LGA", "event_timestamp": "2013-06-01T10:30:00Z", "distance": 10},
	{"origin": "LGA", "dest": "JFK", "event_timestamp": "2013-06-01T10:30:00Z", "distance": 0},
	{"origin": "JFK", "dest": "JFK", "event_timestamp": "2013-06-01T09:30:00Z", "distance": -1},
	{"origin": null, "dest": null, "event_timestamp": "2013-06-01T10:30:00Z", "distance": null}]`

// tripRequest asks for features of the trips and one of the weather.
func tripRequest() driftline.HistoricalRequest {
	return features("trips:temp_f", "weather:wind", "trips:warmer", "trips:wind_per_km", "trips:log_distance", "trips:known")
}

func TestATrainingSetHasFeaturesComputedOnDemand(t *testing.T) {
	env := newTrips(t)
	set, err := env.Engine.Historical(context.Background(), tripRequest(), env.Rows(tripSchema, tripRows))
	if err != nil {
		t.Fatal(err)
	}
	// temp_f warmer wind_per_km log_distance known wind
	want := `JFK LGA 2013-06-01T10:30:00Z 10 68.9 (null) 0.7 2.302585092994046 20.5 7 
LGA JFK 2013-06-01T10:30:00Z 0 (null) (null) +Inf (null) -1 3 
JFK JFK 2013-06-01T09:30:00Z -1 (null) (null) (null) (null) -1 (null) 
(null) (null) 2013-06-01T10:30:00Z (null) (null) (null) (null) (null) -1 (null) 
`
	if got := text(t, set.Batches); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	report := set.Report()
	var columns []string
	for _, c := range report.Columns {
		columns = append(columns, c.Column)
		switch c.Column {
		case "log_distance":
			if c.Failed != 2 || c.FailedBecause != "the logarithm of zero" || c.Nulls != 3 {
				t.Errorf("log_distance: %+v", c)
			}
		case "temp_f": // as of weather.temp, which was written down two hours later
			if c.NotYetKnown != 1 || c.Failed != 0 {
				t.Errorf("temp_f: %+v", c)
			}
		}
	}
	if got := strings.Join(columns, " "); got != "temp_f warmer wind_per_km log_distance known wind" {
		t.Errorf("the report's columns are %s", got)
	}
	if len(report.Pins) != 1 {
		t.Errorf("pins are %+v", report.Pins)
	}
	for _, part := range []string{`(("__0__temp" * 1.8e+00) + CAST(CAST(32 AS INTEGER) AS DOUBLE)) AS "temp_f"`, `"__0__wind" AS "wind"`, `ln(CAST("distance" AS DOUBLE)) AS "log_distance"`} {
		if !strings.Contains(report.SQL, part) {
			t.Errorf("the SQL does not have %s:\n%s", part, report.SQL)
		}
	}
}

func TestADatasetWithFeaturesComputedOnDemandIsMadeAgain(t *testing.T) {
	env := newTrips(t)
	req := tripRequest()
	req.SaveAs, req.FullFeatureNames = "trips", true
	d := save(t, env, req, env.Rows(tripSchema, tripRows))
	rebuilds(t, env, d)
	changed := trips()
	changed.Features[0].Expression = "weather.temp"
	env.Apply(driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{changed}})
	rebuilds(t, env, d)
	env.Reopen()
	rebuilds(t, env, d)
	var spine driftline.HistoricalRequest = features("weather:temp")
	spine.Spine = &driftline.SpineSource{Dataset: d.Ref()}
	set, err := env.Engine.Historical(context.Background(), spine, driftline.Batches{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, set.Batches), "JFK LGA 2013-06-01T10:30:00Z 10 20.5 \n"; !strings.HasPrefix(got, want) {
		t.Errorf("as a spine the dataset is\n%s", got)
	}
}

func TestRequestDataMustBeThere(t *testing.T) {
	env := newTrips(t)
	for _, c := range []struct {
		spine  *arrow.Schema
		rows   string
		ask    driftline.HistoricalRequest
		reason string
	}{
		{spineSchema, `[]`, features("trips:log_distance"), `request data "distance" is missing (on-demand feature view "trips" needs it)`},
		{arrow.NewSchema([]arrow.Field{tripSchema.Field(2), {Name: "distance", Type: arrow.BinaryTypes.String}}, nil), `[]`, features("trips:log_distance"),
			`request data "distance" is string, want int64 (on-demand feature view "trips")`},
		{spineSchema, `[]`, features("trips:warmer"), `"dest"`},
		{spineSchema, `[]`, features("trips:tmp_f"), `on-demand feature view "trips": feature "tmp_f" does not exist; did you mean "temp_f"?`},
	} {
		set, err := env.Engine.Historical(context.Background(), c.ask, env.Rows(c.spine, c.rows))
		if err == nil {
			_, _, err = set.Batches.Collect()
		}
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("got %v, want %s", err, c.reason)
		}
	}
	// What needs request data only needs no keys.
	alone := arrow.NewSchema([]arrow.Field{{Name: "distance", Type: arrow.PrimitiveTypes.Int64}}, nil)
	set, err := env.Engine.Historical(context.Background(), features("trips:log_distance"), env.Rows(alone, `[{"distance": 1}, {"distance": 0}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, set.Batches); got != "1 0 \n0 (null) \n" || set.Report().Rows != 2 {
		t.Errorf("got\n%sof %d rows", got, set.Report().Rows)
	}
	// What needs no request data does not ask for any.
	set, err = env.Engine.Historical(context.Background(), features("trips:temp_f"), env.Rows(spineSchema, spineRows))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, set.Batches); !strings.HasPrefix(got, "JFK 2013-06-01T10:30:00Z true 68.9 \n") {
		t.Errorf("got\n%s", got)
	}
}

// onlineText reads features of entities online, and returns a line per row.
func onlineText(t *testing.T, env *testenv.Env, set driftline.FeatureSet, at string, entities arrow.RecordBatch) (string, error) {
	t.Helper()
	req := driftline.OnlineRequest{FeatureSet: set}
	if at != "" {
		req.At = instant(t, at)
	}
	response, err := env.Engine.Online(context.Background(), req, entities)
	if err != nil {
		return "", err
	}
	defer response.Release()
	var out strings.Builder
	first := int(response.Batch.NumCols()) - len(response.Features)
	for row := range int(response.Batch.NumRows()) {
		for i, f := range response.Features {
			column := response.Batch.Column(first + i)
			if f.Name != response.Batch.ColumnName(first+i) {
				t.Errorf("column %s is described as %s", response.Batch.ColumnName(first+i), f.Name)
			}
			out.WriteString(column.ValueStr(row) + " " + string(f.Statuses[row]) + " " + f.EventTimes[row].ToTime(arrow.Microsecond).Format("15:04") + "; ")
		}
		out.WriteString("\n")
	}
	return out.String(), nil
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestFeaturesComputedOnDemandAreServed(t *testing.T) {
	env := newTrips(t)
	entities := env.Rows(tripSchema, tripRows)
	batches, _, err := entities.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(batches)
	got, err := onlineText(t, env, tripRequest().FeatureSet, "2013-06-01T12:30:00Z", batches[0])
	if err != nil {
		t.Fatal(err)
	}
	// temp_f, warmer, wind_per_km, log_distance, known, weather:wind; the weather is known
	// for 3 hours, and its rows are of 10:00 and 9:00
	want := `68.9 PRESENT 10:00; (null) NULL_VALUE 09:00; 0.7 PRESENT 10:00; 2.302585092994046 PRESENT 00:00; 20.5 PRESENT 10:00; 7 PRESENT 10:00; 
(null) NULL_VALUE 09:00; (null) NULL_VALUE 09:00; (null) NULL_VALUE 09:00; (null) INVALID 00:00; -1 PRESENT 09:00; (null) OUTSIDE_MAX_AGE 09:00; 
68.9 PRESENT 10:00; false PRESENT 10:00; -7 PRESENT 10:00; (null) INVALID 00:00; 20.5 PRESENT 10:00; 7 PRESENT 10:00; 
(null) NULL_VALUE 00:00; (null) NULL_VALUE 00:00; (null) NULL_VALUE 00:00; (null) NULL_VALUE 00:00; -1 PRESENT 00:00; (null) NOT_FOUND 00:00; 
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	service, err := onlineText(t, env, driftline.FeatureSet{Service: "trip_model", FullFeatureNames: true}, "2013-06-01T12:30:00Z", batches[0])
	if err != nil || !strings.HasPrefix(service, "68.9 PRESENT 10:00; ") {
		t.Errorf("the service gives %s, %v", service, err)
	}
	changed := trips()
	changed.Features[0].Expression = "weather.temp + 1"
	env.Apply(driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{changed}})
	again, err := onlineText(t, env, tripRequest().FeatureSet, "2013-06-01T12:30:00Z", batches[0])
	if err != nil || !strings.HasPrefix(again, "21.5 PRESENT 10:00; ") {
		t.Errorf("with another expression it is %s, %v", again, err)
	}
	without := env.Rows(spineSchema, spineRows)
	rows, _, err := without.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(rows)
	_, err = onlineText(t, env, driftline.FeatureSet{Features: []string{"trips:log_distance"}}, "", rows[0])
	if want := `request data "distance" is missing (on-demand feature view "trips" needs it); give each row of entities a column "distance", int64`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestComputedOnlineEqualsOffline replays random writes, and asks both stores at random
// times for random expressions over what they know and what the request brings.
func TestComputedOnlineEqualsOffline(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	env := newWeather(t)
	env.Apply(driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{replayed()}})
	var set driftline.FeatureSet
	set.Projections = []driftline.Projection{{View: "replayed"}, {View: "weather", Features: []string{"wind"}, Role: "there"}}
	compared := 0
	for range 60 {
		env.Ingest("weather", randomWeather(rng))
		for range 5 {
			at := replayStart.Add(time.Duration(rng.IntN(8*60)) * time.Minute)
			compared += compareComputed(t, env, rng, set, at)
		}
	}
	if compared < 3000 {
		t.Errorf("only %d values were compared", compared)
	}
}

var replayStart = time.Date(2013, 6, 1, 8, 0, 0, 0, time.UTC)

// replayed computes something of every kind.
func replayed() driftline.OnDemandFeatureView {
	view := driftline.OnDemandFeatureView{
		Name:    "replayed",
		Sources: []driftline.Projection{{View: "weather"}, {View: "weather", Role: "dest", JoinKeyMap: map[string]string{"origin": "dest"}}},
		Request: []driftline.Field{{Name: "distance", Type: driftline.Int64}},
	}
	for i, text := range []string{
		"weather.temp * 1.8 + 32", "weather.wind // distance", "weather.wind * distance * 1000000000000000", "sqrt(weather.temp)", "ln(distance)",
		"CASE WHEN weather.temp > dest.temp THEN 'warmer' WHEN weather.temp < dest.temp THEN 'colder' END", "coalesce(weather.temp, dest.temp, 0)",
		"greatest(weather.wind, dest.wind) % 7", "weather.temp IS NULL AND distance > 3", "pow(weather.temp, 0.3) + exp(-distance)", "CAST(weather.temp AS INTEGER)",
		"upper(concat(CAST(weather.wind AS VARCHAR), '-', CAST(distance AS VARCHAR)))", "round(weather.temp / distance, 2)", "weather.wind IN (1, 2, dest.wind)",
	} {
		view.Features = append(view.Features, driftline.OnDemandFeature{Name: fmt.Sprintf("f%d", i), Expression: text})
	}
	return view
}

func randomWeather(rng *rand.Rand) string {
	var rows []string
	for range 1 + rng.IntN(4) {
		event := replayStart.Add(time.Duration(rng.IntN(7*60)) * time.Minute)
		temp := []string{"null", "-3.5", "0", "20.25", "1e300", "7"}[rng.IntN(6)]
		wind := []string{"null", "0", "1", "9", "-4"}[rng.IntN(5)]
		rows = append(rows, fmt.Sprintf(`{"origin": %q, "event_timestamp": %q, "created": %q, "temp": %s, "wind": %s}`,
			[]string{"JFK", "LGA", "EWR"}[rng.IntN(3)], event.Format(time.RFC3339), event.Add(time.Minute).Format(time.RFC3339), temp, wind))
	}
	return "[" + strings.Join(rows, ",") + "]"
}

// compareComputed asks for the same rows online and offline, and returns how many values
// it compared.
func compareComputed(t *testing.T, env *testenv.Env, rng *rand.Rand, set driftline.FeatureSet, at time.Time) int {
	t.Helper()
	var rows []string
	for range 1 + rng.IntN(3) {
		airport := func() string { return []string{`"JFK"`, `"LGA"`, `"EWR"`, `"SFO"`, "null"}[rng.IntN(5)] }
		distance := []string{"null", "0", "-2", "5", "9000000000000"}[rng.IntN(5)]
		rows = append(rows, fmt.Sprintf(`{"origin": %s, "dest": %s, "event_timestamp": %q, "distance": %s}`, airport(), airport(), at.Format(time.RFC3339), distance))
	}
	schema := arrow.NewSchema(append(tripSchema.Fields()[:3:3], arrow.Field{Name: "distance", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), nil)
	text := "[" + strings.Join(rows, ",") + "]"
	training, err := env.Engine.Historical(context.Background(), driftline.HistoricalRequest{FeatureSet: set}, env.Rows(schema, text))
	if err != nil {
		t.Fatal(err)
	}
	offline, _, err := training.Batches.Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(offline)
	entities, _, err := env.Rows(schema, text).Collect()
	if err != nil {
		t.Fatal(err)
	}
	defer driftline.ReleaseAll(entities)
	served, err := env.Engine.Online(context.Background(), driftline.OnlineRequest{FeatureSet: set, At: at}, entities[0])
	if err != nil {
		t.Fatal(err)
	}
	defer served.Release()
	if !served.Batch.Schema().Equal(offline[0].Schema()) {
		t.Fatalf("schemas differ:\n%s\n%s", served.Batch.Schema(), offline[0].Schema())
	}
	if !array.RecordApproxEqual(served.Batch, offline[0], array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
		t.Fatalf("at %s, of %s:\nonline  %s\noffline %s", at, text, served.Batch, offline[0])
	}
	return int(served.Batch.NumRows()) * len(served.Features)
}
