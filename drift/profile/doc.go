// Package profile keeps what a column's values were, in some kilobytes, so that any window
// can be compared with any other one long after the values were read.
//
// A [Column] is made in one pass over the values and merges with others. What it holds is a
// function of the multiset of the values: merging commutes and associates, and gives to the
// last bit the profile of the rows of both. So it does not matter how rows were cut into
// files, threads, hours or machines.
//
//	reference ── NumberMap, CategoryMap ──► Map        frozen: what a cell is
//	                                         │
//	values ─────────── AddNumbers ───► Column ── Merge ──► Column of a longer window
//	                                     │  │
//	                              AppendHead AppendBody       bytes, to be kept
//	                                     │  │
//	                       CompareOutlines  Compare ──► D, Wasserstein: brackets
//	                                           │
//	                                      Refinement ──► D, by a second pass over few values
//
// # What is kept
//
//	rows, nulls, NaN, −∞, +∞     counts
//	moments                      exact sums of x and x²: mean and deviation are rounded once
//	least and greatest           of the finite numbers
//	cells                        65,536 counts, see [Map]: the distribution, to within a cell
//	spikes                       exact counts of values that many rows of the reference have
//	distinct values              a sketch of 4 KiB with a standard error of 1.6 %
//	names                        of up to 4,096 categories with their exact counts, and of
//	                             1,024 more that a reference with too many has most of; the
//	                             others are counted by cells of their hashes
//
// # Bounds, not estimates
//
// Nothing is estimated where a bound can be had: the distance of two distributions lies in
// a [Bracket] for certain, because counts are exact and only the order inside a cell is not
// known. Only the number of distinct values is an estimate.
//
// # Bytes
//
// A profile is written as a head, which most comparisons need alone, and a body. Numbers of
// fixed width are little-endian, counts are varints.
//
//	head  ┌────┬─────────┬────────────────┬────────┬────────┬────────┬───────┬─────────────┐
//	      │ 17 │ kind: 1 │ fingerprint: 8 │ totals │ groups │ spikes │ names │ checksum: 8 │
//	      └────┴─────────┴────────────────┴────────┴────────┴────────┴───────┴─────────────┘
//	body  ┌────┬─────────┬────────────────┬───────┬──────────────────────┬───────┬─────────────┐
//	      │ 33 │ kind: 1 │ fingerprint: 8 │ cells │ distinct: length, …  │ names │ checksum: 8 │
//	      └────┴─────────┴────────────────┴───────┴──────────────────────┴───────┴─────────────┘
//	map   ┌────┬─────────┬───────────┬───────┬────────────┬──────────────────┬─────────────────────────┬─────────────┐
//	      │ 1  │ kind: 1 │ byBits: 1 │ lo: 8 │ perUnit: 8 │ spikes: count, … │ names: count, length, … │ checksum: 8 │
//	      └────┴─────────┴───────────┴───────┴────────────┴──────────────────┴─────────────────────────┴─────────────┘
//
//	kind         1 numbers, 2 categories
//	fingerprint  xxHash64 of the map's fields
//	totals       rows, nulls, NaN, −∞, +∞; a 1, least (8), greatest (8), Σx, Σx² as package
//	             exact writes them, or a 0 if there are no finite numbers
//	groups       counts of 64 cells each; groups, spikes and cells end with a 0, and before it
//	             are 2n for a count of n and 2n + 1 for n counts of zero
//	names        a 1, how many, and of each length, name, count in ascending order; or a 0.
//	             They are in the head if they are all and at most 256
//	checksum     xxHash64 of all before it
package profile
