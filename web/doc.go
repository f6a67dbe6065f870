// Package web lets people and services that speak HTTP use Driftline: a JSON API
// for everything the command line shows, online features in Feast's shape, a
// drift report as a page, Prometheus metrics, and a small UI to look around in.
//
// It is an edge: it decodes, calls one use case of the engine, and encodes. It
// holds no state but its counters, so two servers over one engine would agree.
//
// # What comes in
//
// Every request passes the same gates, in this order, before a handler sees it:
//
//		panic → span, log line, metrics → Host allow-list → same-origin → route → size limit → strict JSON
//
//	  - Host must name this machine (see [Options.Hosts]), so a web page cannot
//	    reach the server by rebinding its own name to 127.0.0.1. 421 otherwise.
//	  - A browser may only write from our own pages; there is no CORS. 403 otherwise.
//	  - A body is at most the route's size, counted before it is decoded. 413 otherwise.
//	  - JSON must be one value of the documented shape: unknown fields, wrong types
//	    and trailing bytes are errors that name the field. Numbers keep every digit.
//
// # What goes out
//
// Every answer outside the UI is JSON, and every failure is a [driftline.Error]:
//
//	{"code": "not_found", "message": "feature view \"wether\" does not exist", "hint": "did you mean \"weather\"?"}
//
// The two routes in Feast's shape, /get-online-features and /push, answer failures
// as Feast does, because its client insists: a JSON string that itself holds JSON.
// Code, hint and ref are inside it too.
package web
