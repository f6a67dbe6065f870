package web

import (
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

// evaluationRow is one evaluation of a list.
type evaluationRow struct {
	driftline.Evaluation
	URL        string
	Difference *driftline.Interval // of the primary metric; nil if there was no champion
}

// Of the last soughtEvaluations, which are sorted and filtered, a model's page shows so many.
const (
	listedEvaluations = 25
	soughtEvaluations = 1000
)

var evaluationColumns = []listColumn[evaluationRow]{
	{name: "evaluation", label: "Evaluation", text: func(r *evaluationRow) string { return string(r.ID) }, order: moment(func(r *evaluationRow) time.Time { return r.Time })},
	{name: "version", label: "Version", right: true, order: quantity(func(r *evaluationRow) int { return r.Candidate })},
	{name: "champion", label: "Champion", right: true, order: quantity(func(r *evaluationRow) int { return r.Champion })},
	{name: "outcome", label: "Outcome", text: func(r *evaluationRow) string { return plainWord(string(r.Outcome)) }},
	{name: "on", label: "On", text: func(r *evaluationRow) string { return r.Dataset.String() }},
	{name: "difference", label: "Difference", order: quantity(func(r *evaluationRow) float64 {
		if r.Difference == nil {
			return math.Inf(-1) // nothing to compare with
		}
		return float64(r.Difference.Value)
	})},
	{name: "when", label: "When", order: moment(func(r *evaluationRow) time.Time { return r.Time })},
}

// evaluationList is the evaluations of a model as a query wants them.
func (s *Server) evaluationList(r *http.Request, model driftline.ModelName) (*listing[evaluationRow], error) {
	rows, err := s.evaluationRows(model)
	if err != nil {
		return nil, err
	}
	list, err := listed(r, rows, evaluationColumns)
	if err != nil {
		return nil, err
	}
	list.first(listedEvaluations)
	return list, nil
}

func (s *Server) evaluationRows(model driftline.ModelName) ([]evaluationRow, error) {
	found, err := s.engine.Evaluations(model, 0, 0, soughtEvaluations)
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
