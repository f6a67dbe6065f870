package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

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
