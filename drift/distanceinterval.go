package drift

import (
	"math"
	"math/rand/v2"
	"slices"
)

// The distances below are not smooth where both sides agree: without drift they are all
// bias, and a bootstrap then gives intervals that miss 0. So the two ends are made apart,
// each so that it errs on the wide side.
//
// With d = F̂ − Ĝ cell by cell (or point by point), Z the noise of d, and s the signs of
// the true differences, the plug-in distance θ̂ is at least θ + Σ sZ, because a sum of
// absolute values is the greatest over all choices of signs. That gives the upper end:
//
//	θ ≤ θ̂ + z·σ,   σ that of Σ ŝZ
//
// For the lower end the noise is taken as signed only in cells that differ clearly,
// |d| > κ·σ(d) with κ = √(2 ln min(n, m)), and as |Z| in all others, where it can only add:
//
//	θ ≥ θ̂ − q,     q the quantile of Σ_clear ŝZ + Σ_others |Z|
//
// The upper end is at least q, so that samples which happen to agree are not certain.
//
// Z is normal with the covariance of two multinomial samples, and q is found by drawing
// it 2,000 times from a fixed seed. This is the bootstrap for directionally
// differentiable functions. It is asymptotic: it wants some ten values in the cells that
// matter, and of transport distances a finite variance.
//
// Source: Fang and Santos, "Inference on directionally differentiable functions", Review
// of Economic Studies 86 (2019); for transport, Sommerfeld and Munk, "Inference for
// empirical Wasserstein distances on finite spaces", JRSS B 80 (2018).

const (
	noiseDraws = 2000
	noiseSeed  = 0xD15

	// mostNoiseCells is how many cells are drawn one by one. Of more, the sum of the noise
	// is taken for normal.
	mostNoiseCells = 256
)

// TotalVariationInterval returns the confidence interval at 1 − alpha of the
// [TotalVariation] between the distributions that two rows of counts come from.
//
// Special cases:
//
//	a side without counts, or alpha not in (0, 1]: both bounds are NaN
func TotalVariationInterval(reference, current []int64, alpha float64) Interval {
	n := newNoise(reference, current)
	if n == nil || !(alpha > 0 && alpha <= 1) {
		return undefinedInterval()
	}
	signs, distance := make([]float64, len(n.d)), 0.0
	for i, d := range n.d {
		signs[i], distance = math.Copysign(1, d)/2, distance+math.Abs(d)/2
	}
	upper := distance + normalQuantile(alpha)*n.deviation(signs)
	if len(n.d) > mostNoiseCells {
		return n.manyCells(distance, signs, upper, alpha)
	}
	q := n.quantile(1-alpha/2, func(z []float64) (sum float64) {
		for i, v := range z {
			if n.clear[i] {
				sum += signs[i] * v
			} else {
				sum += math.Abs(v) / 2
			}
		}
		return sum
	})
	return Interval{max(0, distance-q), min(1, max(upper, q))}
}

// manyCells is the lower end where the noise of all cells together is about normal.
func (n *noise) manyCells(distance float64, signs []float64, upper, alpha float64) Interval {
	signed, mean, variance := make([]float64, len(signs)), 0.0, 0.0
	for i, e := range n.error {
		if n.clear[i] {
			signed[i] = signs[i]
			continue
		}
		mean += e / 2 * math.Sqrt(2/math.Pi)
		variance += e * e / 4 * (1 - 2/math.Pi)
	}
	q := mean + normalQuantile(alpha)*math.Sqrt(variance+math.Pow(n.deviation(signed), 2))
	return Interval{max(0, distance-q), min(1, max(upper, q))}
}

