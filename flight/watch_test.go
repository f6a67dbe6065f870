package flight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/driftline/driftline"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// watched runs a handler as the server does and returns what the client gets and
// what is logged.
func watched(ctx context.Context, handle func(context.Context) error) (*status.Status, string) {
	var log bytes.Buffer
	w := &watcher{log: slog.New(slog.NewTextHandler(&log, nil))}
	err := w.watch(ctx, "/arrow.flight.protocol.FlightService/DoGet", handle)
	return status.Convert(err), log.String()
}

func TestWhatClientsAreTold(t *testing.T) {
	hinted := driftline.Errorf(driftline.NotFound, "view %q does not exist", "wether").WithHint("did you mean %q?", "weather")
	for _, test := range []struct {
		what    string
		err     error
		code    codes.Code
		message string
		logged  string
	}{
		{"success", nil, codes.OK, "", "code=ok"},
		{"a hint", hinted, codes.NotFound, `not_found: view "wether" does not exist; did you mean "weather"?`, "code=not_found"},
		{"a wrapped error", fmt.Errorf("context: %w", hinted), codes.NotFound, `not_found: view "wether" does not exist; did you mean "weather"?`, "code=not_found"},
		{"a bug", errors.New("open /srv/data/secret: no such file"), codes.Internal, "internal: the server failed to answer; its log says why", "/srv/data/secret"},
		{"a bug that knows it is one", driftline.Errorf(driftline.Internal, "index 7 of 3"), codes.Internal, "internal: the server failed to answer; its log says why", "index 7 of 3"},
		{"a deadline", context.DeadlineExceeded, codes.DeadlineExceeded, "deadline: the time allowed for the call ran out", "code=deadline"},
		{"a client that left", context.Canceled, codes.Canceled, "the call was cancelled", "code=cancelled"},
		{"what Flight SQL lacks", status.Error(codes.Unimplemented, "BeginSavepoint not implemented"), codes.Unimplemented,
			"invalid: BeginSavepoint is not offered by this server; it answers single SELECT statements, prepared or not, and has no transactions", "code=invalid"},
	} {
		s, log := watched(context.Background(), func(context.Context) error { return test.err })
		if s.Code() != test.code || s.Message() != test.message {
			t.Errorf("%s: %s %q, want %s %q", test.what, s.Code(), s.Message(), test.code, test.message)
		}
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, test.logged) {
			t.Errorf("%s: log %q, want %q", test.what, log, test.logged)
		}
	}
}

func TestEveryCodeHasAStatusOfItsOwn(t *testing.T) {
	seen := map[codes.Code]driftline.Code{}
	for _, code := range driftline.Codes {
		s := status.Convert(statusOf(driftline.Errorf(code, "message").WithHint("hint")))
		if other, taken := seen[s.Code()]; taken {
			t.Errorf("%s and %s are both %s", code, other, s.Code())
		}
		seen[s.Code()] = code
		if code == driftline.Internal {
			continue
		}
		info := s.Details()[0].(*errdetails.ErrorInfo)
		if s.Message() != string(code)+": message; hint" || info.Reason != strings.ToUpper(string(code)) || info.Metadata["hint"] != "hint" {
			t.Errorf("%s: %v", code, s)
		}
	}
}

func TestAPanicIsAnErrorOfItsCall(t *testing.T) {
	s, log := watched(context.Background(), func(context.Context) error { panic("the password is 1234") })
	if s.Code() != codes.Internal || strings.Contains(s.String(), "1234") || strings.Contains(s.String(), "goroutine") {
		t.Errorf("the client is told %v", s)
	}
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, "the password is 1234") || !strings.Contains(log, "watch_test.go") {
		t.Errorf("log %q", log)
	}
}

func TestLongMessagesFitIntoTrailers(t *testing.T) {
	long := strings.Repeat("ä", 10_000)
	s, _ := watched(context.Background(), func(context.Context) error {
		return driftline.Errorf(driftline.Invalid, "%s", long).WithHint("%s", long)
	})
	if n := len(s.Message()); n > 2000 {
		t.Errorf("the message has %d bytes", n)
	}
}

func TestSpansContinueTheCallersTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	oldProvider, oldPropagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer otel.SetTracerProvider(oldProvider)
	defer otel.SetTextMapPropagator(oldPropagator)
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	watched(ctx, func(ctx context.Context) error {
		name(ctx, opView, driftline.ViewRef("weather"))
		count(ctx, 3)
		return nil
	})
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Name() != "DoGet view" || ended[0].Parent().TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("spans %v", ended)
	}
}
