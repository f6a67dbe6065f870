package flight

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/protobuf/proto"
)

// manyTypes is a batch with a column of each kind of layout, nulls among them.
func manyTypes(t *testing.T, mem memory.Allocator, rows int) arrow.RecordBatch {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "nothing", Type: arrow.Null, Nullable: true},
		{Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "number", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "money", Type: &arrow.Decimal128Type{Precision: 20, Scale: 2}, Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "long", Type: arrow.BinaryTypes.LargeBinary, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true},
		{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true},
	}, nil)
	var text strings.Builder
	for row := range rows {
		if row%5 == 4 {
			fmt.Fprintf(&text, `{"at": "2013-06-01T10:00:00Z"}`)
			continue
		}
		fmt.Fprintf(&text, `{"flag": %t, "number": %d.5, "money": "%d.25", "at": "2013-06-01T10:00:00Z", "text": "row %d",
			"long": "AQID", "list": [%d, null], "struct": {"x": %d}}`, row%2 == 0, row, row, row, row, row)
	}
	batch, _, err := array.RecordFromJSON(mem, schema, strings.NewReader(text.String()), array.WithMultipleDocs())
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// recorder keeps what was sent by the stock way.
type recorder struct{ sent []*flight.FlightData }

func (r *recorder) Send(data *flight.FlightData) error {
	copied := &flight.FlightData{DataHeader: bytes.Clone(data.DataHeader), DataBody: bytes.Clone(data.DataBody), AppMetadata: bytes.Clone(data.AppMetadata)}
	r.sent = append(r.sent, copied)
	return nil
}

// A frame is, byte for byte, the message that arrow-go sends.
func TestFramesAreTheStockMessages(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	whole := manyTypes(t, mem, 4000)
	defer whole.Release()
	for _, cut := range [][2]int64{{0, 4000}, {0, 0}, {3, 4}, {1, 3999}, {8, 1032}} {
		batch := whole.NewSlice(cut[0], cut[1])
		defer batch.Release()
		var want recorder
		writer := flight.NewRecordWriter(&want, ipc.WithSchema(batch.Schema()), ipc.WithAllocator(mem))
		if err := writer.WriteWithAppMetadata(batch, []byte("note")); err != nil {
			t.Fatal(err)
		}
		frame, err := newLender().batchFrame(batch, []byte("note"), mem)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := newCodec().Marshal(frame)
		if err != nil {
			t.Fatal(err)
		}
		got := &flight.FlightData{}
		if err := proto.Unmarshal(encoded.Materialize(), got); err != nil {
			t.Fatal(err)
		}
		encoded.Free()
		if !proto.Equal(got, want.sent[1]) {
			t.Errorf("rows %v: header of %d bytes, body of %d; stock %d and %d", cut,
				len(got.DataHeader), len(got.DataBody), len(want.sent[1].DataHeader), len(want.sent[1].DataBody))
		}
	}
}

func numbers(mem memory.Allocator, rows int) arrow.RecordBatch {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Int64}}, nil)
	builder := array.NewRecordBuilder(mem, schema)
	defer builder.Release()
	for row := range rows {
		builder.Field(0).(*array.Int64Builder).Append(int64(row))
		builder.Field(1).(*array.Int64Builder).Append(int64(row))
	}
	return builder.NewRecordBatch()
}

// A batch is the transport's until its last buffer is free, and no longer.
func TestABatchIsHeldUntilItIsSent(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	batch := numbers(mem, 10_000)
	frame, err := lender.batchFrame(batch, nil, mem)
	if err != nil {
		t.Fatal(err)
	}
	batch.Release()
	frame.buffers.Ref() // as the transport does
	frame.buffers.Free()
	if mem.CurrentAlloc() == 0 || len(lender.out) != 1 {
		t.Fatal("the batch was released before it was sent")
	}
	for i, buffer := range frame.buffers {
		if mem.CurrentAlloc() == 0 {
			t.Errorf("the batch was released with %d buffers to send", len(frame.buffers)-i)
		}
		buffer.Free()
	}
	if len(lender.out) != 0 {
		t.Error("the loan did not end")
	}
	mem.AssertSize(t, 0)
	lender.reclaim()
}

// Where all buffers are small they are copied, and nothing is lent.
func TestSmallBatchesAreNotHeld(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	batch := numbers(mem, 10)
	frame, err := lender.batchFrame(batch, nil, mem)
	if err != nil {
		t.Fatal(err)
	}
	batch.Release()
	mem.AssertSize(t, 0)
	frame.buffers.Free()
}

// What gRPC forgets to free is taken back when nobody can read it, or by reclaim;
// and once only, whichever comes first.
func TestForgottenBuffersComeBack(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	lender := newLender()
	forget := func() {
		batch := numbers(mem, 10_000)
		defer batch.Release()
		if _, err := lender.batchFrame(batch, nil, mem); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	for range 1000 {
		if runtime.GC(); mem.CurrentAlloc() == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	mem.AssertSize(t, 0)

	batch := numbers(mem, 10_000)
	frame, err := lender.batchFrame(batch, nil, mem)
	if err != nil {
		t.Fatal(err)
	}
	batch.Release()
	lender.reclaim()
	mem.AssertSize(t, 0)
	frame.buffers.Free()
	mem.AssertSize(t, 0)
}

// Dictionaries are messages of their own, and are sent in the stock way.
func TestDictionariesAreSent(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	dictionary := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	schema := arrow.NewSchema([]arrow.Field{{Name: "list", Type: arrow.ListOf(dictionary), Nullable: true}}, nil)
	batch, _, err := array.RecordFromJSON(mem, schema, strings.NewReader(`[{"list": ["a", "b", "a"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Release()
	sent := &byteCounter{}
	out := (&service{mem: mem, lender: newLender()}).outbound(t.Context(), sent, schema)
	if err := out.close(out.send(batch)); err != nil {
		t.Fatal(err)
	}
	if sent.messages != 3 {
		t.Errorf("%d messages, want a schema, a dictionary and a batch", sent.messages)
	}
}
