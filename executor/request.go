package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// mostAnswer is how much of an answer is read.
const mostAnswer = 1 << 20

// request is one request to another system, which may be sent again.
type request struct {
	method, url string
	header      func(body []byte) http.Header // of each attempt
	body        any                           // JSON; nil for none
	key         string                        // what the waits between attempts are made from
	what        string                        // who is asked, for people: the webhook, Airflow
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
}

// send sends a request until it is answered with something other than "later": as long as ctx
// lives, the other side is away, or says 408, 425, 429 or 5xx, it is tried again.
func (x *Executor) send(ctx context.Context, r request) (*answer, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	for attempt := 1; ; attempt++ {
		got, err := x.once(ctx, &r, body)
		if err == nil && !again(got.status) {
			return got, nil
		}
		if err == nil {
			err = driftline.Errorf(driftline.Unavailable, "%s answers %d", r.what, got.status)
		}
		if code := driftline.CodeOf(err); code != driftline.Unavailable && code != driftline.Deadline {
			return nil, err
		}
		if pause(ctx, backoff(x.firstWait, r.key, attempt)) != nil {
			return nil, err
		}
	}
}

// again reports whether a request that was answered so may be answered otherwise later.
func again(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests
}

func (x *Executor) once(ctx context.Context, r *request, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "the address of %s is not valid", r.what).WithHint("write it like https://example.com/hook")
	}
	if r.header != nil {
		req.Header = r.header(body)
	}
	req.Header.Set("User-Agent", "driftline")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	got, err := x.client.Do(req)
	if err != nil {
		return nil, unreachable(r.what, err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, mostAnswer))
	if err != nil {
		return nil, unreachable(r.what, err)
	}
	if got.StatusCode/100 == 3 {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "%s answers with a redirect (%d), which is not followed", r.what, got.StatusCode).
			WithHint("name the address that it redirects to")
	}
	return &answer{got.StatusCode, text}, nil
}

// unreachable is why nothing was answered, without the address, which may be a secret.
func unreachable(what string, err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		err = about.Err
	}
	var lookup *net.DNSError
	var refused *net.OpError
	switch {
	case errors.Is(err, outbound.ErrPrivate):
		return driftline.Errorf(driftline.Permission, "%s cannot be reached: %w", what, outbound.ErrPrivate).
			WithHint("set allow_private in the file that driftline serve --training reads, if it is meant to")
	case errors.Is(err, context.DeadlineExceeded):
		return driftline.Errorf(driftline.Deadline, "%s did not answer within %s", what, requestTime)
	case errors.As(err, &lookup):
		return driftline.Errorf(driftline.Unavailable, "the host of %s cannot be resolved", what)
	case errors.As(err, &refused):
		return driftline.Errorf(driftline.Unavailable, "%s cannot be reached: %w", what, refused.Err)
	}
	return driftline.Errorf(driftline.Unavailable, "%s cannot be reached", what)
}

// said is what another system says of an error, cut to a length that people read.
func (a *answer) said(field string) string {
	var body map[string]any
	text := string(a.body)
	if json.Unmarshal(a.body, &body) == nil {
		if words, ok := body[field].(string); ok {
			text = words
		}
	}
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
