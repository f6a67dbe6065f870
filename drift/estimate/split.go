package estimate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Split says how much of a change of the mean loss comes from inputs that are others than
// they were, and how much from a relationship between inputs and loss that is another one.
//
//	after − before = Inputs + Relationship
//
// It compares both sides on the inputs that they share. With π(x) the probability that a
// row with inputs x is a current one, reference rows weigh π and current rows 1−π, so that
// both become samples of one distribution, where either side is rare in neither:
//
//	Relationship = shared mean of current losses − shared mean of reference losses
//	Inputs       = the rest: to the shared inputs, and from them to the current ones
//
// What it assumes: that the inputs given are all that matters (a cause that is in no
// column looks like a changed relationship), that both sides share inputs (Overlap, near
// 0 if not), and that π can be learned by boosted trees, each half of the rows from the
// other. Where relationship and inputs change in the same places, the cut between the two
// is a convention: this one.
//
// Source: Cai, Namkoong, Yadlowsky, "Diagnosing model performance under distribution
// shift", 2023.
type Split struct {
	Before, After float64 // mean losses
	Inputs        Estimate
	Relationship  Estimate
	Overlap       float64 // from 0 (nothing is shared) to 1 (the inputs are the same)
	Columns       []Cause // of Inputs, the largest first
}

// Cause is how much the mean loss would have changed if this column alone had changed as
// it did. Causes of columns that go together count the same change twice.
type Cause struct {
	Column string
	Change float64
}

const (
	splitFolds = 8   // of the jackknife
	splitLeast = 100 // rows on each side
	causeBins  = 20
)

// Explain splits the change of the losses between two sets of rows. With fewer than 100
// rows on a side, or without columns, it returns NaN for both parts. The intervals are
// a jackknife over folds, each with weights of its own; rows are taken to be in no order.
func Explain(reference, current Features, referenceLoss, currentLoss []float64, alpha float64) Split {
	s := Split{Before: mean(referenceLoss), After: mean(currentLoss), Inputs: unknown, Relationship: unknown, Overlap: math.NaN()}
	if min(len(referenceLoss), len(currentLoss)) < splitLeast || len(reference.Columns) == 0 {
		return s
	}
	before, after := weighted(reference, current, referenceLoss, currentLoss)
	s.Overlap = overlap(before.weights, after.weights)
	relationship := after.shared() - before.shared()
	relationships, inputs := make([]float64, splitFolds), make([]float64, splitFolds)
	for fold := range splitFolds {
		r, _ := leaveOut(len(referenceLoss), fold, splitFolds)
		c, _ := leaveOut(len(currentLoss), fold, splitFolds)
		b, a := weighted(reference.Select(r), current.Select(c), pick(referenceLoss, r), pick(currentLoss, c))
		relationships[fold] = a.shared() - b.shared()
		inputs[fold] = mean(a.losses) - mean(b.losses) - relationships[fold]
	}
	rows := len(referenceLoss) + len(currentLoss)
	around := func(value float64, folds []float64) Estimate {
		half := tQuantile(alpha, splitFolds) * math.Sqrt(jackknife(folds))
		return Estimate{value, value - half, value + half, rows}
	}
	s.Relationship = around(relationship, relationships)
	s.Inputs = around(s.After-s.Before-relationship, inputs)
	s.Columns = causes(reference, current, referenceLoss)
	return s
}

// side is the losses of one side with the weights that make its inputs the shared ones.
type side struct{ losses, weights []float64 }

func weighted(reference, current Features, referenceLoss, currentLoss []float64) (before, after side) {
	n, m := len(referenceLoss), len(currentLoss)
	isCurrent := slices.Concat(make([]float64, n), slices.Repeat([]float64{1}, m))
	// Rows of both sides take turns, so that both halves of the fit have both.
	order := interleave(n, m)
	p := make([]float64, n+m)
	for k, v := range crossFit(reference.join(current).Select(order), pick(isCurrent, order), fitProbability) {
		p[order[k]] = v
	}
	odds := float64(n) / float64(m) // as if both sides had as many rows
	for i := range p {
		q := p[i] * odds
		p[i] = q / (q + 1 - p[i])
	}
	after = side{currentLoss, make([]float64, m)}
	for i := range after.weights {
		after.weights[i] = 1 - p[n+i]
	}
	return side{referenceLoss, p[:n]}, after
}

func interleave(n, m int) []int {
	order := make([]int, n+m)
	for i := range order {
		order[i] = i
	}
	random := rand.New(rand.NewPCG(uint64(n), uint64(m)))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

func (s side) shared() float64 {
	total, weight := 0.0, 0.0
	for i, w := range s.weights {
		total, weight = total+w*s.losses[i], weight+w
	}
	return total / weight
}

// crossFit predicts each half of the rows, which take turns, by what is fitted to the other.
func crossFit(f Features, target []float64, fit func(Features, []float64) *trees) []float64 {
	var halves [2][]int
	for i := range target {
		halves[i%2] = append(halves[i%2], i)
	}
	predicted := make([]float64, len(target))
	for h, rows := range halves {
		other := halves[1-h]
		values := fit(f.Select(other), pick(target, other)).predict(f.Select(rows))
		for k, i := range rows {
			predicted[i] = values[k]
		}
	}
	return predicted
}

// overlap is twice the mean weight of a row: 1 if no row says which side it is from.
func overlap(before, after []float64) float64 { return min(1, mean(before)+mean(after)) }

// causes reweighs reference rows column by column, by the shares of its bins.
func causes(reference, current Features, loss []float64) []Cause {
	all := make([]Cause, len(reference.Columns))
	for c, b := range binnings(reference.join(current), causeBins) {
		codes := b.codes(reference.Columns[c])
		losses, before, after := make([]float64, b.count()), make([]float64, b.count()), make([]float64, b.count())
		for i, code := range codes {
			before[code]++
			losses[code] += loss[i]
		}
		for _, code := range b.codes(current.Columns[c]) {
			after[code]++
		}
		all[c].Column = reference.Names[c]
		overall := mean(loss)
		for code := range before {
			if before[code] > 0 { // what only current has says nothing of its loss
				share := after[code]/float64(current.Rows()) - before[code]/float64(reference.Rows())
				all[c].Change += share * (losses[code]/before[code] - overall)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Cause) int { return cmp.Compare(math.Abs(b.Change), math.Abs(a.Change)) })
	return all
}
