package driftline

// DetectOptions say how a stream of numbers is watched for a change.
type DetectOptions struct {
	Column string `json:"column,omitempty"` // numbers or booleans; the only column if empty

	// Detector is a kind of package drift/detect; "scan" if empty.
	Detector string `json:"detector,omitempty"`

	// Parameters of the kind that are not to have their defaults.
	Parameters map[string]float64 `json:"parameters,omitempty"`
}

// DetectReport is where a stream changed.
type DetectReport struct {
	Source     string             `json:"source,omitempty"`
	Column     string             `json:"column"`
	Detector   string             `json:"detector"`
	Parameters map[string]float64 `json:"parameters"` // all of the kind
	Rows       int64              `json:"rows"`
	Missing    int64              `json:"missing"` // null or not finite: left out
	Changes    []StreamChange     `json:"changes"`
}

// StreamChange is an alarm of a detector.
type StreamChange struct {
	Row   int64 `json:"row"`   // at which it was found, from 0
	Since int64 `json:"since"` // the row from which on the stream most likely was another; Row if the detector does not say
}
