package driftline

import "time"

// Label is the truth of a prediction, as somebody came to know it: the ground truth. It is
// of a prediction by its ID, or of those that were made for an entity at a time.
type Label struct {
	Prediction string `json:"prediction_id,omitempty"`

	// Entity has the join keys that the predictions were logged with, all of them. The label is of
	// the predictions made at At, or, with Within, at the newest time from At − Within to At
	// at which there is one.
	Entity map[string]any `json:"entity,omitempty"`
	At     time.Time      `json:"at,omitzero"`
	Within Duration       `json:"within,omitempty"`

	// Label is a number, or a text where classes have names. Nil takes back what was said.
	Label any `json:"label"`

	// Time is when it became known; now if zero. Of several labels of a prediction the one of the
	// greatest time counts, and of these the one that arrived last: a correction.
	Time time.Time `json:"time,omitzero"`

	By string `json:"by,omitempty"` // who or what says so
}

// LabelReceipt is what became of labels that were sent.
type LabelReceipt struct {
	Model     ModelName `json:"model"`
	View      ViewName  `json:"view"` // that has them now
	Labels    int64     `json:"labels"`
	Duplicate bool      `json:"duplicate,omitempty"` // they were sent before, under the same idempotency key
}

// LabelStatus is how many of a model's predictions have a label by now, and how late labels come.
type LabelStatus struct {
	Model ModelName `json:"model"`
	View  ViewName  `json:"view,omitempty"` // "" if there are no labels

	Predictions int64 `json:"predictions"`
	Labelled    int64 `json:"labelled"` // predictions

	Labels     int64 `json:"labels"`     // that stand
	Orphans    int64 `json:"orphans"`    // of these, that wait for a prediction
	Superseded int64 `json:"superseded"` // by a correction, or sent again
	Withdrawn  int64 `json:"withdrawn"`  // taken back
	Early      int64 `json:"early"`      // known before their prediction was made, which is suspicious

	Delay LabelDelay    `json:"delay"`
	Days  []LabelledDay `json:"days"` // of predictions, the newest last; 400 at most
}

// LabelDelay is how long after their prediction labels became known, over the predictions that
// have one: so far, which makes it too short while labels are still to come.
type LabelDelay struct {
	Least  Duration     `json:"least"`
	Median Duration     `json:"median"`
	P90    Duration     `json:"p90"`
	P99    Duration     `json:"p99"`
	Most   Duration     `json:"most"`
	Counts []DelayCount `json:"counts"` // empty ones at either end are left out
}

// DelayCount is how many labels came within a time, but not within the one before.
type DelayCount struct {
	Within Duration `json:"within"` // 0: later than all others
	Labels int64    `json:"labels"`
}

// LabelledDay is a day of predictions, in UTC.
type LabelledDay struct {
	Day         time.Time `json:"day"`
	Predictions int64     `json:"predictions"`
	Labelled    int64     `json:"labelled"`
}
