package estimate

import (
	"context"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Losses predicts the loss of each row of a regression from the row's inputs and its
// prediction: boosted trees, fitted to rows whose label is known (direct loss estimation).
//
// It is right as long as the loss given the inputs is what it was in the reference: as
// with [Metric.CBPE], a changed relationship between inputs and label is not seen.
//
// Source: NannyML's direct loss estimation, as documented.
type Losses struct {
	metric Metric
	trees  *trees   // the loss
	spread *trees   // the square of its distance from the predicted one
	others []*trees // fitted without a fold each
}

// lossFolds is how many folds the rows are cut into, to know how far predicted losses are
// from true ones, and from those that other rows would have predicted.
const lossFolds = 6

// FitLosses fits to the rows of a reference whose label is known; inputs has a row for
// each. It returns nil if fewer than 100 rows are known or the metric is no mean of losses.
// The only error is that of ctx.
func (m Metric) FitLosses(ctx context.Context, r Rows, inputs Features) (*Losses, error) {
	known := m.known(r)
	if len(known) < 100 || m.terms == nil || m.Task != Regression {
		return nil, nil
	}
	inputs = withPrediction(inputs, r.Prediction).Select(known)
	losses := make([]float64, len(known))
	for i, row := range known {
		losses[i], _ = m.terms(r.Prediction[row], math.NaN(), r.Label[row])
	}
	l := &Losses{metric: m}
	var err error
	if l.trees, err = fitMean(ctx, inputs, losses); err != nil {
		return nil, err
	}
	squares := make([]float64, len(losses))
	for fold := range lossFolds {
		in, out := leaveOut(len(losses), fold, lossFolds)
		other, err := fitMean(ctx, inputs.Select(in), pick(losses, in))
		if err != nil {
			return nil, err
		}
		for k, v := range other.predict(inputs.Select(out)) {
			squares[out[k]] = (losses[out[k]] - v) * (losses[out[k]] - v)
		}
		l.others = append(l.others, other)
	}
	l.spread, err = fitMean(ctx, inputs, squares)
	return l, err
}

// leaveOut divides n rows into those of a fold, and all others.
func leaveOut(n, fold, folds int) (in, out []int) {
	for i := range n {
		if i%folds == fold {
			out = append(out, i)
		} else {
			in = append(in, i)
		}
	}
	return in, out
}

// jackknife is the variance of an estimate, given what it is without a fold each.
func jackknife(values []float64) float64 {
	folds := float64(len(values))
	return variance(values) * (folds - 1) * (folds - 1) / folds
}

// tQuantile is the quantile at 1−alpha/2 of Student's distribution, which an error has
// that is known from so many folds.
func tQuantile(alpha float64, folds int) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(folds - 1)}.Quantile(1 - alpha/2)
}

// withPrediction puts the prediction beside the inputs.
func withPrediction(inputs Features, prediction []float64) Features {
	return Features{append([]string{"prediction"}, inputs.Names...), append([][]float64{prediction}, inputs.Columns...), append([]bool{false}, inputs.Categorical...)}
}

// Estimate returns what the metric is expected to be on rows without labels. The interval
// has the chance of their labels, and the error of the fit (a jackknife over folds).
func (l *Losses) Estimate(r Rows, inputs Features, alpha float64) Estimate {
	if l == nil || r.Len() == 0 {
		return unknown
	}
	inputs = withPrediction(inputs, r.Prediction)
	value, n := mean(l.trees.predict(inputs)), float64(r.Len())
	others := make([]float64, len(l.others))
	for i, t := range l.others {
		others[i] = mean(t.predict(inputs))
	}
	chance := quantile(alpha) * math.Sqrt(max(0, mean(l.spread.predict(inputs)))/n)
	fit := tQuantile(alpha, lossFolds) * math.Sqrt(jackknife(others))
	half := math.Hypot(chance, fit)
	return l.metric.estimate(value, value-half, value+half, r.Len())
}
