package flight

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"google.golang.org/protobuf/proto"
)

// byteCounter counts what is sent.
type byteCounter struct{ messages, bytes, largest int }

func (c *byteCounter) Send(data *flight.FlightData) error {
	c.messages++
	c.bytes += len(data.DataBody)
	c.largest = max(c.largest, len(data.DataBody))
	return nil
}

// SendMsg sends as gRPC does: it encodes, and then frees.
func (c *byteCounter) SendMsg(message any) error {
	encoded, err := newCodec().Marshal(message)
	if err != nil {
		return err
	}
	defer encoded.Free()
	data := &flight.FlightData{}
	if err := proto.Unmarshal(encoded.Materialize(), data); err != nil {
		return err
	}
	return c.Send(data)
}

// Slices of string views share their buffers, and must not send them again and again.
func TestViewsAreSentOnce(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	const rows = 50_000
	strs, bins := array.NewStringViewBuilder(mem), array.NewBinaryViewBuilder(mem)
	defer strs.Release()
	defer bins.Release()
	for row := range rows {
		if row%10 == 0 {
			strs.AppendNull()
			bins.AppendNull()
			continue
		}
		strs.Append(fmt.Sprintf("%s %d", strings.Repeat("x", 100), row))
		bins.Append([]byte("short"))
	}
	columns := []arrow.Array{strs.NewArray(), bins.NewArray()}
	defer columns[0].Release()
	defer columns[1].Release()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "s", Type: arrow.BinaryTypes.StringView, Nullable: true}, {Name: "b", Type: arrow.BinaryTypes.BinaryView, Nullable: true},
	}, nil)
	batch := array.NewRecordBatch(schema, columns, rows)
	defer batch.Release()

	sent := &byteCounter{}
	out := (&service{mem: mem, lender: newLender()}).outbound(t.Context(), sent, schema)
	if err := out.close(out.sendAll(driftline.BatchesOf(schema, batch))); err != nil {
		t.Fatal(err)
	}
	if values := int(driftline.BatchBytes(batch)); sent.bytes > values*5/4 || sent.messages < 4 || sent.largest > maxBatchBytes*5/4 {
		t.Errorf("%d bytes of values were sent as %d in %d messages of at most %d", values, sent.bytes, sent.messages, sent.largest)
	}
	same := compactViews(mem, batch)
	defer same.Release()
	if !array.RecordEqual(same, batch) {
		t.Error("the values changed")
	}
}
