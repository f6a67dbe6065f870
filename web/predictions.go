package web

import (
	"io"
	"net/http"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/engine"
)

// logPredictions takes in predictions of a model: as JSON, or as CloudEvents. The answer comes
// when they are durable, unless the caller does not want to wait.
func (s *Server) logPredictions(r *http.Request) (*driftline.PredictionReceipt, error) {
	model := modelOf(r)
	if engine.IsInferenceEvent(r.Header.Get) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, explainJSON(err, nil)
		}
		return s.engine.LogEvents(r.Context(), model, r.Header.Get, body)
	}
	body, err := readJSON[struct {
		Predictions []driftline.PredictionRecord `json:"predictions"`
	}](r)
	if err != nil {
		return nil, err
	}
	for i := range body.Predictions {
		p := &body.Predictions[i]
		if p.Model != "" && p.Model != model {
			return nil, unfit("prediction %d is of model %q, and sent to %q", i, clip(string(p.Model)), model)
		}
		p.Model = model
	}
	async, err := flag(r, "async")
	if err != nil {
		return nil, err
	}
	return s.engine.LogPredictionsOf(r.Context(), model, body.Predictions, !async)
}

// flag reads a query parameter that is true or false.
func flag(r *http.Request, name string) (bool, error) {
	switch text := r.URL.Query().Get(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, driftline.Errorf(driftline.Invalid, "%s is %q, want true or false", name, clip(text))
	}
}

func (s *Server) predictionLog(r *http.Request) (*driftline.PredictionLogStatus, error) {
	return s.engine.PredictionLog(modelOf(r))
}

func (s *Server) configurePredictionLog(r *http.Request) (*driftline.PredictionLogStatus, error) {
	config, err := readJSON[driftline.PredictionLog](r)
	if err != nil {
		return nil, err
	}
	return s.engine.ConfigurePredictionLog(r.Context(), modelOf(r), config)
}

// predictionLogs are the logs that were written since the server started.
type predictionLogs struct {
	Logs []driftline.PredictionLogStatus `json:"logs"`
}

func (s *Server) predictionLogs(*http.Request) (predictionLogs, error) {
	return predictionLogs{s.engine.PredictionLogs()}, nil
}

func (s *Server) logLabels(r *http.Request) (driftline.LabelReceipt, error) {
	body, err := readJSON[struct {
		Labels []driftline.Label `json:"labels"`
	}](r)
	if err != nil {
		return driftline.LabelReceipt{}, err
	}
	return s.engine.LogLabels(r.Context(), modelOf(r), body.Labels, r.Header.Get(idempotencyHeader))
}

func (s *Server) labels(r *http.Request) (*driftline.LabelStatus, error) {
	since := time.Time{}
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "since %q is no time", clip(text)).WithHint("write it like 2013-06-01T12:00:00Z")
		}
	}
	return s.engine.Labels(r.Context(), modelOf(r), since)
}

func (s *Server) modelPerformance(r *http.Request) (*driftline.ModelPerformance, error) {
	req, err := readJSON[driftline.ModelPerformanceRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.ModelPerformance(r.Context(), modelOf(r), req)
}

func (s *Server) askForLabels(r *http.Request) (*driftline.LabelAsk, error) {
	req, err := readJSON[driftline.LabelRequest](r)
	if err != nil {
		return nil, err
	}
	return s.engine.AskForLabels(r.Context(), modelOf(r), req)
}
