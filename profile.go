package driftline

import "time"

// ProfileRequest asks the server to profile a table and to keep the profiles.
type ProfileRequest struct {
	// Table is what is profiled: a view, a dataset or a SELECT.
	Table DriftSource `json:"table"`

	// Source is the name that the profiles are kept under; that of the table if it has
	// one. All profiles of a source are counted alike, so that they can be compared.
	Source string `json:"source,omitempty"`

	// Reference is the source whose profiles these are to be compared with. It must have
	// some. If empty, a new source is counted by what its first profile has seen.
	Reference string `json:"reference,omitempty"`

	// Pane cuts the rows by their time, into spans of this length that begin at multiples
	// of it (UTC; weeks on Monday). 0 is one profile of all rows.
	Pane Duration `json:"pane,omitempty"`

	// Time is the column with the time: by default the event timestamp of a view, and
	// otherwise "event_timestamp". Rows without a time are in no pane.
	Time string `json:"time,omitempty"`

	Start time.Time `json:"start,omitzero"` // rows of before are left out
	End   time.Time `json:"end,omitzero"`   // rows of then or later are left out

	Columns []string `json:"columns,omitempty"` // empty: every column that can be
	Exclude []string `json:"exclude,omitempty"`
}

// ProfileWindow is a span of time of a source. Its profile is that of all panes in it.
type ProfileWindow struct {
	Source string    `json:"source,omitempty"`
	Start  time.Time `json:"start,omitzero"` // zero: from the first pane on
	End    time.Time `json:"end,omitzero"`   // zero: to the last pane

	// Data is a profile that the client holds, instead of one that the server keeps.
	Data []byte `json:"data,omitempty"`
}

// ProfileFile is a profile that needs no server: to be written to a file, merged and compared.
type ProfileFile struct {
	Profile
	Data []byte `json:"data"` // in the format of docs/formats.md
}

// ProfileMerge asks for what is kept of several windows, put together.
type ProfileMerge struct {
	Windows []ProfileWindow `json:"windows"`
}

// Which columns of a report have histograms. Those of the others are empty.
const (
	HistogramsAll     = "all"
	HistogramsDrifted = "drifted" // what says drift
	HistogramsNone    = "none"
)

// ProfileComparison asks the server to compare two windows by their profiles alone.
type ProfileComparison struct {
	Reference ProfileWindow `json:"reference"`
	Current   ProfileWindow `json:"current"`

	// Exact has the rows read again where the profiles leave a verdict open.
	Exact bool `json:"exact,omitempty"`

	// Histograms says which columns of the report have theirs: [HistogramsAll], the default,
	// [HistogramsDrifted] or [HistogramsNone]. They are most of a report of a thousand columns.
	Histograms string `json:"histograms,omitempty"`

	DriftOptions
}

// ProfilePane says what is kept of one span of time of a source.
type ProfilePane struct {
	Source  string    `json:"source"`
	Start   time.Time `json:"start,omitzero"` // zero: the pane is all of the table
	End     time.Time `json:"end,omitzero"`
	Rows    int64     `json:"rows"`
	Columns int       `json:"columns"`
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`

	Table DriftSource `json:"table,omitzero"` // where the rows came from, if the server has it
	Time  string      `json:"time,omitempty"` // the column that the panes were cut by
}

// Profile is what is kept of the rows of a window, in a form to look at.
type Profile struct {
	Source  string          `json:"source"`
	Start   time.Time       `json:"start,omitzero"`
	End     time.Time       `json:"end,omitzero"`
	Rows    int64           `json:"rows"`
	Panes   int             `json:"panes"`
	Bytes   int64           `json:"bytes"`
	Columns []ColumnProfile `json:"columns"`
}

// ColumnProfile is the profile of one column. Times are in microseconds.
type ColumnProfile struct {
	Column string `json:"column"`
	Type   Type   `json:"type,omitempty"`
	Kind   string `json:"kind"` // "numeric" or "categorical"
	Rows   int64  `json:"rows"`
	Nulls  int64  `json:"nulls"`

	// Of numbers. Range, mean and deviation are of the finite ones.
	NaN              int64             `json:"nan,omitempty"`
	NegativeInfinite int64             `json:"negative_infinite,omitempty"`
	PositiveInfinite int64             `json:"positive_infinite,omitempty"`
	Min              *Number           `json:"min,omitempty"` // nil if there is none
	Max              *Number           `json:"max,omitempty"`
	Mean             *Number           `json:"mean,omitempty"`   // rounded once
	StdDev           *Number           `json:"stddev,omitempty"` // of the sample
	Quantiles        []ProfileQuantile `json:"quantiles,omitempty"`

	Distinct      Number `json:"distinct"`       // different values, about
	DistinctExact bool   `json:"distinct_exact"` // it is no estimate; one has a standard error of 1.6 %

	// Of categories: the most frequent ones whose names are kept, with exact counts, and
	// how many rows are of names that are not. No one of those has more than OtherAtMost.
	Top         []CategoryCount `json:"top,omitempty"`
	OtherRows   int64           `json:"other_rows,omitempty"`
	OtherAtMost int64           `json:"other_at_most,omitempty"`
}

// ProfileQuantile is an interval that the quantile lies in for certain.
type ProfileQuantile struct {
	Q    float64 `json:"q"`
	Low  Number  `json:"low"`
	High Number  `json:"high"`
}

// CategoryCount is how many rows a category has.
type CategoryCount struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// Bracket is an interval that a value lies in for certain.
type Bracket struct {
	Low  Number `json:"low"`
	High Number `json:"high"`
}
