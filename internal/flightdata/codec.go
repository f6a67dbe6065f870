// Package flightdata reads the messages of Arrow Flight that carry rows with one copy.
package flightdata

import (
	"encoding/binary"
	"io"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
)

// The fields of FlightData, in Flight.proto.
const (
	FieldDescriptor  protowire.Number = 1
	FieldDataHeader  protowire.Number = 2
	FieldAppMetadata protowire.Number = 3
	FieldDataBody    protowire.Number = 1000
)

// Codec is gRPC's codec of protobuf, except that the body of a FlightData is copied once,
// from the buffers that the socket was read into to where it stays. The stock codec lays
// the buffers together first, and then copies the body out of them.
type Codec struct{ encoding.CodecV2 }

// NewCodec returns a codec for either side of a connection.
func NewCodec() Codec { return Codec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal decodes a message. What is wrong or unusual in a FlightData is left to the
// stock codec, so the result and the error are always the same as its own.
func (c Codec) Unmarshal(data mem.BufferSlice, message any) error {
	if to, ok := message.(*flight.FlightData); ok && decode(data, to) {
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

// decode returns false if data is not just the known fields, each at most once.
func decode(data mem.BufferSlice, to *flight.FlightData) bool {
	reader := data.Reader()
	defer reader.Close()
	to.Reset()
	for reader.Remaining() > 0 {
		number, value, ok := nextField(reader)
		if !ok {
			return false
		}
		var field *[]byte
		switch number {
		case FieldDescriptor:
			if to.FlightDescriptor != nil {
				return false
			}
			to.FlightDescriptor = new(flight.FlightDescriptor)
			if protobuf.Unmarshal(value, to.FlightDescriptor) != nil {
				return false
			}
			continue
		case FieldDataHeader:
			field = &to.DataHeader
		case FieldAppMetadata:
			field = &to.AppMetadata
		case FieldDataBody:
			field = &to.DataBody
		}
		if field == nil || *field != nil {
			return false
		}
		*field = value
	}
	return true
}

// nextField reads a field that is bytes, which are not nil.
func nextField(reader *mem.Reader) (number protowire.Number, value []byte, ok bool) {
	tag, err := binary.ReadUvarint(reader)
	if err != nil {
		return 0, nil, false
	}
	number, kind := protowire.DecodeTag(tag)
	if kind != protowire.BytesType {
		return 0, nil, false
	}
	size, err := binary.ReadUvarint(reader)
	if err != nil || size > uint64(reader.Remaining()) {
		return 0, nil, false
	}
	value = make([]byte, size)
	_, err = io.ReadFull(reader, value)
	return number, value, err == nil
}
