package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

func validationOf(r *http.Request) driftline.ValidationName {
	return driftline.ValidationName(r.PathValue("name"))
}

type validationList struct {
	Validations []driftline.ValidationStatus `json:"validations"`
}

func (s *Server) validations(*http.Request) (validationList, error) {
	all, err := s.engine.Validations()
	return validationList{Validations: list(all)}, err
}

func (s *Server) validation(r *http.Request) (driftline.ValidationStatus, error) {
	return s.engine.Validation(validationOf(r))
}

type validationVersionList struct {
	Versions []*driftline.Validation `json:"versions"`
}

func (s *Server) validationVersions(r *http.Request) (validationVersionList, error) {
	versions, err := s.engine.Registry().ValidationVersions(validationOf(r))
	return validationVersionList{Versions: list(versions)}, err
}

type validationRunList struct {
	Runs []driftline.ValidationRun `json:"runs"`
}

// shownRuns is how many runs a listing has that asks for no number.
const shownRuns = 50

func (s *Server) validationRuns(r *http.Request) (validationRunList, error) {
	limit, err := numberIn(r, "limit", shownRuns)
	if err != nil {
		return validationRunList{}, err
	}
	before, err := numberIn(r, "before", 0)
	if err != nil {
		return validationRunList{}, err
	}
	reports, err := s.engine.ValidationRuns(validationOf(r), before, limit)
	runs := make([]driftline.ValidationRun, len(reports))
	for i := range reports {
		runs[i] = reports[i].RunOf()
	}
	return validationRunList{Runs: runs}, err
}

func (s *Server) validationRun(r *http.Request) (*driftline.ValidationReport, error) {
	run := 0
	if text := r.PathValue("run"); text != "last" {
		var err error
		if run, err = countOf("the run", text); err != nil {
			return nil, err
		}
	}
	return s.engine.ValidationRun(validationOf(r), run)
}

func (s *Server) runValidation(r *http.Request) (*driftline.ValidationReport, error) {
	if _, err := readJSON[struct{}](r); err != nil {
		return nil, err
	}
	return s.engine.RunValidation(r.Context(), validationOf(r))
}
