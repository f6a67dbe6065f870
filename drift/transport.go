package drift

import "math"

// Wasserstein returns the 1-Wasserstein (earth mover's) distance between the two
// empirical distributions, in the unit of the values:
//
//	∫ |F(x) − G(x)| dx
//
// the least mean distance that values have to be moved to make one sample the
// other. It sees the tails, is not bounded, and one far outlier can make it large.
//
// Special cases:
//
//	a side without values: NaN
//	infinities: +Inf if the sides have other shares of them at either end; equal
//	shares cancel, and the distance is that of the rest
//
// Source: Vallender, "Calculation of the Wasserstein distance between probability
// distributions on the line", 1973.
func Wasserstein(reference, current Sample) float64 {
	return WassersteinSorted(reference.sorted(), current.sorted())
}

// WassersteinSorted is [Wasserstein] of ascending values without NaN, unchanged.
func WassersteinSorted(x, y []float64) float64 {
	return integrate(x, y, math.Abs)
}

// Energy returns the energy distance
//
//	√(2 ∫ (F(x) − G(x))² dx)  =  √(2·E|X−Y| − E|X−X'| − E|Y−Y'|)
//
// with the special cases of [Wasserstein].
//
// Source: Székely and Rizzo, "Energy statistics", Journal of Statistical Planning
// and Inference 143 (2013).
func Energy(reference, current Sample) float64 {
	return EnergySorted(reference.sorted(), current.sorted())
}

// EnergySorted is [Energy] of ascending values without NaN, unchanged.
func EnergySorted(x, y []float64) float64 {
	return math.Sqrt(2 * integrate(x, y, func(d float64) float64 { return d * d }))
}

// integrate returns ∫ of(F(x) − G(x)) dx, where of(0) = 0.
func integrate(x, y []float64, of func(float64) float64) float64 {
	n, m := float64(len(x)), float64(len(y))
	if n == 0 || m == 0 {
		return math.NaN()
	}
	var sum compensated
	i, j := 0, 0
	before, difference := math.NaN(), 0.0
	overPooled(x, y, func(at float64, inX, inY int) {
		if difference != 0 {
			sum.add(of(difference) * (at - before))
		}
		i, j = i+inX, j+inY
		before, difference = at, float64(i)/n-float64(j)/m
	})
	if math.IsInf(sum.sum, 1) {
		return math.Inf(1)
	}
	return sum.value()
}
