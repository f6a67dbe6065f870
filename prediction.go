package driftline

import "time"

// PredictionLog makes a feature view a log of predictions: each of its rows is one
// prediction, ingested like any row. The view's event timestamp is when it was made. What
// else a row has is by name: a column called like a feature ("temp" or "weather__temp") is
// the value that was served to the model, one called like a join key of a feature's view
// says for which entity.
type PredictionLog struct {
	ID      string `json:"id,omitempty"`      // the column that identifies a prediction; the only join key if empty
	Model   string `json:"model,omitempty"`   // the column that names the registered model; "model" if empty
	Version string `json:"version,omitempty"` // the column with the model's version; "model_version" if empty

	// The rest is about predictions that the server writes, see [PredictionRecord]; rows that
	// are ingested are written as any.
	Mode     LogMode     `json:"mode,omitempty"`     // async if left out
	Overflow LogOverflow `json:"overflow,omitempty"` // drop_oldest if left out

	// Fields are the features and join keys that may be kept, by name; all if empty. What is not
	// named never reaches the log, nor its memory.
	Fields []string `json:"fields,omitempty"`

	// MostBytes bounds what is kept of an output, and of the features of a record: what is
	// larger is left out, and counted; 64 KiB if 0.
	MostBytes int `json:"most_bytes,omitempty"`
}

// LogMode says when who logs a prediction goes on.
type LogMode string

// The modes.
const (
	Async LogMode = "async" // at once: a crash loses what came within the last 200 ms
	Sync  LogMode = "sync"  // when it is durable: a crash loses nothing
)

// LogModes lists all of them.
var LogModes = []LogMode{Async, Sync}

// LogOverflow says what gives way when predictions come faster than they can be written.
type LogOverflow string

// What can give way.
const (
	DropOldest LogOverflow = "drop_oldest" // the oldest of those that wait
	Block      LogOverflow = "block"       // who logs them: it waits
	Sample     LogOverflow = "sample"      // any of those that wait, so that an even sample is left
)

// LogOverflows lists all of them.
var LogOverflows = []LogOverflow{DropOldest, Block, Sample}

// LogCounts are what became of the predictions of a log since the server started: each that was
// served was logged, was dropped, or is waiting.
type LogCounts struct {
	Served  int64            `json:"served"`
	Logged  int64            `json:"logged"`  // durably
	Dropped map[string]int64 `json:"dropped"` // by reason
	Waiting int64            `json:"waiting"`

	WaitingBytes int64 `json:"waiting_bytes"` // of memory
	Duplicates   int64 `json:"duplicates"`    // sent again, and counted in nothing else
	Trimmed      int64 `json:"trimmed"`       // logged without what was larger than MostBytes
}

// AllDropped is how many were dropped, for any reason.
func (c *LogCounts) AllDropped() (n int64) {
	for _, of := range c.Dropped {
		n += of
	}
	return n
}

// PredictionLogStatus is the prediction log of a model.
type PredictionLogStatus struct {
	Model  ModelName     `json:"model"`
	Log    ViewName      `json:"log"`
	Labels ViewName      `json:"labels,omitempty"` // "" until there is one
	Config PredictionLog `json:"config"`
	Counts LogCounts     `json:"counts"`
	Error  string        `json:"error,omitempty"` // why it cannot be written now
}

// The columns of a prediction log that does not say.
const (
	DefaultPredictionModel   = "model"
	DefaultPredictionVersion = "model_version"
)

// PredictionQuery asks why a prediction is what it is.
type PredictionQuery struct {
	Prediction string   `json:"prediction"`     // its id
	Log        ViewName `json:"log,omitempty"`  // the prediction log; all are searched if empty
	Rows       int      `json:"rows,omitempty"` // how many training rows to show of each dataset: 5 if 0, at most 100
}

// PredictionTrace leads from one prediction to the rows that its model was trained on.
type PredictionTrace struct {
	Prediction string            `json:"prediction"`
	Log        ViewName          `json:"log"`
	Time       time.Time         `json:"time"`            // of the prediction
	Values     map[string]string `json:"values"`          // of its row; nulls are left out
	Model      Ref               `json:"model,omitzero"`  // that the row names
	Aliases    []Alias           `json:"aliases"`         // that the version has now
	SHA256     string            `json:"sha256,omitzero"` // of the model's files
	Run        Ref               `json:"run,omitzero"`    // that made the model
	Commit     string            `json:"commit,omitempty"`
	Rollout    Ref               `json:"rollout,omitzero"` // that dealt the request, if the log has a column rollout
	Arm        Arm               `json:"arm,omitempty"`    // of that rollout

	Features []TracedFeature `json:"features"`
	Datasets []TracedDataset `json:"datasets"` // that the run read

	// Notes say what is missing on the way, and why.
	Notes []string `json:"notes,omitempty"`
}

// TracedFeature is a value that the model was given, beside what the offline store has for
// the same entity and time. A value that is null or not there is left out.
type TracedFeature struct {
	Name    string  `json:"name"`              // in the training set
	Feature string  `json:"feature"`           // view:feature
	Served  *string `json:"served,omitempty"`  // by the row of the log
	Logged  bool    `json:"logged"`            // the log has a column for it
	Offline *string `json:"offline,omitempty"` // with all that is known by now
	Known   *string `json:"known,omitempty"`   // with what was known at the time, where rows have created timestamps
	Differs bool    `json:"differs"`           // it was logged, and what was served is not what is known to have been true

	Source *FileRow `json:"source,omitempty"` // the row of the offline value; nil if it has none or is in no file yet
}

// FileRow is one row of a data file.
type FileRow struct {
	View ViewName `json:"view,omitempty"` // whose row it is
	File Ref      `json:"file"`           // by the hash of its content
	Row  int64    `json:"row"`            // from 0
}

// TracedFile is a data file all of whose rows are meant.
type TracedFile struct {
	File  Ref   `json:"file"` // by the hash of its content
	Rows  int64 `json:"rows"` // 0 to Rows − 1 of the file
	Bytes int64 `json:"bytes"`
}

// TracedDataset is a training set, down to its files.
type TracedDataset struct {
	Dataset     Ref            `json:"dataset"`
	ContentHash string         `json:"content_hash"` // of schema and values
	Rows        int64          `json:"rows"`
	Snapshot    Ref            `json:"snapshot"`
	Files       []TracedFile   `json:"files"`   // that hold its rows
	Sources     []TracedSource `json:"sources"` // that it was made from

	// SameEntity counts the rows whose join keys are all the prediction's, of which
	// Examples are the first.
	Keys       map[string]string `json:"keys,omitempty"`
	SameEntity int64             `json:"same_entity"`
	Examples   []TracedRow       `json:"examples"`
}

// TracedSource is a view as a training set read it.
type TracedSource struct {
	View     ViewName     `json:"view"`
	Snapshot Ref          `json:"snapshot,omitzero"` // zero if the view had no rows
	Files    []TracedFile `json:"files"`
}

// TracedRow is a row of a training set, and the rows of the views that its features are from.
type TracedRow struct {
	Row     int64             `json:"row"` // of the dataset, from 0
	File    Ref               `json:"file"`
	FileRow int64             `json:"file_row"` // from 0
	Values  map[string]string `json:"values"`
	Sources []FileRow         `json:"sources"`
}
