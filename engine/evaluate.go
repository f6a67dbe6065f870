package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/evaluation"
	"github.com/driftline/driftline/registry"
	"github.com/driftline/driftline/storage/kv"
)

// What evaluations found is in kv, beside the ledger, which keeps outcome and evidence:
//
//	'V' ∥ line that made the model (uint64) ∥ −number (int64)  →  JSON of a driftline.Evaluation
func evaluationKey(place registry.EvaluationPlace) []byte {
	return kv.AppendInt64(evaluationsOf(place.Model), -int64(place.Number))
}

func evaluationsOf(model uint64) []byte { return kv.AppendUint64([]byte{kv.Evaluations}, model) }

// mostEvaluations bounds one listing.
const mostEvaluations = 1000

// noChampion is what a request says that wants a candidate looked at alone.
const noChampion = "none"

// EvaluateCandidate holds a version against the model that serves, by the gate of the model's
// policy.
func (e *Engine) EvaluateCandidate(ctx context.Context, model driftline.ModelName, version int) (*driftline.Evaluation, error) {
	return e.Evaluate(ctx, model, strconv.Itoa(version), driftline.EvaluationRequest{})
}

// Evaluate measures a version on a frozen dataset, beside the champion, and keeps what it
// found: in the ledger with its evidence, and as the check "evaluation" of the version. What
// cannot be evaluated is an error, of which nothing is kept.
func (e *Engine) Evaluate(ctx context.Context, model driftline.ModelName, selector string, req driftline.EvaluationRequest) (*driftline.Evaluation, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	candidate, err := e.registry.ModelVersion(model, selector)
	if err != nil {
		return nil, err
	}
	v := &evaluating{engine: e, request: req, candidate: candidate}
	if err := v.prepare(); err != nil {
		return nil, err
	}
	found, err := v.evaluate(ctx)
	if err != nil {
		return nil, driftline.Errorf(driftline.CodeOf(err), "%s cannot be evaluated: %w", candidate.Ref(), err).WithRef(candidate.Ref())
	}
	return found, v.keep(found)
}

// evaluating is an evaluation in the making.
type evaluating struct {
	engine    *Engine
	request   driftline.EvaluationRequest
	gate      driftline.EvaluationGate
	policy    int
	candidate *driftline.ModelVersion
	champion  *driftline.ModelVersion // nil: there is none

	inputs []driftline.Ref
	used   [2]*driftline.PredictionsUsed // of candidate and champion
}

// prepare finds the gate and the champion.
func (v *evaluating) prepare() (err error) {
	if err := v.findGate(); err != nil {
		return err
	}
	if v.gate.Dataset == (driftline.Ref{}) {
		return driftline.Errorf(driftline.FailedPrecondition, "the gate of model %q names no dataset", v.candidate.Model).
			WithHint("name the rows that candidates are measured on: dataset/late_departure_test")
	}
	switch v.request.Champion {
	case noChampion:
	case "":
		v.champion, err = v.serving()
	default:
		v.champion, err = v.engine.registry.ModelVersion(v.candidate.Model, v.request.Champion)
	}
	return err
}

// findGate takes the gate of the request, or that of the model's policy.
func (v *evaluating) findGate() error {
	if v.request.Gate != nil {
		v.gate = *v.request.Gate
		return v.gate.Check()
	}
	policy, err := v.engine.registry.Policy(v.candidate.Model)
	if err != nil && driftline.CodeOf(err) != driftline.NotFound {
		return err
	}
	if err != nil || policy.Evaluation.Dataset == (driftline.Ref{}) {
		return driftline.Errorf(driftline.FailedPrecondition, "model %q has no evaluation gate", v.candidate.Model).WithRef(v.candidate.Ref()).
			WithHint("apply a policy with an evaluation, or give the gate with the request")
	}
	v.gate, v.policy = policy.Evaluation, policy.Version
	return nil
}

