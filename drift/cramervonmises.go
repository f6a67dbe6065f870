package drift

import (
	"math"
)

// TestResult is the outcome of a two-sample test that has no more to say than
// a statistic and its probability.
type TestResult struct {
	Statistic float64
	P         float64 // the probability of such a statistic, or one farther out, if there is no drift

	N, M     int64 // values tested: reference, current
	MissingN int64 // NaN in reference
	MissingM int64 // NaN in current
	ExactP   bool  // whether P is the exact, not the asymptotic probability
}

func newTestResult(reference, current Sample, n, m int) TestResult {
	return TestResult{
		Statistic: math.NaN(), P: math.NaN(), N: int64(n), M: int64(m),
		MissingN: int64(reference.Len() - n), MissingM: int64(current.Len() - m),
	}
}

// cramerExactMax is the length of the longer sample up to which probabilities are
// exact, as in SciPy.
const cramerExactMax = 20

// CramerVonMises is the two-sample Cramér–von Mises test: like [KS], but it sums
// the squared distance over all pooled values instead of taking the greatest one.
// With midranks r in the pooled sample for ties,
//
//	U = n Σ (r(x_i) − i)² + m Σ (r(y_j) − j)²
//	T = U/(nm(n+m)) − (4nm − 1)/(6(n+m))
//
// P is exact for up to 20 values a side, where ties make it conservative. Above, T is brought to the
// mean and variance of its limit, whose upper tail is taken; see [CramerVonMisesSF].
// SciPy (cramervonmises_2samp) stops its series for the lower tail at terms of 1e-7, and so
// agrees with P to about 1e-9 in absolute terms only.
//
// Special cases:
//
//	fewer than 2 values on a side: Statistic and P are NaN
//
// Sources: Anderson, "On the distribution of the two-sample Cramér–von Mises
// criterion", Annals of Mathematical Statistics 33 (1962); Xiao, Gordon and
// Yakovlev, Journal of Statistical Software 17 (2006) for the exact distribution.
func CramerVonMises(reference, current Sample) TestResult {
	x, y := reference.sorted(), current.sorted()
	result := newTestResult(reference, current, len(x), len(y))
	if len(x) < 2 || len(y) < 2 {
		return result
	}
	n, m := float64(len(x)), float64(len(y))
	u := cramerU(x, y)
	result.Statistic = u/(n*m*(n+m)) - (4*n*m-1)/(6*(n+m))
	if max(len(x), len(y)) <= cramerExactMax {
		result.P, result.ExactP = exactCramer(u, len(x), len(y)), true
		return result
	}
	mean := (1 + 1/(n+m)) / 6
	variance := (n + m + 1) * (4*n*m*(n+m) - 3*(n*n+m*m) - 2*n*m) / (45 * (n + m) * (n + m) * 4 * n * m)
	result.P = CramerVonMisesSF(1./6 + (result.Statistic-mean)/math.Sqrt(45*variance))
	return result
}

// cramerU sums over each group of equal values at once: with i of x before it and
// midrank r, its a values of x give Σ (r − i − k)² for k = 1 … a.
func cramerU(x, y []float64) float64 {
	squares := func(d, count float64) float64 {
		return count*d*d - d*count*(count+1) + count*(count+1)*(2*count+1)/6
	}
	var ofX, ofY compensated
	i, j := 0, 0
	overPooled(x, y, func(_ float64, inX, inY int) {
		midrank := float64(i+j) + float64(inX+inY+1)/2
		ofX.add(squares(midrank-float64(i), float64(inX)))
		ofY.add(squares(midrank-float64(j), float64(inY)))
		i, j = i+inX, j+inY
	})
	return float64(len(x))*ofX.value() + float64(len(y))*ofY.value()
}

// exactCramer returns P(U ≥ u) by counting lattice paths from (0, 0) to (n, m) by
// the sum of (a·i − b·j)² over their points, a = lcm/n and b = lcm/m. A path that
// has reached the limit stays above it, so all its continuations count at once.
func exactCramer(u float64, n, m int) float64 {
	lcm := float64(n / int(gcd(int64(n), int64(m))) * m)
	a, b := int(lcm)/n, int(lcm)/m
	nm := float64(n * m)
	limit := int(math.Floor(lcm * lcm * float64(n+m) * (6*u - nm*(4*nm-1)) / (6 * nm * nm)))
	if limit <= 0 {
		return 1
	}
	above := 0.0
	var column []map[int]float64 // by j: how many paths to (i, j) have which sum
	for i := range n + 1 {
		next := make([]map[int]float64, m+1)
		for j := range m + 1 {
			gap := a*i - b*j
			paths := map[int]float64{}
			arrive := func(from map[int]float64) {
				for sum, count := range from {
					if sum += gap * gap; sum < limit {
						paths[sum] += count
					} else {
						above += count * choose(n-i+m-j, n-i)
					}
				}
			}
			if i == 0 && j == 0 {
				paths[0] = 1
			}
			if i > 0 {
				arrive(column[j])
			}
			if j > 0 {
				arrive(next[j-1])
			}
			next[j] = paths
		}
		column = next
	}
	return above / choose(n+m, n)
}

