package flight

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

func onlineRef(command onlineCommand) driftline.Ref {
	if command.Service == "" {
		return driftline.Ref{}
	}
	return driftline.ServiceRef(command.Service)
}

// getOnline answers a ticket that carries its entities.
func (s *service) getOnline(ctx context.Context, command onlineCommand, stream frameStream) error {
	entities, err := s.entities(command)
	if err != nil {
		return err
	}
	defer entities.Release()
	answer, err := s.readOnline(ctx, command, entities)
	if err != nil {
		return err
	}
	defer answer.Release()
	return s.writeBatches(ctx, stream, driftline.BatchesOf(answer.Schema(), answer))
}

// online answers each batch of entities with their newest values.
func (s *service) online(ctx context.Context, command onlineCommand, in *inbound, stream frameStream) error {
	if len(command.Entities) > 0 {
		return driftline.Errorf(driftline.Invalid, "the command of an exchange has no entities").
			WithHint("send them as batches, or use DoGet")
	}
	return s.answerEach(ctx, in, stream, func(entities arrow.RecordBatch) (arrow.RecordBatch, error) {
		return s.readOnline(ctx, command, entities)
	})
}

// history answers each batch of entities with the rows that a view keeps of them.
func (s *service) history(ctx context.Context, command historyCommand, in *inbound, stream frameStream) error {
	return s.answerEach(ctx, in, stream, func(entities arrow.RecordBatch) (arrow.RecordBatch, error) {
		return s.engine.History(ctx, command.HistoryRequest, entities)
	})
}

// answerEach answers each batch of entities with one batch, for as long as the client
// keeps the stream open.
func (s *service) answerEach(ctx context.Context, in *inbound, stream frameStream, read func(entities arrow.RecordBatch) (arrow.RecordBatch, error)) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	var out *outbound
	for entities, err := range rows.All {
		if err == nil {
			out, err = s.sendAnswer(ctx, entities, out, stream, read)
		}
		if err != nil {
			if out == nil {
				return err
			}
			return out.close(err)
		}
	}
	if out == nil {
		return nil
	}
	return out.close(nil)
}

// sendAnswer answers one batch. The first answer decides the stream's schema.
func (s *service) sendAnswer(ctx context.Context, entities arrow.RecordBatch, out *outbound, stream frameStream, read func(entities arrow.RecordBatch) (arrow.RecordBatch, error)) (*outbound, error) {
	answer, err := read(entities)
	if err != nil {
		return out, err
	}
	defer answer.Release()
	if out == nil {
		out = s.outbound(ctx, stream, answer.Schema())
	}
	if !out.schema.Equal(answer.Schema()) {
		return out, driftline.Errorf(driftline.FailedPrecondition, "the features changed while the stream was open").
			WithHint("open a new stream")
	}
	return out, out.send(answer)
}

// readOnline returns the entities' columns and the features', and with metadata a
// status and an event timestamp per feature after them. The caller releases it.
func (s *service) readOnline(ctx context.Context, command onlineCommand, entities arrow.RecordBatch) (arrow.RecordBatch, error) {
	plan, err := s.engine.PlanOnline(command.FeatureSet)
	if err != nil {
		return nil, err
	}
	answer, err := s.engine.ReadOnline(ctx, plan, command.At, entities)
	if err != nil {
		return nil, err
	}
	batch, err := answer.Batch()
	if err != nil || !command.Metadata {
		return batch, err
	}
	defer batch.Release()
	fields := batch.Schema().Fields()
	columns := append([]arrow.Array(nil), batch.Columns()...)
	made := len(columns)
	for i, feature := range plan.Features {
		fields = append(fields,
			arrow.Field{Name: feature.Name + "__status", Type: arrow.BinaryTypes.String},
			arrow.Field{Name: feature.Name + "__event_timestamp", Type: driftline.Time, Nullable: true})
		columns = append(columns, statusArray(s.mem, answer, i), eventTimeArray(s.mem, answer, i))
	}
	defer func() {
		for _, column := range columns[made:] {
			column.Release()
		}
	}()
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, batch.NumRows()), nil
}

func statusArray(mem memory.Allocator, answer *engine.OnlineAnswer, feature int) arrow.Array {
	builder := array.NewStringBuilder(mem)
	defer builder.Release()
	builder.Reserve(answer.Rows())
	for row := range answer.Rows() {
		builder.Append(string(answer.Status(feature, row)))
	}
	return builder.NewArray()
}

// eventTimeArray is null where there is no row.
func eventTimeArray(mem memory.Allocator, answer *engine.OnlineAnswer, feature int) arrow.Array {
	builder := array.NewTimestampBuilder(mem, driftline.Time)
	defer builder.Release()
	builder.Reserve(answer.Rows())
	for row := range answer.Rows() {
		if answer.Status(feature, row) == driftline.NotPresent {
			builder.AppendNull()
			continue
		}
		builder.Append(answer.EventTime(feature, row))
	}
	return builder.NewArray()
}

// entities makes a batch of the columns of a ticket, typed as the join keys of the
// features asked for, and as the request data of those that are computed. The caller
// releases it.
func (s *service) entities(command onlineCommand) (arrow.RecordBatch, error) {
	plan, err := s.engine.PlanOnline(command.FeatureSet)
	if err != nil {
		return nil, err
	}
	var fields []arrow.Field
	var columns []arrow.Array
	defer func() {
		for _, column := range columns {
			column.Release()
		}
	}()
	wanted := map[string]bool{}
	for _, key := range slices.Concat(plan.Keys, plan.Request) {
		raw, given := command.Entities[key.Column]
		if wanted[key.Column] || !given {
			continue // a missing one is the engine's to name
		}
		wanted[key.Column] = true
		values, err := entityColumn(s.mem, key.Column, key.Type, raw)
		if err != nil {
			return nil, err
		}
		fields = append(fields, arrow.Field{Name: key.Column, Type: values.DataType(), Nullable: true})
		columns = append(columns, values)
	}
	if err := checkEntities(command.Entities, wanted, fields, columns); err != nil {
		return nil, err
	}
	rows := int64(1) // of views without entities
	if len(columns) > 0 {
		rows = int64(columns[0].Len())
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, rows), nil
}

func entityColumn(mem memory.Allocator, column string, key driftline.Type, values json.RawMessage) (arrow.Array, error) {
	builder := array.NewBuilder(mem, key.Arrow())
	defer builder.Release()
	if err := builder.UnmarshalJSON(values); err != nil {
		return nil, &driftline.Error{Code: driftline.Invalid, Err: err,
			Message: fmt.Sprintf("entity column %q is not a list of %s", column, key)}
	}
	return builder.NewArray(), nil
}

func checkEntities(given map[string]json.RawMessage, wanted map[string]bool, fields []arrow.Field, columns []arrow.Array) error {
	for column := range given {
		if !wanted[column] {
			return driftline.Errorf(driftline.Invalid, "entity column %q is not a join key of the features asked for, nor their request data", column)
		}
	}
	for i, values := range columns {
		if values.Len() != columns[0].Len() {
			return driftline.Errorf(driftline.Invalid, "entity column %q has %d values and %q has %d",
				fields[i].Name, values.Len(), fields[0].Name, columns[0].Len())
		}
	}
	return nil
}
