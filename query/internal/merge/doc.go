// Package merge is the point-in-time join over rows that are sorted already: Parquet
// files whose rows are sorted by (join keys, event time, created time, write sequence),
// and the tail of the ingest log, which is sorted in memory.
//
// # How
//
//	          ┌ index: the spine's distinct keys, sorted, with the rows of each ┐
//	spine ────┤                                                                 │
//	          └ cut into stretches of as many rows, one task each ──────────────┘
//	                                      │ for each task
//	   for each file, for each row group that may have keys of the stretch:
//	     its runs of equal keys and the stretch's keys are walked side by side (both leap)
//	     a run of a wanted key: binary search of its event times, where they lie
//	     the better of this candidate and the one so far stays
//	                                      │
//	   for each row group that has answers, for each feature:
//	     the wanted pages, values copied to the records of the answer
//	                                      │ once all tasks are done, batch by batch
//	   the records of some rows of the spine, laid out as columns in its order
//
// Tasks share nothing that they write but the records of the answer and which row of the
// spine has which record; each writes its own.
//
// # Why it is right
//
// A run is sorted by (event, created, sequence), nulls first, so the rows with event ≤ t
// are its beginning, and the greatest of them by that order is the last of them: one
// binary search finds it. Where only rows created by then exist, the greatest of those is
// the last one of the beginning that was created by then. A key's rows in one file may
// be cut by the ends of row groups; a later row group holds the greater rows, so its
// candidate wins if it has one. Between files nothing is known, so candidates are
// compared by (event, created, sequence); no two rows share a sequence. The greatest of
// the greatest of each part is the greatest of all. The TTL is tested last: if the
// greatest row is too old, every other one is too.
//
// A label view looks ahead. The rows with event > t are the end of a run, the least event
// among them is the first one's, and the greatest (created, sequence) of that event is
// its last row. A later row group counts only if its event is the same.
//
// # Aggregations
//
// [Join.RunWindows] walks in the same way, but goes from key to key: the runs of one, of all
// segments, are cut to the times that its rows of the spine can see and put into an
// [aggregate.Timeline], which is asked at each of those times. So a worker holds the events
// of one key. Chunks of rows are filtered before they are put in.
package merge
