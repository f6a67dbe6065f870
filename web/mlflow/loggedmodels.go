package mlflow

import (
	"cmp"
	"context"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Service) loggedModelEndpoints() []Endpoint {
	const at = "/mlflow/logged-models"
	return []Endpoint{
		call("POST", at, s.createLoggedModel),
		call("POST", at+"/search", s.searchLoggedModels),
		call("GET", at+"/{model_id}", s.getLoggedModel),
		call("PATCH", at+"/{model_id}", s.finishLoggedModel),
		do("DELETE", at+"/{model_id}", s.deleteLoggedModel),
		call("PATCH", at+"/{model_id}/tags", s.setLoggedModelTags).upTo(batch),
		do("DELETE", at+"/{model_id}/tags/{tag_key}", s.deleteLoggedModelTag),
		do("POST", at+"/{model_id}/params", s.logLoggedModelParams).upTo(batch),
	}
}

// loggedModel is a logged model as it is sent.
type loggedModel struct {
	Info loggedModelInfo `json:"info"`
	Data loggedModelData `json:"data"`
}

type loggedModelInfo struct {
	ModelID       driftline.LoggedModelID `json:"model_id"`
	ExperimentID  driftline.ExperimentID  `json:"experiment_id"`
	Name          string                  `json:"name"`
	Created       int64                   `json:"creation_timestamp_ms"`
	Updated       int64                   `json:"last_updated_timestamp_ms"`
	ArtifactURI   string                  `json:"artifact_uri"`
	Status        loggedModelStatus       `json:"status"`
	ModelType     string                  `json:"model_type,omitempty"`
	SourceRunID   driftline.RunID         `json:"source_run_id,omitempty"`
	StatusMessage string                  `json:"status_message,omitempty"`
	Tags          []pair                  `json:"tags,omitempty"`
	Registrations []loggedModelVersion    `json:"registrations,omitempty"`
}

type loggedModelVersion struct {
	Name    driftline.ModelName `json:"name"`
	Version versionNumber       `json:"version"`
}

type loggedModelData struct {
	Params  []pair        `json:"params,omitempty"`
	Metrics []modelMetric `json:"metrics,omitempty"`
}

// modelMetric is the last point of a metric of a logged model.
type modelMetric struct {
	metric
	ModelID       string          `json:"model_id"`
	RunID         driftline.RunID `json:"run_id"`
	DatasetName   string          `json:"dataset_name,omitempty"`
	DatasetDigest string          `json:"dataset_digest,omitempty"`
}

// loggedModelStatus is a status in MLflow's long words, or by number.
type loggedModelStatus driftline.LoggedModelStatus

const loggedModelPrefix = "LOGGED_MODEL_"

// UnmarshalJSON reads a name or a number.
func (v *loggedModelStatus) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	name, err := readEnum(data, 0, []string{"LOGGED_MODEL_STATUS_UNSPECIFIED", "LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"})
	if err != nil {
		return err
	}
	*v = loggedModelStatus(name[len(loggedModelPrefix):])
	return nil
}

// MarshalText writes the long word.
func (v loggedModelStatus) MarshalText() ([]byte, error) {
	return []byte(loggedModelPrefix + string(v)), nil
}

func (s *Service) loggedModelOf(m *driftline.LoggedModel) *loggedModel {
	out := &loggedModel{Info: loggedModelInfo{
		ModelID: m.ID, ExperimentID: m.ExperimentID, Name: m.Name, Created: millis(m.Created), Updated: millis(m.Updated),
		ArtifactURI: s.registry.LoggedModelURI(m), Status: loggedModelStatus(m.Status), ModelType: m.Type,
		SourceRunID: m.Run, StatusMessage: m.StatusMessage, Tags: pairsOf(m.Tags),
	}, Data: loggedModelData{Params: pairsOf(m.Params), Metrics: s.modelMetrics(m.ID)}}
	for _, r := range m.Registered {
		out.Info.Registrations = append(out.Info.Registrations, loggedModelVersion{r.Model, versionNumber(r.Version)})
	}
	return out
}

