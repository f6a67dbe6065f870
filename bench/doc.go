// Command bench measures Driftline beside the best other way to do the same work, so
// that "fast" is a ratio that anyone can print again.
//
//	go run ./bench list                    the suites and their parts
//	go run ./bench SUITE                   all parts but the big ones; SUITE may be all
//	go run ./bench SUITE -only PART,PART   these parts, big ones too
//	go run ./bench SUITE -quick            all parts on tiny data: does everything work?
//	go run ./bench report [-write]         the tables of the last results, as Markdown; into RESULTS.md
//
// # How a number comes about
//
//	ours ──┐                       ┌─ A B A B A B A B A B ─┐
//	       ├─ same answer? ── yes ─┤  5 pairs              ├─ median of the ratios of the pairs
//	peer ──┘               no ─ ✗  └───────────────────────┘
//
// Both sides first do the work once and their answers are compared; answers that
// differ are a failure of the suite, whatever the speed. This run also warms both
// up. Then they take turns, because a shared machine has slow minutes, and a pair
// shares its minute. A ratio above 1 means that ours is better: less time, or more
// rows per second (a unit that ends in "/s"). A peer that is not installed is a
// printed skip and never a pass. A peer that needs a minute or more is measured once
// more and not five times; one that takes more than its limit of time or memory is
// ended, and the ratio is then the least that it can be ("> 120").
//
// Not every peer is another product. "At most 3 s" is a limit that an issue sets, and
// "ours, …" is other work of ours: that a join with corrections may take 1.2 times what
// it takes without is a goal of 0.833. Such rows have no answers to compare; each side
// is compared with another product in a row of its own.
//
// # Fairness
//
//   - Starting a process, importing modules and making the data are never timed.
//   - Ours is measured as users meet it: a real server in its own process, behind
//     the real client. Peers are libraries in their own process, without a network.
//   - Where a peer can be run in more than one way, it is run in its fastest.
//   - What the server does in the background after a table was filled, such as merging
//     files, is waited for. How many files a table has is printed.
//
// # Memory
//
// A limit on memory is compared with the greatest resident size of a server that has
// just been started (VmHWM), plus that of its worker processes. This counts the pages of
// mapped files, which the kernel takes back when it needs them; what is left without
// them is printed beside it.
//
// # Shape
//
// A suite is a list of parts. A part is a function that makes its data and calls
// [bench.compare] for each workload and peer. Parts that run together share one server
// and its tables, see [bench.shared] and [server.fillOnce]. Tables are made in a stream:
// 100M rows need as much memory as one batch. Peers are Python classes in peers/, driven by
// lines of JSON over stdin and stdout (see [peer]). Results go to results/SUITE.json,
// a table for each machine: a run replaces the rows of the parts that it had, wherever those
// were measured before, and leaves the rest where it was. Quick runs keep none.
package main
