package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/driftline/driftline"
)

// Policies lists the policies of models and where they stand, by model.
func (c *Client) Policies(ctx context.Context) ([]driftline.PolicyStatus, error) {
	return field[[]driftline.PolicyStatus](ctx, c, http.MethodGet, path("policies"), nil, "policies")
}

// Policy returns a model's policy and where it stands.
func (c *Client) Policy(ctx context.Context, model driftline.ModelName) (*driftline.PolicyStatus, error) {
	return get[driftline.PolicyStatus](ctx, c, path("policies", string(model)))
}

// PolicyVersions returns the definitions that a model's policy has had, from the first, also
// after it was deleted.
func (c *Client) PolicyVersions(ctx context.Context, model driftline.ModelName) ([]driftline.Policy, error) {
	return field[[]driftline.Policy](ctx, c, http.MethodGet, path("policies", string(model), "versions"), nil, "versions")
}

// DeletePolicy takes a model's policy away, and returns the training runs that it cancels.
func (c *Client) DeletePolicy(ctx context.Context, model driftline.ModelName, by, reason string) ([]driftline.TrainingRun, error) {
	return field[[]driftline.TrainingRun](ctx, c, http.MethodDelete, withQuery(path("policies", string(model)), said(by, reason)), nil, "cancelled")
}

// Train asks for a training run of a model. The same key is the same request; "" is one of its
// own.
func (c *Client) Train(ctx context.Context, model driftline.ModelName, key string, req driftline.TrainingRequest) (*driftline.TrainingAnswer, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	var answer driftline.TrainingAnswer
	body, err := encodeJSON(req)
	if err != nil {
		return nil, err
	}
	response, err := c.sendWith(ctx, http.MethodPost, path("models", string(model), "runs"), header, body)
	if err != nil {
		return nil, err
	}
	defer closeBody(response.Body)
	return &answer, decodeJSON(response.Body, &answer)
}

// Trainings returns training runs of a model (of all if ""), the newest first: limit at most (0:
// 50).
func (c *Client) Trainings(ctx context.Context, model driftline.ModelName, limit int) ([]driftline.TrainingRun, error) {
	return field[[]driftline.TrainingRun](ctx, c, http.MethodGet, withQuery(path("training-runs"), ofModel(model, limit)), nil, "runs")
}

// Suppressions returns causes that led to no training run, the newest first, likewise.
func (c *Client) Suppressions(ctx context.Context, model driftline.ModelName, limit int) ([]driftline.Suppression, error) {
	return field[[]driftline.Suppression](ctx, c, http.MethodGet, withQuery(path("trigger-suppressions"), ofModel(model, limit)), nil, "suppressions")
}

func ofModel(model driftline.ModelName, limit int) url.Values {
	query := url.Values{}
	if model != "" {
		query.Set("model", string(model))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return query
}

// Training returns one training run.
func (c *Client) Training(ctx context.Context, id driftline.TrainingID) (*driftline.TrainingRun, error) {
	return get[driftline.TrainingRun](ctx, c, path("training-runs", string(id)))
}

// CancelTraining ends a training run that has not ended.
func (c *Client) CancelTraining(ctx context.Context, id driftline.TrainingID, by, reason string) (*driftline.TrainingRun, error) {
	body := struct {
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{by, reason}
	return ask[driftline.TrainingRun](ctx, c, http.MethodPost, path("training-runs", string(id), "cancel"), body)
}

// ReportTraining says how a training run ended, for the job that executes it. The same report
// again changes nothing; another one is a Conflict, and one without the job's secret Unauthenticated.
func (c *Client) ReportTraining(ctx context.Context, id driftline.TrainingID, report driftline.TrainingReport) (*driftline.TrainingRun, error) {
	return ask[driftline.TrainingRun](ctx, c, http.MethodPost, path("training-runs", string(id), "result"), report)
}

// BeatTraining says that the job which executes a training run is alive. Token and secret are those of the
// job's environment.
func (c *Client) BeatTraining(ctx context.Context, id driftline.TrainingID, token uint64, secret string) (*driftline.TrainingRun, error) {
	body := struct {
		Token  uint64 `json:"token"`
		Secret string `json:"secret"`
	}{token, secret}
	return ask[driftline.TrainingRun](ctx, c, http.MethodPost, path("training-runs", string(id), "heartbeat"), body)
}

// TrainingLog returns what the command of a training run has written. The caller closes it.
func (c *Client) TrainingLog(ctx context.Context, id driftline.TrainingID) (io.ReadCloser, error) {
	response, err := c.send(ctx, http.MethodGet, path("training-runs", string(id), "log"), "", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}
