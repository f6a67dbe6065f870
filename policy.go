package driftline

import "time"

// Policy says how a model is kept good: what asks for it to be trained again and how often
// that may happen, what trains it, what a candidate must show before it gets any traffic, how
// it is rolled out, and who is told. A model has one policy at most.
type Policy struct {
	Model ModelName `json:"model"`

	Triggers   []Trigger      `json:"triggers,omitempty"`
	Pacing     Pacing         `json:"pacing,omitzero"`
	Training   *TrainingJob   `json:"training,omitempty"` // nil: triggers are recorded, and nothing is trained
	Evaluation EvaluationGate `json:"evaluation,omitzero"`
	Rollout    RolloutPlan    `json:"rollout,omitzero"`
	Notices    []PolicyNotice `json:"notices,omitempty"`

	Disabled    bool              `json:"disabled,omitempty"` // nothing is triggered; rollouts under way go on
	Description string            `json:"description,omitempty"`
	Owner       string            `json:"owner,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`

	// Version counts the definitions that the policy has had, from 1, and Created is when
	// the first was applied. Both are filled in by the catalogue. A training run and a
	// rollout keep the version that they began under.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
}

// Ref names the version of the policy.
func (p *Policy) Ref() Ref { return PolicyRef(p.Model, p.Version) }

// Trigger is one reason to train: exactly one of its pointers is set.
type Trigger struct {
	Name string `json:"name"`

	Time           *TimeTrigger           `json:"time,omitempty"`
	Performance    *PerformanceTrigger    `json:"performance,omitempty"`
	Data           *DataTrigger           `json:"data,omitempty"`
	Drift          *DriftTrigger          `json:"drift,omitempty"`
	FeatureVersion *FeatureVersionTrigger `json:"feature_version,omitempty"`

	// Since is from when on the policy has a trigger of this name and kind: what happened before
	// is not its to see. It is filled in by the catalogue, and in no JSON.
	Since time.Time `json:"-"`
}

// TriggerKind is what sort of reason a trigger is.
type TriggerKind string

// The kinds of triggers. Each but the last is a field of [Trigger]; a request needs none.
const (
	TriggerTime           TriggerKind = "time"
	TriggerPerformance    TriggerKind = "performance"
	TriggerData           TriggerKind = "data"
	TriggerDrift          TriggerKind = "drift"
	TriggerFeatureVersion TriggerKind = "feature_version"
	TriggerRequest        TriggerKind = "request" // somebody asked
)

