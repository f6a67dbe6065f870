package trigger

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/drift/sequential"
)

// Request is a cause that a person or a program asks for. The same key is the same request.
func Request(key, by, reason string, now time.Time) driftline.Cause {
	if reason == "" {
		reason = "somebody asked for it"
	}
	return driftline.Cause{Kind: driftline.TriggerRequest, Bucket: key, Time: now, Summary: reason, By: by}
}

// Alert returns the cause that an alert of the trigger's monitor is. An alert is one cause,
// however long it is open.
func Alert(t *driftline.Trigger, alert *driftline.Alert, now time.Time) driftline.Cause {
	return driftline.Cause{Trigger: t.Name, Kind: driftline.TriggerDrift, Bucket: string(alert.ID), Time: now, Summary: alert.Summary}
}

// FeatureVersion returns the cause that a new version of a view is.
func FeatureVersion(t *driftline.Trigger, view driftline.ViewName, now time.Time) driftline.Cause {
	return driftline.Cause{
		Trigger: t.Name, Kind: driftline.TriggerFeatureVersion, Bucket: string(view), Time: now,
		Summary: fmt.Sprintf("feature service %q uses %s now", t.FeatureVersion.Service, view),
	}
}

// Data returns the cause that a table's growth is, or nil. had is how many rows it had when
// the last training that succeeded began, and added how many it has that it did not have
// then: rows written again or deleted do not count. snapshot names what it is now.
func Data(t *driftline.Trigger, had, added int64, snapshot string, now time.Time) *driftline.Cause {
	d := t.Data
	enough := d.Rows > 0 && added >= d.Rows || d.Share > 0 && float64(added) >= d.Share*float64(had) && added > 0
	if !enough {
		return nil
	}
	return &driftline.Cause{
		Trigger: t.Name, Kind: driftline.TriggerData, Bucket: snapshot, Time: now,
		Summary: fmt.Sprintf("%s has %d rows more than the %d of the last training", d.Source, added, had),
	}
}

// Window is what a monitor found in one pane. Panes of which it can say nothing are none.
type Window struct {
	Start, End time.Time
	Effects    map[string]float64 // of each feature that was compared
	Drifted    []string           // those that the monitor calls drifted
}

// Drift takes in a window, and returns the cause that it is, or nil. Windows come in the order
// of time; one that came before says nothing. A trigger that has fired listens again when
// too few features are above four fifths of its limit (of the monitor's verdict: when too few
// have drifted).
func Drift(t *driftline.Trigger, s driftline.PolicyState, w *Window, now time.Time) (driftline.PolicyState, *driftline.Cause) {
	d := t.Drift.Completed()
	s = clone(s)
	state := s.Triggers[t.Name]
	if !w.End.After(state.Through) {
		return s, nil
	}
	drifted := driftedFeatures(&d, w, 1)
	state.Through, state.Windows = w.End, state.Windows+1
	if len(drifted) < d.Features {
		state.Windows = 0
	}
	if len(driftedFeatures(&d, w, rearmedBelow)) < d.Features {
		state.Disarmed = false
	}
	s.Triggers[t.Name] = state
	if state.Windows < d.Windows {
		return s, nil
	}
	return s, &driftline.Cause{
		Trigger: t.Name, Kind: driftline.TriggerDrift, Bucket: w.End.UTC().Format(time.RFC3339), Time: now,
		Summary: fmt.Sprintf("%s drifted in %s to %s", names(drifted), windowsWord(d.Windows), w.End.UTC().Format(time.RFC3339)),
	}
}

// driftedFeatures are those whose effect is above so much of the limit.
func driftedFeatures(d *driftline.DriftTrigger, w *Window, of float64) (found []string) {
	asked := func(name string) bool { return len(d.Of) == 0 || slices.Contains(d.Of, name) }
	if d.Limit == 0 {
		for _, name := range w.Drifted {
			if asked(name) {
				found = append(found, name)
			}
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Effects)) {
		if asked(name) && w.Effects[name] > of*d.Limit {
			found = append(found, name)
		}
	}
	return found
}

