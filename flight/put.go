package flight

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/driftline/driftline"
)

func (s *service) DoPut(stream flight.FlightService_DoPutServer) error {
	ctx := stream.Context()
	end := &endMarker{receive: stream.Recv}
	in, descriptor, err := newInbound(end.Recv)
	if err != nil {
		return err
	}
	if descriptor.GetType() == flight.DescriptorCMD && !isJSON(descriptor.GetCmd()) {
		name(ctx, sqlName(descriptor.GetCmd()), driftline.Ref{})
		return s.flightSQL.DoPut(&verifiedPut{stream, in})
	}
	command, err := putCommandOf(descriptor)
	if err != nil {
		return err
	}
	name(ctx, command.Op, command.ref())
	if command.Op == opPush {
		return s.push(ctx, command, in, stream)
	}
	end.required = command.Marked
	if command.Model != "" {
		return s.putOfModel(command, in, stream)
	}
	if command.Op == opMetrics {
		return s.putMetrics(ctx, command, in, stream)
	}
	return s.ingest(command, in, stream)
}

// ingest writes the rows of a whole stream as one.
func (s *service) ingest(command putCommand, in *inbound, stream flight.FlightService_DoPutServer) error {
	ctx := stream.Context()
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	result, err := s.engine.IngestTo(ctx, command.View, command.To, command.IdempotencyKey, counted(ctx, rows))
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the answer as JSON: %w", err)
	}
	return stream.Send(&flight.PutResult{AppMetadata: encoded})
}

// putOfModel takes in predictions, or labels, of a model.
func (s *service) putOfModel(command putCommand, in *inbound, stream flight.FlightService_DoPutServer) error {
	rows, reader, err := in.batches(s.mem)
	if err != nil {
		return err
	}
	defer reader.Release()
	ctx := stream.Context()
	var receipt any
	if command.Op == opLabels {
		receipt, err = s.engine.LogLabelRows(ctx, command.Model, command.Entity, counted(ctx, rows))
	} else {
		receipt, err = s.engine.LogPredictionRows(ctx, command.Model, command.Entity, counted(ctx, rows))
	}
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(receipt)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the answer as JSON: %w", err)
	}
	return stream.Send(&flight.PutResult{AppMetadata: encoded})
}

// verifiedPut is a DoPut stream for Flight SQL, which receives through inbound.
type verifiedPut struct {
	flight.FlightService_DoPutServer
	in *inbound
}

func (p *verifiedPut) Recv() (*flight.FlightData, error) { return p.in.Recv() }

// endMarker is a stream of which its sender says that it is whole: its last message
// has the metadata {"end": true}. In Flight, a sender whose source has failed can end
// the stream no differently than one that is done, so without a marker half of the
// rows would be taken for all of them.
type endMarker struct {
	receive  func() (*flight.FlightData, error)
	required bool // the stream's end alone does not do
	seen     bool
}

func (m *endMarker) Recv() (*flight.FlightData, error) {
	data, err := m.receive()
	switch {
	case errors.Is(err, io.EOF) && m.required && !m.seen:
		return nil, driftline.Errorf(driftline.Invalid, "the stream ended without its end marker, so nothing was written").
			WithHint(`the last message of a marked stream has the metadata {"end": true}; does its source fail?`)
	case err != nil:
		return nil, err
	case m.seen:
		return nil, driftline.Errorf(driftline.Invalid, "the stream goes on after its end marker").
			WithHint(`send {"end": true} with the last message`)
	}
	m.seen = m.required && isEnd(data.GetAppMetadata())
	return data, nil
}

func isEnd(metadata []byte) bool {
	var marker struct {
		End bool `json:"end"`
	}
	return len(metadata) > 0 && json.Unmarshal(metadata, &marker) == nil && marker.End
}