// LInfinityInterval returns the confidence interval at 1 − alpha of the [LInfinity]
// distance: the greatest of the lower ends of all cells, which hold together (Bonferroni),
// and the greatest of their upper ends, of which one has to hold.
//
// Special cases: those of [TotalVariationInterval]
func LInfinityInterval(reference, current []int64, alpha float64) Interval {
	n := newNoise(reference, current)
	if n == nil || !(alpha > 0 && alpha <= 1) {
		return undefinedInterval()
	}
	together, alone := normalQuantile(alpha/float64(2*len(n.d))), normalQuantile(alpha)
	var i Interval
	for k, d := range n.d {
		i.Low = max(i.Low, math.Abs(d)-together*n.error[k])
		i.High = max(i.High, min(1, math.Abs(d)+alone*n.error[k]))
	}
	return i
}

// normalQuantile is z with probability 1 − alpha/2 below it.
func normalQuantile(alpha float64) float64 { return math.Sqrt2 * math.Erfinv(1-alpha) }

// noise is what chance does to the differences of the shares of cells.
type noise struct {
	p, q  []float64 // shares, of both sides, none of them 0
	n, m  float64
	d     []float64 // differences of the shares as they were counted
	error []float64 // standard deviations of d
	clear []bool    // cells that differ clearly
}

// newNoise is nil if a side has no counts. Shares have half a count more in each cell, so
// that cells which one side has not seen are not certain.
func newNoise(reference, current []int64) *noise {
	t := newTable(reference, current)
	if t.n == 0 || t.m == 0 {
		return nil
	}
	cells := len(t.cells)
	n := &noise{n: float64(t.n), m: float64(t.m), p: make([]float64, cells), q: make([]float64, cells),
		d: make([]float64, cells), error: make([]float64, cells), clear: make([]bool, cells)}
	more := float64(cells) / 2
	for i, c := range t.cells {
		n.p[i], n.q[i] = (float64(c.reference)+0.5)/(n.n+more), (float64(c.current)+0.5)/(n.m+more)
		n.d[i] = float64(c.reference)/n.n - float64(c.current)/n.m
		n.error[i] = math.Sqrt(n.p[i]*(1-n.p[i])/n.n + n.q[i]*(1-n.q[i])/n.m)
		n.clear[i] = math.Abs(n.d[i]) > n.kappa()*n.error[i]
	}
	return n
}

func (n *noise) kappa() float64 { return math.Sqrt(2 * math.Log(math.Max(math.E, math.Min(n.n, n.m)))) }

// deviation is that of Σ weight·Z.
func (n *noise) deviation(weights []float64) float64 {
	spread := func(shares []float64) float64 {
		mean, square := 0.0, 0.0
		for i, w := range weights {
			mean, square = mean+shares[i]*w, square+shares[i]*w*w
		}
		return max(0, square-mean*mean)
	}
	return math.Sqrt(spread(n.p)/n.n + spread(n.q)/n.m)
}

// quantile draws the noise and returns the quantile of what of makes of it.
func (n *noise) quantile(probability float64, of func(z []float64) float64) float64 {
	random := rand.New(rand.NewPCG(noiseSeed, uint64(len(n.d))))
	rootP, rootQ := roots(n.p, n.n), roots(n.q, n.m)
	z, values := make([]float64, len(n.d)), make([]float64, noiseDraws)
	for draw := range values {
		sumP, sumQ := 0.0, 0.0
		for i := range z {
			a, b := rootP[i]*random.NormFloat64(), rootQ[i]*random.NormFloat64()
			z[i], sumP, sumQ = a-b, sumP+a, sumQ+b
		}
		for i := range z {
			z[i] -= n.p[i]*sumP - n.q[i]*sumQ
		}
		values[draw] = of(z)
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(math.Ceil(probability*float64(len(values)))))]
}

func roots(shares []float64, size float64) []float64 {
	deviations := make([]float64, len(shares))
	for i, share := range shares {
		deviations[i] = math.Sqrt(share / size)
	}
	return deviations
}

// TransportResult is a distance in units of the values, with its confidence interval.
type TransportResult struct {
	Distance float64
	Interval Interval
}

