// Package sequential weighs evidence that grows, so that it may be looked at after every
// value and a decision may end it. It is what rollouts and performance triggers decide by.
//
// # E-values
//
// An e-value is a number ≥ 0 whose mean is at most 1 under a hypothesis, whenever one stops.
// So the chance that it ever reaches 1/α is at most α (Ville's inequality), however often one
// looks; and it is what a bet against the hypothesis would have made of 1. Here e-values are
// natural logarithms, and 0 says nothing.
//
//	type      is about                                     state
//	Rates     events of two arms that requests are dealt   two counts a stretch
//	Share     events among so many requests of one arm     two counts
//	Means     means of two arms                            Moments: a count, a mean, squares
//	Pairs     both arms' answers to the same request       counts of differences
//	Normal    estimates with a standard error, in order    two sums a start
//
// # Invariants
//
//   - State is counts, or sums in a stated order, and small. What a method returns is a function
//     of the state alone: there is no clock, and no randomness.
//   - The mean of e-values of several hypotheses is one that all of them hold ([Average]).
//   - Nothing panics on any state; what cannot be computed says nothing: 0, or NaN bounds.
//
// Sources: Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid
// inference", Statistical Science 38 (2023); Lindon, Sanden, Shirikian, "Rapid regression
// detection in software deployments through sequential testing", KDD 2022.
package sequential

import (
	"math"
)

// Average returns the logarithm of the mean of e-values that are given as logarithms:
// evidence against all their hypotheses together, whatever their dependence. It is 0 for none.
//
// Source: Vovk and Wang, "E-values: calibration, combination and applications", Annals of
// Statistics 49 (2021).
func Average(logs []float64) float64 {
	if len(logs) == 0 {
		return 0
	}
	return logSum(logs) - math.Log(float64(len(logs)))
}

// Restarted returns the log e-value against hypotheses that hold in times that follow each
// other, each with its own log e-value, from some time on: as in [Rates.Worse], the s-th begins
// with 1/(s(s+1)) of the stake.
//
//	E = Σ_s 1/(s(s+1)) · Π_{i≥s} E_i  +  1/(S+1)
func Restarted(logs []float64) float64 {
	stake := math.Inf(-1)
	for i, log := range logs {
		s := float64(i + 1)
		stake = logAdd(stake, -math.Log(s*(s+1))) + log
	}
	return logAdd(stake, -math.Log(float64(len(logs)+1)))
}

// Weighted returns the logarithm of the weighted mean of e-values; the weights add up to 1.
func Weighted(logs, weights []float64) float64 {
	weighed := make([]float64, len(logs))
	for i, log := range logs {
		weighed[i] = log + math.Log(weights[i])
	}
	return logSum(weighed)
}

// logSum returns ln Σ exp(v), and −Inf for none.
func logSum(values []float64) float64 {
	most := math.Inf(-1)
	for _, v := range values {
		most = max(most, v)
	}
	if math.IsInf(most, 0) {
		return most
	}
	sum := 0.0
	for _, v := range values {
		sum += math.Exp(v - most)
	}
	return most + math.Log(sum)
}

func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, 0) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// times is count·log, where 0 events of probability 0 say nothing.
func times(count, log float64) float64 {
	if count == 0 {
		return 0
	}
	return count * log
}

// boundary returns the x in [low, high] up to which inside holds, if it holds at low and,
// beyond some point, no more.
func boundary(low, high float64, inside func(x float64) bool) float64 {
	if inside(high) {
		return high
	}
	for range 60 {
		if middle := (low + high) / 2; inside(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}
