package flight

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
)

// outbound is the sending side of a DoGet or DoExchange.
type outbound struct {
	ctx    context.Context
	mem    memory.Allocator
	lender *lender
	schema *arrow.Schema
	stream frameStream
	began  bool

	// stock sends what frames cannot hold: batches with dictionaries, which are
	// messages of their own. nil for all others.
	stock *flight.Writer
}

// frameStream is the part of a gRPC stream that sends.
type frameStream interface {
	flight.DataStreamWriter
	SendMsg(message any) error
}

// outbound prepares to send batches of a schema. The caller closes it.
func (s *service) outbound(ctx context.Context, stream frameStream, schema *arrow.Schema) *outbound {
	out := &outbound{ctx: ctx, mem: s.mem, lender: s.lender, schema: schema, stream: stream}
	if slices.ContainsFunc(schema.Fields(), hasDictionary) {
		out.stock = flight.NewRecordWriter(stream, ipc.WithSchema(schema), ipc.WithAllocator(s.mem))
	}
	return out
}

func hasDictionary(field arrow.Field) bool {
	switch t := field.Type.(type) {
	case *arrow.DictionaryType:
		return true
	case arrow.ExtensionType:
		return hasDictionary(arrow.Field{Type: t.StorageType()})
	case arrow.NestedType:
		return slices.ContainsFunc(t.Fields(), hasDictionary)
	}
	return false
}

// close ends the stream. One that did not fail has a schema, if not a batch; one
// that failed before its first batch has nothing but its error.
func (out *outbound) close(failed error) error {
	if failed != nil && !out.began {
		return failed
	}
	if out.stock != nil {
		return errors.Join(failed, out.stock.Close())
	}
	return errors.Join(failed, out.begin())
}

// begin sends the schema, once.
func (out *outbound) begin() error {
	if out.began {
		return nil
	}
	out.began = true
	payload := ipc.GetSchemaPayload(out.schema, out.mem)
	defer payload.Release()
	header := payload.Meta()
	defer header.Release()
	return out.stream.SendMsg(headFrame(header.Bytes(), nil))
}

// batchesAhead is how many batches are made while one is sent: reading Parquet and
// writing to the wire cost about the same, and can share two cores.
const batchesAhead = 2

// sendAll sends every batch in pieces of at most maxBatchBytes.
func (out *outbound) sendAll(rows driftline.Batches) error {
	for batch, err := range rows.Ahead(batchesAhead).All {
		if err != nil {
			return err
		}
		for piece := range driftline.SplitBatch(batch, maxBatchBytes) {
			if err := out.send(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

func (out *outbound) send(batch arrow.RecordBatch) error {
	if err := out.ctx.Err(); err != nil {
		return err
	}
	compact := compactViews(out.mem, batch)
	defer compact.Release()
	count(out.ctx, batch.NumRows())
	return out.write(compact, nil)
}

// write sends one batch, with metadata or without.
func (out *outbound) write(batch arrow.RecordBatch, metadata []byte) error {
	if out.stock != nil {
		out.began = true
		return out.stock.WriteWithAppMetadata(batch, metadata)
	}
	if !batch.Schema().Equal(out.schema) {
		return driftline.Errorf(driftline.Internal, "a batch of %v in a stream of %v", batch.Schema(), out.schema)
	}
	if err := out.begin(); err != nil {
		return err
	}
	frame, err := out.lender.batchFrame(batch, metadata, out.mem)
	if err != nil {
		return err
	}
	return out.stream.SendMsg(frame)
}

// sendTrailer ends a stream with an empty batch that carries a report as JSON.
func (out *outbound) sendTrailer(report any) error {
	encoded, err := json.Marshal(report)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the report as JSON: %w", err)
	}
	builder := array.NewRecordBuilder(out.mem, out.schema)
	defer builder.Release()
	empty := builder.NewRecordBatch()
	defer empty.Release()
	return out.write(empty, encoded)
}

// writeBatches answers a whole DoGet.
func (s *service) writeBatches(ctx context.Context, stream frameStream, rows driftline.Batches) error {
	out := s.outbound(ctx, stream, rows.Schema)
	return out.close(out.sendAll(rows))
}

// compactViews returns batch with its string and binary views in buffers of their
// own. arrow-go cuts every other kind of slice when it writes one, but sends of views
// all that they could point to: a thousand slices, a thousand times the whole. The
// caller releases the result.
func compactViews(mem memory.Allocator, batch arrow.RecordBatch) arrow.RecordBatch {
	columns := slices.Clone(batch.Columns())
	var made []arrow.Array
	for i, column := range columns {
		if view, ok := column.(array.ViewLike); ok {
			columns[i] = compactView(mem, view)
			made = append(made, columns[i])
		}
	}
	if len(made) == 0 {
		batch.Retain()
		return batch
	}
	defer func() {
		for _, column := range made {
			column.Release()
		}
	}()
	return array.NewRecordBatch(batch.Schema(), columns, batch.NumRows())
}

func compactView(mem memory.Allocator, view array.ViewLike) arrow.Array {
	switch view := view.(type) {
	case *array.StringView:
		return rebuilt(view, array.NewStringViewBuilder(mem))
	case *array.BinaryView:
		return rebuilt(view, array.NewBinaryViewBuilder(mem))
	}
	view.Retain()
	return view
}

// rebuilt copies values one by one and releases the builder.
func rebuilt[T any](values interface {
	arrow.Array
	Value(int) T
}, builder interface {
	array.Builder
	Append(T)
}) arrow.Array {
	defer builder.Release()
	builder.Reserve(values.Len())
	for row := range values.Len() {
		if values.IsNull(row) {
			builder.AppendNull()
			continue
		}
		builder.Append(values.Value(row))
	}
	return builder.NewArray()
}
