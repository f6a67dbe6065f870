package driftline

import "time"

// RunStatus is the state of a run. The words are MLflow's.
type RunStatus string

// The states of a run.
const (
	RunRunning   RunStatus = "RUNNING"
	RunScheduled RunStatus = "SCHEDULED"
	RunFinished  RunStatus = "FINISHED"
	RunFailed    RunStatus = "FAILED"
	RunKilled    RunStatus = "KILLED"
)

// RunStatuses lists the states of a run, in the order of MLflow's numbers, from 1.
var RunStatuses = []RunStatus{RunRunning, RunScheduled, RunFinished, RunFailed, RunKilled}

// Ended reports whether the state is an end.
func (s RunStatus) Ended() bool { return s == RunFinished || s == RunFailed || s == RunKilled }

// DefaultExperiment is the id of the experiment that every ledger has from its start,
// named "Default".
const DefaultExperiment ExperimentID = "0"

// Experiment is a group of runs. Its id stays when it is renamed.
type Experiment struct {
	ID   ExperimentID   `json:"id"`
	Name ExperimentName `json:"name"`
	// ArtifactLocation is where its runs' files go: "" for this server, or an address
	// that only clients read.
	ArtifactLocation string            `json:"artifact_location,omitempty"`
	Deleted          bool              `json:"deleted,omitempty"` // and its runs with it; its name stays taken
	Created          time.Time         `json:"created,omitzero"`
	Updated          time.Time         `json:"updated,omitzero"`
	Tags             map[string]string `json:"tags,omitempty"`
	Runs             int               `json:"runs"`          // how many, deleted ones too
	Last             time.Time         `json:"last,omitzero"` // when the run that was created last started
}

// Ref returns experiment/id.
func (e *Experiment) Ref() Ref { return ExperimentRef(e.ID) }

// ExperimentSpec is what an experiment begins with.
type ExperimentSpec struct {
	Name             ExperimentName    `json:"name"`
	ArtifactLocation string            `json:"artifact_location,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
}

// Run is one execution of training code: what went in, what came out.
type Run struct {
	ID           RunID             `json:"id"`
	Experiment   ExperimentName    `json:"experiment"`
	ExperimentID ExperimentID      `json:"experiment_id"`
	Name         string            `json:"name,omitempty"`
	User         string            `json:"user,omitempty"`
	Status       RunStatus         `json:"status"`
	Reason       string            `json:"reason,omitempty"`    // why it is so, where that is not its own word: "lost: …"
	Heartbeat    Duration          `json:"heartbeat,omitempty"` // it promised a sign of life so often
	Fork         *RunFork          `json:"fork,omitempty"`      // where it began, if not from nothing
	Deleted      bool              `json:"deleted,omitempty"`   // itself, or its experiment
	Started      time.Time         `json:"started"`
	Ended        time.Time         `json:"ended,omitzero"`
	Params       map[string]string `json:"params,omitempty"`
	Metrics      map[string]Number `json:"metrics,omitempty"`   // the last value of each
	LastStep     int64             `json:"last_step,omitempty"` // the greatest of its metrics, but for SystemMetrics
	Last         []Metric          `json:"-"`                   // the last point of each, by key
	Tags         map[string]string `json:"tags,omitempty"`
	Inputs       []Ref             `json:"inputs,omitempty"` // datasets and whatever else it read
	Artifacts    []Artifact        `json:"artifacts,omitempty"`
	Datasets     []DatasetInput    `json:"datasets,omitempty"` // data from elsewhere that it read
	ModelInputs  []string          `json:"model_inputs,omitempty"`
	ModelOutputs []ModelOutput     `json:"model_outputs,omitempty"`
}

// SystemMetrics begins the names of metrics that measure the machine: "system/cpu_utilization_percentage".
// Their steps count measures, and have nothing to do with the run's.
const SystemMetrics = "system/"

// Ref returns run/id.
func (r *Run) Ref() Ref { return RunRef(r.ID) }

// DatasetInput is data that a run read and that Driftline does not hold: what the run's
// client says of it. Name and digest identify it within an experiment.
type DatasetInput struct {
	Name       string            `json:"name"`
	Digest     string            `json:"digest"`
	SourceType string            `json:"source_type,omitempty"`
	Source     string            `json:"source,omitempty"`
	Schema     string            `json:"schema,omitempty"`
	Profile    string            `json:"profile,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"` // of this use of it
}

// ModelOutput is a logged model that a run made, at a step.
type ModelOutput struct {
	Model string `json:"model"`
	Step  int64  `json:"step,omitempty"`
}

// RunFork is a point of another run from which a run goes on: it begins with that run's
// params, and with the points of its metrics up to a step.
type RunFork struct {
	Run  RunID `json:"run"`
	Step int64 `json:"step"` // the last one that is taken over
}

// RunSpec is what a run starts with. Its experiment is named or, if ExperimentID is set,
// identified; a name that is new makes an experiment.
type RunSpec struct {
	ID           RunID             `json:"id,omitempty"` // chosen by the client; made from the experiment's name if left out
	Experiment   ExperimentName    `json:"experiment,omitempty"`
	ExperimentID ExperimentID      `json:"experiment_id,omitempty"`
	Name         string            `json:"name,omitempty"`
	User         string            `json:"user,omitempty"`
	Started      time.Time         `json:"started,omitzero"` // now if left out
	Params       map[string]string `json:"params,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Inputs       []Ref             `json:"inputs,omitempty"`

	// Heartbeat is a promise of a sign of life at least so often: something that is
	// logged, or a heartbeat. A run that breaks it is ended as FAILED, with the reason
	// "lost", and runs again once it speaks. 0 promises nothing.
	Heartbeat Duration `json:"heartbeat,omitempty"`
	Fork      *RunFork `json:"fork,omitempty"`
}

