// Package trigger decides when a model is trained: what its triggers see, which of it leads to
// a training run, and who may execute that. All of it is pure functions of (policy, state,
// what was seen, now).
//
//	time ────────┐
//	performance ─┤            already ─► the same run again
//	data ────────┼─► cause ─┬ a run goes on ─► attached to it, or to the one that follows
//	drift ───────┤          ├ too soon, too often, nothing new … ─► suppressed, with the reason
//	version ─────┤          └ otherwise ─► a run: queued ─► running ─► succeeded │ failed │ timed out
//	request ─────┘                           ▲                │ lease over
//	                                         └────────────────┘
//
// Causes come at least once, and a run begins for each at most once: a cause has a
// [Fingerprint], and the engine keeps which run each led to, in the batch that began it.
//
// # What is left to the engine
//
// It keeps the state of each policy, and under each fingerprint the run that it led to, in the
// batch in which [Fire] said so; asks [Agenda] which policies are due, and for these calls
// [Schedule.Due], [Expire] and [Claim]; and hands windows, alerts, counts and requests to the
// functions that make causes of them.
//
// Invariants:
//
//   - A model has one active run at most, and one that follows it.
//   - A time of a cron expression is dealt with once, whatever the clock does, and however
//     often the server starts.
//   - What is reported under a token that is not the newest of the run changes nothing.
//   - A suppression says why, and when such a cause would be listened to.
//   - Noise fires a performance trigger with probability Alpha at most, from one champion to the
//     next.
package trigger
