package mlflow

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Service) registeredModelEndpoints() []Endpoint {
	const at = "/mlflow/registered-models/"
	return []Endpoint{
		call("POST", at+"create", s.createModel).upTo(batch),
		call("POST", at+"rename", s.renameModel),
		call("PATCH", at+"update", s.updateModel),
		do("DELETE", at+"delete", s.deleteModel),
		call("GET", at+"get", s.getModel),
		call("GET", at+"search", s.searchModels),
		call("POST", at+"get-latest-versions", s.getLatestVersions),
		call("GET", at+"get-latest-versions", s.getLatestVersions),
		do("POST", at+"set-tag", s.setModelTag),
		do("DELETE", at+"delete-tag", s.deleteModelTag),
		do("POST", at+"alias", s.setAlias),
		do("DELETE", at+"alias", s.deleteAlias),
		call("GET", at+"alias", s.getByAlias),
	}
}

// modelTags are the limits on the tags of models, their versions and logged models.
var modelTags = pairLimits{"Registered model tag", 250, 100_000}

// registeredModel is a registered model as it is sent.
type registeredModel struct {
	Name           driftline.ModelName `json:"name"`
	Created        int64               `json:"creation_timestamp"`
	Updated        int64               `json:"last_updated_timestamp"`
	UserID         string              `json:"user_id,omitempty"`
	Description    string              `json:"description,omitempty"`
	LatestVersions []*modelVersion     `json:"latest_versions,omitempty"`
	Tags           []pair              `json:"tags,omitempty"`
	Aliases        []modelAlias        `json:"aliases,omitempty"`
}

type modelAlias struct {
	Alias   driftline.Alias `json:"alias"`
	Version versionNumber   `json:"version"`
}

func (s *Service) modelOf(m *driftline.RegisteredModel) *registeredModel {
	out := &registeredModel{Name: m.Name, Created: millis(m.Created), Updated: millis(m.Updated), UserID: m.By, Description: m.Description, Tags: pairsOf(m.Tags)}
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		out.Aliases = append(out.Aliases, modelAlias{alias, versionNumber(m.Aliases[alias])})
	}
	latest, err := s.registry.LatestVersions(m.Name, nil)
	if err != nil {
		return out // deleted a moment ago
	}
	for i := range latest {
		out.LatestVersions = append(out.LatestVersions, s.versionOf(&latest[i]))
	}
	return out
}

type modelAnswer struct {
	Model *registeredModel `json:"registered_model"`
}

func (s *Service) answerModel(m *driftline.RegisteredModel, err error) (*modelAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &modelAnswer{s.modelOf(m)}, nil
}

// about says what is not there, or there already, in the words that MLflow's clients look for.
func about(name driftline.ModelName, err error) error {
	var e *driftline.Error
	if !errors.As(err, &e) || e.Ref != driftline.ModelRef(name, 0).String() {
		return err
	}
	switch e.Code {
	case driftline.NotFound:
		return driftline.Errorf(driftline.NotFound, "Registered Model with name=%s not found", clip(string(name))).WithHint("%s", cmp.Or(e.Hint, "register it first"))
	case driftline.AlreadyExists:
		return driftline.Errorf(driftline.AlreadyExists, "Registered Model (name=%s) already exists.", clip(string(name)))
	}
	return err
}

// ofModel is the part of a request that names a registered model.
type ofModel struct {
	Name driftline.ModelName `json:"name" wire:"required"`
}

// known returns the model that a request names.
func (s *Service) known(q *ofModel) (*driftline.RegisteredModel, error) {
	m, err := s.registry.Model(q.Name)
	return m, about(q.Name, err)
}

type createModelRequest struct {
	ofModel
	Tags        []pair `json:"tags"`
	Description string `json:"description"`
}

func (s *Service) createModel(ctx context.Context, q *createModelRequest) (*modelAnswer, error) {
	tags, err := modelTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	m, err := s.registry.CreateModel(driftline.RegisteredModelSpec{Name: q.Name, Description: q.Description, Tags: tags, By: who(ctx)})
	return s.answerModel(m, about(q.Name, err))
}

type renameModelRequest struct {
	ofModel
	NewName driftline.ModelName `json:"new_name" wire:"required"`
}

func (s *Service) renameModel(ctx context.Context, q *renameModelRequest) (*modelAnswer, error) {
	m, err := s.registry.RenameModel(q.Name, q.NewName, who(ctx))
	return s.answerModel(m, about(q.NewName, about(q.Name, err)))
}

type updateModelRequest struct {
	ofModel
	Description *string `json:"description"`
}

func (s *Service) updateModel(ctx context.Context, q *updateModelRequest) (*modelAnswer, error) {
	m, err := s.registry.ChangeModel(q.Name, driftline.ModelChange{Description: q.Description, By: who(ctx)})
	return s.answerModel(m, about(q.Name, err))
}

