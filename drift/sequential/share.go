package sequential

import "math"

// Share is how many of so many requests of one arm had an event. The requests must be
// independent: where many come from one key, the first of each.
type Share struct {
	Events, Requests float64 // whole numbers
}

// Factors of a rate that evidence above it, and below it, is spread over.
var (
	aboveFactors = []float64{1.1, 1.25, 1.5, 2, 3, 5, 10, 30}
	belowFactors = []float64{0, 0.1, 0.25, 0.5, 0.7, 0.85}
)

// Above returns the log e-value against "an event has at most this probability, at any
// time": the mean over k of (p_k/p)^x · ((1−p_k)/(1−p))^(n−x), p_k = p·{1.1 … 30} below 1.
func (s Share) Above(p float64) float64 { return s.mixture(p, aboveFactors) }

// Below returns the log e-value against "an event has at least this probability".
func (s Share) Below(p float64) float64 { return s.mixture(p, belowFactors) }

func (s Share) mixture(p float64, factors []float64) float64 {
	if !(p > 0 && p < 1) {
		return 0
	}
	logs := make([]float64, len(factors))
	for k, factor := range factors {
		q := min(p*factor, (1+p)/2)
		logs[k] = times(s.Events, math.Log(q/p)) + times(s.Requests-s.Events, math.Log1p(-q)-math.Log1p(-p))
	}
	return Average(logs)
}