// serving is the version that serves, nil if none does yet.
func (v *evaluating) serving() (*driftline.ModelVersion, error) {
	number, err := v.engine.registry.Champion(v.candidate.Model)
	if driftline.CodeOf(err) == driftline.FailedPrecondition {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v.engine.registry.ModelVersion(v.candidate.Model, strconv.Itoa(number))
}

func (v *evaluating) evaluate(ctx context.Context) (*driftline.Evaluation, error) {
	rows, err := v.readDataset(ctx)
	if err != nil {
		return nil, err
	}
	in := &evaluation.Input{
		Model: v.candidate.Model, Dataset: rows.dataset.Ref(), DataHash: rows.dataset.ContentHash,
		Columns: rows.fields, Labels: rows.labels, Groups: rows.groups, Segments: rows.segments,
	}
	if rows.keyed() {
		in.Rows = rows.hashes
	}
	v.inputs = []driftline.Ref{v.candidate.Ref(), rows.dataset.Ref()}
	if in.Candidate, err = v.candidateSide(ctx); err != nil {
		return nil, err
	}
	if v.champion != nil {
		v.inputs = append(v.inputs, v.champion.Ref())
		in.Champion = &evaluation.Side{Version: v.champion.Version, SHA256: v.champion.Artifact.SHA256, Registered: v.champion.Artifact.SHA256}
	}
	if in.Champion == nil || in.Champion.SHA256 == "" || in.Champion.SHA256 != in.Candidate.SHA256 {
		if err := v.fill(ctx, rows, in); err != nil {
			return nil, err
		}
	}
	found, err := evaluation.Evaluate(v.gate, in, v.engine.now())
	if err != nil {
		return nil, err
	}
	found.Policy, found.By = v.policy, v.request.By
	found.Predictions, found.ChampionPredictions = v.used[0], v.used[1]
	return found, nil
}

// fill adds what models that differ are measured by.
func (v *evaluating) fill(ctx context.Context, rows *evaluatedRows, in *evaluation.Input) (err error) {
	if err := v.addPredictions(ctx, rows, &in.Candidate, v.candidate, v.request.Predictions, 0); err != nil {
		return err
	}
	if v.champion != nil {
		if in.Champion.Signature, err = v.signature(ctx, v.champion); err != nil {
			return err
		}
		if err := v.addPredictions(ctx, rows, in.Champion, v.champion, v.request.ChampionPredictions, 1); err != nil {
			return err
		}
	}
	if in.Trained, err = v.trainedOn(ctx, rows); err != nil {
		return err
	}
	return v.timeAnswers(ctx, rows, in)
}

// candidateSide reads the candidate's files: what is measured is what is there, and not what was once
// said of it.
func (v *evaluating) candidateSide(ctx context.Context) (side evaluation.Side, err error) {
	side = evaluation.Side{Version: v.candidate.Version, Registered: v.candidate.Artifact.SHA256}
	side.SHA256, err = v.engine.hashOfFiles(ctx, v.candidate)
	if wrong := (*driftline.Error)(nil); errors.As(err, &wrong) && wrong.Code == driftline.DataLoss {
		side.Damage = wrong.Message
		return side, nil // there is no signature to read either
	}
	if err != nil {
		return side, err
	}
	side.Signature, err = v.signature(ctx, v.candidate)
	return side, err
}

// hashOfFiles reads the files of a version to their end; "" if they are kept elsewhere.
func (e *Engine) hashOfFiles(ctx context.Context, version *driftline.ModelVersion) (string, error) {
	if version.Status == driftline.ModelExternal {
		return "", nil
	}
	var files []driftline.Artifact
	for _, f := range registry.VersionFiles(version) {
		content, err := e.openContent(ctx, f)
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, contextReader{ctx, content})
		if err := errors.Join(err, content.Close()); err != nil {
			return "", artifactError(f, err)
		}
		f.SHA256 = hex.EncodeToString(sum.Sum(nil))
		files = append(files, f)
	}
	switch {
	case len(files) == 0:
		return "", nil
	case len(version.Files) == 0:
		return files[0].SHA256, nil
	}
	return registry.TreeHash(files), nil
}

