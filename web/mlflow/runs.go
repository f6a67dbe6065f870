package mlflow

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/registry"
)

func (s *Service) runEndpoints() []Endpoint {
	const at = "/mlflow/runs/"
	return []Endpoint{
		call("POST", at+"create", s.createRun),
		call("POST", at+"update", s.updateRun),
		call("GET", at+"get", s.getRun),
		call("POST", at+"search", s.searchRuns),
		do("POST", at+"delete", s.deleteRun),
		do("POST", at+"restore", s.restoreRun),
		{Method: "POST", Path: at + "log-metric", Body: small, Handle: handlePoints(s, parsePoint, s.logMetric), Asks: logMetricRequest{}},
		{Method: "POST", Path: at + "log-batch", Body: batch, Handle: handlePoints(s, parsePoints, s.logBatch), Asks: logBatchRequest{}},
		do("POST", at+"log-parameter", s.logParameter),
		do("POST", at+"set-tag", s.setTag),
		do("POST", at+"delete-tag", s.deleteTag),
		do("POST", at+"log-inputs", s.logInputs).upTo(large),
		do("POST", at+"outputs", s.logOutputs),
		do("POST", at+"log-model", s.logModel),
		{Method: "GET", Path: "/mlflow/metrics/get-history", Handle: s.getHistory, Asks: historyRequest{}},
	}
}

// run is a run as it is sent.
type run struct {
	Info    runInfo     `json:"info"`
	Data    runData     `json:"data"`
	Inputs  runInputs   `json:"inputs"`
	Outputs *runOutputs `json:"outputs,omitempty"`
}

type runInfo struct {
	RunID          driftline.RunID        `json:"run_id"`
	RunUUID        driftline.RunID        `json:"run_uuid"`
	RunName        string                 `json:"run_name"`
	ExperimentID   driftline.ExperimentID `json:"experiment_id"`
	UserID         string                 `json:"user_id,omitempty"`
	Status         driftline.RunStatus    `json:"status"`
	StartTime      int64                  `json:"start_time"`
	EndTime        int64                  `json:"end_time,omitempty"`
	ArtifactURI    string                 `json:"artifact_uri"`
	LifecycleStage string                 `json:"lifecycle_stage"`
}

type runData struct {
	Metrics []metric `json:"metrics,omitempty"`
	Params  []pair   `json:"params,omitempty"`
	Tags    []pair   `json:"tags,omitempty"`
}

// metric is a point of a metric as it is sent.
type metric struct {
	Key       string `json:"key"`
	Value     number `json:"value"`
	Timestamp int64  `json:"timestamp"`
	Step      int64  `json:"step"`
}

type runInputs struct {
	Datasets []datasetInput `json:"dataset_inputs,omitempty"`
	Models   []modelInput   `json:"model_inputs,omitempty"`
}

type datasetInput struct {
	Tags    []pair   `json:"tags,omitempty"`
	Dataset *dataset `json:"dataset"`
}

type dataset struct {
	Name       string `json:"name"`
	Digest     string `json:"digest"`
	SourceType string `json:"source_type"`
	Source     string `json:"source"`
	Schema     string `json:"schema,omitempty"`
	Profile    string `json:"profile,omitempty"`
}

type modelInput struct {
	ModelID string `json:"model_id"`
}

type runOutputs struct {
	Models []modelOutput `json:"model_outputs,omitempty"`
}

type modelOutput struct {
	ModelID string  `json:"model_id"`
	Step    integer `json:"step"`
}

func (s *Service) runOf(r *driftline.Run) *run {
	out := &run{Info: s.infoOf(r), Data: runData{Params: pairsOf(r.Params), Tags: tagsOf(r)}}
	for _, m := range r.Last {
		out.Data.Metrics = append(out.Data.Metrics, metricOf(m))
	}
	for _, d := range r.Datasets {
		out.Inputs.Datasets = append(out.Inputs.Datasets, datasetInput{Tags: pairsOf(d.Tags),
			Dataset: &dataset{d.Name, d.Digest, d.SourceType, d.Source, d.Schema, d.Profile}})
	}
	for _, id := range r.ModelInputs {
		out.Inputs.Models = append(out.Inputs.Models, modelInput{id})
	}
	for _, o := range r.ModelOutputs {
		if out.Outputs == nil {
			out.Outputs = &runOutputs{}
		}
		out.Outputs.Models = append(out.Outputs.Models, modelOutput{o.Model, integer(o.Step)})
	}
	return out
}

