package flight

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/flightdata"
)

// codec is that of flightdata, except that a frame goes out as it lies: the buffers of a
// batch are handed to the transport, and nothing is encoded.
type codec struct{ flightdata.Codec }

func newCodec() codec { return codec{flightdata.NewCodec()} }

// Marshal returns the bytes of a message. gRPC frees them when they are sent.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if f, ok := message.(*frame); ok {
		return f.buffers, nil
	}
	return c.Codec.Marshal(message)
}

// frame is one message FlightData, encoded.
type frame struct{ buffers mem.BufferSlice }

// headFrame is a message without a body.
func headFrame(header, metadata []byte) *frame {
	return &frame{mem.BufferSlice{mem.SliceBuffer(appendHead(nil, header, metadata))}}
}

func appendHead(to, header, metadata []byte) []byte {
	to = appendBytes(to, flightdata.FieldDataHeader, header)
	if len(metadata) > 0 {
		to = appendBytes(to, flightdata.FieldAppMetadata, metadata)
	}
	return to
}

func appendBytes(to []byte, field protowire.Number, value []byte) []byte {
	to = protowire.AppendTag(to, field, protowire.BytesType)
	return protowire.AppendBytes(to, value)
}

// batchFrame is the message of a batch. It holds the batch until it is sent.
func (l *lender) batchFrame(batch arrow.RecordBatch, metadata []byte, allocator memory.Allocator) (*frame, error) {
	payload, err := ipc.GetRecordBatchPayload(batch, ipc.WithAllocator(allocator))
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "cannot encode a batch: %w", err)
	}
	loan := l.lend(batch, payload)
	var body pieces
	if err := payload.SerializeBody(&body); err != nil {
		loan.returned()
		return nil, driftline.Errorf(driftline.Internal, "cannot encode a batch: %w", err)
	}
	header := payload.Meta()
	defer header.Release()
	head := protowire.AppendTag(appendHead(nil, header.Bytes(), metadata), flightdata.FieldDataBody, protowire.BytesType)
	return &frame{loan.buffers(protowire.AppendVarint(head, uint64(body.bytes)), body)}, nil
}
