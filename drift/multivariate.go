package drift

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

const (
	// mmdRows of each side are compared: the kernel matrix of both has 1000² numbers.
	mmdRows         = 500
	mmdPermutations = 999

	// classifierRows of each side train and test, half and half, on at most
	// classifierFeatures of their columns, squares and products.
	classifierRows     = 20_000
	classifierFeatures = 120

	// ridge keeps columns that depend on each other from upsetting the classifier, as a
	// share of the variance.
	ridge = 1e-3
)

// Table holds columns of numbers of equal length, without NaN.
type Table [][]float64

func (t Table) rows() int {
	if len(t) == 0 {
		return 0
	}
	return len(t[0])
}

// MultivariateResult is the outcome of a test of all columns together.
type MultivariateResult struct {
	Statistic float64  // the MMD, or the AUC of the classifier
	P         float64  // NaN if the tables are too small
	Effect    float64  // the MMD, or 2·AUC − 1, at least 0
	N, M      int      // rows that were used
	Telling   []string // of a classifier: what tells the sides apart
}

// NormalScores replaces the values of every column by Φ⁻¹((r − ½)/N), with r the mid-rank
// among both sides: so that columns of any unit and tail weigh alike.
func NormalScores(reference, current Table) (x, y Table) {
	for c := range reference {
		n := len(reference[c])
		all := slices.Concat(reference[c], current[c])
		scores := normalScores(all)
		x, y = append(x, scores[:n]), append(y, scores[n:])
	}
	return x, y
}

func normalScores(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	scores := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		rank := float64(from+to) / 2 / float64(len(order))
		score := math.Sqrt2 * math.Erfinv(2*rank-1)
		for _, i := range order[from:to] {
			scores[i] = score
		}
		from = to
	}
	return scores
}

// MMD is the maximum mean discrepancy of two tables with the Gaussian kernel
//
//	k(a, b) = exp(−|a − b|²/(2σ²)),   2σ² = the median of |a − b|² over pairs of rows
//	MMD² = mean k(x, x') + mean k(y, y') − 2·mean k(x, y)
//
// whose p-value is the share of 999 random assignments of the rows to the sides with
// at least this MMD. It sees any difference of the joint distributions in
// principle, and in practice those that are as broad as the data. Of each side 500 rows are
// used, drawn by seed: effects that 500 rows do not show it does not find. Blocks of
// block consecutive rows stay together when rows are assigned, which is for rows that
// depend on their neighbours; 1 is for rows that do not.
//
// Scale the columns first, see [NormalScores].
//
// Special cases:
//
//	fewer than 10 rows a side, or no column: all numbers are NaN
//
// Source: Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test",
// JMLR 13 (2012).
func MMD(reference, current Table, block int, seed uint64) MultivariateResult {
	random := rand.New(rand.NewPCG(seed, 1))
	block = max(1, block)
	x := reference.blocks(random, mmdRows, block)
	y := current.blocks(random, mmdRows, block)
	n, m := x.rows(), y.rows()
	if n < 10 || m < 10 {
		return MultivariateResult{Statistic: math.NaN(), P: math.NaN(), Effect: math.NaN()}
	}
	kernel := gaussianKernel(slices.Collect(joined(x, y)))
	side := make([]bool, n+m) // true for current
	for i := n; i < n+m; i++ {
		side[i] = true
	}
	observed := discrepancy(kernel, side, n, m)
	atLeast := 1
	for range mmdPermutations {
		permuteBlocks(side, block, m, random)
		if discrepancy(kernel, side, n, m) >= observed {
			atLeast++
		}
	}
	distance := math.Sqrt(max(0, observed))
	return MultivariateResult{
		Statistic: distance, P: float64(atLeast) / (mmdPermutations + 1), Effect: min(1, distance), N: n, M: m,
	}
}

// joined yields the columns of both tables, one below the other.
func joined(x, y Table) func(yield func([]float64) bool) {
	return func(yield func([]float64) bool) {
		for c := range x {
			if !yield(slices.Concat(x[c], y[c])) {
				return
			}
		}
	}
}

