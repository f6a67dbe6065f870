// Package estimate says how well a model does, with labels, with some of them, or with
// none, and why it does worse than it did.
//
//	labels known      ─ Measure    ─┐
//	some known        ─ Measure    ─┼─ Estimate: value, interval, how ─ Fell ─▶ has it fallen?
//	none, reference   ─ CBPE, DLE  ─┘                                            │
//	                                            Split: inputs or relationship ◀──┤ why
//	                                            Slices: the worst segments    ◀──┘
//
// It holds numbers only: columns of float64 in, structs out. It knows no tables or clocks.
//
// # Invariants
//
//   - NaN is missing. A row without what a metric needs is left out of that metric.
//   - Inputs are never changed or kept. The same input and seed give the same output.
//   - What cannot be computed is NaN, never an invented number.
//   - Intervals are two-sided, at 1−alpha.
package estimate
