package sequential

import (
	"math"

	"github.com/driftline/driftline/drift"
)

// Stretch is a time in which the share of requests that go to the candidate did not change,
// and the events that each arm had in it: errors, slow answers, extreme scores.
//
// Events must be of requests that are dealt to the arms independently. Where all requests of
// one key go to the same arm, that is so for the first event of each key only.
type Stretch struct {
	Share               float64 // of the candidate, in (0, 1); otherwise there is nothing to compare
	Candidate, Champion float64 // whole numbers of events
}

// Rates compare how often events happen in two arms. If they are as likely in both, each
// falls to the candidate with probability ρ = Share, whenever it comes and however the rate
// changes with time. If the candidate's rate is r times the champion's, it is
//
//	θ(r) = ρ·r / (ρ·r + 1 − ρ)
//
// So x events of the candidate and y of the champion speak for r against s by the factor
// (θ(r)/θ(s))^x · ((1−θ(r))/(1−θ(s)))^y: exactly, without large numbers. Requests need not be
// counted. The stretches are in the order of time.
type Rates []Stretch

// Ratios that evidence of a greater rate, and of a rate below a margin, is spread over.
var (
	worseRatios = []float64{1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 6, 10}
	safeRatios  = []float64{0.5, 0.7, 0.8, 0.9, 1, 1.05, 1.1}
)

// share is ln θ(r) and ln (1 − θ(r)).
func (s Stretch) share(ratio float64) (candidate, champion float64) {
	odds := s.Share * ratio / (1 - s.Share)
	return math.Log(odds) - math.Log1p(odds), -math.Log1p(odds)
}

// log is how the stretch speaks for a ratio against another one.
func (s Stretch) log(ratio, against float64) float64 {
	if !(s.Share > 0 && s.Share < 1) || s.Candidate+s.Champion == 0 {
		return 0
	}
	x, y := s.share(ratio)
	u, v := s.share(against)
	return times(s.Candidate, x-u) + times(s.Champion, y-v)
}

// Worse returns the log e-value against "the candidate's rate is not greater, at any time".
// All ratios it is spread over are above 1, so a better candidate never alarms.
//
// A candidate may be good for hours and then break. So the bet is begun anew in each stretch
// with a part of the stake, 1/(s·(s+1)) in the s-th:
//
//	E = Σ_s 1/(s(s+1)) · 1/12·Σ_k Π_{i≥s} L_i(r_k)  +  1/(S+1)
//
// where L_i is the factor of [Rates], and the last term is the stake that is not yet bet.
func (r Rates) Worse() float64 {
	log, _ := r.WorseSince()
	return log
}

// WorseSince is Worse, with the stretch from which on the candidate most likely is worse.
func (r Rates) WorseSince() (log float64, since int) {
	logs := []float64{-math.Log(float64(len(r) + 1))}
	bets, most := make([]float64, len(worseRatios)), math.Inf(-1)
	for i := len(r) - 1; i >= 0; i-- {
		for k, ratio := range worseRatios {
			bets[k] += r[i].log(ratio, 1)
		}
		s := float64(i + 1)
		log := Average(bets) - math.Log(s*(s+1))
		if logs = append(logs, log); log > most {
			most, since = log, i
		}
	}
	return logSum(logs), since
}

// WorseIf returns a function that gives Worse as it would be were the last stretch another
// one. It is for foretelling, and costs as little as one stretch. There must be a stretch.
func (r Rates) WorseIf() func(last Stretch) float64 {
	stakes := make([]float64, len(worseRatios))
	for k := range stakes {
		stakes[k] = math.Inf(-1)
	}
	for i := range r {
		s := float64(i + 1)
		stake := -math.Log(s * (s + 1) * float64(len(worseRatios)))
		for k, ratio := range worseRatios {
			if stakes[k] = logAdd(stakes[k], stake); i < len(r)-1 {
				stakes[k] += r[i].log(ratio, 1)
			}
		}
	}
	rest := -math.Log(float64(len(r) + 1))
	return func(last Stretch) float64 {
		logs := []float64{rest}
		for k, ratio := range worseRatios {
			logs = append(logs, stakes[k]+last.log(ratio, 1))
		}
		return logSum(logs)
	}
}

// Clustered returns the log e-value against "the candidate's rate is not greater", of a
// stretch that has ended and whose events come in clusters: all events of one key fall to one
// arm. most is the number of events of the key that has most of them, or more.
//
//	E = 1/12·Σ_k L(r_k)^(1/most)
//
// Given what happened, arms are dealt to keys; the factor of a key with c events is
// L^(c/most), whose mean is at most 1 because c/most is (Jensen). So it is exact, whatever keys do, but
// for one look: stretches are not independent, since the same keys come again, and their e-values must
// be neither multiplied nor averaged. Of many, the chance that any reaches 1/(w·alpha), each with
// its own w, is at most alpha if all w add up to 1.
func (s Stretch) Clustered(most float64) float64 {
	logs := make([]float64, len(worseRatios))
	for k, ratio := range worseRatios {
		logs[k] = s.log(ratio, 1) / max(1, most)
	}
	return Average(logs)
}

