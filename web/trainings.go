package web

import (
	"net/http"

	"github.com/driftline/driftline"
)

func trainingOf(r *http.Request) driftline.TrainingID {
	return driftline.TrainingID(r.PathValue("id"))
}

// shownTrainings is how many training runs, or suppressions, a listing has that asks for no number.
const shownTrainings = 50

type trainingList struct {
	Runs []driftline.TrainingRun `json:"runs"`
}

func (s *Server) trainings(r *http.Request) (trainingList, error) {
	limit, err := numberIn(r, "limit", shownTrainings)
	if err != nil {
		return trainingList{}, err
	}
	runs, err := s.engine.Trainings(driftline.ModelName(r.URL.Query().Get("model")), limit)
	return trainingList{Runs: list(runs)}, err
}

func (s *Server) training(r *http.Request) (driftline.TrainingRun, error) {
	return s.engine.Training(trainingOf(r))
}

type suppressionList struct {
	Suppressions []driftline.Suppression `json:"suppressions"`
}

func (s *Server) suppressions(r *http.Request) (suppressionList, error) {
	limit, err := numberIn(r, "limit", shownTrainings)
	if err != nil {
		return suppressionList{}, err
	}
	all, err := s.engine.Suppressions(driftline.ModelName(r.URL.Query().Get("model")), limit)
	return suppressionList{Suppressions: list(all)}, err
}

// requestTraining begins a training run: 200 with the same run where the Idempotency-Key came
// before.
func (s *Server) requestTraining(r *http.Request) (driftline.TrainingAnswer, error) {
	req, err := readJSON[driftline.TrainingRequest](r)
	if err != nil {
		return driftline.TrainingAnswer{}, err
	}
	return s.engine.RequestTraining(modelOf(r), r.Header.Get("Idempotency-Key"), req)
}

func (s *Server) reportTraining(r *http.Request) (driftline.TrainingRun, error) {
	report, err := readJSON[driftline.TrainingReport](r)
	if err != nil {
		return driftline.TrainingRun{}, err
	}
	if err := s.engine.AuthenticateTraining(trainingOf(r), report.Token, report.Secret); err != nil {
		return driftline.TrainingRun{}, err
	}
	return s.engine.ReportTraining(trainingOf(r), report)
}

type heartbeat struct {
	Token  uint64 `json:"token"`
	Secret string `json:"secret"`
}

func (s *Server) beatTraining(r *http.Request) (driftline.TrainingRun, error) {
	beat, err := readJSON[heartbeat](r)
	if err != nil {
		return driftline.TrainingRun{}, err
	}
	if err := s.engine.AuthenticateTraining(trainingOf(r), beat.Token, beat.Secret); err != nil {
		return driftline.TrainingRun{}, err
	}
	return s.engine.BeatTraining(trainingOf(r), beat.Token)
}

type trainingCancel struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (s *Server) cancelTraining(r *http.Request) (driftline.TrainingRun, error) {
	cancel, err := readJSON[trainingCancel](r)
	if err != nil {
		return driftline.TrainingRun{}, err
	}
	return s.engine.CancelTraining(trainingOf(r), cancel.By, cancel.Reason)
}

// trainingLog sends what a command has written, as text and nothing else.
func (s *Server) trainingLog(w http.ResponseWriter, r *http.Request) error {
	text, err := s.engine.TrainingLog(trainingOf(r))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, err = w.Write(text)
	return err
}
