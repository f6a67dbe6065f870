package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

func TestApplyIsIdempotentAndPlanAgreesWithIt(t *testing.T) {
	r := open(t)
	planned, err := r.Plan(flights())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Views()) != 0 || r.Newest().Sequence != 0 {
		t.Fatal("Plan changed the catalogue")
	}
	applied, err := r.Apply(flights())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(planned) != fmt.Sprint(applied) {
		t.Errorf("planned %v, applied %v", planned, applied)
	}
	if got := describe(applied); got != "create entity/airport\ncreate entity/carrier\ncreate view/weather\ncreate view/carrier_performance\ncreate service/delay_model\n" {
		t.Errorf("first apply:\n%s", got)
	}
	before := r.Newest()
	again, err := r.Apply(flights())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range again {
		if change.Action != driftline.ChangeNone {
			t.Errorf("second apply: %v", change)
		}
	}
	if r.Newest() != before {
		t.Error("an apply that changes nothing wrote a line")
	}
}

func describe(changes []driftline.Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&b, strings.TrimSpace(c.Action+" "+c.Ref.String()+" "+strings.Join(c.Fields, ", ")))
	}
	return b.String()
}

func TestRegisteredViewKnowsItsKeysAndTimes(t *testing.T) {
	view, err := openFlights(t).View("weather")
	if err != nil {
		t.Fatal(err)
	}
	if got := view.Schema().String(); !strings.Contains(got, "airport: type=utf8") || !strings.Contains(got, "event_timestamp: type=timestamp[us, tz=UTC]") {
		t.Errorf("schema is\n%s", got)
	}
	service, err := openFlights(t).Service("delay_model")
	if err != nil {
		t.Fatal(err)
	}
	if got := service.Projections[0].Features; !slices.Equal(got, []string{"temp", "wind"}) {
		t.Errorf("features of the service are %v: a service spells them out", got)
	}
}

