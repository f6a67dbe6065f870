package flightdata

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// buffers cuts a message as a transport might.
func buffers(raw []byte, size int) (cut mem.BufferSlice) {
	for len(raw) > 0 {
		n := min(size, len(raw))
		cut, raw = append(cut, mem.SliceBuffer(raw[:n])), raw[n:]
	}
	return cut
}

func message(t testing.TB, data *flight.FlightData) []byte {
	raw, err := proto.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func examples(t testing.TB) [][]byte {
	whole := message(t, &flight.FlightData{
		FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{"a", "b"}},
		DataHeader:       []byte("header"), AppMetadata: []byte("metadata"), DataBody: bytes.Repeat([]byte("body"), 300),
	})
	return [][]byte{
		nil, whole, whole[:len(whole)-1], append(bytes.Clone(whole), whole...),
		message(t, &flight.FlightData{DataBody: []byte{}}), message(t, &flight.FlightData{AppMetadata: []byte("only")}),
		protowire.AppendBytes(protowire.AppendTag(nil, FieldDescriptor, protowire.BytesType), []byte{0xff}),
		protowire.AppendBytes(protowire.AppendTag(nil, FieldDataHeader, protowire.BytesType), nil),
		protowire.AppendVarint(protowire.AppendTag(nil, FieldDataBody, protowire.VarintType), 7),
		protowire.AppendBytes(protowire.AppendTag(nil, 77, protowire.BytesType), []byte("unknown")),
		protowire.AppendTag(nil, FieldDataBody, protowire.BytesType),
		protowire.AppendVarint(protowire.AppendTag(nil, FieldDataBody, protowire.BytesType), 1<<40),
		bytes.Repeat([]byte{0xff}, 12), {0},
	}
}

func TestOneCopyDecodesAsTheStockCodec(t *testing.T) {
	for i, raw := range examples(t) {
		for _, size := range []int{1, 7, 1 << 14} {
			compareWithStock(t, raw, size)
		}
		if t.Failed() {
			t.Fatalf("example %d", i)
		}
	}
}

func TestWhatIsUsualIsNotLeftToTheStockCodec(t *testing.T) {
	if !decode(buffers(examples(t)[1], 100), new(flight.FlightData)) {
		t.Error("a message of all fields was not decoded")
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, raw := range examples(f) {
		f.Add(raw, 5)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int) { compareWithStock(t, raw, max(size, 1)) })
}

func compareWithStock(t *testing.T, raw []byte, size int) {
	t.Helper()
	codec := NewCodec()
	// A message that is used again may hold another one's fields.
	got, want := &flight.FlightData{DataBody: []byte("old")}, &flight.FlightData{DataBody: []byte("old")}
	gotErr, wantErr := codec.Unmarshal(buffers(raw, size), got), codec.CodecV2.Unmarshal(buffers(raw, size), want)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%x: error %v, want %v", raw, gotErr, wantErr)
	}
	if wantErr == nil && !proto.Equal(got, want) {
		t.Fatalf("%x: got %v, want %v", raw, got, want)
	}
}
