package web

import (
	"bytes"
	"net/http"

	"github.com/driftline/driftline"
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

// driftReport draws a report that the caller computed anywhere. The page may
// hold hostile names, so it may load nothing and belongs to no origin.
func driftReport(w http.ResponseWriter, r *http.Request) error {
	report, err := readJSON[driftline.DriftReport](r)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := DriftReport(&page, &report); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy",
		"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")
	_, err = page.WriteTo(w)
	if err != nil {
		noteError(r, err)
	}
	return nil
}
