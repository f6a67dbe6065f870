package web

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/report"
)

type modelList struct {
	Models     []driftline.ModelVersion    `json:"models"`     // the newest version of each model that has one
	Registered []driftline.RegisteredModel `json:"registered"` // every model
}

func (s *Server) models(*http.Request) (modelList, error) {
	answer := modelList{Models: []driftline.ModelVersion{}, Registered: s.engine.Registry().Models()}
	for _, m := range answer.Registered {
		if m.Newest != nil {
			answer.Models = append(answer.Models, *m.Newest)
		}
	}
	return answer, nil
}

func (s *Server) createModel(r *http.Request) (*driftline.RegisteredModel, error) {
	spec, err := readJSON[driftline.RegisteredModelSpec](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().CreateModel(spec)
}

type modelInfo struct {
	Model    *driftline.RegisteredModel `json:"model"`
	Versions []driftline.ModelVersion   `json:"versions"`
	Aliases  map[driftline.Alias]int    `json:"aliases"`
}

func modelOf(r *http.Request) driftline.ModelName { return driftline.ModelName(r.PathValue("model")) }

func aliasOf(r *http.Request) driftline.Alias { return driftline.Alias(r.PathValue("alias")) }

func (s *Server) model(r *http.Request) (modelInfo, error) {
	model, err := s.engine.Registry().Model(modelOf(r))
	if err != nil {
		return modelInfo{}, err
	}
	versions, err := s.engine.Registry().ModelVersions(modelOf(r))
	if err != nil {
		return modelInfo{}, err
	}
	return modelInfo{Model: model, Versions: list(versions), Aliases: aliasesOf(versions)}, nil
}

func aliasesOf(versions []driftline.ModelVersion) map[driftline.Alias]int {
	aliases := map[driftline.Alias]int{}
	for _, v := range versions {
		for _, a := range v.Aliases {
			aliases[a] = v.Version
		}
	}
	return aliases
}

func (s *Server) changeModel(r *http.Request) (*driftline.RegisteredModel, error) {
	change, err := readJSON[driftline.ModelChange](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().ChangeModel(modelOf(r), change)
}

func (s *Server) renameModel(r *http.Request) (*driftline.RegisteredModel, error) {
	request, err := readJSON[struct {
		To driftline.ModelName `json:"to"`
		By string              `json:"by,omitempty"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().RenameModel(modelOf(r), request.To, request.By)
}

func (s *Server) deleteModel(r *http.Request) (struct{}, error) {
	query := r.URL.Query()
	return struct{}{}, s.engine.Registry().DeleteModel(modelOf(r), query.Get("by"), query.Get("reason"))
}

// modelPast is what happened to a model's aliases and stages.
type modelPast struct {
	Aliases []driftline.AliasChange `json:"aliases"`
	Stages  []driftline.StageChange `json:"stages"`
}

// modelHistory answers with all moves, or, for an alias and a time, with the one that was
// in force then.
func (s *Server) modelHistory(r *http.Request) (past modelPast, err error) {
	reg, query := s.engine.Registry(), r.URL.Query()
	past = modelPast{Aliases: []driftline.AliasChange{}, Stages: []driftline.StageChange{}}
	alias := driftline.Alias(query.Get("alias"))
	if at := query.Get("at"); at != "" {
		past.Aliases, err = s.aliasesAt(modelOf(r), alias, at)
		return past, err
	}
	if past.Aliases, err = reg.AliasHistory(modelOf(r), alias); err != nil || alias != "" {
		return past, err
	}
	past.Stages, err = reg.StageHistory(modelOf(r))
	return past, err
}

// aliasesAt are the moves that were in force at a time, of one alias or of all.
func (s *Server) aliasesAt(model driftline.ModelName, alias driftline.Alias, text string) ([]driftline.AliasChange, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "at %q is not a time", clip(text)).WithHint("write 2026-03-01T12:00:00Z")
	}
	if alias != "" {
		change, err := s.engine.Registry().AliasAt(model, alias, at)
		return []driftline.AliasChange{change}, err
	}
	moves, err := s.engine.Registry().AliasHistory(model, "")
	inForce := []driftline.AliasChange{}
	for _, m := range moves {
		if m.To != 0 && !m.Time.After(at) && (m.Until.IsZero() || m.Until.After(at)) {
			inForce = append(inForce, m)
		}
	}
	return inForce, err
}

func (s *Server) setModelGate(r *http.Request) (*driftline.RegisteredModel, error) {
	request, err := readJSON[struct {
		driftline.ModelGate
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().SetModelGate(modelOf(r), request.ModelGate, request.By, request.Reason)
}

func (s *Server) registerModel(r *http.Request) (*driftline.ModelVersion, error) {
	spec, err := readJSON[driftline.ModelSpec](r)
	if err != nil {
		return nil, err
	}
	if spec.Model != "" && spec.Model != modelOf(r) {
		return nil, unfit("field \"model\" is %q, but the address says %q", clip(string(spec.Model)), clip(string(modelOf(r))))
	}
	spec.Model = modelOf(r)
	return s.engine.RegisterModel(r.Context(), spec, true)
}

func (s *Server) modelCard(r *http.Request) (*driftline.ModelCard, error) {
	return s.engine.ModelCard(r.Context(), modelOf(r), r.PathValue("version"))
}

func (s *Server) getModelCardText(w http.ResponseWriter, r *http.Request) error {
	card, err := s.modelCard(r)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := report.ModelCardMarkdown(&text, card); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // the peer may be gone; there is nobody left to tell
	return nil
}

// getBundle sends a version as a file that another server can import.
func (s *Server) getBundle(w http.ResponseWriter, r *http.Request) error {
	version, write, err := s.engine.ExportModel(r.Context(), modelOf(r), r.PathValue("version"))
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "application/x-tar")
	head.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="model-%d.tar"`, version.Version))
	if err := write(w); err != nil {
		noteError(r, err)
		panic(http.ErrAbortHandler) // the status is sent: cutting the connection is the only way left to say it
	}
	return nil
}

func (s *Server) importModel(r *http.Request) (*driftline.ModelVersion, error) {
	query := r.URL.Query()
	version, err := s.engine.ImportModel(r.Context(), driftline.ModelName(query.Get("name")), query.Get("trust"), query.Get("by"), r.Body)
	return version, bodyError(err)
}

type signingKey struct {
	Key string `json:"key"`
}

func (s *Server) signingKey(*http.Request) (signingKey, error) {
	key, err := s.engine.SigningKey()
	return signingKey{key}, err
}

func (s *Server) modelVersion(r *http.Request) (*driftline.ModelVersion, error) {
	return s.engine.Registry().ModelVersion(modelOf(r), r.PathValue("version"))
}

func (s *Server) changeModelVersion(r *http.Request) (*driftline.ModelVersion, error) {
	change, err := readJSON[driftline.ModelChange](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().ChangeModelVersion(modelOf(r), r.PathValue("version"), change)
}

func (s *Server) deleteModelVersion(r *http.Request) (struct{}, error) {
	query := r.URL.Query()
	return struct{}{}, s.engine.Registry().DeleteModelVersion(modelOf(r), r.PathValue("version"), query.Get("by"), query.Get("reason"))
}

func (s *Server) moveStage(r *http.Request) (*driftline.ModelVersion, error) {
	move, err := readJSON[driftline.StageMove](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().MoveStage(modelOf(r), r.PathValue("version"), move)
}

func (s *Server) setModelServer(r *http.Request) (*driftline.ModelVersion, error) {
	change, err := readJSON[driftline.ModelServerChange](r)
	if err != nil {
		return nil, err
	}
	if change.Server == nil {
		return nil, unfit("field \"server\" is left out, want where the version answers")
	}
	return s.engine.Registry().SetModelServer(modelOf(r), r.PathValue("version"), change)
}

func (s *Server) removeModelServer(r *http.Request) (*driftline.ModelVersion, error) {
	query := r.URL.Query()
	return s.engine.Registry().SetModelServer(modelOf(r), r.PathValue("version"),
		driftline.ModelServerChange{By: query.Get("by"), Reason: query.Get("reason")})
}

func (s *Server) addModelCheck(r *http.Request) (*driftline.ModelVersion, error) {
	check, err := readJSON[driftline.ModelCheck](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().AddModelCheck(modelOf(r), r.PathValue("version"), check)
}

func (s *Server) addModelApproval(r *http.Request) (*driftline.ModelVersion, error) {
	approval, err := readJSON[driftline.ModelApproval](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().AddModelApproval(modelOf(r), r.PathValue("version"), approval)
}

// versionRef is the version that the address names by number or alias, by its number.
func (s *Server) versionRef(r *http.Request) (driftline.Ref, error) {
	version, err := s.modelVersion(r)
	if err != nil {
		return driftline.Ref{}, err
	}
	return version.Ref(), nil
}

func (s *Server) modelArtifacts(r *http.Request) (artifactList, error) {
	owner, err := s.versionRef(r)
	if err != nil {
		return artifactList{}, err
	}
	return s.listArtifacts(r, owner)
}

func (s *Server) getModelArtifact(w http.ResponseWriter, r *http.Request) error {
	owner, err := s.versionRef(r)
	if err != nil {
		return err
	}
	content, kept, err := s.engine.OpenArtifactOf(r.Context(), owner, r.PathValue("path"))
	if err != nil {
		return err
	}
	return sendArtifact(w, r, content, kept)
}

func (s *Server) moveAlias(r *http.Request) (*driftline.ModelVersion, error) {
	move, err := readJSON[driftline.AliasMove](r)
	if err != nil {
		return nil, err
	}
	if move.Version == 0 {
		return nil, unfit("field \"version\" is 0 or left out, want a version of the model")
	}
	return s.engine.Registry().MoveAlias(modelOf(r), aliasOf(r), move)
}

func (s *Server) removeAlias(r *http.Request) (*driftline.ModelVersion, error) {
	query := r.URL.Query()
	move := driftline.AliasMove{Reason: query.Get("reason"), By: query.Get("by")}
	if expect := query.Get("expect"); expect != "" {
		number, err := strconv.Atoi(expect)
		if err != nil {
			return nil, driftline.Errorf(driftline.Invalid, "expect %q is not a version", clip(expect))
		}
		move.Expect = &number
	}
	return s.engine.Registry().MoveAlias(modelOf(r), aliasOf(r), move)
}

func (s *Server) rollbackAlias(r *http.Request) (*driftline.ModelVersion, error) {
	back, err := readJSON[driftline.AliasRollback](r)
	if err != nil {
		return nil, err
	}
	return s.engine.Registry().RollbackAlias(modelOf(r), aliasOf(r), back)
}

type loggedModelList struct {
	LoggedModels []driftline.LoggedModel `json:"logged_models"`
}

func (s *Server) loggedModels(*http.Request) (loggedModelList, error) {
	return loggedModelList{LoggedModels: s.engine.Registry().LoggedModels()}, nil
}

func loggedModelOf(r *http.Request) driftline.LoggedModelID {
	return driftline.LoggedModelID(r.PathValue("id"))
}

func (s *Server) loggedModel(r *http.Request) (*driftline.LoggedModel, error) {
	return s.engine.Registry().LoggedModel(loggedModelOf(r))
}

func (s *Server) loggedModelArtifacts(r *http.Request) (artifactList, error) {
	return s.listArtifacts(r, driftline.LoggedModelRef(loggedModelOf(r)))
}

func (s *Server) getLoggedModelArtifact(w http.ResponseWriter, r *http.Request) error {
	content, kept, err := s.engine.OpenArtifactOf(r.Context(), driftline.LoggedModelRef(loggedModelOf(r)), r.PathValue("path"))
	if err != nil {
		return err
	}
	return sendArtifact(w, r, content, kept)
}
