package openlineage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// Sink is where events are sent: a server, or a file to which each is added as a line.
type Sink struct {
	target    string
	namespace string
	key       string // of the server; "" for none
	client    *http.Client
}

// Settings say where events go.
type Settings struct {
	URL       string // http(s)://host[/path], or file:PATH
	Namespace string // of our jobs and tables; [Namespace] if left out
	APIKey    string // sent as a bearer token
}

// Timeout is how long one attempt may take.
const Timeout = 10 * time.Second

// Open returns the sink of the settings, nil if they name none. An address without a path
// is that of a server, whose events go to /api/v1/lineage.
func Open(s Settings) (*Sink, error) {
	sink := &Sink{namespace: s.Namespace, key: s.APIKey, client: &http.Client{Timeout: Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if sink.namespace == "" {
		sink.namespace = Namespace
	}
	if s.URL == "" {
		return nil, nil
	}
	if path, ok := strings.CutPrefix(s.URL, "file:"); ok && path != "" {
		sink.target = s.URL
		return sink, nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, driftline.Errorf(driftline.Invalid, "the address for OpenLineage events is not valid").
			WithHint("write http://host:port, or file:PATH; a key belongs in DRIFTLINE_OPENLINEAGE_API_KEY")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/v1/lineage"
	}
	sink.target = u.String()
	return sink, nil
}

// Namespace is that of our own jobs and tables.
func (s *Sink) Namespace() string { return s.namespace }

// ErrRefused says that the receiver will never take the event.
var ErrRefused = errors.New("the event was refused")

// Send delivers one event. An error that is [ErrRefused] stays; others may pass.
func (s *Sink) Send(ctx context.Context, e *Event) error {
	encoded, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if path, ok := strings.CutPrefix(s.target, "file:"); ok {
		return appendLine(path, encoded)
	}
	return s.post(ctx, encoded)
}

// appendLine is durable when it returns, as what was sent to a server is.
func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *Sink) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be asked") // the cause has the address
	}
	request.Header.Set("Content-Type", "application/json")
	if s.key != "" {
		request.Header.Set("Authorization", "Bearer "+s.key)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		var wrapped *url.Error // says the address, which may have a secret in its query
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 300)) // what it says helps, and no more
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity || code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: HTTP %d: %s", ErrRefused, code, strings.ToValidUTF8(string(said), ""))
	default:
		return fmt.Errorf("HTTP %d", code)
	}
}
