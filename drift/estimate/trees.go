package estimate

import (
	"context"
	"math"
	"slices"
	"sort"
)

// Features are columns of inputs, one value per row. A categorical column has whole
// numbers that name its categories. NaN is missing, and a value like any other.
type Features struct {
	Names       []string
	Columns     [][]float64
	Categorical []bool
}

// Rows returns the number of rows.
func (f Features) Rows() int {
	if len(f.Columns) == 0 {
		return 0
	}
	return len(f.Columns[0])
}

// Select returns the rows at these indices.
func (f Features) Select(index []int) Features {
	columns := make([][]float64, len(f.Columns))
	for i, c := range f.Columns {
		columns[i] = pick(c, index)
	}
	return Features{f.Names, columns, f.Categorical}
}

// join puts the rows of g behind those of f.
func (f Features) join(g Features) Features {
	columns := make([][]float64, len(f.Columns))
	for i := range columns {
		columns[i] = slices.Concat(f.Columns[i], g.Columns[i])
	}
	return Features{f.Names, columns, f.Categorical}
}

const (
	treeRounds = 60
	treeDepth  = 3
	treeBins   = 32
	treeRate   = 0.15
	treeLeast  = 20  // rows in a leaf
	treeRidge  = 1.0 // keeps leaves of few rows small
)

// trees is a sum of small regression trees over binned columns, fitted one after the
// other to what the ones before leave (gradient boosting). Nothing is drawn at random.
// It is as much of a learner as this package needs, and no more.
//
// Source: Friedman, "Greedy function approximation", Annals of Statistics 29 (2001);
// second-order leaves by Chen and Guestrin, KDD 2016.
type trees struct {
	bins  []binning
	start float64
	trees [][]split // each a complete tree of treeDepth levels, in heap order
	link  func(float64) float64
}

// split sends rows of a bin up to at to the left. Where column is −1 it is a leaf, and
// value is what it adds.
type split struct {
	column, at int
	value      float64
}

// fitMean fits the mean of target given the features. The only error is that of ctx.
func fitMean(ctx context.Context, f Features, target []float64) (*trees, error) {
	t := &trees{start: mean(target), link: func(x float64) float64 { return x }}
	return t, t.fit(ctx, f, target, func(float64) float64 { return 1 })
}

// fitProbability fits the probability that target is 1. The only error is that of ctx.
func fitProbability(ctx context.Context, f Features, target []float64) (*trees, error) {
	p := min(max(mean(target), 1e-6), 1-1e-6)
	t := &trees{start: math.Log(p / (1 - p)), link: logistic}
	return t, t.fit(ctx, f, target, func(p float64) float64 { return p * (1 - p) })
}

// fit grows trees; curvature is the second derivative of the loss at a prediction.
func (t *trees) fit(ctx context.Context, f Features, target []float64, curvature func(float64) float64) error {
	t.bins = binnings(f, treeBins)
	codes := make([][]uint8, len(t.bins))
	for i, b := range t.bins {
		codes[i] = b.codes(f.Columns[i])
	}
	n := len(target)
	sums, gradient, weight := slices.Repeat([]float64{t.start}, n), make([]float64, n), make([]float64, n)
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	for range treeRounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range n {
			p := t.link(sums[i])
			gradient[i], weight[i] = target[i]-p, curvature(p)
		}
		tree := make([]split, 1<<(treeDepth+1)-1)
		t.grow(tree, 0, rows, codes, gradient, weight, sums)
		t.trees = append(t.trees, tree)
	}
	return nil
}

func (t *trees) grow(tree []split, node int, rows []int, codes [][]uint8, gradient, weight, sums []float64) {
	g, w := 0.0, 0.0
	for _, i := range rows {
		g, w = g+gradient[i], w+weight[i]
	}
	best := split{column: -1, value: treeRate * g / (w + treeRidge)}
	if 2*node+2 < len(tree) && len(rows) >= 2*treeLeast {
		best = t.bestSplit(best, rows, codes, gradient, weight, g, w)
	}
	tree[node] = best
	if best.column < 0 {
		for _, i := range rows {
			sums[i] += best.value
		}
		return
	}
	column := codes[best.column]
	middle := 0
	for k, i := range rows {
		if int(column[i]) <= best.at {
			rows[middle], rows[k] = rows[k], rows[middle]
			middle++
		}
	}
	t.grow(tree, 2*node+1, rows[:middle], codes, gradient, weight, sums)
	t.grow(tree, 2*node+2, rows[middle:], codes, gradient, weight, sums)
}

