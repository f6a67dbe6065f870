package web

import (
	"net/http"
	"time"

	"github.com/driftline/driftline"
)

func (s *Server) profileTable(r *http.Request) ([]driftline.ProfilePane, error) {
	req, err := readJSON[driftline.ProfileRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Profile(r.Context(), req)
}

func (s *Server) profiles(r *http.Request) ([]driftline.ProfilePane, error) {
	window, err := profileWindow(r)
	if err != nil {
		return nil, err
	}
	return s.engine.Profiles(r.Context(), window)
}

func (s *Server) profileOf(r *http.Request) (*driftline.Profile, error) {
	window, err := profileWindow(r)
	if err != nil {
		return nil, err
	}
	return s.engine.ProfileOf(r.Context(), window)
}

// dropped is the answer to a request to forget profiles.
type dropped struct {
	Panes int `json:"panes"`
}

func (s *Server) dropProfiles(r *http.Request) (dropped, error) {
	window, err := profileWindow(r)
	if err != nil {
		return dropped{}, err
	}
	panes, err := s.engine.DropProfiles(r.Context(), window)
	return dropped{panes}, err
}

func (s *Server) compareProfiles(r *http.Request) (*driftline.DriftReport, error) {
	req, err := readJSON[driftline.ProfileComparison](r)
	if err != nil {
		return nil, err
	}
	return s.engine.CompareProfiles(r.Context(), req)
}

func (s *Server) mergeProfiles(r *http.Request) (*driftline.ProfileFile, error) {
	req, err := readJSON[driftline.ProfileMerge](r)
	if err != nil {
		return nil, err
	}
	return s.engine.MergeProfiles(r.Context(), req.Windows)
}

// profileWindow reads the window that a query names.
func profileWindow(r *http.Request) (driftline.ProfileWindow, error) {
	q := r.URL.Query()
	w := driftline.ProfileWindow{Source: q.Get("source")}
	for name, to := range map[string]*time.Time{"start": &w.Start, "end": &w.End} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return w, driftline.Errorf(driftline.Invalid, "%s is %q, want a time", name, clip(text)).WithHint("write it like 2013-01-01T00:00:00Z")
		}
		*to = at
	}
	return w, nil
}
