package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

// RegisterModel makes an artifact of a run, or what a source names, the next version of a model.
func (c *Client) RegisterModel(ctx context.Context, spec driftline.ModelSpec) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPost, path("models", string(spec.Model), "versions"), spec)
}

// Models lists the newest version of every model that has one.
func (c *Client) Models(ctx context.Context) ([]driftline.ModelVersion, error) {
	return field[[]driftline.ModelVersion](ctx, c, http.MethodGet, path("models"), nil, "models")
}

// RegisteredModels lists every model.
func (c *Client) RegisteredModels(ctx context.Context) ([]driftline.RegisteredModel, error) {
	return field[[]driftline.RegisteredModel](ctx, c, http.MethodGet, path("models"), nil, "registered")
}

// Model is one model: its versions, oldest first, and what its aliases point at.
type Model struct {
	Model    *driftline.RegisteredModel `json:"model"`
	Versions []driftline.ModelVersion   `json:"versions"`
	Aliases  map[driftline.Alias]int    `json:"aliases"`
}

// Model returns all versions of one model.
func (c *Client) Model(ctx context.Context, name driftline.ModelName) (*Model, error) {
	return get[Model](ctx, c, path("models", string(name)))
}

// CreateModel registers a name without versions.
func (c *Client) CreateModel(ctx context.Context, spec driftline.RegisteredModelSpec) (*driftline.RegisteredModel, error) {
	return ask[driftline.RegisteredModel](ctx, c, http.MethodPost, path("models"), spec)
}

// ChangeModel changes the description and the tags of a model.
func (c *Client) ChangeModel(ctx context.Context, name driftline.ModelName, change driftline.ModelChange) (*driftline.RegisteredModel, error) {
	return ask[driftline.RegisteredModel](ctx, c, http.MethodPatch, path("models", string(name)), change)
}

// RenameModel gives a model another name; it keeps everything.
func (c *Client) RenameModel(ctx context.Context, name, to driftline.ModelName, by string) (*driftline.RegisteredModel, error) {
	body := struct {
		To driftline.ModelName `json:"to"`
		By string              `json:"by,omitempty"`
	}{to, by}
	return ask[driftline.RegisteredModel](ctx, c, http.MethodPost, path("models", string(name), "rename"), body)
}

// DeleteModel takes a model away, with its versions and aliases.
func (c *Client) DeleteModel(ctx context.Context, name driftline.ModelName, by, reason string) error {
	return c.call(ctx, http.MethodDelete, withQuery(path("models", string(name)), said(by, reason)), nil, &struct{}{})
}

// said is the query of who does something, and why.
func said(by, reason string) url.Values {
	query := url.Values{}
	if by != "" {
		query.Set("by", by)
	}
	if reason != "" {
		query.Set("reason", reason)
	}
	return query
}

// ModelVersion returns one version of a model: a number, or an alias ("champion").
func (c *Client) ModelVersion(ctx context.Context, name driftline.ModelName, version string) (*driftline.ModelVersion, error) {
	return get[driftline.ModelVersion](ctx, c, path("models", string(name), "versions", version))
}

// ChangeModelVersion changes the description and the tags of a version.
func (c *Client) ChangeModelVersion(ctx context.Context, name driftline.ModelName, version string, change driftline.ModelChange) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPatch, path("models", string(name), "versions", version), change)
}

// DeleteModelVersion takes a version away, and the aliases that point at it.
func (c *Client) DeleteModelVersion(ctx context.Context, name driftline.ModelName, version, by, reason string) error {
	return c.call(ctx, http.MethodDelete, withQuery(path("models", string(name), "versions", version), said(by, reason)), nil, &struct{}{})
}

// MoveAlias points an alias at a version of the model, which it returns.
func (c *Client) MoveAlias(ctx context.Context, name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPut, path("models", string(name), "aliases", string(alias)), move)
}

// RemoveAlias takes an alias away and returns the version where it was.
func (c *Client) RemoveAlias(ctx context.Context, name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) (*driftline.ModelVersion, error) {
	query := said(move.By, move.Reason)
	if move.Expect != nil {
		query.Set("expect", strconv.Itoa(*move.Expect))
	}
	return ask[driftline.ModelVersion](ctx, c, http.MethodDelete, withQuery(path("models", string(name), "aliases", string(alias)), query), nil)
}

// RollbackAlias takes back the last move of an alias and returns the version where it is then.
func (c *Client) RollbackAlias(ctx context.Context, name driftline.ModelName, alias driftline.Alias, back driftline.AliasRollback) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPost, path("models", string(name), "aliases", string(alias), "rollback"), back)
}

// ModelHistory is what happened to a model's aliases and stages, oldest first.
type ModelHistory struct {
	Aliases []driftline.AliasChange `json:"aliases"`
	Stages  []driftline.StageChange `json:"stages"`
}

// ModelHistory returns the moves of an alias, of all for "", or, if at is not zero, those
// that were in force then.
func (c *Client) ModelHistory(ctx context.Context, name driftline.ModelName, alias driftline.Alias, at time.Time) (*ModelHistory, error) {
	query := url.Values{}
	if alias != "" {
		query.Set("alias", string(alias))
	}
	if !at.IsZero() {
		query.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	return get[ModelHistory](ctx, c, withQuery(path("models", string(name), "history"), query))
}

// MoveStage brings a version into a stage.
func (c *Client) MoveStage(ctx context.Context, name driftline.ModelName, version string, move driftline.StageMove) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPut, path("models", string(name), "versions", version, "stage"), move)
}

