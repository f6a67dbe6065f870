package mlflow

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Service) experimentEndpoints() []Endpoint {
	const at = "/mlflow/experiments/"
	return []Endpoint{
		call("POST", at+"create", s.createExperiment),
		call("GET", at+"get", s.getExperiment),
		call("GET", at+"get-by-name", s.getExperimentByName),
		call("POST", at+"search", s.searchExperiments),
		call("GET", at+"search", s.searchExperiments),
		do("POST", at+"delete", s.deleteExperiment),
		do("POST", at+"restore", s.restoreExperiment),
		do("POST", at+"update", s.updateExperiment),
		do("POST", at+"set-experiment-tag", s.setExperimentTag),
		do("POST", at+"delete-experiment-tag", s.deleteExperimentTag),
	}
}

// experiment is an experiment as it is sent.
type experiment struct {
	ID               driftline.ExperimentID   `json:"experiment_id"`
	Name             driftline.ExperimentName `json:"name"`
	ArtifactLocation string                   `json:"artifact_location"`
	LifecycleStage   string                   `json:"lifecycle_stage"`
	LastUpdateTime   int64                    `json:"last_update_time"`
	CreationTime     int64                    `json:"creation_time"`
	Tags             []pair                   `json:"tags,omitempty"`
}

func experimentOf(e *driftline.Experiment) *experiment {
	return &experiment{
		ID: e.ID, Name: e.Name, ArtifactLocation: registry.ArtifactRoot(e.ID, e.ArtifactLocation), LifecycleStage: stageOf(e.Deleted),
		LastUpdateTime: millis(e.Updated), CreationTime: millis(e.Created), Tags: pairsOf(e.Tags),
	}
}

func stageOf(deleted bool) string {
	if deleted {
		return "deleted"
	}
	return "active"
}

// millis is a time as milliseconds since 1970, and 0 where there is none.
func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// pairsOf returns pairs by key.
func pairsOf(values map[string]string) []pair {
	pairs := make([]pair, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, pair{Key: key, Value: values[key]})
	}
	return pairs
}

type createExperimentRequest struct {
	Name             driftline.ExperimentName `json:"name" wire:"required"`
	ArtifactLocation string                   `json:"artifact_location"`
	Tags             []pair                   `json:"tags"`
}

type experimentIDAnswer struct {
	ID driftline.ExperimentID `json:"experiment_id"`
}

func (s *Service) createExperiment(_ context.Context, q *createExperimentRequest) (*experimentIDAnswer, error) {
	tags, err := experimentTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	e, err := s.registry.CreateExperiment(driftline.ExperimentSpec{Name: q.Name, ArtifactLocation: q.ArtifactLocation, Tags: tags})
	if err != nil {
		return nil, err
	}
	return &experimentIDAnswer{ID: e.ID}, nil
}

// ofExperiment is the part of a request that names an experiment.
type ofExperiment struct {
	ID driftline.ExperimentID `json:"experiment_id" wire:"required"`
}

type experimentAnswer struct {
	Experiment *experiment `json:"experiment"`
}

func (s *Service) getExperiment(_ context.Context, q *ofExperiment) (*experimentAnswer, error) {
	e, err := s.registry.Experiment(q.ID)
	if err != nil {
		return nil, err
	}
	return &experimentAnswer{experimentOf(e)}, nil
}

type experimentNameRequest struct {
	Name driftline.ExperimentName `json:"experiment_name" wire:"required"`
}

func (s *Service) getExperimentByName(_ context.Context, q *experimentNameRequest) (*experimentAnswer, error) {
	e, err := s.registry.ExperimentNamed(q.Name)
	if err != nil {
		return nil, err
	}
	return &experimentAnswer{experimentOf(e)}, nil
}

// search is the part of a request that searches.
type search struct {
	Filter     string   `json:"filter"`
	MaxResults *integer `json:"max_results"`
	OrderBy    []string `json:"order_by"`
	PageToken  string   `json:"page_token"`
}

// read returns what the registry is asked for.
func (q *search) read(view viewType, standard, most int) (registry.Search, error) {
	limit, err := mostResults(q.MaxResults, standard, most)
	if err != nil {
		return registry.Search{}, err
	}
	offset, err := offsetOf(q.PageToken)
	if err != nil {
		return registry.Search{}, err
	}
	return registry.Search{Filter: q.Filter, OrderBy: q.OrderBy, Stage: view.stage(), Offset: offset, Limit: limit}, nil
}

func (v viewType) stage() registry.Stage {
	switch v {
	case deletedOnly:
		return registry.DeletedStage
	case allStages:
		return registry.EveryStage
	}
	return registry.ActiveStage
}

// Limits on answers to searches of experiments and runs.
const (
	standardResults = 1000
	manyResults     = 50_000
)

type searchExperimentsRequest struct {
	search
	ViewType viewType `json:"view_type"`
}

type experimentsAnswer struct {
	Experiments   []*experiment `json:"experiments,omitempty"`
	NextPageToken string        `json:"next_page_token,omitempty"`
}

func (s *Service) searchExperiments(_ context.Context, q *searchExperimentsRequest) (*experimentsAnswer, error) {
	wanted, err := q.read(q.ViewType, standardResults, manyResults)
	if err != nil {
		return nil, err
	}
	found, more, err := s.registry.SearchExperiments(wanted)
	if err != nil {
		return nil, err
	}
	answer := &experimentsAnswer{NextPageToken: nextToken(wanted, more)}
	for i := range found {
		answer.Experiments = append(answer.Experiments, experimentOf(&found[i]))
	}
	return answer, nil
}

func (s *Service) deleteExperiment(_ context.Context, q *ofExperiment) error {
	_, err := s.registry.DeleteExperiment(q.ID)
	return err
}

func (s *Service) restoreExperiment(_ context.Context, q *ofExperiment) error {
	_, err := s.registry.RestoreExperiment(q.ID)
	return err
}

type updateExperimentRequest struct {
	ofExperiment
	NewName driftline.ExperimentName `json:"new_name" wire:"required"`
}

func (s *Service) updateExperiment(_ context.Context, q *updateExperimentRequest) error {
	_, err := s.registry.RenameExperiment(q.ID, q.NewName)
	return err
}

type experimentTagRequest struct {
	ofExperiment
	Key   string `json:"key" wire:"required"`
	Value string `json:"value"`
}

func (s *Service) setExperimentTag(_ context.Context, q *experimentTagRequest) error {
	tags, err := experimentTags.read([]pair{{q.Key, q.Value}})
	if err != nil {
		return err
	}
	_, err = s.registry.TagExperiment(q.ID, tags)
	return err
}

func (s *Service) deleteExperimentTag(_ context.Context, q *experimentTagRequest) error {
	_, err := s.registry.UntagExperiment(q.ID, q.Key)
	return err
}
