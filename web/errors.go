package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/driftline/driftline"
)

// statuses maps each code once. A test keeps it complete.
var statuses = map[driftline.Code]int{
	driftline.NotFound:           http.StatusNotFound,
	driftline.AlreadyExists:      http.StatusConflict,
	driftline.Conflict:           http.StatusConflict,
	driftline.Invalid:            http.StatusBadRequest,
	driftline.FailedPrecondition: http.StatusPreconditionFailed,
	driftline.Exhausted:          http.StatusTooManyRequests,
	driftline.Deadline:           http.StatusGatewayTimeout,
	driftline.Permission:         http.StatusForbidden,
	driftline.Unauthenticated:    http.StatusUnauthorized,
	driftline.DataLoss:           http.StatusInternalServerError,
	driftline.Unavailable:        http.StatusServiceUnavailable,
	driftline.Internal:           http.StatusInternalServerError,
}

// statusError is an error whose HTTP status says more than its code does.
type statusError struct {
	shown  *driftline.Error
	status int
}

func (e *statusError) Error() string { return e.shown.Error() }

func (e *statusError) Unwrap() error { return e.shown }

func withStatus(status int, err *driftline.Error) error {
	return &statusError{shown: err, status: status}
}

// present turns any error into what a user may see of it, and its HTTP status.
func present(err error) (*driftline.Error, int) {
	var special *statusError
	if errors.As(err, &special) {
		return special.shown, special.status
	}
	var shown *driftline.Error
	switch {
	case errors.As(err, &shown):
	case errors.Is(err, context.DeadlineExceeded):
		shown = driftline.Errorf(driftline.Deadline, "the request took too long").WithHint("ask for less, or try again later")
	case errors.Is(err, context.Canceled):
		shown = driftline.Errorf(driftline.Unavailable, "the request was cancelled")
	default:
		shown = driftline.Errorf(driftline.Internal, "internal error")
	}
	if shown.Code == driftline.Internal {
		shown = &driftline.Error{Code: shown.Code, Op: shown.Op, Ref: shown.Ref, Message: "internal error",
			Hint: "the server's log names the cause"}
	}
	status, ok := statuses[shown.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	return shown, status
}

// writeError answers with the failure in the shape that the caller of the route
// reads: a page for a browser, Feast's for Feast's routes, ours otherwise.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	noteError(r, err)
	shown, status := present(err)
	sayWhen(w, status)
	switch {
	case isFeastRoute(r.URL.Path):
		writeJSON(w, status, feastError(shown))
	default:
		writeJSON(w, status, shown)
	}
}

// retryAfter is the seconds after which to ask again: queues move in seconds, and more
// patience would leave a server idle.
const retryAfter = "1"

// sayWhen tells clients that try again by themselves when to.
func sayWhen(w http.ResponseWriter, status int) {
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", retryAfter)
	}
}

func isFeastRoute(path string) bool { return path == "/get-online-features" || path == "/push" }

// feastClasses names the exceptions of feast.errors that Feast's client raises again.
var feastClasses = map[driftline.RefKind]string{
	driftline.KindView:    "FeatureViewNotFoundException",
	driftline.KindService: "FeatureServiceNotFoundException",
	driftline.KindEntity:  "EntityNotFoundException",
}

// feastError is Feast's error body: a string that holds JSON. Its client looks
// up module and class and raises that exception with the message.
func feastError(e *driftline.Error) string {
	class := "FeastError"
	switch e.Code {
	case driftline.NotFound:
		kind, _, _ := strings.Cut(e.Ref, "/")
		class = feastClasses[driftline.RefKind(kind)]
		if class == "" {
			class = "FeastObjectNotFoundException"
		}
	case driftline.Permission, driftline.Unauthenticated:
		class = "FeastPermissionError"
	}
	detail := map[string]string{"module": "feast.errors", "class": class, "message": e.Error(), "code": string(e.Code)}
	if e.Hint != "" {
		detail["hint"] = e.Hint
	}
	if e.Ref != "" {
		detail["ref"] = e.Ref
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return `{"module":"feast.errors","class":"FeastError","message":"internal error"}`
	}
	return string(text)
}

// clip shortens a hostile text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
