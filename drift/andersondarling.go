package drift

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// AndersonDarlingResult is the outcome of [AndersonDarling].
type AndersonDarlingResult struct {
	Statistic float64 // A², less its mean k−1 and divided by its standard deviation
	P         float64 // from 0.001 to 0.25
	Capped    bool    // P is 0.25, and in truth anything above
	Floored   bool    // P is 0.001, and in truth anything below

	N       []int64 // values tested, by sample
	Missing []int64 // NaN, by sample
}

// AndersonDarling is the test of k samples against one unknown common distribution,
// which weighs squared distances by the inverse of their variance and so sees
// tails better than [KS] and [CramerVonMises]. Over the distinct pooled values z_j,
// ℓ_j times there, with B_j the midrank count of pooled values below and M_ij that of
// sample i,
//
//	A² = (N−1)/N Σ_i 1/n_i Σ_j ℓ_j/N (N·M_ij − n_i·B_j)² / (B_j(N − B_j) − N·ℓ_j/4)
//
// The probability is not computed but looked up: a parabola is fitted to the
// logarithms of seven levels over their critical values, as SciPy does
// (anderson_ksamp, midrank). Outside of the levels P stays at 0.25 or 0.001, and
// Capped or Floored says so. It is no p-value to correct for many columns with.
//
// Special cases:
//
//	fewer than 2 samples, one without values, fewer than 4 values in all or a single
//	distinct one: Statistic and P are NaN
//
// Source: Scholz and Stephens, "K-sample Anderson–Darling tests", JASA 82 (1987).
func AndersonDarling(samples ...Sample) AndersonDarlingResult {
	result := AndersonDarlingResult{Statistic: math.NaN(), P: math.NaN()}
	sorted := make([][]float64, len(samples))
	var pooled []float64
	empty := false
	for i, s := range samples {
		sorted[i] = s.sorted()
		pooled = append(pooled, sorted[i]...)
		result.N = append(result.N, int64(len(sorted[i])))
		result.Missing = append(result.Missing, int64(s.Len()-len(sorted[i])))
		empty = empty || len(sorted[i]) == 0
	}
	SortNumbers(pooled)
	total := len(pooled)
	if len(samples) < 2 || empty || total < 4 || pooled[0] == pooled[total-1] {
		return result
	}
	degrees := float64(len(samples) - 1)
	result.Statistic = (andersonA2(sorted, pooled) - degrees) / math.Sqrt(andersonVariance(result.N))
	result.P, result.Capped, result.Floored = andersonP(result.Statistic, degrees)
	return result
}

func andersonA2(samples [][]float64, pooled []float64) float64 {
	total := float64(len(pooled))
	sum := 0.0
	for _, sample := range samples {
		n := float64(len(sample))
		var inner compensated
		below, inSample := 0, 0
		overPooled(pooled, sample, func(_ float64, tied, own int) {
			l := float64(tied)
			b := float64(below) + l/2
			gap := total*(float64(inSample)+float64(own)/2) - n*b
			inner.add(l / total * gap * gap / (b*(total-b) - total*l/4))
			below, inSample = below+tied, inSample+own
		})
		sum += inner.value() / n
	}
	return sum * (total - 1) / total
}

// andersonVariance is equation 4 of Scholz and Stephens.
func andersonVariance(sizes []int64) float64 {
	k, total, inverse := float64(len(sizes)), 0.0, 0.0
	for _, n := range sizes {
		total += float64(n)
		inverse += 1 / float64(n)
	}
	h, g := 0.0, 0.0
	for i := 1.0; i < total-1; i++ {
		h += 1 / (total - i)
		g += h / (i + 1)
	}
	h++
	a := (4*g-6)*(k-1) + (10-6*g)*inverse
	b := (2*g-4)*k*k + 8*h*k + (2*g-14*h-4)*inverse - 8*h + 4*g - 6
	c := (6*h+2*g-2)*k*k + (4*h-4*g+6)*k + (2*h-6)*inverse + 4*h
	d := (2*h+6)*k*k - 4*h*k
	return (((a*total+b)*total+c)*total + d) / ((total - 1) * (total - 2) * (total - 3))
}

// andersonLevels are the levels with tabled critical values b₀ + b₁/√m + b₂/m for
// m = k−1 (table 2 of Scholz and Stephens, extended by SciPy to 0.005 and 0.001).
var andersonLevels = []struct{ level, b0, b1, b2 float64 }{
	{0.25, 0.675, -0.245, -0.105},
	{0.1, 1.281, 0.25, -0.305},
	{0.05, 1.645, 0.678, -0.362},
	{0.025, 1.96, 1.149, -0.391},
	{0.01, 2.326, 1.822, -0.396},
	{0.005, 2.573, 2.364, -0.345},
	{0.001, 3.085, 3.615, -0.154},
}

func andersonP(statistic, degrees float64) (p float64, capped, floored bool) {
	powers, logs := mat.NewDense(len(andersonLevels), 3, nil), mat.NewVecDense(len(andersonLevels), nil)
	least, greatest := math.Inf(1), math.Inf(-1)
	for i, level := range andersonLevels {
		critical := level.b0 + level.b1/math.Sqrt(degrees) + level.b2/degrees
		powers.SetRow(i, []float64{1, critical, critical * critical})
		logs.SetVec(i, math.Log(level.level))
		least, greatest = min(least, critical), max(greatest, critical)
	}
	switch {
	case statistic < least:
		return 0.25, true, false
	case statistic > greatest:
		return 0.001, false, true
	}
	var fit mat.VecDense
	if err := fit.SolveVec(powers, logs); err != nil {
		return math.NaN(), false, false
	}
	return math.Exp(fit.AtVec(0) + statistic*(fit.AtVec(1)+statistic*fit.AtVec(2))), false, false
}
