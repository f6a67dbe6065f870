package estimate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"
)

// Rows are predictions, column by column. A column that is not there is nil.
type Rows struct {
	Prediction []float64 // classes 0 and 1 (or any, for accuracy), or numbers
	Score      []float64 // probability of class 1, or what ranks the rows of a group
	Label      []float64 // the truth; NaN while it is not known
	Group      []int     // for rankings: rows of one list have one number
}

// Len returns the number of rows.
func (r Rows) Len() int { return max(len(r.Prediction), len(r.Score), len(r.Label)) }

// Select returns the rows at these indices.
func (r Rows) Select(index []int) Rows {
	return Rows{pick(r.Prediction, index), pick(r.Score, index), pick(r.Label, index), pick(r.Group, index)}
}

func pick[T any](values []T, index []int) []T {
	if values == nil {
		return nil
	}
	picked := make([]T, len(index))
	for i, at := range index {
		picked[i] = values[at]
	}
	return picked
}

// The tasks.
const (
	Classification = "classification"
	Regression     = "regression"
	Ranking        = "ranking"
)

// Metric describes a metric.
type Metric struct {
	Name   string
	Task   string
	Higher bool // higher is better
	Needs  []string

	terms     terms                 // of a ratio of sums, nil if it is none
	share     bool                  // a ratio of counts, which lies in [0, 1]
	transform func(float64) float64 // of the ratio; nil for none
	measure   func(r Rows, alpha float64, seed uint64) Estimate
}

// terms are what a row adds to the numerator and the denominator of a metric.
type terms func(prediction, score, label float64) (a, b float64)

// Metrics lists all metrics.
func Metrics() []Metric { return slices.Clone(metrics) }

