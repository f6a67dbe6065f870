package mlflow

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/driftline/driftline"
)

// failure is how a [driftline.Code] leaves: MLflow's code and the HTTP status.
type failure struct {
	code   string
	status int
}

// failures maps each code once; a test keeps it complete. Two differ from the reference,
// whose statuses would make clients repeat for minutes what cannot succeed: DATA_LOSS is
// 500 there, and so is INVALID_STATE, in whose place INVALID_PARAMETER_VALUE stands.
var failures = map[driftline.Code]failure{
	driftline.NotFound:           {"RESOURCE_DOES_NOT_EXIST", http.StatusNotFound},
	driftline.AlreadyExists:      {"RESOURCE_ALREADY_EXISTS", http.StatusBadRequest},
	driftline.Conflict:           {"RESOURCE_CONFLICT", http.StatusConflict},
	driftline.Invalid:            {"INVALID_PARAMETER_VALUE", http.StatusBadRequest},
	driftline.FailedPrecondition: {"INVALID_PARAMETER_VALUE", http.StatusBadRequest},
	driftline.Exhausted:          {"RESOURCE_EXHAUSTED", http.StatusTooManyRequests},
	driftline.Deadline:           {"DEADLINE_EXCEEDED", http.StatusGatewayTimeout},
	driftline.Permission:         {"PERMISSION_DENIED", http.StatusForbidden},
	driftline.Unauthenticated:    {"UNAUTHENTICATED", http.StatusUnauthorized},
	driftline.DataLoss:           {"DATA_LOSS", http.StatusUnprocessableEntity},
	driftline.Unavailable:        {"TEMPORARILY_UNAVAILABLE", http.StatusServiceUnavailable},
	driftline.Internal:           {"INTERNAL_ERROR", http.StatusInternalServerError},
}

// wireError is an error that MLflow has another code or status for than its
// [driftline.Code] says.
type wireError struct {
	shown *driftline.Error
	as    failure
}

func (e *wireError) Error() string { return e.shown.Error() }

func (e *wireError) Unwrap() error { return e.shown }

// withStatus keeps MLflow's code of err and changes its status.
func withStatus(status int, err *driftline.Error) error {
	return &wireError{shown: err, as: failure{failures[err.Code].code, status}}
}

// Owns reports whether a path of a request belongs to MLflow's protocol, so that what
// fails there, before a route was found too, is answered in its shape.
func Owns(path string) bool {
	for _, prefix := range []string{"/api/2.0/", "/ajax-api/", "/api/3.0/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// WriteError answers a request that failed with cause. shown is what a user may see of
// it, and status what our own API would answer, which counts where no endpoint was found.
func WriteError(w http.ResponseWriter, r *http.Request, cause error, shown *driftline.Error, status int) {
	as := failures[shown.Code]
	var special *wireError
	switch {
	case errors.As(cause, &special):
		as = special.as
	case r.Pattern == "" && shown.Code == driftline.NotFound:
		as.code = "ENDPOINT_NOT_FOUND"
	case status == http.StatusMethodNotAllowed || status == http.StatusMisdirectedRequest:
		as.status = status
	}
	body, err := json.Marshal(map[string]string{"error_code": as.code, "message": shown.Error()})
	if err != nil {
		body = []byte(`{"error_code":"INTERNAL_ERROR","message":"internal error"}`)
	}
	sendBytes(w, as.status, body)
}
