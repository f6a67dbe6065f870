package client

import (
	"context"
	"net/http"

	"github.com/driftline/driftline"
)

// Policies lists the policies of models and where they stand, by model.
func (c *Client) Policies(ctx context.Context) ([]driftline.PolicyStatus, error) {
	var answer struct {
		Policies []driftline.PolicyStatus `json:"policies"`
	}
	err := c.call(ctx, http.MethodGet, path("policies"), nil, &answer)
	return answer.Policies, err
}

// Policy returns a model's policy and where it stands.
func (c *Client) Policy(ctx context.Context, model driftline.ModelName) (*driftline.PolicyStatus, error) {
	return get[driftline.PolicyStatus](ctx, c, path("policies", string(model)))
}

// PolicyVersions returns the definitions that a model's policy has had, from the first, also
// after it was deleted.
func (c *Client) PolicyVersions(ctx context.Context, model driftline.ModelName) ([]driftline.Policy, error) {
	var answer struct {
		Versions []driftline.Policy `json:"versions"`
	}
	err := c.call(ctx, http.MethodGet, path("policies", string(model), "versions"), nil, &answer)
	return answer.Versions, err
}

// DeletePolicy takes a model's policy away, and returns the training runs that it cancels.
func (c *Client) DeletePolicy(ctx context.Context, model driftline.ModelName, by, reason string) ([]driftline.TrainingRun, error) {
	var answer struct {
		Cancelled []driftline.TrainingRun `json:"cancelled"`
	}
	err := c.call(ctx, http.MethodDelete, withQuery(path("policies", string(model)), said(by, reason)), nil, &answer)
	return answer.Cancelled, err
}
