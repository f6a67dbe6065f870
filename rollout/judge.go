package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift"
	"github.com/driftline/driftline/drift/sequential"
)

const (
	// errorPairMargin is by how much the share of failed requests may be greater than the
	// champion's in shadow, where there is no ratio to hold it against.
	errorPairMargin = 0.01

	// mismatch is the e-value from which on requests are not dealt as the route says.
	mismatch = 1000

	// firstPart is the part of alpha that is spent on the first event of each key, which may be
	// looked at any time. The rest is for all events of closed segments: keys come again, and
	// once most of them had an event, a candidate that breaks would not be seen by the first ones.
	firstPart = 0.8

	// ratioPart is the part of the stake of "safe" that is on the ratio; the rest is on
	// the rate being negligible.
	ratioPart = 0.8
)

// Judge says what the evidence comes to. plan is completed. The same arguments give the
// same verdict, bit for bit, so that every verdict of the past can be made again.
func Judge(plan *driftline.RolloutPlan, e *Evidence) driftline.RolloutVerdict {
	j := judge{plan: plan, e: e}
	v := j.weigh()
	j.foretell(&v)
	return v
}

// judge is one look at the evidence.
type judge struct {
	plan *driftline.RolloutPlan
	e    *Evidence
}

// judged are the segments that count.
func (j *judge) judged() []Segment { return j.e.Segments[min(j.e.From, len(j.e.Segments)):] }

// weigh is Judge without saying what it needs.
func (j *judge) weigh() driftline.RolloutVerdict {
	v := driftline.RolloutVerdict{
		Outcome: driftline.VerdictInconclusive, EValue: 1, Threshold: driftline.Number(1 / j.plan.Alpha), Guards: []driftline.GuardVerdict{},
	}
	if len(j.judged()) == 0 {
		return v
	}
	route := j.stage()
	for _, s := range route {
		addCounts(&v.Requests, s.Requests)
		v.Pairs, v.Differs = v.Pairs+s.Pairs, v.Differs+s.Differs
	}
	worst, allSafe := 0, true
	logs := make([]float64, len(j.plan.Guards))
	for i := range j.plan.Guards {
		g := j.guard(i, route)
		logs[i] = j.worse(i)
		g.Worse = driftline.Number(math.Exp(logs[i]))
		if logs[i] > logs[worst] {
			worst = i
		}
		allSafe = allSafe && g.Outcome == driftline.VerdictSafe
		v.Guards = append(v.Guards, g)
	}
	total := sequential.Average(logs) + math.Log(firstPart)
	again, guard, segment := j.again()
	v.EValue = driftline.Number(math.Exp(max(total, again)))
	v.Blind = j.mismatched()
	switch {
	case total >= -math.Log(j.plan.Alpha):
		v.Outcome = driftline.VerdictWorse
		j.convict(&v.Guards[worst], worst)
	case again >= -math.Log(j.plan.Alpha):
		v.Outcome = driftline.VerdictWorse
		j.convictSegment(&v.Guards[guard], guard, segment)
	case allSafe:
		v.Outcome = driftline.VerdictSafe
	}
	if v.Blind != "" {
		v.Outcome = driftline.VerdictInconclusive
	}
	return v
}

// convict says by how much the guard is worse, from when it most likely became so.
func (j *judge) convict(g *driftline.GuardVerdict, i int) {
	g.Outcome = driftline.VerdictWorse
	rates := j.rates(i)
	if _, since := rates.WorseSince(); g.Ratio != nil && since > 0 {
		ratio, bounds := pooled(rates[since:]).Ratio(j.plan.Alpha)
		g.Ratio = interval(ratio, bounds, g.Ratio.Rows)
		g.Note = "since " + j.judged()[since].Started.UTC().Format(time.RFC3339)
	}
}

