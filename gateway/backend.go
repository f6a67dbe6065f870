package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/gateway/internal/wire"
	"github.com/driftline/driftline/internal/publicaddr"
)

// queueFactor is how many requests may wait for a server, as a multiple of those it gets at a time.
const queueFactor = 4

// backend is the server of one version of a model, as it was declared.
type backend struct {
	ref        driftline.Ref
	server     driftline.ModelServer
	infer      *http.Request // as each begins, without id and body; nil if the address cannot be used
	client     *http.Client
	mostAnswer int64

	slots   chan struct{}
	waiting atomic.Int64
	breaker breaker
	batcher *batcher       // nil if requests are not to be joined
	moved   func(*backend) // its circuit opened or closed
}

func newBackend(ref driftline.Ref, server driftline.ModelServer, client *http.Client, mostAnswer int64, moved func(*backend)) *backend {
	b := &backend{ref: ref, server: server, client: client, mostAnswer: mostAnswer, moved: moved, slots: make(chan struct{}, server.Concurrency)}
	if server.MaxBatch > 1 {
		b.batcher = &batcher{most: server.MaxBatch, delay: time.Duration(server.BatchDelay)}
	}
	at := server.URL + "/invocations"
	if server.Protocol == driftline.ProtocolOIP {
		at = b.modelURL() + "/infer"
	}
	b.infer, _ = http.NewRequest(http.MethodPost, at, nil)
	return b
}

// modelURL is the address of an OIP server's model.
func (b *backend) modelURL() string {
	name := b.server.Name
	if name == "" {
		name = b.ref.Name
	}
	at := b.server.URL + "/v2/models/" + url.PathEscape(name)
	if b.server.Version != "" {
		at += "/versions/" + url.PathEscape(b.server.Version)
	}
	return at
}

// outcome is what came of asking a model.
type outcome struct {
	answer *wire.Answer // nil if there is a fault
	fault  driftline.Fault
	why    string        // in words, for whoever asked
	took   time.Duration // until the whole answer was there

	members []member // of an average
}

// member is what one version said to a request that several answer together.
type member struct {
	version int
	answer  *wire.Answer
}

func failed(fault driftline.Fault, format string, args ...any) outcome {
	return outcome{fault: fault, why: fmt.Sprintf(format, args...)}
}

// ask sends a body and reads the answer, within the server's timeout, which includes
// waiting for its turn. That ctx is cancelled says nothing of the server.
func (b *backend) ask(ctx context.Context, id string, body []byte, rows int, outputs []driftline.SignatureColumn) outcome {
	began := time.Now()
	limited, cancel := b.limit(ctx, began, body)
	defer cancel()
	if !b.breaker.allow(began) {
		return failed(driftline.FaultError, "its server failed %d times in a row and is left alone for a while", tripAfter)
	}
	o, reached := b.turn(limited, id, body)
	if ctx.Err() != nil && o.fault != "" {
		o = failed(driftline.FaultOurs, "nobody waits for it any more")
	}
	if o.fault != driftline.FaultOurs && b.breaker.settle(time.Now(), reached) {
		b.moved(b)
	} else if o.fault == driftline.FaultOurs {
		b.breaker.forget()
	}
	if o.fault == "" {
		o.check(rows, outputs)
	}
	o.took = time.Since(began)
	return o
}

// until is a context that ends at a time without telling anybody: for those who look at the time.
type until struct {
	context.Context
	time time.Time
}

func (u until) Deadline() (time.Time, bool) { return u.time, true }

func (u until) Err() error {
	if time.Now().After(u.time) {
		return context.DeadlineExceeded
	}
	return u.Context.Err()
}

// limit gives a request its time. The connection of a small one has the deadline itself, so that no
// timer has to be made for it.
func (b *backend) limit(ctx context.Context, began time.Time, body []byte) (context.Context, context.CancelFunc) {
	end := began.Add(time.Duration(b.server.Timeout))
	if b.lets(body) {
		return until{ctx, end}, func() {}
	}
	return context.WithDeadline(ctx, end)
}

