package driftline

import "time"

// ModelImport says where a version came from that another server exported.
type ModelImport struct {
	Ref      Ref       `json:"ref"`      // its name there
	Key      string    `json:"key"`      // that signed the bundle
	SHA256   string    `json:"sha256"`   // of the bundle's manifest
	Exported time.Time `json:"exported"` // by the clock there
	By       string    `json:"by,omitempty"`
}

// ModelCard is what there is to know of a version of a model, gathered from the ledger,
// its files, and the data that it was made from.
type ModelCard struct {
	Model       RegisteredModel `json:"model"`
	Version     ModelVersion    `json:"version"`
	Signature   *ModelSignature `json:"signature,omitempty"` // nil if its files have none
	Features    []CardFeature   `json:"features,omitempty"`
	Datasets    []CardDataset   `json:"datasets,omitempty"`
	Monitors    []CardMonitor   `json:"monitors,omitempty"` // that compare with its datasets, or watch its views
	Environment []CardFile      `json:"environment,omitempty"`
	Lineage     []LineageEdge   `json:"lineage,omitempty"`
	History     []AliasChange   `json:"history,omitempty"` // moves to and from this version
	Limits      []string        `json:"limits,omitempty"`  // what whoever uses it should know, found by rules
}

// ModelSignature is what a model says of its inputs and outputs.
type ModelSignature struct {
	Inputs  []SignatureColumn `json:"inputs,omitempty"`
	Outputs []SignatureColumn `json:"outputs,omitempty"`
	Tensors bool              `json:"tensors,omitempty"` // inputs are arrays without names of columns
}

// SignatureColumn is one column of a signature. Its type is MLflow's word: double, long, …
type SignatureColumn struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Optional bool   `json:"optional,omitempty"`
}

// CardFeature is one column that the model's datasets have, with where it comes from.
type CardFeature struct {
	Column      string   `json:"column"`
	Type        string   `json:"type"` // the Arrow type
	View        ViewName `json:"view,omitempty"`
	Feature     string   `json:"feature,omitempty"`
	Description string   `json:"description,omitempty"`
	Input       bool     `json:"input"` // the signature has it
	Rows        int64    `json:"rows"`
	Nulls       int64    `json:"nulls"`
	NotYetKnown int64    `json:"not_yet_known,omitempty"`
}

// CardDataset is a dataset that the model was trained on, as it is now.
type CardDataset struct {
	Ref         Ref       `json:"ref"`
	Created     time.Time `json:"created,omitzero"`
	Rows        int64     `json:"rows"`
	ContentHash string    `json:"content_hash"`
	From        time.Time `json:"from,omitzero"` // the event times of its rows
	To          time.Time `json:"to,omitzero"`
	Changed     bool      `json:"changed,omitempty"` // its hash is not the one that was registered: rows were erased since
	Gone        bool      `json:"gone,omitempty"`
}

// CardMonitor is a monitor that looks at what the model was trained on.
type CardMonitor struct {
	Monitor   MonitorName  `json:"monitor"`
	Reference Ref          `json:"reference,omitzero"` // the dataset that it compares with
	Phase     MonitorPhase `json:"phase"`
	Alert     AlertID      `json:"alert,omitempty"`
}

// CardFile is a file that says what the model needs to run.
type CardFile struct {
	Path string `json:"path"`
	Text string `json:"text"`
}
