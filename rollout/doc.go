// Package rollout decides how a candidate becomes champion, as a pure function of (state,
// event, now): [Step]. It reads no clock, waits for nothing and has no effect. The engine hands it
// events, commits the state that comes back together with its effects, and applies those.
//
//	          loaded,            safe             safe, last stage        alias moved        time over
//	┌─────────┐ baseline ┌────────┐    ┌────────┐            ┌───────────┐        ┌────────┐      ┌──────────┐
//	│ pending │─────────►│ shadow │───►│ canary │───────────►│ promoting │───────►│ baking │─────►│ promoted │
//	└─────────┘          └────────┘    └─┬────▲─┘            └───────────┘        └────────┘      └──────────┘
//	                                     └────┘ safe: the next share
//
//	from each of them: ─► rolling_back ─► rolled_back     worse, inconclusive for too long, broken, or a person
//	                   ─► paused ─► where it was          a person, or a backup that was restored
//	                   ─► superseded, failed              a newer candidate; one that cannot be loaded
//
// # Evidence
//
// What requests came to is counted for each arm, at the source, in segments of constant shares
// ([Evidence]). [Judge] makes of it, and of the plan, a verdict that is valid however often one
// looks (package drift/sequential). Time only says when to ask.
//
// Requests of one key go to one arm and so are no independent evidence: a single customer whose
// every request fails would convict whoever has it. So a key counts once: its first event, its
// first request at an arm, its first value. Which keys were met is remembered in bits of a hash; two
// keys of one bit count as one, which loses a little evidence and invents none. Once most keys
// had an event, first ones say little; so all events of a segment that has ended are looked
// at too, at a level of their own, and divided by those of the key that has most.
//
// # What is left to the engine
//
//   - Each state is committed in one batch with the effects of its step, which are then applied
//     in their order, as often as it takes, and those that are awaited answered by [Applied] or
//     [Refused]. An alias that is where it is to move already was applied.
//   - Between two ticks it gathers observations: each request that was dealt by the route, once, and
//     none that was pinned. [Event.Elapsed] comes from a clock that cannot be set. Where rows were
//     lost, or could not be written, the tick says so in [Event.Blind].
//   - Who answers is the newest committed [driftline.Route]; there is nothing to ask this package
//     for each request.
//
// Invariants:
//
//   - The weights of a route add up to 100, and one version is champion.
//   - A candidate is rolled back as worse in every phase in which it has traffic, paused or not.
//   - What is our own fault (requests we failed, counts we lost, a clock that jumps) holds the
//     rollout where it is. It never rolls back and never promotes.
//   - Evidence of one route is never counted for another one, and pinned requests are none.
//   - A phase that has ended stays so, but for the rollback of what was promoted, by a person.
//   - The same state and event give the same state and effects, bit for bit.
package rollout
