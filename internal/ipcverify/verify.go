// Package ipcverify decides whether an Arrow IPC message from the wire may be
// given to a decoder. It exists because decoders believe what a message says of
// itself: one changed length in a message of 216 bytes makes arrow-go ask for
// hundreds of gigabytes, and one offset that points back makes it recurse until
// the stack ends. Neither can be recovered from.
//
// A message's metadata is a flatbuffer, a tree of tables:
//
//	Message ─ header ─┬─ Schema ────────── fields ─ Field ─ type, children (Field …), dictionary
//	                  ├─ RecordBatch ───── nodes {length, nulls} …, buffers {offset, length} …
//	                  └─ DictionaryBatch ─ id, data (RecordBatch)
//
//	table at p:   ┌ int32 p-vtable ┬ fields at offsets that the vtable gives …
//	vtable:       ┌ uint16 its size ┬ uint16 the table's size ┬ uint16 offset of field 0 ┬ …
//	vector at q:  ┌ uint32 n ┬ n elements              a reference at r: q = r + uint32 at r
//
// What is accepted, beyond every access being in bounds:
//   - references point forwards, so that there are no cycles, and the bytes reached
//     are at most twice the bytes there are, so that sharing cannot multiply work;
//   - at most [MaxFields] fields, nested [MaxDepth] deep;
//   - types that a feature view or a spine can have: no unions, no run-end
//     encoding, no list views; little-endian; uncompressed; no dictionary deltas;
//   - a batch has exactly the nodes and buffers that the schema of its stream
//     calls for, each buffer inside the body, each column as long as the batch.
//
// What the values are is not looked at: offsets, indexes and UTF-8 are for
// [Values], after decoding.
package ipcverify

import (
	"fmt"

	"github.com/driftline/driftline"
)

// Limits of one message.
const (
	MaxMetadata = 1 << 20 // bytes of flatbuffer
	MaxFields   = 4096    // in one schema, children included
	MaxDepth    = 32      // of nested fields
	MaxName     = 1024    // bytes of a field's name
	MaxRows     = 1 << 24 // in one batch, or one child of a nested column
)

// A Stream verifies the messages of one IPC stream, in order: a schema, then
// dictionaries and batches. The zero value is ready. It is not safe for concurrent use.
type Stream struct {
	started      bool
	columns      []layout
	dictionaries map[int64]layout // of the values, by dictionary id
}

// layout counts what one field, with all its children, has in a record batch.
type layout struct {
	nodes, buffers int
	views          int // fields with a variable number of further buffers
}

// Verify returns an error that says why the message must not be decoded, or nil.
// metadata is the flatbuffer without length prefix, body the number of bytes that
// came with it. After an error the stream is over.
func (s *Stream) Verify(metadata []byte, body int64) error {
	if err := s.verify(metadata, body); err != nil {
		return driftline.Errorf(driftline.Invalid, "Arrow message is not acceptable: %w", err)
	}
	return nil
}

func (s *Stream) verify(metadata []byte, body int64) error {
	if len(metadata) > MaxMetadata {
		return fmt.Errorf("its metadata has %d bytes, more than %d", len(metadata), MaxMetadata)
	}
	buffer := &buffer{bytes: metadata, budget: 2 * len(metadata)}
	message, err := buffer.root()
	if err != nil {
		return err
	}
	kind, header, err := messageHeader(message, body)
	if err != nil {
		return err
	}
	switch {
	case kind == headerSchema && !s.started:
		s.started = true
		return s.schema(header)
	case kind == headerSchema:
		return fmt.Errorf("a second schema in one stream")
	case !s.started:
		return fmt.Errorf("the stream does not begin with a schema")
	case kind == headerRecordBatch:
		return recordBatch(header, body, s.columns)
	}
	return s.dictionaryBatch(header, body)
}

// Kinds of message, and the metadata versions V4 and V5.
const (
	headerSchema          = 1
	headerDictionaryBatch = 2
	headerRecordBatch     = 3

	versionV4 = 3
	versionV5 = 4
)

// Message { version, header_type, header, bodyLength, custom_metadata }
func messageHeader(message table, body int64) (kind uint8, header table, err error) {
	version, err := message.int16(0, 0)
	if err != nil {
		return 0, table{}, err
	}
	if version != versionV4 && version != versionV5 {
		return 0, table{}, fmt.Errorf("metadata version %d is not known", version)
	}
	if kind, err = message.uint8(1, 0); err != nil {
		return 0, table{}, err
	}
	if kind < headerSchema || kind > headerRecordBatch {
		return 0, table{}, fmt.Errorf("it is neither a schema nor a batch (kind %d)", kind)
	}
	length, err := message.int64(3, 0)
	if err != nil {
		return 0, table{}, err
	}
	if length < 0 || length > body {
		return 0, table{}, fmt.Errorf("it says that its body has %d bytes, and %d came", length, body)
	}
	if err := keyValues(message, 4); err != nil {
		return 0, table{}, err
	}
	header, err = message.required(2, "header")
	return kind, header, err
}

// keyValues checks a vector of KeyValue { key, value }.
func keyValues(t table, slot int) error {
	return t.tables(slot, func(_ int, pair table) error {
		if _, err := pair.string(0); err != nil {
			return err
		}
		_, err := pair.string(1)
		return err
	})
}
