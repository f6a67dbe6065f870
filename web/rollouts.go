package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

// route answers with the route of a model, or, for a key, with who answers its requests.
func (s *Server) route(r *http.Request) (any, error) {
	if query := r.URL.Query(); query.Has("key") {
		return s.engine.RouteOf(modelOf(r), query.Get("key"))
	}
	router, err := s.engine.Router(modelOf(r))
	if err != nil {
		return nil, err
	}
	return router.Route(), nil
}

type rolloutList struct {
	Rollouts []driftline.RolloutStatus `json:"rollouts"`
}

func (s *Server) rollouts(r *http.Request) (rolloutList, error) {
	all, err := s.engine.Rollouts(driftline.ModelName(r.URL.Query().Get("model")))
	return rolloutList{Rollouts: list(all)}, err
}

func (s *Server) startRollout(r *http.Request) (driftline.RolloutStart, error) {
	request, err := readJSON[driftline.RolloutRequest](r)
	if err != nil {
		return driftline.RolloutStart{}, err
	}
	return s.engine.StartRollout(r.Context(), request)
}

func (s *Server) rollout(r *http.Request) (driftline.RolloutStatus, error) {
	return s.engine.RolloutStatus(rolloutOf(r))
}

type rolloutHistory struct {
	Changes []driftline.RolloutChange `json:"changes"`
}

func (s *Server) rolloutHistory(r *http.Request) (rolloutHistory, error) {
	changes, err := s.engine.RolloutHistory(rolloutOf(r))
	return rolloutHistory{Changes: list(changes)}, err
}

type rolloutExplained struct {
	Changes []driftline.RolloutExplanation `json:"changes"`
}

func (s *Server) explainRollout(r *http.Request) (rolloutExplained, error) {
	changes, err := s.engine.ExplainRollout(rolloutOf(r))
	return rolloutExplained{Changes: list(changes)}, err
}

func (s *Server) actOnRollout(r *http.Request) (driftline.RolloutStatus, error) {
	command, err := readJSON[driftline.RolloutCommand](r)
	if err != nil {
		return driftline.RolloutStatus{}, err
	}
	return s.engine.ActOnRollout(r.Context(), rolloutOf(r), driftline.RolloutAction(r.PathValue("action")), command)
}

func (s *Server) rollBackModel(r *http.Request) (driftline.ModelRollback, error) {
	back, err := readJSON[driftline.AliasRollback](r)
	if err != nil {
		return driftline.ModelRollback{}, err
	}
	return s.engine.RollBackModel(r.Context(), modelOf(r), back)
}
