package web

import (
	"net/http"
	"net/url"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// evaluationRow is one evaluation of a list.
type evaluationRow struct {
	driftline.Evaluation
	URL        string
	Difference *driftline.Interval // of the primary metric; nil if there was no champion
}

// listedEvaluations is how many a model's page shows.
const listedEvaluations = 25

func (s *Server) evaluationRows(model driftline.ModelName) ([]evaluationRow, error) {
	found, err := s.engine.Evaluations(model, 0, 0, listedEvaluations)
	if err != nil {
		return nil, err
	}
	rows := make([]evaluationRow, len(found))
	for i, e := range found {
		rows[i] = evaluationRow{Evaluation: e, URL: "/evaluations/" + url.PathEscape(string(e.ID))}
		for _, c := range e.Checks {
			if c.Check == driftline.EvaluateMetric {
				rows[i].Difference = c.Difference
			}
		}
	}
	return rows, nil
}

type evaluationPage struct {
	driftline.Evaluation
	Ref  driftline.Ref
	View *report.EvaluationView
}

func (s *Server) evaluationPage(w http.ResponseWriter, r *http.Request) error {
	found, err := s.engine.Evaluation(evaluationOf(r))
	if err != nil {
		return err
	}
	return s.render(w, "evaluation", page{Title: string(found.ID), Section: "models",
		Body: evaluationPage{Evaluation: *found, Ref: found.Ref(), View: report.ViewEvaluation(found)}})
}
