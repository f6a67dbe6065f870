package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
	"github.com/driftline/driftline/rollout"
	"github.com/driftline/driftline/routing"
)

// reweighEvery is how often it is looked for windows of labels that have closed.
const reweighEvery = 10 * time.Minute

// reweigh estimates the shares of an arm that several versions share anew, if its plan says so, from the oldest
// window of labelled predictions that has closed since the last time. The state that it was decided on must
// still hold.
func (e *Engine) reweigh(ctx context.Context, l *liveRollout) error {
	var r driftline.Rollout
	if err := e.withRollout(l, func() error { r = l.kept.Rollout; return nil }); err != nil {
		return err
	}
	answers := r.Phase == driftline.RolloutCanary || r.Phase == driftline.RolloutBaking
	if !answers || len(r.Mixture) == 0 || r.Plan.Mixture.Reweigh == nil || e.now().Before(nextWindow(&r)) ||
		!e.training.mayLook("reweigh "+string(r.ID), e.now(), reweighEvery) {
		return nil
	}
	losses, err := e.mixtureLosses(ctx, &r)
	if err != nil || losses == nil {
		return err
	}
	how := r.Plan.Mixture.Reweigh.Completed()
	versions, before := make([]int, len(r.Mixture)), make([]float64, len(r.Mixture))
	for i, s := range r.Mixture {
		versions[i], before[i] = s.Version, s.Share/100
	}
	event := rollout.Event{Kind: rollout.Reweigh, Expect: &r.Sequence, Through: losses.end, Reason: losses.text(how.Loss, versions),
		Shares: routing.Shares(versions, estimate.MixtureWeights(before, losses.of, how.Rate, how.Return))}
	err = e.withRollout(l, func() error { return e.stepRollout(l, event) })
	if code := driftline.CodeOf(err); code == driftline.Conflict || code == driftline.FailedPrecondition {
		return nil // something else happened; the window is looked at again
	}
	return err
}

// lookedThrough is the time up to which the windows of a mixture were looked at.
func lookedThrough(r *driftline.Rollout) time.Time {
	if r.Reweighed.IsZero() {
		return r.Created
	}
	return r.Reweighed
}

// nextWindow is the end of the first window that was not looked at. Windows begin at multiples of their length
// from 1970 on.
func nextWindow(r *driftline.Rollout) time.Time {
	length := r.Plan.Mixture.Reweigh.Completed().Window.Microseconds()
	return time.UnixMicro((lookedThrough(r).UnixMicro()/length + 1) * length)
}

// windowLosses are the mean losses of some versions in one window; NaN where too little is labelled.
type windowLosses struct {
	end time.Time
	of  []float64
}

func (w *windowLosses) text(loss string, versions []int) string {
	words := make([]string, len(versions))
	for i, version := range versions {
		words[i] = fmt.Sprintf("%d: %.4g", version, w.of[i])
		if w.of[i] != w.of[i] {
			words[i] = fmt.Sprintf("%d: too few labels", version)
		}
	}
	return fmt.Sprintf("%s in the window to %s (%s)", loss, w.end.UTC().Format(time.RFC3339), strings.Join(words, ", "))
}

// mixtureLosses are the losses of a mixture's versions in the oldest window that was not looked at yet, that
// ended so long ago that nine labels of ten have come, and in which one of them has labels enough; nil if there
// is none.
func (e *Engine) mixtureLosses(ctx context.Context, r *driftline.Rollout) (*windowLosses, error) {
	labels, err := e.Labels(ctx, r.Model, time.Time{})
	if code := driftline.CodeOf(err); code == driftline.NotFound || code == driftline.FailedPrecondition {
		return nil, nil // nothing of it was predicted, or labelled, yet
	}
	if err != nil {
		return nil, err
	}
	through := lookedThrough(r)
	how, to := r.Plan.Mixture.Reweigh.Completed(), e.now().Add(-time.Duration(labels.Delay.P90))
	found := map[int64]*windowLosses{} // by the end
	for i, share := range r.Mixture {
		windows, err := e.MetricWindows(ctx, r.Model, share.Version, how.Loss, how.Window, time.Time{}, to)
		if err != nil {
			return nil, err
		}
		for _, w := range windows {
			if !w.End.After(through) || w.Labels < how.MinimumLabels {
				continue
			}
			at := found[w.End.UnixMicro()]
			if at == nil {
				at = &windowLosses{w.End, slices.Repeat([]float64{math.NaN()}, len(r.Mixture))}
				found[w.End.UnixMicro()] = at
			}
			at.of[i] = w.Value
		}
	}
	var oldest *windowLosses
	for _, w := range found {
		if oldest == nil || w.end.Before(oldest.end) {
			oldest = w
		}
	}
	return oldest, nil
}

// mixtureOf is the route of a champion that shares its arm with other versions, as its rollout ended; nil if it
// answers alone.
func (e *Engine) mixtureOf(model driftline.ModelName, champion int) *driftline.Route {
	for _, r := range e.registry.Rollouts(model) { // the newest first
		if r.Phase == driftline.RolloutPromoted {
			if r.Candidate == champion && len(r.Mixture) > 0 {
				return &r.Route
			}
			return nil
		}
	}
	return nil
}
