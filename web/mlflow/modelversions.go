package mlflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/driftline/driftline"
)

func (s *Service) modelVersionEndpoints() []Endpoint {
	const at = "/mlflow/model-versions/"
	return []Endpoint{
		call("POST", at+"create", s.createVersion).upTo(batch),
		call("PATCH", at+"update", s.updateVersion),
		call("POST", at+"transition-stage", s.transitionStage),
		do("DELETE", at+"delete", s.deleteVersion),
		call("GET", at+"get", s.getVersion),
		call("GET", at+"search", s.searchVersions),
		call("GET", at+"get-download-uri", s.getDownloadURI),
		do("POST", at+"set-tag", s.setVersionTag),
		do("DELETE", at+"delete-tag", s.deleteVersionTag),
	}
}

// versionNumber is the number of a version, which JSON carries as a string.
type versionNumber int

// UnmarshalJSON reads "3" and 3.
func (v *versionNumber) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "null" || text == "" {
		return nil
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return wrongKind(data, reflect.TypeFor[versionNumber]())
	}
	*v = versionNumber(number)
	return nil
}

// MarshalJSON writes a string.
func (v versionNumber) MarshalJSON() ([]byte, error) { return json.Marshal(strconv.Itoa(int(v))) }

// modelVersion is a version of a registered model as it is sent.
type modelVersion struct {
	Name          driftline.ModelName     `json:"name"`
	Version       versionNumber           `json:"version"`
	Created       int64                   `json:"creation_timestamp"`
	Updated       int64                   `json:"last_updated_timestamp"`
	UserID        string                  `json:"user_id,omitempty"`
	CurrentStage  driftline.ModelStage    `json:"current_stage"`
	Description   string                  `json:"description,omitempty"`
	Source        string                  `json:"source"`
	RunID         string                  `json:"run_id,omitempty"`
	Status        string                  `json:"status"`
	StatusMessage string                  `json:"status_message,omitempty"`
	Tags          []pair                  `json:"tags,omitempty"`
	RunLink       string                  `json:"run_link,omitempty"`
	Aliases       []driftline.Alias       `json:"aliases,omitempty"`
	ModelID       driftline.LoggedModelID `json:"model_id,omitempty"`
	ModelParams   []modelParam            `json:"model_params,omitempty"`
	ModelMetrics  []modelMetric           `json:"model_metrics,omitempty"`
}

type modelParam struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// versionOf is a version as it is sent. What is kept elsewhere is READY, because clients
// wait for minutes for everything else; its message says that nobody looked at it.
func (s *Service) versionOf(v *driftline.ModelVersion) *modelVersion {
	out := &modelVersion{
		Name: v.Model, Version: versionNumber(v.Version), Created: millis(v.Created), Updated: millis(v.Updated), UserID: v.By,
		CurrentStage: v.Stage, Description: v.Description, Source: v.SourceURI(), RunID: cmp.Or(string(v.Run), v.ExternalRun), Status: "READY",
		Tags: pairsOf(v.Tags), RunLink: v.RunLink, Aliases: v.Aliases, ModelID: v.LoggedModel,
	}
	if v.Status == driftline.ModelExternal {
		out.StatusMessage = "the files are kept elsewhere, and were not looked at"
	}
	if v.LoggedModel == "" {
		return out
	}
	if m, err := s.registry.LoggedModel(v.LoggedModel); err == nil {
		for _, p := range pairsOf(m.Params) {
			out.ModelParams = append(out.ModelParams, modelParam{p.Key, p.Value})
		}
		out.ModelMetrics = s.modelMetrics(m.ID)
	}
	return out
}

type versionAnswer struct {
	Version *modelVersion `json:"model_version"`
}

func (s *Service) answerVersion(v *driftline.ModelVersion, err error) (*versionAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &versionAnswer{s.versionOf(v)}, nil
}

// aboutVersion is [about], for a version of the model too.
func aboutVersion(name driftline.ModelName, version int, err error) error {
	var e *driftline.Error
	if errors.As(err, &e) && e.Code == driftline.NotFound && version > 0 && e.Ref == driftline.ModelRef(name, version).String() {
		return noVersion(name, version)
	}
	return about(name, err)
}

func noVersion(name driftline.ModelName, version int) error {
	return driftline.Errorf(driftline.NotFound, "Model Version (name=%s, version=%d) not found", clip(string(name)), version)
}

type createVersionRequest struct {
	ofModel
	Source      string                  `json:"source" wire:"required"`
	RunID       driftline.RunID         `json:"run_id"`
	Tags        []pair                  `json:"tags"`
	RunLink     string                  `json:"run_link"`
	Description string                  `json:"description"`
	ModelID     driftline.LoggedModelID `json:"model_id"`

	// Of whoever brings a version from another server. MLflow's clients send neither.
	Version versionNumber `json:"version"`
	Created *integer      `json:"creation_timestamp"`
}

