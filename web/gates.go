package web

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/driftline/driftline"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// gates wraps next with everything that holds for every request.
func (s *Server) gates(next http.Handler) http.Handler {
	tracer := otel.Tracer("github.com/driftline/driftline/web")
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		outcome := &outcome{}
		r = r.WithContext(context.WithValue(ctx, outcomeKey{}, outcome))
		recorder := &statusRecorder{ResponseWriter: w}

		recorder.Header().Set("X-Content-Type-Options", "nosniff")
		func() {
			defer recoverPanic(recorder, r)
			if err := s.admit(sameOrigin, r); err != nil {
				writeError(recorder, r, err)
				return
			}
			next.ServeHTTP(recorder, r)
		}()
		s.finish(span, r, recorder.status(), time.Since(began), outcome)
	})
}

// admit refuses requests that were not meant for this server.
func (s *Server) admit(sameOrigin *http.CrossOriginProtection, r *http.Request) error {
	if !s.hosts.allows(r.Host) {
		return withStatus(http.StatusMisdirectedRequest, driftline.Errorf(driftline.Permission,
			"this server does not answer for host %q", clip(r.Host)).
			WithHint("use the address that driftline serve printed"))
	}
	if sameOrigin.Check(r) != nil {
		return driftline.Errorf(driftline.Permission, "a page of another site may not write here").
			WithHint("call the API from a program, or from this server's own pages")
	}
	return nil
}

// finish tells the three listeners (span, metrics, log) of one request.
func (s *Server) finish(span trace.Span, r *http.Request, status int, took time.Duration, o *outcome) {
	op := r.Pattern
	if op == "" {
		op = "(no route)" // without the method, which a caller can make up
	}
	if span.IsRecording() {
		span.SetName(op)
		span.SetAttributes(attribute.String("http.request.method", r.Method),
			attribute.String("http.route", op), attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
	}
	s.metrics.observe(op, status, took)

	level := slog.LevelInfo
	if o.err != nil && status >= 500 {
		level = slog.LevelError
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []any{"op", op, "path", r.URL.Path, "status", status, "duration", took}
	switch {
	case o.err == nil:
	case status >= 500:
		attrs = append(attrs, "code", driftline.CodeOf(o.err), "error", causes(o.err))
	default:
		attrs = append(attrs, "code", driftline.CodeOf(o.err), "error", o.err.Error())
	}
	s.log.Log(r.Context(), level, "request", attrs...)
}

// outcome carries the error of a request from its handler up to the log line.
type outcome struct{ err error }

type outcomeKey struct{}

func noteError(r *http.Request, err error) {
	if o, ok := r.Context().Value(outcomeKey{}).(*outcome); ok {
		o.err = err
	}
}

// causes is the whole chain of an error, for our own log only.
func causes(err error) string {
	text := err.Error()
	for next := unwrap(err); next != nil; next = unwrap(next) {
		if !strings.Contains(text, next.Error()) {
			text += ": " + next.Error()
		}
	}
	return text
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

func recoverPanic(w *statusRecorder, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		noteError(r, driftline.Errorf(driftline.Unavailable, "the connection was cut"))
		return
	}
	err := driftline.Errorf(driftline.Internal, "internal error: %w", fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
	if w.written != 0 {
		noteError(r, err)
		return
	}
	writeError(w, r, err)
}

// statusRecorder remembers the status that was sent.
type statusRecorder struct {
	http.ResponseWriter
	written int
}

func (w *statusRecorder) WriteHeader(status int) {
	if w.written == 0 && status >= 200 {
		w.written = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Write(p []byte) (int, error) {
	if w.written == 0 {
		w.written = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusRecorder) status() int {
	if w.written == 0 {
		return http.StatusOK
	}
	return w.written
}

// hostList holds the host names that requests may be addressed to. IP literals
// cannot be rebound by DNS, so a listener on every address allows them all.
type hostList struct {
	mu    sync.RWMutex
	names map[string]bool
	anyIP bool
}

func newHostList(extra []string) *hostList {
	h := &hostList{names: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}}
	for _, name := range extra {
		h.names[strings.ToLower(name)] = true
	}
	return h
}

func (h *hostList) allowListener(a net.Addr) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if tcp.IP.IsUnspecified() {
		h.anyIP = true
		return
	}
	h.names[tcp.IP.String()] = true
}

func (h *hostList) allows(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.names[host] {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil && h.anyIP
}
