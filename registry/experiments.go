package registry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/driftline/driftline"
)

// experiment is everything that the ledger says of one experiment.
type experiment struct {
	id       driftline.ExperimentID
	name     driftline.ExperimentName
	location string
	deleted  bool
	created  time.Time
	updated  time.Time
	tags     map[string]string
	runs     []uint32 // their numbers, in order of creation
	purged   int      // how many of them were removed
}

// defaultExperiment is there before the first line.
func defaultExperiment() *experiment {
	return &experiment{id: driftline.DefaultExperiment, name: "Default"}
}

func (e *experiment) ref() driftline.Ref { return driftline.ExperimentRef(e.id) }

// experimentCreated is the body of experiment.created.
type experimentCreated struct {
	driftline.ExperimentSpec
}

// experimentChanged is the body of experiment.changed. What is nil or empty stays.
type experimentChanged struct {
	Name    driftline.ExperimentName `json:"name,omitempty"`
	Deleted *bool                    `json:"deleted,omitempty"`
	Tags    map[string]string        `json:"tags,omitempty"`
	Dropped []string                 `json:"dropped_tags,omitempty"`
}

// sameName is the form in which names of experiments are compared: what looks the same is
// the same, however its accents are coded.
func sameName(name driftline.ExperimentName) string { return norm.NFC.String(string(name)) }