// Kind returns the kind of the trigger, or "" if not exactly one is set.
func (t *Trigger) Kind() TriggerKind {
	var found []TriggerKind
	for _, one := range []struct {
		set  bool
		kind TriggerKind
	}{
		{t.Time != nil, TriggerTime}, {t.Performance != nil, TriggerPerformance}, {t.Data != nil, TriggerData},
		{t.Drift != nil, TriggerDrift}, {t.FeatureVersion != nil, TriggerFeatureVersion},
	} {
		if one.set {
			found = append(found, one.kind)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// TimeTrigger asks for training at the times of a cron expression.
type TimeTrigger struct {
	Cron     string  `json:"cron"`                // five fields or a name like @daily, as of [MonitorSchedule]
	TimeZone string  `json:"time_zone,omitempty"` // an IANA name; UTC if left out
	CatchUp  CatchUp `json:"catch_up,omitempty"`  // of times that passed while nobody looked; latest if left out
}

// PerformanceTrigger asks for training when a metric of the champion is worse than it was on
// its reference: by more than Fall, and by more than chance.
type PerformanceTrigger struct {
	Metric        string  `json:"metric"`                   // of package drift/estimate: roc_auc, rmse
	Fall          float64 `json:"fall,omitempty"`           // relative to the reference; 0.05 if 0
	MinimumLabels int64   `json:"minimum_labels,omitempty"` // before anything is said; 200 if 0

	// Alpha is the chance of ever firing, until the champion changes, although nothing got
	// worse; 0.01 if 0.
	Alpha float64 `json:"alpha,omitempty"`
}

// DataTrigger asks for training when a table has grown since the last training that
// succeeded: by Rows, or by Share of what it had then. Where both are set, either is enough.
type DataTrigger struct {
	Source Ref     `json:"source"` // view/weather, dataset/late_departure
	Rows   int64   `json:"rows,omitempty"`
	Share  float64 `json:"share,omitempty"` // 0.2: a fifth more rows
}

// DriftTrigger asks for training when a monitor finds drift. Without Features and Windows it
// is the monitor's alert that counts.
type DriftTrigger struct {
	Monitor MonitorName `json:"monitor"`

	Features int      `json:"features,omitempty"` // so many of Of must have an effect above Limit …
	Of       []string `json:"of,omitempty"`       // all that the monitor compares if empty
	Limit    float64  `json:"limit,omitempty"`    // of the effect; 0: those that the monitor calls drifted
	Windows  int      `json:"windows,omitempty"`  // … in so many windows that follow each other
}

// ByAlert reports whether the monitor's alert counts, and not its windows.
func (d *DriftTrigger) ByAlert() bool { return d.Features == 0 && d.Windows == 0 }

// FeatureVersionTrigger asks for training when a view that a service uses gets a new version.
type FeatureVersionTrigger struct {
	Service ServiceName `json:"service"`
}

// Pacing bounds how often a model is trained, whatever asks for it. A request of a person is
// held to the budget only.
type Pacing struct {
	// Cooldown is how long after a training run ended no other begins; 6 hours if nil. After
	// k failures in a row it is Cooldown·2^k, at most MostBackOff (7 days if 0).
	Cooldown    *Duration `json:"cooldown,omitempty"`
	MostBackOff Duration  `json:"most_back_off,omitempty"`

	// Budget is the most runs that begin within a day; 4 if 0.
	Budget int `json:"budget,omitempty"`
}

// Completed returns the pacing with its defaults filled in.
func (p Pacing) Completed() Pacing {
	if p.Cooldown == nil {
		cooldown := Duration(6 * time.Hour)
		p.Cooldown = &cooldown
	}
	p.MostBackOff = orElse(p.MostBackOff, Duration(7*24*time.Hour))
	p.MostBackOff = max(p.MostBackOff, *p.Cooldown)
	p.Budget = orElse(p.Budget, 4)
	return p
}

// Completed returns the trigger with its defaults filled in.
func (t TimeTrigger) Completed() TimeTrigger {
	t.CatchUp = orElse(t.CatchUp, CatchUpLatest)
	return t
}

// Completed returns the trigger with its defaults filled in.
func (t PerformanceTrigger) Completed() PerformanceTrigger {
	t.Fall, t.MinimumLabels, t.Alpha = orElse(t.Fall, 0.05), orElse(t.MinimumLabels, 200), orElse(t.Alpha, 0.01)
	return t
}

// Completed returns the trigger with its defaults filled in.
func (t DriftTrigger) Completed() DriftTrigger {
	if !t.ByAlert() {
		t.Features, t.Windows = orElse(t.Features, 1), orElse(t.Windows, 1)
	}
	return t
}

// orElse returns v, or other if v is the zero value.
func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// TrainingJob is what trains the model: exactly one of Command, Webhook, Airflow and
// Kubernetes is set. The job is told the model, the run, its fencing token and the dataset, and
// answers by registering a version or by calling back.
type TrainingJob struct {
	Command     []string          `json:"command,omitempty"` // a program of the server's machine and its arguments
	Webhook     *WebhookJob       `json:"webhook,omitempty"`
	Airflow     *AirflowJob       `json:"airflow,omitempty"`
	Kubernetes  *KubernetesJob    `json:"kubernetes,omitempty"`
	Dataset     DatasetName       `json:"dataset,omitempty"`     // is made again from what is known now, and pinned, before each run
	Incremental bool              `json:"incremental,omitempty"` // the dataset has only what came since that of the last run that was any good
	Parameters  map[string]string `json:"parameters,omitempty"`

	// Timeout is after how long a run that has not answered has failed; an hour if 0.
	Timeout Duration `json:"timeout,omitempty"`
}

// WebhookJob is a signed request that begins a training run.
type WebhookJob struct {
	URL    string `json:"url"`
	Secret string `json:"secret,omitempty"` // the name of the secret in the server's settings
}

// AirflowJob is a DAG of Apache Airflow 3.
type AirflowJob struct {
	URL    string `json:"url"`
	DAG    string `json:"dag"`
	Secret string `json:"secret,omitempty"` // the name of the secret in the server's settings
}

// KubernetesJob is a Job that is created from a manifest.
type KubernetesJob struct {
	Namespace string   `json:"namespace,omitempty"` // "default" if left out
	Image     string   `json:"image"`
	Command   []string `json:"command,omitempty"`
}

// PolicyNotice says who is told of what.
type PolicyNotice struct {
	Channels []string      `json:"channels"`     // by their names in the server's settings
	On       []PolicyEvent `json:"on,omitempty"` // everything if empty
}

// PolicyEvent is what a policy can tell of.
type PolicyEvent string

// What policies tell of.
const (
	EventTrainingStarted   PolicyEvent = "training_started"
	EventTrainingEnded     PolicyEvent = "training_ended"
	EventTrainingFailed    PolicyEvent = "training_failed"
	EventTriggerSuppressed PolicyEvent = "trigger_suppressed"
	EventCandidateRejected PolicyEvent = "candidate_rejected"
	EventStarted           PolicyEvent = "rollout_started"
	EventAdvanced          PolicyEvent = "rollout_advanced"
	EventWaiting           PolicyEvent = "rollout_waiting" // for somebody, or for evidence beyond its time
	EventPromoted          PolicyEvent = "rollout_promoted"
	EventRolledBack        PolicyEvent = "rollout_rolled_back"
	EventFailed            PolicyEvent = "rollout_failed"
	EventBlind             PolicyEvent = "rollout_blind" // we cannot see what the model does; it is ours to mend
	EventSuperseded        PolicyEvent = "rollout_superseded"
	EventPaused            PolicyEvent = "rollout_paused"
	EventResumed           PolicyEvent = "rollout_resumed"
)

// PolicyEvents lists those that a policy may name.
var PolicyEvents = []PolicyEvent{
	EventTrainingStarted, EventTrainingEnded, EventTrainingFailed, EventTriggerSuppressed, EventCandidateRejected,
	EventStarted, EventAdvanced, EventWaiting, EventPromoted, EventRolledBack,
	EventFailed, EventBlind, EventSuperseded, EventPaused, EventResumed,
}
