// Package drift says whether two samples come from the same distribution, by how
// much they differ, and whether there was enough data to know.
//
// It holds numbers only: slices in, plain structs out. It knows no tables, files
// or clocks, keeps no state and logs nothing.
//
// # From two columns to a verdict
//
//	reference ─┐                ┌─ KS          (real numbers)  ─┐ statistic
//	           ├─ test ─────────┤                               ├─ p-value ──── AdjustBH ──┐
//	current  ──┘                └─ ChiSquare   (categories)    ─┘ effect                   ├─ Decide
//	                                                              detectable effect ───────┘
//
// A p-value alone is no verdict: with enough rows any two samples differ, with
// few none do. So each test also gives an effect in [0, 1], the smallest effect
// that it could have found at these sample sizes, and [Decide] weighs the three.
//
// # Invariants
//
//   - Inputs are never changed, and never kept after a call returns.
//   - NaN is a missing value: counted, and left out of every test. The infinities
//     are values like any other. Positive and negative zero are equal.
//   - The same input gives the same output, bit for bit, however it is cut into
//     pieces and whichever algorithm its size selects.
//   - No function panics on any sample: what cannot be computed is NaN.
package drift
