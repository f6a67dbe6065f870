package registry

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/driftline/driftline"
)

// model is everything recorded of one registered model.
type model struct {
	id          uint64 // the ledger line that made it
	name        driftline.ModelName
	created     time.Time
	updated     time.Time
	by          string
	description string
	tags        map[string]string
	versions    []*driftline.ModelVersion // those that are there, by version; without Aliases
	aliases     map[driftline.Alias]int
	moves       []driftline.AliasChange // of aliases, in the order of the lines
	staged      []driftline.StageChange
	gates       []driftline.ModelGate // by target
	gated       []DefinitionChange    // the oldest first
	deleted     time.Time             // zero while it is there
}

// numbering is how far the versions under a name have been counted. A name that a model
// gave up counts on, so that model/late@2 is one thing for ever.
type numbering struct {
	last  int
	model uint64 // the id of the model that the versions were, or are, of
}

// The bodies of lines about models.
type (
	modelRenamed struct {
		To driftline.ModelName `json:"to"`
		By string              `json:"by,omitempty"`
	}
	modelDeleted struct { // of a model, or of a version
		By     string `json:"by,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
)

// Limits of what people write beside models; MLflow's are the same.
const (
	mostModelTag   = 100_000
	mostModelWords = 100_000 // a description
	mostPerson     = 250     // the name of who did something
)

// CreateModel registers a name without versions.
func (r *Registry) CreateModel(spec driftline.RegisteredModelSpec) (*driftline.RegisteredModel, error) {
	if err := checkModelSpec(&spec); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error {
		if tx.r.head.models[spec.Name] != nil {
			return driftline.Errorf(driftline.AlreadyExists, "model %q already exists", spec.Name).
				WithRef(driftline.ModelRef(spec.Name, 0)).WithHint("register a version of it, or choose another name")
		}
		return tx.createModel(spec)
	})
	if err != nil {
		return nil, err
	}
	return r.Model(spec.Name)
}

func checkModelSpec(spec *driftline.RegisteredModelSpec) error {
	if err := driftline.CheckModelName(spec.Name); err != nil {
		return err
	}
	return checkModelNotes(spec.Name, spec.Description, spec.Tags, spec.By)
}

// checkModelNotes checks what people write beside a model or a version.
func checkModelNotes(name driftline.ModelName, description string, tags map[string]string, by string) error {
	err := checkLength("description", description, mostModelWords)
	if err == nil {
		err = checkPerson(by)
	}
	if err == nil {
		err = checkModelTags(tags)
	}
	if err != nil {
		return named("model", name, err)
	}
	return nil
}

func checkModelTags(tags map[string]string) error {
	if len(tags) > mostTags {
		return driftline.Errorf(driftline.Invalid, "%d tags are given, and at most %d are kept", len(tags), mostTags)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if err := checkKey("tag", key); err != nil {
			return err
		}
		if err := checkLength("tag "+key, tags[key], mostModelTag); err != nil {
			return err
		}
	}
	return nil
}

func checkLength(what, text string, most int) error {
	switch {
	case len(text) > most && utf8.RuneCountInString(text) > most:
		return driftline.Errorf(driftline.Invalid, "%s has %d characters, and at most %d are kept", what, utf8.RuneCountInString(text), most)
	case !utf8.ValidString(text):
		return driftline.Errorf(driftline.Invalid, "%s is not UTF-8", what)
	}
	return nil
}

func checkPerson(by string) error {
	if err := checkLength("name of who does it", by, mostPerson); err != nil {
		return err
	}
	if strings.ContainsFunc(by, isControl) {
		return driftline.Errorf(driftline.Invalid, "the name of who does it has a control character")
	}
	return nil
}

// createModel adds a model whose name nobody has.
func (tx *Tx) createModel(spec driftline.RegisteredModelSpec) error {
	if err := tx.r.head.freeModelName(spec.Name); err != nil {
		return err
	}
	_, err := tx.add(ModelCreated, driftline.ModelRef(spec.Name, 0), nil, spec)
	return err
}

// freeModelName refuses names that people would take for one that there is: written with
// other code points, or in other cases.
func (s *state) freeModelName(name driftline.ModelName) error {
	if err := checkComposed(name); err != nil {
		return err
	}
	if other, taken := s.modelKeys[modelKey(name)]; taken && other != name {
		return driftline.Errorf(driftline.AlreadyExists, "model %q already exists, and %q differs from it in case or form only", other, name).
			WithRef(driftline.ModelRef(other, 0)).WithHint("use %q, or choose another name", other)
	}
	return nil
}

func checkComposed(name driftline.ModelName) error {
	composed := norm.NFC.String(string(name))
	if composed == string(name) {
		return nil
	}
	return driftline.Errorf(driftline.Invalid, "model name %q is written with combining characters (NFD)", name).
		WithHint("write it in composed form (NFC), which looks the same: %q", composed)
}

// modelKey is what names that look alike have in common.
func modelKey(name driftline.ModelName) string {
	return strings.ToLower(norm.NFKC.String(string(name)))
}

func foldModelCreated(s *state, line *Line) ([]effect, error) {
	spec, err := body[driftline.RegisteredModelSpec](line)
	if err != nil {
		return nil, err
	}
	m := newModel(spec.Name, line)
	m.description, m.tags, m.by = spec.Description, spec.Tags, spec.By
	return []effect{putModel(m), putModelKey(m.name)}, nil
}

func newModel(name driftline.ModelName, line *Line) *model {
	return &model{id: line.Sequence, name: name, created: line.Time, updated: line.Time}
}

func putModel(m *model) effect {
	return put(func(s *state) map[driftline.ModelName]*model { return s.models }, m.name, m)
}

func putModelKey(name driftline.ModelName) effect {
	return put(func(s *state) map[string]driftline.ModelName { return s.modelKeys }, modelKey(name), name)
}

func putNumbering(name driftline.ModelName, n numbering) effect {
	return put(func(s *state) map[driftline.ModelName]numbering { return s.numbered }, name, n)
}

// versionPlace is where the version is that a line registered.
type versionPlace struct {
	name    driftline.ModelName
	version int
}

func putVersionLine(v *driftline.ModelVersion) effect {
	return put(func(s *state) map[uint64]versionPlace { return s.versionLines }, v.Line, versionPlace{v.Model, v.Version})
}

// drop is the effect that takes key out of a table.
func drop[K comparable, V any](table func(*state) map[K]V, key K) effect {
	return func(s *state) effect {
		old, had := table(s)[key]
		if !had {
			return func(*state) effect { return nil }
		}
		delete(table(s), key)
		return put(table, key, old)
	}
}

// changed returns a copy of m to be changed by a line.
func (m *model) changed(line *Line) *model {
	next := *m
	next.updated = line.Time
	return &next
}

// ChangeModel changes the description and the tags of a registered model.
func (r *Registry) ChangeModel(name driftline.ModelName, change driftline.ModelChange) (*driftline.RegisteredModel, error) {
	if err := checkModelChange(name, &change); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil {
			return err
		}
		if !changesNotes(change, m.description, m.tags) {
			return nil
		}
		if err := checkTagCount(m.tags, change); err != nil {
			return named("model", name, err)
		}
		_, err = tx.add(ModelChanged, driftline.ModelRef(name, 0), nil, change)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Model(name)
}

func checkModelChange(name driftline.ModelName, change *driftline.ModelChange) error {
	description := ""
	if change.Description != nil {
		description = *change.Description
	}
	if err := checkModelNotes(name, description, change.Tags, change.By); err != nil {
		return err
	}
	for _, key := range change.RemoveTags {
		if err := checkKey("tag", key); err != nil {
			return named("model", name, err)
		}
	}
	return nil
}

func changesNotes(change driftline.ModelChange, description string, tags map[string]string) bool {
	if change.Description != nil && *change.Description != description || len(newPairs(tags, change.Tags)) > 0 {
		return true
	}
	return slices.ContainsFunc(change.RemoveTags, func(key string) bool { _, has := tags[key]; return has })
}

func checkTagCount(tags map[string]string, change driftline.ModelChange) error {
	if len(withTags(tags, change)) > mostTags {
		return driftline.Errorf(driftline.Invalid, "it would have more than %d tags", mostTags)
	}
	return nil
}

// withTags returns tags as they are after a change, as a map of its own.
func withTags(tags map[string]string, change driftline.ModelChange) map[string]string {
	out := map[string]string{}
	maps.Copy(out, tags)
	for _, key := range change.RemoveTags {
		delete(out, key)
	}
	maps.Copy(out, change.Tags)
	if len(out) == 0 {
		return nil
	}
	return out
}

func foldModelChanged(s *state, line *Line) ([]effect, error) {
	change, err := body[driftline.ModelChange](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	if change.Description != nil {
		next.description = *change.Description
	}
	next.tags = withTags(m.tags, *change)
	return []effect{putModel(next)}, nil
}

// RenameModel gives a model another name. It keeps everything: versions, aliases, files,
// history and lineage; references to it under the old name stay understood in lineage. It is a
// Conflict while the model is rolled out, or has a policy: that one names it.
func (r *Registry) RenameModel(name, to driftline.ModelName, by string) (*driftline.RegisteredModel, error) {
	if err := cmp.Or(driftline.CheckModelName(to), checkPerson(by)); err != nil {
		return nil, err
	}
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil || name == to {
			return err
		}
		if err := cmp.Or(tx.r.head.canRename(m, to), tx.r.head.freeOfRollouts(m, 0), tx.r.head.freeOfPolicy(m)); err != nil {
			return err
		}
		_, err = tx.add(ModelRenamed, driftline.ModelRef(name, 0), nil, modelRenamed{To: to, By: by})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Model(to)
}

func (s *state) canRename(m *model, to driftline.ModelName) error {
	if s.models[to] != nil {
		return driftline.Errorf(driftline.AlreadyExists, "model %q already exists", to).WithRef(driftline.ModelRef(to, 0)).
			WithHint("choose another name for %q", m.name)
	}
	if err := checkComposed(to); err != nil {
		return err
	}
	if modelKey(to) != modelKey(m.name) {
		if err := s.freeModelName(to); err != nil {
			return err
		}
	}
	if n := s.numbered[to]; n.last > 0 && n.model != m.id && s.numbered[m.name].last > 0 {
		return driftline.Errorf(driftline.AlreadyExists, "another model was named %q before it was deleted, and its versions are in lineage", to).
			WithRef(driftline.ModelRef(to, 0)).WithHint("choose a name that was never used")
	}
	return nil
}

func foldModelRenamed(s *state, line *Line) ([]effect, error) {
	renamed, err := body[modelRenamed](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	next.name = renamed.To
	next.versions = make([]*driftline.ModelVersion, len(m.versions))
	for i, v := range m.versions {
		version := *v
		version.Model = renamed.To
		next.versions[i] = &version
	}
	effects := []effect{
		drop(func(s *state) map[driftline.ModelName]*model { return s.models }, m.name),
		drop(func(s *state) map[string]driftline.ModelName { return s.modelKeys }, modelKey(m.name)),
		putModel(next), putModelKey(next.name),
	}
	for _, v := range next.versions {
		effects = append(effects, putVersionLine(v))
	}
	if n := s.numbered[m.name]; n.last > 0 {
		effects = append(effects, putNumbering(next.name, numbering{last: n.last, model: m.id}))
	}
	return effects, nil
}

// DeleteModel takes a registered model away, with its versions and aliases. The ledger,
// the history of its aliases and lineage keep that it was; its name may be registered
// again, and its versions then count on. It is a Conflict while the model is rolled out, or has
// a policy, which would go on to train it.
func (r *Registry) DeleteModel(name driftline.ModelName, by, reason string) error {
	if err := cmp.Or(checkPerson(by), checkText("reason", reason)); err != nil {
		return err
	}
	return r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err == nil {
			err = cmp.Or(tx.r.head.freeOfRollouts(m, 0), tx.r.head.freeOfPolicy(m))
		}
		if err != nil {
			return err
		}
		_, err = tx.add(ModelDeleted, driftline.ModelRef(name, 0), nil, modelDeleted{By: by, Reason: reason})
		return err
	})
}

func foldModelDeleted(s *state, line *Line) ([]effect, error) {
	gone, err := body[modelDeleted](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	last := m.changed(line)
	last.deleted = line.Time
	last.dropAliases(line, 0, gone)
	last.versions = nil
	retired := append(slices.Clone(s.retired[m.name]), last)
	return []effect{
		drop(func(s *state) map[driftline.ModelName]*model { return s.models }, m.name),
		drop(func(s *state) map[string]driftline.ModelName { return s.modelKeys }, modelKey(m.name)),
		put(func(s *state) map[driftline.ModelName][]*model { return s.retired }, m.name, retired),
	}, nil
}

// dropAliases takes the aliases of a version away, of all for 0, and notes it.
func (m *model) dropAliases(line *Line, version int, gone *modelDeleted) {
	aliases := maps.Clone(m.aliases)
	for _, alias := range slices.Sorted(maps.Keys(m.aliases)) {
		at := m.aliases[alias]
		if version != 0 && at != version {
			continue
		}
		delete(aliases, alias)
		m.moves = append(slices.Clip(m.moves), driftline.AliasChange{
			Sequence: line.Sequence, Time: line.Time, Alias: alias, From: at,
			Reason: cmp.Or(gone.Reason, versionWord(at)+" was deleted"), By: gone.By,
		})
	}
	m.aliases = aliases
}

// Models returns every registered model, by name.
func (r *Registry) Models() []driftline.RegisteredModel {
	found := []driftline.RegisteredModel{}
	r.read(func(s *state) {
		for _, m := range s.models {
			found = append(found, *m.copy())
		}
	})
	slices.SortFunc(found, func(a, b driftline.RegisteredModel) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// Model returns one registered model.
func (r *Registry) Model(name driftline.ModelName) (*driftline.RegisteredModel, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	return m.copy(), nil
}

func (m *model) copy() *driftline.RegisteredModel {
	out := &driftline.RegisteredModel{
		Name: m.name, Created: m.created, Updated: m.updated, By: m.by, Description: m.description,
		Tags: maps.Clone(m.tags), Versions: len(m.versions), Aliases: maps.Clone(m.aliases), Gates: slices.Clone(m.gates),
	}
	if newest := m.newest(); newest != nil {
		out.Newest = m.copyVersion(newest)
	}
	return out
}

func (r *Registry) model(name driftline.ModelName) (m *model, err error) {
	r.read(func(s *state) { m, err = s.model(name) })
	return m, err
}

func (s *state) model(name driftline.ModelName) (*model, error) {
	if m, ok := s.models[name]; ok {
		return m, nil
	}
	err := unknown("model", name, slices.Collect(maps.Keys(s.models)), "register a version first")
	if retired := s.retired[name]; len(retired) > 0 {
		err = err.WithHint("it was deleted on %s; its history is kept: driftline models history", instant(retired[len(retired)-1].deleted))
	}
	return nil, err.WithRef(driftline.ModelRef(clip(name), 0))
}

// everyModel is the models of a name that are, and were, by age.
func (s *state) everyModel(name driftline.ModelName) []*model {
	found := slices.Clone(s.retired[name])
	if m := s.models[name]; m != nil {
		found = append(found, m)
	}
	return found
}

func versionWord(version int) string {
	if version == 0 {
		return "no version"
	}
	return "version " + strconv.Itoa(version)
}
