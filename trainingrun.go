package driftline

import "time"

// Cause is one reason to train a model: something that one of its triggers saw, or a request.
type Cause struct {
	Trigger string      `json:"trigger,omitempty"` // its name; "" for a request
	Kind    TriggerKind `json:"kind"`

	// Bucket is what it saw, so that seeing it again is no other reason: the time of a cron
	// slot, a window, an alert, a snapshot, a version, the key of a request.
	Bucket string `json:"bucket"`

	// Fingerprint is a hash of the model, the trigger and the bucket. A training run is begun for
	// it once.
	Fingerprint string `json:"fingerprint"`

	Time    time.Time `json:"time"`
	Summary string    `json:"summary"`      // in a sentence, for people
	By      string    `json:"by,omitempty"` // who asked
}

// TrainingRun is one execution of a policy's training job.
type TrainingRun struct {
	ID     TrainingID    `json:"id"` // the model's name and a number
	Model  ModelName     `json:"model"`
	Policy int           `json:"policy"` // the version that it began under, and keeps
	State  TrainingState `json:"state"`

	Causes     []Cause `json:"causes"` // the first of them
	CauseCount int64   `json:"cause_count"`

	// Data names what it is trained on: dataset, snapshots, code, parameters. It is known once the
	// run is about to begin.
	Data string `json:"data,omitempty"`

	// Dataset is what it was given to train on, made for it and pinned; the zero Ref: none.
	Dataset Ref `json:"dataset,omitzero"`

	// Sources are how many rows the tables of its policy's data triggers had when it began.
	Sources map[string]int64 `json:"sources,omitempty"`

	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before,omitzero"` // of a run that waits
	Started   time.Time `json:"started,omitzero"`
	Deadline  time.Time `json:"deadline,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`

	Attempts int    `json:"attempts,omitempty"` // how often somebody took it on
	Lease    *Lease `json:"lease,omitempty"`    // of who is at it

	Candidate int    `json:"candidate,omitempty"` // the version that it made
	Reason    string `json:"reason,omitempty"`    // why it failed, or was cancelled or rejected

	// Next is what is done with its candidate, Rollout the rollout that came of it, and Note what
	// became of it so far, for people.
	Next    TrainingNext `json:"next,omitempty"`
	Rollout RolloutID    `json:"rollout,omitempty"`
	Note    string       `json:"note,omitempty"`

	Failures int `json:"failures,omitempty"` // in a row before it, of a run that succeeded

	// Result is a hash of what was reported, and Token of whose report it was, so that a report
	// that comes twice is told from another one.
	Result string `json:"result,omitempty"`
	Token  uint64 `json:"token,omitempty"`
}

// Ref names the run.
func (t *TrainingRun) Ref() Ref { return TrainingRef(t.ID) }

// TrainingState is how far a training run is.
type TrainingState string

// The states. A run that succeeded may yet be rejected, by the evaluation or in its rollout.
const (
	TrainingQueued    TrainingState = "queued"
	TrainingRunning   TrainingState = "running"
	TrainingSucceeded TrainingState = "succeeded"
	TrainingFailed    TrainingState = "failed"
	TrainingTimedOut  TrainingState = "timed_out"
	TrainingCancelled TrainingState = "cancelled"
	TrainingRejected  TrainingState = "rejected"
)

// TrainingNext is what is to be done with the candidate of a run that succeeded.
type TrainingNext string

// What is done, one after the other.
const (
	NextEvaluate TrainingNext = "evaluate"
	NextRollOut  TrainingNext = "roll_out"
	NextAwait    TrainingNext = "await_rollout"
	NextDone     TrainingNext = "done"
)

// Ended reports whether nothing happens any more in a state by itself.
func (s TrainingState) Ended() bool { return s != TrainingQueued && s != TrainingRunning }

// Lease is the right to execute a run, for a time. What is reported under an older token is
// refused.
type Lease struct {
	Owner   string    `json:"owner"`
	Token   uint64    `json:"token"` // greater than that of every earlier lease of the model
	Expires time.Time `json:"expires"`
}

// TrainingResult is what a training job reports.
type TrainingResult struct {
	Succeeded bool   `json:"succeeded"`
	Candidate int    `json:"candidate,omitempty"` // the version that it registered
	Rows      int64  `json:"rows,omitempty"`      // that it was trained on
	Error     string `json:"error,omitempty"`

	// SHA256 is the hash of the file that the candidate is; "" is not compared.
	SHA256 string `json:"sha256,omitempty"`
}

// TrainingReport is a result with whose it is: the token of the lease under which the run is
// executed.
type TrainingReport struct {
	Token  uint64 `json:"token"`
	Secret string `json:"secret,omitempty"` // of the job's environment; who calls the server must have it
	TrainingResult
}

