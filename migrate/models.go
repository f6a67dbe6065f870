package migrate

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// copyLoggedModels copies the models of MLflow 3 that runs logged. A server that does not
// know of them has none.
func (m *Migration) copyLoggedModels(ctx context.Context) error {
	for there, here := range m.into {
		asked := map[string]any{"experiment_ids": []string{there}, "max_results": 50}
		err := every(ctx, m.From, http.MethodPost, api+"logged-models/search", asked, "models", func(l loggedModel) error {
			m.report.LoggedModels.There++
			err := m.copyLoggedModel(ctx, &l, here)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				m.problem("logged model "+l.Info.ID, err)
				return nil
			}
			m.report.LoggedModels.Here++
			m.tell()
			return nil
		})
		if missing(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Migration) copyLoggedModel(ctx context.Context, l *loggedModel, experiment string) error {
	var found struct {
		Model loggedModel `json:"model"`
	}
	at := api + "logged-models/" + url.PathEscape(l.Info.ID)
	err := m.To.call(ctx, http.MethodGet, at, nil, nil, &found)
	switch tags := pairsMap(found.Model.Info.Tags); {
	case missing(err):
		body := map[string]any{"model_id": l.Info.ID, "experiment_id": experiment, "name": l.Info.Name, "model_type": l.Info.Type, "source_run_id": l.Info.Run,
			"creation_timestamp_ms": int64(l.Info.Created), "params": l.Data.Params, "tags": append(slices.Clone(l.Info.Tags), pair{fromTag, m.Origin})}
		if err := m.To.call(ctx, http.MethodPost, api+"logged-models", nil, body, nil); err != nil {
			return err
		}
	case err != nil:
		return err
	case tags[fromTag] != m.Origin:
		return errOther
	case tags[doneTag] != "":
		return m.countFiles(ctx, modelFiles(m.From, l), modelTarget(m.To, experiment, l.Info.ID))
	}
	if err := m.copyFiles(ctx, modelFiles(m.From, l), modelTarget(m.To, experiment, l.Info.ID)); err != nil {
		return err
	}
	if l.Info.Status == "LOGGED_MODEL_READY" || l.Info.Status == "LOGGED_MODEL_UPLOAD_FAILED" {
		if err := m.To.call(ctx, http.MethodPatch, at, nil, map[string]any{"model_id": l.Info.ID, "status": l.Info.Status}, nil); err != nil {
			return err
		}
	}
	return m.To.call(ctx, http.MethodPatch, at+"/tags", nil, map[string]any{"model_id": l.Info.ID, "tags": []pair{m.done()}}, nil)
}

func (m *Migration) done() pair { return pair{doneTag, time.Now().UTC().Format(time.RFC3339)} }

// copyModels copies the registered models. If only some experiments are copied, so are only
// the models with a version from one of their runs.
func (m *Migration) copyModels(ctx context.Context) error {
	var models []registeredModel
	err := every(ctx, m.From, http.MethodGet, api+"registered-models/search", map[string]any{"max_results": 100}, "registered_models", func(r registeredModel) error {
		models = append(models, r)
		return nil
	})
	if err != nil {
		return err
	}
	versions := map[string][]modelVersion{}
	err = every(ctx, m.From, http.MethodGet, api+"model-versions/search", map[string]any{"max_results": 1000}, "model_versions", func(v modelVersion) error {
		versions[v.Name] = append(versions[v.Name], v)
		return nil
	})
	if err != nil {
		return err
	}
	for _, model := range models {
		if err := m.copyModel(ctx, &model, versions[model.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Migration) copyModel(ctx context.Context, model *registeredModel, versions []modelVersion) error {
	if len(m.Experiments) > 0 {
		made, err := m.madeHere(ctx, versions)
		if err != nil || !made {
			return err
		}
	}
	m.report.Models.There++
	m.report.Versions.There += int64(len(versions))
	m.report.Aliases.There += int64(len(model.Aliases))
	body := map[string]any{"name": model.Name, "description": model.Description, "tags": append(slices.Clone(model.Tags), pair{fromTag, m.Origin})}
	err := m.To.call(ctx, http.MethodPost, api+"registered-models/create", nil, body, nil)
	if err != nil {
		err = m.sameModel(ctx, model, err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.problem("model "+model.Name, err)
		return nil
	}
	m.report.Models.Here++
	slices.SortFunc(versions, func(a, b modelVersion) int { return cmp.Compare(a.Version, b.Version) })
	for i := range versions {
		if err := m.copyVersion(ctx, &versions[i]); err != nil {
			m.problem("version "+strconv.Itoa(int(versions[i].Version))+" of "+model.Name, err)
			continue
		}
		m.report.Versions.Here++
		m.tell()
	}
	for _, alias := range model.Aliases {
		body := map[string]any{"name": model.Name, "alias": alias.Alias, "version": strconv.Itoa(int(alias.Version))}
		if err := m.To.call(ctx, http.MethodPost, api+"registered-models/alias", nil, body, nil); err != nil {
			m.problem("alias "+alias.Alias+" of "+model.Name, err)
			continue
		}
		m.report.Aliases.Here++
	}
	return ctx.Err()
}

// madeHere reports whether one of the versions is from a run that was copied.
func (m *Migration) madeHere(ctx context.Context, versions []modelVersion) (bool, error) {
	for _, v := range versions {
		if v.Run == "" {
			continue
		}
		if here, err := m.runHere(ctx, v.Run); err != nil || here != nil {
			return here != nil, err
		}
	}
	return false, nil
}

// sameModel is nil if the model is there because it was imported before.
func (m *Migration) sameModel(ctx context.Context, model *registeredModel, refused error) error {
	var f *failure
	if !errors.As(refused, &f) || f.code != "RESOURCE_ALREADY_EXISTS" {
		return refused
	}
	var found struct {
		Model registeredModel `json:"registered_model"`
	}
	if err := m.To.call(ctx, http.MethodGet, api+"registered-models/get", url.Values{"name": {model.Name}}, nil, &found); err != nil {
		return err
	}
	if pairsMap(found.Model.Tags)[fromTag] != m.Origin {
		return errOther
	}
	return nil
}

func (m *Migration) copyVersion(ctx context.Context, v *modelVersion) error {
	number := strconv.Itoa(int(v.Version))
	var found struct {
		Version modelVersion `json:"model_version"`
	}
	err := m.To.call(ctx, http.MethodGet, api+"model-versions/get", url.Values{"name": {v.Name}, "version": {number}}, nil, &found)
	switch {
	case missing(err):
		body := map[string]any{"name": v.Name, "version": number, "source": sourceOf(v), "run_id": v.Run, "run_link": v.RunLink, "description": v.Description,
			"model_id": v.ModelID, "creation_timestamp": int64(v.Created), "tags": append(slices.Clone(v.Tags), pair{fromTag, m.Origin})}
		if err := m.To.call(ctx, http.MethodPost, api+"model-versions/create", nil, body, &found); err != nil {
			return err
		}
	case err != nil:
		return err
	case pairsMap(found.Version.Tags)[fromTag] != m.Origin:
		return errOther
	}
	if v.Stage == "" || v.Stage == "None" || found.Version.Stage == v.Stage {
		return nil
	}
	body := map[string]any{"name": v.Name, "version": number, "stage": v.Stage, "archive_existing_versions": false}
	return m.To.call(ctx, http.MethodPost, api+"model-versions/transition-stage", nil, body, nil)
}

var (
	ofRun    = regexp.MustCompile(`/([A-Za-z0-9][\w\-]{0,255})/artifacts/(.+)$`)
	ofLogged = regexp.MustCompile(`/models/(m-[0-9a-f]{32})/artifacts/?$`)
)

// sourceOf is the address of a version's files by what has them, whose ids are the same
// here, in place of a path on that server.
func sourceOf(v *modelVersion) string {
	if v.ModelID != "" {
		return "models:/" + v.ModelID
	}
	if u, err := url.Parse(v.Source); err != nil || u.Scheme != "" && u.Scheme != "file" && u.Scheme != "mlflow-artifacts" {
		return v.Source
	}
	if parts := ofLogged.FindStringSubmatch(v.Source); parts != nil {
		return "models:/" + parts[1]
	}
	if parts := ofRun.FindStringSubmatch(v.Source); parts != nil && parts[1] == v.Run {
		return "runs:/" + v.Run + "/" + parts[2]
	}
	return v.Source
}
