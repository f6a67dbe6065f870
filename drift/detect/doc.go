// Package detect says, value by value, when a stream of numbers has changed: the error
// of a model, a metric, a sensor.
//
//	x₁ x₂ x₃ …  ──Update──▶  Stable | Warning | Change      one answer per value
//	                │
//	                └─ Append ─▶ bytes ─ Decode ─▶ the same detector, later
//
// A [Detector] is made by [New] from the name of its kind and parameters; [Kinds] lists
// both, with their defaults. Those of River's kinds are River's, and the alarms are
// raised at the same values. [Default] is a kind of our own, see scan.go; docs/statistics.md
// says what each kind is for and what fools it.
//
// # Invariants
//
//   - After a Change a detector has forgotten everything, and starts with the next value.
//   - Values that are not finite are missing: they change nothing, and are Stable.
//   - The same values in the same order give the same answers, also if the state was
//     written and read back in between.
//   - A detector's memory is bounded: no kind keeps more than some kilobytes.
//   - A detector is not safe for use by several goroutines.
//
// [Evaluate] measures detectors on streams whose changes are known.
package detect
