package sequential

import (
	"maps"
	"math"
	"slices"

	"github.com/driftline/driftline/drift"
)

// Pairs are differences of two answers to the same request, candidate − champion, in
// [−1, 1]; positive ones are worse. They are kept as counts, so that they can be added up in
// any order: 2j for j thousandths exactly, 2j+1 for what lies between j and j+1.
type Pairs map[int32]int64

// thousandths is the resolution of differences.
const thousandths = 1000

// Add takes in a difference. It is cut to [−1, 1]; one that is not a number is left out.
func (p Pairs) Add(d float64) {
	if d != d {
		return
	}
	at := min(max(d, -1), 1) * thousandths
	cell := int32(2 * math.Floor(at))
	if at != math.Floor(at) {
		cell++
	}
	p[cell]++
}

// Merge takes in all differences of other.
func (p Pairs) Merge(other Pairs) {
	for cell, count := range other {
		p[cell] += count
	}
}

// Negated returns the differences champion − candidate.
func (p Pairs) Negated() Pairs {
	negated := Pairs{}
	for cell, count := range p {
		negated[-cell] = count
	}
	return negated
}

// Len returns the number of pairs.
func (p Pairs) Len() (n int64) {
	for _, count := range p {
		n += count
	}
	return n
}

// bets are the shares of the stake that are bet on a pair.
var bets = []float64{0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5}

// Above returns the log e-value against "the mean difference is at most 0": the mean over λ of
// Π (1 + λ·d).
//
// Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
// JRSS B 86 (2024); with a mixture of constant bets in place of predicted ones, so that the order
// does not matter.
func (p Pairs) Above() float64 {
	return p.bet(func(cell int32) float64 { return math.Floor(float64(cell)/2) / thousandths })
}

// Below returns the log e-value against "the mean difference is at least margin", for a
// margin in (0, 1).
func (p Pairs) Below(margin float64) float64 {
	return p.bet(func(cell int32) float64 {
		d := math.Ceil(float64(cell)/2) / thousandths
		return (margin - d) / (1 + margin)
	})
}

// bet returns the mixture of bets on gains in [−1, 1]. Where a difference lies between two
// thousandths, gain takes the worse one for the bet.
func (p Pairs) bet(gain func(cell int32) float64) float64 {
	cells := slices.Sorted(maps.Keys(p)) // one order of addition
	logs := make([]float64, len(bets))
	for k, bet := range bets {
		for _, cell := range cells {
			logs[k] += float64(p[cell]) * math.Log1p(bet*gain(cell))
		}
	}
	return Average(logs)
}

// Interval returns the mean difference, and the interval that holds the true one at all looks
// together with probability 1 − alpha, as of [Means]; its bounds are NaN below 100 pairs.
func (p Pairs) Interval(alpha float64) (mean float64, interval drift.Interval) {
	n, sum, squares := 0.0, 0.0, 0.0
	for _, cell := range slices.Sorted(maps.Keys(p)) {
		count, d := float64(p[cell]), float64(cell)/2/thousandths
		n, sum, squares = n+count, sum+count*d, squares+count*d*d
	}
	mean = sum / n
	if n < LeastMeans {
		return mean, drift.Interval{Low: math.NaN(), High: math.NaN()}
	}
	v := n * spread(alpha)
	se := math.Sqrt(max(0, squares/n-mean*mean) / n)
	half := se * math.Sqrt(2*(v+1)/v*math.Log(math.Sqrt(v+1)/alpha))
	return mean, drift.Interval{Low: mean - half, High: mean + half}
}

// Goes returns the pairs as they would be after n more that are like them.
func (p Pairs) Goes(n float64) Pairs {
	grown, all := Pairs{}, float64(p.Len())
	for cell, count := range p {
		grown[cell] = count + int64(math.Round(float64(count)*n/all))
	}
	return grown
}