// blocks draws blocks of consecutive rows, without replacement, up to count rows.
func (t Table) blocks(random *rand.Rand, count, block int) Table {
	rows := t.rows()
	if rows <= count {
		return t
	}
	chosen := random.Perm(rows / block)[:count/block]
	drawn := make(Table, len(t))
	for c, column := range t {
		for _, b := range chosen {
			drawn[c] = append(drawn[c], column[b*block:(b+1)*block]...)
		}
	}
	return drawn
}

// gaussianKernel returns the matrix of k, row by row, with zeros on its diagonal.
func gaussianKernel(columns [][]float64) [][]float32 {
	n := len(columns[0])
	kernel := make([][]float32, n)
	distances := make([]float32, 0, n*(n-1)/2)
	for i := range kernel {
		kernel[i] = make([]float32, n)
		for _, column := range columns {
			at := column[i]
			for j := range i {
				d := column[j] - at
				kernel[i][j] += float32(d * d)
			}
		}
		distances = append(distances, kernel[i][:i]...)
	}
	slices.Sort(distances)
	width := distances[len(distances)/2]
	if width == 0 {
		width = 1
	}
	for i := range kernel {
		for j := range i {
			kernel[i][j] = float32(math.Exp(-float64(kernel[i][j] / width)))
			kernel[j][i] = kernel[i][j]
		}
	}
	return kernel
}

// discrepancy is MMD² without the pairs of a row with itself.
func discrepancy(kernel [][]float32, side []bool, n, m int) float64 {
	var xx, yy, xy float64
	for i, row := range kernel {
		same, other := float32(0), float32(0)
		for j, k := range row[:i] {
			if side[j] == side[i] {
				same += k
			} else {
				other += k
			}
		}
		xy += float64(other)
		if side[i] {
			yy += float64(same)
		} else {
			xx += float64(same)
		}
	}
	return 2*xx/float64(n*(n-1)) + 2*yy/float64(m*(m-1)) - 2*xy/float64(n*m)
}

// permuteBlocks assigns the rows anew, with m of them on the side that is true.
func permuteBlocks(side []bool, block, m int, random *rand.Rand) {
	clear(side)
	blocks := (len(side) + block - 1) / block
	left := m
	for _, b := range random.Perm(blocks) {
		for i := b * block; i < min(len(side), (b+1)*block) && left > 0; i++ {
			side[i] = true
			left--
		}
	}
}

// Classifier asks how well a classifier tells rows of current from rows of the reference:
// not better than chance, if their joint distributions are the same. It is Fisher's
// linear discriminant, with a ridge, on all columns, their squares and their products
// of two, as far as there are not more than 120 of these; so it sees means, spreads and
// correlations. It learns on half of up to 20,000 rows of each side, drawn by seed, and
// ranks the other half. The statistic is the AUC, and P the one-sided probability of Mann
// and Whitney of such a ranking by chance, which is valid because the rows that are
// ranked have not been seen before.
//
// Telling names up to three columns, squares and products that tell the sides apart.
//
// Scale the columns first, see [NormalScores].
//
// Special cases:
//
//	fewer than 20 rows a side, or no column: all numbers are NaN
//
// Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017;
// Friedman, "On multivariate goodness-of-fit and two-sample testing", 2003.
func Classifier(reference, current Table, names []string, seed uint64) MultivariateResult {
	random := rand.New(rand.NewPCG(seed, 2))
	x := reference.blocks(random, classifierRows, 1)
	y := current.blocks(random, classifierRows, 1)
	n, m := x.rows(), y.rows()
	result := MultivariateResult{Statistic: math.NaN(), P: math.NaN(), Effect: math.NaN(), N: n, M: m}
	if n < 20 || m < 20 {
		return result
	}
	features := quadraticFeatures(len(x))
	trainX, testX := x.halves(random)
	trainY, testY := y.halves(random)
	weights, telling := discriminant(features, trainX, trainY)
	if weights == nil {
		return result
	}
	u := MannWhitney(SampleOf(features.scores(testX, weights)), SampleOf(features.scores(testY, weights)))
	result.Statistic = 1 - u.Superiority
	result.Effect = max(0, 2*result.Statistic-1)
	result.P = u.P / 2
	if result.Statistic < 0.5 {
		result.P = 1 - u.P/2
	}
	for _, f := range telling {
		result.Telling = append(result.Telling, features[f].name(names))
	}
	return result
}

