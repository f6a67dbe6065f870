package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

type policyList struct {
	Policies []driftline.PolicyStatus `json:"policies"`
}

func (s *Server) policies(*http.Request) (policyList, error) {
	all, err := s.engine.Policies()
	return policyList{Policies: list(all)}, err
}

func (s *Server) policy(r *http.Request) (driftline.PolicyStatus, error) {
	return s.engine.Policy(modelOf(r))
}

type policyVersionList struct {
	Versions []*driftline.Policy `json:"versions"`
}

func (s *Server) policyVersions(r *http.Request) (policyVersionList, error) {
	versions, err := s.engine.Registry().PolicyVersions(modelOf(r))
	return policyVersionList{Versions: list(versions)}, err
}

type policyDeletion struct {
	Cancelled []driftline.TrainingRun `json:"cancelled"`
}

func (s *Server) deletePolicy(r *http.Request) (policyDeletion, error) {
	query := r.URL.Query()
	cancelled, err := s.engine.DeletePolicy(modelOf(r), query.Get("by"), query.Get("reason"))
	return policyDeletion{Cancelled: list(cancelled)}, err
}