// Safe returns the log e-value against "the candidate's rate is at least margin times the
// champion's", over all stretches together. margin is above the greatest of the ratios that
// it is spread over, 1.1.
func (r Rates) Safe(margin float64) float64 {
	logs := make([]float64, len(safeRatios))
	for k, ratio := range safeRatios {
		for _, stretch := range r {
			logs[k] += stretch.log(min(ratio, margin), margin)
		}
	}
	return Average(logs)
}

// The ratios that intervals can reach, and the grid they are made with.
const (
	leastRatio = 1e-4
	mostRatio  = 1e4
	gridRatios = 61
)

// Ratio returns the likeliest ratio of the rates, and the interval that holds the true one,
// were it the same at all times, at all looks together with probability 1 − alpha:
//
//	{ s : 1/61·Σ_k Π_i L_i(r_k against s) < 1/alpha },  r_k from 1/50 to 50
//
// Special cases:
//
//	without events: the ratio is NaN, and the interval 1e-4 to 1e4
func (r Rates) Ratio(alpha float64) (ratio float64, interval drift.Interval) {
	best := r.Likeliest()
	if best != best {
		return math.NaN(), drift.Interval{Low: leastRatio, High: mostRatio}
	}
	spread := make([]float64, gridRatios)
	for k := range spread {
		grid := math.Exp(math.Log(50) * (2*float64(k)/(gridRatios-1) - 1))
		for _, stretch := range r {
			spread[k] += stretch.log(grid, 1)
		}
	}
	mixture := Average(spread)
	inside := func(logRatio float64) bool {
		against := 0.0
		for _, stretch := range r {
			against += stretch.log(math.Exp(logRatio), 1)
		}
		return mixture-against < -math.Log(alpha)
	}
	at := math.Log(best)
	high := boundary(at, math.Log(mostRatio), inside)
	low := -boundary(-at, -math.Log(leastRatio), func(x float64) bool { return inside(-x) })
	return best, drift.Interval{Low: math.Exp(low), High: math.Exp(high)}
}

func (r Rates) events() (candidate, champion float64) {
	for _, s := range r {
		if s.Share > 0 && s.Share < 1 {
			candidate, champion = candidate+s.Candidate, champion+s.Champion
		}
	}
	return candidate, champion
}

// Likeliest returns the likeliest ratio of the rates, from 1e-4 to 1e4, and NaN without
// events. It solves Σ x_i = Σ (x_i+y_i)·θ_i(r), whose right side grows with r.
func (r Rates) Likeliest() float64 {
	x, y := r.events()
	if x+y == 0 {
		return math.NaN()
	}
	expected := func(ratio float64) (sum float64) {
		for _, s := range r {
			if s.Share > 0 && s.Share < 1 {
				candidate, _ := s.share(ratio)
				sum += (s.Candidate + s.Champion) * math.Exp(candidate)
			}
		}
		return sum
	}
	return math.Exp(boundary(math.Log(leastRatio), math.Log(mostRatio), func(l float64) bool { return expected(math.Exp(l)) <= x }))
}

// Dealt returns the log e-value against "requests are dealt by the stretches' shares", of
// counts of requests in place of events. Whoever loses the requests of one arm, or routes by
// another plan, is found by it; a comparison of such arms means nothing.
func (r Rates) Dealt() float64 {
	var logs []float64
	for _, ratio := range []float64{1.01, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 4, 10, 100} {
		up, down := 0.0, 0.0
		for _, stretch := range r {
			up, down = up+stretch.log(ratio, 1), down+stretch.log(1/ratio, 1)
		}
		logs = append(logs, up, down)
	}
	return Average(logs)
}

// Goes returns the stretches with what another n requests would add to the last one, if
// events are as likely as they were: perRequest of all requests have one, and the
// candidate's rate is ratio times the champion's.
func (r Rates) Goes(n, perRequest, ratio float64) Rates {
	if len(r) == 0 {
		return nil
	}
	more := append(Rates(nil), r...)
	more[len(more)-1] = more[len(more)-1].Goes(n, perRequest, ratio)
	return more
}

// Goes is [Rates.Goes] of one stretch. One without a share stays as it is.
func (s Stretch) Goes(n, perRequest, ratio float64) Stretch {
	if s.Share > 0 && s.Share < 1 {
		candidate, champion := s.share(ratio)
		s.Candidate += n * perRequest * math.Exp(candidate)
		s.Champion += n * perRequest * math.Exp(champion)
	}
	return s
}

// mostNeeded is the greatest number of further requests that [Needed] names.
const mostNeeded = 1e9

// Needed returns the least number of further requests after which decided holds, to about a
// twentieth; 0 if it does now, and −1 if a thousand million do not suffice.
func Needed(decided func(n float64) bool) int64 {
	if decided(0) {
		return 0
	}
	low, high := 0.0, 16.0
	for !decided(high) {
		if low, high = high, 2*high; high > mostNeeded {
			return -1
		}
	}
	for high-low > high/20 && high-low > 1 {
		if middle := (low + high) / 2; decided(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return int64(math.Ceil(high))
}
