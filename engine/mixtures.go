package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/estimate"
	"github.com/driftline/driftline/predictions"
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
	event := rollout.Event{Kind: rollout.Reweigh, Expect: &r.Sequence, Through: losses.end, Reason: losses.text(versions),
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
	what string // they are
	end  time.Time
	of   []float64
}

func (w *windowLosses) text(versions []int) string {
	words := make([]string, len(versions))
	for i, version := range versions {
		words[i] = fmt.Sprintf("%d: %.4g", version, w.of[i])
		if w.of[i] != w.of[i] {
			words[i] = fmt.Sprintf("%d: too few labels", version)
		}
	}
	return fmt.Sprintf("%s in the window to %s (%s)", w.what, w.end.UTC().Format(time.RFC3339), strings.Join(words, ", "))
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
	what := how.Loss
	if r.Plan.Mixture.Kind != driftline.MixtureChoose {
		what = "gradient of " + what
	}
	found := map[int64]*windowLosses{} // by the end
	for i, share := range r.Mixture {
		windows, err := e.memberWindows(ctx, r, share.Version, through, to)
		if err != nil {
			return nil, err
		}
		for _, w := range windows {
			if !w.End.After(through) || w.Labels < how.MinimumLabels {
				continue
			}
			at := found[w.End.UnixMicro()]
			if at == nil {
				at = &windowLosses{what, w.End, slices.Repeat([]float64{math.NaN()}, len(r.Mixture))}
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

// memberWindows are what a version of a mixture is weighed by, in windows that end after from and by to.
func (e *Engine) memberWindows(ctx context.Context, r *driftline.Rollout, version int, from, to time.Time) ([]driftline.MetricWindow, error) {
	how := r.Plan.Mixture.Reweigh.Completed()
	if r.Plan.Mixture.Kind == driftline.MixtureChoose {
		return e.MetricWindows(ctx, r.Model, version, how.Loss, how.Window, time.Time{}, to)
	}
	return e.gradientWindows(ctx, r.Model, version, how, from, to)
}

// gradients are the derivatives of losses by the answer that was given, of one labelled row. That of the root of a
// mean of squares is taken of the square, and that of the logarithm is bounded.
var gradients = map[string]string{
	"brier":    "2 * (score - label)",
	"log_loss": "(score - label) / greatest(score * (1 - score), 0.01)",
	"mae":      "sign(prediction - label)",
	"rmse":     "2 * (prediction - label)",
}

// gradientWindows say, of each window that ends after from and by to, by how much the loss of an average would grow with
// the weight of one of its versions: the mean over its labelled rows of the loss's derivative by the answer, times what the
// version said. By the loss of each version alone the best one would take all, also where a blend is better.
func (e *Engine) gradientWindows(ctx context.Context, model driftline.ModelName, version int, how driftline.Reweighing, from, to time.Time) ([]driftline.MetricWindow, error) {
	length := how.Window.Microseconds()
	start := time.UnixMicro(from.UnixMicro() / length * length)
	if !start.Before(to) {
		return nil, nil
	}
	m, err := e.measuring(model, driftline.ModelPerformanceRequest{Window: how.Window, From: start, To: to})
	if err != nil {
		return nil, err
	}
	if _, ok := columnNamed(m.view, predictions.Values); !ok {
		return nil, nil // a log of somebody's own, which has no place for what versions said
	}
	said := fmt.Sprintf(`TRY_CAST(json_extract_string(%s, '$."%s"') AS DOUBLE)`, quoted(predictions.Values), driftline.MixtureValue(version))
	gradient := gradients[how.Loss] + " * " + said
	text := fmt.Sprintf("SELECT epoch_us(%s) // %d AS in_window, avg(%s)::DOUBLE, count(*) FROM (%s)%s GROUP BY in_window ORDER BY in_window", quoted(m.view.EventTimestamp), length,
		gradient, m.joined, conditions(m.where, []string{"(" + gradient + ") IS NOT NULL"}))
	rows, err := e.SQL(ctx, text, nil)
	if err != nil {
		return nil, err
	}
	var windows []driftline.MetricWindow
	for b, err := range rows.All {
		if err != nil {
			return nil, err
		}
		at, mean, labels := b.Column(0).(*array.Int64), b.Column(1).(*array.Float64), b.Column(2).(*array.Int64)
		for i := range int(b.NumRows()) {
			if end := time.UnixMicro((at.Value(i) + 1) * length).UTC(); !end.After(to) {
				windows = append(windows, driftline.MetricWindow{End: end, Value: mean.Value(i), Labels: labels.Value(i)})
			}
		}
	}
	return windows, nil
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