func (s *Service) infoOf(r *driftline.Run) runInfo {
	location := ""
	if e, err := s.registry.Experiment(r.ExperimentID); err == nil {
		location = e.ArtifactLocation
	}
	return runInfo{
		RunID: r.ID, RunUUID: r.ID, RunName: nameOf(r), ExperimentID: r.ExperimentID, UserID: r.User, Status: r.Status,
		StartTime: millis(r.Started), EndTime: millis(r.Ended), LifecycleStage: stageOf(r.Deleted),
		ArtifactURI: registry.ArtifactURI(registry.ArtifactRoot(r.ExperimentID, location), r.ID),
	}
}

// nameOf is the run's name, its id if it has none.
func nameOf(r *driftline.Run) string { return cmp.Or(r.Name, string(r.ID)) }

// tagsOf returns the run's tags, with the one that MLflow keeps the name in.
func tagsOf(r *driftline.Run) []pair {
	tags := maps.Clone(r.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[registry.RunNameTag] = nameOf(r)
	return pairsOf(tags)
}

func metricOf(m driftline.Metric) metric {
	return metric{Key: m.Key, Value: number(m.Value), Timestamp: m.Time.UnixMilli(), Step: m.Step}
}

type createRunRequest struct {
	ExperimentID driftline.ExperimentID `json:"experiment_id"`
	UserID       string                 `json:"user_id"`
	RunName      string                 `json:"run_name"`
	StartTime    *integer               `json:"start_time"`
	Tags         []pair                 `json:"tags"`
}

type runAnswer struct {
	Run *run `json:"run"`
}

func (s *Service) createRun(_ context.Context, q *createRunRequest) (*runAnswer, error) {
	tags, err := runTags.read(q.Tags)
	if err != nil {
		return nil, err
	}
	tagged := tags[registry.RunNameTag]
	if tagged != "" && q.RunName != "" && tagged != q.RunName {
		return nil, driftline.Errorf(driftline.Invalid, "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='%s', mlflow.runName='%s').",
			clip(q.RunName), clip(tagged))
	}
	delete(tags, registry.RunNameTag)
	spec := driftline.RunSpec{
		ID: newRunID(), ExperimentID: cmp.Or(q.ExperimentID, driftline.DefaultExperiment), User: q.UserID,
		Name: cmp.Or(q.RunName, tagged), Tags: tags,
	}
	if spec.Name == "" {
		spec.Name = runName()
	}
	if q.StartTime != nil {
		if spec.Started, err = timeOf("start_time", *q.StartTime); err != nil {
			return nil, err
		}
	}
	made, err := s.registry.CreateRun(spec)
	if err != nil {
		return nil, err
	}
	return &runAnswer{s.runOf(made)}, nil
}

// newRunID makes what MLflow's clients expect: 32 hexadecimal digits.
func newRunID() driftline.RunID {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return driftline.RunID(hex.EncodeToString(id[:]))
}

// lastMilli is the last millisecond of the year 9999, after which times have no text.
const lastMilli = 253402300799999

// timeOf reads milliseconds since 1970.
func timeOf(name string, at integer) (time.Time, error) {
	if at < 0 || at > lastMilli {
		return time.Time{}, driftline.Errorf(driftline.Invalid, "Invalid value %d for parameter '%s' supplied: it must be a nonnegative number of milliseconds since 1970, and before the year 10000", at, name)
	}
	return time.UnixMilli(int64(at)).UTC(), nil
}

// runStatus is a status by name or by number.
type runStatus driftline.RunStatus

// UnmarshalJSON reads a name or a number.
func (v *runStatus) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	names := make([]string, len(driftline.RunStatuses))
	for i, s := range driftline.RunStatuses {
		names[i] = string(s)
	}
	name, err := readEnum(data, 1, names)
	*v = runStatus(name)
	return err
}

type updateRunRequest struct {
	ofRun
	Status  runStatus `json:"status"`
	EndTime *integer  `json:"end_time"`
	RunName string    `json:"run_name"`
}

type runInfoAnswer struct {
	Info runInfo `json:"run_info"`
}

