// Package gateway answers for models that other processes serve: it looks a model's features up,
// forwards to the server of the version that the model's route chooses, and logs what came of it.
//
//	request ─► decide ─► look up ─► model server of the arm ─► check ─► answer ─► log
//	            route     features        │ fault                 ▲       │
//	                      by keys         └─► champion, if the ───┘       └─► mirror, after the
//	                                          route falls back                answer has left
//
// It speaks the Open Inference Protocol (version 2, HTTP and gRPC) and that of MLflow's
// scoring server, on either side.
//
// A [Scorer] asks the same servers about rows of a dataset, for evaluations: no route, no log.
//
// Invariants:
//
//   - Each request that was dealt is one record for each of its rows, whatever became of it, and one
//     that was refused before (an unknown model, a body that cannot be read) is none.
//   - A caller that hangs up does not end the model's work: a slow version would otherwise lose
//     its slowest answers, and look better than it is.
//   - What the model did wrong and what we did wrong are different faults, and never mixed.
//   - A mirrored request waits for its first answer, is answered to nobody, and is
//     dropped, counted, where there is no room.
//   - What waits and what is held is bounded, in number and in bytes.
package gateway
