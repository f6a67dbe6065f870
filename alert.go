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

	// Channels are those that were told that it was raised, and will be told of its end.
	Channels []string `json:"channels,omitempty"`
}

// Ref names the alert.
func (a *Alert) Ref() Ref { return AlertRef(a.ID) }

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
	ID      string     `json:"id"`
	Channel string     `json:"channel"`
	Kind    AlertState `json:"kind"` // what it tells: that the alert fires, or is resolved
	Alert   Alert      `json:"alert"`
	Monitor Monitor    `json:"monitor"` // its definition then
	Created time.Time  `json:"created"`

	State    NoticeState `json:"state"`
	Attempts int         `json:"attempts"`
	Next     time.Time   `json:"next,omitzero"`   // when it is tried again
	Error    string      `json:"error,omitempty"` // of the last attempt
	Settled  time.Time   `json:"settled,omitzero"`
}

// NoticeState is how far a notice is.
type NoticeState string

// The states of a notice.
const (
	NoticePending   NoticeState = "pending"
	NoticeDelivered NoticeState = "delivered"
	NoticeDead      NoticeState = "dead" // given up; retried by command only
)
