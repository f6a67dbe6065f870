package flight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/driftline/driftline"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// grpcCode is the one place where codes are mapped to gRPC. No two are the same, so
// that a client can tell them apart.
var grpcCode = map[driftline.Code]codes.Code{
	driftline.NotFound:           codes.NotFound,
	driftline.AlreadyExists:      codes.AlreadyExists,
	driftline.Conflict:           codes.Aborted,
	driftline.Invalid:            codes.InvalidArgument,
	driftline.FailedPrecondition: codes.FailedPrecondition,
	driftline.Exhausted:          codes.ResourceExhausted,
	driftline.Deadline:           codes.DeadlineExceeded,
	driftline.Permission:         codes.PermissionDenied,
	driftline.Unauthenticated:    codes.Unauthenticated,
	driftline.DataLoss:           codes.DataLoss,
	driftline.Unavailable:        codes.Unavailable,
	driftline.Internal:           codes.Internal,
}

// errInternal is all that users see of a bug.
var errInternal = driftline.Errorf(driftline.Internal, "the server failed to answer").
	WithHint("its log says why")

// failureOf finds out what an error of a handler means. It returns nil if the
// client went away, because then there is nobody to tell.
func failureOf(ctx context.Context, err error) *driftline.Error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	var failure *driftline.Error
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return driftline.Errorf(driftline.Deadline, "the time allowed for the call ran out")
	}
	if s, ok := status.FromError(err); ok {
		return failureOfStatus(s, err)
	}
	return driftline.Errorf(driftline.Internal, "%w", err)
}

// failureOfStatus understands the errors that the gRPC and Flight SQL layers make themselves.
func failureOfStatus(s *status.Status, err error) *driftline.Error {
	switch s.Code() {
	case codes.Canceled:
		return nil
	case codes.ResourceExhausted:
		return &driftline.Error{Code: driftline.Exhausted, Message: "a message is too large", Err: err,
			Hint: fmt.Sprintf("send batches of at most %d MiB", maxMessageBytes>>20)}
	case codes.InvalidArgument:
		return driftline.Errorf(driftline.Invalid, "the Flight command is not valid: %s", s.Message())
	case codes.NotFound:
		return driftline.Errorf(driftline.NotFound, "%s", s.Message())
	case codes.DeadlineExceeded:
		return driftline.Errorf(driftline.Deadline, "the time allowed for the call ran out")
	case codes.Unavailable:
		return driftline.Errorf(driftline.Unavailable, "the connection was lost: %w", err)
	case codes.Unimplemented:
		what := strings.TrimSuffix(s.Message(), " not implemented")
		return &driftline.Error{Code: driftline.Invalid, Message: what + " is not offered by this server", Err: err,
			Hint: "it answers single SELECT statements, prepared or not, and has no transactions"}
	}
	return driftline.Errorf(driftline.Internal, "%w", err)
}

// statusOf is what a client is told of a failure: "code: message; hint" for people
// and for clients that see nothing else, and the parts again as an ErrorInfo.
func statusOf(failure *driftline.Error) error {
	if failure == nil {
		return status.Error(codes.Canceled, "the call was cancelled")
	}
	shown := shownOf(failure)
	code := grpcCode[shown.Code]
	if s, ok := status.FromError(failure.Err); ok && s.Code() == codes.Unimplemented {
		code = codes.Unimplemented
	}
	text := string(shown.Code) + ": " + shown.Error()
	details := &errdetails.ErrorInfo{
		Domain: "driftline", Reason: strings.ToUpper(string(shown.Code)),
		Metadata: map[string]string{"hint": shown.Hint, "ref": shown.Ref, "op": shown.Op},
	}
	s, err := status.New(code, text).WithDetails(details)
	if err != nil {
		return status.Error(code, text)
	}
	return s.Err()
}

// shownOf is what users see of a failure: nothing of a bug, and not too much of the others.
func shownOf(failure *driftline.Error) *driftline.Error {
	if failure.Code == driftline.Internal || grpcCode[failure.Code] == codes.OK {
		failure = errInternal
	}
	return &driftline.Error{
		Code: failure.Code, Op: failure.Op, Ref: clip(failure.Ref, maxHintText),
		Message: clip(failure.Message, maxMessageText), Hint: clip(failure.Hint, maxHintText),
	}
}

// Errors travel as gRPC trailers, of which some clients read 8 KB at most.
const (
	maxMessageText = 1200
	maxHintText    = 400
)

func clip(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
