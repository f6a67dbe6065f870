package driftline

import "time"

// Timeline is what happened to a model and what was done about it, in the order of time.
type Timeline struct {
	Model ModelName `json:"model"`
	Since time.Time `json:"since,omitzero"` // what was over before is left out
	Until time.Time `json:"until"`          // when it was read

	// Monitors are those whose results and alerts it has: of the model's prediction log and labels, of
	// what its champion and its newest version were trained on, and of its policy's triggers.
	Monitors []MonitorName `json:"monitors"`

	Events []TimelineEvent `json:"events"` // the oldest first

	// Older says that there were more, of before the first event.
	Older bool `json:"older,omitempty"`
}

// TimelineKind is what sort of thing happened.
type TimelineKind string

// The kinds. Of each, State is one of the words that its kind of thing has.
const (
	TimelinePolicy      TimelineKind = "policy"      // the model's policy was applied or deleted
	TimelineMonitor     TimelineKind = "monitor"     // a monitor was applied, or paused, resumed or snoozed
	TimelineGate        TimelineKind = "gate"        // what a version must have before an alias or a stage: "set" or "taken away"
	TimelineDrift       TimelineKind = "drift"       // a pane of a monitor that drifted or could not be compared: its outcome
	TimelineAlert       TimelineKind = "alert"       // an episode: its state
	TimelineSuppression TimelineKind = "suppression" // a cause that led to no training run: the reason
	TimelineTraining    TimelineKind = "training"    // a training run: its state
	TimelineVersion     TimelineKind = "version"     // a version was registered: "registered"
	TimelineEvaluation  TimelineKind = "evaluation"  // of a version: its outcome
	TimelineRollout     TimelineKind = "rollout"     // of a version: its phase
	TimelineAlias       TimelineKind = "alias"       // an alias moved: "moved", "removed" or "rolled back"
	TimelineStage       TimelineKind = "stage"       // a version changed its stage: the new one
	TimelineNotice      TimelineKind = "notice"      // somebody is told: its state
)

// TimelineKinds lists all of them, in the order in which one leads to another.
var TimelineKinds = []TimelineKind{
	TimelinePolicy, TimelineMonitor, TimelineGate, TimelineDrift, TimelineAlert, TimelineSuppression, TimelineTraining, TimelineVersion,
	TimelineEvaluation, TimelineRollout, TimelineAlias, TimelineStage, TimelineNotice,
}

// TimelineEvent is one thing that happened.
type TimelineEvent struct {
	Kind TimelineKind `json:"kind"`
	Time time.Time    `json:"time"`           // when it began
	End  time.Time    `json:"end,omitzero"`   // when it was over; zero also of what takes no time
	Open bool         `json:"open,omitempty"` // it takes time, and is not over

	Ref     Ref    `json:"ref"` // what it happened to, or what came of it
	State   string `json:"state"`
	Text    string `json:"text"`              // in a sentence, for people
	By      string `json:"by,omitempty"`      // who did it; "" if nobody did
	Because []Ref  `json:"because,omitempty"` // what led to it
	Trouble bool   `json:"trouble,omitempty"` // it went wrong, or says that something does

	Version int    `json:"version,omitempty"` // of the model, that it is about
	Alias   Alias  `json:"alias,omitempty"`   // that moved
	Channel string `json:"channel,omitempty"` // of a notice

	// Monitor, and the pane that drifted.
	Monitor   MonitorName `json:"monitor,omitempty"`
	PaneStart time.Time   `json:"pane_start,omitzero"`
	PaneEnd   time.Time   `json:"pane_end,omitzero"`

	Steps []TimelineStep `json:"steps,omitempty"` // of a rollout, the oldest first
}

// TimelineStep is from when on a rollout was in a phase, and what share the candidate had.
type TimelineStep struct {
	Time   time.Time    `json:"time"`
	Phase  RolloutPhase `json:"phase"`
	Weight float64      `json:"weight"` // percent of the requests
	Reason string       `json:"reason,omitempty"`
}
