package driftline

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Bounds of what a policy can say.
const (
	mostTriggers = 50
	mostStages   = 20
	mostGuards   = 20
	mostFeatures = 10_000
	longestStage = Duration(90 * 24 * time.Hour)
	longestJob   = Duration(30 * 24 * time.Hour)
)

// Check reports what is wrong with the policy, naming the field. It does not look at cron
// expressions and time zones, which package trigger does.
func (p *Policy) Check() error {
	if err := CheckName("model", p.Model); err != nil {
		return err
	}
	if len(p.Triggers) > mostTriggers {
		return Errorf(Invalid, "triggers has %d items, want at most %d", len(p.Triggers), mostTriggers)
	}
	seen := map[string]bool{}
	for i := range p.Triggers {
		t := &p.Triggers[i]
		if err := t.Check(fmt.Sprintf("triggers[%d]", i)); err != nil {
			return err
		}
		if seen[t.Name] {
			return Errorf(Invalid, "triggers[%d].name %q is given twice", i, t.Name)
		}
		seen[t.Name] = true
	}
	if p.Training != nil {
		if err := p.Training.Check(); err != nil {
			return err
		}
	}
	for _, check := range []func() error{p.Pacing.Check, p.Evaluation.Check, p.Rollout.Check, p.checkNotices} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Check reports what is wrong with the trigger; field is where it stands in its policy.
func (t *Trigger) Check(field string) error {
	if err := CheckIdentifier(field+".name: trigger", t.Name); err != nil {
		return err
	}
	switch t.Kind() {
	case TriggerTime:
		if t.Time.Cron == "" {
			return missing(field + ".time.cron").WithHint(`write minute, hour, day of month, month and day of week: "0 6 * * 1-5"`)
		}
		return oneOf(field+".time.catch_up", t.Time.CatchUp, CatchUpLatest, CatchUpAll, CatchUpNone)
	case TriggerPerformance:
		return t.Performance.check(field + ".performance")
	case TriggerData:
		return t.Data.check(field + ".data")
	case TriggerDrift:
		return t.Drift.check(field + ".drift")
	case TriggerFeatureVersion:
		return CheckIdentifier(field+".feature_version.service: feature service", t.FeatureVersion.Service)
	}
	return Errorf(Invalid, "%s must have exactly one of time, performance, data, drift and feature_version", field).
		WithHint(`write {name: weekly, time: {cron: "0 6 * * 1"}}`)
}

func (t *PerformanceTrigger) check(field string) error {
	return firstError(
		required(field+".metric", t.Metric),
		within(field+".fall", t.Fall, 0, 1),
		within(field+".alpha", t.Alpha, 0, 0.5),
		atLeast(field+".minimum_labels", t.MinimumLabels, 0),
	)
}

func (t *DataTrigger) check(field string) error {
	if t.Source.Kind != KindView && t.Source.Kind != KindDataset {
		return Errorf(Invalid, "%s.source %q is not a table", field, clip(t.Source.String())).
			WithHint("name a feature view (view/weather) or a dataset (dataset/late_departure)")
	}
	if t.Rows == 0 && t.Share == 0 {
		return Errorf(Invalid, "%s needs rows or share", field).WithHint("write rows: 100000, or share: 0.2 for a fifth more")
	}
	return firstError(atLeast(field+".rows", t.Rows, 0), within(field+".share", t.Share, 0, 1e6))
}

func (t *DriftTrigger) check(field string) error {
	err := firstError(
		CheckIdentifier(field+".monitor: monitor", t.Monitor),
		atLeast(field+".features", t.Features, 0),
		atLeast(field+".windows", t.Windows, 0),
		within(field+".limit", t.Limit, 0, 1),
	)
	switch {
	case err != nil:
		return err
	case t.Windows > MostHysteresis:
		return Errorf(Invalid, "%s.windows is %d, want at most %d", field, t.Windows, MostHysteresis)
	case t.Features > mostFeatures || len(t.Of) > mostFeatures:
		return Errorf(Invalid, "%s speaks of more than %d features", field, mostFeatures)
	case len(t.Of) > 0 && t.Features > len(t.Of):
		return Errorf(Invalid, "%s: %d of %d features can never have drifted", field, t.Features, len(t.Of))
	case t.ByAlert() && (len(t.Of) > 0 || t.Limit > 0):
		return Errorf(Invalid, "%s has of or limit, but neither features nor windows", field).
			WithHint("say how many features must drift: features: 3")
	}
	return nil
}

// Check reports what is wrong with the pacing.
func (p Pacing) Check() error {
	var cooldown Duration
	if p.Cooldown != nil {
		cooldown = *p.Cooldown
	}
	err := firstError(
		between("pacing.cooldown", cooldown, 0, Duration(365*24*time.Hour)),
		between("pacing.most_back_off", p.MostBackOff, 0, Duration(365*24*time.Hour)),
		atLeast("pacing.budget", p.Budget, 0),
	)
	if err == nil && p.Budget > 1000 {
		err = Errorf(Invalid, "pacing.budget is %d runs a day, want at most 1000", p.Budget)
	}
	return err
}

// Check reports what is wrong with the training job.
func (j *TrainingJob) Check() error {
	kinds := 0
	for _, set := range []bool{len(j.Command) > 0, j.Webhook != nil, j.Airflow != nil, j.Kubernetes != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return Errorf(Invalid, "training has %d of command, webhook, airflow and kubernetes, want one", kinds).
			WithHint("write training: {command: [python, train.py]}")
	case len(j.Command) > 0 && j.Command[0] == "":
		return missing("training.command[0]")
	case j.Webhook != nil && j.Webhook.URL == "":
		return missing("training.webhook.url")
	case j.Airflow != nil && j.Airflow.URL == "":
		return missing("training.airflow.url")
	case j.Airflow != nil && j.Airflow.DAG == "":
		return missing("training.airflow.dag")
	case j.Kubernetes != nil && j.Kubernetes.Image == "":
		return missing("training.kubernetes.image")
	case j.Incremental && j.Dataset == "":
		return missing("training.dataset").WithHint("an incremental job needs to know whose new rows it gets")
	}
	if j.Dataset != "" {
		if err := CheckIdentifier("training.dataset: dataset", j.Dataset); err != nil {
			return err
		}
	}
	return between("training.timeout", j.Timeout, 0, longestJob)
}

// Check reports what is wrong with the gate.
func (g *EvaluationGate) Check() error {
	if g.Dataset == (Ref{}) {
		if g.Metric != "" || g.Part != "" || len(g.Floors) > 0 || len(g.Segments) > 0 {
			return missing("evaluation.dataset").WithHint("name the rows that candidates are measured on: dataset/late_departure_test")
		}
		return nil
	}
	done := g.Completed()
	err := firstError(
		oneOf("evaluation.task", g.Task, TaskClassification, TaskRegression, TaskRanking),
		required("evaluation.task", g.Task),
		required("evaluation.metric", g.Metric),
		required("evaluation.label", g.Label),
		within("evaluation.delta", *done.Delta, 0, math.MaxFloat64),
		within("evaluation.segment_delta", *done.SegmentDelta, 0, math.MaxFloat64),
		within("evaluation.calibration", *done.Calibration, 0, 1),
		within("evaluation.alpha", g.Alpha, 0, 0.5),
		within("evaluation.latency_ratio", g.LatencyRatio, 0, math.MaxFloat64),
		between("evaluation.latency", g.Latency, 0, Duration(time.Hour)),
		atLeast("evaluation.segment_rows", g.SegmentRows, 0),
		atLeast("evaluation.replications", g.Replications, 0),
	)
	switch {
	case err != nil:
		return err
	case g.Dataset.Kind != KindDataset:
		return Errorf(Invalid, "evaluation.dataset %q is not a dataset", clip(g.Dataset.String())).
			WithHint("save one, so that every candidate meets the same rows")
	case g.Task == TaskRanking && g.Group == "":
		return missing("evaluation.group").WithHint("name the column whose equal values are one list")
	case g.Replications > 100_000:
		return Errorf(Invalid, "evaluation.replications is %d, want at most 100000", g.Replications)
	}
	for _, key := range g.Keys {
		if err := CheckColumn(key); err != nil {
			return Errorf(Invalid, "evaluation.keys: %w", err)
		}
	}
	for _, input := range g.Inputs {
		if err := CheckColumn(input); err != nil {
			return Errorf(Invalid, "evaluation.inputs: %w", err)
		}
	}
	for i, s := range g.Segments {
		if err := required(fmt.Sprintf("evaluation.segments[%d].expression", i), s.Expression); err != nil {
			return err
		}
	}
	return g.checkMaps()
}

func (g *EvaluationGate) checkMaps() error {
	for _, metric := range slices.Sorted(maps.Keys(g.Floors)) {
		if v := g.Floors[metric]; v-v != 0 {
			return Errorf(Invalid, "evaluation.floors.%s is %v, want a number", clip(metric), v)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(g.Severities)) {
		if !slices.Contains(EvaluationKinds, kind) {
			return Unknown("evaluation.severities", EvaluationKind(clip(string(kind))), EvaluationKinds)
		}
		if err := oneOf("evaluation.severities."+string(kind), g.Severities[kind], CheckBlocking, CheckWarning); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) checkNotices() error {
	for i, notice := range p.Notices {
		field := fmt.Sprintf("notices[%d]", i)
		if len(notice.Channels) == 0 {
			return missing(field + ".channels")
		}
		for _, channel := range notice.Channels {
			if err := CheckIdentifier(field+".channels: channel", channel); err != nil {
				return err
			}
		}
		for _, event := range notice.On {
			if !slices.Contains(PolicyEvents, event) {
				return Unknown(field+".on", PolicyEvent(clip(string(event))), PolicyEvents)
			}
		}
	}
	return nil
}

// Check reports what is wrong with the plan.
func (p RolloutPlan) Check() error {
	err := firstError(
		within("rollout.alpha", p.Alpha, 0, 0.5),
		within("rollout.beta", p.Beta, 0, 0.5),
		atLeast("rollout.baseline", p.Baseline, 0),
		oneOf("rollout.on_inconclusive", p.OnInconclusive, InconclusiveRollback, InconclusiveHold, InconclusivePromote),
		oneOf("rollout.on_candidate", p.OnCandidate, CandidateSupersedes, CandidateQueues),
	)
	if err != nil {
		return err
	}
	if p.Baseline > 4096 {
		return Errorf(Invalid, "rollout.baseline is %d requests, want at most 4096", p.Baseline)
	}
	for _, check := range []func() error{p.checkShadow, p.checkStages, p.checkBake, p.checkGuards, p.checkComparison, p.checkMixture} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *RolloutPlan) checkMixture() error {
	m := p.Mixture
	if m == nil {
		return nil
	}
	const most = 8
	if len(m.With) == 0 {
		return missing("rollout.mixture.with").WithHint("name the versions that share the arm, or leave the mixture out")
	}
	if len(m.With) > most {
		return Errorf(Invalid, "rollout.mixture.with has %d items, want at most %d", len(m.With), most)
	}
	if err := oneOf("rollout.mixture.kind", m.Kind, MixtureAverage, MixtureChoose); err != nil {
		return err
	}
	sum := 0
	for i, v := range m.With {
		field := fmt.Sprintf("rollout.mixture.with[%d]", i)
		if err := firstError(atLeast(field+".version", v.Version, 0), percent(field+".share", v.Share, 100)); err != nil {
			return err
		}
		sum += Hundredths(v.Share)
	}
	if sum >= 10_000 {
		return Errorf(Invalid, "rollout.mixture.with leaves the candidate nothing: the shares add up to %g", float64(sum)/100)
	}
	return m.checkReweighing()
}

func (m *MixturePlan) checkReweighing() error {
	r := m.Reweigh
	switch {
	case r == nil:
		return nil
	case !slices.Contains(ReweighingLosses, r.Loss):
		return Errorf(Invalid, "rollout.mixture.reweigh.loss is %q, want one of %s", clip(r.Loss), strings.Join(ReweighingLosses, ", "))
	}
	return firstError(
		atLeast("rollout.mixture.reweigh.window", int64(r.Window), 0),
		atLeast("rollout.mixture.reweigh.minimum_labels", r.MinimumLabels, 0),
		within("rollout.mixture.reweigh.rate", r.Rate, 0, 1e6),
		within("rollout.mixture.reweigh.return", r.Return, 0, 1),
	)
}

func (p *RolloutPlan) checkShadow() error {
	if p.Shadow == nil {
		return nil
	}
	if err := percent("rollout.shadow.mirror", p.Shadow.Mirror, 50); err != nil {
		return err
	}
	return p.Shadow.Limits().check("rollout.shadow")
}

func (p *RolloutPlan) checkStages() error {
	if len(p.Stages) > mostStages {
		return Errorf(Invalid, "rollout.stages has %d items, want at most %d", len(p.Stages), mostStages)
	}
	before := 0.0
	for i, stage := range p.Stages {
		field := fmt.Sprintf("rollout.stages[%d]", i)
		if err := percent(field+".weight", stage.Weight, 100); err != nil {
			return err
		}
		if stage.Weight <= before {
			return Errorf(Invalid, "%s.weight is %g after %g, want more than before", field, stage.Weight, before).
				WithHint("a candidate's share only grows: 5, 25, 50")
		}
		before = stage.Weight
		if err := stage.Limits().check(field); err != nil {
			return err
		}
	}
	return nil
}

func (l StageLimits) check(field string) error {
	most := cmp.Or(l.MaxDuration, defaultMaxDuration)
	err := firstError(
		between(field+".min_duration", l.MinDuration, 0, longestStage),
		between(field+".max_duration", l.MaxDuration, 0, longestStage),
		atLeast(field+".min_requests", l.MinRequests, 0),
	)
	if err == nil && l.MinDuration > most {
		err = Errorf(Invalid, "%s.min_duration %s is more than max_duration %s", field, l.MinDuration.Short(), most.Short())
	}
	return err
}

func (p *RolloutPlan) checkBake() error {
	holdback := 0.0
	if p.Bake.Holdback != nil {
		holdback = *p.Bake.Holdback
	}
	return firstError(
		between("rollout.bake.duration", p.Bake.Duration, 0, longestStage),
		percent("rollout.bake.holdback", holdback, 50),
		percent("rollout.bake.mirror", p.Bake.Mirror, 50),
	)
}

func (p *RolloutPlan) checkGuards() error {
	if len(p.Guards) > mostGuards {
		return Errorf(Invalid, "rollout.guards has %d items, want at most %d", len(p.Guards), mostGuards)
	}
	seen := map[string]bool{}
	for i, guard := range p.Guards {
		field := fmt.Sprintf("rollout.guards[%d]", i)
		if err := guard.check(field); err != nil {
			return err
		}
		if seen[guard.Title()] {
			return Errorf(Invalid, "%s: guard %q is given twice", field, guard.Title()).WithHint("give them names")
		}
		seen[guard.Title()] = true
	}
	return nil
}

func (g Guard) check(field string) error {
	negligible := 0.0
	if g.Negligible != nil {
		negligible = *g.Negligible
	}
	err := firstError(
		required(field+".kind", g.Kind),
		oneOf(field+".kind", g.Kind, GuardKinds...),
		within(field+".margin", g.Margin, 0, math.MaxFloat64),
		within(field+".quantile", g.Quantile, 0, 1),
		within(field+".limit", g.Limit, 0, 1),
		within(field+".negligible", negligible, 0, 1),
		within(field+".scale", g.Scale, 0, math.MaxFloat64),
		oneOf(field+".worse", g.Worse, Higher, Lower, Either),
	)
	switch {
	case err != nil:
		return err
	case g.Kind == GuardMean && g.Value == "":
		return missing(field + ".value").WithHint("name the value whose mean must not get worse: score, loss")
	case g.Kind == GuardMean && (g.Limit != 0 || g.Negligible != nil || g.Quantile != 0):
		return Errorf(Invalid, "%s: limit, negligible and quantile are for errors, latency and score", field)
	case g.Kind == GuardMean && g.Margin >= cmp.Or(g.Scale, 1) && g.Margin != 0:
		return Errorf(Invalid, "%s.margin %g must be less than scale %g", field, g.Margin, cmp.Or(g.Scale, 1)).
			WithHint("scale is the greatest difference of two values")
	case g.Kind != GuardMean && (g.Worse != "" || g.Value != "" || g.Scale != 0):
		return Errorf(Invalid, "%s: value, worse and scale are for a mean", field)
	case g.Kind != GuardMean && g.Margin != 0 && g.Margin <= 1:
		return Errorf(Invalid, "%s.margin is a ratio of %g, want more than 1", field, g.Margin).
			WithHint("1.5 accepts half as many again")
	case g.Quantile == 1 || g.Kind == GuardScore && g.Quantile != 0 && g.Quantile <= 0.5:
		return Errorf(Invalid, "%s.quantile is %g, beyond which there is nothing to count", field, g.Quantile)
	}
	return nil
}

// checkComparison refuses a stage in which nobody could tell whether the candidate is worse.
func (p *RolloutPlan) checkComparison() error {
	limited := slices.ContainsFunc(p.Guards, func(g Guard) bool { return g.Limit > 0 })
	done := p.Completed()
	alone := ""
	if last := len(done.Stages) - 1; done.Stages[last].Weight == 100 {
		alone = fmt.Sprintf("rollout.stages[%d].weight 100", last)
	} else if *done.Bake.Holdback == 0 && done.Bake.Mirror == 0 {
		alone = "rollout.bake without holdback and mirror"
	}
	if alone == "" || limited {
		return nil
	}
	return Errorf(Invalid, "%s leaves nobody to compare the candidate with", alone).
		WithHint("give a guard a limit: guards: [{kind: errors, limit: 0.02}]")
}

const defaultMaxDuration = Duration(24 * time.Hour)

// Completed returns the plan with its defaults filled in. It is what [Rollout.Plan] holds.
func (p RolloutPlan) Completed() RolloutPlan {
	if p.Shadow != nil {
		shadow := *p.Shadow
		shadow.Mirror = orElse(shadow.Mirror, 10)
		completeLimits(&shadow.MinDuration, &shadow.MinRequests, &shadow.MaxDuration)
		p.Shadow = &shadow
	}
	p.Stages = slices.Clone(p.Stages)
	if len(p.Stages) == 0 {
		p.Stages = []CanaryStage{{Weight: 5}, {Weight: 25}, {Weight: 50}}
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		completeLimits(&s.MinDuration, &s.MinRequests, &s.MaxDuration)
	}
	p.Bake.Duration = orElse(p.Bake.Duration, Duration(24*time.Hour))
	if p.Bake.Holdback == nil {
		p.Bake.Holdback = new(5.0)
	}
	p.Guards = slices.Clone(p.Guards)
	if len(p.Guards) == 0 {
		p.Guards = []Guard{{Kind: GuardErrors}, {Kind: GuardLatency}}
	}
	for i := range p.Guards {
		p.Guards[i] = p.Guards[i].completed()
	}
	p.Alpha, p.Beta = orElse(p.Alpha, 0.01), orElse(p.Beta, 0.05)
	p.Baseline = orElse(p.Baseline, 1000)
	p.OnInconclusive = orElse(p.OnInconclusive, InconclusiveRollback)
	p.OnCandidate = orElse(p.OnCandidate, CandidateSupersedes)
	if p.Fallback == nil {
		p.Fallback = new(true)
	}
	return p
}

func completeLimits(least *Duration, requests *int64, most *Duration) {
	*most = orElse(*most, defaultMaxDuration)
	*least = orElse(*least, min(Duration(30*time.Minute), *most))
	*requests = orElse(*requests, 1600)
}

func (g Guard) completed() Guard {
	if g.Kind == GuardMean {
		g.Worse, g.Scale = orElse(g.Worse, Higher), orElse(g.Scale, 1)
		return g
	}
	g.Margin = orElse(g.Margin, 1.5)
	negligible := 0.003
	switch g.Kind {
	case GuardLatency:
		g.Quantile = orElse(g.Quantile, 0.95)
		negligible = (1 - g.Quantile) / 2
	case GuardScore:
		g.Quantile = orElse(g.Quantile, 0.9)
		negligible = 1 - g.Quantile
	}
	if g.Negligible == nil {
		g.Negligible = &negligible
	}
	return g
}

// Check reports what is wrong with the route: weights that are no shares of a whole, arms or
// versions that are missing or given twice.
func (r *Route) Check() error {
	if len(r.Arms) == 0 {
		return missing("arms").WithHint("a route needs at least one arm")
	}
	sum := 0
	var arms []Arm
	for i, arm := range r.Arms {
		field := fmt.Sprintf("arms[%d]", i)
		if err := oneOf(field+".arm", arm.Arm, ArmChampion, ArmCandidate); err != nil {
			return err
		}
		if arm.Arm == "" || slices.Contains(arms, arm.Arm) {
			return Errorf(Invalid, "%s.arm %q is missing or given twice", field, arm.Arm)
		}
		arms = append(arms, arm.Arm)
		if err := percent(field+".weight", arm.Weight, 100); err != nil {
			return err
		}
		sum += Hundredths(arm.Weight)
		if err := arm.checkVersions(field); err != nil {
			return err
		}
	}
	if sum != 10_000 {
		return Errorf(Invalid, "the weights of arms add up to %g, want 100", float64(sum)/100)
	}
	return r.checkAsides(arms)
}

func (r *Route) checkAsides(arms []Arm) error {
	if err := percent("mirror", r.Mirror, 100); err != nil {
		return err
	}
	if r.Mirror > 0 && !slices.Contains(arms, r.MirrorTo) {
		return Errorf(Invalid, "mirror_to %q is no arm of the route", r.MirrorTo)
	}
	for key, arm := range r.Pins {
		if !slices.Contains(arms, arm) {
			return Errorf(Invalid, "pins: key %q is pinned to %q, which is no arm of the route", clip(key), arm)
		}
	}
	return nil
}

func (a *RouteArm) checkVersions(field string) error {
	if len(a.Versions) == 0 {
		return missing(field + ".versions")
	}
	if err := oneOf(field+".mixture", a.Mixture, MixtureAverage, MixtureChoose); err != nil {
		return err
	}
	sum := 0
	for i, v := range a.Versions {
		place := fmt.Sprintf("%s.versions[%d]", field, i)
		if v.Version < 1 {
			return Errorf(Invalid, "%s.version is %d, want at least 1", place, v.Version)
		}
		if slices.ContainsFunc(a.Versions[:i], func(o VersionShare) bool { return o.Version == v.Version }) {
			return Errorf(Invalid, "%s.version %d is given twice", place, v.Version)
		}
		if err := percent(place+".share", v.Share, 100); err != nil {
			return err
		}
		sum += Hundredths(v.Share)
	}
	if len(a.Versions) > 1 && sum != 10_000 {
		return Errorf(Invalid, "the shares of %s.versions add up to %g, want 100", field, float64(sum)/100)
	}
	return nil
}

// Hundredths returns a percentage in hundredths, which is how requests are dealt: 5 % is 500
// of 10,000.
func Hundredths(percent float64) int { return int(math.Round(percent * 100)) }

func percent(field string, v, most float64) error {
	if err := within(field, v, 0, most); err != nil {
		return err
	}
	if math.Abs(v*100-math.Round(v*100)) > 1e-6 {
		return Errorf(Invalid, "%s is %v %%, want whole hundredths", field, v).WithHint("requests are dealt in ten-thousandths: 0.05 is the second smallest share")
	}
	return nil
}

func within(field string, v, low, high float64) error {
	if v >= low && v <= high {
		return nil
	}
	if high == math.MaxFloat64 {
		return Errorf(Invalid, "%s is %v, want a number of at least %g", field, v, low)
	}
	return Errorf(Invalid, "%s is %v, want a number from %g to %g", field, v, low, high)
}

func between(field string, d, low, high Duration) error {
	if d >= low && d <= high {
		return nil
	}
	return Errorf(Invalid, "%s is %s, want from 0 to %s", field, d, high.Short())
}

func atLeast[N int | int64](field string, n, low N) error {
	if n >= low {
		return nil
	}
	return Errorf(Invalid, "%s is %d, want at least %d", field, n, low)
}

// oneOf accepts "" too.
func oneOf[S ~string](field string, v S, known ...S) error {
	if v == "" || slices.Contains(known, v) {
		return nil
	}
	e := Unknown(field, S(clip(string(v))), known)
	e.Code = Invalid
	return e
}

func required[S ~string](field string, v S) error {
	if v == "" {
		return missing(field)
	}
	return nil
}

func missing(field string) *Error { return Errorf(Invalid, "%s is missing", field) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