func (s *Service) modelMetrics(id driftline.LoggedModelID) []modelMetric {
	var metrics []modelMetric
	for _, m := range s.registry.LastModelMetrics(id) {
		metrics = append(metrics, modelMetric{metric: metricOf(m.Metric), ModelID: m.Model, RunID: m.Run, DatasetName: m.Dataset, DatasetDigest: m.Digest})
	}
	return metrics
}

type loggedModelAnswer struct {
	Model *loggedModel `json:"model"`
}

func (s *Service) answerLogged(m *driftline.LoggedModel, err error) (*loggedModelAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &loggedModelAnswer{s.loggedModelOf(m)}, nil
}

// Limits on the params and tags of logged models, which are those of runs.
var loggedModelParams = pairLimits{"Param", 250, 6000}

type createLoggedModelRequest struct {
	ExperimentID driftline.ExperimentID `json:"experiment_id" wire:"required"`
	Name         string                 `json:"name"`
	ModelType    string                 `json:"model_type"`
	SourceRunID  driftline.RunID        `json:"source_run_id"`
	Params       []pair                 `json:"params"`
	Tags         []pair                 `json:"tags"`

	// Of whoever brings a model from another server. MLflow's clients send neither.
	ModelID driftline.LoggedModelID `json:"model_id"`
	Created *integer                `json:"creation_timestamp_ms"`
}

func (s *Service) createLoggedModel(ctx context.Context, q *createLoggedModelRequest) (*loggedModelAnswer, error) {
	params, err := loggedModelParams.read(q.Params)
	if err != nil {
		return nil, err
	}
	tags, err := modelTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	created, err := madeAt("creation_timestamp_ms", q.Created)
	if err != nil {
		return nil, err
	}
	m, err := s.registry.CreateLoggedModel(driftline.LoggedModelSpec{
		ExperimentID: q.ExperimentID, Name: q.Name, Type: q.ModelType, Run: q.SourceRunID, Params: params, Tags: tags, By: cmp.Or(who(ctx), tags["mlflow.user"]),
		ID: q.ModelID, Created: created,
	})
	return s.answerLogged(m, err)
}

// ofLoggedModel is the part of an address that names a logged model.
type ofLoggedModel struct {
	ModelID string `json:"-" path:"model_id"`
}

func (q *ofLoggedModel) id() driftline.LoggedModelID { return driftline.LoggedModelID(q.ModelID) }

type getLoggedModelRequest struct {
	ofLoggedModel
	AllowDeleted bool `json:"allow_deleted"`
}

func (s *Service) getLoggedModel(_ context.Context, q *getLoggedModelRequest) (*loggedModelAnswer, error) {
	m, err := s.registry.LoggedModel(q.id())
	if err == nil && !m.Deleted.IsZero() && !q.AllowDeleted {
		err = driftline.Errorf(driftline.NotFound, "Logged model with ID '%s' not found.", clip(q.ModelID)).WithHint("it was deleted")
	}
	return s.answerLogged(m, err)
}

type finishLoggedModelRequest struct {
	ofLoggedModel
	Status loggedModelStatus `json:"status" wire:"required"`
}

func (s *Service) finishLoggedModel(_ context.Context, q *finishLoggedModelRequest) (*loggedModelAnswer, error) {
	m, err := s.registry.ChangeLoggedModel(q.id(), driftline.LoggedModelChange{Status: driftline.LoggedModelStatus(q.Status)})
	return s.answerLogged(m, err)
}

func (s *Service) deleteLoggedModel(ctx context.Context, q *ofLoggedModel) error {
	return s.registry.DeleteLoggedModel(q.id(), who(ctx), "")
}

type loggedModelTagsRequest struct {
	ofLoggedModel
	Tags []pair `json:"tags"`
}