func (s *Service) updateRun(_ context.Context, q *updateRunRequest) (*runInfoAnswer, error) {
	change := driftline.RunChange{Status: driftline.RunStatus(q.Status), Name: q.RunName}
	if q.EndTime != nil && *q.EndTime != 0 {
		var err error
		if change.Ended, err = timeOf("end_time", *q.EndTime); err != nil {
			return nil, err
		}
	}
	changed, err := s.registry.ChangeRun(q.id(), change)
	if err != nil {
		return nil, err
	}
	return &runInfoAnswer{s.infoOf(changed)}, nil
}

func (s *Service) getRun(_ context.Context, q *ofRun) (*runAnswer, error) {
	found, err := s.registry.Run(q.id())
	if err != nil {
		return nil, err
	}
	return &runAnswer{s.runOf(found)}, nil
}

type searchRunsRequest struct {
	search
	ExperimentIDs []string `json:"experiment_ids"`
	RunViewType   viewType `json:"run_view_type"`
}

type runsAnswer struct {
	Runs          []*run `json:"runs,omitempty"`
	NextPageToken string `json:"next_page_token,omitempty"`
}

func (s *Service) searchRuns(_ context.Context, q *searchRunsRequest) (*runsAnswer, error) {
	wanted, err := q.read(q.RunViewType, standardResults, manyResults)
	if err != nil {
		return nil, err
	}
	ids := make([]driftline.ExperimentID, len(q.ExperimentIDs))
	for i, id := range q.ExperimentIDs {
		ids[i] = driftline.ExperimentID(id)
	}
	found, total, err := s.registry.SearchRuns(ids, wanted)
	if err != nil {
		return nil, err
	}
	answer := &runsAnswer{NextPageToken: nextToken(wanted, total > wanted.Offset+len(found))}
	for i := range found {
		answer.Runs = append(answer.Runs, s.runOf(&found[i]))
	}
	return answer, nil
}

func (s *Service) deleteRun(_ context.Context, q *ofRun) error {
	_, err := s.registry.DeleteRun(q.id())
	return err
}

func (s *Service) restoreRun(_ context.Context, q *ofRun) error {
	_, err := s.registry.RestoreRun(q.id())
	return err
}

// metricRequest is a point of a metric as it is logged.
type metricRequest struct {
	Key           string   `json:"key" wire:"required"`
	Value         *number  `json:"value" wire:"required"`
	Timestamp     *integer `json:"timestamp" wire:"required"`
	Step          integer  `json:"step"`
	ModelID       string   `json:"model_id"`
	DatasetName   string   `json:"dataset_name"`
	DatasetDigest string   `json:"dataset_digest"`
}

func (m *metricRequest) read(place string) (driftline.Metric, error) {
	for _, field := range []struct {
		name  string
		there bool
	}{{"key", m.Key != ""}, {"value", m.Value != nil}, {"timestamp", m.Timestamp != nil}} {
		if !field.there {
			return driftline.Metric{}, missing(place + field.name)
		}
	}
	if err := checkName("Metric name", m.Key, runParams.key); err != nil {
		return driftline.Metric{}, err
	}
	at, err := timeOf(place+"timestamp", *m.Timestamp)
	return driftline.Metric{Key: m.Key, Value: driftline.Number(*m.Value), Step: int64(m.Step), Time: at,
		Model: m.ModelID, Dataset: m.DatasetName, Digest: m.DatasetDigest}, err
}

type logMetricRequest struct {
	ofRun
	metricRequest
}

func (s *Service) logMetric(_ context.Context, q *logMetricRequest) error {
	point, err := q.read("")
	if err != nil {
		return err
	}
	return s.log(q.id(), driftline.RunLog{Metrics: []driftline.Metric{point}})
}

// log logs to a run that is not deleted, whether it has ended or not.
func (s *Service) log(id driftline.RunID, entry driftline.RunLog) error {
	if name, ok := entry.Tags[registry.RunNameTag]; ok {
		entry.Name = name
		delete(entry.Tags, registry.RunNameTag)
	}
	err := s.registry.LogAnyRun(id, entry)
	if driftline.CodeOf(err) == driftline.Conflict {
		return s.changedParam(id, entry.Params, err)
	}
	return err
}