// TrainingRequest asks for a training run.
type TrainingRequest struct {
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// TrainingAnswer is what a request led to. Deduplicated says that the same request came before.
type TrainingAnswer struct {
	Run          TrainingRun `json:"run"`
	Deduplicated bool        `json:"deduplicated"`
}

// SuppressionReason is why a cause led to no training run.
type SuppressionReason string

// The reasons.
const (
	SuppressedDisabled   SuppressionReason = "disabled"
	SuppressedNoJob      SuppressionReason = "no_training_job"
	SuppressedCooldown   SuppressionReason = "cooldown"
	SuppressedBackOff    SuppressionReason = "back_off"
	SuppressedBudget     SuppressionReason = "budget"
	SuppressedNothingNew SuppressionReason = "nothing_new"
	SuppressedNotRearmed SuppressionReason = "not_rearmed" // it has fired, and what it saw is not over
	SuppressedFewLabels  SuppressionReason = "too_few_labels"
)

// Suppression is a cause that led to no training run.
type Suppression struct {
	Model  ModelName         `json:"model"`
	Cause  Cause             `json:"cause"`
	Time   time.Time         `json:"time"`
	Reason SuppressionReason `json:"reason"`
	Detail string            `json:"detail"` // in a sentence, for people

	// Next is when such a cause would be listened to; the zero time: that is no matter of time.
	Next time.Time `json:"next,omitzero"`
}

// PolicyState is where the training of a model stands.
type PolicyState struct {
	Model    ModelName `json:"model"`
	Sequence uint64    `json:"seq"`  // of its changes, and where tokens come from
	Runs     int       `json:"runs"` // how many there were

	Active *TrainingRun `json:"active,omitempty"`
	Queued *TrainingRun `json:"queued,omitempty"` // that follows the active one
	Last   *TrainingRun `json:"last,omitempty"`   // that ended

	Failures int         `json:"failures,omitempty"` // in a row, rejections among them
	Begun    []time.Time `json:"begun,omitempty"`    // when the runs of the last day began

	// Tried are the runs that came to nothing, the newest last, so that the same is not tried
	// again; Trained is the last that came to something.
	Tried   []TriedData  `json:"tried,omitempty"`
	Trained *TrainedData `json:"trained,omitempty"`

	Champion int `json:"champion,omitempty"` // the version that was champion when somebody last looked

	Triggers   map[string]TriggerState `json:"triggers,omitempty"`   // by name
	Suppressed []Suppression           `json:"suppressed,omitempty"` // the last of them, the newest last
}

// PolicyStatus is a policy with where the training of its model stands.
type PolicyStatus struct {
	Policy Policy      `json:"policy"`
	State  PolicyState `json:"state"`

	// Next is when the policy is looked at again without anything having happened: the next
	// time of a trigger, a run that may begin, or one that is late. It is zero if that is never.
	Next time.Time `json:"next,omitzero"`

	// Eligible is when its pacing lets another run begin; zero: now.
	Eligible time.Time `json:"eligible,omitzero"`
}

// TriedData is what a run was trained on that came to nothing.
type TriedData struct {
	Data string        `json:"data"`
	Run  TrainingID    `json:"run"`
	End  TrainingState `json:"end"`
}

// TrainedData is what the last run was trained on that came to something.
type TrainedData struct {
	Run  TrainingID `json:"run"`
	Data string     `json:"data"`
	Time time.Time  `json:"time"` // when it began
	Rows int64      `json:"rows,omitempty"`

	Sources map[string]int64 `json:"sources,omitempty"` // rows of the tables of data triggers then
}

// TriggerState is what a trigger remembers.
type TriggerState struct {
	Slot time.Time `json:"slot,omitzero"` // the last time of its cron that was dealt with

	// Fewest is how many rows the table of a data trigger had at least since the run Counted began: rows
	// that go do not hide those that come.
	Fewest  int64      `json:"fewest,omitempty"`
	Counted TrainingID `json:"counted,omitempty"`

	// Disarmed says that it has fired, and does not again until what it saw is over or there
	// is another champion.
	Disarmed bool `json:"disarmed,omitempty"`

	Seen []ViewName `json:"seen,omitempty"` // versions of views that are no news

	Windows int       `json:"windows,omitempty"` // that drifted, up to the last one
	Through time.Time `json:"through,omitzero"`  // the end of the last window

	Metrics []MetricWindow `json:"metrics,omitempty"` // of the present champion, the newest last
	Dropped int            `json:"dropped,omitempty"` // older ones
}

// MetricWindow is a metric of the champion in a window of its predictions.
type MetricWindow struct {
	End    time.Time `json:"end"`
	Value  float64   `json:"value"`
	Error  float64   `json:"error"` // the standard error
	Labels int64     `json:"labels"`
}
