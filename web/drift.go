package web

import (
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

func (s *Server) drift(r *http.Request) (*driftline.DriftReport, error) {
	req, err := readJSON[driftline.DriftRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Drift(r.Context(), req)
}

func (s *Server) performance(r *http.Request) (*driftline.PerformanceReport, error) {
	req, err := readJSON[driftline.PerformanceRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Performance(r.Context(), req)
}

// driftReport writes a report that the caller computed anywhere, in the form that format
// names.
func driftReport(w http.ResponseWriter, r *http.Request) error {
	outcome, err := readJSON[driftline.DriftReport](r)
	if err != nil {
		return err
	}
	return writeForm(w, r, &outcome, forms[driftline.DriftReport]{report.DriftHTML, report.DriftMarkdown, report.DriftJUnit})
}
