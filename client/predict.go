package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/driftline/driftline"
)

// PredictRequest asks a model for predictions.
type PredictRequest struct {
	Rows []map[string]any // each with the inputs, or with the join keys of what is to be looked up
	Body json.RawMessage  // in place of Rows: a request in MLflow's form, or with entities

	Version string // to be asked, a number or an alias; "" for the choice of the model's rollout
	Key     string // that the request is dealt by; "" for that of its entity
}

// Prediction is what a model answered.
type Prediction struct {
	Predictions []json.RawMessage `json:"predictions"` // one for each row
	Version     string            `json:"model_version"`
	Arm         driftline.Arm     `json:"arm,omitempty"`
	ID          string            `json:"prediction_id"` // that labels come by; of several rows ID-0, ID-1 …

	// Fallback is the fault of the candidate, in whose place the champion answered.
	Fallback driftline.Fault `json:"fallback_fault,omitempty"`
}

// Predict asks a model by way of the server's gateway, which logs what is answered. FailedPrecondition:
// nobody said where it is served; Unavailable: its server gives no answer.
func (c *Client) Predict(ctx context.Context, model driftline.ModelName, ask PredictRequest) (*Prediction, error) {
	body := ask.Body
	if body == nil {
		encoded, err := json.Marshal(map[string]any{"dataframe_records": ask.Rows})
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "cannot write the rows as JSON: %w", err)
		}
		body = encoded
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if ask.Version != "" {
		header.Set("X-Model-Version", ask.Version)
	}
	if ask.Key != "" {
		header.Set("X-Driftline-Key", ask.Key)
	}
	response, err := c.sendWith(ctx, http.MethodPost, "/models/"+url.PathEscape(string(model))+"/invocations", header, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer closeBody(response.Body)
	said := response.Header
	p := &Prediction{Version: said.Get("X-Model-Version"), Arm: driftline.Arm(said.Get("X-Arm")), ID: said.Get("X-Prediction-Id"),
		Fallback: driftline.Fault(said.Get("X-Fallback-Fault"))}
	return p, decodeJSON(response.Body, p)
}
