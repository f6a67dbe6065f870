package driftline

import "time"

// Target says which stores a write is for. The strings are those of Feast's wire.
//
// A write is for both unless it asks for one, and only then are training and serving two
// reads of one write. Rows of the other two targets are known for what they are: rows
// held back from serving until they are materialized, and online rows without an offline
// one.
type Target string

// The targets of a write. The zero Target means BothStores.
const (
	BothStores  Target = "online_and_offline"
	OnlineOnly  Target = "online"  // served from now on, and never in a training set
	OfflineOnly Target = "offline" // in training sets from now on, and served once materialized
)

// ParseTarget reads the name of a target; "" is BothStores.
func ParseTarget(s string) (Target, error) {
	switch t := Target(s); t {
	case "":
		return BothStores, nil
	case BothStores, OnlineOnly, OfflineOnly:
		return t, nil
	}
	return "", Unknown("target", Target(clip(s)), []Target{BothStores, OnlineOnly, OfflineOnly})
}

// Materialization is a job that brings rows online that were written offline only.
//
// Which rows those are is known by their write sequences, so a row is brought online
// once, however late it was written, and no row is missed. Of them the job takes those
// whose event times are in a range.
//
// A job that rebuilds makes all online rows of its views anew instead, history included,
// from the newest snapshot and the ingest log. Reads are answered offline meanwhile, and
// after it was cancelled until upkeep has carried it on.
type Materialization struct {
	ID          string     `json:"id"`
	Views       []ViewName `json:"feature_views"`
	Start       time.Time  `json:"start_ts,omitzero"` // of event times, inclusive; zero: from the first
	End         time.Time  `json:"end_ts,omitzero"`   // inclusive; zero only of a rebuild
	Incremental bool       `json:"incremental"`
	Rebuild     bool       `json:"rebuild,omitempty"`

	State   MaterializationState `json:"state"`
	Rows    int64                `json:"rows"`  // looked at so far, of Total
	Total   int64                `json:"total"` // held back when the job began; of a rebuild all, twice if the view keeps a history
	Done    []ViewName           `json:"done"`  // views that are finished
	Started time.Time            `json:"started"`
	Ended   time.Time            `json:"ended,omitzero"`
	Error   string               `json:"error,omitempty"` // of a job that failed
}

// MaterializationState is how far a [Materialization] is.
type MaterializationState string

// The states of a materialization. A job that a crash interrupts is running again when
// the folder is opened.
const (
	MaterializationRunning   MaterializationState = "running"
	MaterializationDone      MaterializationState = "done"
	MaterializationFailed    MaterializationState = "failed"
	MaterializationCancelled MaterializationState = "cancelled"
)

// MaterializationRequest asks for a [Materialization].
type MaterializationRequest struct {
	Views       []ViewName `json:"feature_views,omitempty"` // none: all that are served
	Start       time.Time  `json:"start_ts,omitzero"`       // the zero time: from the first row
	End         time.Time  `json:"end_ts,omitzero"`
	Incremental bool       `json:"incremental,omitempty"` // everything up to End that is not online yet
	Rebuild     bool       `json:"rebuild,omitempty"`     // all online rows anew; then there are no times

	// Force cancels jobs under way that have a view in common with this one, which are a
	// Conflict otherwise.
	Force bool `json:"force,omitempty"`
}
