package flight

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// service answers the methods of Flight. What is not ours it gives to sql.
type service struct {
	flight.BaseFlightServer
	engine  *engine.Engine
	mem     memory.Allocator
	lender  *lender
	sql     *sqlService
	version string

	// flightSQL routes Flight SQL's protobuf commands to sql.
	flightSQL flight.FlightServer
}

func newService(e *engine.Engine, statements *statements, lender *lender, version string) *service {
	sql := newSQLService(e, statements, version)
	return &service{
		engine: e, mem: e.Allocator(), lender: lender, sql: sql, version: version,
		flightSQL: flightsql.NewFlightServerWithAllocator(sql, e.Allocator()),
	}
}

func (s *service) DoGet(ticket *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	ctx := stream.Context()
	if !isJSON(ticket.GetTicket()) {
		return s.doGetSQL(ticket, stream)
	}
	op, err := opOf(ticket.GetTicket())
	if err != nil {
		return err
	}
	switch op {
	case opDataset, opView:
		command, err := parse[readCommand](ticket.GetTicket())
		if err != nil {
			return err
		}
		name(ctx, op, command.ref())
		rows, err := s.read(ctx, command)
		if err != nil {
			return err
		}
		return s.writeBatches(ctx, stream, rows)
	case opOnline:
		command, err := parse[onlineCommand](ticket.GetTicket())
		if err != nil {
			return err
		}
		name(ctx, op, onlineRef(command))
		return s.getOnline(ctx, command, stream)
	}
	return unknownOp("DoGet", op, opDataset, opView, opOnline)
}

func (s *service) read(ctx context.Context, command readCommand) (driftline.Batches, error) {
	if err := command.check(); err != nil {
		return driftline.Batches{}, err
	}
	if command.Op == opView {
		return s.engine.ReadView(ctx, driftline.ViewName(command.Name))
	}
	return s.readDataset(ctx, command)
}

func (s *service) DoExchange(stream flight.FlightService_DoExchangeServer) error {
	ctx := stream.Context()
	in, descriptor, err := newInbound(stream.Recv)
	if err != nil {
		return err
	}
	op, err := opOf(descriptor.GetCmd())
	if err != nil {
		return err
	}
	name(ctx, op, driftline.Ref{})
	switch op {
	case opHistorical:
		command, err := parse[historicalCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.historical(ctx, command, in, stream)
	case opOnline:
		command, err := parse[onlineCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.online(ctx, command, in, stream)
	case opHistory:
		command, err := parse[historyCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.history(ctx, command, in, stream)
	case opDrift:
		command, err := parse[driftCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.drift(ctx, command, in, stream)
	case opProfile:
		command, err := parse[profileCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.profile(ctx, command, in, stream)
	case opValidate:
		command, err := parse[validateCommand](descriptor.GetCmd())
		if err != nil {
			return err
		}
		return s.validate(ctx, command, in, stream)
	}
	return unknownOp("DoExchange", op, opHistorical, opOnline, opHistory, opDrift, opProfile, opValidate)
}
