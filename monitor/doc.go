// Package monitor decides, for a monitor, which panes of time are due and what an
// outcome means for its alert, as pure functions of (state, observation, now), so that
// what it decides can be checked against every history and never depends on when a
// process was up.
//
// Nothing here reads a clock, waits, or has an effect. The engine evaluates the panes that
// [Schedule.Due] names, hands each outcome to [Decide], and commits what that returns,
// state, alert and notices, in one batch with the pane's results.
//
//	            drifted < n of m                  n of m drifted
//	┌──────────┐ ──────────────► ┌───────────┐ ──────────────► ┌──────────┐
//	│    ok    │                 │  pending  │                 │  firing  │ one alert
//	└──────────┘ ◄────────────── └───────────┘                 └──────────┘
//	     ▲        no drift in m                                      │
//	     └───────────────────────────────────────────────────────────┘
//	          Clear panes in a row without drift, or somebody resolves it
//
// Invariants:
//
//   - A pane is due once: its end is after every pane that was evaluated before, and
//     [driftline.MonitorState.Through] never goes back, whatever the clock does.
//   - A monitor has one open alert at most, and an alert is raised by a pane that drifted.
//   - Who was told that an alert fires is told that it is resolved, once, and nobody else is.
//   - A pane that says nothing (it failed, or had too few rows) changes neither phase nor alert.
package monitor
