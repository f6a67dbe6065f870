package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/driftline/driftline"
)

// Pusher writes small batches to one feature view over one open call: each is a
// durable write of its own, for a fraction of what a call of [Client.Ingest] costs.
//
// It is safe for concurrent use. Pushes of several goroutines are in flight together
// and share what a durable write waits for, so a program with much to write pushes from
// many goroutines. Writes take effect in the order in which Push was called.
type Pusher struct {
	schema *arrow.Schema
	open   func() (*pushStream, error)

	mu     sync.Mutex
	stream *pushStream
	closed bool
}

// OpenPusher opens a pusher of rows with that schema. It lives until Close, or until
// ctx ends. If its connection is lost, the pushes in flight fail with
// [driftline.Unavailable] and the next one opens another.
func (c *Client) OpenPusher(ctx context.Context, view driftline.ViewName, rows *arrow.Schema) (*Pusher, error) {
	descriptor, err := commandDescriptor(struct {
		Op   string             `json:"op"`
		View driftline.ViewName `json:"view"`
	}{"push", view})
	if err != nil {
		return nil, err
	}
	p := &Pusher{schema: rows, open: func() (*pushStream, error) { return c.openPush(ctx, descriptor, rows) }}
	p.stream, err = p.open()
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Push writes rows; when it returns without an error they are durable, and visible
// online and offline. The idempotencyKey makes a retry safe, as in [Client.Ingest]. An
// error is of these rows alone. If ctx ends first, the rows may yet be written.
func (p *Pusher) Push(ctx context.Context, idempotencyKey string, rows arrow.RecordBatch) (driftline.IngestResult, error) {
	answer, err := p.send(idempotencyKey, rows)
	if err != nil {
		return driftline.IngestResult{}, err
	}
	select {
	case a := <-answer:
		return a.result, a.err
	case <-ctx.Done():
		return driftline.IngestResult{}, ended(ctx)
	}
}

// ended is why ctx ended, as an error of the client.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return driftline.Errorf(driftline.Deadline, "the push was not acknowledged in time").
			WithHint("it may yet be written; send it again with the same idempotency key")
	}
	return ctx.Err()
}

// send puts rows on their way and returns where their answer will be.
func (p *Pusher) send(idempotencyKey string, rows arrow.RecordBatch) (<-chan pushAnswer, error) {
	if !rows.Schema().Equal(p.schema) {
		return nil, driftline.Errorf(driftline.Invalid, "the rows are %v, the pusher was opened for %v", rows.Schema(), p.schema).
			WithHint("open a pusher for each schema")
	}
	note, err := noteOf(idempotencyKey)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, driftline.Errorf(driftline.FailedPrecondition, "the pusher is closed").WithHint("open another one")
	}
	if p.stream.isOver() {
		if p.stream, err = p.open(); err != nil {
			return nil, err
		}
	}
	return p.stream.send(rows, note), nil
}

// noteOf is the metadata of a batch with an idempotency key.
func noteOf(idempotencyKey string) ([]byte, error) {
	if idempotencyKey == "" {
		return nil, nil
	}
	note, err := json.Marshal(map[string]string{"idempotency_key": idempotencyKey})
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "cannot write the idempotency key as JSON: %w", err)
	}
	return note, nil
}

// Close waits for the pushes in flight and ends the call. It is safe to call twice.
func (p *Pusher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.stream.close()
}

// pushAnswer is what became of one push.
type pushAnswer struct {
	result driftline.IngestResult
	err    error
}

// pushStream is one call. Its users take turns to send; a goroutine receives.
type pushStream struct {
	stream flight.FlightService_DoPutClient
	writer *flight.Writer
	cancel context.CancelFunc
	begun  bool          // something was sent
	ended  chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	waiting []chan<- pushAnswer // in the order of the pushes
	over    error               // why nothing more is answered, once that is so
}

func (c *Client) openPush(ctx context.Context, descriptor *flight.FlightDescriptor, rows *arrow.Schema) (*pushStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.flight.DoPut(ctx)
	if err != nil {
		cancel()
		return nil, fromStatus(err)
	}
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(rows))
	writer.SetFlightDescriptor(descriptor)
	s := &pushStream{stream: stream, writer: writer, cancel: cancel, ended: make(chan struct{})}
	go s.receive()
	return s, nil
}

func (s *pushStream) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over != nil
}

// send sends one batch. Whatever goes wrong, there is an answer.
func (s *pushStream) send(rows arrow.RecordBatch, note []byte) <-chan pushAnswer {
	answer := make(chan pushAnswer, 1)
	s.mu.Lock()
	over := s.over
	if over == nil {
		s.waiting = append(s.waiting, answer)
	}
	s.mu.Unlock()
	if over != nil {
		answer <- pushAnswer{err: over}
		return answer
	}
	s.begun = true
	if err := s.writer.WriteWithAppMetadata(rows, note); err != nil && !errors.Is(err, io.EOF) {
		s.end(driftline.Errorf(driftline.Invalid, "the rows cannot be sent: %w", err))
		s.cancel()
	}
	return answer
}

// receive gives each push its answer until the call ends.
func (s *pushStream) receive() {
	defer close(s.ended)
	defer s.cancel()
	for {
		put, err := s.stream.Recv()
		if err != nil {
			s.end(lost(err))
			return
		}
		if err := s.answer(put.GetAppMetadata()); err != nil {
			s.end(err)
			return
		}
	}
}

// lost is the failure of all pushes that have no answer.
func lost(err error) error {
	if errors.Is(err, io.EOF) {
		return driftline.Errorf(driftline.Unavailable, "the server ended the stream of pushes").
			WithHint("send the rows again with the same idempotency key")
	}
	return fromStatus(err)
}

func (s *pushStream) answer(metadata []byte) error {
	var decoded struct {
		Result driftline.IngestResult `json:"result"`
		Error  *driftline.Error       `json:"error"`
	}
	if err := json.Unmarshal(metadata, &decoded); err != nil {
		return driftline.Errorf(driftline.Internal, "cannot read the server's answer: %w", err)
	}
	answer := pushAnswer{result: decoded.Result}
	if decoded.Error != nil {
		answer.err = decoded.Error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return driftline.Errorf(driftline.Internal, "the server answered a push that was not sent")
	}
	s.waiting[0] <- answer
	s.waiting = s.waiting[1:]
	return nil
}

// end tells all that wait, and all that come, why there are no more answers.
func (s *pushStream) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return
	}
	s.over = why
	for _, answer := range s.waiting {
		answer <- pushAnswer{err: why}
	}
	s.waiting = nil
}

// close ends the call when everything sent is answered.
func (s *pushStream) close() error {
	if !s.begun { // a stream without a message is an error
		s.cancel()
		<-s.ended
		return nil
	}
	err := s.stream.CloseSend()
	<-s.ended
	return fromStatus(err)
}
