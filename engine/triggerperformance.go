package engine

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
	"github.com/driftline/driftline/trigger"
)

// performanceEvery is how often a performance trigger looks: its windows are days.
const performanceEvery = time.Minute

// performanceWindow is a window of a performance trigger.
const performanceWindow = driftline.Duration(24 * time.Hour)

// performanceCauses takes in the windows of the champion's metric that ended since the last look,
// and long enough ago that nine labels of ten have come.
func (e *Engine) performanceCauses(ctx context.Context, p *driftline.Policy, t *driftline.Trigger, state driftline.PolicyState) (driftline.PolicyState, []driftline.Cause, *driftline.Suppression, error) {
	champion := e.championOf(p.Model)
	now := e.now().UTC()
	if champion == 0 || !e.training.mayLook(string(p.Model)+" "+t.Name, now, performanceEvery) {
		return state, nil, nil, nil
	}
	labels, err := e.Labels(ctx, p.Model, time.Time{})
	if code := driftline.CodeOf(err); code == driftline.NotFound || code == driftline.FailedPrecondition {
		return state, nil, nil, nil // nothing of it was predicted, or labelled, yet
	}
	if err != nil {
		return state, nil, nil, err
	}
	through := state.Triggers[t.Name].Through
	windows, err := e.MetricWindows(ctx, p.Model, champion, t.Performance.Metric, performanceWindow, time.Time{}, now.Add(-time.Duration(labels.Delay.P90)))
	if err != nil {
		return state, nil, nil, err
	}
	ref, windows := e.referenceOf(p.Model, champion, t.Performance, windows)
	if ref == nil {
		return state, nil, nil, nil // the champion has not shown yet how good it is
	}
	var causes []driftline.Cause
	var few *driftline.Suppression
	for _, w := range windows {
		if !w.End.After(through) {
			continue
		}
		var cause *driftline.Cause
		var reading trigger.Reading
		state, cause, reading = trigger.Performance(t, state, w, *ref, now)
		if cause != nil {
			causes = append(causes, *cause)
		}
		few = trigger.TooFewLabels(p, t, &reading, now)
	}
	return state, causes, few, nil
}

// referenceOf is how good the champion was: in its newest evaluation that measured the metric, or
// else in its first windows that have enough labels, which are then no evidence. It returns
// the windows that are.
func (e *Engine) referenceOf(model driftline.ModelName, champion int, spec *driftline.PerformanceTrigger, windows []driftline.MetricWindow) (*trigger.Reference, []driftline.MetricWindow) {
	metrics := estimate.Metrics()
	at := slices.IndexFunc(metrics, func(m estimate.Metric) bool { return m.Name == spec.Metric })
	if at < 0 {
		return nil, nil
	}
	higher := metrics[at].Higher
	evaluations, err := e.Evaluations(model, champion, 0, 20)
	if err == nil {
		for _, evaluation := range evaluations {
			if found := measuredIn(&evaluation, spec.Metric); found != nil {
				found.Higher = higher
				return found, windows
			}
		}
	}
	var labels int64
	var weight, sum float64
	for i, w := range windows {
		if labels += w.Labels; w.Error > 0 {
			weight, sum = weight+1/(w.Error*w.Error), sum+w.Value/(w.Error*w.Error)
		}
		if labels >= spec.Completed().MinimumLabels && weight > 0 {
			return &trigger.Reference{Value: sum / weight, Error: 1 / math.Sqrt(weight), Higher: higher}, windows[i+1:]
		}
	}
	return nil, nil
}

// standardErrors is how many standard errors a 95 % interval reaches to either side.
const standardErrors = 1.959964

// measuredIn is what an evaluation measured of a candidate's metric, nil if it did not.
func measuredIn(evaluation *driftline.Evaluation, metric string) *trigger.Reference {
	for _, check := range evaluation.Checks {
		if check.Check != driftline.EvaluateMetric || check.Candidate == nil || !strings.EqualFold(check.Subject, metric) {
			continue
		}
		width := float64(check.Candidate.High - check.Candidate.Low)
		if !(width >= 0) {
			width = 0
		}
		return &trigger.Reference{Value: float64(check.Candidate.Value), Error: width / 2 / standardErrors}
	}
	return nil
}

// mayLook reports whether it is time to look at something again, and remembers that somebody did.
func (t *training) mayLook(what string, now time.Time, every time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.looked[what]; ok && now.Sub(last) < every && !now.Before(last) {
		return false
	}
	t.looked[what] = now
	return true
}