// changedParam says in the words that clients look for which param was to change.
func (s *Service) changedParam(id driftline.RunID, params map[string]string, cause error) error {
	found, err := s.registry.Run(id)
	if err != nil {
		return cause
	}
	for _, p := range pairsOf(params) {
		if old, ok := found.Params[p.Key]; ok && old != p.Value {
			return driftline.Errorf(driftline.Invalid, "Changing param values is not allowed. Param with key='%s' was already logged with value='%s' for run ID='%s'. Attempted logging new value '%s'.",
				p.Key, clip(old), id, clip(p.Value)).WithRef(driftline.RunRef(id))
		}
	}
	return cause
}

type logBatchRequest struct {
	ofRun
	Metrics []metricRequest `json:"metrics"`
	Params  []pair          `json:"params"`
	Tags    []pair          `json:"tags"`
}

func (s *Service) logBatch(_ context.Context, q *logBatchRequest) error {
	if err := q.checkSizes(); err != nil {
		return err
	}
	entry := driftline.RunLog{Metrics: make([]driftline.Metric, len(q.Metrics))}
	var err error
	for i := range q.Metrics {
		if entry.Metrics[i], err = q.Metrics[i].read(fmt.Sprintf("metrics[%d].", i)); err != nil {
			return err
		}
	}
	if entry.Params, err = runParams.read(q.Params); err != nil {
		return err
	}
	if len(entry.Params) < len(q.Params) {
		return driftline.Errorf(driftline.Invalid, "Duplicate parameter keys have been submitted. Please ensure the request contains only one param value per param key.")
	}
	if entry.Tags, err = runTags.read(q.Tags); err != nil {
		return err
	}
	return s.log(q.id(), entry)
}

func (q *logBatchRequest) checkSizes() error {
	for _, part := range []struct {
		what    string
		n, most int
	}{
		{"metrics", len(q.Metrics), mostMetrics}, {"params", len(q.Params), mostPairs}, {"tags", len(q.Tags), mostPairs},
		{"metrics, params, and tags", len(q.Metrics) + len(q.Params) + len(q.Tags), mostEntities},
	} {
		if part.n > part.most {
			return driftline.Errorf(driftline.Invalid, "A batch logging request can contain at most %d %s. Got %d %s. Please split up %s across multiple requests and try again.",
				part.most, part.what, part.n, part.what, part.what)
		}
	}
	return nil
}

type pairRequest struct {
	ofRun
	Key   string `json:"key" wire:"required"`
	Value string `json:"value"`
}

func (s *Service) logParameter(_ context.Context, q *pairRequest) error {
	params, err := runParams.read([]pair{{q.Key, q.Value}})
	if err != nil {
		return err
	}
	return s.log(q.id(), driftline.RunLog{Params: params})
}

func (s *Service) setTag(_ context.Context, q *pairRequest) error {
	tags, err := runTags.read([]pair{{q.Key, q.Value}})
	if err != nil {
		return err
	}
	return s.log(q.id(), driftline.RunLog{Tags: tags})
}

func (s *Service) deleteTag(_ context.Context, q *pairRequest) error {
	if q.Key == registry.RunNameTag {
		return driftline.Errorf(driftline.Invalid, "tag '%s' is the run's name and cannot be deleted", q.Key).WithHint("set it to another name")
	}
	_, err := s.registry.UntagRun(q.id(), q.Key)
	return err
}

type logInputsRequest struct {
	ofRun
	Datasets []datasetInput `json:"datasets"`
	Models   []modelInput   `json:"models"`
}

func (s *Service) logInputs(_ context.Context, q *logInputsRequest) error {
	if len(q.Datasets) > mostDatasets {
		return driftline.Errorf(driftline.Invalid, "A log-inputs request can contain at most %d datasets. Got %d.", mostDatasets, len(q.Datasets))
	}
	var entry driftline.RunLog
	for i, d := range q.Datasets {
		read, err := d.read(i)
		if err != nil {
			return err
		}
		entry.Datasets = append(entry.Datasets, read)
	}
	for _, m := range q.Models {
		entry.ModelInputs = append(entry.ModelInputs, m.ModelID)
	}
	return s.log(q.id(), entry)
}

// Limits on what a request says of a dataset, in characters.
const (
	mostDatasetName    = 500
	mostDatasetDigest  = 36
	mostDatasetSource  = 65_535
	mostDatasetSchema  = 1_048_575
	mostDatasetProfile = 16_777_215
)

