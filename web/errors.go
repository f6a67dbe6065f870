package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/web/mlflow"
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
// reads: MLflow's and Feast's for theirs, ours otherwise.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	noteError(r, err)
	shown, status := present(err)
	sayWhen(w, status)
	switch {
	case mlflow.Owns(r.URL.Path):
		mlflow.WriteError(w, r, err, shown, status)
	case gateway.Owns(r.URL.Path):
		gateway.WriteError(w, r, shown, status)
	case isFeastRoute(r.URL.Path):
		writeJSON(w, feastStatus(r.URL.Path, shown, status), feastError(r.URL.Path, shown))
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

// feastRoutes are the routes that Feast's clients call.
var feastRoutes = []string{"/get-online-features", "/push", "/write-to-online-store", "/materialize", "/materialize-incremental"}

func isFeastRoute(path string) bool { return slices.Contains(feastRoutes, path) }

// feastStatus is the status of a failure on Feast's routes. Like Feast, they answer a
// request that cannot be accepted with 422, and so an unknown push source too.
func feastStatus(path string, e *driftline.Error, status int) int {
	if status == http.StatusBadRequest || status == http.StatusPreconditionFailed || isPushSource(path, e) {
		return http.StatusUnprocessableEntity
	}
	return status
}

// isPushSource reports whether what was not found is the source of a push: of a view's name.
func isPushSource(path string, e *driftline.Error) bool {
	return path == "/push" && e.Code == driftline.NotFound
}

// feastClasses names the exceptions of feast.errors that Feast's client raises again.
var feastClasses = map[driftline.RefKind]string{
	driftline.KindView:    "FeatureViewNotFoundException",
	driftline.KindService: "FeatureServiceNotFoundException",
	driftline.KindEntity:  "EntityNotFoundException",
}

// feastClass is the exception of feast.errors that says what e does.
func feastClass(path string, e *driftline.Error) string {
	switch {
	case isPushSource(path, e):
		return "PushSourceNotFoundException"
	case e.Code == driftline.NotFound:
		kind, _, _ := strings.Cut(e.Ref, "/")
		return cmp.Or(feastClasses[driftline.RefKind(kind)], "FeastObjectNotFoundException")
	case e.Code == driftline.Permission, e.Code == driftline.Unauthenticated:
		return "FeastPermissionError"
	}
	return "FeastError"
}

// feastError is Feast's error body: a string that holds JSON. Its client looks
// up module and class and raises that exception with the message.
func feastError(path string, e *driftline.Error) string {
	detail := map[string]string{"module": "feast.errors", "class": feastClass(path, e), "message": e.Error(), "code": string(e.Code)}
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
