package estimate

import (
	"math"
	"slices"
	"sort"
)

// Calibration maps a score to the probability of class 1, as the labels of a reference
// say: the increasing function that is closest to them (isotonic regression), linear in
// between, constant beyond its ends.
//
// Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
// probability estimates", KDD 2002; pool adjacent violators, Ayer and others 1955.
type Calibration struct {
	blocks []block
}

// block is a run of scores with one probability.
type block struct{ low, high, positive, rows float64 }

func (b block) probability() float64 { return b.positive / b.rows }

// Calibrate fits the map to scores and labels (1 or not) that are both known.
func Calibrate(scores, labels []float64) Calibration {
	var blocks []block
	for _, tie := range ties(scores) {
		b := block{low: scores[tie.rows[0]], high: scores[tie.rows[0]], rows: float64(len(tie.rows))}
		for _, i := range tie.rows {
			b.positive += one(labels[i] == 1)
		}
		for len(blocks) > 0 && blocks[len(blocks)-1].probability() >= b.probability() {
			before := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			b = block{before.low, b.high, before.positive + b.positive, before.rows + b.rows}
		}
		blocks = append(blocks, b)
	}
	return Calibration{blocks}
}

// Probability of class 1; NaN if the score is missing or nothing was calibrated.
func (c Calibration) Probability(score float64) float64 {
	p, _ := c.at(score)
	return p
}

// at returns the probability and the block that it is mostly from.
func (c Calibration) at(score float64) (probability float64, number int) {
	if len(c.blocks) == 0 || math.IsNaN(score) {
		return math.NaN(), -1
	}
	i := sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].high >= score })
	switch {
	case i == len(c.blocks):
		return c.blocks[i-1].probability(), i - 1
	case i == 0 || score >= c.blocks[i].low:
		return c.blocks[i].probability(), i
	}
	before, after := c.blocks[i-1], c.blocks[i]
	share := (score - before.high) / (after.low - before.high)
	if share > 0.5 {
		return before.probability() + share*(after.probability()-before.probability()), i
	}
	return before.probability() + share*(after.probability()-before.probability()), i - 1
}

// Identity takes scores for probabilities.
func Identity() Calibration { return Calibration{} }

// CBPE estimates the metric of a binary classifier without labels: each row counts as
// positive with its calibrated probability, and as negative with the rest, so that
//
//	TP = Σ p·[ŷ=1],  FP = Σ (1−p)·[ŷ=1],  FN = Σ p·[ŷ≠1],  TN = Σ (1−p)·[ŷ≠1]
//
// and so on for the losses. It is right as long as the probability of class 1 given the
// score is what it was in the reference: changed inputs are fine, a changed relationship
// between inputs and label is not seen. The interval has the chance of the labels that
// are not known and the error of the calibration, and not the error of that assumption.
//
// Source: NannyML's confidence-based performance estimation, as documented.
func (m Metric) CBPE(r Rows, c Calibration, alpha float64) Estimate {
	probability := make([]float64, r.Len())
	numbers := make([]int, r.Len())
	var index []int
	for i := range probability {
		probability[i], numbers[i] = at(r.Score, i), -1
		if len(c.blocks) > 0 {
			probability[i], numbers[i] = c.at(at(r.Score, i))
		}
		if probability[i] >= 0 && probability[i] <= 1 && m.has(r, i) {
			index = append(index, i)
		}
	}
	if m.Name == "roc_auc" {
		return expectedAUC(r.Score, probability, index, alpha)
	}
	if m.terms == nil || m.Task != Classification || len(index) == 0 {
		return unknown
	}
	return m.expected(r, c, probability, numbers, index, alpha)
}

func (m Metric) expected(r Rows, c Calibration, probability []float64, numbers, index []int, alpha float64) Estimate {
	a, b := 0.0, 0.0
	for _, i := range index {
		n, d := m.expectedTerms(r, i, probability[i])
		a, b = a+n, b+d
	}
	if b == 0 {
		return unknown
	}
	ratio := a / b
	noise, joint := 0.0, make([]float64, len(c.blocks))
	for _, i := range index {
		a1, b1 := m.terms(at(r.Prediction, i), at(r.Score, i), 1)
		a0, b0 := m.terms(at(r.Prediction, i), at(r.Score, i), 0)
		weight := (a1 - ratio*b1) - (a0 - ratio*b0) // of the label, in the ratio's numerator
		noise += probability[i] * (1 - probability[i]) * weight * weight
		if numbers[i] >= 0 {
			joint[numbers[i]] += weight
		}
	}
	for i, block := range c.blocks {
		p := (block.positive + 1) / (block.rows + 2)
		noise += joint[i] * joint[i] * p * (1 - p) / block.rows
	}
	half := quantile(alpha) * math.Sqrt(noise) / b
	return m.estimate(ratio, ratio-half, ratio+half, len(index))
}

