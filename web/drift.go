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

// performanceReport writes an outcome that the caller has, in the form that format names.
func performanceReport(w http.ResponseWriter, r *http.Request) error {
	outcome, err := readJSON[driftline.PerformanceReport](r)
	if err != nil {
		return err
	}
	return writeForm(w, r, &outcome, forms[driftline.PerformanceReport]{report.PerformanceHTML, report.PerformanceMarkdown, report.PerformanceJUnit})
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

type presetList struct {
	Presets []*driftline.Preset `json:"presets"`
}

func (s *Server) presets(*http.Request) (presetList, error) {
	return presetList{Presets: list(s.engine.Registry().Presets())}, nil
}

func (s *Server) preset(r *http.Request) (*driftline.Preset, error) {
	return s.engine.Registry().Preset(driftline.PresetName(r.PathValue("name")))
}
