package driftline

import (
	"fmt"
	"slices"
	"strings"
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

	// Spine says where the server finds the spine; nil if the caller sends it.
	Spine *SpineSource `json:"spine,omitempty"`

	// Split divides the rows of a saved dataset; nil leaves them in one piece.
	Split *SplitSpec `json:"split,omitempty"`

	// SaveAs keeps the answer as the next version of a dataset.
	SaveAs DatasetName `json:"save_as,omitempty"`

	// Inputs are what the spine was made from, for lineage.
	Inputs []Ref `json:"inputs,omitempty"`
}

// ParseFeatures reads features as people write them: view:feature, or view:feature@1h for
// its value an hour earlier. Where there is a lag the answer has projections, of which the
// lagged ones have roles (weather_lag_1h), so that no two columns share a name.
func ParseFeatures(texts []string) (FeatureSet, error) {
	if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "@") }) {
		return FeatureSet{Features: texts}, nil
	}
	var set FeatureSet
	for _, text := range texts {
		ref, lag, lagged := strings.Cut(text, "@")
		p, err := ParseFeatureRef(ref)
		if err != nil {
			return FeatureSet{}, err
		}
		if lagged {
			if p.Lag, err = ParseDuration(lag); err != nil || p.Lag <= 0 {
				return FeatureSet{}, Errorf(Invalid, "feature %q has no lag after @", clip(text)).WithHint("write it like weather:temp@1h")
			}
			p.Role = string(p.View) + "_lag_" + lag
		}
		set.Projections = append(set.Projections, p)
	}
	return set, nil
}

// SpineSource is a spine that the server has already: exactly one of SQL, Dataset and Range is set.
type SpineSource struct {
	SQL     string     `json:"sql,omitempty"`    // one SELECT over features.*, datasets.*, predictions.*
	Dataset Ref        `json:"dataset,omitzero"` // the spine columns of an earlier dataset
	Range   *TimeRange `json:"range,omitempty"`  // every (keys, event time) that the views have in it

	// Since leaves out what the spine had when that version of a dataset was made: of a range the rows
	// that the snapshots have that it was made from, of a SELECT or a dataset the rows that
	// it gave then. What is left came later, whatever its event time.
	Since Ref `json:"since,omitzero"`
}

// TimeRange is the times from Start to End, both inclusive. A zero bound is open.
type TimeRange struct {
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
}

// SplitColumn is the column of a divided dataset that names each row's part.
const SplitColumn = "__split"

// SplitKind is the rule by which a dataset's rows are divided.
type SplitKind string

// The rules.
const (
	SplitRandom SplitKind = "random" // each row by itself, by Seed
	SplitGroup  SplitKind = "group"  // all rows of equal Column by Seed: no group is torn apart
	SplitTime   SplitKind = "time"   // by event time, the first part the oldest
)

// SplitSpec divides a dataset into parts, in the order given. It is a pure function of
// the rows and the seed, so that a rebuilt dataset is divided in the same way.
type SplitSpec struct {
	Kind   SplitKind   `json:"kind"`
	Parts  []SplitPart `json:"parts"`
	Seed   uint64      `json:"seed,omitempty"`
	Column string      `json:"column,omitempty"` // of SplitGroup: what must stay together
}

// SplitPart is one part. Fractions of all parts add up to 1. For SplitTime either all
// parts have a fraction, or all but the last have Until. Rows of equal time are in one
// part, and rows without a time in none: their [SplitColumn] is null.
type SplitPart struct {
	Name     string    `json:"name"`
	Fraction float64   `json:"fraction,omitempty"`
	Until    time.Time `json:"until,omitzero"` // exclusive
	Rows     int64     `json:"rows"`           // filled in when the dataset is saved
}

// Pin says which rows of a view an answer was computed from: those of a snapshot of
// its table and, where rows of the ingest log that were in no file yet were used too,
// those up to and including the write sequence Through. Saved datasets never have Through.
type Pin struct {
	View     ViewName   `json:"view"`
	Snapshot SnapshotID `json:"snapshot"`
	Through  uint64     `json:"through,omitempty"`
	Source   string     `json:"source,omitempty"` // fingerprint of an external [BatchSource]
}

// ColumnReport counts what a reader of a training set should know of one feature column.
type ColumnReport struct {
	Column string `json:"column"`
	Type   string `json:"type"` // the Arrow type
	Nulls  int64  `json:"nulls"`

	// NotYetKnown counts values whose row was created after the spine row's
	// time: a model trained on them saw the future. 0 where KnownAt is on. Of a feature
	// computed on demand it is the greatest count among the features that it reads.
	NotYetKnown int64 `json:"not_yet_known"`

	// Failed counts the values that could not be computed on demand and are null, an
	// overflow say; FailedBecause is why the first could not.
	Failed        int64  `json:"failed,omitempty"`
	FailedBecause string `json:"failed_because,omitempty"`
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

	// Views and Projections are what the request's names meant when the dataset was
	// made: with Report.Pins they are all that making it again needs.
	Views         []FeatureView         `json:"views,omitempty"`
	OnDemandViews []OnDemandFeatureView `json:"on_demand_views,omitempty"`
	Projections   []Projection          `json:"projections,omitempty"`

	// Erased says that an erasure took rows out since: what the version is now cannot
	// be made again.
	Erased bool `json:"erased,omitempty"`

	// Statistics describes each column, the spine's too.
	Statistics []ColumnStatistics `json:"statistics,omitempty"`
}

// ColumnStatistics describes the values of one column.
type ColumnStatistics struct {
	Column string `json:"column"`
	Type   string `json:"type"` // the Arrow type
	Rows   int64  `json:"rows"`
	Nulls  int64  `json:"nulls"`

	// Of numbers and times (in microseconds). NaN and infinities are counted apart.
	Min       *Number  `json:"min,omitempty"`
	Max       *Number  `json:"max,omitempty"`
	Mean      *Number  `json:"mean,omitempty"`
	StdDev    *Number  `json:"std_dev,omitempty"` // of the sample
	Zeros     int64    `json:"zeros,omitempty"`
	NotFinite int64    `json:"not_finite,omitempty"`
	Edges     []Number `json:"edges,omitempty"`  // of the histogram's bins, one more than Counts
	Counts    []int64  `json:"counts,omitempty"` // finite values per bin

	// Of text and truth values: how many different ones, and the most frequent. Where
	// MoreDistinct is set there are more than Distinct, and nothing is known of Top.
	Distinct     int64        `json:"distinct,omitempty"`
	MoreDistinct bool         `json:"more_distinct,omitempty"`
	Top          []ValueCount `json:"top,omitempty"`
}

// ValueCount is how often a value occurs.
type ValueCount struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// Rebuild is the outcome of making a dataset again from its pinned snapshots.
type Rebuild struct {
	Dataset     Ref    `json:"dataset"`
	Rows        int64  `json:"rows"`
	ContentHash string `json:"content_hash"` // of what was made now
	Equal       bool   `json:"equal"`        // it is the dataset's own, byte for byte
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
	To        Target     `json:"to,omitempty"`       // where the rows went, if not to both stores
	Duplicate bool       `json:"duplicate"`          // the idempotency key was seen before; nothing changed
}
