package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

const (
	// eventEvery is how often a stream looks whether anything has happened, and beatEvery how
	// often it says that it is alive although nothing has.
	eventEvery = 200 * time.Millisecond
	beatEvery  = 15 * time.Second

	// mostStreams bounds the streams of a server, and eventWrite how long a reader may take for
	// what it is sent: who is slower is cut off, and goes on from the last that it got.
	mostStreams = 256
	eventWrite  = 30 * time.Second
)

// streamPace is how often a stream says that it is alive, and how long a reader may take.
type streamPace struct{ beat, write time.Duration }

// eventList is a stretch of the ledger as events.
type eventList struct {
	Events []driftline.Event `json:"events"`
	Next   uint64            `json:"next"` // to be given as after
}

// getEvents answers with events as JSON, or, to who accepts text/event-stream, with a stream
// that goes on for ever:
//
//	id: 417
//	event: rollout.changed
//	data: {"seq": 417, "time": …}
//
// The id is the number of the ledger line, so whoever comes back with Last-Event-ID misses nothing.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	filter := driftline.EventFilter{Model: driftline.ModelName(query.Get("model")), Kinds: query["kind"]}
	if err := filter.Check(); err != nil {
		return err
	}
	if filter.Model != "" {
		if _, err := s.engine.Registry().Model(filter.Model); err != nil {
			return err
		}
	}
	stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	after, err := placeOf("after", query.Get("after"))
	if last := r.Header.Get("Last-Event-ID"); err == nil && last != "" {
		after, err = placeOf("Last-Event-ID", last)
	} else if err == nil && stream && query.Get("after") == "" {
		after = s.engine.NewestEvent()
	}
	if err != nil {
		return err
	}
	if stream {
		return s.streamEvents(w, r, after, filter)
	}
	events, next, err := s.engine.EventsAfter(r.Context(), after, filter, mostEventLines)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, eventList{Events: events, Next: next})
	return nil
}

func placeOf(name, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	place, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, unfit("%s is %q, want the number of an event", name, clip(text))
	}
	return place, nil
}

// streamEvents sends events until the peer is gone or the server stops. What is not sent yet is
// in the ledger, and not in memory.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request, after uint64, filter driftline.EventFilter) error {
	if s.streams.Add(1) > mostStreams {
		s.streams.Add(-1)
		return driftline.Errorf(driftline.Exhausted, "the server has %d streams of events already", mostStreams).WithHint("read them as JSON, with after")
	}
	defer s.streams.Add(-1)
	// What is wrong is said before anything is sent.
	events, after, err := s.engine.EventsAfter(r.Context(), after, filter, usualEventLines)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // not every ResponseWriter has deadlines (tests)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	send := func(text []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(s.pace.write))
		if _, err := w.Write(text); err != nil {
			return err
		}
		return control.Flush()
	}
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	text, said := fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", after), time.Now()
	for {
		text = appendEvents(text, events)
		if len(text) == 0 && time.Since(said) >= s.pace.beat {
			text = fmt.Appendf(nil, ": nothing new\nid: %d\n\n", after)
		}
		if len(text) > 0 {
			if send(text) != nil {
				return nil // the peer is gone, or too slow; there is nobody left to tell
			}
			text, said = text[:0], time.Now()
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stopping:
			return nil
		case <-tick.C:
		}
		if events, after, err = s.engine.EventsAfter(r.Context(), after, filter, usualEventLines); err != nil {
			noteError(r, err)
			return nil // the stream ends, and the peer comes back to an error
		}
	}
}

// followed is the stream of what happens to a model ("": to any) from now on, for a page that is
// read again when it does. It is to be asked for before what the page shows is read, so that nothing
// falls between the two.
func (s *Server) followed(model driftline.ModelName, kinds ...string) string {
	query := url.Values{"after": {strconv.FormatUint(s.engine.NewestEvent(), 10)}}
	if model != "" {
		query.Set("model", string(model))
	}
	if len(kinds) > 0 {
		query["kind"] = kinds
	}
	return "/api/v1/events?" + query.Encode()
}

func appendEvents(text []byte, events []driftline.Event) []byte {
	for i := range events {
		e := &events[i]
		data, err := json.Marshal(e)
		if err != nil {
			continue // of strings and numbers: it cannot fail
		}
		text = fmt.Appendf(text, "id: %d\nevent: %s\ndata: %s\n\n", e.Sequence, e.Kind, data)
	}
	return text
}
