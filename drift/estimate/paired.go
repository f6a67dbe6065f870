package estimate

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// Difference is a metric of two models on the same rows.
type Difference struct {
	Candidate, Champion Estimate

	// Better is candidate − champion, turned so that more is better.
	Better Estimate
}

// Compare measures two models on the rows of which both have what the metric needs. labels
// and groups of both are equal. The interval of the difference is of the percentiles of
// replications of a bootstrap, which draws the same rows (of a ranking, lists) for both: how
// often a row is drawn is Poisson distributed with mean 1. So what is hard for both models
// cancels out, and the interval is much narrower than those of the two metrics suggest.
//
// Special cases:
//
//	no such rows, or a metric that they do not have: NaN
//
// Sources: Efron and Tibshirani, "An introduction to the bootstrap", 1993; Hanley and
// MacGibbon, Computer Methods and Programs in Biomedicine 83 (2006) for Poisson counts.
func (m Metric) Compare(candidate, champion Rows, alpha float64, replications int, seed uint64) Difference {
	var index []int
	for i := range min(len(candidate.Label), len(champion.Label)) {
		if candidate.Label[i] == candidate.Label[i] && m.has(candidate, i) && m.has(champion, i) {
			index = append(index, i)
		}
	}
	candidate, champion = candidate.Select(index), champion.Select(index)
	d := Difference{Candidate: m.Measure(candidate, alpha, seed), Champion: m.Measure(champion, alpha, seed)}
	sign := 1.0
	if !m.Higher {
		sign = -1
	}
	d.Better = Estimate{sign * (d.Candidate.Value - d.Champion.Value), math.NaN(), math.NaN(), d.Candidate.Rows}
	units, first := m.weighed(candidate)
	same, second := m.weighed(champion)
	if units == 0 || same != units {
		return d
	}
	random := rand.New(rand.NewPCG(seed, uint64(units)))
	weights, draws := make([]float64, units), make([]float64, replications)
	for i := range draws {
		poisson(random, weights)
		draws[i] = sign * (first(weights) - second(weights))
	}
	d.Better.Low, d.Better.High = percentiles(draws, alpha)
	return d
}

// poissonTable maps 16 random bits to a Poisson count of mean 1.
var poissonTable = func() (table [1 << 16]float64) {
	probability, below, count := math.Exp(-1), 0.0, 0.0
	edge := probability
	for i := range table {
		for below = (float64(i) + 0.5) / (1 << 16); below > edge; edge += probability {
			count++
			probability /= count
		}
		table[i] = count
	}
	return table
}()

func poisson(random *rand.Rand, counts []float64) {
	for i := 0; i < len(counts); i += 4 {
		bits := random.Uint64()
		for j := i; j < min(i+4, len(counts)); j++ {
			counts[j] = poissonTable[bits&0xFFFF]
			bits >>= 16
		}
	}
}

// weighed returns over how many units (rows or lists) the metric is taken, and the metric with
// given weights of them.
func (m Metric) weighed(r Rows) (units int, value func(weights []float64) float64) {
	switch {
	case m.terms != nil:
		return len(r.Label), m.weighedRatio(r)
	case m.Name == "roc_auc":
		return len(r.Label), weighedAUC(r)
	case m.Name == "r2":
		return len(r.Label), weighedR2(r)
	}
	values := m.lists(r)
	return len(values), func(weights []float64) float64 {
		total, all := 0.0, 0.0
		for i, v := range values {
			total, all = total+weights[i]*v, all+weights[i]
		}
		return total / all
	}
}

func (m Metric) weighedRatio(r Rows) func([]float64) float64 {
	a, b := make([]float64, len(r.Label)), make([]float64, len(r.Label))
	for i := range r.Label {
		a[i], b[i] = m.terms(at(r.Prediction, i), at(r.Score, i), r.Label[i])
	}
	return func(weights []float64) float64 {
		above, below := 0.0, 0.0
		for i, w := range weights {
			above, below = above+w*a[i], below+w*b[i]
		}
		if m.transform != nil {
			return m.transform(above / below)
		}
		return above / below
	}
}

func weighedAUC(r Rows) func([]float64) float64 {
	all := ties(r.Score)
	return func(weights []float64) float64 {
		pairs, below, positives := 0.0, 0.0, 0.0
		for _, tie := range all {
			positive, negative := 0.0, 0.0
			for _, i := range tie.rows {
				if r.Label[i] == 1 {
					positive += weights[i]
				} else {
					negative += weights[i]
				}
			}
			pairs += positive * (below + negative/2)
			below, positives = below+negative, positives+positive
		}
		return pairs / (positives * below)
	}
}

func weighedR2(r Rows) func([]float64) float64 {
	return func(weights []float64) float64 {
		n, total, squares, errors := 0.0, 0.0, 0.0, 0.0
		for i, w := range weights {
			y, e := r.Label[i], r.Prediction[i]-r.Label[i]
			n, total, squares, errors = n+w, total+w*y, squares+w*y*y, errors+w*e*e
		}
		around := squares - total*total/n
		if around <= 0 {
			return math.NaN()
		}
		return 1 - errors/around
	}
}

// lists returns the metric of each list that has one.
func (m Metric) lists(r Rows) (values []float64) {
	rows := map[int][]int{}
	for i, g := range r.Group {
		rows[g] = append(rows[g], i)
	}
	of := ndcg
	if m.Name == "map" {
		of = averagePrecision
	}
	for _, g := range slices.Sorted(maps.Keys(rows)) {
		list := rows[g]
		slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(r.Score[b], r.Score[a]) })
		if v := of(pick(r.Label, list)); v == v {
			values = append(values, v)
		}
	}
	return values
}

// CalibrationError is the mean over ten bins of equally many rows, by score, of how far the
// mean score is from the share of class 1: the expected calibration error. It is NaN without
// scores and labels, and never 0 by more than chance: of n rows that are perfectly calibrated
// it is about 1/√n.
//
// Source: Naeini, Cooper, Hauskrecht, AAAI 2015; bins of equal mass after Nguyen and O'Connor, EMNLP 2015.
func CalibrationError(scores, labels []float64) float64 {
	total, rows := 0.0, 0
	for _, b := range ReliabilityBins(scores, labels) {
		if b.Rows > 0 {
			total, rows = total+float64(b.Rows)*math.Abs(b.Score-b.Share), rows+b.Rows
		}
	}
	if rows == 0 {
		return math.NaN()
	}
	return total / float64(rows)
}

// ReliabilityBin is one of ten bins of equally many rows, by score.
type ReliabilityBin struct {
	Score, Share float64 // the mean score, and the share of class 1
	Rows         int
}

// ReliabilityBins are what [CalibrationError] sums up. A bin without rows has no means.
func ReliabilityBins(scores, labels []float64) []ReliabilityBin {
	var known []int
	for i := range min(len(scores), len(labels)) {
		if scores[i] == scores[i] && labels[i] == labels[i] {
			known = append(known, i)
		}
	}
	slices.SortStableFunc(known, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	bins := make([]ReliabilityBin, 10)
	for b := range bins {
		rows := known[b*len(known)/len(bins) : (b+1)*len(known)/len(bins)]
		score, positive := 0.0, 0.0
		for _, i := range rows {
			score, positive = score+scores[i], positive+one(labels[i] == 1)
		}
		n := float64(len(rows))
		bins[b] = ReliabilityBin{score / n, positive / n, len(rows)}
	}
	return bins
}
