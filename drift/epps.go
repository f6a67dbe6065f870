package drift

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// eppsPoints are where the characteristic functions are compared, in units of half
// the pooled interquartile range.
var eppsPoints = [...]float64{0.4, 0.8}

const (
	eppsSize       = 2 * len(eppsPoints)
	eppsMin        = 5  // values a side
	eppsCorrection = 25 // values a side up to which the statistic is corrected
)

// EppsSingletonResult is the outcome of [EppsSingleton].
type EppsSingletonResult struct {
	TestResult     // Statistic is W
	DF         int // degrees of freedom: 4, less where the covariance is singular
}

// EppsSingleton compares the empirical characteristic functions of the samples at two
// points. It does not need continuous distributions. With g(v) = (cos t₁v, cos t₂v,
// sin t₁v, sin t₂v), t = (0.4, 0.8)/(½·IQR of the pooled values),
//
//	W = N·δᵀ S⁺ δ    δ = mean g(x) − mean g(y),  S = N/n·cov g(x) + N/m·cov g(y)
//
// with covariances divided by n and m, and S⁺ the pseudo-inverse. W is χ² with rank S
// degrees of freedom if there is no drift. With fewer than 25 values on both sides W is
// corrected by 1/(1 + N^−0.45 + 10.1(n^−1.7 + m^−1.7)). As SciPy (epps_singleton_2samp).
//
// Special cases:
//
//	fewer than 5 values on a side, an infinite one, or an IQR of 0: Statistic and P are NaN
//
// Sources: Epps and Singleton, Journal of Statistical Computation and Simulation 26
// (1986); Goerg and Kaiser, Stata Journal 9 (2009).
func EppsSingleton(reference, current Sample) EppsSingletonResult {
	x, y := reference.present(), current.present()
	result := EppsSingletonResult{TestResult: newTestResult(reference, current, len(x), len(y))}
	if len(x) < eppsMin || len(y) < eppsMin {
		return result
	}
	unit := squarable(reference, current)
	for _, values := range [...][]float64{x, y} {
		for i := range values {
			values[i] *= unit
		}
	}
	pooled := slices.Concat(x, y)
	SortNumbers(pooled)
	scale := (interpolated(pooled, 0.75) - interpolated(pooled, 0.25)) / 2
	if !(scale > 0) || math.IsInf(pooled[0], 0) || math.IsInf(pooled[len(pooled)-1], 0) {
		return result
	}
	n, m := float64(len(x)), float64(len(y))
	total := n + m
	level := pooled[len(pooled)/2] // turns all angles alike, and so keeps W and more digits
	meanX, covX := waves(x, level, scale)
	meanY, covY := waves(y, level, scale)
	covariance := mat.NewSymDense(eppsSize, nil)
	difference := mat.NewVecDense(eppsSize, nil)
	for i := range eppsSize {
		difference.SetVec(i, meanX[i]-meanY[i])
		for j := i; j < eppsSize; j++ {
			covariance.SetSym(i, j, total/n*covX[i][j]+total/m*covY[i][j])
		}
	}
	form, rank, ok := inverseForm(covariance, difference)
	if !ok {
		return result
	}
	result.Statistic, result.DF = total*form, rank
	if max(len(x), len(y)) < eppsCorrection {
		result.Statistic /= 1 + math.Pow(total, -0.45) + 10.1*(math.Pow(n, -1.7)+math.Pow(m, -1.7))
	}
	result.P = ChiSquareSF(result.Statistic, rank)
	return result
}

// waves returns mean and covariance of cosines and sines at the points.
func waves(values []float64, level, scale float64) (mean [eppsSize]float64, covariance [eppsSize][eppsSize]float64) {
	n := float64(len(values))
	rows := make([][eppsSize]float64, len(values))
	var sums [eppsSize]compensated
	for i, v := range values {
		for k, point := range eppsPoints {
			rows[i][len(eppsPoints)+k], rows[i][k] = math.Sincos(point * ((v - level) / scale))
		}
		for k := range sums {
			sums[k].add(rows[i][k])
		}
	}
	for k := range mean {
		mean[k] = sums[k].value() / n
	}
	for _, row := range rows {
		for i := range row {
			for j := i; j < eppsSize; j++ {
				covariance[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]) / n
			}
		}
	}
	return mean, covariance
}

// inverseForm returns vᵀ a⁺ v and the rank of a.
func inverseForm(a *mat.SymDense, v *mat.VecDense) (form float64, rank int, ok bool) {
	var eigen mat.EigenSym
	if !eigen.Factorize(a, true) {
		return 0, 0, false
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	greatest := 0.0
	for _, value := range values {
		greatest = max(greatest, math.Abs(value))
	}
	for i, value := range values {
		if math.Abs(value) <= greatest*float64(len(values))*0x1p-52 {
			continue
		}
		rank++
		projection := mat.Dot(vectors.ColView(i), v)
		form += projection * projection / value
	}
	return form, rank, rank > 0
}

// interpolated returns the q-quantile of sorted values, linear between neighbours,
// as NumPy does.
func interpolated(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	step, share := sorted[below+1]-sorted[below], at-float64(below)
	if share >= 0.5 {
		return sorted[below+1] - step*(1-share)
	}
	return sorted[below] + step*share
}
