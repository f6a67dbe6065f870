package estimate

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

const bootstraps = 500

// measureR2 is 1 − Σ(y−ŷ)²/Σ(y−ȳ)², of bootstrapped rows for the interval.
func measureR2(r Rows, alpha float64, seed uint64) Estimate {
	n := len(r.Label)
	if n < 2 {
		return unknown
	}
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	value := r2(r, index)
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	draws := make([]float64, bootstraps)
	for d := range draws {
		for i := range index {
			index[i] = random.IntN(n)
		}
		draws[d] = r2(r, index)
	}
	low, high := percentiles(draws, alpha)
	return Estimate{value, low, high, n}
}

func r2(r Rows, index []int) float64 {
	var y, errors sum
	for _, i := range index {
		y.add(r.Label[i])
		errors.add(r.Prediction[i] - r.Label[i])
	}
	n := float64(len(index))
	around := y.squares - y.total*y.total/n
	if around <= 0 {
		return math.NaN()
	}
	return 1 - errors.squares/around
}

// percentiles returns the interval that holds 1−alpha of the draws that are numbers.
func percentiles(draws []float64, alpha float64) (low, high float64) {
	draws = slices.DeleteFunc(draws, math.IsNaN)
	if len(draws) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(draws)
	last := float64(len(draws) - 1)
	return draws[int(math.Round(alpha/2*last))], draws[int(math.Round((1-alpha/2)*last))]
}

// rankingMetric is the mean over lists of a metric of one list, whose gains are in the
// order of the scores. Lists without any gain have no order to judge, and are left out.
func rankingMetric(of func(gains []float64) float64) func(Rows, float64, uint64) Estimate {
	return func(r Rows, alpha float64, _ uint64) Estimate {
		var values []float64
		for _, rows := range ranked(r) {
			if v := of(pick(r.Label, rows)); !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			return unknown
		}
		value := mean(values)
		half := quantile(alpha) * math.Sqrt(variance(values)/float64(len(values)))
		return Estimate{value, max(0, value-half), min(1, value+half), len(values)}
	}
}

// ranked returns the rows of each list, those with the highest scores first.
func ranked(r Rows) [][]int {
	lists := map[int][]int{}
	for i, g := range r.Group {
		lists[g] = append(lists[g], i)
	}
	all := make([][]int, 0, len(lists))
	for _, g := range slices.Sorted(maps.Keys(lists)) {
		rows := lists[g]
		slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(r.Score[b], r.Score[a]) })
		all = append(all, rows)
	}
	return all
}

// Lists are the lists of a ranking, each as one row: what a fall is explained by.
type Lists struct {
	Losses []float64 // 1 − NDCG@10
	Inputs Features  // of each list: the means of numbers, the most frequent categories, its length
	First  []int     // the row that was ranked first
}

// LengthOfList is the name of the input that lists have besides those of their rows.
const LengthOfList = "(rows in the list)"

// ListsOf sums rows up list by list, of those that have a label and a score. Lists without any gain have no
// order to judge, and are left out.
func ListsOf(r Rows, inputs Features) Lists {
	l := Lists{Inputs: Features{
		Names:       append(slices.Clone(inputs.Names), LengthOfList),
		Columns:     make([][]float64, len(inputs.Columns)+1),
		Categorical: append(slices.Clone(inputs.Categorical), false),
	}}
	known := Metric{Needs: []string{"score"}}.known(r)
	r, inputs = r.Select(known), inputs.Select(known)
	for _, rows := range ranked(r) {
		value := ndcg(pick(r.Label, rows))
		if math.IsNaN(value) {
			continue
		}
		l.Losses, l.First = append(l.Losses, 1-value), append(l.First, known[rows[0]])
		for c, column := range inputs.Columns {
			l.Inputs.Columns[c] = append(l.Inputs.Columns[c], typical(pick(column, rows), inputs.Categorical[c]))
		}
		last := len(inputs.Columns)
		l.Inputs.Columns[last] = append(l.Inputs.Columns[last], float64(len(rows)))
	}
	return l
}

// typical is the mean of numbers, or the most frequent category; NaN if all are missing.
func typical(values []float64, categorical bool) float64 {
	values = slices.DeleteFunc(values, math.IsNaN)
	switch {
	case len(values) == 0:
		return math.NaN()
	case categorical:
		slices.Sort(values)
		return frequent(values, 1)[0]
	}
	return mean(values)
}

// cutoff is how many of a list are looked at: NDCG@10, MAP@10.
const cutoff = 10

// ndcg is the discounted gain Σ gain/log₂(rank+1) of the first ones over the greatest that
// another order would have. Source: Järvelin and Kekäläinen, TOIS 20 (2002).
func ndcg(gains []float64) float64 {
	ideal := slices.Clone(gains)
	slices.SortFunc(ideal, func(a, b float64) int { return cmp.Compare(b, a) })
	best := discounted(ideal)
	if best <= 0 {
		return math.NaN()
	}
	return discounted(gains) / best
}

func discounted(gains []float64) float64 {
	total := 0.0
	for i, g := range gains[:min(cutoff, len(gains))] {
		total += g / math.Log2(float64(i+2))
	}
	return total
}

// averagePrecision is the mean, over the relevant ones (gain above 0) among the first, of
// the share of relevant ones up to there.
func averagePrecision(gains []float64) float64 {
	relevant, total := 0.0, 0.0
	for i, g := range gains {
		if g <= 0 {
			continue
		}
		relevant++
		if i < cutoff {
			total += relevant / float64(i+1)
		}
	}
	if relevant == 0 {
		return math.NaN()
	}
	return total / min(relevant, cutoff)
}
