package gateway

import (
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// Options are the settings of a [Gateway]. The zero value works.
type Options struct {
	Logger *slog.Logger

	// Networks are those private networks that model servers may be in. Addresses of this
	// machine and public ones may always be reached.
	Networks []netip.Prefix

	// Version is what the gateway says it is, "dev" if empty.
	Version string

	// MaxAnswer is how many bytes a model may answer; 16 MiB if 0.
	MaxAnswer int64

	// MaxHeld is how many bytes of requests may be under way together; 256 MiB if 0.
	MaxHeld int64

	// Mirrors is how many mirrored requests are under way at a time, and as many times
	// mirrorQueue may wait; 8 if 0.
	Mirrors int
}

const (
	// MaxBody is how many bytes a request may have.
	MaxBody = 32 << 20

	defaultMaxAnswer = 16 << 20
	defaultMaxHeld   = 256 << 20
	defaultMirrors   = 8
	mirrorQueue      = 32
)

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
	if opts.MaxAnswer == 0 {
		opts.MaxAnswer = defaultMaxAnswer
	}
	if opts.MaxHeld == 0 {
		opts.MaxHeld = defaultMaxHeld
	}
	if opts.Mirrors == 0 {
		opts.Mirrors = defaultMirrors
	}
	return opts
}

// Gateway forwards requests to the servers of models.
type Gateway struct {
	engine  *engine.Engine
	options Options
	log     *slog.Logger
	client  *http.Client
	targets sync.Map // targetKey → *target
	mirrors *mirrors
	reports *reports
	metrics *metrics
	held    atomic.Int64 // bytes of requests under way
}

// New makes a gateway over e, which stays the caller's to close, after the gateway.
func New(e *engine.Engine, options *Options) *Gateway {
	g := &Gateway{engine: e, options: options.withDefaults()}
	g.log = g.options.Logger
	g.client = newClient(g.options.Networks)
	g.metrics = newMetrics()
	g.mirrors = newMirrors(g, g.options.Mirrors)
	g.reports = newReports(g)
	return g
}

// Close stops the gateway's own work: what was mirrored and is not answered yet is
// logged without. Handlers must have returned.
func (g *Gateway) Close() {
	g.mirrors.close()
	g.reports.close()
	g.client.CloseIdleConnections()
}

// hold takes room for the bytes of a request.
func (g *Gateway) hold(bytes int64) error {
	if g.held.Add(bytes) > g.options.MaxHeld {
		g.held.Add(-bytes)
		return driftline.Errorf(driftline.Exhausted, "requests of more than %d MiB are under way", g.options.MaxHeld>>20).
			WithHint("try again in a moment, or send fewer rows at a time")
	}
	return nil
}

func (g *Gateway) release(bytes int64) { g.held.Add(-bytes) }
