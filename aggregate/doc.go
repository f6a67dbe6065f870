// Package aggregate computes the aggregations of feature views: numbers only, without
// stores, clocks or goroutines. The offline join, the online store and the tests share it,
// so that a feature has one arithmetic.
//
// # What is computed
//
// A [Plan] is made of a view. It says which columns and filters its events are read by,
// and shares work: sum and mean of one column with one filter are one cell, and so are all
// windows of an aggregation. A [State] holds the cells of some events. A [Query] is the
// part of a plan that a request asks for; [Query.At] says which spans of events the
// windows at a time are, and makes the values.
//
//	view ── NewPlan ──► Plan ── Query(names) ──► Query ── At(t) ──► values ── Append ──► Arrow
//	                     │                        │
//	              NewState: all cells      NewState: cells asked for
//
// # Why every way of computing gives the same bits
//
// What a state holds is a function of the set of its events: adding them, and merging
// states of disjoint sets, commute and associate without any rounding, and one set has one
// form in bytes. So it does not matter how events were cut into tiles, when they came, or
// in which order they are read; only the value that is made in the end is rounded, once.
//
//	count                  a counter
//	sum, mean              the exact sum, of any size, rounded half to even after the division
//	stddev                 exact Σx and Σx²; n·Σx² − (Σx)² is exact, then one rounding and a root
//	min, max               by a total order: −0 < 0, and NaN after all numbers
//	first, last, last_n    by (event time, created time, write sequence), which no two rows share
//	approx_count_distinct  2^12 registers of maxima; standard error 1.04/√2^12 = 1.6 %
//	approx_quantile        counts by logarithm; within 1 % of the value of rank ⌊q·(n − 1)⌋
//	top_k                  exact counts; of equal counts the lesser value comes first
//
// Values that are no finite number go into sums as IEEE 754 has it: NaN, or infinities of
// both signs, make NaN. approx_quantile leaves NaN out. A truth value counts as 0 or 1.
//
// # Events
//
// Rows of a view that are equal in join keys, event time and event id are versions of one
// event, and only the one with the greatest (created time, write sequence) may be added to
// a state. Whether the event passes a filter is its caller's to say: a filter is a text here.
//
// # Tiles
//
// A tile is the bytes of a [State] ([State.AppendTo]) of all events of an entity in a span
// of time; [Plan.NewState] has all that any request may ask for. A reader makes one state
// of its query, and lets [Query.At] call back for each span:
//
//	values := make([]aggregate.Value, len(query.Features))
//	err := query.At(t, strict, state, values, func(s *aggregate.State, span aggregate.Span) error {
//		for each tile that lies within [span.From, span.To] {
//			s.Merge(tile)                // straight from the bytes
//		}
//		for each event at the edges {
//			s.Add(&event)
//		}
//	})
//
// Windows of one hop grow out of each other: the spans of one time do not overlap, so a
// tile is merged once, whatever the number of windows. Cells that no window from there on
// needs are skipped in the bytes. [Plan.Made] tells tiles of another plan, which say
// nothing any more and must be made again. A state is reused by [State.Reset], and then
// merging allocates nothing, but for categories and for values of top_k.
//
// A [Timeline] is the same for events that are in memory.
//
// # Bytes of a state
//
//	┌─────────┬─────────────────┬───────────────────────────────┬─
//	│ 1: form │ 8: fingerprint  │ for each cell: length, bytes   │ …   lengths and counts are varints,
//	└─────────┴─────────────────┴───────────────────────────────┴─   fixed numbers little-endian
//
//	count            n
//	sum              n, odd values (1), Σx;  Σ is the number of limbs, the lowest one's place, the limbs (8 each)
//	stddev           n, odd values (1), Σx, Σx²
//	min, max         the number (8), ordered as unsigned; of text a 1 and the text
//	first, last      event time, created, sequence, value; last_n has several
//	distinct         0 and the registers above 0 as differences, or 1 and all of them (4096)
//	quantile         zeros, negative and positive buckets: their number, then (difference of index, n)
//	top_k            each (length, key, n), sorted by key
//	by category      each (length, category, length, state), sorted by category
//
// A cell of no events is of length 0.
package aggregate
