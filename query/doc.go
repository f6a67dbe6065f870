// Package query is the only place where DuckDB runs: it turns plans into SQL text
// and SQL text into batches, and it keeps nothing between two queries.
//
// Three things come out of it:
//
//	PlanHistorical ─► HistoricalPlan ─► DB.Historical    a training set (trusted SQL, made here)
//	DB.ParseSelect ─► Select         ─► DB.Select        a user's SELECT (checked, then sandboxed)
//	DB.ReadFile                                          a local file of the command line
//
// # Invariants
//
//   - Every query has an in-memory database of its own, which dies with it. Nothing
//     that one caller does can be seen by another.
//   - A plan is a pure function of the request, the schemas and the views. Its SQL
//     names tables (spine, v0, v1, …) and never a file.
//   - Text from a user is never prepared or run. It is parsed to a syntax tree, the
//     tree is checked, and what runs is the text that the tree is written back to.
//   - The session's time zone is UTC, always.
//
// # A point-in-time join
//
//	spine batches ─► chunk ──┬── all columns ──────────────────────── held in Go ───────┐
//	                         └── times and keys ──┬─► package merge, beside the rows ──┤
//	                                              │     of each view that are sorted    ├─► zip ─► batches
//	                                              └─► table spine ─► SELECT … ASOF JOIN ┘
//	                                                    over each view that is not
//
// Each view gives exactly one row per spine row, in spine order, so that the columns of
// all views lie side by side without a join, and the spine's other columns never leave
// Go. A chunk is answered before the next one is read: memory does not grow with the
// spine or the answer. [DB.Historical] says which views are merged. Both ways give the
// same answer, which the plan's SQL defines and an oracle tests.
//
// The aggregated features of a view are a use of their own beside its stored ones. They are
// always computed by package merge, with the states of package aggregate, and hold the
// events of one entity per thread; the columns are put back into the order asked for.
//
// # Admission
//
// Training sets share Options.MemoryBytes. Each takes a sixteenth of a quarter for its first
// rows and a quarter when its spine goes on; who finds none free waits in line, and is
// Exhausted if the line or the wait is too long.
//
// # Ownership
//
// Batches follow the rule of [driftline.Batches]. Methods of [DB] may be called
// concurrently; a HistoricalPlan and a Select are immutable and may be shared.
package query