// WassersteinInterval returns the [Wasserstein] distance with its confidence interval at
// 1 − alpha. The points at which the noise is drawn are at most 256 quantiles of both sides
// together, denser in the tails; its upper end, which is that of the best Lipschitz
// function by Kantorovich's duality, is of all values.
//
// Special cases:
//
//	infinite values, one value only, or alpha not in (0, 1]: both bounds are NaN
func WassersteinInterval(reference, current Sample, alpha float64) TransportResult {
	x, y := reference.sorted(), current.sorted()
	return transport{distance: WassersteinSorted(x, y), slope: func(d float64) float64 { return math.Copysign(1, d) }, noise: signedNoise}.interval(x, y, alpha)
}

func signedNoise(g *grid, z []float64) float64 {
	sum, below := 0.0, 0.0
	for i, width := range g.widths {
		below += z[i]
		switch {
		case !g.clearly[i]:
			sum += width * math.Abs(below)
		case g.below[i] > 0:
			sum += width * below
		default:
			sum -= width * below
		}
	}
	return sum
}

// EnergyInterval returns the [Energy] distance with its confidence interval at 1 − alpha.
// Its square is smooth, and the lower end is that of the noise of the square,
//
//	θ̂² − θ² = 2 ∫ 2(F − G)·Z + Z² dx
//
// drawn as for [WassersteinInterval] with F̂ − Ĝ in place of F − G, which can only add. The
// upper end is that of the function whose slope is proportional to F̂ − Ĝ: a norm is the
// greatest of such products.
//
// Special cases: those of [WassersteinInterval]
func EnergyInterval(reference, current Sample, alpha float64) TransportResult {
	x, y := reference.sorted(), current.sorted()
	e := EnergySorted(x, y)
	return transport{distance: e, slope: func(d float64) float64 { return 2 * d / e }, noise: squareNoise, ofSquare: true}.interval(x, y, alpha)
}

func squareNoise(g *grid, z []float64) float64 {
	sum, below := 0.0, 0.0
	for i, width := range g.widths {
		below += z[i]
		sum += 2 * width * (2*g.below[i]*below + below*below)
	}
	return sum
}

// transport is a distance of which an interval is made.
type transport struct {
	distance float64
	slope    func(d float64) float64            // of the function whose means are the distance apart
	noise    func(g *grid, z []float64) float64 // how far a draw of the noise may raise the distance,
	ofSquare bool                               // or its square
}

func (t transport) interval(x, y []float64, alpha float64) TransportResult {
	r := TransportResult{t.distance, undefinedInterval()}
	g := newGrid(x, y)
	if g == nil || t.distance-t.distance != 0 || !(alpha > 0 && alpha <= 1) {
		return r
	}
	q := g.quantile(1-alpha/2, func(z []float64) float64 { return t.noise(g, z) })
	upper := t.distance
	if t.distance > 0 {
		upper += normalQuantile(alpha) * potentialDeviation(x, y, t.slope)
	}
	if t.ofSquare {
		r.Interval = Interval{math.Sqrt(max(0, t.distance*t.distance-q)), max(upper, math.Sqrt(max(0, q)))}
	} else {
		r.Interval = Interval{max(0, t.distance-q), max(upper, q)}
	}
	return r
}

// grid is the noise of F̂ − Ĝ at some points.
type grid struct {
	*noise
	widths  []float64 // around the upper edge of each cell
	below   []float64 // F̂ − Ĝ there
	clearly []bool    // whether that is clearly not 0
}