func names(all []string) string {
	const most = 5
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

func windowsWord(n int) string {
	if n == 1 {
		return "the window"
	}
	return fmt.Sprintf("%d windows", n)
}

// mostMetrics is how many windows of a metric are remembered.
const mostMetrics = 400

// Reference is a metric of the champion on the rows that it was measured on before.
type Reference struct {
	Value, Error float64 // Error is the standard error, 0 if it is exact
	Higher       bool    // higher is better
}

// Reading is what a performance trigger makes of the windows so far.
type Reading struct {
	Fall   float64 // relative to the reference, positive is worse; NaN before anything can be said
	Labels int64   // it rests on
	Since  time.Time
	EValue float64 // against "it never fell"
	Limit  float64 // of the e-value
	Few    bool    // too few labels to say anything
	Text   string  // in a sentence
}

// Performance takes in a window of the champion's metric, and returns the cause that it is, or
// nil. It fires when the metric fell by more than the trigger's fall, over the windows from
// which on it most likely did, and that is no chance: by chance it ever fires with
// probability Alpha, however many windows come. The standard error of a window must not be 0
// where a share is; Wilson's interval gives one that is not.
//
// Half of Alpha is spent on the reference being lower than it was measured. A trigger that has
// fired listens again when the newest windows have recovered to four fifths of its fall; it
// then forgets the windows before the newest.
func Performance(t *driftline.Trigger, s driftline.PolicyState, w driftline.MetricWindow, ref Reference, now time.Time) (driftline.PolicyState, *driftline.Cause, Reading) {
	spec := t.Performance.Completed()
	s = clone(s)
	state := s.Triggers[t.Name]
	if w.End.After(state.Through) {
		state.Through = w.End
		state.Metrics = append(slices.Clone(state.Metrics), w)
		if more := len(state.Metrics) - mostMetrics; more > 0 {
			state.Metrics, state.Dropped = state.Metrics[more:], state.Dropped+more
		}
	}
	if state.Disarmed && recovered(&spec, &state, ref) {
		state.Disarmed, state.Metrics, state.Dropped = false, state.Metrics[len(state.Metrics)-1:], 0
	}
	reading := read(&spec, &state, ref)
	s.Triggers[t.Name] = state
	if !(reading.Fall >= spec.Fall) || reading.Labels < spec.MinimumLabels || reading.EValue < reading.Limit {
		return s, nil, reading
	}
	return s, &driftline.Cause{
		Trigger: t.Name, Kind: driftline.TriggerPerformance, Bucket: w.End.UTC().Format(time.RFC3339), Time: now, Summary: reading.Text,
	}, reading
}

func read(spec *driftline.PerformanceTrigger, state *driftline.TriggerState, ref Reference) Reading {
	r := Reading{Fall: math.NaN(), Limit: 2 / spec.Alpha, EValue: 1}
	if ref.Value == 0 || ref.Value-ref.Value != 0 {
		r.Text = fmt.Sprintf("the reference of %s is %v, so there is no relative fall", spec.Metric, ref.Value)
		return r
	}
	estimates := worsenings(state.Metrics, ref)
	level := distuv.UnitNormal.Quantile(1-spec.Alpha/2) * max(0, ref.Error)
	log, since := estimates.Above(level, spec.Fall*math.Abs(ref.Value), state.Dropped)
	r.EValue = math.Exp(log)
	for _, m := range state.Metrics[since:] {
		r.Labels += m.Labels
	}
	if r.Labels < spec.MinimumLabels {
		r.Few = true
		r.Text = fmt.Sprintf("%s: too few labels (%d < %d)", spec.Metric, r.Labels, spec.MinimumLabels)
		return r
	}
	r.Since = state.Metrics[since].End
	r.Fall = estimates[since:].Pooled().Value / math.Abs(ref.Value)
	r.Text = fmt.Sprintf("%s is %.1f %% worse than the %.4g of its reference, over %d labels; e-value %.3g of %.3g",
		spec.Metric, 100*r.Fall, ref.Value, r.Labels, r.EValue, r.Limit)
	return r
}

// worsenings are how much worse than the reference each window is.
func worsenings(metrics []driftline.MetricWindow, ref Reference) (estimates sequential.Estimates) {
	for _, m := range metrics {
		worse := m.Value - ref.Value
		if ref.Higher {
			worse = -worse
		}
		estimates = append(estimates, sequential.Estimate{Value: worse, Error: m.Error})
	}
	return estimates
}

// recovered reports whether the newest windows, as many as have enough labels, are as good
// again as they were.
func recovered(spec *driftline.PerformanceTrigger, state *driftline.TriggerState, ref Reference) bool {
	labels := int64(0)
	for i := len(state.Metrics) - 1; i >= 0; i-- {
		if labels += state.Metrics[i].Labels; labels >= spec.MinimumLabels {
			fall := worsenings(state.Metrics[i:], ref).Pooled().Value / math.Abs(ref.Value)
			return fall < rearmedBelow*spec.Fall
		}
	}
	return false
}

// TooFewLabels is the suppression that a reading with too few labels is, and nil for any other.
func TooFewLabels(p *driftline.Policy, t *driftline.Trigger, r *Reading, now time.Time) *driftline.Suppression {
	if !r.Few {
		return nil
	}
	return &driftline.Suppression{
		Model: p.Model, Time: now, Reason: driftline.SuppressedFewLabels, Detail: r.Text,
		Cause: driftline.Cause{Trigger: t.Name, Kind: driftline.TriggerPerformance, Time: now},
	}
}
