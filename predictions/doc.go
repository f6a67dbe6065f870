// Package predictions keeps the promises of a prediction log: that it never slows who serves,
// that its memory is bounded, that what it could not keep is counted to the row, and that a
// label that comes late, twice or before its prediction means what it would have meant in time.
//
//	records ─► Ring ─► Table ─► rows of the log's feature view ─┐
//	           │ full: drop oldest, block or sample             ├─► Joined: predictions with their labels
//	           └ Counts: logged + dropped + waiting = served    │
//	labels ────────────► rows of the label view ────────────────┘
//
// A log is a feature view as any other and so are its labels, so nothing is ever joined in
// place: [Joined] is a SELECT over the two, and a function of their rows alone. A label that
// waits for its prediction is a row without a partner, a correction is a later row, and one
// that was sent twice changes nothing.
//
// # What is left to the engine
//
// It makes the views, adds columns when features appear that have none, moves rows from the ring
// into the view, and answers who waits for that.
//
// Invariants:
//
//   - Each record that was offered is logged, dropped for one [Reason], or waiting.
//   - A ring holds at most as many rows and bytes as its limits say, those that are being
//     written included.
//   - With DropOldest and Sample, Offer never waits.
//   - A prediction has at most one label at a time: that of the greatest (event time, arrival).
package predictions
