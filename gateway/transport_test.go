package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a server that is said byte by byte: serve gets each connection and its number, from 1 on.
type peer struct {
	net.Listener
	served sync.WaitGroup
}

func newPeer(t *testing.T, serve func(c net.Conn, number int)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	p.served.Go(func() {
		for number := 1; ; number++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.served.Go(func() { defer c.Close(); serve(c, number) })
		}
	})
	return p
}

// newTestTransport is one whose connections all end before those of the peer.
func newTestTransport(t *testing.T, p *peer) *transport {
	tr := newClient(nil).Transport.(*transport)
	t.Cleanup(func() { tr.CloseIdleConnections(); p.Close(); p.served.Wait() })
	return tr
}

// request reads one request and returns its body.
func request(c net.Conn, from *bufio.Reader) (string, error) {
	r, err := http.ReadRequest(from)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// answers has a peer answer each request with the next of texts, whole as they are.
func answers(texts ...string) func(net.Conn, int) {
	return func(c net.Conn, _ int) {
		from := bufio.NewReader(c)
		for _, text := range texts {
			if _, err := request(c, from); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
		_, _ = from.ReadByte() // until the other side closes
	}
}

func ask(ctx context.Context, t *testing.T, tr *transport, p *peer, body string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.Addr().String()+"/infer", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Idempotency-Key"] = []string{"p-1"}
	response, err := tr.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	return readAtMost(response.Body, response.ContentLength, 1<<20)
}

func (t *transport) idleTo(p *peer) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.idle[p.Addr().String()])
}

const plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestTransportAnswers holds that answers of all forms are read to their ends, and that a connection is used
// again exactly if nothing of one answer can become part of the next.
func TestTransportAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer, want string
		kept         bool
	}{
		"of a known size":         {plain, "ok", true},
		"in chunks":               {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "ok", true},
		"empty":                   {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true},
		"without content":         {"HTTP/1.1 204 No Content\r\n\r\n", "", true},
		"after another head":      {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + plain, "ok", true},
		"until the end":           {"HTTP/1.0 200 OK\r\n\r\nok", "ok", false},
		"to be closed":            {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", false},
		"more than was asked for": {plain + plain, "ok", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, func(c net.Conn, number int) {
				if name == "until the end" {
					_, _ = request(c, bufio.NewReader(c))
					_, _ = io.WriteString(c, test.answer)
					return
				}
				answers(test.answer)(c, number)
			})
			tr := newTestTransport(t, p)
			got, err := ask(t.Context(), t, tr, p, "{}")
			if err != nil || got != test.want {
				t.Fatalf("%q, %v", got, err)
			}
			if kept := tr.idleTo(p) == 1; kept != test.kept {
				t.Errorf("the connection is kept: %t", kept)
			}
		})
	}
}

// TestTransportBadAnswers holds that what is no answer is an error, and ends its connection.
func TestTransportBadAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":               "220 mail.example.com ESMTP\r\n\r\n",
		"a head without end":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*mostAnswerHead) + "\r\n\r\n",
		"ever another head":     strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20) + plain,
		"a body that broke off": "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			p := newPeer(t, func(c net.Conn, _ int) {
				asked++
				_, _ = request(c, bufio.NewReader(c))
				_, _ = io.WriteString(c, answer)
			})
			tr := newTestTransport(t, p)
			if got, err := ask(t.Context(), t, tr, p, "{}"); err == nil {
				t.Errorf("%q is taken for an answer", got)
			}
			if n := tr.idleTo(p); n != 0 {
				t.Errorf("%d connections are kept", n)
			}
			p.Close()
			if p.served.Wait(); asked != 1 {
				t.Errorf("it was asked %d times", asked)
			}
		})
	}
}