// newGrid is nil if a side has no values, if both have but one and the same, and if any is infinite.
func newGrid(x, y []float64) *grid {
	if len(x) == 0 || len(y) == 0 {
		return nil
	}
	edges := gridEdges(x, y)
	if last := len(edges) - 1; last < 1 || math.IsInf(edges[0], 0) || math.IsInf(edges[last], 0) {
		return nil
	}
	// Counts per cell (edges[i−1], edges[i]], the first one open to the left.
	counts := func(sorted []float64) []int64 {
		cells := make([]int64, len(edges))
		before := 0
		for i, edge := range edges {
			upTo := before + upperBound(sorted[before:], edge)
			cells[i], before = int64(upTo-before), upTo
		}
		return cells
	}
	a, b := counts(x), counts(y)
	g := &grid{noise: newGridNoise(a, b), widths: make([]float64, len(edges)), below: make([]float64, len(edges)), clearly: make([]bool, len(edges))}
	f, h, d := 0.0, 0.0, 0.0
	for i := range edges {
		f, h, d = f+g.p[i], h+g.q[i], d+g.d[i]
		g.below[i] = d
		if i > 0 {
			g.widths[i] += (edges[i] - edges[i-1]) / 2
		}
		if i+1 < len(edges) {
			g.widths[i] += (edges[i+1] - edges[i]) / 2
		}
		e := math.Sqrt(max(0, f*(1-f))/g.n + max(0, h*(1-h))/g.m)
		g.clearly[i] = math.Abs(d) > g.kappa()*e
	}
	return g
}

// newGridNoise keeps cells that neither side has, and adds no half counts: edges are values.
func newGridNoise(reference, current []int64) *noise {
	n := &noise{p: Shares(reference), q: Shares(current), d: make([]float64, len(reference)),
		error: make([]float64, len(reference)), clear: make([]bool, len(reference))}
	for i := range reference {
		n.n, n.m = n.n+float64(reference[i]), n.m+float64(current[i])
		n.d[i] = n.p[i] - n.q[i]
	}
	return n
}

// gridEdges are quantiles of both sides together: even ones, and in the tails the ranks 1,
// 2, 4, … from either end, because the gaps between values are wide there.
func gridEdges(x, y []float64) []float64 {
	all := slices.Concat(x, y)
	slices.Sort(all)
	last := len(all) - 1
	ranks := []int{0, last}
	for rank := 1; rank < len(all)/mostNoiseCells+1; rank *= 2 {
		ranks = append(ranks, min(rank, last), max(0, last-rank))
	}
	for i := 1; i < mostNoiseCells-len(ranks); i++ {
		ranks = append(ranks, last*i/(mostNoiseCells-len(ranks)))
	}
	edges := make([]float64, 0, len(ranks))
	for _, rank := range ranks {
		edges = append(edges, all[rank])
	}
	slices.Sort(edges)
	return slices.Compact(edges)
}

// upperBound counts the leading values that are at most v.
func upperBound(sorted []float64, v float64) int {
	low, high := 0, len(sorted)
	for low < high {
		if middle := (low + high) / 2; sorted[middle] <= v {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// potentialDeviation is the standard deviation of the mean difference of the function
// that has this slope, given F̂ − Ĝ. With its sign, the means are a Wasserstein distance
// apart.
func potentialDeviation(x, y []float64, slope func(d float64) float64) float64 {
	n, m := float64(len(x)), float64(len(y))
	var a, b spread
	i, j := 0, 0
	before, potential, difference := math.NaN(), 0.0, 0.0
	overPooled(x, y, func(at float64, inX, inY int) {
		if difference != 0 {
			potential += (at - before) * slope(difference)
		}
		a.add(potential, float64(inX))
		b.add(potential, float64(inY))
		i, j = i+inX, j+inY
		before, difference = at, float64(i)/n-float64(j)/m
	})
	return math.Sqrt(a.variance()/n + b.variance()/m)
}

// spread is a weighted variance, as values come (West 1979).
type spread struct{ weight, mean, squares float64 }

func (s *spread) add(v, weight float64) {
	if weight == 0 {
		return
	}
	s.weight += weight
	delta := v - s.mean
	s.mean += delta * weight / s.weight
	s.squares += weight * delta * (v - s.mean)
}

func (s *spread) variance() float64 { return s.squares / s.weight }