// RunCleanup says which of the runs, logged models and experiments that were deleted are
// removed for good: their metrics, files and places in every list. Their lines stay in the
// ledger, and registered versions keep their files.
type RunCleanup struct {
	Runs        []RunID        `json:"runs,omitempty"`        // only these, and the logged models that they made
	Experiments []ExperimentID `json:"experiments,omitempty"` // only what is in these
	OlderThan   Duration       `json:"older_than,omitempty"`  // only what was deleted so long ago
	DryRun      bool           `json:"dry_run,omitempty"`     // says what would be removed, and removes nothing
	By          string         `json:"by,omitempty"`
	Reason      string         `json:"reason,omitempty"`
}

// RunsRemoved is what a [RunCleanup] removed, or would remove.
type RunsRemoved struct {
	Experiments  []ExperimentID  `json:"experiments"`
	Runs         []RunID         `json:"runs"`
	LoggedModels []LoggedModelID `json:"logged_models"`
}

// RunLog is what a run says while it goes on. A param is set once: the same value
// again is fine, another value is a conflict. All of it is kept, or none.
type RunLog struct {
	Name         string            `json:"name,omitempty"` // another name; "" leaves it
	Params       map[string]string `json:"params,omitempty"`
	Metrics      []Metric          `json:"metrics,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Inputs       []Ref             `json:"inputs,omitempty"`
	Datasets     []DatasetInput    `json:"datasets,omitempty"`
	ModelInputs  []string          `json:"model_inputs,omitempty"`
	ModelOutputs []ModelOutput     `json:"model_outputs,omitempty"`
}

// RunSearch is a search for runs: MLflow's filters and orders, and more of them.
type RunSearch struct {
	Experiments []ExperimentName `json:"experiments,omitempty"` // all if there is none
	Filter      string           `json:"filter,omitempty"`      // metrics.auc > 0.7 AND params.depth > 6
	OrderBy     []string         `json:"order_by,omitempty"`    // metrics.auc DESC; the newest first if left out
	Deleted     bool             `json:"deleted,omitempty"`     // deleted runs in place of the others
	Limit       int              `json:"limit,omitempty"`       // 1,000 if left out
	Offset      int              `json:"offset,omitempty"`
}

// RunPage is a part of a list of runs, the newest first.
type RunPage struct {
	Runs []Run  `json:"runs"`
	Next string `json:"next,omitempty"` // to be given as after for those that follow; "" if there are none
}

// FoundRuns is a page of the runs that a search finds.
type FoundRuns struct {
	Runs  []Run `json:"runs"`
	More  bool  `json:"more,omitempty"` // there are more after these
	Total int   `json:"total"`          // how many there are, on all pages
}

// RunKeys are the keys of params, metrics and tags that runs have: the columns of a table of
// them, each by key.
type RunKeys struct {
	Params  []RunKey `json:"params"`
	Metrics []RunKey `json:"metrics"`
	Tags    []RunKey `json:"tags"`
}

// RunKey is a key, and how many runs have it.
type RunKey struct {
	Key  string `json:"key"`
	Runs int    `json:"runs"`
}

// RunChange changes what a run says of itself. What is left out stays.
type RunChange struct {
	Status RunStatus `json:"status,omitempty"`
	Ended  time.Time `json:"ended,omitzero"`
	Name   string    `json:"name,omitempty"`
}

// Metric is one point of a metric's history.
type Metric struct {
	Key   string    `json:"key"`
	Value Number    `json:"value"`
	Step  int64     `json:"step,omitempty"`
	Time  time.Time `json:"time,omitzero"` // when it was measured; the server's now if left out

	// Model is the logged model that the point is about, and Dataset and Digest the data
	// that it was measured on, where the client says so.
	Model   string `json:"model,omitempty"`
	Dataset string `json:"dataset,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// Artifact is a file that a run keeps. Its bytes are stored once per content.
type Artifact struct {
	Path   string    `json:"path"` // the name the run gave it: "model/model.joblib"; a key, never a path on disk
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	Time   time.Time `json:"time,omitzero"` // when it was logged
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

// Dependent is something that was made from a thing, directly or not.
type Dependent struct {
	Ref     Ref     `json:"ref"`
	Aliases []Alias `json:"aliases,omitempty"` // of a model version
}

// String returns "model/late_departure@3 (@champion)".
func (d Dependent) String() string {
	text := d.Ref.String()
	for _, alias := range d.Aliases {
		text += " (@" + string(alias) + ")"
	}
	return text
}

// FsckReport says what was compared with the ledger, and what was wrong.
type FsckReport struct {
	Lines     uint64   `json:"lines"`     // of the ledger, whose chain is whole
	Points    int64    `json:"points"`    // of metrics
	Artifacts int64    `json:"artifacts"` // files that somebody has
	Problems  int      `json:"problems"`
	Named     []string `json:"named"` // the first of them
	Repaired  bool     `json:"repaired,omitempty"`
}
