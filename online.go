package driftline

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Status says what an online value is. The strings are those of Feast's wire.
type Status string

// The statuses of an online value.
const (
	Present       Status = "PRESENT"
	NullValue     Status = "NULL_VALUE"      // the row exists and the value is null
	NotPresent    Status = "NOT_FOUND"       // no row for the entity, or one that is far older than the TTL: twice it, and a day more at least
	OutsideMaxAge Status = "OUTSIDE_MAX_AGE" // the row is older than the view's TTL, and not yet forgotten; the value is null
	InvalidValue  Status = "INVALID"         // computed on demand, which failed for this row; the value is null
)

// OnlineRequest asks for the newest feature values of some entities.
type OnlineRequest struct {
	FeatureSet

	// At is the time the values are for: TTLs count from it, and rows of a
	// later time do not exist. The zero time means now.
	At time.Time `json:"at,omitzero"`
}

// HistoryRequest asks for the newest rows of some entities, of a view that keeps more of
// them online than one: see [History].
type HistoryRequest struct {
	View     ViewName `json:"view"`
	Features []string `json:"features,omitempty"` // of the view's own; empty means all
	Last     int      `json:"last,omitempty"`     // how many rows of each entity; 0 means 10

	// At is a time after which rows do not exist. The zero time means now.
	At time.Time `json:"at,omitzero"`
}

// OnlineResponse holds one row per entity row of the request, in its order.
type OnlineResponse struct {
	// Batch has the request's columns unchanged, then one column per feature.
	// The caller releases it.
	Batch arrow.RecordBatch

	// Features describes the feature columns, in the batch's order.
	Features []OnlineColumn
}

// OnlineColumn says where the values of one feature column come from.
// Statuses and EventTimes have one element per row.
type OnlineColumn struct {
	Name       string
	Statuses   []Status
	EventTimes []arrow.Timestamp // microseconds; 0 where there is no row
}

// Release gives the batch back.
func (r *OnlineResponse) Release() { r.Batch.Release() }
