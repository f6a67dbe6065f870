package flight

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/ipcverify"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// inbound is the receiving side of a DoPut or DoExchange. Its Recv lets nothing
// through to a decoder that ipcverify has not seen.
type inbound struct {
	receive  func() (*flight.FlightData, error)
	verified ipcverify.Stream
	first    *flight.FlightData // received to learn the command, not yet passed on
}

// newInbound receives the first message, which holds the descriptor.
func newInbound(receive func() (*flight.FlightData, error)) (*inbound, *flight.FlightDescriptor, error) {
	in := &inbound{receive: receive}
	first, err := in.next()
	if errors.Is(err, io.EOF) {
		err = driftline.Errorf(driftline.Invalid, "the stream is empty").WithHint("begin it with a descriptor and a schema")
	}
	if err != nil {
		return nil, nil, err
	}
	if first.FlightDescriptor == nil {
		return nil, nil, driftline.Errorf(driftline.Invalid, "the stream does not begin with a descriptor")
	}
	in.first = first
	return in, first.FlightDescriptor, nil
}

// Recv returns the next message that has metadata; messages with application
// metadata alone mean nothing to us, and arrow-go panics at them.
func (in *inbound) Recv() (*flight.FlightData, error) {
	if first := in.first; first != nil {
		in.first = nil
		return first, nil
	}
	for {
		data, err := in.next()
		if err != nil || len(data.DataHeader) > 0 {
			return data, err
		}
	}
}

func (in *inbound) next() (*flight.FlightData, error) {
	data, err := in.receive()
	if err != nil {
		return nil, in.receiveError(err)
	}
	if size := len(data.DataHeader) + len(data.DataBody); size > maxMessageBytes {
		return nil, driftline.Errorf(driftline.Exhausted, "a message of %d MiB", size>>20).
			WithHint("send batches of at most %d MiB", maxMessageBytes>>20)
	}
	if len(data.DataHeader) > 0 {
		err = in.verified.Verify(data.DataHeader, int64(len(data.DataBody)))
	}
	return data, err
}

// counted is rows, each batch counted for the log line of the call.
func counted(ctx context.Context, rows driftline.Batches) driftline.Batches {
	return driftline.Batches{Schema: rows.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for batch, err := range rows.All {
			if err == nil {
				count(ctx, batch.NumRows())
			}
			if !yield(batch, err) {
				return
			}
		}
	}}
}

// receiveError names what the engine may wrap and pass back.
func (in *inbound) receiveError(err error) error {
	switch status.Code(err) {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.ResourceExhausted:
		return failureOfStatus(status.Convert(err), err)
	}
	return err // io.EOF among others
}

// batches is the stream of rows that follows the descriptor. The caller releases the
// reader once it is done with them.
func (in *inbound) batches(mem memory.Allocator) (driftline.Batches, *flight.Reader, error) {
	reader, err := flight.NewRecordReader(in, ipc.WithAllocator(mem))
	if err != nil {
		return driftline.Batches{}, nil, in.readError(err)
	}
	return driftline.Batches{Schema: reader.Schema(), All: func(yield func(arrow.RecordBatch, error) bool) {
		for reader.Next() {
			batch := reader.RecordBatch()
			if err := ipcverify.Values(batch); err != nil {
				yield(nil, err)
				return
			}
			if !yield(batch, nil) {
				return
			}
		}
		if err := reader.Err(); err != nil {
			yield(nil, in.readError(err))
		}
	}}, reader, nil
}

// readError explains a failed read; arrow-go wraps what Recv returned.
func (in *inbound) readError(err error) error {
	var failure *driftline.Error
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, io.EOF):
		return driftline.Errorf(driftline.Invalid, "the stream has no schema").WithHint("send a schema, and then batches")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return &driftline.Error{Code: driftline.Invalid, Message: "the stream of batches cannot be read", Err: err}
}
