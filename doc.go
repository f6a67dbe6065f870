// Package driftline holds the nouns of a columnar feature store and drift
// analytics engine; reading it is the quickest way to know the product.
//
// # The story
//
// A team declares [Entity], [FeatureView] and [FeatureService] objects, in YAML
// or Python, and applies them. Rows of a view arrive as Arrow [Batches]: by
// Flight, HTTP or from files. Each write is acknowledged once, durably, and is
// from then on visible in two places: in the offline store, immutable Parquet
// files under Iceberg snapshots, and in the online store, the newest row of each
// entity in an ordered key-value store.
//
// A data scientist sends a spine, rows of keys and times with labels, in a
// [HistoricalRequest]; the answer joins the values that were true at each row's
// time, one output row per spine row, and can be kept as a [Dataset]: a name, a
// version, a snapshot, a content hash. Training is a [Run] that records params,
// metrics and artifacts and names the dataset it read. A [ModelVersion] is a
// registered artifact of a run; an [Alias] such as "champion" points at one. A
// service asks for the same features online with an [OnlineRequest], and gets,
// for any time, what the offline join gives for that time. A [DriftReport]
// compares current data with reference data, column by column.
//
// Everything that happened is one line in a ledger, with its inputs. The
// catalogue, runs, models and datasets are folds of that ledger, and [Lineage] is
// its edges: from a model to the run, the dataset, the snapshots and the files
// that it came from. Everything is named by a [Ref], kind/name@version.
//
// # The house
//
// Imports go down only; layout_test.go keeps it so and says why.
//
//	4  cmd/driftline                           bench      examples
//	3  flight      web                         client (this package and the wire)
//	2  engine      the use cases: the only place where the rooms below meet
//	1  storage/offline  storage/online  query  registry
//	        └────────── storage/kv ─────────────┘        (storage/durable: files that survive a crash)
//	0  driftline (this package)    aggregate (arithmetic of windows)    drift (numbers only)
//
// Parquet and Iceberg live in storage/offline, Pebble in storage/kv, DuckDB in
// query, gRPC in flight and client, HTTP servers in web.
//
// # The point-in-time contract
//
// For a spine row with key k and time t, among a view's rows of key k with
// event time ≤ t (and ≥ t − TTL if the view has one, both inclusive), the row of
// the greatest (event time, created time, write sequence) counts. With KnownAt
// only rows created by t exist; with Strict the event time is before t. Null keys
// and times match nothing and keep their row. Times are microseconds in UTC, and
// a time without a zone is UTC.
//
// # Memory
//
// A batch that a stream yields is valid until the next iteration. Retain it to
// keep it and Release it when done. A function that takes a batch does not
// consume it. What a function returns, its caller releases.
//
// # Errors
//
// Every error that a user can meet is an [Error]: a [Code] from a closed list, a
// message that names the thing and what was wrong with it, and a hint that says
// what to do next. Each edge maps the code once.
package driftline
