package drift

import "math"

// The constants of the time-uniform bound. With them, uniformError of
// A·√((ln ln(e·t/start) + C)/t), C = uniformFactor·ln(uniformScale/alpha), is at most
// alpha for every alpha; a test checks that.
const (
	uniformA      = 0.85
	uniformFactor = 0.8
	uniformScale  = 1612
)

// UniformDKW returns how far the empirical distribution function of t values is from
// the true one at most, at all times t ≥ start together, with probability 1 − alpha:
//
//	0.85·√( (ln ln(e·t/start) + 0.8·ln(1612/alpha)) / t )
//
// A sample that grows may be looked at after every value, and a decision may end it:
// the bound holds at each look. It is two to three times as wide as one for a single
// look. start is fixed before the first look; nothing is promised before it.
//
// Special cases:
//
//	UniformDKW = NaN if t < start, start < 1 or alpha is not in (0, 1)
//
// Source: Howard and Ramdas, "Sequential estimation of quantiles with applications to
// A/B testing and best-arm identification", Bernoulli 28 (2022), theorem 2.
func UniformDKW(t, start int64, alpha float64) float64 {
	if start < 1 || t < start || !(alpha > 0 && alpha < 1) {
		return math.NaN()
	}
	n := float64(t)
	iterated := math.Log(1 + math.Log(n/float64(start)))
	return uniformA * math.Sqrt((iterated+uniformFactor*math.Log(uniformScale/alpha))/n)
}

// Sequential is a comparison of samples that grow and are looked at again and again.
type Sequential struct {
	Start int64 // values that each growing sample has at the first look, at least 1
	Alpha float64

	// FixedReference says that the reference is complete before the first look, as a
	// stored one is. Its bound is then that of Dvoretzky, Kiefer, Wolfowitz and Massart.
	FixedReference bool
}

// Interval returns the interval for the distance between the two distributions,
// after n and m values of them gave d. All intervals, of all looks, hold it together
// with probability 1 − Alpha. Drift may be called as soon as one lies above 0.
//
//	d ± (UniformDKW(n, Start, Alpha/2) + UniformDKW(m, Start, Alpha/2)), cut to [0, 1]
//
// Special cases:
//
//	both bounds are NaN if UniformDKW is
func (s Sequential) Interval(d float64, n, m int64) Interval {
	half := s.halfWidth(n, m, s.Alpha)
	return Interval{max(0, d-half), min(1, d+half)}.orNaN(d - half)
}

func (s Sequential) halfWidth(n, m int64, alpha float64) float64 {
	current := UniformDKW(m, s.Start, alpha/2)
	if s.FixedReference {
		return current + math.Sqrt(math.Log(4/alpha)/(2*float64(n)))
	}
	return current + UniformDKW(n, s.Start, alpha/2)
}

// P returns the anytime-valid p-value of distance d: the least Alpha at which
// Interval lies above 0, at least 1e-299. The chance that it is ever at or below
// alpha, at any look, is at most alpha without drift. Alpha of s is not used.
//
// Special cases:
//
//	P = NaN if d or Interval is
func (s Sequential) P(d float64, n, m int64) float64 {
	below := func(logAlpha float64) bool { return d <= s.halfWidth(n, m, math.Exp(logAlpha)) }
	low, high := -690.0, math.Log(0.3)
	switch {
	case math.IsNaN(d - s.halfWidth(n, m, 0.3)):
		return math.NaN()
	case below(high):
		return 1
	case !below(low):
		return math.Exp(low)
	}
	for range 60 {
		if middle := (low + high) / 2; below(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp(high)
}
