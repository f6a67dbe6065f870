package driftline

// RunGrouping asks for the runs that a search finds in groups of those that are equal in one
// field, with what each group's metrics are.
type RunGrouping struct {
	By          string           `json:"by"`                    // params.depth, tags.team, parent, or an attribute such as status
	Experiments []ExperimentName `json:"experiments,omitempty"` // all if there is none
	Filter      string           `json:"filter,omitempty"`      // as in RunSearch
	Deleted     bool             `json:"deleted,omitempty"`     // deleted runs in place of the others
	Metrics     []string         `json:"metrics,omitempty"`     // keys; those that most of the runs have if left out
	Limit       int              `json:"limit,omitempty"`       // groups; 100 if left out
	Offset      int              `json:"offset,omitempty"`
}

// FoundRunGroups is a page of groups, by their values: as numbers where all are, and what has
// no value last.
type FoundRunGroups struct {
	Metrics []string   `json:"metrics"` // keys of which the groups have summaries
	Groups  []RunGroup `json:"groups"`
	Total   int        `json:"total"` // how many groups there are, on all pages
	More    bool       `json:"more,omitempty"`
}

// RunGroup are runs that are equal in what they are grouped by.
type RunGroup struct {
	Value   string                   `json:"value"`
	Missing bool                     `json:"missing,omitempty"` // the runs without a value, which is not ""
	Runs    int                      `json:"runs"`
	Filter  string                   `json:"filter"`            // finds these runs
	Metrics map[string]MetricSummary `json:"metrics,omitempty"` // by key, of those that some run of the group has
}

// MetricSummary is what the runs of a group have as the last value of a metric. A run whose
// value is NaN does not count.
type MetricSummary struct {
	Runs int    `json:"runs"`
	Mean Number `json:"mean"`
	Min  Number `json:"min"`
	Max  Number `json:"max"`
}
