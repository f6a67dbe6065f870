// Package engine holds the use cases: ingest, training sets, online reads, SQL,
// drift. It is the only place where the storage rooms, the query planner and the
// registry meet, and it owns their lifetimes, the clock and all background work.
//
// # One write
//
// A write is acknowledged once, after it is durable and visible in both stores.
//
//	small (≤ 10,000 rows):   kv batch {ingest log entry, online merges, idempotency record, ledger line} ─ fsync ─ ack
//	bulk:                    Parquet ─ intent ─ snapshot ─ online merges ─ kv batch {record, ledger lines, −intent} ─ ack
//
// Small writes that come together are one kv batch. A reader sees the newest snapshot
// of a view and, beside it, the log entries that are in no file yet: the view's head,
// which changes in one step. A background loop flushes the log into files; a saved
// dataset flushes first, so that snapshot ids alone name its rows. Flushing is a bulk
// write whose rows are online already. Another loop merges files, gives up snapshots
// that nothing needs and looks for damage. A crash between any two steps is mended when
// the folder is opened again: an intent whose snapshot exists is finished, any other
// never happened.
//
// # One rule of time
//
// Online rows merge newest-wins by (event time, created time, write sequence), the
// order of the point-in-time join, so retries, replays and late rows are safe in any
// order. An online read at time t equals the offline join at t, value for value: TTLs
// count from t, and where the online store holds only a row from after t the value
// comes from the offline store.
//
// # Invariants
//
//   - A row has one write sequence for ever; it is unique in the data folder.
//   - One committer per table at a time (Engine.tables), who then tells Engine.heads;
//     readers are never blocked.
//   - Data files are checked against the hash in their name before the first read.
//   - A snapshot that a dataset, a run or a model came from is not given up, but by an
//     erasure. Files that a request reads are not removed before its context ends.
//   - Close waits for calls under way and joins every goroutine.
package engine
