package driftline

import (
	"fmt"
	"slices"
	"strings"
)

// Aggregation derives features from the events of a view, one for each of its windows: the
// value at time t summarises the view's rows of the entity whose event time is in
// (t − window, t], or in [t − window, t) where a request is strict. The view's TTL does not
// bear on it.
//
// Null inputs are left out. Over nothing a count is 0 and everything else is null.
type Aggregation struct {
	// Name is what its features are called, before the window: late gives late_1h and
	// late_1d. Empty means the column and the function: dep_delay_mean_1h.
	Name string `json:"name,omitempty"`

	// Column is the feature that is summarised. A count without one counts rows.
	Column string `json:"column,omitempty"`

	Function Function   `json:"function"`
	Windows  []Duration `json:"windows"`

	// Hop moves the windows in steps: the time t is first rounded down to a multiple of
	// Hop since 1970. 0 means that they slide, exact to the microsecond.
	Hop Duration `json:"hop,omitempty"`

	// Filter is an SQL condition over the view's features: only rows for which it is true count.
	Filter string `json:"filter,omitempty"`

	// By gives a value for each value of this feature (text, whole numbers or truth
	// values): a map from its text. Rows where it is null are left out.
	By string `json:"by,omitempty"`

	N        int     `json:"n,omitempty"`        // of last_n and top_k: how many at most
	Quantile float64 `json:"quantile,omitempty"` // of approx_quantile, from 0 to 1
}

// Function is how an [Aggregation] summarises events.
type Function string

// The functions. All are exact and depend on no order, but the two that say otherwise,
// which depend on no order either.
const (
	Count  Function = "count"  // of rows, or of values that are not null
	Sum    Function = "sum"    // of whole numbers as int64, null where it does not fit; of others correctly rounded
	Mean   Function = "mean"   // correctly rounded
	Min    Function = "min"    // NaN is greater than all numbers
	Max    Function = "max"    // NaN is greater than all numbers
	StdDev Function = "stddev" // of the sample; null for fewer than two values
	First  Function = "first"  // of the least (event time, created time, write sequence)
	Last   Function = "last"   // of the greatest
	LastN  Function = "last_n" // a list of the last N values, the oldest first
	TopK   Function = "top_k"  // a list of the N most frequent values; of equally frequent ones the lesser first

	ApproxCountDistinct Function = "approx_count_distinct" // standard error 1.6 %
	ApproxQuantile      Function = "approx_quantile"       // within 1 % of the value of that rank
)

// Functions lists every function.
var Functions = []Function{Count, Sum, Mean, Min, Max, StdDev, First, Last, LastN, ApproxCountDistinct, ApproxQuantile, TopK}

// MostAggregated is how many values a list of an aggregation may be asked to have.
const MostAggregated = 1000

// Result is the type of what the function makes of values of a type; "" for the rows
// themselves. It fails with Invalid if it cannot be applied to them.
func (f Function) Result(input Type) (Type, error) {
	numeric := slices.Contains([]Type{Bool, Int32, Int64, Float32, Float64}, input)
	switch f {
	case Count, ApproxCountDistinct:
		if f == Count || input != "" {
			return Int64, nil
		}
	case Sum:
		if input == Float32 || input == Float64 {
			return Float64, nil
		} else if numeric {
			return Int64, nil
		}
	case Mean, StdDev, ApproxQuantile:
		if numeric {
			return Float64, nil
		}
	case Min, Max, First, Last:
		if input != "" {
			return input, nil
		}
	case LastN, TopK:
		if input != "" {
			return ListOf(input), nil
		}
	default:
		e := Unknown("function", Function(clip(string(f))), Functions)
		e.Code = Invalid
		return "", e
	}
	if input == "" {
		return "", Errorf(Invalid, "%s has no column", f).WithHint("name the feature that is summarised: {column: …, function: %s, …}", f)
	}
	return "", Errorf(Invalid, "%s cannot be applied to values of type %s", f, input).
		WithHint("count, first, last, min, max, last_n, top_k and approx_count_distinct take values of any type")
}

