package driftline

import "time"

// RunStatus is the state of a run. The words are MLflow's.
type RunStatus string

// The states of a run.
const (
	RunRunning  RunStatus = "RUNNING"
	RunFinished RunStatus = "FINISHED"
	RunFailed   RunStatus = "FAILED"
	RunKilled   RunStatus = "KILLED"
)

// Run is one execution of training code: what went in, what came out.
type Run struct {
	ID         RunID             `json:"id"`
	Experiment ExperimentName    `json:"experiment"`
	Name       string            `json:"name,omitempty"`
	Status     RunStatus         `json:"status"`
	Started    time.Time         `json:"started"`
	Ended      time.Time         `json:"ended,omitzero"`
	Params     map[string]string `json:"params,omitempty"`
	Metrics    map[string]Number `json:"metrics,omitempty"` // the last value of each
	Tags       map[string]string `json:"tags,omitempty"`
	Inputs     []Ref             `json:"inputs,omitempty"` // datasets and whatever else it read
	Artifacts  []Artifact        `json:"artifacts,omitempty"`
}

// Ref returns run/id.
func (r *Run) Ref() Ref { return RunRef(r.ID) }

// RunSpec is what a run starts with.
type RunSpec struct {
	Experiment ExperimentName    `json:"experiment"`
	Name       string            `json:"name,omitempty"`
	Params     map[string]string `json:"params,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Inputs     []Ref             `json:"inputs,omitempty"`
}

// RunLog is what a run says while it goes on. A param is set once: the same value
// again is fine, another value is a conflict. All of it is kept, or none.
type RunLog struct {
	Params  map[string]string `json:"params,omitempty"`
	Metrics []Metric          `json:"metrics,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Inputs  []Ref             `json:"inputs,omitempty"`
}

// Metric is one point of a metric's history.
type Metric struct {
	Key   string    `json:"key"`
	Value Number    `json:"value"`
	Step  int64     `json:"step,omitempty"`
	Time  time.Time `json:"time,omitzero"` // when it was measured; the server's now if left out
}

// Artifact is a file that a run keeps. Its bytes are stored once per content.
type Artifact struct {
	Path   string `json:"path"` // the name the run gave it: "model/model.joblib"; a key, never a path on disk
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ModelVersion is one registered model: the artifact of a run under a name.
// Versions count from 1 and are never reused.
type ModelVersion struct {
	Model       ModelName         `json:"model"`
	Version     int               `json:"version"`
	Run         RunID             `json:"run"`
	Artifact    Artifact          `json:"artifact"`
	Created     time.Time         `json:"created"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Aliases     []Alias           `json:"aliases,omitempty"`
}

// Ref returns model/name@version.
func (m *ModelVersion) Ref() Ref { return ModelRef(m.Model, m.Version) }

// ModelSpec is what a model version is registered from.
type ModelSpec struct {
	Model       ModelName         `json:"model"`
	Run         RunID             `json:"run"`
	Artifact    string            `json:"artifact"` // the path that the run logged it under
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// AliasMove points an alias at a model version. It is a compare-and-swap if
// Expect is set: the version that the alias must point at now (0: at none).
type AliasMove struct {
	Version int    `json:"version"`
	Expect  *int   `json:"expect,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// LineageDirection says which way a lineage is walked.
type LineageDirection string

// Up goes to what a thing was made from, Down to what was made from it.
const (
	Up   LineageDirection = "up"
	Down LineageDirection = "down"
)

// Lineage is the part of the graph that was asked for. Edges point from a thing
// to what it was made from.
type Lineage struct {
	Root  Ref           `json:"root"`
	Nodes []LineageNode `json:"nodes"` // in breadth-first order from Root
	Edges []LineageEdge `json:"edges"`
}

// LineageNode is one thing, with the few facts worth showing beside its name.
type LineageNode struct {
	Ref   Ref               `json:"ref"`
	Facts map[string]string `json:"facts,omitempty"` // "rows": "336776"
}

// LineageEdge says that From was made using To.
type LineageEdge struct {
	From Ref    `json:"from"`
	To   Ref    `json:"to"`
	Kind string `json:"kind"` // "trained on", "read snapshot", …
}
