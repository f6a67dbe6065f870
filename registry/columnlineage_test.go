package registry_test

import (
	"slices"
	"testing"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

// trips have a feature of each kind: stored, aggregated, computed on demand.
var trips = driftline.Definitions{
	Entities: []driftline.Entity{{Name: "zone", JoinKeys: []driftline.Field{{Name: "zone", Type: driftline.Int64}}}},
	FeatureViews: []driftline.FeatureView{{Name: "trips", Entities: []driftline.EntityName{"zone"},
		Features:     []driftline.Field{{Name: "fare", Type: driftline.Float64}, {Name: "tip", Type: driftline.Float64}},
		Aggregations: []driftline.Aggregation{{Column: "fare", Function: "mean", Windows: []driftline.Duration{3600e9}}}}},
	OnDemandFeatureViews: []driftline.OnDemandFeatureView{{Name: "rates", Sources: []driftline.Projection{{View: "trips"}},
		Features: []driftline.OnDemandFeature{{Name: "tip_rate", Expression: "tip / fare"}, {Name: "tipped", Expression: "tip > 0"}}}},
	FeatureServices: []driftline.FeatureService{{Name: "pricing", Projections: []driftline.Projection{{View: "trips", Features: []string{"tip"}}}}},
}

// openTrips has a dataset of two features, a run and a model version from it.
func openTrips(t *testing.T) *registry.Registry {
	t.Helper()
	r := open(t)
	must(t)(r.Apply(trips))
	must(t)(r.AddDataset(driftline.Dataset{Name: "tips", Snapshot: 5,
		Request:     driftline.HistoricalRequest{FeatureSet: driftline.FeatureSet{FullFeatureNames: true}},
		Projections: []driftline.Projection{{View: "trips", Features: []string{"fare"}}, {View: "rates", Features: []string{"tip_rate"}}}}))
	must(t)(r.CreateRun(driftline.RunSpec{Experiment: "e", Inputs: []driftline.Ref{{Kind: driftline.KindDataset, Name: "tips"}}}))
	if err := r.AddArtifact(nil, "e-1", artifact("model.bin", 1)); err != nil {
		t.Fatal(err)
	}
	must(t)(r.RegisterModel(driftline.ModelSpec{Model: "tips", Run: "e-1", Artifact: "model.bin"}))
	must(t)(r.MoveAlias("tips", "champion", driftline.AliasMove{Version: 1}))
	return r
}

func walked(t *testing.T, r *registry.Registry, from string, direction driftline.LineageDirection) []string {
	t.Helper()
	lineage, err := r.Lineage(ref(t, from), direction, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range lineage.Nodes[1:] {
		names = append(names, n.Ref.String())
	}
	return names
}

func TestLineageOfColumns(t *testing.T) {
	r := openTrips(t)
	for _, c := range []struct {
		from      string
		direction driftline.LineageDirection
		has, not  []string
	}{
		{"feature/trips:fare", driftline.Down,
			[]string{"feature/trips:fare_mean_1h", "feature/rates:tip_rate", "column/datasets.tips_v1:trips__fare", "dataset/tips@1", "run/e-1", "model/tips@1"},
			[]string{"feature/rates:tipped", "service/pricing"}},
		{"feature/trips:tip", driftline.Down,
			[]string{"service/pricing", "feature/rates:tipped", "column/datasets.tips_v1:rates__tip_rate", "model/tips@1"},
			[]string{"column/datasets.tips_v1:trips__fare", "feature/trips:fare_mean_1h"}},
		{"feature/rates:tipped", driftline.Down, nil, []string{"dataset/tips@1"}},
		{"column/datasets.tips_v1:rates__tip_rate", driftline.Up,
			[]string{"feature/rates:tip_rate", "feature/trips:tip", "column/features.trips:fare", "view/trips", "entity/zone"},
			[]string{"feature/rates:tipped", "dataset/tips@1"}},
	} {
		got := walked(t, r, c.from, c.direction)
		for _, want := range c.has {
			if !slices.Contains(got, want) {
				t.Errorf("%s %s: %s is missing in %v", c.from, c.direction, want, got)
			}
		}
		for _, other := range c.not {
			if slices.Contains(got, other) {
				t.Errorf("%s %s: %s is in %v", c.from, c.direction, other, got)
			}
		}
	}
	for _, unknown := range []string{"feature/trips:fares", "column/datasets.tips_v1:fare", "feature/x"} {
		if _, err := r.Lineage(ref(t, unknown), driftline.Up, 0); driftline.CodeOf(err) != driftline.NotFound {
			t.Errorf("%s: %v", unknown, err)
		}
	}
}

func planned(t *testing.T, r *registry.Registry, definitions driftline.Definitions) []driftline.Change {
	t.Helper()
	changes, err := r.Plan(definitions)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestAPlanNamesWhatItBreaks(t *testing.T) {
	r := openTrips(t)
	grown, dropped := trips, trips
	view := trips.FeatureViews[0]
	view.Features = append(slices.Clone(view.Features), driftline.Field{Name: "km", Type: driftline.Float64})
	grown.FeatureViews = []driftline.FeatureView{view}
	for _, change := range planned(t, r, grown) {
		if len(change.Affects) > 0 {
			t.Errorf("a further feature breaks %v", change.Affects)
		}
	}
	view.Aggregations, view.Features = nil, []driftline.Field{{Name: "fare", Type: driftline.Float64}, {Name: "gratuity", Type: driftline.Float64, RenamedFrom: "tip"}}
	dropped.FeatureViews = []driftline.FeatureView{view}
	dropped.OnDemandFeatureViews = slices.Clone(trips.OnDemandFeatureViews)
	dropped.OnDemandFeatureViews[0].Features = []driftline.OnDemandFeature{{Name: "tip_rate", Expression: "gratuity / fare"}, {Name: "tipped", Expression: "gratuity > 0"}}
	dropped.FeatureServices = []driftline.FeatureService{{Name: "pricing", Projections: []driftline.Projection{{View: "trips", Features: []string{"gratuity"}}}}}
	var told []string
	for _, change := range planned(t, r, dropped) {
		for _, d := range change.Affects {
			told = append(told, d.String())
		}
	}
	slices.Sort(told)
	if want := []string{"dataset/tips@1", "model/tips@1 (@champion)", "service/pricing"}; !slices.Equal(told, want) {
		t.Errorf("the plan names %v, want %v", told, want)
	}
}
