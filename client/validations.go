package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/driftline/driftline"
)

// Validations lists the registered sets of checks and how they went last, by name.
func (c *Client) Validations(ctx context.Context) ([]driftline.ValidationStatus, error) {
	return field[[]driftline.ValidationStatus](ctx, c, http.MethodGet, path("validations"), nil, "validations")
}

// Validation returns one registered set and how it went last.
func (c *Client) Validation(ctx context.Context, name driftline.ValidationName) (*driftline.ValidationStatus, error) {
	return get[driftline.ValidationStatus](ctx, c, path("validations", string(name)))
}

// ValidationVersions returns the definitions that a set has had, from the first.
func (c *Client) ValidationVersions(ctx context.Context, name driftline.ValidationName) ([]driftline.Validation, error) {
	return field[[]driftline.Validation](ctx, c, http.MethodGet, path("validations", string(name), "versions"), nil, "versions")
}

// RunValidation checks the table of a registered set, and has the server keep how it went.
func (c *Client) RunValidation(ctx context.Context, name driftline.ValidationName) (*driftline.ValidationReport, error) {
	return ask[driftline.ValidationReport](ctx, c, http.MethodPost, path("validations", string(name), "run"), struct{}{})
}

// ValidationRuns returns how a set went, the newest run first: limit at most (0: 50), of runs
// before one, if it is not 0.
func (c *Client) ValidationRuns(ctx context.Context, name driftline.ValidationName, before, limit int) ([]driftline.ValidationRun, error) {
	query := url.Values{}
	if before > 0 {
		query.Set("before", strconv.Itoa(before))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return field[[]driftline.ValidationRun](ctx, c, http.MethodGet, withQuery(path("validations", string(name), "runs"), query), nil, "runs")
}

// ValidationRun returns what a run of a set found; run 0 is the last, of which there are
// examples of rows that break checks.
func (c *Client) ValidationRun(ctx context.Context, name driftline.ValidationName, run int) (*driftline.ValidationReport, error) {
	which := "last"
	if run > 0 {
		which = strconv.Itoa(run)
	}
	return get[driftline.ValidationReport](ctx, c, path("validations", string(name), "runs", which))
}

// Presets lists the registered presets, by name.
func (c *Client) Presets(ctx context.Context) ([]driftline.Preset, error) {
	return field[[]driftline.Preset](ctx, c, http.MethodGet, path("presets"), nil, "presets")
}

// Preset returns one registered preset.
func (c *Client) Preset(ctx context.Context, name driftline.PresetName) (*driftline.Preset, error) {
	return get[driftline.Preset](ctx, c, path("presets", string(name)))
}
