package flight

import (
	"context"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	pb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
	"github.com/driftline/driftline/internal/ipcverify"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// sqlService answers Flight SQL: queries in this file, what there is to query in
// sqlcatalog.go. Whatever it does not define, BaseServer refuses as not implemented.
type sqlService struct {
	flightsql.BaseServer
	engine     *engine.Engine
	statements *statements
	queries    *queries
	known      map[flightsql.SqlInfo]bool
}

func newSQLService(e *engine.Engine, statements *statements, version string) *sqlService {
	s := &sqlService{engine: e, statements: statements, queries: newQueries(), known: make(map[flightsql.SqlInfo]bool)}
	s.Alloc = e.Allocator()
	s.registerInfo(version)
	return s
}

// sqlName is what the log calls a Flight SQL command: "CommandStatementQuery".
func sqlName(command []byte) string {
	var packed anypb.Any
	if err := proto.Unmarshal(command, &packed); err != nil {
		return "unknown"
	}
	return packed.TypeUrl[strings.LastIndexByte(packed.TypeUrl, '.')+1:]
}

// doGetSQL streams the answer of a query itself; the flightsql package would pass
// its batches through a channel and lose one when the client goes away.
func (s *service) doGetSQL(ticket *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	ctx := stream.Context()
	name(ctx, sqlName(ticket.GetTicket()), driftline.Ref{})
	var packed anypb.Any
	if err := proto.Unmarshal(ticket.GetTicket(), &packed); err != nil {
		return driftline.Errorf(driftline.Invalid, "the ticket is neither JSON nor Flight SQL").
			WithHint("use the tickets that GetFlightInfo gives; docs/formats.md lists ours")
	}
	var statement pb.TicketStatementQuery
	if packed.MessageIs(&statement) {
		if err := packed.UnmarshalTo(&statement); err != nil {
			return driftline.Errorf(driftline.Invalid, "the ticket cannot be read")
		}
		return s.sql.queries.run(ctx, ticket.GetTicket(), func(ctx context.Context) error {
			return s.runQuery(ctx, textOf(statement.GetStatementHandle()), nil, stream)
		})
	}
	var prepared pb.CommandPreparedStatementQuery
	if packed.MessageIs(&prepared) {
		if err := packed.UnmarshalTo(&prepared); err != nil {
			return driftline.Errorf(driftline.Invalid, "the ticket cannot be read")
		}
		query, arguments, err := s.sql.statements.get(prepared.GetPreparedStatementHandle())
		if err != nil {
			return err
		}
		defer driftline.ReleaseAll(arguments)
		return s.sql.queries.run(ctx, ticket.GetTicket(), func(ctx context.Context) error {
			return s.runQuery(ctx, query, arguments, stream)
		})
	}
	return s.flightSQL.DoGet(ticket, stream)
}

func (s *service) runQuery(ctx context.Context, query string, arguments []arrow.RecordBatch, stream frameStream) error {
	rows, err := s.sql.run(ctx, query, arguments)
	if err != nil {
		return err
	}
	return s.writeBatches(ctx, stream, rows)
}

// run is the answer of a query, or, if it has several rows of arguments, its answers to
// each, one after the other. It runs when it is ranged over.
func (s *sqlService) run(ctx context.Context, query string, arguments []arrow.RecordBatch) (driftline.Batches, error) {
	if len(arguments) == 0 {
		return s.engine.SQL(ctx, query, nil)
	}
	first, err := s.engine.SQL(ctx, query, arguments[0])
	if err != nil || len(arguments) == 1 {
		return first, err
	}
	return driftline.Batches{Schema: first.Schema, All: func(yield func(arrow.RecordBatch, error) bool) {
		for i, row := range arguments {
			answer := first
			if i > 0 {
				var err error
				if answer, err = s.engine.SQL(ctx, query, row); err != nil {
					yield(nil, err)
					return
				}
			}
			for batch, err := range answer.All {
				if !yield(batch, err) || err != nil {
					return
				}
			}
		}
	}}, nil
}

// CloseSession has nothing to close; drivers call it whenever they disconnect.
func (s *sqlService) CloseSession(context.Context, *flight.CloseSessionRequest) (*flight.CloseSessionResult, error) {
	return &flight.CloseSessionResult{Status: flight.CloseSessionResultClosed}, nil
}

// GetFlightInfoStatement checks a query and gives its text back as the ticket.
func (s *sqlService) GetFlightInfoStatement(ctx context.Context, command flightsql.StatementQuery, descriptor *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	schema, err := s.statementSchema(ctx, command)
	if err != nil {
		return nil, err
	}
	ticket, err := flightsql.CreateStatementQueryTicket(newHandle(command.GetQuery()))
	if err != nil {
		return nil, driftline.Errorf(driftline.Internal, "cannot make a ticket: %w", err)
	}
	return s.info(descriptor, ticket, schema), nil
}

// GetSchemaStatement returns the schema of a query's answer.
func (s *sqlService) GetSchemaStatement(ctx context.Context, command flightsql.StatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	schema, err := s.statementSchema(ctx, command)
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(schema, s.Alloc)}, nil
}

