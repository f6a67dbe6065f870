package driftline

import "time"

// RegisteredModel is a name under which versions of a model are kept.
type RegisteredModel struct {
	Name        ModelName         `json:"name"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"` // when it, or one of its versions, last changed
	By          string            `json:"by,omitempty"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Versions    int               `json:"versions"`          // how many there are
	Newest      *ModelVersion     `json:"newest,omitempty"`  // nil if there is none
	Aliases     map[Alias]int     `json:"aliases,omitempty"` // → version
	Gates       []ModelGate       `json:"gates,omitempty"`
}

// RegisteredModelSpec is what a registered model begins with.
type RegisteredModelSpec struct {
	Name        ModelName         `json:"name"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	By          string            `json:"by,omitempty"`
}

// ModelChange changes what people write beside a registered model or a version: what
// it leaves out stays as it is.
type ModelChange struct {
	Description *string           `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`        // set, or replaced
	RemoveTags  []string          `json:"remove_tags,omitempty"` // of those that are not there nothing happens
	By          string            `json:"by,omitempty"`
}

// AliasChampion is the alias of the version that answers, and that rollouts move.
const AliasChampion Alias = "champion"

// ModelStage is how far a version has come. The words are MLflow's, where stages are
// older than aliases; a version is in one stage, and a stage may hold many versions.
type ModelStage string

// The stages of a model version.
const (
	StageNone       ModelStage = "None"
	StageStaging    ModelStage = "Staging"
	StageProduction ModelStage = "Production"
	StageArchived   ModelStage = "Archived"
)

// ModelStages are the stages in the order in which versions go through them.
var ModelStages = []ModelStage{StageNone, StageStaging, StageProduction, StageArchived}

// ModelStatus says whether the files of a version are known.
type ModelStatus string

// The states of a version's files.
const (
	ModelReady    ModelStatus = "READY"    // all are kept here, and their hashes are in the ledger
	ModelExternal ModelStatus = "EXTERNAL" // they are elsewhere: the source is a text, and nobody checked it
)

