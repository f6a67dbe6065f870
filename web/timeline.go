package web

import (
	"net/http"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// shownEvents is how many events a time line has that asks for no number.
const shownEvents = 500

func (s *Server) timeline(r *http.Request) (*driftline.Timeline, error) {
	since, err := s.sinceOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := numberIn(r, "limit", shownEvents)
	if err != nil {
		return nil, err
	}
	return s.engine.Timeline(r.Context(), modelOf(r), since, min(limit, engine.MostTimeline))
}

// sinceOf reads the query parameter since: a time, or a length before now such as 7d.
func (s *Server) sinceOf(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	if since, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return since, nil
	}
	span, err := driftline.ParseSpan(text)
	if err != nil {
		return time.Time{}, driftline.Errorf(driftline.Invalid, "since %q is no time", clip(text)).
			WithHint("write a time like 2013-06-01T12:00:00Z, or a length before now like 12h, 7d or 1mo")
	}
	return span.Before(s.engine.Now()), nil
}