// CreateExperiment makes an experiment. A name that another one has, a deleted one too,
// is an AlreadyExists error.
func (r *Registry) CreateExperiment(spec driftline.ExperimentSpec) (*driftline.Experiment, error) {
	if err := checkExperiment(&spec); err != nil {
		return nil, err
	}
	var id driftline.ExperimentID
	err := r.write(func(tx *Tx) error {
		if err := tx.r.head.freeName(spec.Name); err != nil {
			return err
		}
		id = tx.r.head.nextExperiment()
		_, err := tx.add(ExperimentCreated, driftline.ExperimentRef(id), nil, experimentCreated{spec})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Experiment(id)
}

func (s *state) freeName(name driftline.ExperimentName) error {
	taken, ok := s.experimentNames[sameName(name)]
	if !ok {
		return nil
	}
	err := driftline.Errorf(driftline.AlreadyExists, "Experiment(name=%s) already exists: its id is %s", clip(name), taken).
		WithRef(driftline.ExperimentRef(taken))
	if s.experiments[taken].deleted {
		err = err.WithHint("it is deleted, and keeps its name: restore it, or choose another name")
	}
	return err
}

func checkExperiment(spec *driftline.ExperimentSpec) error {
	if err := checkExperimentName(spec.Name); err != nil {
		return err
	}
	if err := checkLocation(spec.ArtifactLocation); err != nil {
		return err
	}
	return checkPairs("tag", spec.Tags)
}

// mostExperimentName is the most characters that an experiment's name has.
const mostExperimentName = 500

// checkExperimentName allows what MLflow's users write, paths with slashes too.
func checkExperimentName(name driftline.ExperimentName) error {
	switch {
	case strings.TrimSpace(string(name)) == "":
		return driftline.Errorf(driftline.Invalid, "Invalid experiment name: it is empty")
	case !utf8.ValidString(string(name)) || strings.ContainsFunc(string(name), unicode.IsControl):
		return driftline.Errorf(driftline.Invalid, "experiment name %q has control characters or is not UTF-8", clip(name))
	case utf8.RuneCountInString(string(name)) > mostExperimentName:
		return driftline.Errorf(driftline.Invalid, "experiment name %q is longer than %d characters", clip(name), mostExperimentName)
	}
	return nil
}

// mostLocation is the most characters that an artifact location has.
const mostLocation = 2048

// checkLocation checks an address that only clients use: this server never opens it. It is
// kept from meaning another place to one reader than to the next.
func checkLocation(location string) error {
	bad := ""
	switch {
	case len(location) > mostLocation:
		bad = "is longer than 2048 bytes"
	case !utf8.ValidString(location) || strings.ContainsFunc(location, unicode.IsControl):
		bad = "has control characters or is not UTF-8"
	case strings.ContainsAny(location, `?#;\%`):
		bad = `has one of ? # ; \ %`
	case slices.Contains(strings.FieldsFunc(location, func(c rune) bool { return c == '/' || c == ':' }), ".."):
		bad = `has a ".." segment`
	case strings.HasPrefix(location, "runs:") || strings.HasPrefix(location, "models:"):
		bad = "names a run or a model"
	}
	if bad == "" {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "artifact location %q %s", clip(location), bad).
		WithHint("write a plain address such as s3://bucket/folder, or leave it out to keep files on this server")
}

// nextExperiment is the id after the greatest.
func (s *state) nextExperiment() driftline.ExperimentID {
	return driftline.ExperimentID(strconv.Itoa(s.lastExperiment + 1))
}

func foldExperiment(s *state, line *Line) ([]effect, error) {
	spec, err := body[experimentCreated](line)
	if err != nil {
		return nil, err
	}
	return addExperiment(&experiment{
		id: driftline.ExperimentID(line.Ref.Name), name: spec.Name, location: spec.ArtifactLocation,
		created: line.Time, updated: line.Time, tags: spec.Tags,
	}), nil
}

func addExperiment(e *experiment) []effect {
	number, _ := strconv.Atoi(string(e.id))
	return []effect{putExperiment(e), putExperimentName(e), raiseExperiments(number)}
}

func putExperiment(e *experiment) effect {
	return put(func(s *state) map[driftline.ExperimentID]*experiment { return s.experiments }, e.id, e)
}

func putExperimentName(e *experiment) effect {
	return put(func(s *state) map[string]driftline.ExperimentID { return s.experimentNames }, sameName(e.name), e.id)
}

func dropExperimentName(name driftline.ExperimentName) effect {
	return func(s *state) effect {
		key := sameName(name)
		old := s.experimentNames[key]
		delete(s.experimentNames, key)
		return put(func(s *state) map[string]driftline.ExperimentID { return s.experimentNames }, key, old)
	}
}

// raiseExperiments sets the greatest number of an experiment, if it is greater.
func raiseExperiments(number int) effect {
	return func(s *state) effect {
		old := s.lastExperiment
		s.lastExperiment = max(old, number)
		return func(s *state) effect {
			s.lastExperiment = old
			return nil
		}
	}
}

// RenameExperiment gives an experiment another name.
func (r *Registry) RenameExperiment(id driftline.ExperimentID, name driftline.ExperimentName) (*driftline.Experiment, error) {
	if err := checkExperimentName(name); err != nil {
		return nil, err
	}
	return r.changeExperiment(id, func(s *state, e *experiment) (*experimentChanged, error) {
		switch {
		case e.name == name:
			return nil, e.active()
		case e.deleted:
			return nil, driftline.Errorf(driftline.FailedPrecondition, "Cannot rename a non-active experiment.").WithRef(e.ref()).WithHint("restore it first")
		case sameName(e.name) == sameName(name):
			return &experimentChanged{Name: name}, nil
		}
		return &experimentChanged{Name: name}, s.freeName(name)
	})
}

// DeleteExperiment hides an experiment and its runs. Its name stays taken.
func (r *Registry) DeleteExperiment(id driftline.ExperimentID) (*driftline.Experiment, error) {
	return r.changeExperiment(id, func(_ *state, e *experiment) (*experimentChanged, error) {
		deleted := true
		return &experimentChanged{Deleted: &deleted}, e.inStage(!e.deleted, "active")
	})
}

// RestoreExperiment shows a deleted experiment again, and its runs except those that were
// deleted themselves.
func (r *Registry) RestoreExperiment(id driftline.ExperimentID) (*driftline.Experiment, error) {
	return r.changeExperiment(id, func(_ *state, e *experiment) (*experimentChanged, error) {
		deleted := false
		return &experimentChanged{Deleted: &deleted}, e.inStage(e.deleted, "deleted")
	})
}

// inStage is the error for an experiment that is not where it must be.
func (e *experiment) inStage(is bool, stage string) error {
	if is {
		return nil
	}
	return driftline.Errorf(driftline.NotFound, "No %s experiment with id %s exists", stage, e.id).WithRef(e.ref())
}

// active is the error for an experiment that is deleted.
func (e *experiment) active() error {
	if !e.deleted {
		return nil
	}
	return driftline.Errorf(driftline.FailedPrecondition, "The experiment %s must be in the 'active' state. Current state is deleted.", e.id).
		WithRef(e.ref()).WithHint("restore it first")
}

// TagExperiment sets tags of an experiment.
func (r *Registry) TagExperiment(id driftline.ExperimentID, tags map[string]string) (*driftline.Experiment, error) {
	if err := checkPairs("tag", tags); err != nil {
		return nil, err
	}
	return r.changeExperiment(id, func(_ *state, e *experiment) (*experimentChanged, error) {
		news := newPairs(e.tags, tags)
		if len(news) == 0 {
			return nil, e.active()
		}
		return &experimentChanged{Tags: news}, e.active()
	})
}

// UntagExperiment removes a tag of an experiment.
func (r *Registry) UntagExperiment(id driftline.ExperimentID, key string) (*driftline.Experiment, error) {
	return r.changeExperiment(id, func(_ *state, e *experiment) (*experimentChanged, error) {
		if err := e.active(); err != nil {
			return nil, err
		}
		if _, ok := e.tags[key]; !ok {
			return nil, driftline.Errorf(driftline.NotFound, "No tag with name: %s in experiment with id %s", clip(key), e.id).WithRef(e.ref())
		}
		return &experimentChanged{Dropped: []string{key}}, nil
	})
}

// changeExperiment appends what decide returns, and nothing if it returns nil.
func (r *Registry) changeExperiment(id driftline.ExperimentID, decide func(*state, *experiment) (*experimentChanged, error)) (*driftline.Experiment, error) {
	find := func(s *state) (*experiment, error) { return s.experiment(id) }
	if err := changeRecord(r, ExperimentChanged, find, decide); err != nil {
		return nil, err
	}
	return r.Experiment(id)
}

// changeRecord appends what decide returns about a record, and nothing if it returns nil.
func changeRecord[R interface{ ref() driftline.Ref }, C any](r *Registry, kind Kind, find func(*state) (R, error), decide func(*state, R) (*C, error)) error {
	return r.write(func(tx *Tx) error {
		record, err := find(tx.r.head)
		if err != nil {
			return err
		}
		change, err := decide(tx.r.head, record)
		if err != nil || change == nil {
			return err
		}
		_, err = tx.add(kind, record.ref(), nil, change)
		return err
	})
}

func foldExperimentChange(s *state, line *Line) ([]effect, error) {
	change, err := body[experimentChanged](line)
	if err != nil {
		return nil, err
	}
	old, err := s.experiment(driftline.ExperimentID(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *old
	next.updated = line.Time
	if change.Deleted != nil {
		next.deleted = *change.Deleted
	}
	next.tags = mergedTags(old.tags, change.Tags, change.Dropped)
	if change.Name == "" {
		return []effect{putExperiment(&next)}, nil
	}
	next.name = change.Name
	return []effect{dropExperimentName(old.name), putExperiment(&next), putExperimentName(&next)}, nil
}

// mergedTags returns old with news and without what was dropped, as a map of its own.
func mergedTags(old, news map[string]string, dropped []string) map[string]string {
	if len(news)+len(dropped) == 0 {
		return old
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, news)
	for _, key := range dropped {
		delete(out, key)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Experiment returns one experiment.
func (r *Registry) Experiment(id driftline.ExperimentID) (*driftline.Experiment, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	e, err := r.durable.experiment(id)
	if err != nil {
		return nil, err
	}
	return r.durable.copyExperiment(e), nil
}

// ExperimentNamed returns the experiment of a name, a deleted one too.
func (r *Registry) ExperimentNamed(name driftline.ExperimentName) (*driftline.Experiment, error) {
	r.published.RLock()
	defer r.published.RUnlock()
	e, err := r.durable.experimentNamed(name)
	if err != nil {
		return nil, err
	}
	return r.durable.copyExperiment(e), nil
}

// Experiments returns every experiment, deleted ones too, by name.
func (r *Registry) Experiments() []driftline.Experiment {
	found := []driftline.Experiment{}
	r.read(func(s *state) {
		for _, e := range s.experiments {
			found = append(found, *s.copyExperiment(e))
		}
	})
	slices.SortFunc(found, func(a, b driftline.Experiment) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

func (s *state) experiment(id driftline.ExperimentID) (*experiment, error) {
	if e, ok := s.experiments[id]; ok {
		return e, nil
	}
	return nil, driftline.Errorf(driftline.NotFound, "No Experiment with id=%s exists", clip(id)).
		WithRef(driftline.ExperimentRef(clip(id))).WithHint("ids are numbers; look for the name instead")
}

func (s *state) experimentNamed(name driftline.ExperimentName) (*experiment, error) {
	if id, ok := s.experimentNames[sameName(name)]; ok {
		return s.experiments[id], nil
	}
	known := make([]driftline.ExperimentName, 0, len(s.experiments))
	for _, e := range s.experiments {
		known = append(known, e.name)
	}
	return nil, unknown("experiment", name, known, "start a run in it first")
}

// copyExperiment returns a copy for readers.
func (s *state) copyExperiment(e *experiment) *driftline.Experiment {
	out := &driftline.Experiment{
		ID: e.id, Name: e.name, ArtifactLocation: e.location, Deleted: e.deleted,
		Created: e.created, Updated: e.updated, Tags: maps.Clone(e.tags), Runs: len(e.runs) - e.purged,
	}
	for _, number := range slices.Backward(e.runs) {
		if run := s.runs.at(number); run != nil {
			out.Last = run.startedAt()
			break
		}
	}
	return out
}
