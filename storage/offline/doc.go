// Package offline keeps every table as immutable Parquet files in Apache Iceberg
// snapshots, so that one id names the same rows for ever and any engine can read
// them in place. It is the only package that knows Iceberg.
//
// # A write
//
// [Store.Stage] makes durable files that nobody sees, [Store.Commit] makes them
// visible as one snapshot, [Store.Discard] removes them instead. A crash between
// the two leaves files that no snapshot has: they cost space and nothing else.
// When Commit has returned, the snapshot survives power loss.
//
// # A life
//
// Snapshots are found by id, time or tag, and compared: [Store.At], [Store.AsOf],
// [Store.ByTag], [Store.Diff]. [Store.Evolve] changes columns and no file.
// [Store.Rollback], [Store.ReplaceFiles] and the commits above make new snapshots;
// [Store.Compact] and [Store.Erase] stage the files for that. [Store.Expire] gives up
// old snapshots and [Store.Orphans] what crashes left. Whoever opens files by path
// keeps them on disk meanwhile with [Store.Hold]. [Store.Scrub] looks for damage.
//
// # The folder
//
//	<dir>/
//	└── features/                      namespace
//	    └── weather/                   table
//	        ├── data/
//	        │   └── <32 hex>.parquet   rows; the name is the content's hash
//	        └── metadata/              Apache Iceberg, format version 2
//	            ├── v7.metadata.json   the table: schemas, snapshots; greatest number is current
//	            ├── snap-….avro        a snapshot: its manifests
//	            ├── …-m0.avro          a manifest: data files with counts and bounds
//	            ├── .….crc             checksums of each of these
//	            └── version-hint.text  7, written last
//
// Every file is written under a temporary name, fsynced, renamed, and its folder
// fsynced. None is changed after that.
//
// Invariants:
//   - No row is served from a file whose content does not match its name, and no
//     file list from metadata that does not match its checksums and totals. The
//     error is DataLoss and names table and file.
//   - A snapshot's rows, schema, files and summary never change, whatever is
//     committed, evolved or replaced after it.
//   - A file is removed only after the commit that no longer needs it is durable, and
//     not while somebody holds it.
//   - Columns are tied by field id between file and table, never by name or place.
//   - Nothing outside the table's folder is opened, whatever its metadata says.
//
// # Types
//
// Rows may have any Arrow schema. What is stored, and what comes back, is
//
//	bool                                     bool
//	int8, int16, int32, uint8, uint16        int32
//	int64, uint32                            int64
//	uint64                                   decimal(20, 0), which holds every value
//	float16, float32                         float32
//	float64                                  float64
//	string, large_string, string_view        string
//	binary, large_binary, binary_view        binary
//	fixed_size_binary(n)                     fixed_size_binary(n)
//	decimal32/64/128/256(p ≤ 38, 0 ≤ s ≤ p)  decimal128(p, s)
//	date32, date64                           date32
//	time32, time64                           time64[us]
//	timestamp with a zone, any unit          timestamp[us, UTC]: the instant, not the zone
//	timestamp without zone, any unit         timestamp[us]
//	list, large_list, fixed_size_list        list of the stored element type
//	struct, map                              the same, of stored types
//	dictionary                               its value type
//	extension                                its storage type
//	null                                     string, all null
//
// Nanoseconds round down to microseconds. The parts of nested columns are nullable.
// Durations, intervals, unions, run-end encoded and list-view columns, decimals of
// more digits, and times that microseconds cannot hold are Invalid, naming the column.
package offline
