package web

import (
	"strings"
	"time"
)

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

// MostStreams bounds the streams of events of a server.
const MostStreams = mostStreams

// SetStreamPace makes streams of events say more often that they are alive, and lets readers
// take less time. It is called before the server serves.
func (s *Server) SetStreamPace(beat, write time.Duration) { s.pace = streamPace{beat, write} }

// Streams is how many streams of events are under way.
func (s *Server) Streams() int64 { return s.streams.Load() }