// again returns the strongest evidence of all events in a closed segment, by which guard and in
// which segment: what it must reach is 1/alpha.
func (j *judge) again() (most float64, guard, segment int) {
	most = math.Inf(-1)
	all, compared := j.judged(), 0.0
	for at := range all[:len(all)-1] {
		s := &all[at]
		if s.Share <= 0 || s.Share >= 1 {
			continue
		}
		compared++
		for i := range s.Guards {
			log := s.all(i).Clustered(float64(s.Guards[i].Most)) + math.Log((1-firstPart)*segmentPart(compared)/float64(len(s.Guards)))
			if log > most {
				most, guard, segment = log, i, at
			}
		}
	}
	return most, guard, segment
}

// segmentPart is the part of the level that the n-th segment gets: 1/11 of it the first, 1/330
// the 48th. All of them add up to 1.
func segmentPart(n float64) float64 { return 10 / ((n + 9) * (n + 10)) }

// all are all events of the i-th guard.
func (s *Segment) all(i int) sequential.Stretch {
	events := s.Guards[i].All
	return sequential.Stretch{Share: s.Share, Candidate: float64(events.Candidate), Champion: float64(events.Champion)}
}

// convictSegment says by how much the guard was worse in one segment, over all its events.
func (j *judge) convictSegment(g *driftline.GuardVerdict, i, segment int) {
	s := &j.judged()[segment]
	ratio, bounds := sequential.Rates{s.all(i)}.Ratio(j.plan.Alpha)
	g.Outcome, g.Events = driftline.VerdictWorse, s.Guards[i].All
	g.Ratio = interval(ratio, bounds, g.Events.Candidate+g.Events.Champion)
	g.Note = fmt.Sprintf("from %s, every event of a key counted, %d of one at most", s.Started.UTC().Format(time.RFC3339), s.Guards[i].Most)
}

// stage returns the segments of the last route.
func (j *judge) stage() []Segment {
	all := j.judged()
	first := len(all) - 1
	for first > 0 && all[first-1].Route == all[first].Route {
		first--
	}
	return all[first:]
}

// guard fills in what is said of the i-th guard, but for Worse.
func (j *judge) guard(i int, route []Segment) driftline.GuardVerdict {
	spec := &j.plan.Guards[i]
	g := driftline.GuardVerdict{Guard: spec.Title(), Outcome: driftline.VerdictInconclusive}
	for _, s := range route {
		addCounts(&g.Requests, s.Requests)
		if spec.Kind == driftline.GuardMean {
			addCounts(&g.Events, driftline.ArmCounts{Champion: s.Guards[i].Champion.N, Candidate: s.Guards[i].Candidate.N})
		} else {
			addCounts(&g.Events, s.Guards[i].Events)
		}
	}
	j.estimate(&g, i, route)
	log, asked := j.safe(i, 0)
	g.Safe = driftline.Number(math.Exp(log))
	switch {
	case !asked:
		g.Outcome, g.Note = driftline.VerdictSafe, "it can roll back, and does not hold up"
	case log >= -math.Log(j.plan.Beta):
		g.Outcome = driftline.VerdictSafe
	}
	return g
}

// estimate adds the ratio or the difference, with its interval.
func (j *judge) estimate(g *driftline.GuardVerdict, i int, route []Segment) {
	spec := &j.plan.Guards[i]
	switch {
	case route[0].Phase == driftline.RolloutShadow:
		pairs := j.pairs(i, route)
		mean, bounds := pairs.Interval(j.plan.Alpha)
		g.Difference = interval(mean*max(spec.Scale, 1), scaled(bounds, max(spec.Scale, 1)), pairs.Len())
	case spec.Kind == driftline.GuardMean:
		means := j.means(i, route)
		delta, bounds := means.Interval(j.plan.Alpha)
		g.Difference = interval(delta, bounds, means.Candidate.N+means.Champion.N)
	default:
		rates := pooled(j.rates(i))
		if ratio, bounds := rates.Ratio(j.plan.Alpha); bothServed(rates) {
			g.Ratio = interval(ratio, bounds, g.Events.Candidate+g.Events.Champion)
		}
	}
}

// bothServed reports whether both arms had a share at any time.
func bothServed(rates sequential.Rates) bool {
	return slices.ContainsFunc(rates, func(s sequential.Stretch) bool { return s.Share > 0 && s.Share < 1 })
}

