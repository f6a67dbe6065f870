// Package kv keeps ordered keys on disk such that a commit that was acknowledged
// is there after a crash, and a loss is named instead of served. It is the only
// place that knows Pebble.
//
// Invariants:
//
//   - [Batch.Commit] is atomic, and durable when it returns nil. Concurrent
//     commits share one fsync.
//   - Every commit has a number, one higher than the commit before it, which is
//     written in the commit itself. The highest acknowledged number is also in a
//     side file, the watermark. Pebble takes a damaged end of its log for the
//     end of the log; then the numbers differ, and [Open] answers DataLoss with
//     the range of the lost commits, before it has changed anything.
//   - [Batch.Max] keeps the greatest value in byte order. It commutes and is
//     idempotent: replay, retry and reordering change nothing.
//   - After a failed fsync no commit is accepted until the folder is opened
//     anew: what of the log reached the disk is unknown until it is read again.
//   - A damaged table file gives a DataLoss error to the reader that meets it.
//     It never ends the process.
//   - Use after [DB.Close] gives Unavailable.
//   - Readers can see a commit before it is durable, and so before its writer is
//     told; after a crash it may then be gone.
//
// A key begins with one byte that says whose it is (keyspaces.go), followed by
// an order-preserving tuple (keys.go):
//
//	┌───────────┬───────────────────────────────┐
//	│ keyspace  │ tuple of the keyspace's owner │
//	│ 1 byte    │ AppendString, AppendInt64, …  │
//	└───────────┴───────────────────────────────┘
package kv