// Label is what the names of its features begin with: its name, or column and function.
func (a Aggregation) Label() string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Column == "":
		return string(a.Function)
	}
	return a.Column + "_" + string(a.Function)
}

// FeatureName is the name of the feature of one window.
func (a Aggregation) FeatureName(window Duration) string { return a.Label() + "_" + window.Short() }

// String is the aggregation for people: mean(dep_delay) over 1h, 1d where dep_delay > 0 by carrier.
func (a Aggregation) String() string {
	input := a.Column
	switch {
	case input == "":
		input = "*"
	case a.N > 0:
		input += fmt.Sprintf(", %d", a.N)
	case a.Function == ApproxQuantile:
		input += fmt.Sprintf(", %v", a.Quantile)
	}
	windows := make([]string, len(a.Windows))
	for i, w := range a.Windows {
		windows[i] = w.Short()
	}
	text := fmt.Sprintf("%s(%s) over %s", a.Function, input, strings.Join(windows, ", "))
	if a.Hop > 0 {
		text += " each " + a.Hop.Short()
	}
	if a.Filter != "" {
		text += " where " + a.Filter
	}
	if a.By != "" {
		text += " by " + a.By
	}
	if a.Name != "" {
		text += " as " + a.Name
	}
	return text
}

// AggregatedFeature is a feature that an [Aggregation] derives: its value over one window.
type AggregatedFeature struct {
	Field
	Aggregation Aggregation
	Window      Duration
}

// AggregatedFeatures returns the features that the view's aggregations derive, in order. The
// description of each says what it is: mean(dep_delay) over 3h.
// The view is a registered one, so every column is there and fits its function.
func (v *FeatureView) AggregatedFeatures() []AggregatedFeature {
	var features []AggregatedFeature
	for _, a := range v.Aggregations {
		column, _ := v.Feature(a.Column)
		result, _ := a.Function.Result(column.Type)
		if a.By != "" {
			result = MapOf(result)
		}
		for _, w := range a.Windows {
			one := a
			one.Name, one.Windows = "", []Duration{w}
			features = append(features, AggregatedFeature{
				Field: Field{Name: a.FeatureName(w), Type: result, Description: one.String()}, Aggregation: a, Window: w,
			})
		}
	}
	return features
}

// Derives reports whether one of the view's aggregations derives the feature.
func (v *FeatureView) Derives(feature string) bool {
	for _, a := range v.Aggregations {
		for _, w := range a.Windows {
			if a.FeatureName(w) == feature {
				return true
			}
		}
	}
	return false
}

// Offered returns every feature that can be asked of the view: its own, then those that
// its aggregations derive.
func (v *FeatureView) Offered() []Field {
	fields := slices.Clone(v.Features)
	for _, a := range v.AggregatedFeatures() {
		fields = append(fields, a.Field)
	}
	return fields
}

// OfferedFeature returns the feature of that name, of those that can be asked for.
func (v *FeatureView) OfferedFeature(name string) (Field, bool) {
	if f, found := v.Feature(name); found {
		return f, true
	}
	for _, f := range v.AggregatedFeatures() {
		if f.Name == name {
			return f.Field, true
		}
	}
	return Field{}, false
}

// OfferedNames returns the names of [FeatureView.Offered].
func (v *FeatureView) OfferedNames() []string {
	offered := v.Offered()
	names := make([]string, len(offered))
	for i, f := range offered {
		names[i] = f.Name
	}
	return names
}

// LargestWindow is the longest window of the view's aggregations; 0 if it has none.
func (v *FeatureView) LargestWindow() Duration {
	var most Duration
	for _, a := range v.Aggregations {
		for _, w := range a.Windows {
			most = max(most, w)
		}
	}
	return most
}
