package drift

import (
	"math"
	"slices"
)

const (
	// The tail test looks at the outermost 1/tailDepth of the pooled values at either
	// end, and at the outermost quarter of these, and so on, down to tailLeast values.
	tailDepth = 64
	tailLeast = 10

	// tailSampled values of each side say where the tails begin, about.
	tailSampled = 4096
)

// TailResult is the outcome of the test of both tails.
type TailResult struct {
	P float64 // of all cuts together; NaN if the samples are too small to have tails

	// The cut with the strongest evidence: how many values of each side lie at or
	// beyond At, where Upper says in which direction.
	At                 float64
	Upper              bool
	Reference, Current int64
	Effect             float64 // its φ = √(χ²/N), in [0, 1]: Cramér's V of beyond against within
}

// tails tests whether one side has more of the outermost values than it should. For
// tails of N/64, N/256, N/1024 … of the N pooled values at either end, the number of
// current values among them is hypergeometric without drift, whatever the
// distribution: see [SharesP]. Values equal to the last of a tail belong to it.
// The cuts are combined by [CombineCauchy]. gathered are the outermost values, if they were found
// already.
//
// This sees what D cannot: a change in the outermost 1 % of the values moves D by 0.01
// at most, however far they went.
func tails(reference, current Sample, n, m int, gathered *endValues) TailResult {
	total := n + m
	result := TailResult{P: math.NaN(), At: math.NaN(), Effect: math.NaN()}
	if !hasTails(n, m) {
		return result
	}
	if gathered == nil {
		gathered = endsOf(reference, current, total/tailDepth)
	}
	var p, weights []float64
	strongest := math.Inf(1)
	for _, end := range gathered.ordered() {
		for _, c := range tailCuts(end, total) {
			q := SharesP(c.Reference, int64(n), c.Current, int64(m))
			p, weights = append(p, q), append(weights, 1)
			if q < strongest {
				strongest, result = q, c
			}
		}
	}
	result.P = CombineCauchy(p, weights)
	if len(p) > 0 {
		result.Effect = phi(result.Reference, int64(n), result.Current, int64(m))
	}
	return result
}

// hasTails reports whether so many values are enough for tails.
func hasTails(n, m int) bool { return (n+m)/tailDepth >= tailLeast }

// tailValues are the outermost values of both sides, the farthest ones first.
type tailValues struct {
	reference, current []float64
	upper              bool
}

func tailCuts(end tailValues, total int) []TailResult {
	x, y, upper := end.reference, end.current, end.upper
	var cuts []TailResult
	for k := total / tailDepth; k >= tailLeast; k /= 4 {
		i, j := 0, 0
		at := math.NaN()
		for i+j < k && (i < len(x) || j < len(y)) {
			at = farther(x[i:], y[j:], upper)
			i += leading(x[i:], at)
			j += leading(y[j:], at)
		}
		same := len(cuts) > 0 && cuts[len(cuts)-1].At == at
		if i+j >= k && i+j < total && !same {
			cuts = append(cuts, TailResult{At: at, Upper: upper, Reference: int64(i), Current: int64(j)})
		}
	}
	return cuts
}

func farther(x, y []float64, upper bool) float64 {
	if len(x) == 0 || len(y) > 0 && (y[0] > x[0]) == upper && y[0] != x[0] {
		return y[0]
	}
	return x[0]
}

// endValues are the outermost values of both sides: at least as many as asked for at either end,
// and no value without all its equals. Where there are counts by cells, these say in which cells such
// values lie: from 0 to low, and from high on.
type endValues struct {
	low, high    int
	last         int          // beyond it is what is missing
	lower, upper [2][]float64 // by side, in no order
}

// endsOf finds them without counts by cells.
func endsOf(reference, current Sample, count int) *endValues {
	sample := current.strided(reference.strided(nil, tailSampled), tailSampled)
	SortNumbers(sample)
	e := &endValues{}
	e.lower[ofReference], e.lower[ofCurrent] = outermost(reference, current, sample, count, false)
	e.upper[ofReference], e.upper[ofCurrent] = outermost(reference, current, sample, count, true)
	return e
}

// ends are those of count values, to be gathered.
func (c orderedCounts) ends(count int) *endValues {
	e := &endValues{last: len(c.reference) - 1}
	e.low, e.high = c.endCells(count)
	return e
}

func (e *endValues) wants(cell int) bool { return cell <= e.low || cell >= e.high && cell <= e.last }

func (e *endValues) take(side, cell int, v float64) {
	if cell <= e.low {
		e.lower[side] = append(e.lower[side], v)
	}
	if cell >= e.high && cell <= e.last {
		e.upper[side] = append(e.upper[side], v)
	}
}

// ordered sorts the values.
func (e *endValues) ordered() [2]tailValues {
	for side := range 2 {
		SortNumbers(e.lower[side])
		SortNumbers(e.upper[side])
		slices.Reverse(e.upper[side])
	}
	return [2]tailValues{
		{reference: e.lower[ofReference], current: e.lower[ofCurrent]},
		{reference: e.upper[ofReference], current: e.upper[ofCurrent], upper: true},
	}
}

// endCells returns the cells up to which, and from which on, there are count values.
func (c orderedCounts) endCells(count int) (low, high int) {
	both := func(cell int) int { return int(c.reference[cell]) + int(c.current[cell]) }
	low, high = 0, len(c.reference)-1
	for held := both(low); held < count && low < len(c.reference)-1; held += both(low) {
		low++
	}
	for held := both(high); held < count && high > 0; held += both(high) {
		high--
	}
	return low, high
}

// outermost is one end of endsOf; some values of both, in order, say about where it begins.
func outermost(reference, current Sample, sample []float64, count int, upper bool) (x, y []float64) {
	wanted := min(1, 1.5*float64(count)/float64(reference.Len()+current.Len()))
	for {
		cut := sample[int(wanted*float64(len(sample)-1))]
		if upper {
			cut = sample[len(sample)-1-int(wanted*float64(len(sample)-1))]
		}
		x, y = beyond(reference, cut, upper), beyond(current, cut, upper)
		if len(x)+len(y) >= count || wanted == 1 {
			return x, y
		}
		wanted = min(1, 2*wanted)
	}
}

func beyond(s Sample, cut float64, upper bool) []float64 {
	var values []float64
	for _, piece := range s {
		for _, v := range piece {
			if upper && v >= cut || !upper && v <= cut {
				values = append(values, v)
			}
		}
	}
	return values
}

// phi is √(χ²/N) of the table a, n−a; b, m−b.
func phi(a, n, b, m int64) float64 {
	share := float64(a+b) / float64(n+m)
	difference := float64(a)/float64(n) - float64(b)/float64(m)
	variance := share * (1 - share)
	if variance == 0 {
		return 0
	}
	return math.Abs(difference) * math.Sqrt(float64(n)*float64(m)/variance) / float64(n+m)
}
