package driftline

import "time"

// ModelPerformanceRequest asks how a model does by its prediction log and the labels that are
// known by now: for each version, arm, or segment, window by window.
type ModelPerformanceRequest struct {
	// By are columns of the log: model_version, arm, or a feature or join key that makes segments.
	// Each combination of their values is a group; the 50 with most predictions are measured.
	By []string `json:"by,omitempty"`

	From time.Time `json:"from,omitzero"` // of the predictions, inclusive
	To   time.Time `json:"to,omitzero"`   // exclusive

	// Task is classification, regression or ranking. If empty: classification where there are
	// scores or classes with names, regression otherwise.
	Task   string   `json:"task,omitempty"`
	Group  string   `json:"group,omitempty"` // of a ranking: the column whose equal values make a list
	Window Duration `json:"window,omitzero"` // a day if 0
	Alpha  float64  `json:"alpha,omitempty"` // one minus the confidence of intervals; 0.05 if 0

	// Metrics are metrics of one's own, by name: a SQL aggregate over the columns of the log and
	// label, label_text and labelled_at, such as avg(abs(prediction - label)) FILTER (label > 0). They
	// are computed of the predictions with a label.
	Metrics map[string]string `json:"metrics,omitempty"`

	// Reference is as of [PerformanceRequest]: its columns are called like those of the log, and
	// its truth label.
	Reference DriftSource `json:"reference,omitzero"`
}

// ModelPerformance is how a model does.
type ModelPerformance struct {
	Model  ModelName          `json:"model"`
	Task   string             `json:"task"`
	By     []string           `json:"by"`
	Groups []PerformanceGroup `json:"groups"` // those with most predictions first
	Notes  []string           `json:"notes,omitempty"`
}

// PerformanceGroup is one of the groups that were asked for.
type PerformanceGroup struct {
	Of          map[string]string  `json:"of"` // the value of each column of By; one that is null is left out
	Predictions int64              `json:"predictions"`
	Labelled    int64              `json:"labelled"`
	Report      *PerformanceReport `json:"report,omitempty"` // nil if nothing can be measured, which Error says
	Custom      []CustomMetric     `json:"custom,omitempty"`
	Error       string             `json:"error,omitempty"`
}

// CustomMetric is a metric of one's own in the windows that have labels.
type CustomMetric struct {
	Name    string         `json:"name"`
	Windows []CustomWindow `json:"windows"`
}

// CustomWindow is one window of it. Its interval is that of the jackknife over twenty parts, and
// NaN if there are fewer labels than that.
type CustomWindow struct {
	Start time.Time `json:"start"`
	Interval
}
