package registry

import (
	"fmt"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/expression"
)

// Limits on what a view may derive.
const (
	mostAggregated = 2000            // features, over all aggregations of a view
	longestWindow  = 100 * 366 * day // so that no sum of times leaves int64
	day            = driftline.Duration(24 * time.Hour)
)

// checkAggregations checks what the view derives against the columns that it has, of
// which taken holds the names.
func checkAggregations(view *driftline.FeatureView, taken columns) error {
	if err := checkEventID(view); err != nil {
		return err
	}
	if len(view.Aggregations) == 0 {
		return nil
	}
	switch {
	case view.Horizon > 0:
		return driftline.Errorf(driftline.Invalid, "it has both aggregations and a horizon").
			WithHint("aggregations look back over events; labels have a horizon and look ahead: make two views")
	case view.Source != nil:
		return driftline.Errorf(driftline.Invalid, "it has both aggregations and a source").
			WithHint("ingest the events: rows of files that somebody else writes are in no order")
	}
	features := 0
	for i := range view.Aggregations {
		a := &view.Aggregations[i]
		if err := checkAggregation(view, a); err != nil {
			return named("aggregation", a.Label(), err)
		}
		for _, w := range a.Windows {
			if err := taken.takeChecked(a.FeatureName(w), "aggregated feature"); err != nil {
				return err
			}
		}
		features += len(a.Windows)
	}
	if features > mostAggregated {
		return driftline.Errorf(driftline.Invalid, "its aggregations derive %d features, and at most %d are kept", features, mostAggregated).
			WithHint("spread them over several views")
	}
	return nil
}

func checkEventID(view *driftline.FeatureView) error {
	if view.EventID == "" {
		return nil
	}
	f, ok := view.Feature(view.EventID)
	if !ok {
		err := unknown("event_id", view.EventID, view.FeatureNames(), applyFirst)
		err.Code = driftline.Invalid
		return err
	}
	if f.Type == driftline.Float32 || f.Type == driftline.Float64 {
		return driftline.Errorf(driftline.Invalid, "event_id %q is %s, and fractions do not identify things", f.Name, f.Type).
			WithHint("use a feature of int64 or string")
	}
	return nil
}

func checkAggregation(view *driftline.FeatureView, a *driftline.Aggregation) error {
	input := driftline.Type("")
	if a.Column != "" {
		f, ok := view.Feature(a.Column)
		if !ok {
			err := unknown("column", a.Column, view.FeatureNames(), applyFirst)
			err.Code = driftline.Invalid
			return err
		}
		input = f.Type
	}
	if _, err := a.Function.Result(input); err != nil {
		return err
	}
	if err := checkArguments(a); err != nil {
		return err
	}
	if err := checkWindows(a); err != nil {
		return err
	}
	if err := checkCategory(view, a); err != nil {
		return err
	}
	return checkFilter(view, a)
}

// checkFilter checks that the filter is a condition over the view's features.
func checkFilter(view *driftline.FeatureView, a *driftline.Aggregation) error {
	if a.Filter == "" {
		return nil
	}
	var over []expression.Column
	for _, f := range view.Features {
		over = append(over, expression.Column{Name: f.Name, Type: f.Type})
	}
	filter, err := expression.Compile(a.Filter, over)
	if err != nil {
		return named("filter", clip(a.Filter), err)
	}
	if filter.Type() != driftline.Bool {
		return driftline.Errorf(driftline.Invalid, "filter %q is %s, want bool", clip(a.Filter), filter.Type()).
			WithHint("write a condition over the view's features, for example dep_delay > 15")
	}
	return nil
}

// checkArguments checks what some functions need and others have no use for.
func checkArguments(a *driftline.Aggregation) error {
	listed := a.Function == driftline.LastN || a.Function == driftline.TopK
	switch {
	case listed && (a.N < 1 || a.N > driftline.MostAggregated):
		return driftline.Errorf(driftline.Invalid, "n is %d, want 1 to %d", a.N, driftline.MostAggregated).
			WithHint("say how many values %s gives, for example n: 5", a.Function)
	case !listed && a.N != 0:
		return driftline.Errorf(driftline.Invalid, "%s has no n", a.Function).WithHint("leave n out; last_n and top_k have one")
	case a.Function == driftline.ApproxQuantile && !(a.Quantile > 0 && a.Quantile <= 1):
		return driftline.Errorf(driftline.Invalid, "quantile is %v, want more than 0 and 1 at most", a.Quantile).
			WithHint("say which quantile, for example quantile: 0.9; for the least value use min")
	case a.Function != driftline.ApproxQuantile && a.Quantile != 0:
		return driftline.Errorf(driftline.Invalid, "%s has no quantile", a.Function).WithHint("leave quantile out; approx_quantile has one")
	}
	return nil
}

func checkWindows(a *driftline.Aggregation) error {
	if len(a.Windows) == 0 {
		return driftline.Errorf(driftline.Invalid, "it has no windows").WithHint("say how far back it looks, for example windows: [1h, 1d]")
	}
	for i, w := range a.Windows {
		switch {
		case w <= 0 || w > longestWindow || time.Duration(w)%time.Microsecond != 0:
			return driftline.Errorf(driftline.Invalid, "window %s is not a time in whole microseconds, or is longer than 100 years", w).
				WithHint("write it like 30m, 1h or 7d")
		case slices.Contains(a.Windows[:i], w):
			return driftline.Errorf(driftline.Invalid, "window %s is there twice", w.Short()).WithHint("keep one of the two")
		}
	}
	if a.Hop < 0 || a.Hop > longestWindow || time.Duration(a.Hop)%time.Microsecond != 0 {
		return driftline.Errorf(driftline.Invalid, "hop %s is not a time in whole microseconds, or is longer than 100 years", a.Hop).
			WithHint("leave hop out for windows that slide, or write it like 5m")
	}
	return nil
}

func checkCategory(view *driftline.FeatureView, a *driftline.Aggregation) error {
	if a.By == "" {
		return nil
	}
	f, ok := view.Feature(a.By)
	if !ok {
		err := unknown("category (by)", a.By, view.FeatureNames(), applyFirst)
		err.Code = driftline.Invalid
		return err
	}
	if !slices.Contains([]driftline.Type{driftline.String, driftline.Int32, driftline.Int64, driftline.Bool}, f.Type) {
		return driftline.Errorf(driftline.Invalid, "category (by) %q is %s", f.Name, f.Type).WithHint("categories are string, int32, int64 or bool")
	}
	return nil
}

// aggregations compares what two definitions of a view derive, feature by feature; what
// is gone comes first.
func (d *differences) aggregations(old, now *driftline.FeatureView) {
	before, after := derived(old), derived(now)
	for _, f := range old.AggregatedFeatures() {
		if _, stays := after[f.Name]; !stays {
			*d = append(*d, fmt.Sprintf("aggregations: - %s", f.Name))
		}
	}
	for _, f := range now.AggregatedFeatures() {
		if was, there := before[f.Name]; !there {
			*d = append(*d, fmt.Sprintf("aggregations: + %s %s", f.Name, f.Type))
		} else {
			d.text("aggregations."+f.Name, was, after[f.Name])
		}
	}
	d.text("event_id", old.EventID, now.EventID)
}

// derived says what each aggregated feature of the view is, by name.
func derived(view *driftline.FeatureView) map[string]string {
	said := map[string]string{}
	for _, f := range view.AggregatedFeatures() {
		said[f.Name] = f.Description
	}
	return said
}
