package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/driftline/driftline"
)

// Evaluate holds a version of a model, by number or alias, against the champion, and has the
// server keep what it found. It may take long.
func (c *Client) Evaluate(ctx context.Context, name driftline.ModelName, version string, req driftline.EvaluationRequest) (*driftline.Evaluation, error) {
	return ask[driftline.Evaluation](ctx, c, http.MethodPost, path("models", string(name), "versions", version, "evaluations"), req)
}

// Evaluations returns evaluations of a model, the newest first: limit at most (0: 50), of one
// version if it is not 0, of those before a number if that is not 0.
func (c *Client) Evaluations(ctx context.Context, name driftline.ModelName, version, before, limit int) ([]driftline.Evaluation, error) {
	query := url.Values{}
	for key, number := range map[string]int{"version": version, "before": before, "limit": limit} {
		if number > 0 {
			query.Set(key, strconv.Itoa(number))
		}
	}
	return field[[]driftline.Evaluation](ctx, c, http.MethodGet, withQuery(path("models", string(name), "evaluations"), query), nil, "evaluations")
}

// Evaluation returns one evaluation.
func (c *Client) Evaluation(ctx context.Context, id driftline.EvaluationID) (*driftline.Evaluation, error) {
	return get[driftline.Evaluation](ctx, c, path("evaluations", string(id)))
}
