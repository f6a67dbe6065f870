package web

import (
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

func (s *Server) validate(r *http.Request) (*driftline.ValidationReport, error) {
	req, err := readJSON[driftline.ValidationRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Validate(r.Context(), req)
}

// suggestChecks learns checks from a table.
func (s *Server) suggestChecks(r *http.Request) (*driftline.Validation, error) {
	source, err := readJSON[driftline.DriftSource](r)
	if err != nil {
		return nil, err
	}
	return s.engine.SuggestChecks(r.Context(), source)
}

// validationReport writes an outcome that the caller has, in the form that format names.
func validationReport(w http.ResponseWriter, r *http.Request) error {
	outcome, err := readJSON[driftline.ValidationReport](r)
	if err != nil {
		return err
	}
	return writeForm(w, r, &outcome, forms[driftline.ValidationReport]{report.ValidationHTML, report.ValidationMarkdown, report.ValidationJUnit})
}
