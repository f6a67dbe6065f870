package flight_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/driftline/driftline"
)

// spineRows are in each batch that an exchange sends; a row is a little over 200 bytes.
const spineRows = 4096

// exchange asks for a training set.
type exchange struct {
	stream arrowflight.FlightService_DoExchangeClient
	writer *arrowflight.Writer
	spine  arrow.RecordBatch
	sent   atomic.Int64 // batches
}

func (d *door) exchange(ctx context.Context, t *testing.T) *exchange {
	t.Helper()
	stream, err := d.flight.DoExchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "origin", Type: arrow.BinaryTypes.String}, {Name: "event_timestamp", Type: driftline.Time}, {Name: "note", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for range spineRows {
		b.Field(0).(*array.StringBuilder).Append("JFK")
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(time.Date(2013, 6, 1, 12, 0, 0, 0, time.UTC).UnixMicro()))
		b.Field(2).(*array.StringBuilder).Append(strings.Repeat("x", 200))
	}
	e := &exchange{stream: stream, writer: arrowflight.NewRecordWriter(stream, ipc.WithSchema(schema)), spine: b.NewRecordBatch()}
	t.Cleanup(e.spine.Release)
	e.writer.SetFlightDescriptor(&arrowflight.FlightDescriptor{Type: arrowflight.DescriptorCMD,
		Cmd: []byte(`{"op": "historical", "features": ["weather:temp"], "event_timestamp": "event_timestamp"}`)})
	return e
}

// send sends batches until stop, or until the call ends.
func (e *exchange) send(stop func() bool) {
	for !stop() && e.writer.Write(e.spine) == nil {
		e.sent.Add(1)
	}
	_ = e.stream.CloseSend()
}

func TestAnExchangeAnswersBeforeItsSpineEnds(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e := d.exchange(ctx, t)
	var answered atomic.Bool
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		e.send(answered.Load)
	}()
	reader, err := arrowflight.NewRecordReader(e.stream)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	if !reader.Next() {
		t.Fatal(reader.Err())
	}
	rows := reader.RecordBatch().NumRows()
	answered.Store(true) // the spine ends now, and not before
	for reader.Next() {
		rows += reader.RecordBatch().NumRows()
	}
	<-sender
	if reader.Err() != nil || rows != spineRows*e.sent.Load() {
		t.Errorf("%d rows for %d and %v", rows, spineRows*e.sent.Load(), reader.Err())
	}
}

// Who does not read makes the server wait, not remember.
func TestAnExchangeThatIsNotReadStaysSmall(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	e := d.exchange(ctx, t)
	const far = 1000 // batches, of 0.9 MB: more than windows, chunks and what is made ahead
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		e.send(func() bool { return e.sent.Load() == far })
	}()
	for before := int64(-1); before != e.sent.Load(); time.Sleep(time.Second) {
		before = e.sent.Load()
	}
	if e.sent.Load() == far {
		t.Error("the server took a whole spine whose answer nobody reads")
	}
	if held := d.Engine.Allocator().(*memory.CheckedAllocator).CurrentAlloc(); held > 256<<20 {
		t.Errorf("the server holds %d MiB", held>>20)
	}
	cancel()
	<-sender
	waitFor(t, func() bool { return strings.Contains(d.log.String(), "historical") })
}