// SetModelGate says what a version must have before an alias or a stage.
func (c *Client) SetModelGate(ctx context.Context, name driftline.ModelName, gate driftline.ModelGate, by, reason string) (*driftline.RegisteredModel, error) {
	body := struct {
		driftline.ModelGate
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}{gate, by, reason}
	return ask[driftline.RegisteredModel](ctx, c, http.MethodPut, path("models", string(name), "gates"), body)
}

// SetModelServer declares where a version answers.
func (c *Client) SetModelServer(ctx context.Context, name driftline.ModelName, version string, change driftline.ModelServerChange) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPut, path("models", string(name), "versions", version, "server"), change)
}

// RemoveModelServer declares that a version does not answer any more.
func (c *Client) RemoveModelServer(ctx context.Context, name driftline.ModelName, version, by, reason string) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodDelete, withQuery(path("models", string(name), "versions", version, "server"), said(by, reason)), nil)
}

// AddModelCheck records the outcome of a check of a version.
func (c *Client) AddModelCheck(ctx context.Context, name driftline.ModelName, version string, check driftline.ModelCheck) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPost, path("models", string(name), "versions", version, "checks"), check)
}

// AddModelApproval records what somebody says to a version's coming into an alias or a stage.
func (c *Client) AddModelApproval(ctx context.Context, name driftline.ModelName, version string, approval driftline.ModelApproval) (*driftline.ModelVersion, error) {
	return ask[driftline.ModelVersion](ctx, c, http.MethodPost, path("models", string(name), "versions", version, "approvals"), approval)
}

// Resolved is what a URI names.
type Resolved struct {
	Owner driftline.Ref           `json:"owner"` // a run, a logged model or a version of a model
	Path  string                  `json:"path"`
	Model *driftline.ModelVersion `json:"model"` // of a version
	Files []driftline.Artifact    `json:"files"` // at the path, or under it
}

// Resolve says what runs:/…, models:/… and mlflow-artifacts:/… URIs name.
func (c *Client) Resolve(ctx context.Context, uri string) (*Resolved, error) {
	return get[Resolved](ctx, c, withQuery(path("resolve"), url.Values{"uri": {uri}}))
}

// ArtifactOf opens the bytes of a file of a run, a logged model or a version of a model.
// The caller closes them, and should compare them with the artifact's hash.
func (c *Client) ArtifactOf(ctx context.Context, owner driftline.Ref, artifactPath string) (io.ReadCloser, error) {
	var begin []string
	switch owner.Kind {
	case driftline.KindRun:
		begin = []string{"runs", owner.Name}
	case driftline.KindModel:
		begin = []string{"models", owner.Name, "versions", owner.Version}
	case driftline.KindLoggedModel:
		begin = []string{"logged-models", owner.Name}
	default:
		return nil, driftline.Errorf(driftline.Invalid, "%s has no artifacts", owner)
	}
	segments := append(append(begin, "artifacts"), strings.Split(artifactPath, "/")...)
	response, err := c.send(ctx, http.MethodGet, path(segments...), "", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// CollectArtifacts removes the bytes that nobody needs and that are older than grace.
func (c *Client) CollectArtifacts(ctx context.Context, grace time.Duration) (*driftline.ArtifactCollection, error) {
	body := struct {
		Grace driftline.Duration `json:"grace"`
	}{driftline.Duration(grace)}
	return ask[driftline.ArtifactCollection](ctx, c, http.MethodPost, path("artifacts", "collect"), body)
}

// RemoveArtifacts takes a file, or a folder, from a run, and returns what that was.
func (c *Client) RemoveArtifacts(ctx context.Context, id driftline.RunID, artifactPath, by, reason string) ([]driftline.Artifact, error) {
	return field[[]driftline.Artifact](ctx, c, http.MethodDelete, withQuery(artifactURL(id, artifactPath), said(by, reason)), nil, "removed")
}

// ModelCard returns what there is to know of a version.
func (c *Client) ModelCard(ctx context.Context, name driftline.ModelName, version string) (*driftline.ModelCard, error) {
	return get[driftline.ModelCard](ctx, c, path("models", string(name), "versions", version, "card"))
}

// ExportModel opens a version as a bundle. The caller closes it; what is read may end in an
// error, and is then no bundle.
func (c *Client) ExportModel(ctx context.Context, name driftline.ModelName, version string) (io.ReadCloser, error) {
	response, err := c.send(ctx, http.MethodGet, path("models", string(name), "versions", version, "bundle"), "", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// ImportModel registers what a bundle holds as the next version of a model, named as in the
// bundle if name is "". It must be signed by the server's own key, or by trust.
func (c *Client) ImportModel(ctx context.Context, name driftline.ModelName, trust, by string, bundle io.Reader) (*driftline.ModelVersion, error) {
	query := said(by, "")
	for key, value := range map[string]string{"name": string(name), "trust": trust} {
		if value != "" {
			query.Set(key, value)
		}
	}
	response, err := c.send(ctx, http.MethodPost, withQuery(path("bundles"), query), "application/x-tar", bundle)
	if err != nil {
		return nil, err
	}
	defer closeBody(response.Body)
	version := new(driftline.ModelVersion)
	return version, decodeJSON(response.Body, version)
}

// SigningKey is the key that the server signs bundles with.
func (c *Client) SigningKey(ctx context.Context) (string, error) {
	return field[string](ctx, c, http.MethodGet, path("bundles", "key"), nil, "key")
}

// Timeline returns what happened to a model and what was done about it: the last limit events at
// most (0: 500), since a time in RFC 3339 or a length before the server's now, such as 7d ("": ever).
func (c *Client) Timeline(ctx context.Context, model driftline.ModelName, since string, limit int) (*driftline.Timeline, error) {
	query := url.Values{}
	if since != "" {
		query.Set("since", since)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return get[driftline.Timeline](ctx, c, withQuery(path("models", string(model), "timeline"), query))
}
