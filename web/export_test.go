package web

import "strings"

// Routes lists the routes of our own API as OpenAPI writes them.
func (s *Server) Routes() []string {
	var routes []string
	for _, r := range s.routes {
		if !r.page && !r.wire {
			routes = append(routes, r.method+" "+strings.ReplaceAll(r.path, "...}", "}"))
		}
	}
	return routes
}

// Statuses is the map of codes, for the test that keeps it complete.
var Statuses = statuses

// WriteError answers as a route of the API that failed with err.
var WriteError = writeError

// WindowText is how a page says a stretch of time.
var WindowText = windowText

// ColumnValue is how a page shows an end of a column.
var ColumnValue = columnValue