// metrics is set once, and never changed. R² is one minus a ratio of sums of squares
// whose denominator needs the mean first, so that it is no ratio in the sense of terms.
var metrics = []Metric{
	{Name: "accuracy", Task: Classification, Higher: true, Needs: []string{"prediction"}, share: true,
		terms: func(p, _, y float64) (a, b float64) { return one(p == y), 1 }},
	{Name: "precision", Task: Classification, Higher: true, Needs: []string{"prediction"}, share: true,
		terms: func(p, _, y float64) (a, b float64) { return one(p == 1 && y == 1), one(p == 1) }},
	{Name: "recall", Task: Classification, Higher: true, Needs: []string{"prediction"}, share: true,
		terms: func(p, _, y float64) (a, b float64) { return one(p == 1 && y == 1), one(y == 1) }},
	{Name: "specificity", Task: Classification, Higher: true, Needs: []string{"prediction"}, share: true,
		terms: func(p, _, y float64) (a, b float64) { return one(p != 1 && y != 1), one(y != 1) }},
	// F1 = 2j/(1+j), where j is the share of rows that are true positives among those that are positive at all.
	{Name: "f1", Task: Classification, Higher: true, Needs: []string{"prediction"}, share: true,
		terms:     func(p, _, y float64) (a, b float64) { return one(p == 1 && y == 1), one(p == 1 || y == 1) },
		transform: func(j float64) float64 { return 2 * j / (1 + j) }},
	{Name: "roc_auc", Task: Classification, Higher: true, Needs: []string{"score"}, measure: measureAUC},
	{Name: "log_loss", Task: Classification, Needs: []string{"score"},
		terms: func(_, s, y float64) (a, b float64) { return logLoss(s, y), 1 }},
	{Name: "brier", Task: Classification, Needs: []string{"score"},
		terms: func(_, s, y float64) (a, b float64) { return (s - y) * (s - y), 1 }},
	{Name: "mae", Task: Regression, Needs: []string{"prediction"},
		terms: func(p, _, y float64) (a, b float64) { return math.Abs(p - y), 1 }},
	{Name: "rmse", Task: Regression, Needs: []string{"prediction"},
		terms: func(p, _, y float64) (a, b float64) { return (p - y) * (p - y), 1 }, transform: root},
	{Name: "mape", Task: Regression, Needs: []string{"prediction"}, // rows whose label is 0 have no relative error
		terms: func(p, _, y float64) (a, b float64) {
			if y == 0 {
				return 0, 0
			}
			return math.Abs((p - y) / y), 1
		}},
	{Name: "r2", Task: Regression, Higher: true, Needs: []string{"prediction"}, measure: measureR2},
	{Name: "ndcg", Task: Ranking, Higher: true, Needs: []string{"score", "group"}, measure: rankingMetric(ndcg)},
	{Name: "map", Task: Ranking, Higher: true, Needs: []string{"score", "group"}, measure: rankingMetric(averagePrecision)},
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func root(v float64) float64 { return math.Sqrt(max(0, v)) }

// leastProbability is what log loss takes for probability 0, as scikit-learn does.
const leastProbability = 0x1p-52

func logLoss(score, label float64) float64 {
	p := min(max(score, leastProbability), 1-leastProbability)
	if label == 1 {
		return -math.Log(p)
	}
	return -math.Log1p(-p)
}

// MetricOf returns the metric of that name.
func MetricOf(name string) (Metric, error) {
	i := slices.IndexFunc(metrics, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		names := make([]string, len(metrics))
		for i, m := range metrics {
			names[i] = m.Name
		}
		return Metric{}, fmt.Errorf("metric %q is not known; there are %s", name, strings.Join(names, ", "))
	}
	return metrics[i], nil
}

// Estimate is a metric with its interval.
type Estimate struct {
	Value, Low, High float64
	Rows             int // it rests on; lists, for a ranking
}

var unknown = Estimate{Value: math.NaN(), Low: math.NaN(), High: math.NaN()}

// Measure computes the metric of the rows whose label is known.
//
//	shares (accuracy, precision, recall, specificity, F1)  Wilson's interval
//	means (log loss, Brier, MAE, RMSE, MAPE)               normal, of the mean loss
//	ROC AUC                                                DeLong, on the logit scale
//	R²                                                     percentiles of 500 seeded bootstraps
//	NDCG, MAP                                              normal, of the mean over lists
//
// Sources: Wilson, JASA 22 (1927); DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988).
func (m Metric) Measure(r Rows, alpha float64, seed uint64) Estimate {
	known := m.known(r)
	if m.measure != nil {
		return m.measure(r.Select(known), alpha, seed)
	}
	var a, b sum
	for _, i := range known {
		n, d := m.terms(at(r.Prediction, i), at(r.Score, i), r.Label[i])
		a.add(n)
		b.add(d)
	}
	if b.total == 0 {
		return unknown
	}
	ratio := a.total / b.total
	if m.share {
		low, high := Wilson(a.total, b.total, alpha)
		return m.estimate(ratio, low, high, int(b.total))
	}
	error := quantile(alpha) * math.Sqrt(max(0, a.squares/b.total-ratio*ratio)/max(1, b.total-1))
	return m.estimate(ratio, ratio-error, ratio+error, int(b.total))
}

type sum struct{ total, squares float64 }

func (s *sum) add(v float64) {
	s.total += v
	s.squares += v * v
}

// known returns the rows that have a label and what the metric needs.
func (m Metric) known(r Rows) []int {
	var index []int
	for i := range r.Label {
		if r.Label[i] == r.Label[i] && m.has(r, i) {
			index = append(index, i)
		}
	}
	return index
}

func (m Metric) has(r Rows, i int) bool {
	if slices.Contains(m.Needs, "prediction") && math.IsNaN(at(r.Prediction, i)) {
		return false
	}
	return !slices.Contains(m.Needs, "score") || !math.IsNaN(at(r.Score, i))
}

func at(values []float64, i int) float64 {
	if values == nil {
		return math.NaN()
	}
	return values[i]
}

func (m Metric) estimate(value, low, high float64, rows int) Estimate {
	if m.share {
		low, high = max(0, low), min(1, high)
	}
	if m.transform != nil {
		value, low, high = m.transform(value), m.transform(low), m.transform(high)
	}
	return Estimate{value, low, high, rows}
}

// quantile is the normal quantile at 1−alpha/2.
func quantile(alpha float64) float64 { return distuv.UnitNormal.Quantile(1 - alpha/2) }

// Wilson returns the score interval of a share of k in n; [0, 1] if n is 0.
func Wilson(k, n, alpha float64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	z := quantile(alpha)
	p, scale := k/n, 1+z*z/n
	center := (p + z*z/(2*n)) / scale
	half := z / scale * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, center-half), min(1, center+half)
}
