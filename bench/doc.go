// Command bench measures Driftline beside the best other way to do the same work, so
// that "fast" is a ratio that anyone can print again.
//
//	go run ./bench SUITE [--quick]     SUITE is pit, online, ingest, flight, drift or all
//	go run ./bench report [--write]    the tables of the last results, as Markdown; into RESULTS.md
//
// # How a number comes about
//
//	ours ──┐                       ┌─ A B A B A B A B A B ─┐
//	       ├─ same answer? ── yes ─┤  (3 pairs if --quick) ├─ median of the ratios of the pairs
//	peer ──┘               no ─ ✗  └───────────────────────┘
//
// Both sides first do the work once and their answers are compared; answers that
// differ are a failure of the suite, whatever the speed. This run also warms both
// up. Then they take turns, because a shared machine has slow minutes, and a pair
// shares its minute. A ratio above 1 means that ours is better: less time, or more
// rows per second (a unit that ends in "/s"). A peer that is not installed is a
// printed skip and never a pass.
//
// # Fairness
//
//   - Starting a process, importing modules and making the data are never timed.
//   - Ours is measured as users meet it: a real server in its own process, behind
//     the real client. Peers are libraries in their own process, without a network.
//   - Where a peer can be run in more than one way, it is run in its fastest.
//
// # Shape
//
// A suite is a function that makes its data and calls [bench.compare] for each
// workload and peer. Peers are Python classes in peers/, driven by lines of JSON
// over stdin and stdout (see [peer]). Results go to results/SUITE.json.
package main
