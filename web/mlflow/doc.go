// Package mlflow speaks MLflow's REST protocol, so that the published mlflow client
// tracks runs and registers models here unchanged. It is a thin translation: what a run,
// an experiment or a model is, and what may be done with it, is the registry's to say.
//
// Everything is in one table, [Service.Endpoints]: a method, a path, the type of the
// request and the function that answers it. Package web mounts each line under
// /api/2.0 and /ajax-api/2.0, behind the gates that hold for all of its routes.
//
// # Reading a request
//
// A request type is a struct whose fields have the names of MLflow's protocol buffers.
// Decoding follows their JSON rules and not those of our own API:
//
//   - Unknown fields are ignored: newer clients send some.
//   - int64 is a number or a string of digits, an enum a name or a number, a double also
//     "NaN", "Infinity" or "-Infinity". null is a field left out.
//   - run_uuid means run_id.
//   - A GET has its fields in the query, repeated ones as repeated parameters. DELETE and
//     PATCH have a body, as POST has.
//   - The body may be JSON within a JSON string, as old clients wrote it.
//   - POST and PUT must say Content-Type: application/json, because a page of another
//     site can send a form or plain text here, and nothing else.
//
// Sizes are counted on bytes before anything is decoded.
//
// # Answering
//
// Answers leave out what is unset; int64 are numbers. Every failure, wherever it comes
// from, leaves as {"error_code", "message"} by one map from [driftline.Code], see
// [WriteError]. The client repeats a request for minutes after any of 408, 429, 500, 502,
// 503 and 504, so these are sent only where a repetition can help.
package mlflow
