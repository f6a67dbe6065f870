package driftline

import "time"

// Alert is an episode of a monitor: from the pane whose drift raised it to the one that
// ended it. An episode has one alert however many panes drift in it.
type Alert struct {
	ID       AlertID     `json:"id"` // the monitor's name and a number
	Monitor  MonitorName `json:"monitor"`
	Version  int         `json:"version"` // of the monitor's definition when it was raised
	Severity Severity    `json:"severity"`
	State    AlertState  `json:"state"`

	Raised   time.Time `json:"raised"`
	Resolved time.Time `json:"resolved,omitzero"`

	// ResolvedBy is who ended it; "" if drift did.
	ResolvedBy string `json:"resolved_by,omitempty"`

	From  time.Time `json:"from"`  // start of the pane that raised it
	To    time.Time `json:"to"`    // end of the last pane that drifted
	Panes int       `json:"panes"` // that drifted while it was open

	Summary string        `json:"summary"`           // of the last pane that drifted, for people
	Columns []DriftColumn `json:"columns,omitempty"` // likewise
	Slices  []DriftSlice  `json:"slices,omitempty"`  // likewise
	Pane    uint64        `json:"pane"`              // likewise: the ledger line of its evaluation

	Acknowledged   time.Time `json:"acknowledged,omitzero"`
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	Comment        string    `json:"comment,omitempty"` // the last that somebody made
	SnoozedUntil   time.Time `json:"snoozed_until,omitzero"`

	// Remedies are what could be done about it now; only one alert that fires has them, and no list.
	Remedies []Remedy `json:"remedies,omitempty"`

	// Channels are those that were told that it was raised, and will be told of its end.
	Channels []string `json:"channels,omitempty"`
}

// Ref names the alert.
func (a *Alert) Ref() Ref { return AlertRef(a.ID) }

// Remedy is something that could be done about an alert as things are: what could not be done is
// not among the remedies.
type Remedy struct {
	Action  RemedyAction `json:"action"`
	Model   ModelName    `json:"model,omitempty"` // that it is done to; "" if it is to the monitor or the alert
	Text    string       `json:"text"`            // in a sentence, for people
	Command string       `json:"command"`         // that does it
}

// RemedyAction is what is done about an alert.
type RemedyAction string

// The actions.
const (
	RemedyRetrain     RemedyAction = "retrain"      // the model, as its policy says
	RemedyRollBack    RemedyAction = "roll_back"    // the model, to the champion before
	RemedyLabel       RemedyAction = "label"        // ask for labels of the model's predictions since the drift
	RemedyReReference RemedyAction = "re_reference" // compare with the rows that drifted from now on, and end the alert
	RemedySnooze      RemedyAction = "snooze"       // keep quiet about it for a day
	RemedyIgnore      RemedyAction = "ignore"       // end the alert; the next drift begins another
)

// RemedyActions lists all of them.
var RemedyActions = []RemedyAction{RemedyRetrain, RemedyRollBack, RemedyLabel, RemedyReReference, RemedySnooze, RemedyIgnore}

// RemedyRequest says who does what about an alert.
type RemedyRequest struct {
	Model  ModelName `json:"model,omitempty"` // needed only where several could be meant
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// RemedyDone is what came of a remedy.
type RemedyDone struct {
	Remedy Remedy `json:"remedy"`
	Ref    Ref    `json:"ref"`  // what it led to: a training run, a model's version, a dataset, a monitor or the alert
	Text   string `json:"text"` // in a sentence, for people
}

// AlertState says whether an alert's episode goes on.
type AlertState string

// The states of an alert.
const (
	AlertFiring   AlertState = "firing"
	AlertResolved AlertState = "resolved"
)

// AlertChange is what a person does to an alert.
type AlertChange struct {
	By      string    `json:"by,omitempty"`
	Comment string    `json:"comment,omitempty"`
	Until   time.Time `json:"until,omitzero"` // of a snooze
}

// Notice is one message to one channel. It is delivered at least once: a receiver that
// saw its ID before may drop it.
type Notice struct {
	ID      string    `json:"id"`
	Channel string    `json:"channel"`
	Created time.Time `json:"created"`

	// Of an alert: that it fires, or is resolved, and the monitor's definition then.
	Kind    AlertState `json:"kind,omitempty"`
	Alert   Alert      `json:"alert,omitzero"`
	Monitor Monitor    `json:"monitor,omitzero"`

	// Happening is what a model's training or rollout, or a check, tells in place of an alert.
	Happening *Happening `json:"happening,omitempty"`

	State    NoticeState `json:"state"`
	Attempts int         `json:"attempts"`
	Next     time.Time   `json:"next,omitzero"`   // when it is tried again
	Error    string      `json:"error,omitempty"` // of the last attempt
	Settled  time.Time   `json:"settled,omitzero"`
}

// Ref names what the notice is about.
func (n *Notice) Ref() Ref {
	if n.Happening != nil {
		return n.Happening.Ref
	}
	return n.Alert.Ref()
}

// Happening is something that a model's policy, training or rollout tells of, or the check of a view.
type Happening struct {
	Event PolicyEvent `json:"event"`
	Model ModelName   `json:"model,omitempty"` // "" of a view
	Ref   Ref         `json:"ref"`             // the rollout, the training run, the policy or the view
	Text  string      `json:"text"`
	Time  time.Time   `json:"time"`
}

// Trouble reports whether somebody should look at it soon.
func (h *Happening) Trouble() bool {
	switch h.Event {
	case EventTrainingFailed, EventCandidateRejected, EventWaiting, EventRolledBack, EventFailed, EventBlind, EventStoresDiffer:
		return true
	}
	return false
}

// Subject is what the happening is about: the model if there is one.
func (h *Happening) Subject() string {
	if h.Model != "" {
		return string(h.Model)
	}
	return h.Ref.String()
}

// NoticeState is how far a notice is.
type NoticeState string

// The states of a notice.
const (
	NoticePending   NoticeState = "pending"
	NoticeDelivered NoticeState = "delivered"
	NoticeDead      NoticeState = "dead" // given up; retried by command only
)