func interval(value float64, bounds drift.Interval, rows int64) *driftline.Interval {
	return &driftline.Interval{Value: driftline.Number(value), Low: driftline.Number(bounds.Low), High: driftline.Number(bounds.High), Rows: rows}
}

func scaled(i drift.Interval, by float64) drift.Interval {
	return drift.Interval{Low: i.Low * by, High: i.High * by}
}

// rates are the events of the i-th guard, segment by segment.
func (j *judge) rates(i int) sequential.Rates {
	var rates sequential.Rates
	for _, s := range j.judged() {
		events := s.Guards[i].Events
		rates = append(rates, sequential.Stretch{Share: s.Share, Candidate: float64(events.Candidate), Champion: float64(events.Champion)})
	}
	return rates
}

// pooled adds up the stretches of each share; what does not ask when is the same then.
func pooled(rates sequential.Rates) (sums sequential.Rates) {
	for _, r := range rates {
		found := false
		for i := range sums {
			if sums[i].Share == r.Share {
				sums[i].Candidate, sums[i].Champion, found = sums[i].Candidate+r.Candidate, sums[i].Champion+r.Champion, true
			}
		}
		if !found {
			sums = append(sums, r)
		}
	}
	// The share of now is the last one, which [sequential.Rates.Goes] goes on with.
	for i, r := range sums {
		if r.Share == rates[len(rates)-1].Share {
			sums[i], sums[len(sums)-1] = sums[len(sums)-1], sums[i]
			break
		}
	}
	return sums
}

// candidate counts the candidate's first requests of keys, and the events among them.
func (j *judge) candidate(i int, segments []Segment) (share sequential.Share) {
	for _, s := range segments {
		share.Requests += float64(s.First.Candidate)
		share.Events += float64(s.Guards[i].FirstEvents.Candidate)
	}
	return share
}

func (j *judge) means(i int, segments []Segment) (means sequential.Means) {
	for _, s := range segments {
		means.Candidate.Merge(s.Guards[i].Candidate)
		means.Champion.Merge(s.Guards[i].Champion)
	}
	return means
}

// pairs are the differences of the i-th guard, turned so that more is worse.
func (j *judge) pairs(i int, segments []Segment) sequential.Pairs {
	pairs := sequential.Pairs{}
	for _, s := range segments {
		pairs.Merge(s.Guards[i].Pairs)
	}
	if j.plan.Guards[i].Worse == driftline.Lower {
		return pairs.Negated()
	}
	return pairs
}

// routes calls f for the segments of each route, in the order of time.
func (j *judge) routes(f func(segments []Segment) float64) (logs []float64) {
	all := j.judged()
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].Route == all[from].Route {
			to++
		}
		logs = append(logs, f(all[from:to]))
		from = to
	}
	return logs
}

// worse returns the log e-value against "by the i-th guard the candidate is no worse".
func (j *judge) worse(i int) float64 {
	if j.plan.Guards[i].Kind == driftline.GuardMean {
		return sequential.Average(j.worseOthers(i))
	}
	return sequential.Average(append(j.worseOthers(i), j.rates(i).Worse()))
}

// worseLater returns worse as it would be after n more requests like those of the stage.
func (j *judge) worseLater(i int) func(n float64) float64 {
	others := j.worseOthers(i)
	if j.plan.Guards[i].Kind == driftline.GuardMean {
		return func(float64) float64 { return sequential.Average(others) }
	}
	rates := j.rates(i)
	perRequest, ratio := j.pace(i, rates)
	later, last := rates.WorseIf(), rates[len(rates)-1]
	return func(n float64) float64 {
		return sequential.Average(append(others[:len(others):len(others)], later(last.Goes(n, perRequest, ratio))))
	}
}

