package client

import (
	"context"
	"errors"
	"strings"

	"github.com/driftline/driftline"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// codeOf maps a gRPC code back to the [driftline.Code] that it was made from.
// [codes.Unimplemented] and [codes.OutOfRange] come from the gRPC and Flight
// layers only: the request asked for something that there is not.
var codeOf = map[codes.Code]driftline.Code{
	codes.NotFound:           driftline.NotFound,
	codes.AlreadyExists:      driftline.AlreadyExists,
	codes.Aborted:            driftline.Conflict,
	codes.InvalidArgument:    driftline.Invalid,
	codes.OutOfRange:         driftline.Invalid,
	codes.Unimplemented:      driftline.Invalid,
	codes.FailedPrecondition: driftline.FailedPrecondition,
	codes.ResourceExhausted:  driftline.Exhausted,
	codes.DeadlineExceeded:   driftline.Deadline,
	codes.PermissionDenied:   driftline.Permission,
	codes.Unauthenticated:    driftline.Unauthenticated,
	codes.DataLoss:           driftline.DataLoss,
	codes.Unavailable:        driftline.Unavailable,
}

// fromStatus turns what gRPC returned into the error that the server sent.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	var failure *driftline.Error
	if errors.As(err, &failure) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return driftline.Errorf(driftline.Internal, "cannot read the server's answer: %w", err)
	}
	if s.Code() == codes.Canceled {
		return context.Canceled
	}
	code, known := codeOf[s.Code()]
	if !known {
		code = driftline.Internal
	}
	failure = driftline.Errorf(code, "%s", strings.TrimPrefix(s.Message(), string(code)+": "))
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			withDetails(failure, info.Metadata)
		}
	}
	return failure
}

// withDetails takes the hint, which the status message ends with, out of it again.
func withDetails(failure *driftline.Error, details map[string]string) {
	failure.Hint, failure.Ref, failure.Op = details["hint"], details["ref"], details["op"]
	if failure.Hint != "" {
		failure.Message = strings.TrimSuffix(failure.Message, "; "+failure.Hint)
	}
}
