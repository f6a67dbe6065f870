package estimate

import "math"

// Rule says when a metric has fallen: the mean of the Recent newest windows is worse than
// the mean of the First windows by more than the share Drop.
type Rule struct {
	First, Recent int
	Drop          float64
}

// DefaultRule compares the newest five windows with the first ten, and tolerates a tenth.
var DefaultRule = Rule{First: 10, Recent: 5, Drop: 0.1}

// Fall is what the rule found.
type Fall struct {
	First, Recent float64 // means; NaN if there are too few windows
	Fell          bool
}

// Fell applies the rule to the values of a metric, window by window. Windows without a
// value (NaN) are left out. Until there are First+Recent windows nothing has fallen.
func (r Rule) Fell(values []float64, higherIsBetter bool) Fall {
	var known []float64
	for _, v := range values {
		if !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	if len(known) < r.First+r.Recent || r.First < 1 || r.Recent < 1 {
		return Fall{First: math.NaN(), Recent: math.NaN()}
	}
	f := Fall{First: mean(known[:r.First]), Recent: mean(known[len(known)-r.Recent:])}
	tolerated := r.Drop * math.Abs(f.First)
	if higherIsBetter {
		f.Fell = f.Recent < f.First-tolerated
	} else {
		f.Fell = f.Recent > f.First+tolerated
	}
	return f
}
