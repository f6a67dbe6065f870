package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// mostQuick is how large the body of a request may be that goes without [http.Transport]: what the
	// kernel takes at once, so that nobody has to read an early answer while it is still being written.
	mostQuick = 64 << 10

	mostAnswerHead = 64 << 10
	idleFor        = time.Minute
)

// transport sends small requests over plain HTTP/1.1 on the goroutine of their caller, and leaves all others
// to [http.Transport]. That hands each request to one goroutine of its connection and gets the answer from
// another: on busy processors a prediction waits for its turn three times where once would do.
type transport struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	rest    *http.Transport
	maxIdle int // connections to an address

	mu    sync.Mutex // guards the rest
	idle  map[string][]*modelConn
	sweep *time.Timer // nil while nothing is idle
}

// modelConn is a connection to a model server, of one request at a time.
type modelConn struct {
	net.Conn
	address string
	reader  *bufio.Reader // of the connection, bounded by head
	writer  *bufio.Writer
	head    int64 // bytes that may still be read
	since   time.Time
}

var errAnswerHead = errors.New("the head of the answer is too large")

func (c *modelConn) Read(p []byte) (int, error) {
	if c.head <= 0 {
		return 0, errAnswerHead
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.head)])
	c.head -= int64(n)
	return n, err
}

// RoundTrip is that of [http.RoundTripper]. A request on a connection that the server had just closed is sent
// again, as [http.Transport] does.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isQuick(r) {
		return t.rest.RoundTrip(r)
	}
	if r.Body != nil {
		defer r.Body.Close()
	}
	address := r.URL.Host
	if r.URL.Port() == "" {
		address = net.JoinHostPort(r.URL.Hostname(), "80")
	}
	for {
		c, used, err := t.take(r.Context(), address)
		if err != nil {
			return nil, err
		}
		response, silent, err := t.exchange(c, r)
		if err == nil {
			return response, nil
		}
		c.Conn.Close()
		if cause := context.Cause(r.Context()); cause != nil {
			return nil, cause
		}
		if !used || !silent || isTimeout(err) {
			return nil, err
		}
		if r.GetBody != nil {
			again := *r
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
			r = &again
		}
	}
}

// isQuick reports whether a request is one that may be sent twice, of a known and small size, over plain HTTP.
func isQuick(r *http.Request) bool {
	repeatable := r.Method == http.MethodGet || r.Header[idempotencyKey] != nil
	return repeatable && isPlain(r.URL) && r.ContentLength >= 0 && r.ContentLength <= mostQuick && (r.Body == nil || r.GetBody != nil)
}

// isPlain reports whether an address is of plain HTTP, and a host whose name needs no encoding.
func isPlain(u *url.URL) bool {
	foreign := func(c rune) bool { return c >= 0x80 }
	return u.Scheme == "http" && strings.IndexFunc(u.Host, foreign) < 0
}

// exchange sends a request and reads the head of its answer. silent says that nothing of an answer came.
func (t *transport) exchange(c *modelConn, r *http.Request) (response *http.Response, silent bool, err error) {
	if !isAlive(c.Conn) {
		return nil, true, io.ErrUnexpectedEOF
	}
	deadline, _ := r.Context().Deadline() // the zero time is none here and there
	c.head = mostAnswerHead
	if err := c.SetDeadline(deadline); err != nil {
		return nil, true, err
	}
	stop := func() bool { return true }
	if r.Context().Done() != nil {
		stop = context.AfterFunc(r.Context(), func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // ends what waits for the connection
	}
	sent := r.Write(c.writer)
	if sent == nil {
		sent = c.writer.Flush()
	}
	if _, err := c.reader.Peek(1); err != nil { // a server may answer what it did not read to the end
		stop()
		return nil, true, err
	}
	if response, err = readHead(c.reader, r); err != nil {
		stop()
		return nil, false, err
	}
	c.head = math.MaxInt64
	response.Close = response.Close || sent != nil
	response.Body = &answerBody{ReadCloser: response.Body, of: t, conn: c, stop: stop, left: response.ContentLength, closes: response.Close}
	return response, false, nil
}

// readHead reads an answer's head, and passes over those that only say that an answer will come.
func readHead(from *bufio.Reader, r *http.Request) (*http.Response, error) {
	const most = 5
	for range most {
		response, err := http.ReadResponse(from, r)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
	return nil, errors.New("too many heads without an answer")
}

// answerBody gives its connection back once it was read to its end.
type answerBody struct {
	io.ReadCloser
	of     *transport
	conn   *modelConn // nil once it is closed
	stop   func() bool
	left   int64 // bytes; negative if nobody knows
	ended  bool
	closes bool // the server's wish
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.ended = b.ended || err == io.EOF
	return n, err
}

func (b *answerBody) Close() error {
	c := b.conn
	if b.conn = nil; c == nil {
		return nil
	}
	ended := b.ended || b.left == 0
	if !b.stop() || !ended || b.closes || c.reader.Buffered() > 0 { // what is too much would be the next request's answer
		return c.Conn.Close()
	}
	b.of.give(c)
	return nil
}

// take returns a connection, and whether it was used before.
func (t *transport) take(ctx context.Context, address string) (c *modelConn, used bool, err error) {
	t.mu.Lock()
	if idle := t.idle[address]; len(idle) > 0 {
		c = idle[len(idle)-1] // that was used last, so that those that are too many grow old
		idle[len(idle)-1] = nil
		t.idle[address] = idle[:len(idle)-1]
	}
	t.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	raw, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	const buffer = 16 << 10
	c = &modelConn{Conn: raw, address: address, writer: bufio.NewWriterSize(raw, buffer)}
	c.reader = bufio.NewReaderSize(c, buffer)
	return c, false, nil
}

// give keeps a connection for the next request.
func (t *transport) give(c *modelConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle[c.address]) >= t.maxIdle {
		c.Conn.Close()
		return
	}
	if t.idle == nil {
		t.idle = map[string][]*modelConn{}
	}
	c.since = time.Now()
	t.idle[c.address] = append(t.idle[c.address], c)
	if t.sweep == nil {
		t.sweep = time.AfterFunc(idleFor, func() { t.closeIdle(idleFor) })
	}
}

// closeIdle closes connections that were not used for so long.
func (t *transport) closeIdle(since time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sweep != nil {
		t.sweep.Stop()
		t.sweep = nil
	}
	now := time.Now()
	for address, idle := range t.idle {
		old := 0
		for old < len(idle) && now.Sub(idle[old].since) >= since {
			idle[old].Conn.Close()
			old++
		}
		if t.idle[address] = idle[old:]; old == len(idle) {
			delete(t.idle, address)
		}
	}
	if len(t.idle) > 0 {
		t.sweep = time.AfterFunc(idleFor, func() { t.closeIdle(idleFor) })
	}
}

// CloseIdleConnections is what [http.Client] calls.
func (t *transport) CloseIdleConnections() {
	t.closeIdle(0)
	t.rest.CloseIdleConnections()
}
