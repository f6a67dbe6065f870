package estimate

import (
	"cmp"
	"context"
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
// All rows count in the means. The trees are fitted to at most 20,000 rows of each side of
// a half, which are drawn at random: Fitted says how many that was.
//
// Source: Cai, Namkoong, Yadlowsky, "Diagnosing model performance under distribution
// shift", 2023.
type Split struct {
	Before, After float64 // mean losses
	Inputs        Estimate
	Relationship  Estimate
	Overlap       float64 // from 0 (nothing is shared) to 1 (the inputs are the same)
	Columns       []Cause // of Inputs, the largest first
	Fitted        [2]int  // reference and current rows that π was learned from, of both halves
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

	splitFitted = 20_000 // rows of a side and a half that trees are fitted to
)

// Explain splits the change of the losses between two sets of rows. With fewer than 100
// rows on a side, or without columns, it returns NaN for both parts. The intervals are
// a jackknife over folds, each with weights of its own; rows are taken to be in no order.
// The only error is that of ctx, which is looked at all the time.
func Explain(ctx context.Context, reference, current Features, referenceLoss, currentLoss []float64, alpha float64) (Split, error) {
	s := Split{Before: mean(referenceLoss), After: mean(currentLoss), Inputs: unknown, Relationship: unknown, Overlap: math.NaN()}
	if min(len(referenceLoss), len(currentLoss)) < splitLeast || len(reference.Columns) == 0 {
		return s, ctx.Err()
	}
	before, after, err := weighted(ctx, reference, current, referenceLoss, currentLoss)
	if err != nil {
		return s, err
	}
	s.Overlap = overlap(before.weights, after.weights)
	s.Fitted = [2]int{before.fitted, after.fitted}
	relationship := after.shared() - before.shared()
	relationships, inputs := make([]float64, splitFolds), make([]float64, splitFolds)
	for fold := range splitFolds {
		r, _ := leaveOut(len(referenceLoss), fold, splitFolds)
		c, _ := leaveOut(len(currentLoss), fold, splitFolds)
		b, a, err := weighted(ctx, reference.Select(r), current.Select(c), pick(referenceLoss, r), pick(currentLoss, c))
		if err != nil {
			return s, err
		}
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
	return s, ctx.Err()
}

// side is the losses of one side with the weights that make its inputs the shared ones.
type side struct {
	losses, weights []float64
	fitted          int
}

func weighted(ctx context.Context, reference, current Features, referenceLoss, currentLoss []float64) (before, after side, err error) {
	n, m := len(referenceLoss), len(currentLoss)
	random := rand.New(rand.NewPCG(uint64(n), uint64(m)))
	r, c := halves(n, random), halves(m, random)
	before, after = side{losses: referenceLoss, weights: make([]float64, n)}, side{losses: currentLoss, weights: make([]float64, m)}
	for h := range r {
		from, to := sampled(r[1-h]), sampled(c[1-h])
		before.fitted, after.fitted = before.fitted+len(from), after.fitted+len(to)
		isCurrent := slices.Concat(make([]float64, len(from)), slices.Repeat([]float64{1}, len(to)))
		t, err := fitProbability(ctx, reference.Select(from).join(current.Select(to)), isCurrent)
		if err != nil {
			return before, after, err
		}
		odds := float64(len(from)) / float64(len(to)) // as if both sides had as many rows
		for k, p := range t.predict(reference.Select(r[h])) {
			before.weights[r[h][k]] = p * odds / (p*odds + 1 - p)
		}
		for k, p := range t.predict(current.Select(c[h])) {
			after.weights[c[h][k]] = (1 - p) / (p*odds + 1 - p)
		}
	}
	return before, after, nil
}

// halves divides n rows at random, each half in the order in which it was drawn.
func halves(n int, random *rand.Rand) [2][]int {
	order := random.Perm(n)
	return [2][]int{order[:n/2], order[n/2:]}
}

// sampled are the rows of a half that trees are fitted to.
func sampled(half []int) []int { return half[:min(splitFitted, len(half))] }

func (s side) shared() float64 {
	total, weight := 0.0, 0.0
	for i, w := range s.weights {
		total, weight = total+w*s.losses[i], weight+w
	}
	return total / weight
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
