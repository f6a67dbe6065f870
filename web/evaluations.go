package web

import (
	"net/http"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

func (s *Server) evaluate(r *http.Request) (*driftline.Evaluation, error) {
	req, err := readJSON[driftline.EvaluationRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Evaluate(r.Context(), modelOf(r), r.PathValue("version"), req)
}

type evaluationList struct {
	Evaluations []driftline.Evaluation `json:"evaluations"`
}

func (s *Server) evaluations(r *http.Request) (evaluationList, error) {
	numbers := map[string]int{"version": 0, "before": 0, "limit": shownRuns}
	for name, usual := range numbers {
		number, err := numberIn(r, name, usual)
		if err != nil {
			return evaluationList{}, err
		}
		numbers[name] = number
	}
	found, err := s.engine.Evaluations(modelOf(r), numbers["version"], numbers["before"], numbers["limit"])
	return evaluationList{Evaluations: list(found)}, err
}

func evaluationOf(r *http.Request) driftline.EvaluationID {
	return driftline.EvaluationID(r.PathValue("id"))
}

func (s *Server) evaluation(r *http.Request) (*driftline.Evaluation, error) {
	return s.engine.Evaluation(evaluationOf(r))
}

// evaluationReport writes an evaluation that the caller has, in the form that format names.
func evaluationReport(w http.ResponseWriter, r *http.Request) error {
	found, err := readJSON[driftline.Evaluation](r)
	if err != nil {
		return err
	}
	return writeForm(w, r, &found, forms[driftline.Evaluation]{report.EvaluationHTML, report.EvaluationMarkdown, report.EvaluationJUnit})
}