// worseOthers are the log e-values of a guard but for that of its rates. Which there are is
// fixed by the plan, so that their mean is an e-value.
func (j *judge) worseOthers(i int) (logs []float64) {
	spec := &j.plan.Guards[i]
	if spec.Kind == driftline.GuardMean {
		logs = append(logs, sequential.Restarted(j.routes(func(s []Segment) float64 { return j.meanWorse(spec, j.means(i, s)) })))
	}
	if spec.Limit > 0 {
		logs = append(logs, sequential.Restarted(j.routes(func(s []Segment) float64 { return j.candidate(i, s).Above(spec.Limit) })))
	}
	if j.plan.Shadow != nil || j.plan.Bake.Mirror > 0 {
		logs = append(logs, sequential.Restarted(j.routes(func(s []Segment) float64 { return pairsWorse(spec, j.pairs(i, s)) })))
	}
	return logs
}

func (j *judge) meanWorse(spec *driftline.Guard, means sequential.Means) float64 {
	switch spec.Worse {
	case driftline.Lower:
		return means.Below(0)
	case driftline.Either:
		return sequential.Average([]float64{means.Above(0), means.Below(0)})
	}
	return means.Above(0)
}

func pairsWorse(spec *driftline.Guard, pairs sequential.Pairs) float64 {
	if spec.Worse == driftline.Either {
		return sequential.Average([]float64{pairs.Above(), pairs.Negated().Above()})
	}
	return pairs.Above()
}

// safe returns the log e-value against "by the i-th guard the candidate is worse than its
// margin", after n more requests, and false if the guard is not asked.
func (j *judge) safe(i int, n float64) (log float64, asked bool) {
	spec := &j.plan.Guards[i]
	route := j.stage()
	switch {
	case spec.Kind == driftline.GuardMean && spec.Margin == 0:
		return 0, false
	case route[0].Phase == driftline.RolloutShadow:
		return pairsSafe(spec, grown(j.pairs(i, route), j.pairsPer(route)*n)), true
	case spec.Kind == driftline.GuardMean:
		return j.meansSafe(i, n), true
	}
	return j.ratesSafe(i, n)
}

func grown(pairs sequential.Pairs, n float64) sequential.Pairs {
	if n == 0 || pairs.Len() == 0 {
		return pairs
	}
	return pairs.Goes(n)
}

// pairsPer is how many pairs come of a request.
func (j *judge) pairsPer(route []Segment) float64 {
	pairs, requests := int64(0), int64(0)
	for _, s := range route {
		pairs, requests = pairs+s.Pairs, requests+s.Requests.Candidate+s.Requests.Champion
	}
	return float64(pairs) / math.Max(1, float64(requests))
}

func pairsSafe(spec *driftline.Guard, pairs sequential.Pairs) float64 {
	margin := errorPairMargin
	switch spec.Kind {
	case driftline.GuardLatency:
		margin = min(0.5, (spec.Margin-1)*(1-spec.Quantile))
	case driftline.GuardScore:
		margin = min(0.5, (spec.Margin-1)*2*(1-spec.Quantile))
	case driftline.GuardMean:
		margin = spec.Margin / spec.Scale
	}
	if spec.Worse == driftline.Either {
		return min(pairs.Below(margin), pairs.Negated().Below(margin))
	}
	return pairs.Below(margin)
}

// meansSafe multiplies the evidence of all routes: each has a difference of its own.
func (j *judge) meansSafe(i int, n float64) (log float64) {
	spec, all := &j.plan.Guards[i], j.stage()
	last := all[len(all)-1].Route
	for _, one := range j.routes(func(s []Segment) float64 {
		means := j.means(i, s)
		if n > 0 && s[0].Route == last {
			means = means.Goes(n*valuesPer(means, s), s[0].Share)
		}
		switch spec.Worse {
		case driftline.Lower:
			return means.Above(-spec.Margin)
		case driftline.Either:
			return min(means.Below(spec.Margin), means.Above(-spec.Margin))
		}
		return means.Below(spec.Margin)
	}) {
		log += one
	}
	return log
}

// valuesPer is how many values come of a request.
func valuesPer(means sequential.Means, segments []Segment) float64 {
	requests := int64(0)
	for _, s := range segments {
		requests += s.Requests.Candidate + s.Requests.Champion
	}
	return float64(means.Candidate.N+means.Champion.N) / math.Max(1, float64(requests))
}

