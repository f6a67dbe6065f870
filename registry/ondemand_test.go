package registry_test

import (
	"strings"
	"testing"

	"github.com/driftline/driftline"
)

// feeling is an on-demand view over the weather.
func feeling() driftline.OnDemandFeatureView {
	return driftline.OnDemandFeatureView{
		Name:    "feeling",
		Sources: []driftline.Projection{{View: "weather"}},
		Request: []driftline.Field{{Name: "speed", Type: "double"}},
		Features: []driftline.OnDemandFeature{
			{Name: "felt", Expression: "temp - wind * 0.7"},
			{Name: "fast", Expression: "speed > request.speed / 2 AND wind > 3"},
		},
	}
}

func onDemand(change func(*driftline.OnDemandFeatureView)) driftline.Definitions {
	view := feeling()
	if change != nil {
		change(&view)
	}
	return driftline.Definitions{OnDemandFeatureViews: []driftline.OnDemandFeatureView{view}}
}

func TestAnOnDemandViewIsAppliedAndFolded(t *testing.T) {
	r := openFlights(t)
	changes, err := r.Apply(onDemand(nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != 1 || changes[0].Action != driftline.ChangeCreate || changes[0].Ref != driftline.ViewRef("feeling") {
		t.Errorf("changes are %+v", changes)
	}
	view, err := r.OnDemandView("feeling")
	if err != nil {
		t.Fatal(err)
	}
	if view.Features[0].Type != driftline.Float64 || view.Features[1].Type != driftline.Bool || view.Request[0].Type != driftline.Float64 {
		t.Errorf("types are not filled in: %+v", view)
	}
	if changes, err = r.Apply(onDemand(nil)); err != nil || changes[0].Action != driftline.ChangeNone {
		t.Errorf("applied again: %+v, %v", changes, err)
	}
	changes, err = r.Apply(onDemand(func(v *driftline.OnDemandFeatureView) {
		v.Features[0].Expression = "round(temp)"
		v.Features = append(v.Features[:1], driftline.OnDemandFeature{Name: "cold", Expression: "temp < 0"})
	}))
	want := "features: - fast|features.felt.expression: temp - wind * 0.7 → round(temp)|features: + cold = temp < 0"
	if err != nil || strings.Join(changes[0].Fields, "|") != want {
		t.Errorf("changed: %+v, %v", changes, err)
	}
	lineage, err := r.Lineage(driftline.ViewRef("feeling"), driftline.Up, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := draw(lineage); !strings.Contains(got, "view/feeling -computed from-> view/weather") {
		t.Errorf("lineage is\n%s", got)
	}
}

func TestOnDemandDefinitionsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*driftline.OnDemandFeatureView)
		code   driftline.Code
		want   string
	}{
		{func(v *driftline.OnDemandFeatureView) { v.Features[0].Expression = "temp +" }, driftline.Invalid,
			`on-demand feature view "feeling": feature "felt": expression, character 7 (at its end): it ends where a value should come`},
		{func(v *driftline.OnDemandFeatureView) { v.Features[0].Expression = "tmp" }, driftline.Invalid, `there is no column "tmp"; did you mean "temp"?`},
		{func(v *driftline.OnDemandFeatureView) { v.Features[0].Type = "int64" }, driftline.Invalid, `its expression is float64, and its type says int64; leave the type out, or write a CAST`},
		{func(v *driftline.OnDemandFeatureView) { v.Features[1].Name = "FELT" }, driftline.Invalid, `feature "FELT" has the name of its feature felt`},
		{func(v *driftline.OnDemandFeatureView) { v.Sources = nil }, driftline.Invalid, "it has no sources"},
		{func(v *driftline.OnDemandFeatureView) { v.Features = nil }, driftline.Invalid, "it has no features"},
		{func(v *driftline.OnDemandFeatureView) { v.Sources[0].View = "wether" }, driftline.NotFound, `feature view "wether" does not exist; did you mean "weather"?`},
		{func(v *driftline.OnDemandFeatureView) { v.Sources[0].View = "feeling" }, driftline.NotFound, `feature view "feeling" does not exist`},
		{func(v *driftline.OnDemandFeatureView) { v.Sources[0].Features = []string{"rain"} }, driftline.NotFound, `feature "rain" does not exist`},
		{func(v *driftline.OnDemandFeatureView) { v.Sources[0].Role = "request" }, driftline.Invalid, `is called "request", as request data are`},
		{func(v *driftline.OnDemandFeatureView) { v.Sources = append(v.Sources, v.Sources[0]) }, driftline.Invalid, `view "weather" is used twice as "weather"`},
		{func(v *driftline.OnDemandFeatureView) { v.Request[0].Type = "decimal" }, driftline.NotFound, `"decimal"`},
		{func(v *driftline.OnDemandFeatureView) { v.Name = "weather" }, driftline.Invalid, `has the name of a feature view`},
		{func(v *driftline.OnDemandFeatureView) { v.Name = "Feeling" }, driftline.Invalid, `"Feeling" is not valid`},
	} {
		r := openFlights(t)
		_, err := r.Apply(onDemand(c.change))
		if driftline.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %s %v, want %s %s", driftline.CodeOf(err), err, c.code, c.want)
		}
	}
}