func TestCompatibleChangesAreSaidInWords(t *testing.T) {
	r := openFlights(t)
	next := flights()
	view := &next.FeatureViews[0]
	view.TTL = driftline.Duration(6 * time.Hour)
	view.Description = "hourly"
	view.Tags = map[string]string{"team": "ops"}
	view.Features = []driftline.Field{{Name: "humid", Type: "double"}, {Name: "wind", Type: "float64"}, {Name: "temp", Type: "Float64"}}
	changes, err := r.Apply(next)
	if err != nil {
		t.Fatal(err)
	}
	want := `none entity/airport
none entity/carrier
update view/weather features: + humid float64, ttl: 3h0m0s → 6h0m0s, description: + hourly, tags.team: + ops
none view/carrier_performance
update service/delay_model projections: weather(temp, wind); carrier_performance(mean_delay) → weather(temp, wind, humid); carrier_performance(mean_delay)
`
	if got := describe(changes); got != want {
		t.Errorf("changes are\n%swant\n%s", got, want)
	}
	registered, _ := r.View("weather")
	if got := registered.FeatureNames(); !slices.Equal(got, []string{"temp", "wind", "humid"}) {
		t.Errorf("features are %v: old ones keep their place", got)
	}
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*driftline.Definitions)
		code   driftline.Code
		says   []string
	}{
		{"entity name", func(d *driftline.Definitions) { d.Entities[0].Name = "Airport" }, driftline.Invalid, []string{"entity", "Airport"}},
		{"no join key", func(d *driftline.Definitions) { d.Entities[0].JoinKeys = nil }, driftline.Invalid, []string{`"airport" has no join key`}},
		{"fraction as key", func(d *driftline.Definitions) { d.Entities[1].JoinKeys[0].Type = "double" }, driftline.Invalid, []string{"carrier", "float64"}},
		{"key twice", func(d *driftline.Definitions) {
			d.Entities[0].JoinKeys = append(d.Entities[0].JoinKeys, driftline.Field{Name: "AIRPORT", Type: "string"})
		}, driftline.Invalid, []string{"AIRPORT", "airport"}},
		{"defined twice", func(d *driftline.Definitions) { d.Entities[1].Name = "airport" }, driftline.Invalid, []string{"entity/airport is defined twice"}},
		{"unknown entity", func(d *driftline.Definitions) { d.FeatureViews[0].Entities[0] = "airprot" }, driftline.NotFound, []string{`feature view "weather"`, `did you mean "airport"?`}},
		{"entity twice", func(d *driftline.Definitions) {
			d.FeatureViews[0].Entities = []driftline.EntityName{"airport", "airport"}
		}, driftline.Invalid, []string{"listed twice"}},
		{"no features", func(d *driftline.Definitions) { d.FeatureViews[0].Features = nil }, driftline.Invalid, []string{`"weather"`, "no features"}},
		{"unknown type", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Type = "flaot64" }, driftline.NotFound, []string{"temp", `did you mean "float64"?`}},
		{"feature name", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Name = "__sequence" }, driftline.Invalid, []string{"__sequence"}},
		{"features differ by case", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "TEMP" }, driftline.Invalid, []string{"TEMP", "feature temp"}},
		{"feature is a key", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "airport" }, driftline.Invalid, []string{"join key airport"}},
		{"feature is a time", func(d *driftline.Definitions) { d.FeatureViews[0].Features[1].Name = "event_timestamp" }, driftline.Invalid, []string{"event timestamp"}},
		{"created is event", func(d *driftline.Definitions) { d.FeatureViews[0].CreatedTimestamp = "Event_Timestamp" }, driftline.Invalid, []string{"created timestamp"}},
		{"known_at without created", func(d *driftline.Definitions) { d.FeatureViews[1].KnownAt = true }, driftline.Invalid, []string{"known_at", "created_timestamp"}},
		{"negative ttl", func(d *driftline.Definitions) { d.FeatureViews[0].TTL = -1 }, driftline.Invalid, []string{"ttl"}},
		{"labels with a ttl", func(d *driftline.Definitions) {
			d.FeatureViews[0].TTL, d.FeatureViews[0].Horizon = 1, 1
		}, driftline.Invalid, []string{`"weather"`, "ttl and a horizon", "make two views"}},
		{"labels known at their time", func(d *driftline.Definitions) {
			d.FeatureViews[1].CreatedTimestamp, d.FeatureViews[1].KnownAt, d.FeatureViews[1].TTL, d.FeatureViews[1].Horizon = "created", true, 0, 1
		}, driftline.Invalid, []string{"known_at and a horizon"}},
		{"negative horizon", func(d *driftline.Definitions) { d.FeatureViews[0].Horizon = -1 }, driftline.Invalid, []string{"horizon"}},
		{"source of unknown format", func(d *driftline.Definitions) {
			d.FeatureViews[0].Source = &driftline.BatchSource{Format: "parquett", Path: "/data/weather"}
		}, driftline.Invalid, []string{`did you mean "parquet"?`}},
		{"source of a relative path", func(d *driftline.Definitions) {
			d.FeatureViews[0].Source = &driftline.BatchSource{Format: driftline.ParquetSource, Path: "data/weather"}
		}, driftline.Invalid, []string{`"data/weather" is not absolute`}},
		{"lag into the future", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].Lag = -1 }, driftline.Invalid, []string{"negative", "future"}},
		{"lag of labels", func(d *driftline.Definitions) {
			d.FeatureViews[0].TTL, d.FeatureViews[0].Horizon, d.FeatureServices[0].Projections[0].Lag = 0, 1, 1
		}, driftline.Invalid, []string{"lag", "labels"}},
		{"text is not UTF-8", func(d *driftline.Definitions) { d.FeatureViews[0].Description = "\xff" }, driftline.Invalid, []string{"UTF-8"}},
		{"service of unknown view", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].View = "wether" }, driftline.NotFound, []string{"delay_model", `did you mean "weather"?`}},
		{"service of unknown feature", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].Features = []string{"tmep"} }, driftline.NotFound, []string{"weather", `did you mean "temp"?`}},
		{"service without features", func(d *driftline.Definitions) { d.FeatureServices[0].Projections = nil }, driftline.Invalid, []string{"delay_model"}},
		{"view twice without roles", func(d *driftline.Definitions) {
			d.FeatureServices[0].Projections[1] = driftline.Projection{View: "weather"}
		}, driftline.Invalid, []string{"used twice", "role"}},
		{"role is another view", func(d *driftline.Definitions) { d.FeatureServices[0].Projections[0].Role = "carrier_performance" }, driftline.Invalid, []string{"both used"}},
		{"key map of unknown key", func(d *driftline.Definitions) {
			d.FeatureServices[0].Projections[0].JoinKeyMap = map[string]string{"airpot": "origin"}
		}, driftline.NotFound, []string{`did you mean "airport"?`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := open(t)
			definitions := flights()
			test.change(&definitions)
			_, err := r.Apply(definitions)
			wantError(t, err, test.code, test.says...)
			_, planErr := r.Plan(definitions)
			if fmt.Sprint(planErr) != fmt.Sprint(err) {
				t.Errorf("Plan says %v, Apply says %v", planErr, err)
			}
			if r.Newest().Sequence != 0 || len(r.Entities()) != 0 {
				t.Error("a refused apply left something behind")
			}
		})
	}
}

