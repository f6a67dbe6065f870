package sequential

import "math"

// Estimate is a measured value with its standard error.
type Estimate struct {
	Value float64 `json:"value"`
	Error float64 `json:"error"`
}

// Estimates are independent estimates of what may change with time, such as a metric of one
// window after the other, in the order of time.
type Estimates []Estimate

// Above returns the log e-value against "the true value is never above level", and from which
// estimate on it most likely is. scale is the size of a change that matters, in the unit of
// the values. before is how many estimates came before the first and are no longer known.
//
// As in [Rates.Worse], the bet is begun anew at each estimate with 1/(s(s+1)) of the stake. A bet
// begun at the s-th is the half-normal mixture of [Means] over all estimates from there on, with
// V = Σ 1/SE² and S = Σ (value−level)/SE². It is exact for normal estimates.
//
// Special cases:
//
//	an estimate that is not finite, or has no positive error, is left out
func (e Estimates) Above(level, scale float64, before int) (log float64, since int) {
	logs, most := []float64{-math.Log(float64(before + len(e) + 1))}, math.Inf(-1)
	sum, precision := 0.0, 0.0
	for i := len(e) - 1; i >= 0; i-- {
		if s, p := e[i].against(level); p > 0 {
			sum, precision = sum+s, precision+p
		}
		if precision == 0 {
			continue
		}
		start := float64(before + i + 1)
		bet := halfNormal(sum/math.Sqrt(precision), scale*scale*precision) - math.Log(start*(start+1))
		if logs = append(logs, bet); bet > most {
			most, since = bet, i
		}
	}
	return logSum(logs), since
}

func (e Estimate) against(level float64) (sum, precision float64) {
	precision = 1 / (e.Error * e.Error)
	sum = (e.Value - level) * precision
	if !(e.Error > 0) || sum-sum != 0 || precision-precision != 0 {
		return 0, 0
	}
	return sum, precision
}

// Pooled returns the estimate that all of them together are: weighed by their precision.
//
// Special cases:
//
//	NaN if there is none
func (e Estimates) Pooled() Estimate {
	sum, precision := 0.0, 0.0
	for _, one := range e {
		s, p := one.against(0)
		sum, precision = sum+s, precision+p
	}
	if precision == 0 {
		return Estimate{math.NaN(), math.NaN()}
	}
	return Estimate{sum / precision, 1 / math.Sqrt(precision)}
}