func (s *sqlService) statementSchema(ctx context.Context, command flightsql.StatementQuery) (*arrow.Schema, error) {
	if err := outsideTransactions(command); err != nil {
		return nil, err
	}
	answer, _, err := s.engine.SQLPrepare(ctx, command.GetQuery())
	return answer, err
}

func outsideTransactions(command interface{ GetTransactionId() []byte }) error {
	if len(command.GetTransactionId()) > 0 {
		return driftline.Errorf(driftline.Invalid, "there are no transactions").WithHint("each SELECT reads one consistent state")
	}
	return nil
}

func (s *sqlService) info(descriptor *flight.FlightDescriptor, ticket []byte, schema *arrow.Schema) *flight.FlightInfo {
	return &flight.FlightInfo{
		Schema:           flight.SerializeSchema(schema, s.Alloc),
		FlightDescriptor: descriptor,
		Endpoint:         []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: ticket}}},
		TotalRecords:     -1,
		TotalBytes:       -1,
	}
}

// CreatePreparedStatement checks a query and keeps it. Its parameters are named by
// their numbers.
func (s *sqlService) CreatePreparedStatement(ctx context.Context, request flightsql.ActionCreatePreparedStatementRequest) (flightsql.ActionCreatePreparedStatementResult, error) {
	var result flightsql.ActionCreatePreparedStatementResult
	if err := outsideTransactions(request); err != nil {
		return result, err
	}
	answer, parameters, err := s.engine.SQLPrepare(ctx, request.GetQuery())
	if err != nil {
		return result, err
	}
	isUpdate := false
	result.DatasetSchema, result.ParameterSchema, result.IsUpdate = answer, parametersFor(ctx, parameters), &isUpdate
	result.Handle, err = s.statements.create(request.GetQuery())
	return result, err
}

// parametersFor is how a client should send its arguments. The JDBC driver, up to 18.3 at
// least, sends times as milliseconds whatever unit it is told, so it is told that.
func parametersFor(ctx context.Context, parameters *arrow.Schema) *arrow.Schema {
	incoming, _ := metadata.FromIncomingContext(ctx)
	if agent := strings.Join(incoming.Get("user-agent"), " "); !strings.Contains(agent, "grpc-java") {
		return parameters
	}
	fields := parameters.Fields()
	for i, field := range fields {
		if t, ok := field.Type.(*arrow.TimestampType); ok {
			fields[i].Type = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: t.TimeZone}
		}
	}
	return arrow.NewSchema(fields, nil)
}

// ClosePreparedStatement forgets a prepared query.
func (s *sqlService) ClosePreparedStatement(_ context.Context, request flightsql.ActionClosePreparedStatementRequest) error {
	s.statements.close(request.GetPreparedStatementHandle())
	return nil
}

// DoPutPreparedStatementQuery binds arguments to a prepared query, which then runs once
// for each of their rows.
func (s *sqlService) DoPutPreparedStatementQuery(_ context.Context, command flightsql.PreparedStatementQuery, reader flight.MessageReader, _ flight.MetadataWriter) ([]byte, error) {
	handle := command.GetPreparedStatementHandle()
	var arguments []arrow.RecordBatch
	defer func() { driftline.ReleaseAll(arguments) }()
	var bytes int64
	for reader.Next() {
		batch := reader.RecordBatch()
		if err := ipcverify.Values(batch); err != nil {
			return nil, err
		}
		bytes += driftline.BatchBytes(batch)
		if bytes > maxArgumentBytes || int64(len(arguments))+batch.NumRows() > maxArgumentRows {
			return nil, driftline.Errorf(driftline.Exhausted, "more than %d rows or %d MiB of parameters", maxArgumentRows, maxArgumentBytes>>20).
				WithHint("bind fewer rows, or put the values into a view and join it")
		}
		for row := range batch.NumRows() {
			arguments = append(arguments, batch.NewSlice(row, row+1))
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	return handle, s.statements.bind(handle, arguments)
}

// GetFlightInfoPreparedStatement describes the answer of a prepared query with the
// arguments it has now.
func (s *sqlService) GetFlightInfoPreparedStatement(ctx context.Context, command flightsql.PreparedStatementQuery, descriptor *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	schema, err := s.preparedSchema(ctx, command)
	if err != nil {
		return nil, err
	}
	return s.info(descriptor, descriptor.GetCmd(), schema), nil
}

// GetSchemaPreparedStatement returns the schema of a prepared query's answer.
func (s *sqlService) GetSchemaPreparedStatement(ctx context.Context, command flightsql.PreparedStatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	schema, err := s.preparedSchema(ctx, command)
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(schema, s.Alloc)}, nil
}

func (s *sqlService) preparedSchema(ctx context.Context, command flightsql.PreparedStatementQuery) (*arrow.Schema, error) {
	query, arguments, err := s.statements.get(command.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	defer driftline.ReleaseAll(arguments)
	if len(arguments) == 0 {
		answer, _, err := s.engine.SQLPrepare(ctx, query)
		return answer, err
	}
	rows, err := s.run(ctx, query, arguments)
	return rows.Schema, err
}