// madeAt is when something was made that comes from another server; zero for now.
func madeAt(field string, at *integer) (time.Time, error) {
	if at == nil {
		return time.Time{}, nil
	}
	return timeOf(field, *at)
}

func (s *Service) createVersion(ctx context.Context, q *createVersionRequest) (*versionAnswer, error) {
	tags, err := modelTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	created, err := madeAt("creation_timestamp", q.Created)
	if err != nil {
		return nil, err
	}
	v, err := s.engine.RegisterModel(ctx, driftline.ModelSpec{
		Model: q.Name, Source: q.Source, Run: q.RunID, LoggedModel: q.ModelID, Tags: tags, RunLink: q.RunLink, Description: q.Description, By: who(ctx),
		Version: int(q.Version), Created: created,
	}, false)
	return s.answerVersion(v, about(q.Name, err))
}

// ofVersion is the part of a request that names a version of a model.
type ofVersion struct {
	ofModel
	Version versionNumber `json:"version" wire:"required"`
}

func (q *ofVersion) selector() string { return strconv.Itoa(int(q.Version)) }

func (q *ofVersion) about(err error) error { return aboutVersion(q.Name, int(q.Version), err) }

type updateVersionRequest struct {
	ofVersion
	Description *string `json:"description"`
}

func (s *Service) updateVersion(ctx context.Context, q *updateVersionRequest) (*versionAnswer, error) {
	v, err := s.registry.ChangeModelVersion(q.Name, q.selector(), driftline.ModelChange{Description: q.Description, By: who(ctx)})
	return s.answerVersion(v, q.about(err))
}

type transitionStageRequest struct {
	ofVersion
	Stage           string `json:"stage" wire:"required"`
	ArchiveExisting *bool  `json:"archive_existing_versions" wire:"required"`
}

func (s *Service) transitionStage(ctx context.Context, q *transitionStageRequest) (*versionAnswer, error) {
	stage, err := stageNamed(q.Stage)
	if err != nil {
		return nil, err
	}
	v, err := s.registry.MoveStage(q.Name, q.selector(), driftline.StageMove{Stage: stage, ArchiveExisting: *q.ArchiveExisting, By: who(ctx)})
	return s.answerVersion(v, q.about(err))
}

func (s *Service) deleteVersion(ctx context.Context, q *ofVersion) error {
	return q.about(s.registry.DeleteModelVersion(q.Name, q.selector(), who(ctx), ""))
}

func (s *Service) getVersion(_ context.Context, q *ofVersion) (*versionAnswer, error) {
	v, err := s.registry.ModelVersion(q.Name, q.selector())
	return s.answerVersion(v, q.about(err))
}

// Limits on answers to searches of versions.
const (
	standardVersions = 10_000
	mostVersions     = 200_000
)

func (s *Service) searchVersions(_ context.Context, q *search) (*versionsAnswer, error) {
	wanted, err := q.read(activeOnly, standardVersions, mostVersions)
	if err != nil {
		return nil, err
	}
	found, more, err := s.registry.SearchModelVersions(wanted)
	if err != nil {
		return nil, err
	}
	answer := &versionsAnswer{NextPageToken: nextToken(wanted, more)}
	for i := range found {
		answer.Versions = append(answer.Versions, s.versionOf(&found[i]))
	}
	return answer, nil
}

type downloadURIAnswer struct {
	ArtifactURI string `json:"artifact_uri"`
}

// getDownloadURI answers with an address of the version's own, under which its files are
// what they were when it was registered, whatever is logged to the run later.
func (s *Service) getDownloadURI(_ context.Context, q *ofVersion) (*downloadURIAnswer, error) {
	v, err := s.registry.ModelVersion(q.Name, q.selector())
	if err != nil {
		return nil, q.about(err)
	}
	if v.Status == driftline.ModelExternal {
		return &downloadURIAnswer{v.Source}, nil
	}
	return &downloadURIAnswer{"mlflow-artifacts:/versions/" + strconv.FormatUint(v.Line, 10)}, nil
}

type versionTagRequest struct {
	ofVersion
	Key   string `json:"key" wire:"required"`
	Value string `json:"value"`
}

func (s *Service) setVersionTag(ctx context.Context, q *versionTagRequest) error {
	tags, err := modelTags.read([]pair{{q.Key, q.Value}})
	if err != nil {
		return err
	}
	_, err = s.registry.ChangeModelVersion(q.Name, q.selector(), driftline.ModelChange{Tags: tags, By: who(ctx)})
	return q.about(err)
}

func (s *Service) deleteVersionTag(ctx context.Context, q *versionTagRequest) error {
	_, err := s.registry.ChangeModelVersion(q.Name, q.selector(), driftline.ModelChange{RemoveTags: []string{q.Key}, By: who(ctx)})
	return q.about(err)
}
