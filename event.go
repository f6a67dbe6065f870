package driftline

import (
	"strings"
	"time"
)

// Event is something that happened to what models are watched, trained and rolled out by: a
// line of the ledger, by whose number events are told apart for ever.
type Event struct {
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // one of [EventKinds]
	Ref      Ref       `json:"ref"`  // what it happened to

	Model   ModelName   `json:"model,omitempty"`   // "" of a monitor's, which may be of several
	Monitor MonitorName `json:"monitor,omitempty"` // whose pane or alert it is

	// State is what it is now, in a word: of an alert firing, of a rollout canary.
	State string `json:"state"`
	By    string `json:"by,omitempty"`
	Text  string `json:"text"` // in a sentence, for people

	Because []Ref `json:"because,omitempty"` // what it was made from
}

// EventKinds are the kinds of events. Kinds are added, never renamed.
var EventKinds = []string{
	"alert.changed", "pane.evaluated", "monitor.applied", "monitor.changed", "policy.applied", "policy.deleted", "trigger.suppressed", "training.changed",
	"model.registered", "model.evaluated", "model_version.staged", "alias.moved", "rollout.changed", "validation.run", "notice.settled", "view.checked",
}

// EventFilter says which events are wanted. The zero filter wants all.
type EventFilter struct {
	Model ModelName // of it, and of the monitors that see it
	Kinds []string  // kinds, or what stands before their dot: alert
}

// Check reports a kind that there is not.
func (f *EventFilter) Check() error {
	for _, wanted := range f.Kinds {
		known := false
		for _, kind := range EventKinds {
			known = known || covers(wanted, kind)
		}
		if !known {
			return Unknown("kind of event", clip(wanted), EventKinds)
		}
	}
	return nil
}

// Wants reports whether events of a kind are wanted.
func (f *EventFilter) Wants(kind string) bool {
	for _, wanted := range f.Kinds {
		if covers(wanted, kind) {
			return true
		}
	}
	return len(f.Kinds) == 0
}

func covers(wanted, kind string) bool {
	return wanted == kind || strings.HasPrefix(kind, wanted+".")
}
