package flight

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/driftline/driftline"
)

// codec is gRPC's codec of protobuf, except that a frame goes out as it lies: the
// buffers of a batch are handed to the transport, which copies them once, into what
// it writes to the socket. The stock way copies them three times.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal returns the bytes of a message. gRPC frees them when they are sent.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if f, ok := message.(*frame); ok {
		return f.buffers, nil
	}
	return c.CodecV2.Marshal(message)
}

// frame is one message FlightData, encoded.
type frame struct{ buffers mem.BufferSlice }

// The fields of FlightData, in Flight.proto.
const (
	fieldDescriptor  protowire.Number = 1
	fieldDataHeader  protowire.Number = 2
	fieldAppMetadata protowire.Number = 3
	fieldDataBody    protowire.Number = 1000
)

// headFrame is a message without a body.
func headFrame(header, metadata []byte) *frame {
	return &frame{mem.BufferSlice{mem.SliceBuffer(appendHead(nil, header, metadata))}}
}

func appendHead(to, header, metadata []byte) []byte {
	to = appendBytes(to, fieldDataHeader, header)
	if len(metadata) > 0 {
		to = appendBytes(to, fieldAppMetadata, metadata)
	}
	return to
}

func appendBytes(to []byte, field protowire.Number, value []byte) []byte {
	to = protowire.AppendTag(to, field, protowire.BytesType)
	return protowire.AppendBytes(to, value)
}

// lender lends the buffers of batches to the transport, and knows which are not yet
// given back.
//
// gRPC gives most back when it has written them. Those of a stream that was
// cancelled or of a connection that broke it may forget, and no call tells whether
// it still reads them; so what it forgets goes back once the garbage collector finds
// that nobody can read it, or when the server has stopped.
type lender struct {
	mu  sync.Mutex
	out map[*loan]struct{}
}

func newLender() *lender { return &lender{out: make(map[*loan]struct{})} }

// reclaim takes everything back. It is for when no transport lives any more.
func (l *lender) reclaim() {
	l.mu.Lock()
	var left []*loan
	for loan := range l.out {
		left = append(left, loan)
	}
	l.mu.Unlock()
	for _, loan := range left {
		loan.end()
	}
}

// loan is one batch whose buffers are out.
type loan struct {
	lender  *lender
	batch   arrow.RecordBatch
	payload ipc.Payload
	ended   atomic.Bool
}

func (l *lender) lend(batch arrow.RecordBatch, payload ipc.Payload) *loan {
	batch.Retain()
	out := &loan{lender: l, batch: batch, payload: payload}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out[out] = struct{}{}
	return out
}

// end gives the batch back. Only the first call does something.
func (l *loan) end() {
	if l.ended.Swap(true) {
		return
	}
	l.lender.mu.Lock()
	delete(l.lender.out, l)
	l.lender.mu.Unlock()
	l.payload.Release()
	l.batch.Release()
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
		loan.end()
		return nil, driftline.Errorf(driftline.Internal, "cannot encode a batch: %w", err)
	}
	header := payload.Meta()
	defer header.Release()
	return &frame{loan.buffers(appendHead(nil, header.Bytes(), metadata), body)}, nil
}

// pieces collects what is written to it and copies none of it. What ipc writes are the
// buffers of its payload, which live as long as that.
type pieces struct {
	parts [][]byte
	bytes int
}

func (p *pieces) Write(part []byte) (int, error) {
	p.parts = append(p.parts, part)
	p.bytes += len(part)
	return len(part), nil
}

// buffers are head and, after it, the body in its parts. Large parts are lent; small
// ones, and the padding between, are copied, because gRPC does not count who uses
// buffers of up to a kilobyte.
func (l *loan) buffers(head []byte, body pieces) mem.BufferSlice {
	head = protowire.AppendTag(head, fieldDataBody, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(body.bytes))
	var all mem.BufferSlice
	back := &returns{loan: l}
	for _, part := range body.parts {
		if mem.IsBelowBufferPoolingThreshold(len(part)) {
			head = append(head, part...)
			continue
		}
		if len(head) > 0 {
			all, head = append(all, mem.SliceBuffer(head)), nil
		}
		part = part[:len(part):len(part)]
		all = append(all, mem.NewBuffer(&part, back))
		back.missing.Add(1)
	}
	if len(head) > 0 {
		all = append(all, mem.SliceBuffer(head))
	}
	if back.missing.Load() == 0 {
		l.end()
		return all
	}
	back.forgotten = runtime.AddCleanup(back, (*loan).end, l)
	return all
}

// returns is the pool that the lent buffers of one loan are put back to. gRPC holds
// it as long as it holds one of them.
type returns struct {
	loan      *loan
	missing   atomic.Int32
	forgotten runtime.Cleanup
}

// Put takes one buffer back, and ends the loan with the last.
func (r *returns) Put(*[]byte) {
	if r.missing.Add(-1) == 0 {
		r.forgotten.Stop()
		r.loan.end()
	}
}

// Get is for pools that make buffers, which this one does not.
func (r *returns) Get(length int) *[]byte {
	made := make([]byte, length)
	return &made
}
