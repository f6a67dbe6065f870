package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/gateway"
	"github.com/driftline/driftline/internal/replay"
)

// Options are the settings of a [Server]. The zero value works.
type Options struct {
	// Logger gets one line per request; nothing is logged if nil.
	Logger *slog.Logger

	// Version is what GET /api/v1/server says, "dev" if empty.
	Version string

	// FlightAddress is where the same engine serves Arrow Flight, told to
	// clients so that they need to know one address only. "" if it does not.
	FlightAddress string

	// Gateway answers for models. Nil if the server does not; it is the caller's to close, after
	// the server was shut down.
	Gateway *gateway.Gateway

	// Replay is the engine's clock if it is one that is moved by requests; nil if not.
	Replay *replay.Clock

	// Hosts are names, besides loopback ones and the listener's own address,
	// that requests may be addressed to.
	Hosts []string
}

// The limits of a connection. Routes bound their bodies themselves.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
)

// Server answers HTTP for one engine. The engine is the caller's to close, after
// the server was shut down.
type Server struct {
	engine    *engine.Engine
	options   Options
	log       *slog.Logger
	metrics   *metrics
	freshness *freshness
	hosts     *hostList
	routes    []route
	pages     *pages
	handler   http.Handler
	http      *http.Server

	streams  atomic.Int64  // of events, under way
	pace     streamPace    // of each of them
	stopping chan struct{} // closed when the server is to shut down: streams would never end
}

// New makes a server over e. Nil options are the zero Options.
func New(e *engine.Engine, opts *Options) *Server {
	s := &Server{engine: e, stopping: make(chan struct{}), pace: streamPace{beat: beatEvery, write: eventWrite}}
	if opts != nil {
		s.options = *opts
	}
	if s.options.Version == "" {
		s.options.Version = "dev"
	}
	s.log = s.options.Logger
	if s.log == nil {
		s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s.hosts = newHostList(s.options.Hosts)
	s.freshness = newFreshness(e)
	s.metrics = newMetrics(e, s.freshness)
	if s.options.Gateway != nil {
		s.metrics.registry.MustRegister(s.options.Gateway.Collectors()...)
	}
	s.pages = loadPages()
	s.routes = s.table()
	s.handler = s.gates(newRouter(s.routes, s.pages))
	s.http = &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(sync.OnceFunc(func() { close(s.stopping) }))
	return s
}

// Handler is the whole server as one handler, gates included.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on l until Shutdown, and then returns nil. It owns l.
func (s *Server) Serve(l net.Listener) error {
	s.hosts.allowListener(l.Addr())
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting and waits for running requests; when ctx ends before
// they do, their connections are cut.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
