package client

import (
	"context"
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
