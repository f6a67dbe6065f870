package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/driftline/driftline"
)

// LogPredictions logs predictions of a model, durably. It returns their IDs, which were made up where
// they were empty. Sent again, with the same IDs and times, they change nothing.
func (c *Client) LogPredictions(ctx context.Context, model driftline.ModelName, records []driftline.PredictionRecord) (*driftline.PredictionReceipt, error) {
	return ask[driftline.PredictionReceipt](ctx, c, http.MethodPost, path("models", string(model), "predictions"), map[string]any{"predictions": records})
}

// LogPredictionsAsync is LogPredictions for who does not want to wait until they are durable: a crash
// may lose those of the last 200 ms, and what there is no room for is dropped and counted.
func (c *Client) LogPredictionsAsync(ctx context.Context, model driftline.ModelName, records []driftline.PredictionRecord) error {
	_, err := ask[driftline.PredictionReceipt](ctx, c, http.MethodPost, withQuery(path("models", string(model), "predictions"), url.Values{"async": {"true"}}),
		map[string]any{"predictions": records})
	return err
}

// LogPredictionRows logs predictions that are rows: columns called like those of the log
// (prediction_id, event_timestamp, model_version, prediction, score …), those that entity names are
// join keys, and all others features. Batches that were sent before an error stay logged.
func (c *Client) LogPredictionRows(ctx context.Context, model driftline.ModelName, entity []string, rows driftline.Batches) (*driftline.PredictionReceipt, error) {
	receipt := &driftline.PredictionReceipt{}
	return receipt, c.putOfModel(ctx, "predictions", model, entity, rows, receipt)
}

// PredictionLog is the prediction log of a model: how it is written, and what was logged and
// dropped since the server started.
func (c *Client) PredictionLog(ctx context.Context, model driftline.ModelName) (*driftline.PredictionLogStatus, error) {
	return get[driftline.PredictionLogStatus](ctx, c, path("models", string(model), "predictions"))
}

// PredictionLogs are the logs that were written since the server started.
func (c *Client) PredictionLogs(ctx context.Context) ([]driftline.PredictionLogStatus, error) {
	return field[[]driftline.PredictionLogStatus](ctx, c, http.MethodGet, path("prediction-logs"), nil, "logs")
}

// ConfigurePredictionLog says how a model's predictions are logged. The columns of config are ignored.
func (c *Client) ConfigurePredictionLog(ctx context.Context, model driftline.ModelName, config driftline.PredictionLog) (*driftline.PredictionLogStatus, error) {
	return ask[driftline.PredictionLogStatus](ctx, c, http.MethodPut, path("models", string(model), "predictions"), config)
}

// LogLabels says the truth of predictions. Labels may come late, twice, corrected and before their
// prediction.
func (c *Client) LogLabels(ctx context.Context, model driftline.ModelName, labels []driftline.Label) (*driftline.LabelReceipt, error) {
	return ask[driftline.LabelReceipt](ctx, c, http.MethodPost, path("models", string(model), "labels"), map[string]any{"labels": labels})
}

// LogLabelRows is LogLabels of rows: prediction_id, or the join keys that entity names and
// prediction_time; label or label_text; event_timestamp, when it became known, and labelled_by if
// they are there.
func (c *Client) LogLabelRows(ctx context.Context, model driftline.ModelName, entity []string, rows driftline.Batches) (*driftline.LabelReceipt, error) {
	receipt := &driftline.LabelReceipt{}
	return receipt, c.putOfModel(ctx, "labels", model, entity, rows, receipt)
}

// Labels says how many predictions of a model since a time (zero: all) have a label so far, and
// how late labels come.
func (c *Client) Labels(ctx context.Context, model driftline.ModelName, since time.Time) (*driftline.LabelStatus, error) {
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	return get[driftline.LabelStatus](ctx, c, withQuery(path("models", string(model), "labels"), query))
}

// AskForLabels chooses predictions that are worth a label, and keeps them as the next version of a
// dataset. The answers go in by [Client.LogLabels].
func (c *Client) AskForLabels(ctx context.Context, model driftline.ModelName, req driftline.LabelRequest) (*driftline.LabelAsk, error) {
	return ask[driftline.LabelAsk](ctx, c, http.MethodPost, path("models", string(model), "label-requests"), req)
}

// ModelPerformance measures a model by its predictions and the labels that are known by now.
func (c *Client) ModelPerformance(ctx context.Context, model driftline.ModelName, req driftline.ModelPerformanceRequest) (*driftline.ModelPerformance, error) {
	return ask[driftline.ModelPerformance](ctx, c, http.MethodPost, path("models", string(model), "performance"), req)
}

// putOfModel sends rows of a model, and reads what became of them.
func (c *Client) putOfModel(ctx context.Context, op string, model driftline.ModelName, entity []string, rows driftline.Batches, receipt any) error {
	descriptor, err := commandDescriptor(struct {
		Op     string              `json:"op"`
		Model  driftline.ModelName `json:"model"`
		Entity []string            `json:"entity,omitempty"`
		Marked bool                `json:"marked"`
	}{op, model, entity, true})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoPut(ctx)
	if err != nil {
		return fromStatus(err)
	}
	if err := sendBatches(stream, descriptor, rows, endMarker); err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus(err)
		}
		if err := json.Unmarshal(answer.AppMetadata, receipt); err != nil {
			return driftline.Errorf(driftline.Internal, "cannot read the server's answer: %w", err)
		}
	}
}
