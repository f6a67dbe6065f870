// Package registry keeps the ledger, the one list of everything that happened,
// and answers every question about the catalogue, runs, models, datasets and
// lineage from it.
//
// A ledger [Line] says what happened (kind), to what (ref), made from what
// (inputs) and in what detail (body). The states that users ask for are folds:
// pure functions of the lines, kept in memory and rebuilt at [Open]. Lineage is
// nothing but the inputs of the lines.
//
//	key   'g' ∥ sequence (8 bytes, big endian), counting from 1 without gaps
//	value {"seq":7,"time":"…","kind":"run.created","ref":"run/late-3",
//	       "inputs":["dataset/late@1"],"body":{…},"prev":"<64 hex>","hash":"<64 hex>"}
//	       └──────────── content ────────────────┘
//	hash  sha256(previous hash, 32 bytes ∥ content ∥ "}")
//
// The hash covers the stored bytes themselves, not a re-encoding of them, so any
// changed byte is found. The chain cannot show that its newest lines are gone;
// storage/kv's commit watermark does.
//
// Metric points are many and say nothing about lineage, so they are not lines.
// Their keys hold the whole point: a repeated point is the same key. Points that come
// together are one entry, a block, at the place of the first.
//
//	'm' 'p' ∥ run ∥ metric ∥ step ∥ time ∥ value → (nothing)     one point
//	'm' 'p' ∥ run ∥ metric ∥ first place ∥ hash → all points     a block
//	'm' 'l' ∥ run ∥ metric → step ∥ time ∥ value                 the greatest point
//	'm' 'o' ∥ logged model ∥ metric ∥ run ∥ dataset ∥ place      points about models
//	'm' 'f' ∥ run → (nothing)                                    it may have points in files
//	'm' 'x' ∥ run → (nothing)                                    removed; to be taken out of files
//
// Points of most runs are in files ([PointFiles]), where [UnfiledPoints] moves them; what is
// read is the union of both ([Registry.Metrics]).
//
// Runs are many too. What the ledger says of one is packed ([run]), keys of params, tags
// and metrics are kept once ([keyTable]), ids are found without a map of them ([runList]),
// and searches scan what is in memory, as it was when they began ([paged]).
//
// Invariants:
//
//   - A line is visible to readers once it is durable, never before. So is the last
//     value of a metric; only its history, read from disk, may run ahead of the fsync.
//   - An answer that rests on a line ("it is so already") waits until it is durable.
//   - Ledger order is commit order.
//   - Records in a fold are never changed, only replaced, so readers hold the
//     lock only to find them. What readers get is a copy.
//   - Writers validate against all lines before theirs, durable or not.
//   - The times of lines never go backwards, whatever the clock does.
package registry
