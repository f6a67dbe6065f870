package registry

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/driftline/driftline"
)

// loggedModelCreated is the body of logged_model.created.
type loggedModelCreated struct {
	driftline.LoggedModelSpec
}

// CreateLoggedModel begins a logged model, whose files follow. Its id is random.
func (r *Registry) CreateLoggedModel(spec driftline.LoggedModelSpec) (*driftline.LoggedModel, error) {
	if err := checkLoggedModel(&spec); err != nil {
		return nil, err
	}
	id := spec.ID
	if id == "" {
		var digits [16]byte
		_, _ = rand.Read(digits[:]) // it cannot fail
		id = driftline.LoggedModelID("m-" + hex.EncodeToString(digits[:]))
	}
	if spec.Name == "" {
		spec.Name = "model-" + string(id[2:10])
	}
	err := r.write(func(tx *Tx) error {
		if _, taken := tx.r.head.logged[id]; taken {
			return driftline.Errorf(driftline.AlreadyExists, "there is a logged model %q", id)
		}
		inputs, err := tx.r.head.loggedModelInputs(&spec)
		if err != nil {
			return err
		}
		if _, err := tx.madeAt(spec.Created); err != nil {
			return err
		}
		_, err = tx.add(LoggedCreated, driftline.LoggedModelRef(id), inputs, loggedModelCreated{spec})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.LoggedModel(id)
}

var loggedModelID = regexp.MustCompile(`^m-[0-9a-f]{32}$`)

func checkLoggedModel(spec *driftline.LoggedModelSpec) error {
	if spec.ID != "" && !loggedModelID.MatchString(string(spec.ID)) {
		return driftline.Errorf(driftline.Invalid, "logged model id %q is not m- and 32 hexadecimal digits", clip(spec.ID))
	}
	if len(spec.Name) > mostModelName || strings.ContainsAny(spec.Name, `/:.%"'`) || strings.ContainsFunc(spec.Name, isControl) {
		return driftline.Errorf(driftline.Invalid, "logged model name %q has one of / : . %% \" ' or is longer than %d bytes", clip(spec.Name), mostModelName).
			WithHint("use letters, digits, dashes and underscores")
	}
	err := cmp.Or(checkText("model name", spec.Name), checkText("model type", spec.Type), checkPerson(spec.By))
	if err == nil {
		err = checkPairs("param", spec.Params)
	}
	if err == nil {
		err = checkModelTags(spec.Tags)
	}
	return err
}

const mostModelName = 250

// loggedModelInputs is the run that makes it, if one is named. It and the experiment must
// be there, and not be deleted.
func (s *state) loggedModelInputs(spec *driftline.LoggedModelSpec) ([]driftline.Ref, error) {
	experiment, err := s.experiment(spec.ExperimentID)
	if err != nil {
		return nil, err
	}
	if err := experiment.active(); err != nil || spec.Run == "" {
		return nil, err
	}
	run, err := s.active(spec.Run)
	if err != nil {
		return nil, err
	}
	return []driftline.Ref{run.ref()}, nil
}

func foldLoggedCreated(s *state, line *Line) ([]effect, error) {
	created, err := body[loggedModelCreated](line)
	if err != nil {
		return nil, err
	}
	m := &driftline.LoggedModel{
		ID: driftline.LoggedModelID(line.Ref.Name), ExperimentID: created.ExperimentID, Name: created.Name, Type: created.Type,
		Run: created.Run, Status: driftline.LoggedModelPending, Created: line.Time, Updated: line.Time, By: created.By,
		Params: created.Params, Tags: created.Tags,
	}
	if !created.Created.IsZero() {
		m.Created = created.Created
	}
	return []effect{putLoggedModel(m)}, nil
}

func putLoggedModel(m *driftline.LoggedModel) effect {
	return put(func(s *state) map[driftline.LoggedModelID]*driftline.LoggedModel { return s.logged }, m.ID, m)
}

// ChangeLoggedModel changes the status, params and tags of a logged model: all or nothing.
func (r *Registry) ChangeLoggedModel(id driftline.LoggedModelID, change driftline.LoggedModelChange) (*driftline.LoggedModel, error) {
	if err := checkLoggedModelChange(&change); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.liveLoggedModel(id)
		if err != nil {
			return err
		}
		news, err := newsOf(m, change)
		if err != nil || news == nil {
			return err
		}
		_, err = tx.add(LoggedChanged, m.Ref(), nil, news)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.LoggedModel(id)
}

func checkLoggedModelChange(change *driftline.LoggedModelChange) error {
	switch change.Status {
	case "", driftline.LoggedModelPending, driftline.LoggedModelReady, driftline.LoggedModelFailed:
	default:
		return driftline.Errorf(driftline.Invalid, "logged model status %q is not known", clip(change.Status)).
			WithHint("use PENDING, READY or UPLOAD_FAILED")
	}
	err := checkText("status message", change.StatusMessage)
	if err == nil {
		err = checkPairs("param", change.Params)
	}
	if err == nil {
		err = checkModelTags(change.Tags)
	}
	return err
}

// newsOf is what of a change is new, nil if nothing is.
func newsOf(m *driftline.LoggedModel, change driftline.LoggedModelChange) (*driftline.LoggedModelChange, error) {
	news := driftline.LoggedModelChange{StatusMessage: change.StatusMessage, Tags: newPairs(m.Tags, change.Tags), RemoveTags: change.RemoveTags}
	news.Params = newPairs(m.Params, change.Params)
	for _, key := range slices.Sorted(maps.Keys(news.Params)) {
		if had, ok := m.Params[key]; ok {
			return nil, driftline.Errorf(driftline.Conflict, "logged model %q: param %q is %q already and cannot become %q", m.ID, clip(key), clip(had), clip(news.Params[key])).
				WithRef(m.Ref()).WithHint("a param is set once; use a tag for what changes")
		}
	}
	for _, key := range change.RemoveTags {
		if _, ok := m.Tags[key]; !ok {
			return nil, driftline.Errorf(driftline.NotFound, "logged model %q has no tag %q", m.ID, clip(key)).WithRef(m.Ref())
		}
	}
	if change.Status != m.Status {
		news.Status = change.Status
	}
	if news.Status == "" && len(news.Params)+len(news.Tags)+len(news.RemoveTags) == 0 {
		return nil, nil
	}
	return &news, nil
}

func foldLoggedChanged(s *state, line *Line) ([]effect, error) {
	change, err := body[driftline.LoggedModelChange](line)
	if err != nil {
		return nil, err
	}
	m, err := s.loggedModel(driftline.LoggedModelID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *m
	next.Updated = line.Time
	next.Status = cmp.Or(change.Status, m.Status)
	next.StatusMessage = cmp.Or(change.StatusMessage, m.StatusMessage)
	next.Params = withTags(m.Params, driftline.ModelChange{Tags: change.Params})
	next.Tags = withTags(m.Tags, driftline.ModelChange{Tags: change.Tags, RemoveTags: change.RemoveTags})
	return []effect{putLoggedModel(&next)}, nil
}

// DeleteLoggedModel marks a logged model as deleted. Its files stay until they are removed;
// versions that were registered from it keep theirs.
func (r *Registry) DeleteLoggedModel(id driftline.LoggedModelID, by, reason string) error {
	if err := cmp.Or(checkPerson(by), checkText("reason", reason)); err != nil {
		return err
	}
	return r.write(func(tx *Tx) error {
		m, err := tx.r.head.liveLoggedModel(id)
		if err != nil {
			return err
		}
		_, err = tx.add(LoggedDeleted, m.Ref(), nil, modelDeleted{By: by, Reason: reason})
		return err
	})
}

func foldLoggedDeleted(s *state, line *Line) ([]effect, error) {
	m, err := s.loggedModel(driftline.LoggedModelID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *m
	next.Deleted, next.Updated = line.Time, line.Time
	return []effect{putLoggedModel(&next)}, nil
}

// LoggedModel returns one logged model, also one that was deleted.
func (r *Registry) LoggedModel(id driftline.LoggedModelID) (m *driftline.LoggedModel, err error) {
	r.read(func(s *state) {
		var found *driftline.LoggedModel
		if found, err = s.loggedModel(id); err == nil {
			m = s.copyLoggedModel(found, s.registrations())
		}
	})
	return m, err
}

// LoggedModels returns every logged model that is not deleted, the newest first.
func (r *Registry) LoggedModels() []driftline.LoggedModel {
	found := []driftline.LoggedModel{}
	r.read(func(s *state) {
		registrations := s.registrations()
		for _, m := range s.logged {
			if m.Deleted.IsZero() {
				found = append(found, *s.copyLoggedModel(m, registrations))
			}
		}
	})
	slices.SortFunc(found, func(a, b driftline.LoggedModel) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// registrations are the versions that logged models became, and still are.
func (s *state) registrations() map[driftline.LoggedModelID][]driftline.ModelRegistration {
	found := map[driftline.LoggedModelID][]driftline.ModelRegistration{}
	for _, name := range slices.Sorted(maps.Keys(s.models)) {
		for _, v := range s.models[name].versions {
			if v.LoggedModel != "" {
				found[v.LoggedModel] = append(found[v.LoggedModel], driftline.ModelRegistration{Model: name, Version: v.Version})
			}
		}
	}
	return found
}

func (s *state) copyLoggedModel(m *driftline.LoggedModel, registrations map[driftline.LoggedModelID][]driftline.ModelRegistration) *driftline.LoggedModel {
	out := *m
	out.Params, out.Tags = maps.Clone(m.Params), maps.Clone(m.Tags)
	out.Registered = slices.Clone(registrations[m.ID])
	return &out
}

func (s *state) loggedModel(id driftline.LoggedModelID) (*driftline.LoggedModel, error) {
	if m, ok := s.logged[id]; ok {
		return m, nil
	}
	return nil, driftline.Errorf(driftline.NotFound, "logged model %q does not exist", clip(id)).
		WithRef(driftline.LoggedModelRef(clip(id))).WithHint("ids are m- and 32 hexadecimal digits")
}

// liveLoggedModel is a logged model that can be changed.
func (s *state) liveLoggedModel(id driftline.LoggedModelID) (*driftline.LoggedModel, error) {
	m, err := s.loggedModel(id)
	if err != nil || m.Deleted.IsZero() {
		return m, err
	}
	return nil, driftline.Errorf(driftline.NotFound, "logged model %q was deleted on %s", id, instant(m.Deleted)).
		WithRef(m.Ref()).WithHint("log the model again")
}