func (j *judge) ratesSafe(i int, n float64) (log float64, asked bool) {
	spec := &j.plan.Guards[i]
	rates := pooled(j.rates(i))
	alone := j.candidate(i, j.judged())
	if n > 0 {
		perRequest, ratio := j.pace(i, rates)
		rates = rates.Goes(n, perRequest, ratio)
		more := n * j.stage()[0].Share * j.firstPer()
		alone.Events += more * alone.Events / math.Max(1, alone.Requests)
		alone.Requests += more
	}
	compared, negligible := bothServed(rates), 0.0
	if spec.Negligible != nil {
		negligible = *spec.Negligible
	}
	switch {
	case compared && negligible > 0:
		return sequential.Weighted([]float64{rates.Safe(spec.Margin), alone.Below(negligible)}, []float64{ratioPart, 1 - ratioPart}), true
	case compared:
		return rates.Safe(spec.Margin), true
	case spec.Limit > 0:
		return alone.Below(spec.Limit), true
	}
	return 0, false
}

// firstPer is how many of the candidate's requests are the first of a key.
func (j *judge) firstPer() float64 {
	first, requests := int64(0), int64(0)
	for _, s := range j.stage() {
		first, requests = first+s.First.Candidate, requests+s.Requests.Candidate
	}
	return float64(first) / math.Max(1, float64(requests))
}

// pace is how many events come of a request of the stage, and the likeliest ratio of the rates.
func (j *judge) pace(i int, rates sequential.Rates) (perRequest, ratio float64) {
	events, requests := int64(0), int64(0)
	for _, s := range j.stage() {
		events += s.Guards[i].Events.Candidate + s.Guards[i].Events.Champion
		requests += s.Requests.Candidate + s.Requests.Champion
	}
	if ratio = pooled(rates).Likeliest(); ratio != ratio {
		ratio = 1
	}
	return float64(events) / math.Max(1, float64(requests)), ratio
}

// mismatched says how requests are dealt otherwise than the routes say, or "".
func (j *judge) mismatched() string {
	var dealt sequential.Rates
	candidate, all := int64(0), int64(0)
	for _, s := range j.judged() {
		dealt = append(dealt, sequential.Stretch{Share: s.Share, Candidate: float64(s.Dealt.Candidate), Champion: float64(s.Dealt.Champion)})
		if s.Share == j.stage()[0].Share {
			candidate, all = candidate+s.Dealt.Candidate, all+s.Dealt.Candidate+s.Dealt.Champion
		}
	}
	if pooled(dealt).Dealt() < math.Log(mismatch) {
		return ""
	}
	return fmt.Sprintf("the candidate got %.2f %% of the keys that were met, where the route gives it %g %%: requests are lost, or dealt by another plan",
		100*float64(candidate)/math.Max(1, float64(all)), 100*j.stage()[0].Share)
}

// foretell adds how many more requests would decide.
func (j *judge) foretell(v *driftline.RolloutVerdict) {
	if len(v.Guards) == 0 {
		v.Needs = -1
		return
	}
	if v.Requests.Candidate+v.Requests.Champion == 0 {
		v.Needs = -1
		for i := range v.Guards {
			v.Guards[i].Needs = -1
		}
		return
	}
	safe := int64(0)
	for i := range v.Guards {
		needs := sequential.Needed(func(n float64) bool {
			log, asked := j.safe(i, n)
			return !asked || log >= -math.Log(j.plan.Beta)
		})
		v.Guards[i].Needs = needs
		if needs < 0 || safe < 0 {
			safe = -1
		} else {
			safe = max(safe, needs)
		}
	}
	later := make([]func(n float64) float64, len(v.Guards))
	for i := range later {
		later[i] = j.worseLater(i)
	}
	worse := sequential.Needed(func(n float64) bool {
		logs := make([]float64, len(v.Guards))
		for i := range logs {
			logs[i] = later[i](n)
		}
		return sequential.Average(logs) >= -math.Log(firstPart*j.plan.Alpha)
	})
	switch {
	case safe < 0:
		v.Needs = worse
	case worse < 0:
		v.Needs = safe
	default:
		v.Needs = min(safe, worse)
	}
}
