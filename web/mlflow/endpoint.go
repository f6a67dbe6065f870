package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// nothing is the empty answer, {}.
type nothing struct{}

// call is the endpoint that decodes a Q, asks handle, and sends its answer as JSON. Its
// body may be small; use [Endpoint.upTo] where it may be larger.
func call[Q, A any](method, path string, handle func(context.Context, *Q) (A, error)) Endpoint {
	return Endpoint{Method: method, Path: path, Body: small, Asks: *new(Q),
		Handle: func(w http.ResponseWriter, r *http.Request) error {
			request := new(Q)
			if err := decode(r, request); err != nil {
				return err
			}
			answer, err := handle(context.WithValue(r.Context(), personKey{}, person(r)), request)
			if err != nil {
				return err
			}
			return send(w, answer)
		}}
}

type personKey struct{}

// person is the name that a client gave with its password, if it did.
func person(r *http.Request) string {
	name, _, _ := r.BasicAuth()
	return name
}

// who is [person] of the request that a context is of.
func who(ctx context.Context) string {
	name, _ := ctx.Value(personKey{}).(string)
	return name
}

// do is [call] for what is answered with {}.
func do[Q any](method, path string, handle func(context.Context, *Q) error) Endpoint {
	return call(method, path, func(ctx context.Context, request *Q) (nothing, error) {
		return nothing{}, handle(ctx, request)
	})
}

// upTo returns the endpoint with another limit on its body.
func (e Endpoint) upTo(bytes int64) Endpoint {
	e.Body = bytes
	return e
}

// within returns the endpoint with another time allowed.
func (e Endpoint) within(allow time.Duration) Endpoint {
	e.Allow = allow
	return e
}

// send answers with v. It encodes before the first byte is sent, so that a failure still
// becomes a proper status.
func send(w http.ResponseWriter, v any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	sendBytes(w, http.StatusOK, body.Bytes())
	return nil
}

func sendBytes(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer may be gone; there is nobody left to tell
}
