package flight

import (
	"context"
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/driftline/driftline"
)

// ListFlights shows every view and every version of every dataset.
func (s *service) ListFlights(_ *flight.Criteria, stream flight.FlightService_ListFlightsServer) error {
	ctx := stream.Context()
	for _, view := range s.engine.Registry().Views() {
		if err := s.sendInfo(ctx, readCommand{Op: opView, Name: string(view.Name)}, stream); err != nil {
			return err
		}
	}
	for _, dataset := range s.engine.Registry().Datasets() {
		command := readCommand{Op: opDataset, Name: string(dataset.Name), Version: dataset.Version}
		if err := s.sendInfo(ctx, command, stream); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) sendInfo(ctx context.Context, command readCommand, stream flight.FlightService_ListFlightsServer) error {
	info, err := s.info(ctx, command, nil)
	if err != nil {
		return err
	}
	return stream.Send(info)
}

// GetFlightInfo describes the rows of a view or a dataset, or a SQL query's answer.
func (s *service) GetFlightInfo(ctx context.Context, descriptor *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	if isSQL(descriptor) {
		name(ctx, sqlName(descriptor.GetCmd()), driftline.Ref{})
		return s.flightSQL.GetFlightInfo(ctx, descriptor)
	}
	command, err := readCommandOf(descriptor)
	if err != nil {
		return nil, err
	}
	name(ctx, command.Op, command.ref())
	return s.info(ctx, command, descriptor)
}

// GetSchema is GetFlightInfo for those who want the schema alone.
func (s *service) GetSchema(ctx context.Context, descriptor *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	if isSQL(descriptor) {
		name(ctx, sqlName(descriptor.GetCmd()), driftline.Ref{})
		return s.flightSQL.GetSchema(ctx, descriptor)
	}
	command, err := readCommandOf(descriptor)
	if err != nil {
		return nil, err
	}
	name(ctx, command.Op, command.ref())
	table, err := s.table(ctx, command)
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(table.schema, s.mem)}, nil
}

func (s *service) PollFlightInfo(ctx context.Context, descriptor *flight.FlightDescriptor) (*flight.PollInfo, error) {
	info, err := s.GetFlightInfo(ctx, descriptor) // every answer is ready at once
	if err != nil {
		return nil, err
	}
	return &flight.PollInfo{Info: info}, nil
}

func isSQL(descriptor *flight.FlightDescriptor) bool {
	return descriptor.GetType() == flight.DescriptorCMD && !isJSON(descriptor.GetCmd())
}

// info describes a table; its one endpoint is this server, and the ticket says what
// is to be read in full.
func (s *service) info(ctx context.Context, command readCommand, descriptor *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	table, err := s.table(ctx, command)
	if err != nil {
		return nil, err
	}
	command.Version = table.version
	ticket, err := json.Marshal(command)
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "cannot write the ticket as JSON: %w", err)
	}
	if descriptor == nil {
		descriptor = &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: command.path()}
	}
	return &flight.FlightInfo{
		Schema:           flight.SerializeSchema(table.schema, s.mem),
		FlightDescriptor: descriptor,
		Endpoint:         []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: ticket}}},
		TotalRecords:     table.rows,
		TotalBytes:       -1,
	}, nil
}

// table is what is known of a view's or dataset's rows without reading them.
type table struct {
	schema  *arrow.Schema
	rows    int64 // -1 if not known
	version int   // of a dataset
}

func (s *service) table(ctx context.Context, command readCommand) (table, error) {
	if err := command.check(); err != nil {
		return table{}, err
	}
	if command.Op == opView {
		return s.viewTable(ctx, driftline.ViewName(command.Name))
	}
	return s.datasetTable(ctx, command)
}

func (s *service) viewTable(ctx context.Context, name driftline.ViewName) (table, error) {
	view, err := s.engine.Registry().View(s.engine.Registry().Meant(name))
	if err != nil {
		return table{}, err
	}
	status, err := s.engine.ViewStatus(ctx, name)
	if err != nil {
		return table{}, err
	}
	rows := status.Rows
	if status.Unflushed > 0 {
		rows = -1
	}
	return table{schema: view.Schema(), rows: rows}, nil
}
