package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/driftline/driftline"
)

// Route returns who answers requests of a model. Package routing decides by it what
// [Client.RouteOf] would say for each key, without asking the server.
func (c *Client) Route(ctx context.Context, model driftline.ModelName) (*driftline.Route, error) {
	return get[driftline.Route](ctx, c, path("models", string(model), "route"))
}

// RouteOf returns who answers requests of a key.
func (c *Client) RouteOf(ctx context.Context, model driftline.ModelName, key string) (*driftline.RouteDecision, error) {
	return get[driftline.RouteDecision](ctx, c, withQuery(path("models", string(model), "route"), url.Values{"key": {key}}))
}

// Rollouts lists the rollouts of a model, of all for "", the newest first.
func (c *Client) Rollouts(ctx context.Context, model driftline.ModelName) ([]driftline.RolloutStatus, error) {
	query := url.Values{}
	if model != "" {
		query.Set("model", string(model))
	}
	return field[[]driftline.RolloutStatus](ctx, c, http.MethodGet, withQuery(path("rollouts"), query), nil, "rollouts")
}

// StartRollout begins a rollout of a version. While another one is under way it is a Conflict.
func (c *Client) StartRollout(ctx context.Context, request driftline.RolloutRequest) (*driftline.RolloutStart, error) {
	return ask[driftline.RolloutStart](ctx, c, http.MethodPost, path("rollouts"), request)
}

// Rollout returns a rollout, and what it is at.
func (c *Client) Rollout(ctx context.Context, id driftline.RolloutID) (*driftline.RolloutStatus, error) {
	return get[driftline.RolloutStatus](ctx, c, path("rollouts", string(id)))
}

// ActOnRollout pauses, resumes, aborts, promotes, rolls back or approves.
func (c *Client) ActOnRollout(ctx context.Context, id driftline.RolloutID, action driftline.RolloutAction, command driftline.RolloutCommand) (*driftline.RolloutStatus, error) {
	return ask[driftline.RolloutStatus](ctx, c, http.MethodPost, path("rollouts", string(id), string(action)), command)
}

// RolloutHistory returns the changes of a rollout, oldest first.
func (c *Client) RolloutHistory(ctx context.Context, id driftline.RolloutID) ([]driftline.RolloutChange, error) {
	return field[[]driftline.RolloutChange](ctx, c, http.MethodGet, path("rollouts", string(id), "history"), nil, "changes")
}

// ExplainRollout returns the changes of a rollout with the counts that their verdicts rest on, and
// the verdicts made again from these.
func (c *Client) ExplainRollout(ctx context.Context, id driftline.RolloutID) ([]driftline.RolloutExplanation, error) {
	return field[[]driftline.RolloutExplanation](ctx, c, http.MethodGet, path("rollouts", string(id), "explain"), nil, "changes")
}

// RollBackModel gives a model back to the version that was champion before, by one call.
func (c *Client) RollBackModel(ctx context.Context, model driftline.ModelName, back driftline.AliasRollback) (*driftline.ModelRollback, error) {
	return ask[driftline.ModelRollback](ctx, c, http.MethodPost, path("models", string(model), "rollback"), back)
}