func TestAViewCannotChangeUnderAnOnDemandView(t *testing.T) {
	r := openFlights(t)
	must(t)(r.Apply(onDemand(nil)))
	model := driftline.FeatureService{Name: "felt_model", Projections: []driftline.Projection{{View: "feeling"}}}
	must(t)(r.Apply(driftline.Definitions{FeatureServices: []driftline.FeatureService{model}}))
	without := flights()
	for i := range without.FeatureViews {
		if v := &without.FeatureViews[i]; v.Name == "weather" {
			v.Features = v.Features[:1] // temp
		}
	}
	without.FeatureServices = nil
	_, err := r.Apply(without)
	if driftline.CodeOf(err) != driftline.FailedPrecondition || !strings.Contains(err.Error(), `feature view "weather" cannot change so: on-demand feature view "feeling" is computed from it`) ||
		!strings.Contains(err.Error(), `there is no column "wind"`) {
		t.Errorf("dropped a feature that is read: %v", err)
	}
	without.OnDemandFeatureViews = onDemand(func(v *driftline.OnDemandFeatureView) { v.Features = v.Features[:1] }).OnDemandFeatureViews
	without.OnDemandFeatureViews[0].Features[0].Expression = "temp"
	without.FeatureServices = flights().FeatureServices
	without.FeatureServices[0].Projections[0].Features = []string{"temp"}
	_, err = r.Apply(without)
	if driftline.CodeOf(err) != driftline.FailedPrecondition || !strings.Contains(err.Error(), `feature "fast" cannot be dropped, feature service "felt_model" uses it`) {
		t.Errorf("dropped a feature of a service: %v", err)
	}
	clash := flights()
	clash.FeatureViews[0].Name = "feeling"
	clash.FeatureServices = nil
	if _, err = r.Apply(clash); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("a view took the name: %v", err)
	}
}

// TestAResolutionReadsEachViewOnce shows what is read for features that are computed.
func TestAResolutionReadsEachViewOnce(t *testing.T) {
	r := openFlights(t)
	must(t)(r.Apply(onDemand(nil)))
	resolution, err := r.Resolve(driftline.FeatureSet{Features: []string{"feeling:fast", "weather:temp", "feeling:felt"}})
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range resolution.Columns {
		columns = append(columns, c.Name+" "+string(c.Type))
	}
	if got := strings.Join(columns, ", "); got != "fast bool, felt float64, temp float64" {
		t.Errorf("columns are %s", got)
	}
	if len(resolution.Reads) != 1 || strings.Join(resolution.Reads[0].Features, " ") != "temp wind" {
		t.Errorf("reads are %+v", resolution.Reads)
	}
	if len(resolution.Request) != 1 || resolution.Request[0].Name != "speed" || resolution.Request[0].For != "feeling" {
		t.Errorf("request data are %+v", resolution.Request)
	}
	if _, err := r.View("feeling"); driftline.CodeOf(err) != driftline.Invalid {
		t.Errorf("its rows: %v", err)
	}
}
