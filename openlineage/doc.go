// Package openlineage speaks OpenLineage, the standard in which schedulers, transformation
// tools and catalogues tell each other what was made from what: its events as types, what
// makes one valid, the names by which our tables are known in it, and where events are sent.
//
// Events are those of version 2-0-2 of the specification (RunEvent, JobEvent and
// DatasetEvent). What a facet is called and which fields it must have is checked by tests
// against the specification's own JSON schema.
//
// The package knows neither the ledger nor HTTP routes. Which lines become events, and what
// becomes of events that come in, is the engine's.
package openlineage
