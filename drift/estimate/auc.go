package estimate

import (
	"cmp"
	"math"
	"slices"
)

// measureAUC is the share of pairs of a positive and a negative row in which the positive
// one has the higher score, ties counting half, with DeLong's variance: that of the share
// of rows of the other class that each row beats.
func measureAUC(r Rows, alpha float64, _ uint64) Estimate {
	beats := map[bool][]float64{}
	for _, tie := range ties(r.Score) {
		negatives := 0
		for _, i := range tie.rows {
			if r.Label[i] != 1 {
				negatives++
			}
		}
		positives := len(tie.rows) - negatives
		below := tie.before - len(beats[true]) // negatives before the tie
		for range positives {
			beats[true] = append(beats[true], float64(below)+float64(negatives)/2)
		}
		positivesBefore := len(beats[true]) - positives
		for range negatives {
			beats[false] = append(beats[false], float64(positivesBefore)+float64(positives)/2)
		}
	}
	n, m := float64(len(beats[true])), float64(len(beats[false]))
	if n == 0 || m == 0 {
		return unknown
	}
	auc := mean(beats[true]) / m
	deviation := math.Sqrt(variance(beats[true])/(m*m)/n + variance(beats[false])/(n*n)/m)
	low, high := logitInterval(auc, deviation, alpha)
	return Estimate{auc, low, high, len(r.Label)}
}

// logitInterval keeps the interval of a share inside of [0, 1].
func logitInterval(p, deviation, alpha float64) (low, high float64) {
	if p <= 0 || p >= 1 {
		return p, p
	}
	center, half := math.Log(p/(1-p)), quantile(alpha)*deviation/(p*(1-p))
	return logistic(center - half), logistic(center + half)
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// tie is a run of rows with one score.
type tie struct {
	rows   []int
	before int // rows with a lower score
}

// ties returns the rows by score, from low to high.
func ties(scores []float64) []tie {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	var all []tie
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && scores[order[to]] == scores[order[from]] {
			to++
		}
		all = append(all, tie{order[from:to], from})
		from = to
	}
	return all
}

func mean(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total / float64(len(values))
}

// variance of one value is 0.
func variance(values []float64) float64 {
	center, squares := mean(values), 0.0
	for _, v := range values {
		squares += (v - center) * (v - center)
	}
	return squares / max(1, float64(len(values)-1))
}