// TestTransportKeepsOneConnection asks many times in a row, and sends large requests another way.
func TestTransportKeepsOneConnection(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	p := newPeer(t, func(c net.Conn, _ int) {
		mu.Lock()
		connections++
		mu.Unlock()
		for from := bufio.NewReader(c); ; {
			body, err := request(c, from)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	tr := newTestTransport(t, p)
	for i := range 50 {
		want := fmt.Sprint("request ", i)
		if got, err := ask(t.Context(), t, tr, p, want); err != nil || got != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	mu.Lock()
	if connections != 1 {
		t.Errorf("50 requests took %d connections", connections)
	}
	mu.Unlock()
	large := strings.Repeat("x", mostQuick+1)
	if got, err := ask(t.Context(), t, tr, p, large); err != nil || got != large {
		t.Fatalf("%d bytes came back of %d: %v", len(got), len(large), err)
	}
	if n := tr.idleTo(p); n != 1 {
		t.Errorf("%d connections for small requests are idle", n)
	}
}

// TestTransportSendsAgain holds that a request on a connection that the server closed while it was idle goes
// out on another one, and that what a server said meanwhile is nobody's answer.
func TestTransportSendsAgain(t *testing.T) {
	for name, parting := range map[string]string{"closed": "", "closed with a word": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			parted := make(chan struct{})
			p := newPeer(t, func(c net.Conn, number int) {
				if number > 1 {
					answers(plain)(c, number)
					return
				}
				_, _ = request(c, bufio.NewReader(c))
				_, _ = io.WriteString(c, plain+parting) // the parting is read ahead, or lies in the socket
				c.Close()
				close(parted)
			})
			tr := newTestTransport(t, p)
			for range 2 {
				if got, err := ask(t.Context(), t, tr, p, "{}"); err != nil || got != "ok" {
					t.Fatalf("%q, %v", got, err)
				}
				<-parted
			}
		})
	}
}

// TestTransportIdleServerSpoke is a server that says something once its answer was read.
func TestTransportIdleServerSpoke(t *testing.T) {
	speak, spoke := make(chan struct{}), make(chan struct{})
	p := newPeer(t, func(c net.Conn, number int) {
		if number > 1 {
			answers(plain)(c, number)
			return
		}
		from := bufio.NewReader(c)
		_, _ = request(c, from)
		_, _ = io.WriteString(c, plain)
		<-speak
		_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
		close(spoke)
		_, _ = from.ReadByte()
	})
	tr := newTestTransport(t, p)
	if _, err := ask(t.Context(), t, tr, p, "{}"); err != nil {
		t.Fatal(err)
	}
	close(speak)
	<-spoke
	if got, err := ask(t.Context(), t, tr, p, "{}"); err != nil || got != "ok" {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestTransportEnds holds that a deadline and a cancellation end what waits for an answer, and that no other
// request feels it.
func TestTransportEnds(t *testing.T) {
	asked := make(chan struct{}, 2)
	p := newPeer(t, func(c net.Conn, number int) {
		if number > 2 {
			answers(plain)(c, number)
			return
		}
		from := bufio.NewReader(c)
		_, _ = request(c, from)
		asked <- struct{}{}
		_, _ = from.ReadByte()
	})
	tr := newTestTransport(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := ask(ctx, t, tr, p, "{}")
	if wrapped := (&url.Error{Err: err}); !isTimeout(wrapped) { // as http.Client has it
		t.Errorf("after its time: %v", err)
	}
	<-asked
	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := ask(ctx, t, tr, p, "{}"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got, err := ask(t.Context(), t, tr, p, "{}"); err != nil || got != "ok" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// TestTransportClosesOldConnections holds that what nobody uses is closed.
func TestTransportClosesOldConnections(t *testing.T) {
	closed := make(chan struct{})
	p := newPeer(t, func(c net.Conn, number int) { answers(plain)(c, number); close(closed) })
	tr := newTestTransport(t, p)
	if _, err := ask(t.Context(), t, tr, p, "{}"); err != nil {
		t.Fatal(err)
	}
	tr.closeIdle(idleFor)
	if n := tr.idleTo(p); n != 1 {
		t.Fatalf("%d connections are idle, want the young one", n)
	}
	tr.closeIdle(0)
	<-closed
}