// halves deals the rows to two tables at random.
func (t Table) halves(random *rand.Rand) (a, b Table) {
	order := random.Perm(t.rows())
	half := len(order) / 2
	pick := func(rows []int) Table {
		part := make(Table, len(t))
		for c, column := range t {
			part[c] = make([]float64, len(rows))
			for i, row := range rows {
				part[c][i] = column[row]
			}
		}
		return part
	}
	return pick(order[:half]), pick(order[half:])
}

// feature is a column, or the product of two.
type feature struct{ first, second int } // second is -1 for the column itself

type featureSet []feature

// quadraticFeatures lists the columns, then squares, then products of near columns first.
func quadraticFeatures(columns int) featureSet {
	var all featureSet
	for c := range columns {
		all = append(all, feature{c, -1})
	}
	for apart := range columns {
		for c := 0; c+apart < columns; c++ {
			if len(all) >= max(classifierFeatures, columns) {
				return all
			}
			all = append(all, feature{c, c + apart})
		}
	}
	return all
}

func (f feature) name(names []string) string {
	switch {
	case f.second < 0:
		return names[f.first]
	case f.first == f.second:
		return "spread of " + names[f.first]
	}
	return fmt.Sprintf("%s with %s", names[f.first], names[f.second])
}

func (s featureSet) row(t Table, i int, into []float64) {
	for k, f := range s {
		into[k] = t[f.first][i]
		if f.second >= 0 {
			into[k] *= t[f.second][i]
		}
	}
}

func (s featureSet) scores(t Table, weights []float64) []float64 {
	scores := make([]float64, t.rows())
	values := make([]float64, len(s))
	for i := range scores {
		s.row(t, i, values)
		for k, v := range values {
			scores[i] += v * weights[k]
		}
	}
	return scores
}

// discriminant returns (S + λI)⁻¹(ȳ − x̄) with S the pooled covariance within the sides,
// and the features that add most to the distance of the means. It is nil if S has no
// spread at all.
func discriminant(features featureSet, x, y Table) (weights []float64, telling []int) {
	k := len(features)
	meanX, meanY := features.means(x), features.means(y)
	scatter := mat.NewSymDense(k, nil)
	features.scatter(x, meanX, scatter)
	features.scatter(y, meanY, scatter)
	degrees := float64(x.rows() + y.rows() - 2)
	trace := 0.0
	for i := range k {
		trace += scatter.At(i, i) / degrees
	}
	if trace == 0 {
		return nil, nil
	}
	difference := mat.NewVecDense(k, nil)
	for i := range k {
		for j := i; j < k; j++ {
			scatter.SetSym(i, j, scatter.At(i, j)/degrees)
		}
		scatter.SetSym(i, i, scatter.At(i, i)+ridge*trace/float64(k))
		difference.SetVec(i, meanY[i]-meanX[i])
	}
	var cholesky mat.Cholesky
	var solved mat.VecDense
	if !cholesky.Factorize(scatter) || cholesky.SolveVecTo(&solved, difference) != nil {
		return nil, nil
	}
	weights = solved.RawVector().Data
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	part := func(i int) float64 { return weights[i] * difference.AtVec(i) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(part(b), part(a)) })
	for _, i := range order[:min(3, k)] {
		if part(i) > 0.1*part(order[0]) && part(i) > 0 {
			telling = append(telling, i)
		}
	}
	return weights, telling
}

func (s featureSet) means(t Table) []float64 {
	means, values := make([]float64, len(s)), make([]float64, len(s))
	for i := range t.rows() {
		s.row(t, i, values)
		for k, v := range values {
			means[k] += v
		}
	}
	for k := range means {
		means[k] /= float64(t.rows())
	}
	return means
}

// scatter adds Σ (f − mean)(f − mean)ᵀ over the rows to sum.
func (s featureSet) scatter(t Table, means []float64, sum *mat.SymDense) {
	const batch = 512
	k := len(s)
	block := mat.NewDense(batch, k, nil)
	for from := 0; from < t.rows(); from += batch {
		rows := min(batch, t.rows()-from)
		for i := range rows {
			row := block.RawRowView(i)
			s.row(t, from+i, row)
			for j := range row {
				row[j] -= means[j]
			}
		}
		sum.SymRankK(sum, 1, block.Slice(0, rows, 0, k).T())
	}
}