// forget gives a probe back that never went out.
func (b *breaker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

func (o *outcome) check(rows int, outputs []driftline.SignatureColumn) {
	if o.fault, o.why = o.answer.Check(rows); o.fault == "" {
		o.fault, o.why = o.answer.CheckSignature(outputs)
	}
	if o.fault != "" {
		o.answer = nil
	}
}

// turn waits for the server's turn. It reports whether the server answered at all.
func (b *backend) turn(ctx context.Context, id string, body []byte) (o outcome, reached bool) {
	select {
	case b.slots <- struct{}{}:
	default:
		defer b.waiting.Add(-1)
		if b.waiting.Add(1) > int64(queueFactor*cap(b.slots)) {
			return failed(driftline.FaultOurs, "more than %d requests wait for its server", queueFactor*cap(b.slots)), false
		}
		end, _ := ctx.Deadline()
		patience, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		select {
		case b.slots <- struct{}{}:
		case <-patience.Done(): // it is late, or nobody waits for it any more
			return failed(driftline.FaultTimeout, "its server was busy for %s", b.server.Timeout), false
		}
	}
	defer func() { <-b.slots }()
	return b.send(ctx, id, body)
}

// send sends a body, which may be written to again when it returns if [backend.lets] it.
func (b *backend) send(ctx context.Context, id string, body []byte) (o outcome, reached bool) {
	if b.infer == nil {
		return failed(driftline.FaultOurs, "its address cannot be used"), false
	}
	request := b.infer.WithContext(ctx)
	request.Header = http.Header{"Content-Type": jsonType, idempotencyKey: {id}}
	request.ContentLength = int64(len(body))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	request.Body, _ = request.GetBody()
	// What a client of net/http does beside this is of no use here: it would follow no redirect and keep no cookies.
	response, err := b.client.Transport.RoundTrip(request)
	if err != nil {
		return b.unreachable(err), false
	}
	defer response.Body.Close()
	text, err := readAtMost(response.Body, response.ContentLength, b.mostAnswer)
	switch {
	case errors.Is(err, errTooLarge):
		return failed(driftline.FaultOversize, "its answer has more than %d bytes", b.mostAnswer), true
	case err != nil:
		return b.unreachable(err), false
	}
	return b.read(response.StatusCode, text)
}

var jsonType = []string{"application/json"}

// idempotencyKey is a header by which a request is sent again if it met a connection that was just closed.
const idempotencyKey = "Idempotency-Key"

// lets reports whether a body that was sent is nobody's any more once its answer has come: [http.Transport] may
// still be writing then.
func (b *backend) lets(body []byte) bool {
	return b.infer != nil && isPlain(b.infer.URL) && len(body) <= mostQuick
}

// read makes an outcome of an answer.
func (b *backend) read(status int, text string) (o outcome, reached bool) {
	switch {
	case status == http.StatusOK:
		answer, err := wire.ParseAnswer(b.server.Protocol, text)
		if err != nil {
			return failed(driftline.FaultSchema, "its answer cannot be read: %v", err), true
		}
		return outcome{answer: answer}, true
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return failed(driftline.FaultTimeout, "its server answered %d", status), false
	case status == http.StatusTooManyRequests, status/100 == 3:
		return failed(driftline.FaultError, "its server answered %d", status), true
	case status/100 == 4:
		return failed(driftline.FaultRejected, "its server refused the input (%d)%s", status, reasonIn(text)), true
	}
	return failed(driftline.FaultError, "its server answered %d", status), status < 502 || status > 504
}

// reasonIn is what a server's error says, without the stack traces and inputs that MLflow adds.
func reasonIn(text string) string {
	message := wire.ErrorMessage(text)
	if message == "" {
		return ""
	}
	message, _, _ = strings.Cut(message, "\n")
	return ": " + clip(message)
}

// unreachable says why there is no answer, without the address.
func (b *backend) unreachable(err error) outcome {
	switch {
	case errors.Is(err, errPrivate):
		return failed(driftline.FaultOurs, "%s", errPrivate)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return failed(driftline.FaultTimeout, "its server did not answer within %s", b.server.Timeout)
	}
	return failed(driftline.FaultError, "its server cannot be reached, or broke off")
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

var errTooLarge = errors.New("too large")

// readAtMost reads a whole body, of a size that is known or not (−1).
func readAtMost(body io.Reader, size, most int64) (string, error) {
	if size > most {
		return "", errTooLarge
	}
	if size >= 0 {
		buffer := make([]byte, size)
		_, err := io.ReadFull(body, buffer)
		return unsafe.String(unsafe.SliceData(buffer), len(buffer)), err // which nobody writes to any more
	}
	text, err := io.ReadAll(io.LimitReader(body, most+1))
	if int64(len(text)) > most {
		return "", errTooLarge
	}
	return string(text), err
}

// ready asks the server whether the model is ready.
func (b *backend) ready(ctx context.Context) error {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := b.server.URL + "/ping"
	if b.server.Protocol == driftline.ProtocolOIP {
		at = b.modelURL() + "/ready"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return driftline.Errorf(driftline.Unavailable, "%s: %s", b.ref, b.unreachable(err).why)
	}
	defer response.Body.Close()
	const enough = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(response.Body, enough))
	if response.StatusCode != http.StatusOK || strings.Contains(strings.ReplaceAll(string(text), " ", ""), `"ready":false`) {
		return driftline.Errorf(driftline.Unavailable, "%s: its server answers %d to whether it is ready", b.ref, response.StatusCode)
	}
	return nil
}

var errPrivate = errors.New("the model server has an address of a private network, which the gateway may not reach")

// newClient connects to addresses of this machine, public ones and those of allowed networks,
// checked when it connects, after the one resolution that the dial makes. It goes through no proxy and
// follows no redirect.
func newClient(allowed []netip.Prefix) *http.Client {
	const patience = 5 * time.Second
	dialer := &net.Dialer{Timeout: patience, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !mayReach(to.Addr(), allowed) {
			return errPrivate
		}
		return nil
	}}
	return &http.Client{
		Transport: &transport{dial: dialer.DialContext, maxIdle: driftline.MostModelConcurrency, rest: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: patience, DisableCompression: true,
			MaxIdleConnsPerHost: driftline.MostModelConcurrency, IdleConnTimeout: idleFor,
			MaxResponseHeaderBytes: mostAnswerHead, ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func mayReach(a netip.Addr, allowed []netip.Prefix) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || publicaddr.Is(a) {
		return true
	}
	for _, p := range allowed {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// number is the version that the backend serves.
func (b *backend) number() (int, bool) {
	number, err := strconv.Atoi(b.ref.Version)
	return number, err == nil
}