func (t *trees) bestSplit(leaf split, rows []int, codes [][]uint8, gradient, weight []float64, g, w float64) split {
	best, most := leaf, g*g/(w+treeRidge)+1e-9
	for column, code := range codes {
		var gs, ws [treeBins + 1]float64
		var counts [treeBins + 1]int
		for _, i := range rows {
			c := code[i]
			gs[c] += gradient[i]
			ws[c] += weight[i]
			counts[c]++
		}
		left, leftWeight, count := 0.0, 0.0, 0
		for at := range t.bins[column].count() - 1 {
			left, leftWeight, count = left+gs[at], leftWeight+ws[at], count+counts[at]
			if count < treeLeast || len(rows)-count < treeLeast {
				continue
			}
			if gain := left*left/(leftWeight+treeRidge) + (g-left)*(g-left)/(w-leftWeight+treeRidge); gain > most {
				best, most = split{column: column, at: at}, gain
			}
		}
	}
	return best
}

// predict returns the fitted value of each row.
func (t *trees) predict(f Features) []float64 {
	codes := make([][]uint8, len(t.bins))
	for i, b := range t.bins {
		codes[i] = b.codes(f.Columns[i])
	}
	values := make([]float64, f.Rows())
	for i := range values {
		sum := t.start
		for _, tree := range t.trees {
			node := 0
			for tree[node].column >= 0 {
				if int(codes[tree[node].column][i]) <= tree[node].at {
					node = 2*node + 1
				} else {
					node = 2*node + 2
				}
			}
			sum += tree[node].value
		}
		values[i] = t.link(sum)
	}
	return values
}

// binning divides a column into bins of about as many rows each, or into its most
// frequent categories and the rest. The last bin is for missing values.
type binning struct {
	edges      []float64 // a number is in the first bin whose edge is not below it
	categories []float64
}

func binnings(f Features, most int) []binning {
	all := make([]binning, len(f.Columns))
	for i, c := range f.Columns {
		all[i] = newBinning(c, f.Categorical[i], most)
	}
	return all
}

// newBinning makes at most so many bins, that of missing values aside.
func newBinning(values []float64, categorical bool, most int) binning {
	sorted := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(sorted)
	if categorical {
		return binning{categories: frequent(sorted, most-1)}
	}
	b := binning{edges: []float64{}}
	for i := 1; i < most && len(sorted) > 0; i++ {
		edge := sorted[(len(sorted)-1)*i/most]
		if (len(b.edges) == 0 || edge > b.edges[len(b.edges)-1]) && edge < sorted[len(sorted)-1] {
			b.edges = append(b.edges, edge)
		}
	}
	return b
}

// frequent returns the most frequent values.
func frequent(sorted []float64, most int) []float64 {
	type run struct {
		value float64
		count int
	}
	var runs []run
	for _, v := range sorted {
		if len(runs) == 0 || runs[len(runs)-1].value != v {
			runs = append(runs, run{v, 0})
		}
		runs[len(runs)-1].count++
	}
	slices.SortStableFunc(runs, func(a, b run) int { return b.count - a.count })
	values := make([]float64, 0, most)
	for _, r := range runs[:min(most, len(runs))] {
		values = append(values, r.value)
	}
	return values
}

// count is the number of bins.
func (b binning) count() int {
	if b.edges == nil {
		return len(b.categories) + 2 // the rest, missing
	}
	return len(b.edges) + 2 // above the last edge, missing
}

func (b binning) missing() int { return b.count() - 1 }

func (b binning) code(v float64) int {
	switch {
	case math.IsNaN(v):
		return b.missing()
	case b.edges != nil:
		return sort.SearchFloat64s(b.edges, v)
	}
	if i := slices.Index(b.categories, v); i >= 0 {
		return i
	}
	return len(b.categories)
}

func (b binning) codes(values []float64) []uint8 {
	codes := make([]uint8, len(values))
	for i, v := range values {
		codes[i] = uint8(b.code(v))
	}
	return codes
}
