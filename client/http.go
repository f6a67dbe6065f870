package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/driftline/driftline"
)

// maxErrorBody bounds how much of a failed answer is read.
const maxErrorBody = 64 << 10

// path joins segments below /api/v1, each escaped.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// call sends in as JSON, if it is not nil, and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := encodeJSON(in)
	if err != nil {
		return err
	}
	response, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer closeBody(response.Body)
	return decodeJSON(response.Body, out)
}

// get and ask return the answer as a value of its own.
func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	return ask[T](ctx, c, http.MethodGet, path, nil)
}

func ask[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	answer := new(T)
	if err := c.call(ctx, method, path, in, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// field asks as ask does, and returns one field of the object that is answered.
func field[T any](ctx context.Context, c *Client, method, path string, in any, name string) (value T, err error) {
	var answer map[string]json.RawMessage
	if err := c.call(ctx, method, path, in, &answer); err != nil {
		return value, err
	}
	if raw, ok := answer[name]; ok {
		err = decodeJSON(bytes.NewReader(raw), &value)
	}
	return value, err
}

func encodeJSON(in any) (io.Reader, error) {
	if in == nil {
		return nil, nil
	}
	encoded, err := json.Marshal(in)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "cannot write the request as JSON: %w", err)
	}
	return bytes.NewReader(encoded), nil
}

func decodeJSON(body io.Reader, out any) error {
	if err := readJSON(body, out); err != nil {
		return driftline.Errorf(driftline.Internal, "cannot read the server's answer: %w", err).
			WithHint("is it a Driftline server of this version?")
	}
	return nil
}

func readJSON(body io.Reader, out any) error {
	report, ok := out.(*driftline.DriftReport)
	if !ok {
		return json.NewDecoder(body).Decode(out)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return report.ReadJSON(text)
}

// send returns the answer of a request that succeeded; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", contentType)
	}
	return c.sendWith(ctx, method, path, header, body)
}

// sendWith is send with headers of the caller's.
func (c *Client) sendWith(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "cannot make the request %s %s: %w", method, path, err)
	}
	request.Header = header
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode >= 300 {
		defer closeBody(response.Body)
		return nil, c.errorFrom(response)
	}
	return response, nil
}

// closeBody reads what is left of a small body so that the connection is kept.
func closeBody(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxErrorBody)
	_ = body.Close()
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.Canceled):
		return cause
	case cause != nil:
		return driftline.Errorf(driftline.Deadline, "the server at %s did not answer in time: %w", c.base, err)
	}
	return driftline.Errorf(driftline.Unavailable, "cannot reach the server at %s: %w", c.base, err).
		WithHint("is it running? start it with driftline serve")
}

func (c *Client) errorFrom(response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	failure := new(driftline.Error)
	if err := json.Unmarshal(body, failure); err == nil && failure.Code != "" {
		return failure
	}
	if failure.Message != "" { // the gateway answers in the words of MLflow, which knows no codes of ours
		failure.Code = codeOfStatus(response.StatusCode)
		return failure
	}
	return driftline.Errorf(driftline.Internal, "the server at %s answered %s", c.base, response.Status).
		WithHint("is it a Driftline server?")
}

// codeOfStatus is what a status says where nothing else does.
func codeOfStatus(status int) driftline.Code {
	switch status {
	case http.StatusBadRequest:
		return driftline.Invalid
	case http.StatusNotFound:
		return driftline.NotFound
	case http.StatusPreconditionFailed, http.StatusConflict:
		return driftline.FailedPrecondition
	case http.StatusTooManyRequests:
		return driftline.Exhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return driftline.Unavailable
	}
	return driftline.Internal
}