// expectedTerms are the terms of a row whose label is 1 with probability p.
func (m Metric) expectedTerms(r Rows, i int, p float64) (a, b float64) {
	a1, b1 := m.terms(at(r.Prediction, i), at(r.Score, i), 1)
	a0, b0 := m.terms(at(r.Prediction, i), at(r.Score, i), 0)
	return p*a1 + (1-p)*a0, p*b1 + (1-p)*b0
}

// expectedAUC is the area under the curve of expected true and false positives, by the
// trapezoidal rule. The interval is that of Hanley and McNeil (1982) for as many
// positives and negatives as are expected.
func expectedAUC(scores, probability []float64, index []int, alpha float64) Estimate {
	area, positives, negatives := 0.0, 0.0, 0.0
	picked := pick(scores, index)
	for _, tie := range slices.Backward(ties(picked)) {
		p, n := 0.0, 0.0
		for _, i := range tie.rows {
			p += probability[index[i]]
			n += 1 - probability[index[i]]
		}
		area += n * (positives + p/2)
		positives, negatives = positives+p, negatives+n
	}
	if positives == 0 || negatives == 0 {
		return unknown
	}
	auc := area / (positives * negatives)
	q1, q2 := auc/(2-auc), 2*auc*auc/(1+auc)
	spread := auc*(1-auc) + (positives-1)*(q1-auc*auc) + (negatives-1)*(q2-auc*auc)
	low, high := logitInterval(auc, math.Sqrt(max(0, spread)/(positives*negatives)), alpha)
	return Estimate{auc, low, high, len(index)}
}

// PredictionPowered measures the metric on all rows when only some labels are known yet:
// the estimate of each row's loss, of all rows, corrected by its mean error on the rows
// with a label. probability is that of class 1, for each row. With good probabilities the
// interval is narrower than that of the labelled rows alone, and with bad ones no wider,
// since the estimate counts only as much as it helps. It is right if the rows whose label
// is known are like the others; labels that come late for a reason are not.
//
// Sources: Angelopoulos and others, "Prediction-powered inference", Science 382 (2023);
// the weight is that of PPI++ (2023).
func (m Metric) PredictionPowered(r Rows, probability []float64, alpha float64) Estimate {
	known := m.known(r)
	plain := m.Measure(r, alpha, 0)
	if m.terms == nil || m.Task != Classification || len(known) < 2 {
		return plain
	}
	var truthA, truthB, guessA, guessB []float64 // of the labelled rows
	var allA, allB []float64                     // guesses, of the others
	labelled := make([]bool, r.Len())
	for _, i := range known {
		labelled[i] = true
	}
	for i := range r.Len() {
		if !m.has(r, i) || !(probability[i] >= 0 && probability[i] <= 1) {
			continue
		}
		a, b := m.expectedTerms(r, i, probability[i])
		if !labelled[i] {
			allA, allB = append(allA, a), append(allB, b)
			continue
		}
		ta, tb := m.terms(at(r.Prediction, i), at(r.Score, i), r.Label[i])
		truthA, truthB, guessA, guessB = append(truthA, ta), append(truthB, tb), append(guessA, a), append(guessB, b)
	}
	n, more := float64(len(truthA)), float64(len(allA))
	if more < 2 || n < 2 || mean(truthB) == 0 {
		return plain
	}
	// The ratio a/b is linear in its terms near itself: a − ratio·b.
	ratio := mean(truthA) / mean(truthB)
	truth, guess, others := residuals(truthA, truthB, ratio), residuals(guessA, guessB, ratio), residuals(allA, allB, ratio)
	weight := 0.0
	if v := variance(guess); v > 0 {
		weight = min(1, max(0, covariance(truth, guess)/(v*(1+n/more))))
	}
	corrected := make([]float64, len(truth))
	for i := range truth {
		corrected[i] = truth[i] - weight*guess[i]
	}
	scale := mean(truthB)
	value := ratio + (mean(corrected)+weight*mean(others))/scale
	half := quantile(alpha) * math.Sqrt(variance(corrected)/n+weight*weight*variance(others)/more) / scale
	return m.estimate(value, value-half, value+half, int(n+more))
}

func residuals(a, b []float64, ratio float64) []float64 {
	left := make([]float64, len(a))
	for i := range a {
		left[i] = a[i] - ratio*b[i]
	}
	return left
}

func covariance(x, y []float64) float64 {
	mx, my, total := mean(x), mean(y), 0.0
	for i := range x {
		total += (x[i] - mx) * (y[i] - my)
	}
	return total / max(1, float64(len(x)-1))
}
