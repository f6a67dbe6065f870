package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// mostAnswer is how much of an answer is read, so that the connection ends in order.
const mostAnswer = 64 << 10

// poster posts bodies to one URL.
type poster struct {
	client *http.Client
	url    string
}

func (p poster) post(ctx context.Context, n *driftline.Notice, body any, header http.Header) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return p.send(ctx, n, encoded, header)
}

func (p poster) send(ctx context.Context, n *driftline.Notice, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return unreachable(err)
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "driftline")
	req.Header.Set("Idempotency-Key", n.ID)
	answer, err := p.client.Do(req)
	if err != nil {
		return unreachable(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, mostAnswer) // what it says is not needed
	switch {
	case answer.StatusCode/100 == 3:
		return driftline.Errorf(driftline.Unavailable, "the receiver answers with a redirect (%d), which is not followed", answer.StatusCode).
			WithHint("give the channel the URL that it redirects to")
	case answer.StatusCode/100 != 2:
		return driftline.Errorf(driftline.Unavailable, "the receiver answers %d", answer.StatusCode)
	}
	return nil
}

// unreachable is why nothing arrived, without the URL, which may be a secret.
func unreachable(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		err = about.Err
	}
	switch {
	case errors.Is(err, outbound.ErrPrivate):
		return driftline.Errorf(driftline.Permission, "%w", outbound.ErrPrivate).WithHint("set allow_private if it is meant to")
	case errors.Is(err, context.DeadlineExceeded):
		return driftline.Errorf(driftline.Deadline, "the receiver did not answer within %s", attemptTime)
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return driftline.Errorf(driftline.Unavailable, "the receiver's host cannot be resolved")
	}
	var refused *net.OpError
	if errors.As(err, &refused) {
		return driftline.Errorf(driftline.Unavailable, "the receiver cannot be reached: %w", refused.Err)
	}
	return driftline.Errorf(driftline.Unavailable, "the receiver cannot be reached")
}

// webhook posts the notice itself.
type webhook struct {
	poster
	secret []byte
}

func (w webhook) deliver(ctx context.Context, n *driftline.Notice) error {
	told := *n
	told.State, told.Attempts, told.Next, told.Error = "", 0, time.Time{}, "" // the same body each time
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	header := http.Header{}
	if len(w.secret) > 0 {
		header.Set(outbound.SignatureHeader, outbound.Sign(w.secret, time.Now(), body))
	}
	return w.send(ctx, n, body, header)
}

// slack posts a text.
type slack struct{ poster }

var slackMarkup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (s slack) deliver(ctx context.Context, n *driftline.Notice) error {
	text := slackMarkup.Replace(strings.Join(lines(n), "\n"))
	return s.post(ctx, n, map[string]string{"text": text}, nil)
}

// alertmanager posts an alert as Prometheus does. It is told once that an alert fires, so
// the alert must not end by itself.
type alertmanager struct{ poster }

const (
	firingFor    = 365 * 24 * time.Hour
	happeningFor = 24 * time.Hour
)

type prometheusAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// happened is an alert of what happened once: it ends by itself.
func happened(n *driftline.Notice) prometheusAlert {
	h, severity := n.Happening, driftline.Info
	if h.Trouble() {
		severity = driftline.Warning
	}
	labels := map[string]string{
		"alertname": "DriftlineModel", "event": string(h.Event), "model": string(h.Model), "ref": h.Ref.String(), "severity": string(severity),
	}
	if h.Model == "" {
		labels["alertname"] = "DriftlineView"
		delete(labels, "model")
	}
	return prometheusAlert{
		Labels:      labels,
		Annotations: map[string]string{"summary": oneLine(title(n)), "description": oneLine(h.Text)},
		StartsAt:    h.Time.UTC(), EndsAt: n.Created.UTC().Add(happeningFor),
	}
}

func (m alertmanager) deliver(ctx context.Context, n *driftline.Notice) error {
	if n.Happening != nil {
		return m.post(ctx, n, []prometheusAlert{happened(n)}, nil)
	}
	a := &n.Alert
	alert := prometheusAlert{
		Labels: map[string]string{
			"alertname": "DriftlineDrift", "alert": string(a.ID), "monitor": string(a.Monitor), "severity": string(a.Severity),
		},
		Annotations: map[string]string{"summary": title(n), "description": strings.Join(lines(n)[2:], "\n")},
		StartsAt:    a.Raised.UTC(), EndsAt: n.Created.UTC().Add(firingFor),
	}
	if n.Kind == driftline.AlertResolved {
		alert.EndsAt = a.Resolved.UTC()
	}
	return m.post(ctx, n, []prometheusAlert{alert}, nil)
}
