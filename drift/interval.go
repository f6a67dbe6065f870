package drift

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a range that holds a true value with a stated confidence.
type Interval struct{ Low, High float64 }

func undefinedInterval() Interval { return Interval{math.NaN(), math.NaN()} }

// Interval returns the confidence interval at 1 − alpha of the distance
// sup|F − G| between the two distributions that the samples come from:
//
//	D ± √( ln(2/alpha) · (n+m) / (2nm) ), cut to [0, 1]
//
// The half-width is [DetectableD]. It is a bound where the two distributions are
// the same, and asymptotically one where they differ: then the variance of F̂ − Ĝ
// is nowhere more than it is in the middle of equal ones.
//
// Special cases:
//
//	both bounds are NaN if D is, or if alpha is not in (0, 1]
//
// Source: Massart 1990; Wei and Dudley 2012.
func (r KSResult) Interval(alpha float64) Interval {
	half := DetectableD(r.N, r.M, alpha)
	return Interval{max(0, r.D-half), min(1, r.D+half)}.orNaN(r.D - half)
}

// Interval returns the confidence interval at 1 − alpha of Cramér's V: those V
// whose χ², which is noncentral with parameter V²·scale·N, make the observed χ²
// neither too large nor too small. scale is the greatest φ² of a table of this shape.
//
// The noncentral distribution is Sankaran's approximation, whose error is below
// 0.01 in probability: plenty for an interval.
//
// Special cases:
//
//	no test:      both bounds are NaN
//	one category: 0 to Detectable(alpha)
//
// Sources: Steiger and Fouladi, "Noncentrality interval estimation", 1997;
// Sankaran, "Approximations to the non-central chi-square distribution",
// Biometrika 50 (1963).
func (r ChiSquareResult) Interval(alpha float64) Interval {
	total := float64(r.N + r.M)
	switch {
	case math.IsNaN(r.P) || !(alpha > 0 && alpha <= 1):
		return undefinedInterval()
	case r.DF == 0:
		return Interval{0, r.Detectable(alpha)}
	}
	df := float64(r.DF)
	scale := min(df-df*df/(total-1), 1-1/(total-1))
	bound := func(probability float64) float64 {
		return min(1, math.Sqrt(noncentrality(r.Statistic, df, probability)/total/scale))
	}
	return Interval{bound(1 - alpha/2), bound(alpha / 2)}.orNaN(scale)
}

func (i Interval) orNaN(check float64) Interval {
	if math.IsNaN(check) {
		return undefinedInterval()
	}
	return i
}

// noncentrality returns the parameter with which a noncentral χ² is at most x with
// the given probability, 0 if it is less likely for all.
func noncentrality(x, df, probability float64) float64 {
	if noncentralChiSquareCDF(x, df, 0) <= probability {
		return 0
	}
	low, high := 0.0, x+1
	for noncentralChiSquareCDF(x, df, high) > probability {
		low, high = high, 2*high
	}
	for range 100 {
		middle := (low + high) / 2
		if noncentralChiSquareCDF(x, df, middle) > probability {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

func noncentralChiSquareCDF(x, df, parameter float64) float64 {
	a, b := df+parameter, df+2*parameter
	h := 1 - 2*a*(df+3*parameter)/(3*b*b)
	p := b / (a * a)
	m := (h - 1) * (1 - 3*h)
	mean := 1 + h*p*(h-1-0.5*(2-h)*m*p)
	deviation := h * math.Sqrt(2*p) * (1 + 0.5*m*p)
	return distuv.UnitNormal.CDF((math.Pow(x/a, h) - mean) / deviation)
}
