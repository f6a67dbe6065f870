package driftline

import "time"

// LoggedModelStatus says whether a logged model is complete. The words are MLflow's.
type LoggedModelStatus string

// The states of a logged model.
const (
	LoggedModelPending LoggedModelStatus = "PENDING" // its files are being written
	LoggedModelReady   LoggedModelStatus = "READY"
	LoggedModelFailed  LoggedModelStatus = "UPLOAD_FAILED"
)

// LoggedModel is a model that a run made, before anybody gives it a registered name: a
// folder of files, with params and tags of its own.
type LoggedModel struct {
	ID            LoggedModelID       `json:"id"`
	ExperimentID  ExperimentID        `json:"experiment_id"`
	Name          string              `json:"name,omitempty"`
	Type          string              `json:"type,omitempty"` // whatever its maker calls it
	Run           RunID               `json:"run,omitempty"`  // that made it
	Status        LoggedModelStatus   `json:"status"`
	StatusMessage string              `json:"status_message,omitempty"`
	Created       time.Time           `json:"created"`
	Updated       time.Time           `json:"updated"`
	By            string              `json:"by,omitempty"`
	Params        map[string]string   `json:"params,omitempty"`
	Tags          map[string]string   `json:"tags,omitempty"`
	Deleted       time.Time           `json:"deleted,omitzero"`
	Registered    []ModelRegistration `json:"registered,omitempty"` // the versions made of it that are there
}

// Ref returns logged_model/m-….
func (m *LoggedModel) Ref() Ref { return LoggedModelRef(m.ID) }

// ModelRegistration is one version that a logged model became.
type ModelRegistration struct {
	Model   ModelName `json:"model"`
	Version int       `json:"version"`
}

// LoggedModelSpec is what a logged model begins with.
type LoggedModelSpec struct {
	ExperimentID ExperimentID      `json:"experiment_id"`
	Name         string            `json:"name,omitempty"` // made up if left out
	Type         string            `json:"type,omitempty"`
	Run          RunID             `json:"run,omitempty"`
	Params       map[string]string `json:"params,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	By           string            `json:"by,omitempty"`

	// ID and Created are set by whoever brings a model from elsewhere: the id that it has there,
	// and when it was made, in the past. A random id and now if left out.
	ID      LoggedModelID `json:"id,omitempty"`
	Created time.Time     `json:"created,omitzero"`
}

// LoggedModelChange changes a logged model: what it leaves out stays as it is. A param is
// set once: the same value again is fine, another one is a Conflict.
type LoggedModelChange struct {
	Status        LoggedModelStatus `json:"status,omitempty"`
	StatusMessage string            `json:"status_message,omitempty"`
	Params        map[string]string `json:"params,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	RemoveTags    []string          `json:"remove_tags,omitempty"` // each must be there
}
