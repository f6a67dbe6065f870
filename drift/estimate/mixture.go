package estimate

import "math"

// MixtureWeights re-estimates the weights of models whose outputs are averaged, from the mean
// losses that each had in a window of labelled rows:
//
//	w_i ∝ ( (1−share)·before_i + share/k ) · exp(−rate·loss_i)
//
// The part share goes to all of the k models alike, so that one which was useless for long
// can come back when the world does. rate is how much a window counts: 1 over the spread of
// losses that matters, or less for windows of few rows. Losses are in one unit for all; a model
// whose loss is NaN is taken to be as good as the best.
//
// Special cases:
//
//	no models: nil; all weights vanish: equal ones
//
// Source: Herbster and Warmuth, "Tracking the best expert", Machine Learning 32 (1998).
func MixtureWeights(before, losses []float64, rate, share float64) []float64 {
	k := len(before)
	if k == 0 || len(losses) != k {
		return nil
	}
	least := math.Inf(1)
	for _, loss := range losses {
		if loss == loss {
			least = min(least, loss)
		}
	}
	weights, total := make([]float64, k), 0.0
	for i := range weights {
		weights[i] = (1-share)*before[i] + share/float64(k)
		if losses[i] == losses[i] && !math.IsInf(least, 0) {
			weights[i] *= math.Exp(-rate * (losses[i] - least))
		}
		total += weights[i]
	}
	for i := range weights {
		if total > 0 && !math.IsInf(total, 0) {
			weights[i] /= total
		} else {
			weights[i] = 1 / float64(k)
		}
	}
	return weights
}
