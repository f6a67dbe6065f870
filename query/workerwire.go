package query

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/ipcverify"
)

// A server and its worker talk over two pipes, in frames:
//
//	┌ kind (1 byte) ┬ length (4 bytes, little-endian) ┬ payload ┐
//
//	server ─► worker   settings                    once
//	worker ─► server   ready                       once, when it has locked itself in
//	server ─► worker   request, then for each load step of it: arrow …, end
//	worker ─► server   arrow …, end      rows      or
//	                   parsed                      or
//	                   failed                      instead of, or in the middle of rows
//
// What the server writes is trusted (gob), what the worker writes is not: it is JSON
// or an Arrow message, of bounded length, and no Arrow message is decoded that
// [ipcverify] has not seen.
const (
	frameSettings = 's'
	frameReady    = 'y'
	frameRequest  = 'r'
	frameArrow    = 'a' // uint32 length of the metadata, metadata, body
	frameEnd      = 'e'
	frameParsed   = 'p'
	frameFailed   = 'f'
)

const (
	maxControlBytes = 4 << 20  // of a frame that is not Arrow
	maxArrowBytes   = 64 << 20 // of one that is: a batch is 2 MiB, but a row may be larger
)

// errFrame is the end of a conversation: what came is not what can come.
var errFrame = errors.New("the process sent what it may not")

func writeFrame(w io.Writer, kind byte, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	header := make([]byte, 5, 5+min(size, 1<<10))
	header[0] = kind
	binary.LittleEndian.PutUint32(header[1:], uint32(size))
	if size <= 1<<10 {
		for _, p := range parts {
			header = append(header, p...)
		}
		parts = nil
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func readHeader(r io.Reader) (kind byte, size int, err error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, 0, err
	}
	kind, size = header[0], int(binary.LittleEndian.Uint32(header[1:]))
	if most := maxControlBytes; kind == frameArrow && size > maxArrowBytes || kind != frameArrow && size > most {
		return 0, 0, fmt.Errorf("%w: a frame %q of %d bytes", errFrame, kind, size)
	}
	return kind, size, nil
}

func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	kind, size, err := readHeader(r)
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return kind, payload, err
}

// workerSettings are what a worker is told when it starts.
type workerSettings struct {
	MemoryBytes int64
	Threads     int
}

// request is what a worker is asked: to parse a text, or to run what was made of one.
type request struct {
	Parse bool
	Text  string

	Setup      []step
	Files      []string
	Args       []wireValue
	Explain    bool
	SchemaOnly bool
	Time       time.Duration // for all of it
	MaxRows    int64
	MaxBytes   int64
	BatchBytes int64 // of one batch of the answer
}

// wireValue is one argument: gob has no way to say nil.
type wireValue struct {
	Null  bool
	Value any
}

func init() { gob.Register(time.Time{}) }

func wireValues(args []any) []wireValue {
	values := make([]wireValue, len(args))
	for i, a := range args {
		if values[i] = (wireValue{Value: a}); a == nil {
			values[i] = wireValue{Null: true}
		}
	}
	return values
}

func (r *request) args() []any {
	args := make([]any, len(r.Args))
	for i, v := range r.Args {
		if !v.Null {
			args[i] = v.Value
		}
	}
	return args
}

func writeGob(w io.Writer, kind byte, v any) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	return writeFrame(w, kind, b.Bytes())
}

func decodeGob(payload []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(payload)).Decode(v)
}

// wireFailure is a failed frame. Tired says that the worker should be replaced.
type wireFailure struct {
	Error driftline.Error `json:"error"`
	Tired bool            `json:"tired"`
}

// ending is an end frame, from the worker.
type ending struct {
	Tired bool `json:"tired"`
}

func writeJSON(w io.Writer, kind byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, kind, raw)
}

// arrowSender writes the messages of one stream as frames. It is an ipc.PayloadWriter.
type arrowSender struct {
	w    io.Writer
	body bytes.Buffer
}

func (*arrowSender) Start() error { return nil }
func (*arrowSender) Close() error { return nil }

func (s *arrowSender) WritePayload(p ipc.Payload) error {
	s.body.Reset()
	if err := p.SerializeBody(&s.body); err != nil {
		return err
	}
	meta := p.Meta()
	defer meta.Release()
	if size := 4 + meta.Len() + s.body.Len(); size > maxArrowBytes {
		return driftline.Errorf(driftline.Exhausted, "a batch of the answer has %d MiB, at most %d MiB are allowed", size>>20, maxArrowBytes>>20).
			WithHint("select fewer or smaller columns")
	}
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(meta.Len()))
	return writeFrame(s.w, frameArrow, length[:], meta.Bytes(), s.body.Bytes())
}

// sendRows writes batches and, if it is told to begin with nothing, their schema.
func newArrowWriter(w io.Writer, schema *arrow.Schema) *ipc.Writer {
	return ipc.NewWriterWithPayloadWriter(&arrowSender{w: w}, ipc.WithSchema(schema))
}

// arrowReceiver reads the messages of one stream from frames. It is an
// ipc.MessageReader that lets through only what was verified. At a frame of another
// kind it ends, and keeps it.
type arrowReceiver struct {
	r        io.Reader
	mem      memory.Allocator
	verified ipcverify.Stream
	message  *ipc.Message

	last    byte // the frame that ended the stream
	payload []byte
}

func (*arrowReceiver) Retain() {}

// Release gives up the last message.
func (a *arrowReceiver) Release() {
	if a.message != nil {
		a.message.Release()
		a.message = nil
	}
}

// Message returns the next one, valid until the one after it.
func (a *arrowReceiver) Message() (*ipc.Message, error) {
	a.Release()
	if a.last != 0 {
		return nil, io.EOF
	}
	kind, size, err := readHeader(a.r)
	if err != nil {
		return nil, err
	}
	if kind != frameArrow {
		payload := make([]byte, size)
		if _, err := io.ReadFull(a.r, payload); err != nil {
			return nil, err
		}
		a.last, a.payload = kind, payload
		return nil, io.EOF
	}
	return a.arrowMessage(size)
}

func (a *arrowReceiver) arrowMessage(size int) (*ipc.Message, error) {
	var length [4]byte
	if size < len(length) {
		return nil, errFrame
	}
	if _, err := io.ReadFull(a.r, length[:]); err != nil {
		return nil, err
	}
	metaSize := int(binary.LittleEndian.Uint32(length[:]))
	bodySize := size - len(length) - metaSize
	if metaSize > ipcverify.MaxMetadata || bodySize < 0 {
		return nil, errFrame
	}
	meta := make([]byte, metaSize)
	if _, err := io.ReadFull(a.r, meta); err != nil {
		return nil, err
	}
	if err := a.verified.Verify(meta, int64(bodySize)); err != nil {
		return nil, err
	}
	body := memory.NewResizableBuffer(a.mem)
	defer body.Release()
	body.Resize(bodySize)
	if _, err := io.ReadFull(a.r, body.Bytes()); err != nil {
		return nil, err
	}
	header := memory.NewBufferBytes(meta)
	defer header.Release()
	a.message = ipc.NewMessage(header, body)
	return a.message, nil
}
