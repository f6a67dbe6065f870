package flight

import (
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/driftline/driftline"
)

// Our own actions; the others are Flight SQL's.
const (
	actionHealthcheck = "healthcheck"
	actionRoute       = "route"
)

func (s *service) DoAction(action *flight.Action, stream flight.FlightService_DoActionServer) error {
	name(stream.Context(), action.GetType(), driftline.Ref{})
	switch action.GetType() {
	case actionHealthcheck:
		return sendJSON(stream, map[string]string{"status": "ok", "version": s.version})
	case actionRoute:
		return s.route(action, stream)
	}
	return s.flightSQL.DoAction(action, stream)
}

func sendJSON(stream flight.FlightService_DoActionServer, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return driftline.Errorf(driftline.Internal, "cannot write the answer as JSON: %w", err)
	}
	return stream.Send(&flight.Result{Body: body})
}

// routeCommand asks who answers requests of a model: of one key, or of all without one.
type routeCommand struct {
	Model driftline.ModelName `json:"model"`
	Key   *string             `json:"key"`
}

func (s *service) route(action *flight.Action, stream flight.FlightService_DoActionServer) error {
	command, err := parse[routeCommand](action.GetBody())
	if err != nil {
		return err
	}
	name(stream.Context(), actionRoute, driftline.Ref{Kind: driftline.KindModel, Name: string(command.Model)})
	if command.Key != nil {
		decision, err := s.engine.RouteOf(command.Model, *command.Key)
		if err != nil {
			return err
		}
		return sendJSON(stream, decision)
	}
	router, err := s.engine.Router(command.Model)
	if err != nil {
		return err
	}
	return sendJSON(stream, router.Route())
}

func (s *service) ListActions(_ *flight.Empty, stream flight.FlightService_ListActionsServer) error {
	for _, action := range []*flight.ActionType{
		{Type: actionHealthcheck, Description: `says {"status": "ok"} and the server's version`},
		{Type: actionRoute, Description: `says who answers for a model: {"model": "late", "key": "user-42"}, or all of the route without a key`},
		{Type: flightsql.CreatePreparedStatementActionType, Description: "prepares one SELECT"},
		{Type: flightsql.ClosePreparedStatementActionType, Description: "forgets a prepared SELECT"},
		{Type: flight.CancelFlightInfoActionType, Description: "ends a SELECT that is being answered"},
		{Type: flightsql.CancelQueryActionType, Description: "the same, as older clients ask it"},
	} {
		if err := stream.Send(action); err != nil {
			return err
		}
	}
	return nil
}
