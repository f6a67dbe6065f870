package driftline

import "time"

// Snapshot describes one committed state of a table.
type Snapshot struct {
	Table  string     `json:"table"` // "features.weather"
	ID     SnapshotID `json:"id"`
	Parent SnapshotID `json:"parent,omitempty"` // the state before; 0 for the first
	Time   time.Time  `json:"time"`
	Rows   int64      `json:"rows"`
	Logged int64      `json:"logged,omitempty"` // of Rows: those of the ingest log, which only a list of tables counts
	Files  int        `json:"files"`
	Bytes  int64      `json:"bytes"`
	Cause  string     `json:"cause"` // what made it: "write", "flush", "compaction", "rollback", "erasure"
	Tags   []string   `json:"tags,omitempty"`
	Pins   []Ref      `json:"pins,omitempty"` // datasets and models that keep it from being expired
}

// SnapshotDiff says what changed from one snapshot of a table to another.
type SnapshotDiff struct {
	Table        string     `json:"table"`
	From         SnapshotID `json:"from"`
	To           SnapshotID `json:"to"`
	RowsAdded    int64      `json:"rows_added"`
	RowsRemoved  int64      `json:"rows_removed"`
	FilesAdded   int        `json:"files_added"`
	FilesRemoved int        `json:"files_removed"`
	EventTimes   *TimeRange `json:"event_times,omitempty"` // of the rows added; nil if none
	Schema       []string   `json:"schema,omitempty"`      // for people: "+ gust float64", "temp: float32 → float64"
}

// Retention says which snapshots of a table are kept. A snapshot that is pinned by a
// dataset, tagged, or the newest is kept in any case; the others are kept while any
// of these says so.
type Retention struct {
	Last   int      `json:"last"`    // the newest so many
	MaxAge Duration `json:"max_age"` // those of at most this age
}

// Maintenance is what one round of upkeep of a table did.
type Maintenance struct {
	Table     string `json:"table"`
	Flushed   int64  `json:"flushed"`   // rows moved into files, from the ingest log or, of points of metrics, from the key-value store
	Compacted int    `json:"compacted"` // files merged
	Into      int    `json:"into"`      // files that they became
	Expired   int    `json:"expired"`   // snapshots
	Removed   int    `json:"removed"`   // data files that no snapshot has
	Verified  int    `json:"verified"`  // files whose content was compared with their names
	Damaged   []Ref  `json:"damaged,omitempty"`
}

// ErasureRequest asks that everything about one thing be removed: rows of every view of
// the entity, online values, and rows of the datasets that such views were joined to.
type ErasureRequest struct {
	Entity EntityName        `json:"entity"`
	Keys   map[string]string `json:"keys"` // join key → value as text: a time in RFC 3339, bytes in base64
	Reason string            `json:"reason,omitempty"`
}

// Erasure reports what an erasure removed. Rebuilding a dataset that had such rows is
// no longer possible, and its content hash is that of the rows that are left.
type Erasure struct {
	Entity    EntityName    `json:"entity"`
	Tables    []ErasedTable `json:"tables"`             // of views and datasets that had rows
	Online    int           `json:"online"`             // rows removed from the online store
	Datasets  []Ref         `json:"datasets,omitempty"` // that had rows
	Profiles  int           `json:"profiles,omitempty"` // sources of profiles that were made of such rows
	Findings  int           `json:"findings,omitempty"` // evaluations of monitors whose findings named what only such rows had
	Snapshots int           `json:"snapshots"`          // older ones, given up because their files had rows
	Time      time.Time     `json:"time"`
	Keys      string        `json:"keys"` // salt:hash of the values, which nobody may keep
	Reason    string        `json:"reason,omitempty"`

	// Affects is what was made from the datasets that had rows: their models remember what
	// is gone. It is part of the answer, not of what is kept.
	Affects []Dependent `json:"affects,omitempty"`
}

// ErasedTable counts what was removed from one table.
type ErasedTable struct {
	Table     string     `json:"table"`
	Rows      int64      `json:"rows"`
	Rewritten int        `json:"rewritten"` // files
	Snapshot  SnapshotID `json:"snapshot"`
}