func (s *Service) setLoggedModelTags(_ context.Context, q *loggedModelTagsRequest) (*loggedModelAnswer, error) {
	tags, err := modelTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	m, err := s.registry.ChangeLoggedModel(q.id(), driftline.LoggedModelChange{Tags: tags})
	return s.answerLogged(m, err)
}

type loggedModelTagRequest struct {
	ofLoggedModel
	TagKey string `json:"-" path:"tag_key"`
}

func (s *Service) deleteLoggedModelTag(_ context.Context, q *loggedModelTagRequest) error {
	_, err := s.registry.ChangeLoggedModel(q.id(), driftline.LoggedModelChange{RemoveTags: []string{q.TagKey}})
	return err
}

type loggedModelParamsRequest struct {
	ofLoggedModel
	Params []pair `json:"params"`
}

func (s *Service) logLoggedModelParams(_ context.Context, q *loggedModelParamsRequest) error {
	params, err := loggedModelParams.read(q.Params)
	if err != nil {
		return err
	}
	_, err = s.registry.ChangeLoggedModel(q.id(), driftline.LoggedModelChange{Params: params})
	return err
}

type searchLoggedModelsRequest struct {
	ExperimentIDs []string `json:"experiment_ids"`
	Filter        string   `json:"filter"`
	Datasets      []struct {
		Name   string `json:"dataset_name"`
		Digest string `json:"dataset_digest"`
	} `json:"datasets"`
	MaxResults *integer `json:"max_results"`
	OrderBy    []struct {
		Field     string `json:"field_name"`
		Ascending *bool  `json:"ascending"`
		Name      string `json:"dataset_name"`
		Digest    string `json:"dataset_digest"`
	} `json:"order_by"`
	PageToken string `json:"page_token"`
}

type loggedModelsAnswer struct {
	Models        []*loggedModel `json:"models,omitempty"`
	NextPageToken string         `json:"next_page_token,omitempty"`
}

// Limits on answers to searches of logged models.
const (
	standardLogged = 100
	mostLogged     = 1000
)

func (s *Service) searchLoggedModels(_ context.Context, q *searchLoggedModelsRequest) (*loggedModelsAnswer, error) {
	wanted, err := q.read()
	if err != nil {
		return nil, err
	}
	found, more, err := s.registry.SearchLoggedModels(wanted)
	if err != nil {
		return nil, err
	}
	answer := &loggedModelsAnswer{NextPageToken: nextToken(wanted.Search, more)}
	for i := range found {
		answer.Models = append(answer.Models, s.loggedModelOf(&found[i]))
	}
	return answer, nil
}

func (q *searchLoggedModelsRequest) read() (wanted registry.LoggedModelSearch, err error) {
	wanted.Filter = q.Filter
	if wanted.Limit, err = mostResults(q.MaxResults, standardLogged, mostLogged); err != nil {
		return wanted, err
	}
	if wanted.Offset, err = offsetOf(q.PageToken); err != nil {
		return wanted, err
	}
	for _, id := range q.ExperimentIDs {
		wanted.Experiments = append(wanted.Experiments, driftline.ExperimentID(id))
	}
	for _, d := range q.Datasets {
		if d.Name == "" {
			return wanted, missing("datasets.dataset_name")
		}
		wanted.Datasets = append(wanted.Datasets, registry.MetricDataset{Name: d.Name, Digest: d.Digest})
	}
	for _, o := range q.OrderBy {
		if o.Field == "" {
			return wanted, missing("order_by.field_name")
		}
		direction := " ASC"
		if o.Ascending != nil && !*o.Ascending {
			direction = " DESC"
		}
		wanted.Order = append(wanted.Order, registry.LoggedModelOrder{Clause: o.Field + direction, Dataset: registry.MetricDataset{Name: o.Name, Digest: o.Digest}})
	}
	return wanted, nil
}
