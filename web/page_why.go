package web

import (
	"net/http"
	"strings"

	"github.com/driftline/driftline"
)

type whyPage struct {
	Asked string
	Trace *driftline.PredictionTrace
	Logs  []driftline.ViewName // the prediction logs that there are
}

func (s *Server) whyPage(w http.ResponseWriter, r *http.Request) error {
	body := whyPage{Asked: strings.TrimSpace(r.URL.Query().Get("prediction"))}
	for _, v := range s.engine.Registry().Views() {
		if v.Predictions != nil {
			body.Logs = append(body.Logs, v.Name)
		}
	}
	title := "Why this prediction"
	if body.Asked != "" {
		trace, err := s.why(r)
		if err != nil {
			return err
		}
		body.Trace, title = trace, "Why prediction "+clip(trace.Prediction)
	}
	return s.render(w, "why", page{Title: title, Section: "lineage", Body: body})
}