func (s *Service) deleteModel(ctx context.Context, q *ofModel) error {
	return about(q.Name, s.registry.DeleteModel(q.Name, who(ctx), ""))
}

func (s *Service) getModel(_ context.Context, q *ofModel) (*modelAnswer, error) {
	return s.answerModel(s.known(q))
}

// Limits on answers to searches of registered models.
const (
	standardModels = 100
	mostModels     = 1000
)

type modelsAnswer struct {
	Models        []*registeredModel `json:"registered_models,omitempty"`
	NextPageToken string             `json:"next_page_token,omitempty"`
}

func (s *Service) searchModels(_ context.Context, q *search) (*modelsAnswer, error) {
	wanted, err := q.read(activeOnly, standardModels, mostModels)
	if err != nil {
		return nil, err
	}
	found, more, err := s.registry.SearchModels(wanted)
	if err != nil {
		return nil, err
	}
	answer := &modelsAnswer{NextPageToken: nextToken(wanted, more)}
	for i := range found {
		answer.Models = append(answer.Models, s.modelOf(&found[i]))
	}
	return answer, nil
}

type latestVersionsRequest struct {
	ofModel
	Stages []string `json:"stages"`
}

type versionsAnswer struct {
	Versions      []*modelVersion `json:"model_versions,omitempty"`
	NextPageToken string          `json:"next_page_token,omitempty"`
}

func (s *Service) getLatestVersions(_ context.Context, q *latestVersionsRequest) (*versionsAnswer, error) {
	var stages []driftline.ModelStage
	for _, text := range q.Stages {
		stage, err := stageNamed(text)
		if err != nil {
			return nil, err
		}
		stages = append(stages, stage)
	}
	latest, err := s.registry.LatestVersions(q.Name, stages)
	if err != nil {
		return nil, about(q.Name, err)
	}
	answer := &versionsAnswer{}
	for i := range latest {
		answer.Versions = append(answer.Versions, s.versionOf(&latest[i]))
	}
	return answer, nil
}

func stageNamed(text string) (driftline.ModelStage, error) {
	stage, err := registry.ParseStage(text)
	if err != nil {
		return "", driftline.Errorf(driftline.Invalid, "Invalid Model Version stage: %s. Value must be one of None, Staging, Production, Archived.", clip(text))
	}
	return stage, nil
}

type modelTagRequest struct {
	ofModel
	Key   string `json:"key" wire:"required"`
	Value string `json:"value"`
}

func (s *Service) setModelTag(ctx context.Context, q *modelTagRequest) error {
	tags, err := modelTags.read([]pair{{q.Key, q.Value}})
	if err != nil {
		return err
	}
	_, err = s.registry.ChangeModel(q.Name, driftline.ModelChange{Tags: tags, By: who(ctx)})
	return about(q.Name, err)
}

func (s *Service) deleteModelTag(ctx context.Context, q *modelTagRequest) error {
	_, err := s.registry.ChangeModel(q.Name, driftline.ModelChange{RemoveTags: []string{q.Key}, By: who(ctx)})
	return about(q.Name, err)
}

type aliasRequest struct {
	ofModel
	Alias   driftline.Alias `json:"alias" wire:"required"`
	Version *versionNumber  `json:"version"`
}

func (s *Service) setAlias(ctx context.Context, q *aliasRequest) error {
	if q.Version == nil {
		return missing("version")
	}
	if _, err := s.known(&q.ofModel); err != nil {
		return err
	}
	if *q.Version < 1 {
		return noVersion(q.Name, int(*q.Version))
	}
	_, err := s.registry.MoveAlias(q.Name, q.Alias, driftline.AliasMove{Version: int(*q.Version), By: who(ctx)})
	return aboutVersion(q.Name, int(*q.Version), err)
}

// deleteAlias takes an alias away; one that is not there is away already.
func (s *Service) deleteAlias(ctx context.Context, q *aliasRequest) error {
	m, err := s.known(&q.ofModel)
	if err != nil {
		return err
	}
	if _, there := m.Aliases[q.Alias]; !there {
		return nil
	}
	_, err = s.registry.MoveAlias(q.Name, q.Alias, driftline.AliasMove{By: who(ctx)})
	return err
}

func (s *Service) getByAlias(ctx context.Context, q *aliasRequest) (*versionAnswer, error) {
	m, err := s.known(&q.ofModel)
	if err != nil {
		return nil, err
	}
	at, there := m.Aliases[q.Alias]
	if !there {
		return nil, driftline.Errorf(driftline.Invalid, "Registered model alias %s not found.", clip(string(q.Alias)))
	}
	return s.getVersion(ctx, &ofVersion{ofModel: q.ofModel, Version: versionNumber(at)})
}
