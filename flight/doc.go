// Package flight lets programs move whole columns in and out of a Driftline server:
// Arrow Flight and Flight SQL, over the use cases of engine, on one gRPC port.
//
// Commands are JSON, in a descriptor's cmd or in a ticket, and always name an op:
//
//	DoPut       ingest                      rows in → one IngestResult
//	            push                        rows in → one IngestResult or error per batch
//	DoGet       dataset, view, online       ticket in → rows out
//	DoExchange  historical                  spine in → training set out, then its report
//	            online                      entities in → values out, batch for batch
//	            history                     entities in → rows kept of them out, batch for batch
//	            drift                       two tables in → report
//	            validate                    a table in → report
//	ListFlights, GetFlightInfo, GetSchema   the views and datasets that there are
//	DoAction    healthcheck, route
//
// A command that is a protobuf Any is Flight SQL's. A statement's ticket holds its
// text, so nothing waits on the server for a client that never comes back; only
// prepared statements live here, few at a time and not for long.
//
// What holds for every call:
//   - bytes from the wire are verified before a decoder sees them (package
//     ipcverify), and values before the engine sees them;
//   - batches out are handed to the transport, not copied into messages (codec.go);
//   - batches out are at most 2 MiB, so that clients with gRPC's default limit of
//     4 MiB can read them; a single larger row is sent as it is;
//   - a client that goes away ends the work that was done for it;
//   - a panic is an internal error of that call; errors are mapped to gRPC once,
//     in status.go; and one line per call is logged, when it has ended.
package flight
