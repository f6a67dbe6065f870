package flight

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// watcher stands around every call: it makes panics errors, errors statuses, and
// calls spans and log lines.
type watcher struct{ log *slog.Logger }

// call is what a handler tells of itself for the log line.
type call struct {
	op   string // "DoPut ingest"
	ref  string // "view/weather"
	rows atomic.Int64

	// Of a call of many parts, those that failed; the call itself may not have.
	failures atomic.Int64
	failure  atomic.Pointer[driftline.Error] // the first that is the server's own
}

type callKey struct{}

// What is logged of a name from the wire, and of an error with its stack.
const (
	maxLogged      = 120
	maxLoggedError = 16 << 10
)

// name says what the call turned out to be about.
func name(ctx context.Context, op string, ref driftline.Ref) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.op, c.ref = c.op+" "+clip(op, maxLogged), clip(ref.String(), maxLogged)
	}
}

// count adds rows to those that the call was about: rows in of a write or a
// comparison, rows out of everything else.
func count(ctx context.Context, rows int64) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.rows.Add(rows)
	}
}

// countFailure adds one to the failed parts of a call, for its log line.
func countFailure(ctx context.Context, failure *driftline.Error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.failures.Add(1)
		if isOurs(failure.Code) {
			c.failure.CompareAndSwap(nil, failure)
		}
	}
}

// isOurs reports whether a failure is the server's, not the caller's.
func isOurs(code driftline.Code) bool {
	return code == driftline.Internal || code == driftline.DataLoss
}

func (w *watcher) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	err = w.watch(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		answer, err = handler(ctx, request)
		return err
	})
	return answer, err
}

func (w *watcher) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return w.watch(stream.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(server, &streamWithContext{stream, ctx})
	})
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

func (w *watcher) watch(ctx context.Context, method string, handle func(context.Context) error) error {
	began := time.Now()
	c := &call{op: method[strings.LastIndexByte(method, '/')+1:]}
	incoming, _ := metadata.FromIncomingContext(ctx)
	ctx = otel.GetTextMapPropagator().Extract(ctx, carrier(incoming))
	ctx, span := otel.Tracer("github.com/driftline/driftline/flight").
		Start(ctx, c.op, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	err := recovered(func() error { return handle(context.WithValue(ctx, callKey{}, c)) })
	return w.finish(ctx, c, err, time.Since(began))
}

func recovered(handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = driftline.Errorf(driftline.Internal, "panic: %w", fmt.Errorf("%v\n%s", p, debug.Stack()))
		}
	}()
	return handle()
}

// finish tells the span and the log of the call, and the client of its failure.
func (w *watcher) finish(ctx context.Context, c *call, err error, took time.Duration) error {
	span := trace.SpanFromContext(ctx)
	span.SetName(c.op)
	span.SetAttributes(attribute.String("driftline.ref", c.ref), attribute.Int64("driftline.rows", c.rows.Load()))
	level, code := slog.LevelInfo, "ok"
	attrs := []slog.Attr{slog.String("op", c.op)}
	if c.ref != "" {
		attrs = append(attrs, slog.String("ref", c.ref))
	}
	var answer error
	if err != nil {
		failure := failureOf(ctx, err)
		answer = statusOf(failure)
		code = "cancelled"
		if failure != nil {
			code = string(failure.Code)
			attrs = append(attrs, slog.String("error", clip(causes(failure), maxLoggedError)))
		}
		if isOurs(driftline.Code(code)) {
			level = slog.LevelError
			span.SetStatus(otelcodes.Error, code)
		}
	}
	if n := c.failures.Load(); n > 0 {
		attrs = append(attrs, slog.Int64("failures", n))
	}
	if failure := c.failure.Load(); failure != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("failure", clip(causes(failure), maxLoggedError)))
	}
	attrs = append(attrs, slog.String("code", code), slog.Duration("duration", took), slog.Int64("rows", c.rows.Load()))
	w.log.LogAttrs(ctx, level, "request", attrs...)
	return answer
}

// causes is the whole chain of an error, for our own log only.
func causes(failure *driftline.Error) string {
	text := failure.Error()
	for next := failure.Err; next != nil; {
		if !strings.Contains(text, next.Error()) {
			text += ": " + next.Error()
		}
		unwrapper, ok := next.(interface{ Unwrap() error })
		if !ok {
			break
		}
		next = unwrapper.Unwrap()
	}
	return text
}

// carrier lets the tracing headers of a call be read from its gRPC metadata.
type carrier metadata.MD

var _ propagation.TextMapCarrier = carrier(nil)

func (c carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