// choose returns the binomial coefficient, exactly if it is below 2⁵³/n.
func choose(n, k int) float64 {
	result := 1.0
	for i := 1; i <= min(k, n-k); i++ {
		result = result * float64(n-i+1) / float64(i)
	}
	return result
}

// cramerTail is the argument from which the tail's integral is used. Both forms
// have all digits there.
const cramerTail = 0.06

// CramerVonMisesSF returns P(ω² ≥ x) for the limit of the Cramér–von Mises
// statistic, the sum of z_j²/(πj)² over independent standard normal z_j:
//
//	2/π Σ_{k≥1} (−1)^{k−1} ∫ exp(−x·t²/2)/√(t·|sin t|) dt    (2k−1)π ≤ t ≤ 2kπ
//
// The integrands are singular like 1/√ at both ends, for which Gauss–Chebyshev
// quadrature is made. For small x, one less the series in Bessel functions,
//
//	1/(π√x) Σ_{k≥0} C(k−½, k) √(4k+1) exp(−q) K_¼(q),    q = (4k+1)²/(16x)
//
// Special cases:
//
//	CramerVonMisesSF(NaN) = NaN
//	CramerVonMisesSF(x) = 1 if x ≤ 0
//
// Sources: Smirnov 1936; Anderson and Darling, "Asymptotic theory of certain
// goodness of fit criteria", Annals of Mathematical Statistics 23 (1952).
func CramerVonMisesSF(x float64) float64 {
	switch {
	case math.IsNaN(x):
		return math.NaN()
	case x <= 0:
		return 1
	case x < cramerTail:
		return clampProbability(1 - cramerSeries(x))
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; ; k++ {
		term := cramerIntegral(x, k)
		sum += sign * term
		sign = -sign
		if !(term > 1e-17*sum) {
			return clampProbability(2 / math.Pi * sum)
		}
	}
}

func cramerIntegral(x, k float64) float64 {
	const nodes, half = 48, math.Pi / 2
	sum := 0.0
	for i := range nodes {
		// The distance s from the near end keeps its digits, and with it the sine.
		angle := math.Pi * (float64(i) + 0.5) / nodes
		s := 2 * half * math.Sin(angle/2) * math.Sin(angle/2)
		t := (2*k-1)*math.Pi + s
		sum += math.Exp(-x*t*t/2) * math.Sqrt(s*(2*half-s)/(t*math.Sin(s)))
	}
	return math.Pi / nodes * sum
}

func cramerSeries(x float64) float64 {
	sum, coefficient := 0.0, 1.0
	for k := 0.0; ; k++ {
		y := 4*k + 1
		q := y * y / (16 * x)
		term := coefficient * math.Sqrt(y) * math.Exp(-2*q) * scaledBesselK(0.25, q)
		sum += term
		if !(term > 1e-17*sum) {
			return sum / (math.Pi * math.Sqrt(x))
		}
		coefficient *= (k + 0.5) / (k + 1)
	}
}

// scaledBesselK returns eᶻ·K_ν(z) for z not much below 1:
//
//	∫ exp(−z(cosh t − 1))·cosh(νt) dt    0 ≤ t < ∞
//
// by the trapezoidal rule, whose error falls exponentially with the step, as the
// integrand is even and dies away doubly exponentially.
func scaledBesselK(order, z float64) float64 {
	const step = 1. / 32
	scaled := step / math.Sqrt(max(1, z)) // the integrand is about 1/√z wide
	sum := 0.5
	for i := 1.0; ; i++ {
		half := math.Sinh(i * scaled / 2)
		term := math.Exp(-2*z*half*half) * math.Cosh(order*i*scaled)
		sum += term
		if term < 1e-18*sum {
			return scaled * sum
		}
	}
}
