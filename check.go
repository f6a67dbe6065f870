package driftline

import "time"

// CheckRequest asks whether the online store and the offline store give the same answers.
type CheckRequest struct {
	Views    []ViewName `json:"views,omitempty"`    // none means all that are served online
	Entities int        `json:"entities,omitempty"` // sampled per view; 0 means 100
	Seed     uint64     `json:"seed,omitempty"`     // of the sample; 0 draws another one each time
}

// CheckReport is the outcome of a check, view by view.
type CheckReport struct {
	Seed  uint64      `json:"seed"` // asked with it again, the same rows are sampled
	Views []ViewCheck `json:"views"`
}

// Differences counts the values that differ, over all views.
func (r *CheckReport) Differences() (n int64) {
	for _, v := range r.Views {
		n += v.Differences
	}
	return n
}

// ViewCheck compares, for sampled entities and times of one view, what is served online
// at the time with what a training set has for it: value by value and bit by bit.
type ViewCheck struct {
	View        ViewName  `json:"view"`
	Time        time.Time `json:"time"`
	Entities    int       `json:"entities"`
	Moments     int       `json:"moments"` // pairs of an entity and a time
	Values      int64     `json:"values"`  // that were compared
	Differences int64     `json:"differences"`

	// OneStore counts the values that differ because a write said so: the entity has rows
	// that were written offline only and are not materialized, or online only. They are
	// not among Differences.
	OneStore int64 `json:"one_store,omitempty"`

	Examples []Difference `json:"examples,omitempty"` // the first few; not kept, because they hold values
	Skipped  string       `json:"skipped,omitempty"`  // why nothing was compared
}

// What notices tell of checks, to the channels that the server's settings name.
const (
	EventStoresDiffer PolicyEvent = "stores_differ" // the first check of a view that found a difference
	EventStoresAgree  PolicyEvent = "stores_agree"  // the first one that found none again
)

// Difference is one value that the two stores do not agree on.
type Difference struct {
	Entity  map[string]string `json:"entity"` // join key → value as text
	At      time.Time         `json:"at"`
	Feature string            `json:"feature"`
	Online  string            `json:"online"`  // as text; "(null)" for null
	Offline string            `json:"offline"` // likewise
	Status  Status            `json:"status"`  // of the online value
}
