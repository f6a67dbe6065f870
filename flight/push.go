package flight

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"golang.org/x/sync/semaphore"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/ipcverify"
)

// What one push stream may have in flight: sixty-four writes, or fewer that are larger.
const (
	maxPushBytes = 16 << 20
	minPushBytes = maxPushBytes / 64 // that the smallest write counts for
)

// pushNote is the metadata of a pushed batch.
type pushNote struct {
	IdempotencyKey string `json:"idempotency_key"`
}

// pushAnswer is the metadata of the PutResult of a pushed batch: one of the two.
type pushAnswer struct {
	Result *driftline.IngestResult `json:"result,omitempty"`
	Error  *driftline.Error        `json:"error,omitempty"`
}

// push answers a stream in which each batch is a write of its own. There is one
// answer for each, in their order; one that fails does not end the stream. The
// writes overlap, so that they share what a durable write waits for, and get their
// sequences in the order in which they were sent.
func (s *service) push(ctx context.Context, command putCommand, in *inbound, stream flight.FlightService_DoPutServer) error {
	if _, err := s.engine.Registry().View(s.engine.Registry().Meant(command.View)); err != nil {
		return err
	}
	_, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &pushes{service: s, view: command.View, space: semaphore.NewWeighted(maxPushBytes), running: make(chan *pushed, maxPushBytes/minPushBytes)}
	sent := make(chan error, 1)
	go func() { sent <- p.answer(stream, cancel) }()
	for err == nil && reader.Next() {
		err = p.begin(ctx, reader.RecordBatch(), reader.LatestAppMetadata())
	}
	close(p.running)
	if failed := <-sent; failed != nil {
		return failed
	}
	if err == nil && reader.Err() != nil {
		err = in.readError(reader.Err())
	}
	return err
}

// pushes are the writes of one stream.
type pushes struct {
	service *service
	view    driftline.ViewName
	space   *semaphore.Weighted // bytes
	running chan *pushed        // in their order; never full, because space is
}

// pushed is one write.
type pushed struct {
	bytes int64
	done  chan pushAnswer
}

// begin starts the write of one batch. It returns when the write has its place among
// the others, and an error only if the stream is over.
func (p *pushes) begin(ctx context.Context, batch arrow.RecordBatch, metadata []byte) error {
	bytes := min(max(driftline.BatchBytes(batch), minPushBytes), maxPushBytes)
	if err := p.space.Acquire(ctx, bytes); err != nil {
		return context.Cause(ctx)
	}
	push := &pushed{bytes: bytes, done: make(chan pushAnswer, 1)}
	p.running <- push
	count(ctx, batch.NumRows())
	batch.Retain()
	taken := make(chan struct{})
	go func() {
		defer batch.Release()
		placed := sync.OnceFunc(func() { close(taken) })
		defer placed()
		result, err := p.write(ctx, batch, metadata, placed)
		push.done <- answerOf(ctx, result, err)
	}()
	<-taken
	return nil
}

// write calls placed as soon as the write has its place, if it comes so far.
func (p *pushes) write(ctx context.Context, batch arrow.RecordBatch, metadata []byte, placed func()) (result driftline.IngestResult, err error) {
	err = recovered(func() error {
		var note pushNote
		if len(metadata) > 0 {
			if note, err = parse[pushNote](metadata); err != nil {
				return err
			}
		}
		if err := ipcverify.Values(batch); err != nil {
			return err
		}
		rows := driftline.BatchesOf(batch.Schema(), batch)
		result, err = p.service.engine.IngestInOrder(ctx, p.view, note.IdempotencyKey, rows, placed)
		return err
	})
	return result, err
}

func answerOf(ctx context.Context, result driftline.IngestResult, err error) pushAnswer {
	if err == nil {
		return pushAnswer{Result: &result}
	}
	failure := failureOf(ctx, err)
	if failure == nil { // the client is gone, or the server ends the stream
		failure = driftline.Errorf(driftline.Unavailable, "the stream ended before the write did")
	}
	countFailure(ctx, failure)
	return pushAnswer{Error: shownOf(failure)}
}

// answer sends the answers in the order of the writes. If the client cannot be
// reached it cancels the writes that run, and waits for them.
func (p *pushes) answer(stream flight.FlightService_DoPutServer, cancel context.CancelCauseFunc) (failed error) {
	for push := range p.running {
		answer := <-push.done
		if failed == nil {
			if failed = sendAnswer(stream, answer); failed != nil {
				cancel(failed)
			}
		}
		p.space.Release(push.bytes)
	}
	return failed
}

func sendAnswer(stream flight.FlightService_DoPutServer, answer pushAnswer) error {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the answer as JSON: %w", err)
	}
	return stream.Send(&flight.PutResult{AppMetadata: encoded})
}