func (d *datasetInput) read(i int) (driftline.DatasetInput, error) {
	if d.Dataset == nil {
		return driftline.DatasetInput{}, missing(fmt.Sprintf("datasets[%d].dataset", i))
	}
	tags, err := inputTags.read(d.Tags)
	if err != nil {
		return driftline.DatasetInput{}, err
	}
	of := d.Dataset
	for _, field := range []struct {
		name, text string
		most       int
		required   bool
	}{
		{"name", of.Name, mostDatasetName, true}, {"digest", of.Digest, mostDatasetDigest, true},
		{"source_type", of.SourceType, mostDatasetName, true}, {"source", of.Source, mostDatasetSource, true},
		{"schema", of.Schema, mostDatasetSchema, false}, {"profile", of.Profile, mostDatasetProfile, false},
	} {
		place := fmt.Sprintf("datasets[%d].dataset.%s", i, field.name)
		if field.required && field.text == "" {
			return driftline.DatasetInput{}, missing(place)
		}
		if err := checkLength(place, field.text, field.most); err != nil {
			return driftline.DatasetInput{}, err
		}
	}
	return driftline.DatasetInput{Name: of.Name, Digest: of.Digest, SourceType: of.SourceType, Source: of.Source,
		Schema: of.Schema, Profile: of.Profile, Tags: tags}, nil
}

type logOutputsRequest struct {
	ofRun
	Models []modelOutput `json:"models"`
}

func (s *Service) logOutputs(_ context.Context, q *logOutputsRequest) error {
	var entry driftline.RunLog
	for _, m := range q.Models {
		entry.ModelOutputs = append(entry.ModelOutputs, driftline.ModelOutput{Model: m.ModelID, Step: int64(m.Step)})
	}
	return s.log(q.id(), entry)
}

type logModelRequest struct {
	ofRun
	ModelJSON string `json:"model_json" wire:"required"`
}

// modelHistoryTag is where clients of MLflow 2 find the models of a run.
const modelHistoryTag = "mlflow.log-model.history"

// logModel appends to the tag that lists the models of a run.
func (s *Service) logModel(_ context.Context, q *logModelRequest) error {
	var model map[string]json.RawMessage
	if err := json.Unmarshal([]byte(q.ModelJSON), &model); err != nil {
		return driftline.Errorf(driftline.Invalid, "Malformed model info. \n %s \n is not a valid JSON.", clip(q.ModelJSON))
	}
	for _, field := range []string{"artifact_path", "flavors", "utc_time_created", "run_id"} {
		if _, ok := model[field]; !ok {
			return driftline.Errorf(driftline.Invalid, "Model json is missing mandatory fields: {'%s'}", field)
		}
	}
	found, err := s.registry.Run(q.id())
	if err != nil {
		return err
	}
	var history []map[string]json.RawMessage
	if before, ok := found.Tags[modelHistoryTag]; ok && json.Unmarshal([]byte(before), &history) != nil {
		return driftline.Errorf(driftline.FailedPrecondition, "tag '%s' of run %s holds no list of models", modelHistoryTag, q.id())
	}
	text, err := json.Marshal(append(history, historyEntry(model)))
	if err != nil {
		return err
	}
	return s.log(q.id(), driftline.RunLog{Tags: map[string]string{modelHistoryTag: string(text)}})
}

// historyEntry is the part of a model's description that the tag keeps: where it is and
// what can load it, without the settings.
func historyEntry(model map[string]json.RawMessage) map[string]json.RawMessage {
	entry := map[string]json.RawMessage{}
	for _, field := range []string{"run_id", "utc_time_created", "artifact_path", "model_uuid"} {
		if value, ok := model[field]; ok {
			entry[field] = value
		}
	}
	flavors := map[string]json.RawMessage{}
	if json.Unmarshal(model["flavors"], &flavors) != nil {
		return entry
	}
	for name, flavor := range flavors {
		var settings map[string]json.RawMessage
		if json.Unmarshal(flavor, &settings) != nil || settings == nil {
			continue
		}
		delete(settings, "config")
		if text, err := json.Marshal(settings); err == nil {
			flavors[name] = text
		}
	}
	if text, err := json.Marshal(flavors); err == nil {
		entry["flavors"] = text
	}
	return entry
}

// mostHistory is the most points of a page of a metric's history.
const mostHistory = 25_000

type historyRequest struct {
	ofRun
	MetricKey  string   `json:"metric_key" wire:"required"`
	MaxResults *integer `json:"max_results"`
	PageToken  string   `json:"page_token"`
}