// signature is what a version's files say that it takes and gives, nil if they do not, or in a way
// that columns cannot be compared with.
func (v *evaluating) signature(ctx context.Context, version *driftline.ModelVersion) (*evaluation.Signature, error) {
	found, err := v.engine.modelSignature(ctx, version)
	if driftline.CodeOf(err) == driftline.Invalid {
		return nil, nil // the check of signatures at registration has said so
	}
	if err != nil || found == nil || found.Tensors {
		return nil, err
	}
	return &evaluation.Signature{Inputs: signatureFields(found.Inputs), Outputs: signatureFields(found.Outputs)}, nil
}

var mlflowTypes = map[string]driftline.Type{
	"double": driftline.Float64, "float": driftline.Float32, "long": driftline.Int64, "integer": driftline.Int32,
	"boolean": driftline.Bool, "string": driftline.String, "binary": driftline.Bytes, "datetime": driftline.Timestamp,
}

// signatureFields are the columns that must be there, with types that we have.
func signatureFields(columns []driftline.SignatureColumn) (fields []driftline.Field) {
	for _, c := range columns {
		if kind, ok := mlflowTypes[c.Type]; ok && !c.Optional && c.Name != "" {
			fields = append(fields, driftline.Field{Name: c.Name, Type: kind})
		}
	}
	return fields
}

// keep records an evaluation in one transaction: its line, the version's check, and what was found.
func (v *evaluating) keep(found *driftline.Evaluation) error {
	tx := v.engine.registry.Begin()
	defer tx.Discard()
	place, err := tx.AddModelEvaluation(found, evaluation.Reason(found), v.inputs)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(found)
	if err != nil {
		return err
	}
	tx.Batch().Set(evaluationKey(place), encoded)
	return tx.Commit()
}

// Evaluations returns evaluations of a model's versions, the newest first: limit at most, of those
// before a number if it is not 0, and of one version if that is not 0.
func (e *Engine) Evaluations(name driftline.ModelName, version, before, limit int) ([]driftline.Evaluation, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if limit < 1 || limit > mostEvaluations {
		return nil, driftline.Errorf(driftline.Invalid, "limit is %d, want 1 to %d", limit, mostEvaluations)
	}
	model, err := e.registry.ModelLine(name)
	if err != nil {
		return nil, err
	}
	if before == 0 {
		before = math.MaxInt32
	}
	found := []driftline.Evaluation{}
	for pair, err := range e.kv.ScanFrom(evaluationKey(registry.EvaluationPlace{Model: model, Number: before - 1}), evaluationsOf(model)) {
		if err != nil {
			return nil, err
		}
		if len(found) == limit {
			break
		}
		one, err := decodeEvaluation(pair.Value)
		if err != nil {
			return nil, err
		}
		if version == 0 || one.Candidate == version {
			found = append(found, *one)
		}
	}
	return found, nil
}

// Evaluation returns one evaluation, with what each check found.
func (e *Engine) Evaluation(id driftline.EvaluationID) (*driftline.Evaluation, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	place, err := e.registry.EvaluationPlace(id)
	if err != nil {
		return nil, err
	}
	raw, err := e.kv.Get(evaluationKey(place))
	if err != nil {
		return nil, err
	}
	return decodeEvaluation(raw)
}

func decodeEvaluation(raw []byte) (*driftline.Evaluation, error) {
	found := &driftline.Evaluation{}
	if err := json.Unmarshal(raw, found); err != nil {
		return nil, driftline.Errorf(driftline.DataLoss, "the record of an evaluation is damaged").
			WithHint("restore the data folder from a backup")
	}
	return found, nil
}
