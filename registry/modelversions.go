package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/driftline/driftline"
)

// RegisterModel registers files as the next version of a model, which it makes if
// there is none of the name. The files are fixed: what is logged under their names later
// is not the version's. From the run, the version records what it was made from.
func (r *Registry) RegisterModel(spec driftline.ModelSpec) (*driftline.ModelVersion, error) {
	return r.registerModel(spec, true)
}

// CreateModelVersion is [Registry.RegisterModel] for a model that there must be.
func (r *Registry) CreateModelVersion(spec driftline.ModelSpec) (*driftline.ModelVersion, error) {
	return r.registerModel(spec, false)
}

func (r *Registry) registerModel(spec driftline.ModelSpec, create bool) (_ *driftline.ModelVersion, err error) {
	if err := checkVersionSpec(&spec); err != nil {
		return nil, err
	}
	if spec.Tags, err = r.proved(spec.Tags); err != nil {
		return nil, named("model", spec.Model, err)
	}
	var version int
	err = r.write(func(tx *Tx) (err error) {
		version, err = tx.registerModel(spec, create)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(spec.Model, strconv.Itoa(version))
}

func checkVersionSpec(spec *driftline.ModelSpec) error {
	if err := driftline.CheckModelName(spec.Model); err != nil {
		return err
	}
	if err := checkModelNotes(spec.Model, spec.Description, spec.Tags, spec.By); err != nil {
		return err
	}
	if spec.Source != "" && spec.Artifact != "" {
		return named("model", spec.Model, driftline.Errorf(driftline.Invalid, "both a source and an artifact are given").
			WithHint("name the files once: the source, or the run and its artifact"))
	}
	if spec.Source == "" && spec.Artifact == "" {
		return named("model", spec.Model, driftline.Errorf(driftline.Invalid, "no artifact is given").
			WithHint("name the run and the path under which it logged the model's file or folder"))
	}
	if err := checkLength("run", string(spec.Run), mostModelName); err != nil {
		return err
	}
	return checkLength("run_link", spec.RunLink, mostSource)
}

func (tx *Tx) registerModel(spec driftline.ModelSpec, create bool) (int, error) {
	head := tx.r.head
	if m := head.models[spec.Model]; m == nil {
		if !create {
			_, err := head.model(spec.Model)
			return 0, err
		}
		if err := head.freeModelName(spec.Model); err != nil {
			return 0, err
		}
	}
	version, inputs, err := tx.versionFrom(&spec)
	if err != nil {
		return 0, err
	}
	if version.Version, err = tx.versionNumber(&spec); err != nil {
		return 0, err
	}
	if version.Created, err = tx.madeAt(spec.Created); err != nil {
		return 0, err
	}
	version.Model, version.By = spec.Model, cmp.Or(spec.By, version.By)
	version.Description, version.Tags, version.RunLink = spec.Description, spec.Tags, spec.RunLink
	_, err = tx.add(ModelRegistered, version.Ref(), inputs, version)
	return version.Version, err
}

// versionNumber is the next number of a model, or the greater one that is asked for.
func (tx *Tx) versionNumber(spec *driftline.ModelSpec) (int, error) {
	last := tx.r.head.numbered[spec.Model].last
	switch {
	case spec.Version == 0:
		return last + 1, nil
	case spec.Version < 0 || spec.Version > mostVersion:
		return 0, named("model", spec.Model, driftline.Errorf(driftline.Invalid, "version %d is asked for", spec.Version).WithHint("versions count from 1 to %d", mostVersion))
	case spec.Version <= last:
		return 0, named("model", spec.Model, driftline.Errorf(driftline.AlreadyExists, "version %d is asked for, and %d is the greatest so far", spec.Version, last).
			WithHint("numbers of versions are never used twice; leave it out for the next one"))
	}
	return spec.Version, nil
}

const mostVersion = 1 << 30

// madeAt is when something from elsewhere was made: now, unless that is said and is past.
func (tx *Tx) madeAt(said time.Time) (time.Time, error) {
	if said.IsZero() {
		return tx.time, nil
	}
	if said.After(tx.time) || said.Before(time.Unix(0, 0)) {
		return said, driftline.Errorf(driftline.Invalid, "it was made at %s, which is not between 1970 and now", said.UTC().Format(time.RFC3339))
	}
	return said.UTC().Truncate(time.Microsecond), nil
}

// versionInputs are what the version was made from, for lineage.
func versionInputs(version *driftline.ModelVersion, from source) []driftline.Ref {
	var inputs []driftline.Ref
	if from.version != nil {
		inputs = append(inputs, from.version.Ref())
	}
	if version.LoggedModel != "" {
		inputs = append(inputs, driftline.LoggedModelRef(version.LoggedModel))
	}
	if version.Run != "" {
		inputs = append(inputs, driftline.RunRef(version.Run))
	}
	if version.Artifact.SHA256 != "" && len(version.Files) == 0 {
		inputs = append(inputs, driftline.ArtifactRef(version.Artifact.SHA256))
	}
	return inputs
}

// versionFrom finds the files that a spec means, and what is known of their making.
func (tx *Tx) versionFrom(spec *driftline.ModelSpec) (*driftline.ModelVersion, []driftline.Ref, error) {
	version := &driftline.ModelVersion{Source: spec.Source, Status: driftline.ModelReady, Stage: driftline.StageNone}
	from := source{owner: driftline.RunRef(spec.Run), path: spec.Artifact}
	if isPromptSource(spec) {
		from = source{elsewhere: true}
	} else if spec.Source != "" {
		var err error
		if from, err = tx.r.head.parseSource(spec.Source); err != nil {
			return nil, nil, named("model", spec.Model, err)
		}
	} else if err := checkArtifactPath(spec.Artifact); err != nil {
		return nil, nil, err
	}
	if err := tx.madeBy(version, spec, from); err != nil {
		return nil, nil, err
	}
	if from.elsewhere {
		version.Status = driftline.ModelExternal
	} else if err := tx.takeFiles(version, from); err != nil {
		return nil, nil, err
	}
	return version, versionInputs(version, from), nil
}

// isPromptSource reports whether a version is a prompt of MLflow's: words in its tags, and
// no files. Its source is always this one word, and no other text gets around the rules.
func isPromptSource(spec *driftline.ModelSpec) bool {
	return spec.Source == "dummy-source" && spec.Tags["mlflow.prompt.is_prompt"] == "true"
}

// madeBy says which run and logged model a version is from, and what these knew.
func (tx *Tx) madeBy(version *driftline.ModelVersion, spec *driftline.ModelSpec, from source) error {
	head := tx.r.head
	version.LoggedModel = cmp.Or(spec.LoggedModel, from.loggedModel)
	version.Run = spec.Run
	if from.version != nil {
		version.LoggedModel = cmp.Or(version.LoggedModel, from.version.LoggedModel)
		version.Run = cmp.Or(version.Run, from.version.Run)
		version.Origin = from.version.Origin
	}
	if version.LoggedModel != "" {
		logged, err := head.loggedModel(version.LoggedModel)
		switch {
		case err != nil && from.elsewhere:
			version.LoggedModel = "" // of another server, as its files
		case err != nil:
			return err
		default:
			version.Run = cmp.Or(version.Run, logged.Run)
		}
	}
	if version.Run == "" && from.owner.Kind == driftline.KindRun {
		version.Run = driftline.RunID(from.owner.Name)
	}
	if version.Run == "" || from.version != nil && version.Run == from.version.Run {
		return nil
	}
	run, err := head.run(version.Run)
	if err != nil {
		if from.elsewhere || from.version != nil {
			version.ExternalRun, version.Run = string(version.Run), ""
			return nil
		}
		return err
	}
	version.Origin, version.By = tx.originOf(run), run.user()
	return nil
}

// takeFiles fixes the files of a version: one, or those of a folder.
func (tx *Tx) takeFiles(version *driftline.ModelVersion, from source) error {
	name := from.name
	if name == "" {
		name = from.owner.String()
	}
	files, err := tx.r.artifactsAt(name, from.path)
	if err != nil {
		return err
	}
	switch {
	case len(files) == 0:
		return tx.noFiles(version, name, from)
	case len(files) == 1 && files[0].Path == from.path:
		version.Artifact = files[0]
	default:
		version.Artifact, version.Files = treeOf(from.path, files)
	}
	version.Artifact.Time = time.Time{} // when it was logged is in another line
	return nil
}

func (tx *Tx) noFiles(version *driftline.ModelVersion, name string, from source) error {
	if version.Source == "" {
		return tx.r.noArtifact(name, from.owner, from.path)
	}
	return driftline.Errorf(driftline.NotFound, "there is no file at %q, so nothing can be registered", clip(version.Source)).
		WithRef(from.owner).WithHint("log the model first, then register it")
}

// treeOf makes one artifact of the files of a folder: their sizes together, and a hash of
// their names and hashes. The files are returned with their names in the folder.
func treeOf(folder string, files []driftline.Artifact) (driftline.Artifact, []driftline.Artifact) {
	tree, inside := driftline.Artifact{Path: folder}, make([]driftline.Artifact, len(files))
	for i, file := range files {
		if folder != "" {
			file.Path = file.Path[len(folder)+1:]
		}
		inside[i] = driftline.Artifact{Path: file.Path, Size: file.Size, SHA256: file.SHA256}
		tree.Size += file.Size
	}
	slices.SortFunc(inside, func(a, b driftline.Artifact) int { return cmp.Compare(a.Path, b.Path) })
	tree.SHA256 = TreeHash(inside)
	return tree, inside
}

// TreeHash is the hash of the names and hashes of a folder's files, which are sorted by path.
func TreeHash(files []driftline.Artifact) string {
	sum := sha256.New()
	for _, file := range files {
		fmt.Fprintf(sum, "%s  %s\n", file.SHA256, file.Path)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// originOf is what is known of how a run made what it made.
func (tx *Tx) originOf(run *run) *driftline.ModelOrigin {
	tags := tx.r.keys.unpack(run.tags)
	origin := &driftline.ModelOrigin{
		Params: tx.r.keys.unpack(run.params), Metrics: tx.r.lastMetrics(run),
		Commit: tags["mlflow.source.git.commit"], Code: tags["mlflow.source.name"],
	}
	for _, ref := range run.extra().inputs {
		switch ref.Kind {
		case driftline.KindSnapshot:
			origin.Snapshots = append(origin.Snapshots, ref)
		case driftline.KindDataset:
			tx.r.head.addDataset(origin, ref)
		}
	}
	origin.Snapshots = distinct(origin.Snapshots)
	if len(origin.Datasets)+len(origin.Snapshots)+len(origin.Params)+len(origin.Metrics) == 0 && origin.Commit == "" && origin.Code == "" {
		return nil
	}
	return origin
}

func (s *state) addDataset(origin *driftline.ModelOrigin, ref driftline.Ref) {
	number, err := strconv.Atoi(ref.Version)
	if err != nil {
		return
	}
	dataset, err := s.dataset(driftline.DatasetName(ref.Name), number)
	if err != nil {
		return
	}
	origin.Datasets = append(origin.Datasets, driftline.ModelDataset{Ref: ref, ContentHash: dataset.ContentHash, Rows: dataset.Report.Rows})
	for _, pin := range dataset.Report.Pins {
		if pin.Snapshot == 0 {
			continue // the view had no files yet
		}
		origin.Snapshots = append(origin.Snapshots, driftline.SnapshotRef(featureTables+string(pin.View), pin.Snapshot))
	}
	for _, column := range dataset.Report.Columns {
		origin.Features = append(origin.Features, column.Column)
	}
}

// lastMetrics are the last values of a run's metrics.
func (r *Registry) lastMetrics(run *run) map[string]driftline.Number {
	r.published.RLock()
	defer r.published.RUnlock()
	_, values := r.keys.lastPoints(r.lastOf(run))
	return values
}

func foldModel(s *state, line *Line) ([]effect, error) {
	version, err := body[driftline.ModelVersion](line)
	if err != nil {
		return nil, err
	}
	version.Line, version.Updated = line.Sequence, line.Time
	if version.Status == "" { // of a ledger that knew neither stages nor sources
		version.Status = driftline.ModelReady
	}
	version.Stage = cmp.Or(version.Stage, driftline.StageNone)
	next := newModel(version.Model, line)
	var effects []effect
	if old := s.models[version.Model]; old != nil {
		next = old.changed(line)
	} else {
		next.by = version.By
		effects = append(effects, putModelKey(version.Model))
	}
	next.versions = append(slices.Clip(next.versions), version)
	return append(effects, putModel(next), putVersionLine(version), putNumbering(version.Model, numbering{last: version.Version, model: next.id})), nil
}

// ChangeModelVersion changes the description and the tags of a version.
func (r *Registry) ChangeModelVersion(name driftline.ModelName, selector string, change driftline.ModelChange) (*driftline.ModelVersion, error) {
	if err := checkModelChange(name, &change); err != nil {
		return nil, err
	}
	var err error
	if change.Tags, err = r.proved(change.Tags); err != nil {
		return nil, named("model", name, err)
	}
	return r.changeVersion(name, selector, func(tx *Tx, m *model, v *driftline.ModelVersion) error {
		if !changesNotes(change, v.Description, v.Tags) {
			return nil
		}
		if err := checkTagCount(v.Tags, change); err != nil {
			return named("model", name, err)
		}
		_, err := tx.add(VersionChanged, v.Ref(), nil, change)
		return err
	})
}

// changeVersion runs change on the version that selector names, and returns the version as it is then.
func (r *Registry) changeVersion(name driftline.ModelName, selector string, change func(*Tx, *model, *driftline.ModelVersion) error) (*driftline.ModelVersion, error) {
	number := 0
	err := r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil {
			return err
		}
		version, err := m.selected(selector)
		if err != nil {
			return err
		}
		number = version.Version
		return change(tx, m, version)
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(name, strconv.Itoa(number))
}

func foldVersionChanged(s *state, line *Line) ([]effect, error) {
	change, err := body[driftline.ModelChange](line)
	if err != nil {
		return nil, err
	}
	return s.foldVersion(line, func(v *driftline.ModelVersion) {
		if change.Description != nil {
			v.Description = *change.Description
		}
		v.Tags = withTags(v.Tags, *change)
	})
}

// foldVersion replaces the version that a line is about by a copy that change has changed.
func (s *state) foldVersion(line *Line, change func(*driftline.ModelVersion)) ([]effect, error) {
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	old, err := s.modelVersionOf(line.Ref)
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	next.replace(old, line, change)
	return []effect{putModel(next)}, nil
}

// replace puts a changed copy of a version in its place.
func (m *model) replace(old *driftline.ModelVersion, line *Line, change func(*driftline.ModelVersion)) {
	version := *old
	version.Updated = line.Time
	change(&version)
	m.versions = slices.Clone(m.versions)
	m.versions[slices.Index(m.versions, old)] = &version
}

// DeleteModelVersion takes a version away, and the aliases that point at it. Its number
// is not used again, and the ledger and lineage keep that it was.
func (r *Registry) DeleteModelVersion(name driftline.ModelName, selector, by, reason string) error {
	if err := cmp.Or(checkPerson(by), checkText("reason", reason)); err != nil {
		return err
	}
	return r.write(func(tx *Tx) error {
		m, err := tx.r.head.model(name)
		if err != nil {
			return err
		}
		version, err := m.selected(selector)
		if err != nil {
			return err
		}
		if err := tx.r.head.freeOfRollouts(m, version.Version); err != nil {
			return err
		}
		_, err = tx.add(VersionDeleted, version.Ref(), nil, modelDeleted{By: by, Reason: reason})
		return err
	})
}

func foldVersionDeleted(s *state, line *Line) ([]effect, error) {
	gone, err := body[modelDeleted](line)
	if err != nil {
		return nil, err
	}
	m, err := s.model(driftline.ModelName(line.Ref.Name))
	if err != nil {
		return nil, err
	}
	old, err := s.modelVersionOf(line.Ref)
	if err != nil {
		return nil, err
	}
	next := m.changed(line)
	next.dropAliases(line, old.Version, gone)
	next.versions = slices.DeleteFunc(slices.Clone(m.versions), func(v *driftline.ModelVersion) bool { return v == old })
	return []effect{putModel(next)}, nil
}

// ModelVersions returns every version of a model, oldest first.
func (r *Registry) ModelVersions(name driftline.ModelName) ([]driftline.ModelVersion, error) {
	m, err := r.model(name)
	if err != nil {
		return nil, err
	}
	versions := make([]driftline.ModelVersion, len(m.versions))
	for i, v := range m.versions {
		versions[i] = *m.copyVersion(v)
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

// modelVersionOf is the version that a resolved reference names.
func (s *state) modelVersionOf(ref driftline.Ref) (*driftline.ModelVersion, error) {
	m, err := s.model(driftline.ModelName(ref.Name))
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(ref.Version)
	if err != nil {
		return nil, driftline.Errorf(driftline.Invalid, "version %q of model %q is not a number", clip(ref.Version), ref.Name)
	}
	return m.version(number)
}

func (m *model) version(number int) (*driftline.ModelVersion, error) {
	at, found := slices.BinarySearchFunc(m.versions, number, func(v *driftline.ModelVersion, n int) int { return cmp.Compare(v.Version, n) })
	if found {
		return m.versions[at], nil
	}
	last := 0
	if newest := m.newest(); newest != nil {
		last = newest.Version
	}
	if number > 0 && number < last {
		return nil, driftline.Errorf(driftline.NotFound, "model %q has no version %d any more: it was deleted", m.name, number).
			WithRef(driftline.ModelRef(m.name, number)).WithHint("its newest is %d", last)
	}
	return nil, noVersion("model", string(m.name), strconv.Itoa(number), last).WithRef(driftline.ModelRef(m.name, number))
}

// newest is nil if there is no version.
func (m *model) newest() *driftline.ModelVersion {
	if len(m.versions) == 0 {
		return nil
	}
	return m.versions[len(m.versions)-1]
}

// selected returns the version that selector names.
func (m *model) selected(selector string) (*driftline.ModelVersion, error) {
	if selector == "" {
		if newest := m.newest(); newest != nil {
			return newest, nil
		}
		return nil, driftline.Errorf(driftline.NotFound, "model %q has no version yet", m.name).
			WithRef(driftline.ModelRef(m.name, 0)).WithHint("register one first")
	}
	if at, ok := m.aliases[driftline.Alias(selector)]; ok {
		return m.version(at)
	}
	if number, err := strconv.Atoi(selector); err == nil {
		return m.version(number)
	}
	err := unknown("alias", driftline.Alias(selector), slices.Collect(maps.Keys(m.aliases)), "move the alias to a version, or name the version by its number")
	return nil, named("model", m.name, err.WithRef(driftline.ModelRef(m.name, 0)))
}

// copyVersion returns a copy with the aliases that point at the version now.
func (m *model) copyVersion(version *driftline.ModelVersion) *driftline.ModelVersion {
	out := *version
	out.Tags = maps.Clone(out.Tags)
	out.Files, out.Checks, out.Approvals = slices.Clone(out.Files), slices.Clone(out.Checks), slices.Clone(out.Approvals)
	for alias, at := range m.aliases {
		if at == version.Version {
			out.Aliases = append(out.Aliases, alias)
		}
	}
	slices.Sort(out.Aliases)
	return &out
}

// SharedVersion returns a version of a model as the registry holds it, for those who ask for
// each request: it is not to be changed, is without aliases, and another pointer once
// anything about the version was changed.
func (r *Registry) SharedVersion(name driftline.ModelName, number int) (found *driftline.ModelVersion, err error) {
	r.read(func(s *state) {
		m, unknown := s.model(name)
		if unknown != nil {
			err = unknown
			return
		}
		found, err = m.version(number)
	})
	return found, err
}
