// Package client lets Go programs, the command line first of all, use a Driftline server.
//
// A server has two doors and the client uses both behind one set of methods:
//
//	control plane   HTTP, JSON         definitions, runs, models, lineage, drift of stored tables
//	data plane      Arrow Flight, SQL  everything that is rows: ingest, training sets, reads, online values
//
// One address is enough: [Dial] asks the HTTP door where the other one is.
//
// Every failure is a [driftline.Error] with the code, message and hint that the
// server gave, whichever door it came through; a server that cannot be reached is
// [driftline.Unavailable]. Batches follow the rule of [driftline.Batches]:
// valid until the next iteration, and no call consumes the batches it is given.
package client

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/flightdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// DefaultURL is where a server listens that was told nothing else.
const DefaultURL = "http://127.0.0.1:8816"

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	http   *http.Client
	base   string // of the HTTP API, without a slash at the end
	flight flight.Client
	sql    *flightsql.Client
	server ServerInfo
}

// ServerInfo is what a server says of itself.
type ServerInfo struct {
	Version string `json:"version"`
	Flight  string `json:"flight"` // host:port of Arrow Flight and Flight SQL
}

// Dial connects to the server whose HTTP door is at httpURL ([DefaultURL] if
// empty). The caller closes the client.
func Dial(ctx context.Context, httpURL string) (*Client, error) {
	base, err := parseBase(httpURL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()},
		base: base.String(),
	}
	if err := c.call(ctx, http.MethodGet, path("server"), nil, &c.server); err != nil {
		_ = c.Close()
		return nil, err
	}
	c.server.Flight = reachable(c.server.Flight, base)
	if err := c.dialFlight(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func parseBase(httpURL string) (*url.URL, error) {
	if httpURL == "" {
		httpURL = DefaultURL
	}
	if !strings.Contains(httpURL, "://") {
		httpURL = "http://" + httpURL
	}
	base, err := url.Parse(strings.TrimRight(httpURL, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, driftline.Errorf(driftline.Invalid, "server address %q is not valid", httpURL).
			WithHint("write it like %s", DefaultURL)
	}
	return base, nil
}

// reachable gives a Flight address that names every interface the host that the
// caller already reaches the server by.
func reachable(address string, base *url.URL) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = base.Hostname()
	}
	return net.JoinHostPort(host, port)
}

// Windows of these sizes keep a stream of 2 MiB batches flowing while one is decoded.
const (
	streamWindow     = 16 << 20
	connectionWindow = 32 << 20
	bufferSize       = 1 << 20

	// maxReceived is above what a server sends (2 MiB batches) because a single
	// row cannot be split.
	maxReceived = 64 << 20
)

func (c *Client) dialFlight() error {
	conn, err := flight.NewClientWithMiddleware(c.server.Flight, nil, nil,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceived), grpc.ForceCodecV2(flightdata.NewCodec())),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
	)
	if err != nil {
		return driftline.Errorf(driftline.Unavailable, "cannot reach the Flight server at %s: %w", c.server.Flight, err)
	}
	c.flight = conn
	c.sql = &flightsql.Client{Client: conn, Alloc: memory.DefaultAllocator}
	return nil
}

// Close gives the connections back. It is safe to call twice.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	if c.flight == nil {
		return nil
	}
	conn := c.flight
	c.flight = nil
	return conn.Close()
}

// Server returns what the server said of itself when the client was dialed.
func (c *Client) Server(ctx context.Context) (ServerInfo, error) {
	info := c.server
	err := c.call(ctx, http.MethodGet, path("server"), nil, &info)
	info.Flight = c.server.Flight
	return info, err
}
