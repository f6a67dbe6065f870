package driftline

import (
	"fmt"
	"time"
)

// FeatureSet says which features a request wants: a service, or projections
// (single features are projections of one), never both.
type FeatureSet struct {
	Service     ServiceName  `json:"service,omitempty"`
	Projections []Projection `json:"projections,omitempty"`

	// Features are references of the form view:feature, a shorthand for Projections.
	Features []string `json:"features,omitempty"`

	// FullFeatureNames prefixes every feature with its view or role: weather__temp.
	FullFeatureNames bool `json:"full_feature_names,omitempty"`
}

// HistoricalRequest asks for the features of a spine (an entity dataframe): rows
// of join keys and an event timestamp, with any other columns, such as labels.
type HistoricalRequest struct {
	FeatureSet

	// EventTimestamp is the spine's time column; "event_timestamp" if empty.
	EventTimestamp string `json:"event_timestamp,omitempty"`

	// KnownAt ignores rows created after the spine row's time, in every view
	// that has a created timestamp.
	KnownAt bool `json:"known_at,omitempty"`

	// Strict uses only rows of event time before the spine row's, not equal to it.
	Strict bool `json:"strict,omitempty"`

	// SaveAs keeps the answer as the next version of a dataset.
	SaveAs DatasetName `json:"save_as,omitempty"`

	// Inputs are what the spine was made from, for lineage.
	Inputs []Ref `json:"inputs,omitempty"`
}

// Pin says which snapshot of a view's table an answer was computed from.
type Pin struct {
	View     ViewName   `json:"view"`
	Snapshot SnapshotID `json:"snapshot"`
}

// ColumnReport counts what a reader of a training set should know of one feature column.
type ColumnReport struct {
	Column string `json:"column"`
	Type   string `json:"type"` // the Arrow type
	Nulls  int64  `json:"nulls"`

	// NotYetKnown counts values whose row was created after the spine row's
	// time: a model trained on them saw the future. 0 where KnownAt is on.
	NotYetKnown int64 `json:"not_yet_known"`
}

// HistoricalReport is what is known once the last row of a training set has been sent.
type HistoricalReport struct {
	Rows    int64          `json:"rows"`
	Pins    []Pin          `json:"pins"`
	Columns []ColumnReport `json:"columns"`
	SQL     string         `json:"sql"`
	Dataset *Dataset       `json:"dataset,omitempty"` // set if the request had SaveAs
}

// Dataset is one saved version of a training set: the rows of one snapshot of the
// table datasets.<name>, and how to make them again.
type Dataset struct {
	Name        DatasetName       `json:"name"`
	Version     int               `json:"version"`
	Snapshot    SnapshotID        `json:"snapshot"`
	Created     time.Time         `json:"created"`
	ContentHash string            `json:"content_hash"` // of schema and values, independent of file layout
	Request     HistoricalRequest `json:"request"`      // without SaveAs and Inputs, which Name and lineage tell
	Report      HistoricalReport  `json:"report"`
}

// Table is the table that holds the rows: datasets.name_vN. Each version has a table
// of its own, so versions may differ in schema and each can be dropped alone.
func (d *Dataset) Table() string { return fmt.Sprintf("datasets.%s_v%d", d.Name, d.Version) }

// Ref returns dataset/name@version.
func (d *Dataset) Ref() Ref { return DatasetRef(d.Name, d.Version) }

// IngestResult is the answer to a write, sent once the write is durable and visible.
type IngestResult struct {
	View      ViewName   `json:"view"`
	Rows      int64      `json:"rows"`
	Sequence  uint64     `json:"sequence"`           // of the write's first row
	Snapshot  SnapshotID `json:"snapshot,omitempty"` // for a bulk write: the snapshot that holds it
	Duplicate bool       `json:"duplicate"`          // the idempotency key was seen before; nothing changed
}
