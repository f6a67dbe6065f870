package drift

import "math"

// sorted returns the sample's values in ascending order.
func (s Sample) sorted() []float64 {
	values := s.present()
	SortNumbers(values)
	return values
}

// overPooled calls visit for each distinct value of two sorted slices, ascending,
// with how often each of them has it.
func overPooled(x, y []float64, visit func(at float64, inX, inY int)) {
	for len(x) > 0 || len(y) > 0 {
		at := smaller(x, y)
		inX, inY := leading(x, at), leading(y, at)
		visit(at, inX, inY)
		x, y = x[inX:], y[inY:]
	}
}

// Moments are what a test of means needs to know of a sample.
type Moments struct {
	N       int64 // values, missing ones excluded
	Mean    float64
	Squares float64 // Σ (v − Mean)²
	Missing int64
}

// MomentsOf takes two passes over the sample, with compensated sums.
//
// Special cases:
//
//	Mean and Squares are NaN without values, and if a value is infinite
func MomentsOf(s Sample) Moments { return momentsOf(s, 1, 0) }

// momentsOf is MomentsOf of the values times unit less level.
func momentsOf(s Sample, unit, level float64) Moments {
	var m Moments
	var sum compensated
	for _, piece := range s {
		for _, v := range piece {
			if v != v {
				m.Missing++
				continue
			}
			m.N++
			sum.add(float64(v*unit) - level)
		}
	}
	m.Mean = sum.value() / float64(m.N)
	if m.Mean-m.Mean != 0 {
		m.Mean, m.Squares = math.NaN(), math.NaN()
		return m
	}
	var squares compensated
	for _, piece := range s {
		for _, v := range piece {
			if v == v {
				deviation := float64(v*unit) - level - m.Mean
				squares.add(deviation * deviation)
			}
		}
	}
	m.Squares = squares.value()
	return m
}

// Variance returns Squares/(N − lost): of the sample itself for lost = 0, of what
// it was drawn from for lost = 1. It is NaN if N ≤ lost.
func (m Moments) Variance(lost int64) float64 {
	if m.N <= lost {
		return math.NaN()
	}
	return m.Squares / float64(m.N-lost)
}

// compensated is a sum that carries the rounding error of its additions along.
//
// Source: Neumaier, ZAMM 54 (1974).
type compensated struct{ sum, error float64 }

func (c *compensated) add(v float64) {
	t := c.sum + v
	if math.Abs(c.sum) >= math.Abs(v) {
		c.error += (c.sum - t) + v
	} else {
		c.error += (v - t) + c.sum
	}
	c.sum = t
}

func (c *compensated) value() float64 { return c.sum + c.error }
