package sequential

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/driftline/driftline/drift"
)

// Moments are what a mean is judged by: how many values there were, their mean, and the sum of
// squares around it.
type Moments struct {
	N       int64   `json:"n"`
	Mean    float64 `json:"mean"`
	Squares float64 `json:"squares"`
}

// Add takes in a value. A value that is not finite is left out.
//
// Source: Welford, Technometrics 4 (1962).
func (m *Moments) Add(v float64) {
	if v-v != 0 {
		return
	}
	m.N++
	delta := v - m.Mean
	m.Mean += delta / float64(m.N)
	m.Squares += delta * (v - m.Mean)
}

// Merge takes in the values of other. Merging in the same order gives the same bits.
//
// Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm", 1979.
func (m *Moments) Merge(other Moments) {
	if other.N == 0 {
		return
	}
	n, k := float64(m.N), float64(other.N)
	delta := other.Mean - m.Mean
	m.N += other.N
	m.Mean += delta * k / (n + k)
	m.Squares += other.Squares + delta*delta*n*k/(n+k)
}

// LeastMeans is how many values each arm must have before a mean is judged: the bounds are
// asymptotic.
const LeastMeans = 100

// tuning is the number of values at which the intervals of [Means] are narrowest. It is what
// GrowthBook uses.
const tuning = 5000

// Means compare the means of two arms. Values of one key count once, as in [Stretch].
type Means struct{ Candidate, Champion Moments }

// difference returns candidate − champion, its standard error, and the number of values.
func (m Means) difference() (delta, se, n float64) {
	a, b := float64(m.Candidate.N), float64(m.Champion.N)
	se = math.Sqrt(m.Candidate.Squares/(a-1)/a + m.Champion.Squares/(b-1)/b)
	return m.Candidate.Mean - m.Champion.Mean, se, a + b
}

// judged reports whether there are enough values that differ.
func (m Means) judged() bool {
	if m.Candidate.N < LeastMeans || m.Champion.N < LeastMeans {
		return false
	}
	_, se, _ := m.difference()
	return se > 0 && se-se == 0
}

// Above returns the log e-value against "the candidate's mean is at most the champion's plus
// margin". With n values, z = (δ−margin)/SE and τ² as in Interval, it is the half-normal
// mixture
//
//	E = 2/√(1+nτ²) · exp( z²·nτ²/(2(1+nτ²)) ) · Φ( z·√(nτ²/(1+nτ²)) )
//
// asymptotically: it is 0 until each arm has 100 values.
//
// Sources: Robbins, Annals of Mathematical Statistics 41 (1970); Waudby-Smith, Arbour, Sinha,
// Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences",
// Annals of Statistics 52 (2024).
func (m Means) Above(margin float64) float64 {
	if !m.judged() {
		return 0
	}
	delta, se, n := m.difference()
	return halfNormal((delta-margin)/se, n*spread(0.05))
}

// Below returns the log e-value against "the candidate's mean is at least the champion's plus margin".
func (m Means) Below(margin float64) float64 {
	if !m.judged() {
		return 0
	}
	delta, se, n := m.difference()
	return halfNormal((margin-delta)/se, n*spread(0.05))
}

// halfNormal is the mixture of exp(λS − λ²V/2) over λ half-normal, at S²/V = z² and τ²V = v.
func halfNormal(z, v float64) float64 {
	u := v / (1 + v)
	return math.Ln2 - math.Log1p(v)/2 + z*z*u/2 + logNormalCDF(z*math.Sqrt(u))
}

// logNormalCDF is ln Φ(x), far into the lower tail too.
func logNormalCDF(x float64) float64 {
	if x > -10 {
		return math.Log(distuv.UnitNormal.CDF(x))
	}
	return -x*x/2 - math.Log(-x) - math.Log(2*math.Pi)/2 - math.Log1p(1/(x*x))
}

// spread is τ² that makes intervals at alpha narrowest at tuning values:
//
//	τ² = (−2·ln α + ln(1 − 2·ln α)) / tuning
func spread(alpha float64) float64 {
	l := -2 * math.Log(alpha)
	return (l + math.Log(1+l)) / tuning
}

// Interval returns the difference of the means, candidate − champion, and the interval that
// holds the true one at all looks together with probability 1 − alpha, asymptotically:
//
//	δ ± SE · √( 2(nτ²+1)/(nτ²) · ln( √(nτ²+1)/α ) )
//
// Special cases:
//
//	the bounds are NaN until each arm has 100 values, and if no value differs
func (m Means) Interval(alpha float64) (delta float64, interval drift.Interval) {
	delta, se, n := m.difference()
	if !m.judged() {
		return delta, drift.Interval{Low: math.NaN(), High: math.NaN()}
	}
	v := n * spread(alpha)
	half := se * math.Sqrt(2*(v+1)/v*math.Log(math.Sqrt(v+1)/alpha))
	return delta, drift.Interval{Low: delta - half, High: delta + half}
}

// Goes returns what n further values, dealt by share, would make of the arms if they go on
// as they did.
func (m Means) Goes(n, share float64) Means {
	grow := func(m Moments, by float64) Moments {
		if m.N == 0 {
			return m
		}
		return Moments{m.N + int64(by), m.Mean, m.Squares * (float64(m.N) + by) / float64(m.N)}
	}
	return Means{grow(m.Candidate, n*share), grow(m.Champion, n*(1-share))}
}
