package registry

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// model is everything recorded of one registered model.
type model struct {
	name     driftline.ModelName
	versions []*driftline.ModelVersion // by version, from 1; without Aliases
	aliases  map[driftline.Alias]int
	history  []AliasChange
}

// Model is one registered model at a glance.
type Model struct {
	Name     driftline.ModelName     `json:"name"`
	Versions int                     `json:"versions"`
	Newest   driftline.ModelVersion  `json:"newest"`
	Aliases  map[driftline.Alias]int `json:"aliases,omitempty"` // → version
}

// AliasChange is one move of an alias. It was at From (0: nowhere) and went to To.
type AliasChange struct {
	Sequence uint64          `json:"seq"` // of the ledger line
	Time     time.Time       `json:"time"`
	Alias    driftline.Alias `json:"alias"`
	From     int             `json:"from"`
	To       int             `json:"to"`
	Reason   string          `json:"reason,omitempty"`
}

// aliasMoved is the body of alias.moved. The line's ref is the version it moved to.
type aliasMoved struct {
	Alias  driftline.Alias `json:"alias"`
	From   int             `json:"from"`
	To     int             `json:"to"`
	Reason string          `json:"reason,omitempty"`
}

// RegisterModel registers an artifact of a run as the next version of a model.
func (r *Registry) RegisterModel(spec driftline.ModelSpec) (*driftline.ModelVersion, error) {
	var version int
	err := r.write(func(tx *Tx) (err error) {
		version, err = tx.registerModel(spec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(spec.Model, strconv.Itoa(version))
}

func (tx *Tx) registerModel(spec driftline.ModelSpec) (int, error) {
	if err := driftline.CheckName("model", spec.Model); err != nil {
		return 0, err
	}
	if err := checkNotes("model", spec.Model, spec.Description, "", spec.Tags); err != nil {
		return 0, err
	}
	run, err := tx.r.head.run(spec.Run)
	if err != nil {
		return 0, err
	}
	artifact, err := artifactOf(run, spec.Artifact)
	if err != nil {
		return 0, err
	}
	version := driftline.ModelVersion{
		Model: spec.Model, Version: 1, Run: run.id, Artifact: artifact,
		Created: tx.time, Description: spec.Description, Tags: spec.Tags,
	}
	if m := tx.r.head.models[spec.Model]; m != nil {
		version.Version = len(m.versions) + 1
	}
	inputs := []driftline.Ref{run.ref(), driftline.ArtifactRef(artifact.SHA256)}
	_, err = tx.add(ModelRegistered, version.Ref(), inputs, version)
	return version.Version, err
}

// artifactOf returns the artifact that the run logged under path.
func artifactOf(run *run, path string) (driftline.Artifact, error) {
	artifacts := run.extra().artifacts
	known := make([]string, len(artifacts))
	for i, a := range artifacts {
		if a.Path == path {
			return a, nil
		}
		known[i] = a.Path
	}
	return driftline.Artifact{}, named("run", run.id, unknown("artifact", path, known, "log the model's file as an artifact first").WithRef(run.ref()))
}

// Artifact returns the artifact that a run logged under path.
func (r *Registry) Artifact(id driftline.RunID, path string) (driftline.Artifact, error) {
	var found *run
	var err error
	r.read(func(s *state) { found, err = s.run(id) })
	if err != nil {
		return driftline.Artifact{}, err
	}
	return artifactOf(found, path)
}

func foldModel(s *state, line *Line) ([]effect, error) {
	version, err := body[driftline.ModelVersion](line)
	if err != nil {
		return nil, err
	}
	next := model{name: version.Model}
	if old := s.models[version.Model]; old != nil {
		next = *old
	}
	next.versions = append(next.versions, version)
	return []effect{putModel(&next)}, nil
}

func putModel(m *model) effect {
	return put(func(s *state) map[driftline.ModelName]*model { return s.models }, m.name, m)
}

// versionLike is what an alias must not look like, since it is used in a version's place.
var versionLike = regexp.MustCompile(`^(?i:v?\d+|latest|newest)$`)

// MoveAlias points an alias at a version of a model and returns that version.
// Where move.Expect is set and the alias points elsewhere, it is a Conflict and
// nothing moves. Moving it to where it points already changes nothing.
func (r *Registry) MoveAlias(name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) (*driftline.ModelVersion, error) {
	if err := checkAlias(alias, move); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error { return tx.moveAlias(name, alias, move) })
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(name, strconv.Itoa(move.Version))
}

func checkAlias(alias driftline.Alias, move driftline.AliasMove) error {
	if err := driftline.CheckName("alias", alias); err != nil {
		return err
	}
	if versionLike.MatchString(string(alias)) {
		return driftline.Errorf(driftline.Invalid, "alias %q looks like a version", alias).
			WithHint("use a word for the role of the version, for example champion")
	}
	return checkText("reason", move.Reason)
}

func (tx *Tx) moveAlias(name driftline.ModelName, alias driftline.Alias, move driftline.AliasMove) error {
	m, err := tx.r.head.model(name)
	if err != nil {
		return err
	}
	if _, err := m.version(move.Version); err != nil {
		return err
	}
	at := m.aliases[alias]
	if move.Expect != nil && *move.Expect != at {
		return driftline.Errorf(driftline.Conflict, "model %q: alias %q is at %s, not at %s", name, alias, versionWord(at), versionWord(*move.Expect)).
			WithRef(driftline.ModelRef(name, at)).
			WithHint("somebody moved it; look at its history and decide again")
	}
	if at == move.Version {
		return nil
	}
	_, err = tx.add(AliasMoved, driftline.ModelRef(name, move.Version), nil,
		aliasMoved{Alias: alias, From: at, To: move.Version, Reason: move.Reason})
	return err
}

func versionWord(version int) string {
	if version == 0 {
		return "no version"
	}
	return "version " + strconv.Itoa(version)
}

func foldAlias(s *state, line *Line) ([]effect, error) {
	moved, err := body[aliasMoved](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := *m
	next.aliases = maps.Clone(m.aliases)
	if next.aliases == nil {
		next.aliases = map[driftline.Alias]int{}
	}
	next.aliases[moved.Alias] = moved.To
	next.history = append(m.history, AliasChange{
		Sequence: line.Sequence, Time: line.Time,
		Alias: moved.Alias, From: moved.From, To: moved.To, Reason: moved.Reason,
	})
	return []effect{putModel(&next)}, nil
}

// Models returns every registered model, by name.
func (r *Registry) Models() []Model {
	found := []Model{}
	r.read(func(s *state) {
		for _, m := range s.models {
			found = append(found, Model{
				Name: m.name, Versions: len(m.versions), Newest: *m.copyVersion(len(m.versions)), Aliases: maps.Clone(m.aliases),
			})
		}
	})
	slices.SortFunc(found, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// ModelVersions returns every version of a model, oldest first.
func (r *Registry) ModelVersions(name driftline.ModelName) ([]driftline.ModelVersion, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	versions := make([]driftline.ModelVersion, len(m.versions))
	for i := range m.versions {
		versions[i] = *m.copyVersion(i + 1)
	}
	return versions, nil
}

// ModelVersion returns the version of a model that selector names: a number
// ("3"), an alias ("champion"), or the newest for "".
func (r *Registry) ModelVersion(name driftline.ModelName, selector string) (*driftline.ModelVersion, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	version, err := m.selected(selector)
	if err != nil {
		return nil, err
	}
	return m.copyVersion(version), nil
}

// AliasHistory returns the moves of an alias, or of all aliases for "", oldest first.
func (r *Registry) AliasHistory(name driftline.ModelName, alias driftline.Alias) ([]AliasChange, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	moves := []AliasChange{}
	for _, change := range m.history {
		if alias == "" || change.Alias == alias {
			moves = append(moves, change)
		}
	}
	return moves, nil
}

func (r *Registry) model(name driftline.ModelName) (m *model, err error) {
	r.read(func(s *state) { m, err = s.model(name) })
	return m, err
}

func (s *state) model(name driftline.ModelName) (*model, error) {
	if m, ok := s.models[name]; ok {
		return m, nil
	}
	return nil, unknown("model", name, slices.Collect(maps.Keys(s.models)), "register a version first").
		WithRef(driftline.ModelRef(clip(name), 0))
}

func (m *model) version(version int) (*driftline.ModelVersion, error) {
	if version < 1 || version > len(m.versions) {
		return nil, noVersion("model", string(m.name), strconv.Itoa(version), len(m.versions)).WithRef(driftline.ModelRef(m.name, version))
	}
	return m.versions[version-1], nil
}

// selected returns the number of the version that selector names.
func (m *model) selected(selector string) (int, error) {
	if selector == "" {
		return len(m.versions), nil
	}
	if at, ok := m.aliases[driftline.Alias(selector)]; ok {
		return at, nil
	}
	if number, err := strconv.Atoi(selector); err == nil {
		_, err := m.version(number)
		return number, err
	}
	err := unknown("alias", driftline.Alias(selector), slices.Collect(maps.Keys(m.aliases)), "move the alias to a version, or name the version by its number")
	return 0, named("model", m.name, err.WithRef(driftline.ModelRef(m.name, 0)))
}

// copyVersion returns a copy with the aliases that point at the version now.
func (m *model) copyVersion(version int) *driftline.ModelVersion {
	out := *m.versions[version-1]
	out.Tags = maps.Clone(out.Tags)
	for alias, at := range m.aliases {
		if at == version {
			out.Aliases = append(out.Aliases, alias)
		}
	}
	slices.Sort(out.Aliases)
	return &out
}