// ModelVersion is one version of a registered model: files under a name, which never
// change, and what they were made from. Versions count from 1 and are never used
// twice, not even after a deletion.
type ModelVersion struct {
	Model       ModelName         `json:"model"`
	Version     int               `json:"version"`
	Run         RunID             `json:"run,omitempty"`          // that made it; "" if it is not known here
	ExternalRun string            `json:"external_run,omitempty"` // then what the client said it was
	LoggedModel LoggedModelID     `json:"logged_model,omitempty"` // that was registered, if there is one
	Source      string            `json:"source,omitempty"`       // as the client said it; never opened by the server
	Status      ModelStatus       `json:"status,omitempty"`
	Artifact    Artifact          `json:"artifact"`        // a file, or a folder: then its size and hash are those of Files
	Files       []Artifact        `json:"files,omitempty"` // of a folder, by path, relative to it
	Stage       ModelStage        `json:"stage,omitempty"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated,omitzero"`
	By          string            `json:"by,omitempty"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Aliases     []Alias           `json:"aliases,omitempty"`
	RunLink     string            `json:"run_link,omitempty"`
	Origin      *ModelOrigin      `json:"origin,omitempty"`
	Checks      []ModelCheck      `json:"checks,omitempty"`    // the last outcome of each, by name
	Approvals   []ModelApproval   `json:"approvals,omitempty"` // the last word of each person on each target
	Line        uint64            `json:"line,omitempty"`      // the ledger line that registered it
	Imported    *ModelImport      `json:"imported,omitempty"`  // set if another server made it
	Server      *ModelServer      `json:"server,omitempty"`    // where it answers; nil if nobody said so
}

// SourceURI is where its files come from: what the client said, or the artifact of the run.
func (m *ModelVersion) SourceURI() string {
	if m.Source != "" || m.Run == "" {
		return m.Source
	}
	return "runs:/" + string(m.Run) + "/" + m.Artifact.Path
}

// Ref returns model/name@version.
func (m *ModelVersion) Ref() Ref { return ModelRef(m.Model, m.Version) }

// ModelOrigin is what a model version was made from, as it stood when it was
// registered. The server fills it in from the run.
type ModelOrigin struct {
	Datasets  []ModelDataset    `json:"datasets,omitempty"`
	Snapshots []Ref             `json:"snapshots,omitempty"` // that the datasets read, or the run itself
	Features  []string          `json:"features,omitempty"`  // output columns of the datasets: "weather__temp"
	Params    map[string]string `json:"params,omitempty"`
	Metrics   map[string]Number `json:"metrics,omitempty"`
	Commit    string            `json:"commit,omitempty"` // of the code that ran
	Code      string            `json:"code,omitempty"`   // which code: a repository, or a file's name
}

// ModelDataset is one dataset that a model was trained on.
type ModelDataset struct {
	Ref         Ref    `json:"ref"`
	ContentHash string `json:"content_hash,omitempty"`
	Rows        int64  `json:"rows"`
}

// ModelSpec is what a model version is registered from: an artifact of a run, or a
// source. A source is one of
//
//	runs:/RUN/path                               a file or folder that a run logged
//	models:/m-…                                  a logged model
//	models:/NAME/VERSION, models:/NAME@ALIAS     another version: the same files again
//	mlflow-artifacts:/…                          the same, as MLflow's clients say it
//	s3://…, gs://…, abfss://…, and such          elsewhere: kept as a text, and never opened
type ModelSpec struct {
	Model       ModelName         `json:"model"`
	Run         RunID             `json:"run,omitempty"`
	Artifact    string            `json:"artifact,omitempty"` // the path that the run logged the file or folder under
	Source      string            `json:"source,omitempty"`   // in place of Artifact
	LoggedModel LoggedModelID     `json:"logged_model,omitempty"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	RunLink     string            `json:"run_link,omitempty"`
	By          string            `json:"by,omitempty"`

	// Version and Created are set by whoever brings a version from elsewhere: its number there,
	// greater than any here, and when it was made, in the past. The next number and now if left out.
	Version int       `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
}

// AliasMove points an alias at a model version. It is a compare-and-swap if
// Expect is set: the version that the alias must point at now (0: at none).
type AliasMove struct {
	Version  int    `json:"version"` // 0 takes the alias away
	Expect   *int   `json:"expect,omitempty"`
	Reason   string `json:"reason,omitempty"`
	By       string `json:"by,omitempty"`       // who moves it
	Evidence []Ref  `json:"evidence,omitempty"` // what the decision rests on; it must exist
}

// AliasChange is one move of an alias. It was at From (0: nowhere) and went to To, where
// it stayed until Until.
type AliasChange struct {
	Sequence uint64    `json:"seq"` // of the ledger line
	Time     time.Time `json:"time"`
	Until    time.Time `json:"until,omitzero"` // zero while it is there
	Alias    Alias     `json:"alias"`
	From     int       `json:"from"`
	To       int       `json:"to"`
	Reason   string    `json:"reason,omitempty"`
	By       string    `json:"by,omitempty"`
	Evidence []Ref     `json:"evidence,omitempty"`
	Checks   []string  `json:"checks,omitempty"`   // of the gate, that had passed
	Rollback bool      `json:"rollback,omitempty"` // it took back the move before
}

// AliasRollback takes back the last move of an alias.
type AliasRollback struct {
	Expect *int   `json:"expect,omitempty"` // as in [AliasMove]
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
}

// StageMove brings a model version into a stage.
type StageMove struct {
	Stage           ModelStage  `json:"stage"`
	Expect          *ModelStage `json:"expect,omitempty"`           // the stage that it must be in now
	ArchiveExisting bool        `json:"archive_existing,omitempty"` // archives the others of the stage
	Reason          string      `json:"reason,omitempty"`
	By              string      `json:"by,omitempty"`
	Evidence        []Ref       `json:"evidence,omitempty"`
}

// StageChange is one version's way from one stage to another.
type StageChange struct {
	Sequence uint64     `json:"seq"`
	Time     time.Time  `json:"time"`
	Version  int        `json:"version"`
	From     ModelStage `json:"from"`
	To       ModelStage `json:"to"`
	Reason   string     `json:"reason,omitempty"`
	By       string     `json:"by,omitempty"`
	Evidence []Ref      `json:"evidence,omitempty"`
	Checks   []string   `json:"checks,omitempty"`
}

// ModelGate says what a version must have before an alias points at it, or before it
// is in a stage. Exactly one of Alias and Stage is set.
type ModelGate struct {
	Alias     Alias      `json:"alias,omitempty"`
	Stage     ModelStage `json:"stage,omitempty"`
	Checks    []string   `json:"checks,omitempty"`    // names of checks whose last outcome on the version is passed
	Approvals int        `json:"approvals,omitempty"` // how many people, other than who registered it, must approve
}

// Target returns what the gate is before: "alias champion" or "stage Production".
func (g *ModelGate) Target() string {
	if g.Stage != "" {
		return "stage " + string(g.Stage)
	}
	return "alias " + string(g.Alias)
}

// ModelCheck is the outcome of a named check of a model version.
type ModelCheck struct {
	Name     string    `json:"name"`
	Passed   bool      `json:"passed"`
	Summary  string    `json:"summary,omitempty"` // for people: "AUC 0.81 on 2013-12, at least 0.80"
	By       string    `json:"by,omitempty"`
	Evidence []Ref     `json:"evidence,omitempty"`
	Time     time.Time `json:"time,omitzero"`
	Sequence uint64    `json:"seq,omitempty"` // of the ledger line
}

// ApprovalDecision is what somebody says to a version's coming into an alias or a stage.
type ApprovalDecision string

// The decisions. Who asks for approval cannot give it.
const (
	ApprovalRequested ApprovalDecision = "requested"
	ApprovalGiven     ApprovalDecision = "approved"
	ApprovalRefused   ApprovalDecision = "rejected"
)

// ModelApproval is one person's word on a version's coming into an alias or a stage.
type ModelApproval struct {
	Alias    Alias            `json:"alias,omitempty"`
	Stage    ModelStage       `json:"stage,omitempty"`
	Decision ApprovalDecision `json:"decision"`
	By       string           `json:"by"`
	Reason   string           `json:"reason,omitempty"`
	Time     time.Time        `json:"time,omitzero"`
	Sequence uint64           `json:"seq,omitempty"`
}