func TestApplyRefusesToBreakWhatIsStored(t *testing.T) {
	tests := []struct {
		name   string
		change func(*driftline.Definitions)
		says   []string
	}{
		{"drop", func(d *driftline.Definitions) { d.FeatureViews[0].Features = d.FeatureViews[0].Features[:1] }, []string{`feature "wind" cannot be dropped`, `"delay_model" uses it`}},
		{"rename", func(d *driftline.Definitions) {
			d.FeatureViews[0].Features[1] = driftline.Field{Name: "gust", RenamedFrom: "wind", Type: "float64"}
		}, []string{`"wind" cannot be renamed to "gust"`, `"delay_model" has it as "wind"`, `name "gust" in the service`}},
		{"rename, and another of the old name", func(d *driftline.Definitions) {
			d.FeatureViews[0].Features[1] = driftline.Field{Name: "gust", RenamedFrom: "wind", Type: "float64"}
			d.FeatureViews[0].Features = append(d.FeatureViews[0].Features, driftline.Field{Name: "wind", Type: "float64"})
		}, []string{`"wind" cannot be renamed to "gust"`, "delay_model"}},
		{"rename onto a feature", func(d *driftline.Definitions) {
			d.FeatureViews[0].Features = []driftline.Field{{Name: "temp", RenamedFrom: "wind", Type: "float64"}}
		}, []string{`"wind" cannot be renamed to "temp", which is there`, "leave renamed_from out"}},
		{"narrow", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Type = "float32" }, []string{"from float64 to float32", "weather@2"}},
		{"retype", func(d *driftline.Definitions) { d.FeatureViews[0].Features[0].Type = "int64" }, []string{"from float64 to int64", "weather@2"}},
		{"keys", func(d *driftline.Definitions) { d.FeatureViews[0].Entities[0] = "carrier" }, []string{"join keys", "weather@2"}},
		{"event timestamp", func(d *driftline.Definitions) { d.FeatureViews[0].EventTimestamp = "hour" }, []string{"event timestamp", "hour"}},
		{"created timestamp", func(d *driftline.Definitions) { d.FeatureViews[0].CreatedTimestamp = "" }, []string{"created timestamp"}},
		{"features to labels", func(d *driftline.Definitions) { d.FeatureViews[0].TTL, d.FeatureViews[0].Horizon = 0, 1 }, []string{"labels", "weather@2"}},
		{"rows to a source", func(d *driftline.Definitions) {
			d.FeatureViews[0].Source = &driftline.BatchSource{Format: driftline.ParquetSource, Path: "/data/weather"}
		}, []string{"source", "weather@2"}},
		{"entity in use", func(d *driftline.Definitions) { d.Entities[0].JoinKeys[0].Type = "int64" }, []string{`entity "airport"`, `"weather" has rows`, "airport_v2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := openFlights(t)
			before := r.Newest()
			next := flights()
			next.FeatureServices = nil
			test.change(&next)
			_, err := r.Apply(next)
			wantError(t, err, driftline.FailedPrecondition, test.says...)
			if r.Newest() != before {
				t.Error("a refused apply wrote a line")
			}
		})
	}
}

func TestResolve(t *testing.T) {
	r := openFlights(t)
	resolution, err := r.Resolve(driftline.FeatureSet{Features: []string{"weather:wind", "carrier_performance:mean_delay", "weather:temp"}})
	if err != nil {
		t.Fatal(err)
	}
	resolved := resolution.Reads
	got := ""
	for _, one := range resolved {
		got += fmt.Sprintf("%s%v ", one.View.Name, one.Features)
	}
	if got != "weather[wind temp] carrier_performance[mean_delay] " {
		t.Errorf("resolved %s", got)
	}
	tests := []struct {
		name string
		set  driftline.FeatureSet
		code driftline.Code
		says string
	}{
		{"nothing", driftline.FeatureSet{}, driftline.Invalid, "no features"},
		{"both", driftline.FeatureSet{Service: "delay_model", Features: []string{"weather:temp"}}, driftline.Invalid, "one or the other"},
		{"service", driftline.FeatureSet{Service: "delay_modle"}, driftline.NotFound, `"delay_model"`},
		{"view", driftline.FeatureSet{Features: []string{"wether:temp"}}, driftline.NotFound, `"weather"`},
		{"feature", driftline.FeatureSet{Features: []string{"weather:tmp"}}, driftline.NotFound, `"temp"`},
		{"twice", driftline.FeatureSet{Features: []string{"weather:temp", "weather:temp"}}, driftline.Invalid, "twice"},
		{"form", driftline.FeatureSet{Features: []string{"temp"}}, driftline.Invalid, "view:feature"},
		{"roles", driftline.FeatureSet{Projections: []driftline.Projection{{View: "weather", Role: "a"}, {View: "weather", Role: "a"}}}, driftline.Invalid, "role"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.Resolve(test.set)
			wantError(t, err, test.code, test.says)
		})
	}
	pieces := driftline.FeatureSet{Projections: []driftline.Projection{
		{View: "weather", Features: []string{"wind"}}, {View: "weather", Features: []string{"wind"}, Role: "before", Lag: driftline.Duration(time.Hour)},
		{View: "weather", Features: []string{"temp"}},
	}}
	if resolved, err := r.Resolve(pieces); err != nil || len(resolved.Reads) != 2 || len(resolved.Reads[0].Features) != 2 || len(pieces.Projections[0].Features) != 1 {
		t.Errorf("one use of a view in pieces: %v, %v (asked %v)", resolved, err, pieces)
	}
	roles := driftline.FeatureSet{Projections: []driftline.Projection{
		{View: "weather", Role: "origin", JoinKeyMap: map[string]string{"airport": "origin"}},
		{View: "weather", Role: "destination", JoinKeyMap: map[string]string{"airport": "dest"}},
	}}
	if resolved, err := r.Resolve(roles); err != nil || len(resolved.Reads) != 2 {
		t.Errorf("one view in two roles: %v, %v", resolved, err)
	}
}
