package flight

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/driftline/driftline/engine"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Limits of the server.
const (
	maxMessageBytes = 16 << 20 // of one message in

	// maxTransportBytes is what gRPC itself allows. It is above maxMessageBytes
	// because gRPC refuses in words that help nobody.
	maxTransportBytes = 2 * maxMessageBytes

	maxBatchBytes  = 2 << 20 // of one batch out
	maxHeaderBytes = 16 << 10
	maxConnections = 1024
	maxStreams     = 128 // at a time on one connection

	streamWindow     = 4 << 20
	connectionWindow = 8 << 20
	bufferBytes      = 1 << 20
)

// Options configure a server. The zero value, and nil, mean the defaults.
type Options struct {
	Logger  *slog.Logger // one line per call; discarded if nil
	Version string       // what the server says it is; "dev" if empty

	// Register adds services to the server, behind the same gates. Nil adds none.
	Register func(grpc.ServiceRegistrar)
}

func (o *Options) withDefaults() Options {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Version == "" {
		opts.Version = "dev"
	}
	return opts
}

// Server answers Arrow Flight and Flight SQL. The engine stays its owner's to close,
// after the server.
type Server struct {
	grpc       *grpc.Server
	statements *statements
	lender     *lender
	senders    sync.WaitGroup // one goroutine for each connection
}

// New makes a server of the engine's data.
func New(e *engine.Engine, options *Options) *Server {
	opts := options.withDefaults()
	watch := &watcher{log: opts.Logger}
	s := &Server{
		grpc: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxTransportBytes),
			grpc.MaxSendMsgSize(maxTransportBytes),
			grpc.MaxHeaderListSize(maxHeaderBytes),
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.InitialWindowSize(streamWindow),
			grpc.InitialConnWindowSize(connectionWindow),
			grpc.ReadBufferSize(bufferBytes),
			grpc.WriteBufferSize(0), // a wire gathers what is written
			grpc.ConnectionTimeout(10*time.Second),
			grpc.KeepaliveParams(keepalive.ServerParameters{
				Time:                  time.Minute,
				Timeout:               10 * time.Second,
				MaxConnectionIdle:     10 * time.Minute,
				MaxConnectionAge:      time.Hour,
				MaxConnectionAgeGrace: time.Hour, // longer than the longest stream that we expect
			}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
				MinTime:             20 * time.Second,
				PermitWithoutStream: true,
			}),
			grpc.ForceServerCodecV2(newCodec()),
			grpc.WaitForHandlers(true),
			grpc.UnaryInterceptor(watch.unary),
			grpc.StreamInterceptor(watch.stream),
		),
		statements: newStatements(e.Now), lender: newLender(),
	}
	flight.RegisterFlightServiceServer(s.grpc, newService(e, s.statements, s.lender, opts.Version))
	if opts.Register != nil {
		opts.Register(s.grpc)
	}
	return s
}

// Serve answers calls on the listener, which it closes, until Shutdown or Close.
func (s *Server) Serve(listener net.Listener) error {
	err := s.grpc.Serve(netutil.LimitListener(gatheringListener{listener, s.lender, &s.senders}, maxConnections))
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Shutdown takes no new calls and waits for the running ones, until ctx ends; those
// that still run then are cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return errors.Join(err, s.Close())
}

// Close cuts off the running calls and waits for their handlers. It is safe to call twice.
func (s *Server) Close() error {
	s.grpc.Stop()
	s.senders.Wait()
	s.statements.closeAll()
	s.lender.reclaim()
	return nil
}
