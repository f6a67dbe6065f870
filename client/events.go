package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// EventPage is a stretch of what happened: Next is to be given as after.
type EventPage struct {
	Events []driftline.Event `json:"events"`
	Next   uint64            `json:"next"`
}

// Events returns what happened after an event (0: from the first on), a stretch of it at a time:
// all has been said once Next is the after that was asked for.
func (c *Client) Events(ctx context.Context, after uint64, filter driftline.EventFilter) (*EventPage, error) {
	query := eventQuery(filter)
	query.Set("after", strconv.FormatUint(after, 10))
	return get[EventPage](ctx, c, withQuery(path("events"), query))
}

func eventQuery(filter driftline.EventFilter) url.Values {
	query := url.Values{}
	if filter.Model != "" {
		query.Set("model", string(filter.Model))
	}
	for _, kind := range filter.Kinds {
		query.Add("kind", kind)
	}
	return query
}

// The waits between two attempts to come back to a server that was there.
const (
	leastReturn = 500 * time.Millisecond
	mostReturn  = 30 * time.Second
)

// FollowEvents yields events as they happen, from now on or, if after is not nil, after that one.
// A connection that breaks is made again, and nothing is missed or said twice. It ends with an error
// when the first connection fails, when the server refuses, and when ctx ends.
func (c *Client) FollowEvents(ctx context.Context, after *uint64, filter driftline.EventFilter) iter.Seq2[driftline.Event, error] {
	return func(yield func(driftline.Event, error) bool) {
		place, wait, connected := after, leastReturn, false
		for {
			done, err := c.followOnce(ctx, &place, filter, func(e driftline.Event) bool {
				wait = leastReturn
				return yield(e, nil)
			}, func() { connected = true })
			switch {
			case done:
				return
			case ctx.Err() != nil:
				yield(driftline.Event{}, ctx.Err())
				return
			case err != nil && (!connected || driftline.CodeOf(err) != driftline.Unavailable):
				yield(driftline.Event{}, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, mostReturn)
		}
	}
}

// followOnce reads one stream to its end, and moves place along. done: nobody listens any more.
func (c *Client) followOnce(ctx context.Context, place **uint64, filter driftline.EventFilter, tell func(driftline.Event) bool, connected func()) (done bool, err error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if *place != nil {
		header.Set("Last-Event-ID", strconv.FormatUint(**place, 10))
	}
	response, err := c.sendWith(ctx, http.MethodGet, withQuery(path("events"), eventQuery(filter)), header, nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	connected()
	for block, err := range eventBlocks(response.Body) {
		if err != nil {
			return false, nil // it broke: the server is asked again, and says so if it is gone
		}
		if block.data == nil {
			*place = &block.id
			continue
		}
		var event driftline.Event
		if err := json.Unmarshal(block.data, &event); err != nil {
			return false, driftline.Errorf(driftline.Internal, "cannot read an event of the server: %w", err)
		}
		if !tell(event) {
			return true, nil
		}
		*place = &event.Sequence
	}
	return false, nil
}

// eventBlock is one event of a stream as it is sent; without data it only says the place.
type eventBlock struct {
	id   uint64
	data []byte
}

// mostEvent is how many bytes a line of a stream may have.
const mostEvent = 1 << 20

func eventBlocks(body io.Reader) iter.Seq2[eventBlock, error] {
	return func(yield func(eventBlock, error) bool) {
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, mostEvent)
		block, named := eventBlock{}, false
		for lines.Scan() {
			name, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
			switch {
			case len(lines.Bytes()) == 0:
				if named && !yield(block, nil) {
					return
				}
				block, named = eventBlock{}, false
			case string(name) == "id":
				id, err := strconv.ParseUint(string(value), 10, 64)
				block.id, named = id, err == nil
			case string(name) == "data":
				block.data = bytes.Clone(value)
			}
		}
		if err := lines.Err(); err != nil {
			yield(eventBlock{}, err)
		}
	}
}
