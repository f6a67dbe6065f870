package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/driftline/driftline"
)

// events is a view with these aggregations.
func events(aggregations ...driftline.Aggregation) driftline.FeatureView {
	return driftline.FeatureView{Name: "departures", Features: []driftline.Field{
		feature("delay", "float32"), feature("flight", "int64"), feature("carrier", "string"), feature("cancelled", "bool"),
	}, Aggregations: aggregations}
}

func over(function driftline.Function, column string, windows ...time.Duration) driftline.Aggregation {
	a := driftline.Aggregation{Function: function, Column: column}
	for _, w := range windows {
		a.Windows = append(a.Windows, driftline.Duration(w))
	}
	return a
}

func defining(views ...driftline.FeatureView) driftline.Definitions {
	return driftline.Definitions{FeatureViews: views}
}

func TestAggregationsOfferFeatures(t *testing.T) {
	r := open(t)
	late := over(driftline.Count, "", time.Hour)
	late.Name, late.Filter = "late", "delay > 15"
	byCarrier := over(driftline.TopK, "flight", 36*time.Hour)
	byCarrier.By, byCarrier.N = "carrier", 3
	view := events(over(driftline.Mean, "delay", time.Hour, 24*time.Hour), over(driftline.Sum, "flight", time.Hour),
		over(driftline.Max, "delay", 90*time.Minute), late, byCarrier)
	view.EventID = "flight"
	if _, err := r.Apply(defining(view)); err != nil {
		t.Fatal(err)
	}
	resolution, err := r.Resolve(driftline.FeatureSet{Projections: []driftline.Projection{{View: "departures"}}})
	if err != nil {
		t.Fatal(err)
	}
	resolved := resolution.Reads
	want := "delay flight carrier cancelled delay_mean_1h delay_mean_1d flight_sum_1h delay_max_1h30m late_1h flight_top_k_1d12h"
	if got := strings.Join(resolved[0].Projection.Features, " "); got != want {
		t.Errorf("offered are %s\nwant %s", got, want)
	}
	types := map[string]driftline.Type{}
	for _, f := range resolved[0].View.Offered() {
		types[f.Name] = f.Type
	}
	for name, want := range map[string]driftline.Type{
		"delay_mean_1h": "float64", "flight_sum_1h": "int64", "delay_max_1h30m": "float32", "late_1h": "int64",
		"flight_top_k_1d12h": "map<string, list<int64>>",
	} {
		if types[name] != want {
			t.Errorf("%s is %s, want %s", name, types[name], want)
		}
	}
}

func TestWrongAggregationsAreNamed(t *testing.T) {
	hour := time.Hour
	with := func(a driftline.Aggregation, change func(*driftline.Aggregation)) driftline.FeatureView {
		change(&a)
		return events(a)
	}
	labels, source, fraction, unknown := events(over(driftline.Count, "", hour)), events(over(driftline.Count, "", hour)), events(), events()
	labels.Horizon = driftline.Duration(hour)
	source.Source = &driftline.BatchSource{Format: driftline.ParquetSource, Path: "/rows"}
	fraction.EventID, unknown.EventID = "delay", "flihgt"
	for says, view := range map[string]driftline.FeatureView{
		`aggregation "dely_mean": column "dely" does not exist; did you mean "delay"?`: events(over(driftline.Mean, "dely", hour)),
		`function "avg" does not exist`:                  events(over("avg", "delay", hour)),
		`sum cannot be applied to values of type string`: events(over(driftline.Sum, "carrier", hour)),
		`mean has no column`:                             events(over(driftline.Mean, "", hour)),
		`it has no windows`:                              events(over(driftline.Mean, "delay")),
		`window 1h is there twice`:                       events(over(driftline.Mean, "delay", hour, hour)),
		`window -1h0m0s is not`:                          events(over(driftline.Mean, "delay", -hour)),
		`window 1ns is not`:                              events(over(driftline.Mean, "delay", 1)),
		`n is 0, want 1 to 1000`:                         events(over(driftline.LastN, "delay", hour)),
		`mean has no n`:                                  with(over(driftline.Mean, "delay", hour), func(a *driftline.Aggregation) { a.N = 3 }),
		`quantile is 0, want more than 0`:                events(over(driftline.ApproxQuantile, "delay", hour)),
		`category (by) "delay" is float32`:               with(over(driftline.Count, "", hour), func(a *driftline.Aggregation) { a.By = "delay" }),
		`aggregated feature "delay_mean_1h" has the name of its aggregated feature delay_mean_1h`: events(over(driftline.Mean, "delay", hour), over(driftline.Mean, "delay", hour)),
		`filter "delay" is float32, want bool`:                                                    with(over(driftline.Count, "", hour), func(a *driftline.Aggregation) { a.Filter = "delay" }),
		`filter "dely > 1": `:                                                                     with(over(driftline.Count, "", hour), func(a *driftline.Aggregation) { a.Filter = "dely > 1" }),
		`both aggregations and a horizon`:                                                         labels,
		`both aggregations and a source`:                                                          source,
		`event_id "delay" is float32`:                                                             fraction,
		`event_id "flihgt" does not exist; did`:                                                   unknown,
	} {
		if _, err := open(t).Apply(defining(view)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v\nwant %s", err, says)
		}
	}
}

// TestPlansSayHowAggregationsChange adds, changes and drops aggregations: the view's
// features stay what they are, and what a service uses stays.
func TestPlansSayHowAggregationsChange(t *testing.T) {
	r := open(t)
	service := driftline.FeatureService{Name: "model", Projections: []driftline.Projection{{View: "departures", Features: []string{"delay_mean_1h"}}}}
	mean := over(driftline.Mean, "delay", time.Hour)
	first := defining(events(mean, over(driftline.Count, "", time.Hour)))
	first.FeatureServices = []driftline.FeatureService{service}
	if _, err := r.Apply(first); err != nil {
		t.Fatal(err)
	}
	late := over(driftline.Mean, "delay", time.Hour, 24*time.Hour)
	late.Filter = "delay > 0"
	second := events(late)
	second.EventID = "flight"
	changed, err := r.Apply(defining(second))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"aggregations: - count_1h",
		"aggregations.delay_mean_1h: mean(delay) over 1h → mean(delay) over 1h where delay > 0",
		"aggregations: + delay_mean_1d float64",
		"event_id: + flight",
	}
	if got := strings.Join(changed[0].Fields, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the plan says\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if again, err := r.Apply(defining(second)); err != nil || again[0].Action != driftline.ChangeNone {
		t.Errorf("applied again: %v, %v", again, err)
	}
	if _, err := r.Apply(defining(events())); err == nil || !strings.Contains(err.Error(), `feature "delay_mean_1h" cannot be dropped, feature service "model" uses it`) {
		t.Errorf("dropped under a service: %v", err)
	}
}
